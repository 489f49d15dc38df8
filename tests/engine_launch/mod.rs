//! How `paas engine` makes and starts tasks: what it fetches, what it asks of Docker, how it asks tasks whether they
//! serve.

mod checks;
mod containers;
mod fetch;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::engine::{ProbeImage, TestEngine};

/// An app that runs a command of this machine.
fn command(cmd: &str) -> Value {
    json!({ "cmd": cmd, "cpus": 0.1, "mem": 32, "backoffSeconds": 3600, "portDefinitions": [],
            "taskKillGracePeriodSeconds": 1 })
}

/// An app that runs a command in a container.
fn container(cmd: &str) -> Value {
    json!({ "cmd": cmd, "cpus": 0.1, "mem": 32, "backoffSeconds": 3600, "taskKillGracePeriodSeconds": 1,
            "container": { "type": "DOCKER", "docker": { "image": ProbeImage::NAME }, "portMappings": [] },
            "networks": [{ "mode": "container/bridge" }] })
}

/// The app with one field more, or another value of it.
fn with(mut app: Value, field: &str, value: Value) -> Value {
    app[field] = value;
    app
}

/// Puts an app and waits until it runs.
#[track_caller]
fn run(engine: &TestEngine, app: &str, definition: &Value) {
    engine.put(&format!("/v2/apps/{app}"), definition).ok();
    let runs = |found: &Value| found["app"]["tasksRunning"] == 1 || found["app"]["lastTaskFailure"].is_object();
    let found = engine.until(&format!("/v2/apps/{app}"), "running", runs);
    assert!(found["app"].get("lastTaskFailure").is_none(), "{found:#}");
}

/// Puts an app whose task cannot be made, and answers why.
#[track_caller]
fn fails(engine: &TestEngine, app: &str, definition: &Value) -> String {
    engine.put(&format!("/v2/apps/{app}"), definition).ok();
    let failed = |found: &Value| found["app"]["lastTaskFailure"].is_object();
    let found = engine.until(&format!("/v2/apps/{app}"), "failed", failed);
    let failure = &found["app"]["lastTaskFailure"];
    assert_eq!(failure["state"], "TASK_FAILED");
    failure["message"].as_str().unwrap().to_owned()
}

/// The errors with which an app is refused, with their paths.
#[track_caller]
fn refused(engine: &TestEngine, definition: &Value) -> String {
    let reply = engine.put("/v2/apps/refused", definition);
    assert_eq!(reply.status, 422, "{}", reply.body);
    reply.json()["details"].to_string()
}

/// The one task of an app.
#[track_caller]
fn task(engine: &TestEngine, app: &str) -> Value {
    engine.get(&format!("/v2/apps/{app}/tasks")).json()["tasks"][0].clone()
}

fn sandbox(engine: &TestEngine, app: &str) -> PathBuf {
    engine.state().join("tasks").join(task(engine, app)["id"].as_str().unwrap()).join("sandbox")
}

/// The container of an app's one task.
fn container_of(engine: &TestEngine, app: &str) -> String {
    task(engine, app)["id"].as_str().unwrap().to_owned()
}

/// What a file holds once a task has written it whole: its last line ends.
#[track_caller]
fn written(path: &Path) -> String {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match std::fs::read_to_string(path) {
            Ok(text) if text.ends_with('\n') => return text.trim_end().to_owned(),
            found => assert!(Instant::now() < deadline, "{}: {found:?}", path.display()),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Runs a program that must succeed, and answers what it printed.
#[track_caller]
fn shell(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// Certificates for `localhost`, and the authority that signed them, in a directory.
fn certificates(dir: &Path) {
    let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let authority = ["req", "-x509", "-days", "2", "-subj", "/CN=test authority"];
    let files = ["-keyout", &path("ca.key"), "-out", &path("ca.pem")];
    shell("openssl", &[&authority[..], &key, &files].concat());
    let files = ["-keyout", &path("key.pem"), "-out", &path("request.pem")];
    shell("openssl", &[&["req", "-subj", "/CN=localhost"][..], &key, &files].concat());
    std::fs::write(dir.join("names"), "subjectAltName=DNS:localhost\n").unwrap();
    let sign = ["x509", "-req", "-days", "2", "-CAcreateserial", "-in", &path("request.pem"), "-CA", &path("ca.pem")];
    let files = ["-CAkey", &path("ca.key"), "-extfile", &path("names"), "-out", &path("cert.pem")];
    shell("openssl", &[&sign[..], &files].concat());
}
