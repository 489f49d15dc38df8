//! Killing tasks: what comes back as what, and how gently they end.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Asking, Signs, holds_soon, instance_and_incarnation, sleeper, with};
use crate::support::engine::TestEngine;

/// The ids that a kill answered with.
fn killed(answer: &Value) -> Vec<String> {
    let mut ids: Vec<_> =
        answer["tasks"].as_array().unwrap().iter().map(|task| task["id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

#[test]
fn a_killed_task_comes_back_in_its_instance_and_a_wiped_one_in_another() {
    let engine = TestEngine::start();
    let mut events = engine.listen();
    engine.deployed(engine.post_app("/a", with(sleeper(), json!({ "instances": 2 }))), &mut events);
    let before = engine.task_ids("/a");
    let (instance, _) = instance_and_incarnation(&before[0]);
    let answer = engine.delete(&format!("/v2/apps/a/tasks/{}", before[0])).ok().json();
    assert_eq!(answer["task"]["id"], json!(before[0]));
    let next = format!("{instance}._app.2");
    holds_soon("the next incarnation", || engine.task_ids("/a") == [next.clone(), before[1].clone()]);
    assert_eq!(engine.running("/a", 2).get("lastTaskFailure"), None);
    assert_eq!(engine.get("/v2/queue").json(), json!({ "queue": [] }));

    let answer = engine.delete(&format!("/v2/apps/a/tasks/{next}?wipe=true")).ok().json();
    assert_eq!(answer["task"]["id"], json!(next));
    holds_soon("another instance", || {
        let tasks = engine.task_ids("/a");
        tasks.len() == 2 && tasks.iter().all(|task| !task.starts_with(instance))
    });
    engine.running("/a", 2);
    let both = engine.delete(&format!("/v2/apps/a/tasks/{next}?wipe=true&scale=true"));
    assert_eq!(both.status, 400, "{}", both.body);
}

#[test]
fn tasks_are_killed_by_app_and_host_and_only_there() {
    let engine = TestEngine::start();
    let mut events = engine.listen();
    engine.deployed(engine.post_app("/a", with(sleeper(), json!({ "instances": 2 }))), &mut events);
    engine.deployed(engine.post_app("/b", sleeper()), &mut events);
    let (before, others) = (engine.task_ids("/a"), engine.task_ids("/b"));
    let host = engine.tasks("/a")[0]["host"].as_str().unwrap().to_owned();
    assert_eq!(engine.delete("/v2/apps/a/tasks?host=elsewhere.example").ok().json(), json!({ "tasks": [] }));
    for (incarnation, query) in (2..).zip([String::new(), format!("?host={host}"), "?host=*".to_owned()]) {
        let running = engine.task_ids("/a");
        assert_eq!(killed(&engine.delete(&format!("/v2/apps/a/tasks{query}")).ok().json()), running);
        let next = before.iter().map(|task| format!("{}._app.{incarnation}", instance_and_incarnation(task).0));
        let next: Vec<_> = next.collect();
        holds_soon("the next incarnations", || engine.task_ids("/a") == next);
        engine.running("/a", 2);
    }
    assert_eq!(engine.task_ids("/b"), others);
}

#[test]
fn tasks_of_several_apps_are_killed_by_their_ids_with_and_without_scaling() {
    let engine = TestEngine::start();
    let mut events = engine.listen();
    for id in ["/a", "/b"] {
        engine.deployed(engine.post_app(id, with(sleeper(), json!({ "instances": 2 }))), &mut events);
    }
    let (a, b) = (engine.task_ids("/a"), engine.task_ids("/b"));
    let unknown = a[0].replace("a.instance-", "none.instance-");
    let answer = engine.post("/v2/tasks/delete", &json!({ "ids": [a[0], b[0], unknown] })).ok().json();
    assert_eq!(killed(&answer), [a[0].clone(), b[0].clone()]);
    for id in ["/a", "/b"] {
        holds_soon("incarnated", || engine.task_ids(id).iter().any(|task| task.ends_with("._app.2")));
        engine.running(id, 2);
    }
    let reply = engine.post("/v2/tasks/delete?scale=true", &json!({ "ids": [a[1], b[1]] }));
    engine.deployed(reply, &mut events);
    for (id, gone) in [("/a", &a[1]), ("/b", &b[1])] {
        let (app, tasks) = (engine.app(id), engine.task_ids(id));
        assert_eq!((&app["instances"], tasks.len(), tasks.contains(gone)), (&json!(1), 1, false), "{id}");
    }
    let reply = engine.delete("/v2/apps/a/tasks?scale=true");
    engine.deployed(reply, &mut events);
    assert_eq!((engine.app("/a")["instances"].clone(), engine.task_ids("/a")), (json!(0), vec![]));
    assert_eq!(engine.post("/v2/tasks/delete", &json!({ "ids": ["no-task"] })).status, 400);
}

#[test]
fn a_task_may_end_by_itself_within_its_grace_and_is_ended_after_it() {
    let engine = TestEngine::start();
    let signs = Signs::new();
    let mut events = engine.listen();
    let at = |name: &str| signs.place(name).display().to_string();
    // The sleep is a child, so that the shell hears the signal.
    let polite =
        format!("trap 'touch {}; exit 0' TERM; touch {}; while :; do sleep 0.05; done", at("bye"), at("polite"));
    let deaf = format!("trap '' TERM; touch {}; while :; do sleep 0.05; done", at("deaf"));
    let app = |cmd: &str, grace: u64| with(sleeper(), json!({ "cmd": cmd, "taskKillGracePeriodSeconds": grace }));
    engine.deployed(engine.post_app("/polite", app(&polite, 60)), &mut events);
    engine.deployed(engine.post_app("/deaf", app(&deaf, 1)), &mut events);
    for name in ["polite", "deaf"] {
        signs.seen(name);
        let task = engine.task_ids(&format!("/{name}"))[0].clone();
        let begun = Instant::now();
        engine.delete(&format!("/v2/apps/{name}/tasks?wipe=true")).ok();
        events.until("status_update_event", |event| event["taskId"] == task && event["taskStatus"] == "TASK_KILLED");
        let took = begun.elapsed();
        if name == "polite" {
            assert!(signs.place("bye").exists() && took < Duration::from_secs(30), "{took:?}");
        } else {
            assert!((Duration::from_secs(1)..Duration::from_secs(10)).contains(&took), "{took:?}");
        }
    }
}
