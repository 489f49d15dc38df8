//! What the scripted Marathon has: one app, its tasks, and the deployments that are under way.

use serde_json::{Value, json};

use super::recording::{AGENT, Recording, recorded_answer};

/// A release as it was posted.
#[derive(Debug, Clone)]
pub struct Posted {
    /// The app's id.
    pub app: String,
    pub version: String,
    pub deployment: String,
    /// The version of what served before.
    pub before: Option<String>,
    definition: Value,
}

#[derive(Debug, Default)]
pub struct Stage {
    /// How many changes there were.
    changes: u32,
    current: Option<Posted>,
    /// There is no room for it.
    waits: bool,
    /// Of all releases, by task id.
    tasks: Vec<Value>,
    last_failure: Option<Value>,
    deployments: Vec<String>,
    /// Every task there ever was.
    known: Vec<String>,
}

impl Stage {
    fn next_change(&mut self) -> (String, String) {
        self.changes += 1;
        let version = format!("2026-11-24T00:00:{:02}.000Z", self.changes);
        (version, uuid::Uuid::new_v4().to_string())
    }

    pub fn post(&mut self, definition: &Value, waits: bool) -> (Posted, Value) {
        let (version, deployment) = self.next_change();
        let serving = self.tasks.iter().find(|task| task["state"] == "TASK_RUNNING");
        let before = serving.and_then(|task| task["version"].as_str()).map(str::to_owned);
        let app = definition["id"].as_str().expect("an app has an id").to_owned();
        let posted = Posted { app, version, deployment, before, definition: definition.clone() };
        // The one before is replaced, or taken over by force; its instances that do not serve go.
        self.tasks.retain(|task| task["state"] == "TASK_RUNNING" && is_healthy(task));
        self.deployments = vec![posted.deployment.clone()];
        self.last_failure = None;
        self.waits = waits;
        let answer = json!({ "deploymentId": posted.deployment, "version": posted.version });
        self.current = Some(posted.clone());
        (posted, answer)
    }

    pub fn removed(&mut self) -> Value {
        let (version, deployment) = self.next_change();
        *self = Self { changes: self.changes, known: std::mem::take(&mut self.known), ..Self::default() };
        json!({ "deploymentId": deployment, "version": version })
    }

    /// Takes note of what is about to be told of a release; false when there is another one by now.
    pub fn comes(&mut self, posted: &Posted, event: &Value, recording: &Recording, attempt: u32) -> bool {
        if self.current.as_ref().is_none_or(|current| current.version != posted.version) {
            return false;
        }
        self.waits = false;
        if event["eventType"] == "deployment_success" {
            self.deployments.clear();
        }
        if let (Some(task), Some(state)) = (event["taskId"].as_str(), event["taskStatus"].as_str()) {
            self.task_comes(task, state, event, recording, posted, attempt);
        }
        if let (Some(instance), true) =
            (event["instanceId"].as_str(), event["eventType"] == "instance_health_changed_event")
        {
            for task in self.tasks.iter_mut().filter(|task| is_of(task, instance)) {
                if event["healthy"].is_boolean() {
                    task["healthCheckResults"] =
                        json!([{ "alive": event["healthy"], "instanceId": instance, "consecutiveFailures": 0 }]);
                }
            }
        }
        true
    }

    fn task_comes(
        &mut self,
        task: &str,
        state: &str,
        event: &Value,
        recording: &Recording,
        posted: &Posted,
        attempt: u32,
    ) {
        if !self.known.iter().any(|known| known == task) {
            self.known.push(task.to_owned());
        }
        let instance = task.split("._app").next().unwrap_or_default().to_owned();
        let results =
            self.tasks.iter().find(|known| known["id"] == task).map(|known| known["healthCheckResults"].clone());
        self.tasks.retain(|known| !is_of(known, &instance));
        let ends = ["TASK_FAILED", "TASK_KILLED", "TASK_FINISHED"].contains(&state);
        if ends && event["version"] == posted.version {
            // As the real one shows it then.
            let after = recording.after(posted, attempt);
            self.tasks.extend(after["tasks"].as_array().into_iter().flatten().cloned());
            self.last_failure = after.get("lastTaskFailure").cloned();
        } else if !ends {
            self.tasks.push(json!({
                "appId": posted.app, "id": task, "host": event["host"], "ports": event["ports"], "servicePorts": [],
                "slaveId": AGENT, "state": state, "version": event["version"], "ipAddresses": event["ipAddresses"],
                "healthCheckResults": results.unwrap_or_else(|| json!([])), "localVolumes": [], "role": "*",
                "stagedAt": "2026-11-24T00:00:00.000Z", "startedAt": "2026-11-24T00:00:00.000Z",
            }));
        }
    }

    /// The id of the app that was posted last.
    pub fn id(&self) -> &str {
        self.current.as_ref().map_or("/none", |current| &current.app)
    }

    /// The app as `GET` shows it, if there is one.
    pub fn app(&self) -> Option<Value> {
        let posted = self.current.as_ref()?;
        let mut app = posted.definition.clone();
        app["version"] = posted.version.clone().into();
        app["versionInfo"] = json!({ "lastScalingAt": posted.version, "lastConfigChangeAt": posted.version });
        app["deployments"] = self.deployments.iter().map(|id| json!({ "id": id })).collect();
        app["tasks"] = self.tasks.clone().into();
        let count = |holds: &dyn Fn(&Value) -> bool| self.tasks.iter().filter(|task| holds(task)).count();
        app["tasksStaged"] = count(&|task| task["state"] == "TASK_STARTING").into();
        app["tasksRunning"] = count(&|task| task["state"] == "TASK_RUNNING").into();
        app["tasksHealthy"] = count(&is_healthy).into();
        app["tasksUnhealthy"] = count(&|task| task["healthCheckResults"][0]["alive"] == false).into();
        if let Some(failure) = &self.last_failure {
            app["lastTaskFailure"] = failure.clone();
        }
        Some(app)
    }

    /// The queue of the real one when an app asked for more CPUs than there are, here with an offer that came after it.
    pub fn queue(&self) -> Value {
        let Some(posted) = self.current.as_ref().filter(|_| self.waits) else { return json!({ "queue": [] }) };
        let mut queue = recorded_answer("waiting-app", "GET /v2/queue?embed=lastUnusedOffers", 200);
        let item = &mut queue["queue"][0];
        item["since"] = posted.version.clone().into();
        item["processedOffersSummary"]["lastUnusedOfferAt"] = "2026-11-24T00:01:00.000Z".into();
        item["app"] = self.app().expect("it was posted");
        queue
    }

    /// As the real one lists them.
    pub fn deployments(&self) -> Value {
        let recorded = recorded_answer("locked-app", "GET /v2/deployments", 200);
        let listed = |id: &String| {
            let mut deployment = recorded[0].clone();
            deployment["id"] = json!(id);
            deployment["affectedApps"] = json!([self.id()]);
            deployment
        };
        self.deployments.iter().map(listed).collect()
    }

    pub fn running(&self) -> Vec<String> {
        let running = self.tasks.iter().filter(|task| task["state"] == "TASK_RUNNING");
        running.filter_map(|task| task["id"].as_str()).map(str::to_owned).collect()
    }

    pub fn all_tasks(&self) -> Vec<String> {
        self.known.clone()
    }
}

fn is_healthy(task: &Value) -> bool {
    task["healthCheckResults"][0]["alive"] == true
}

fn is_of(task: &Value, instance: &str) -> bool {
    task["id"].as_str().is_some_and(|id| id.split("._app").next() == Some(instance))
}
