//! What Marathon's own integration tests ask of a Marathon, asked of `paas engine` with real tasks.
//!
//! Each test has an engine of its own. What a task is to do is steered by files in a directory that it knows, so that
//! nothing waits for a clock that can wait for an event.

mod changes;
mod checks;
mod deploy;
mod events;
mod groups;
mod killing;
mod process;
mod queue;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::support::engine::{Reply, TestEngine};
use crate::support::event_stream::EventStream;

/// An app that only is: a command that sleeps.
fn sleeper() -> Value {
    json!({ "cmd": "exec sleep 1000", "cpus": 0.01, "mem": 16 })
}

/// The app with more fields, or other values.
fn with(mut app: Value, fields: Value) -> Value {
    let Value::Object(fields) = fields else { panic!("fields are an object") };
    app.as_object_mut().unwrap().extend(fields);
    app
}

/// A directory in which a test puts files for its tasks to see, and they for it.
struct Signs(TempDir);

impl Signs {
    fn new() -> Self {
        let signs = Self(tempfile::Builder::new().prefix("paas-signs-").tempdir().unwrap());
        std::fs::set_permissions(signs.0.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        signs
    }
    fn path(&self) -> &Path {
        self.0.path()
    }
    fn place(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }
    fn put(&self, name: &str) {
        std::fs::write(self.place(name), name).unwrap();
    }
    fn take(&self, name: &str) {
        std::fs::remove_file(self.place(name)).unwrap();
    }
    /// Waits until a task has put it there.
    #[track_caller]
    fn seen(&self, name: &str) {
        holds_soon(name, || self.place(name).exists());
    }

    /// An app that serves these files at its first port, with one health check more than none.
    fn server(&self, check: &Value) -> Value {
        let cmd = format!("exec busybox httpd -f -p 127.0.0.1:$PORT0 -h {}", self.path().display());
        json!({
            "cmd": cmd, "cpus": 0.01, "mem": 16, "healthChecks": [check],
            "portDefinitions": [{ "port": 0, "name": "http", "protocol": "tcp" }]
        })
    }
}

/// A check that looks each second and gives up at once.
fn check(protocol: &str, more: Value) -> Value {
    let check = json!({
        "protocol": protocol, "gracePeriodSeconds": 3600, "intervalSeconds": 1, "timeoutSeconds": 1,
        "maxConsecutiveFailures": 0, "delaySeconds": 0
    });
    with(check, more)
}

/// Waits for what shows in no event.
#[track_caller]
fn holds_soon(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "never {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Marathon as these tests ask it: with the app's path, not the resource's.
trait Asking {
    fn app(&self, id: &str) -> Value;
    fn tasks(&self, id: &str) -> Vec<Value>;
    fn task_ids(&self, id: &str) -> Vec<String>;
    fn running(&self, id: &str, count: u64) -> Value;
    fn post_app(&self, id: &str, app: Value) -> Reply;
    fn put_app(&self, id: &str, fields: Value) -> Reply;
    fn deployed(&self, reply: Reply, events: &mut EventStream) -> Value;
}

impl Asking for TestEngine {
    #[track_caller]
    fn app(&self, id: &str) -> Value {
        self.get(&format!("/v2/apps{id}")).ok().json()["app"].clone()
    }
    #[track_caller]
    fn tasks(&self, id: &str) -> Vec<Value> {
        self.get(&format!("/v2/apps{id}/tasks")).ok().json()["tasks"].as_array().unwrap().clone()
    }
    #[track_caller]
    fn task_ids(&self, id: &str) -> Vec<String> {
        let mut ids: Vec<_> = self.tasks(id).iter().map(|task| task["id"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    }
    /// The app, once so many of its tasks run.
    #[track_caller]
    fn running(&self, id: &str, count: u64) -> Value {
        let runs = |found: &Value| found["app"]["tasksRunning"] == count;
        self.until(&format!("/v2/apps{id}"), &format!("{count} running"), runs)["app"].clone()
    }
    #[track_caller]
    fn post_app(&self, id: &str, app: Value) -> Reply {
        self.post("/v2/apps", &with(app, json!({ "id": id })))
    }
    #[track_caller]
    fn put_app(&self, id: &str, fields: Value) -> Reply {
        self.put(&format!("/v2/apps{id}"), &fields)
    }
    /// Waits for the success of the deployment that a request began.
    #[track_caller]
    fn deployed(&self, reply: Reply, events: &mut EventStream) -> Value {
        let reply = reply.ok();
        let id = reply.header("marathon-deployment-id").unwrap_or_else(|| panic!("begins no deployment: {reply:?}"));
        events.until("deployment_success", |event| event["id"] == id)
    }
}

/// The instance that a task belongs to, and which of its tasks it is.
fn instance_and_incarnation(task: &str) -> (&str, u32) {
    let (instance, incarnation) = task.rsplit_once("._app.").unwrap();
    (instance, incarnation.parse().unwrap())
}

/// The ids of the deployments that run.
fn deployments(engine: &TestEngine) -> Vec<String> {
    let running = engine.get("/v2/deployments").ok().json();
    running.as_array().unwrap().iter().map(|deployment| deployment["id"].as_str().unwrap().to_owned()).collect()
}

/// A refusal because of these deployments.
#[track_caller]
fn is_locked_by(reply: &Reply, deployment: &str) {
    assert_eq!(reply.status, 409, "{}", reply.body);
    let message = "App is locked by one or more deployments. Override with the option '?force=true'. View details at \
                   '/v2/deployments/<DEPLOYMENT_ID>'.";
    assert_eq!(reply.json(), json!({ "message": message, "deployments": [{ "id": deployment }] }));
}

/// Apps by the last part of their ids, for a group.
fn apps(apps: &[(&str, Value)]) -> Value {
    apps.iter().map(|(id, app)| with(app.clone(), json!({ "id": id }))).collect()
}

/// What of an object the test compares.
fn fields(object: &Value, names: &[&str]) -> Value {
    names.iter().map(|name| ((*name).to_owned(), object[*name].clone())).collect::<Map<_, _>>().into()
}
