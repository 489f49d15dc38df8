//! What is asked for and what runs, side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Kind, Soak};

/// After the last change: everything is where it will stay.
const PATIENCE: Duration = Duration::from_mins(2);
/// Most directories of tasks that are kept for an app: of twenty that ended, and those that run or are just ending.
const MOST_SANDBOXES: usize = 30;

impl Soak {
    /// Waits until everything is as asked for, or shows why not; answers how long that took.
    #[track_caller]
    pub fn until_quiet(&mut self) -> Duration {
        let begun = Instant::now();
        loop {
            let wrong = self.what_is_wrong();
            if wrong.is_empty() {
                return begun.elapsed();
            }
            assert!(begun.elapsed() < PATIENCE, "not as asked for:\n  {}", wrong.join("\n  "));
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Nothing may change any more, and what the engine shows is what is known to be asked for.
    #[track_caller]
    pub fn compare(&mut self) {
        std::thread::sleep(Duration::from_secs(2));
        assert_eq!(self.what_is_wrong(), Vec::<String>::new(), "it was quiet, and is not any more");
        for (id, wanted) in self.wanted.clone() {
            let found = self.engine.get(&format!("/v2/apps{id}")).ok().json();
            assert_eq!(found["app"]["instances"], wanted.instances, "{id}");
            assert_eq!(found["app"]["env"]["PAAS_RELEASE"], wanted.release.to_string(), "{id}");
            let may_fail = matches!(wanted.kind, Kind::Failing | Kind::WithoutImage | Kind::TooLarge);
            assert!(may_fail || runs_whole(&found["app"]), "{id} can run, and does not: {found:#}");
        }
    }

    fn what_is_wrong(&self) -> Vec<String> {
        let list = self.engine.get("/v2/apps?embed=apps.tasks&embed=apps.lastTaskFailure").ok().json();
        let apps = list["apps"].as_array().unwrap();
        let mut wrong = self.wrong_apps(apps);
        wrong.extend(self.wrong_deployments(apps));
        wrong.extend(self.wrong_tasks(apps));
        wrong.extend(self.wrong_sandboxes(apps));
        wrong
    }

    /// Healthy in full number, or with a visible reason.
    fn wrong_apps(&self, apps: &[Value]) -> Vec<String> {
        let queue = self.engine.get("/v2/queue").ok().json();
        let waits = |id: &Value| {
            let items = queue["queue"].as_array().unwrap();
            items.iter().find(|item| item["app"]["id"] == *id).is_some_and(|item| {
                let summary = item["processedOffersSummary"]["rejectSummaryLastOffers"].as_array();
                summary.is_some_and(|entries| entries.iter().any(|entry| entry["declined"].as_u64() > Some(0)))
            })
        };
        let fails = |app: &Value| app["lastTaskFailure"].is_object() && is_made_to_fail(app);
        let wrong = apps.iter().filter(|app| !runs_whole(app) && !waits(&app["id"]) && !fails(app));
        wrong.map(|app| format!("{} runs {} of {}: {app}", app["id"], app["tasksRunning"], app["instances"])).collect()
    }

    /// Only those go on that wait for something that does not come. Meanwhile all instances of before may serve.
    fn wrong_deployments(&self, apps: &[Value]) -> Vec<String> {
        let running = self.engine.get("/v2/deployments").ok().json();
        let of_deployment = |deployment: &Value| -> Vec<&Value> {
            let affected = deployment["affectedApps"].as_array().unwrap();
            apps.iter().filter(|app| affected.contains(&app["id"])).collect()
        };
        let waits = |app: &&Value| !runs_whole(app) || is_made_to_fail(app) || is_too_large(app);
        let running = running.as_array().unwrap().iter().map(|deployment| (deployment, of_deployment(deployment)));
        let wrong = running.filter(|(_, affected)| !affected.iter().any(waits));
        wrong.map(|(deployment, affected)| format!("still deploys {deployment} of {affected:?}")).collect()
    }

    /// Each task that runs has one container or one session of processes, and there is nothing else. Which of the two
    /// depends on the version that its instance is of, which may be an older one than the app's.
    fn wrong_tasks(&self, apps: &[Value]) -> Vec<String> {
        let filter = format!("label={}", self.engine.label());
        let format = "{{.Label \"MESOS_TASK_ID\"}}{{if ne .State \"running\"}} {{.State}}{{end}}";
        let listed = self.engine.docker(&["ps", "-a", "--filter", &filter, "--format", format]);
        let sessions: BTreeSet<String> = self.engine.processes().into_iter().filter_map(task_of_process).collect();
        let mut found: Vec<String> = listed.lines().map(str::to_owned).chain(sessions).collect();
        let mut wanted = running(apps);
        found.sort();
        wanted.sort();
        if found == wanted { Vec::new() } else { vec![format!("there is {found:#?} for the tasks {wanted:#?}")] }
    }

    /// Those of running tasks are there, and of ended ones a few.
    fn wrong_sandboxes(&self, apps: &[Value]) -> Vec<String> {
        let entries = std::fs::read_dir(self.engine.state().join("tasks")).into_iter().flatten().flatten();
        let kept: BTreeSet<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        let mut of_apps: BTreeMap<&str, usize> = BTreeMap::new();
        for task in &kept {
            *of_apps.entry(task.split(".instance-").next().unwrap_or_default()).or_default() += 1;
        }
        let running = running(apps);
        let missing = running.iter().filter(|task| !kept.contains(*task)).map(|task| format!("{task} has no sandbox"));
        let many = of_apps.iter().filter(|(_, count)| **count > MOST_SANDBOXES);
        missing.chain(many.map(|(app, count)| format!("{app} has {count} sandboxes"))).collect()
    }
}

fn runs_whole(app: &Value) -> bool {
    let serving = if app.get("healthChecks").is_some() { &app["tasksHealthy"] } else { &app["tasksRunning"] };
    let tasks = app["tasks"].as_array().unwrap();
    let here = tasks.iter().filter(|task| task["state"] == "TASK_RUNNING").count();
    *serving == app["instances"] && app["instances"].as_u64() == u64::try_from(here).ok()
}

fn is_made_to_fail(app: &Value) -> bool {
    app["cmd"] == "exit 3" || app["container"]["docker"]["image"] == "127.0.0.1:1/nobodys:1"
}

fn is_too_large(app: &Value) -> bool {
    app["cpus"].as_f64() > Some(1000.0)
}

/// The ids of the tasks that run.
fn running(apps: &[Value]) -> Vec<String> {
    let tasks = apps.iter().flat_map(|app| app["tasks"].as_array().unwrap());
    let running = tasks.filter(|task| task["state"] == "TASK_RUNNING");
    running.map(|task| task["id"].as_str().unwrap().to_owned()).collect()
}

fn task_of_process(pid: u32) -> Option<String> {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    let environment = String::from_utf8_lossy(&environment).into_owned();
    environment.split('\0').find_map(|variable| variable.strip_prefix("MESOS_TASK_ID=").map(str::to_owned))
}
