//! Pieces of the transcripts: the life of one release, from its post on.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::stage::Posted;

/// The agent of all recordings.
pub const AGENT: &str = "abce49ae-d42a-4d5a-b6cd-34cecc25fd9e-S0";

/// What happened to one app from one change to the next.
#[derive(Debug, Clone)]
pub struct Recording {
    /// The app's id in the transcript.
    app: &'static str,
    /// The version and the deployment that the change was answered with.
    version: String,
    deployment: String,
    /// The version before.
    before: Option<String>,
    events: Vec<Value>,
    /// What it looked like afterwards.
    after: Value,
}

impl Recording {
    /// A first release whose instance is healthy after a second.
    pub fn of_a_first_release() -> Self {
        Self::cut("docker-release", "/shop/web", "PUT /v2/groups/shop", 0, None)
    }

    /// A release that takes the place of that: the old instance is ended when the new one is healthy.
    pub fn of_a_replacement() -> Self {
        let first = Self::of_a_first_release();
        Self::cut("docker-release", "/shop/web", "PUT /v2/groups/shop", 1, Some(first.version))
    }

    /// A command that exits with status 3 at once; the deployment is called a success before that.
    pub fn of_a_command_that_exits() -> Self {
        Self::cut("failing-app", "/bad/exit", "POST /v2/apps", 0, None)
    }

    /// A program that never listens, which the agent kills for that.
    pub fn of_a_health_kill() -> Self {
        Self::cut("waiting-app", "/wait/deaf", "POST /v2/apps", 2, None)
    }

    /// An image that cannot be pulled: as a command that exits, but it never ran, and these are Docker's words.
    pub fn of_a_failing_pull(words: &str) -> Self {
        let mut recording = Self::of_a_command_that_exits();
        let is_running = |event: &Value| event["taskStatus"] == "TASK_RUNNING" || event["condition"] == "Running";
        // Nothing ran, so nothing was a success.
        let over = |event: &Value| {
            event["eventType"] == "deployment_success"
                || event["eventType"] == "deployment_step_success"
                    && event["currentStep"]["actions"][0]["action"] == "ScaleApplication"
        };
        recording.events.retain(|event| !is_running(event) && !over(event));
        for event in recording.events.iter_mut().filter(|event| event["taskStatus"] == "TASK_FAILED") {
            event["message"] = words.into();
        }
        recording.after["lastTaskFailure"]["message"] = words.into();
        recording
    }

    /// The piece of a transcript from its `nth` request of that kind to what undoes it.
    fn cut(name: &str, app: &'static str, request: &str, nth: usize, before: Option<String>) -> Self {
        let steps = steps(name);
        let line = |step: &Value| format!("{} {}", text(&step["request"]["method"]), text(&step["request"]["path"]));
        let asked: Vec<usize> = (0..steps.len()).filter(|&at| line(&steps[at]) == request).collect();
        let at = asked[nth];
        let answer = &steps[at]["response"];
        // A PUT answers with the version; a POST with the app, whose deployment is in a header.
        let version = text(&answer["json"]["version"]);
        let deployment = answer["headers"]["Marathon-Deployment-Id"].as_str();
        let deployment = deployment.or(answer["json"]["deploymentId"].as_str()).expect("a change has a deployment");
        let get = format!("GET /v2/apps{app}");
        let after = steps[at..].iter().find(|step| line(step) == get).expect("it was looked at afterwards");
        let heard = steps.iter().flat_map(|step| step["heard"].as_array().into_iter().flatten()).map(|heard| &heard[1]);
        let concerns = |event: &&Value| {
            let is_its = event["id"] == *deployment || event["plan"]["id"] == *deployment;
            let of_app = event["appId"] == app || event["runSpecId"] == app;
            let versions = [&event["version"], &event["runSpecVersion"]];
            let of_old = before.as_ref().is_some_and(|before| versions.iter().any(|version| **version == **before));
            is_its || of_app && (versions.iter().any(|found| **found == *version) || of_old)
        };
        let mut events: Vec<Value> = heard.filter(concerns).cloned().collect();
        events.truncate(end(&events, deployment, before.as_deref()));
        if let Some(before) = &before {
            // What the old version did before this one is another recording.
            let first = events.iter().position(|event| event["plan"]["id"] == *deployment).expect("it began");
            let old = |event: &Value| event["version"] == **before || event["runSpecVersion"] == **before;
            let rest = events.split_off(first);
            events.retain(|event| !old(event));
            events.extend(rest);
        }
        let (version, deployment) = (version.to_owned(), deployment.to_owned());
        Self { app, version, deployment, before, events, after: after["response"]["json"]["app"].clone() }
    }

    /// The events, as of this release and this try.
    pub(super) fn events(&self, posted: &Posted, attempt: u32) -> Vec<Value> {
        let own = |event: &&Value| attempt == 1 || event["appId"] == self.app || event["runSpecId"] == self.app;
        self.events.iter().filter(own).map(|event| self.adapted(event, posted, attempt)).collect()
    }

    /// The app afterwards.
    pub(super) fn after(&self, posted: &Posted, attempt: u32) -> Value {
        self.adapted(&self.after, posted, attempt)
    }

    fn adapted(&self, recorded: &Value, posted: &Posted, attempt: u32) -> Value {
        let in_task_ids = |id: &str| format!("{}.instance", id.trim_start_matches('/').replace('/', "_"));
        let mut text = recorded.to_string();
        text = text.replace(&in_task_ids(self.app), &in_task_ids(&posted.app)).replace(self.app, &posted.app);
        text = text.replace(&self.version, &posted.version).replace(&self.deployment, &posted.deployment);
        if let (Some(recorded), Some(before)) = (&self.before, &posted.before) {
            text = text.replace(recorded.as_str(), before);
        }
        text = text.replace("._app.1\"", &format!("._app.{attempt}\""));
        serde_json::from_str(&text).expect("names were replaced by names")
    }
}

/// How many of the events are its own: to the deployment's success, or, if a task ends after that or there is none, to
/// the last that is said of that end.
fn end(events: &[Value], deployment: &str, before: Option<&str>) -> usize {
    let success =
        events.iter().position(|event| event["eventType"] == "deployment_success" && event["id"] == *deployment);
    let terminal = |event: &Value| ["TASK_FAILED", "TASK_KILLED"].contains(&text(&event["taskStatus"]));
    let ended = events.iter().position(terminal).filter(|_| before.is_none());
    // Right after a task's end its instance's is told.
    let ended = ended.map(|at| at + 2);
    let is_normal = before.is_some() || events.iter().any(|event| event["healthy"] == true);
    let end = if is_normal { success.map(|at| at + 1) } else { ended };
    end.expect("it came to an end").min(events.len())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn steps(name: &str) -> Vec<Value> {
    let path = format!("{}/tests/marathon/transcripts/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let transcript: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    transcript["steps"].as_array().unwrap().clone()
}

/// The body of the answer that a request had with this status.
pub fn recorded_answer(name: &str, request: &str, status: u16) -> Value {
    let steps = steps(name);
    let is_it = |step: &&Value| {
        let line = format!("{} {}", text(&step["request"]["method"]), text(&step["request"]["path"]));
        line == request && step["response"]["status"] == status
    };
    steps.iter().find(is_it).unwrap_or_else(|| panic!("{name} has no {request}"))["response"]["json"].clone()
}

fn mesos(name: &str) -> Value {
    let path = format!("{}/tests/mesos/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The master's agents: one, at this address.
pub fn agents(address: SocketAddr) -> Value {
    let mut agents = mesos("master-slaves");
    agents["slaves"][0]["id"] = AGENT.into();
    agents["slaves"][0]["pid"] = format!("slave(1)@{address}").into();
    agents
}

/// The agent's state, with an executor for each of these tasks.
pub fn agent_state(tasks: &[String]) -> Value {
    let mut state = mesos("agent-state");
    let recorded = state["frameworks"][0]["executors"][0].clone();
    let executor = |task: &String| {
        let mut executor = recorded.clone();
        executor["id"] = json!(task);
        executor["directory"] = format!("/sandboxes/{task}").into();
        executor
    };
    state["frameworks"][0]["executors"] = tasks.iter().map(executor).collect();
    state
}
