//! A Docker that is killed, or stopped, under a running engine: one of the test's own.

use serde_json::{Value, json};

use super::{healthy, until};
use crate::support::engine::{DockerAt, TestEngine, probe_app};
use crate::support::figures::figure;
use crate::support::own_docker::OwnDocker;

fn engine_in(docker: &OwnDocker) -> TestEngine {
    TestEngine::setup().docker(DockerAt::Own(docker.socket())).start()
}

/// The containers of one Docker that run, by the task that each is of.
fn running_tasks(docker: &OwnDocker) -> Vec<String> {
    let listed = docker.docker(&["ps", "--format", "{{.Label \"MESOS_TASK_ID\"}}"]);
    let mut tasks: Vec<_> = listed.lines().map(str::to_owned).collect();
    tasks.sort();
    tasks
}

fn tasks_that_run(engine: &TestEngine) -> Vec<String> {
    let found = engine.get("/v2/tasks?status=running").ok().json();
    let tasks = found["tasks"].as_array().unwrap().iter();
    let running = tasks.filter(|task| task["state"] == "TASK_RUNNING");
    let mut ids: Vec<_> = running.map(|task| task["id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

#[test]
fn apps_come_back_healthy_after_dockerd_was_killed_and_each_instance_once() {
    let mut docker = OwnDocker::start();
    let engine = engine_in(&docker);
    let mut app = probe_app("1");
    app["instances"] = json!(2);
    let other = json!({ "apps": [{ "id": "api", "args": app["args"], "cpus": 0.1, "mem": 32, "container":
        app["container"], "networks": app["networks"], "healthChecks": app["healthChecks"] }, app] });
    engine.put("/v2/groups/shop", &other).ok();
    engine.settled();
    let before = tasks_that_run(&engine);
    assert_eq!((before.len(), running_tasks(&docker)), (3, before.clone()));

    docker.kill();
    // It notices, and answers all the same.
    until("said that Docker is away", || engine.log().contains("Docker does not answer"));
    engine.get("/v2/apps").ok();
    let begun = std::time::Instant::now();
    docker.launch();
    // Those that a dockerd finds running when it starts it ends, so all of them are new.
    for app in ["/shop/web", "/shop/api"] {
        let back = |found: &Value| {
            let tasks = found["app"]["tasks"].as_array().unwrap();
            let new = tasks.iter().all(|task| !before.contains(&task["id"].as_str().unwrap().to_owned()));
            new && found["app"]["tasksHealthy"] == found["app"]["instances"]
        };
        let found = engine.until(&format!("/v2/apps{app}"), "back", back);
        let said = found["app"]["lastTaskFailure"]["message"].as_str().unwrap_or_default();
        assert!(said.starts_with("Container exited with status") || said.contains("removed"), "{said:?}");
    }
    figure(&format!("three instances healthy again after dockerd was killed: {} ms", begun.elapsed().as_millis()));
    until("one container a task", || running_tasks(&docker) == tasks_that_run(&engine));
    assert_eq!(tasks_that_run(&engine).len(), 3);
}

#[test]
fn what_is_asked_for_while_docker_is_stopped_waits_and_starts_when_it_is_back() {
    let mut docker = OwnDocker::start();
    let engine = engine_in(&docker);
    engine.put("/v2/groups/before", &json!({ "apps": [probe_app("1")] })).ok();
    healthy(&engine, "/before/web");
    docker.stop();
    until("said that Docker is away", || engine.log().contains("Docker does not answer"));
    engine.put("/v2/groups/meanwhile", &json!({ "apps": [probe_app("1")] })).ok();
    engine.until("/v2/queue", "queued", |queue| {
        queue["queue"].as_array().unwrap().iter().any(|item| item["app"]["id"] == "/meanwhile/web")
    });
    assert_eq!(engine.get("/v2/deployments").json().as_array().unwrap().len(), 1, "it goes on, and has not failed");
    docker.launch();
    engine.settled();
    healthy(&engine, "/meanwhile/web");
    healthy(&engine, "/before/web");
    until("one container a task", || running_tasks(&docker) == tasks_that_run(&engine));
    assert_eq!(tasks_that_run(&engine).len(), 2);
}

#[test]
fn an_engine_that_was_killed_together_with_dockerd_brings_all_back() {
    let mut docker = OwnDocker::start();
    let mut engine = engine_in(&docker);
    engine.put("/v2/groups/shop", &json!({ "apps": [probe_app("1")] })).ok();
    engine.settled();
    engine.kill();
    docker.kill();
    // First without its Docker, which comes later, as after a power cut.
    engine.launch();
    assert_eq!(engine.get("/v2/apps/shop/web").ok().json()["app"]["instances"], 1);
    docker.launch();
    let old = running_tasks(&docker);
    until("one container, a new one", || {
        let now = running_tasks(&docker);
        now.len() == 1 && now != old && now == tasks_that_run(&engine)
    });
    healthy(&engine, "/shop/web");
}

#[test]
fn an_engine_that_starts_before_its_docker_waits_for_it() {
    let mut docker = OwnDocker::start();
    docker.stop();
    assert!(!docker.socket().exists(), "a dockerd that ends takes its socket with it");
    let engine = engine_in(&docker);
    until("said that Docker is away", || engine.log().contains("Docker does not answer"));
    engine.put("/v2/groups/shop", &json!({ "apps": [probe_app("1")] })).ok();
    let queue = engine.get("/v2/queue").ok().json();
    let item = &queue["queue"][0];
    // A machine without Docker makes no offer, so none was declined.
    assert_eq!(
        (&item["app"]["id"], &item["processedOffersSummary"]["processedOffersCount"]),
        (&json!("/shop/web"), &json!(0))
    );
    docker.launch();
    engine.settled();
    healthy(&engine, "/shop/web");
}
