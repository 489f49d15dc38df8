//! Changing an app that runs: what is replaced, what is kept, what is refused, and the way back.

use serde_json::{Value, json};

use super::{Asking, Signs, check, deployments, instance_and_incarnation, is_locked_by, sleeper, with};
use crate::support::engine::TestEngine;

#[test]
fn changing_only_the_number_of_instances_keeps_the_tasks_that_run() {
    let engine = TestEngine::start();
    let mut events = engine.listen();
    engine.deployed(engine.post_app("/a", sleeper()), &mut events);
    let (first, before) = (engine.app("/a"), engine.task_ids("/a"));
    let done = engine.deployed(engine.put_app("/a", json!({ "instances": 3 })), &mut events);
    assert_eq!(done["plan"]["steps"], json!([{ "actions": [{ "action": "ScaleApplication", "app": "/a" }] }]));
    let (scaled, after) = (engine.app("/a"), engine.task_ids("/a"));
    assert!(after.len() == 3 && after.contains(&before[0]), "{after:?} {before:?}");
    assert_eq!(scaled["versionInfo"]["lastConfigChangeAt"], first["versionInfo"]["lastConfigChangeAt"]);
    assert_eq!(scaled["versionInfo"]["lastScalingAt"], scaled["version"]);
    // The youngest go first.
    engine.deployed(engine.put_app("/a", json!({ "instances": 1 })), &mut events);
    assert_eq!(engine.task_ids("/a"), before);
    engine.deployed(engine.put_app("/a", json!({ "instances": 0 })), &mut events);
    assert_eq!((engine.task_ids("/a"), engine.processes()), (vec![], vec![]));
}

#[test]
fn changing_anything_else_replaces_every_task() {
    let engine = TestEngine::start();
    let mut events = engine.listen();
    engine.deployed(engine.post_app("/a", with(sleeper(), json!({ "instances": 2 }))), &mut events);
    let versions = || engine.get("/v2/apps/a/versions").json()["versions"].as_array().unwrap().len();
    for (number, change) in [json!({ "cmd": "exec sleep 2000" }), json!({ "labels": { "a": "b" } })].iter().enumerate()
    {
        let before = engine.task_ids("/a");
        let done = engine.deployed(engine.put_app("/a", change.clone()), &mut events);
        assert_eq!(done["plan"]["steps"], json!([{ "actions": [{ "action": "RestartApplication", "app": "/a" }] }]));
        let after = engine.task_ids("/a");
        let instances =
            |tasks: &[String]| tasks.iter().map(|task| instance_and_incarnation(task).0.to_owned()).collect::<Vec<_>>();
        assert_eq!(after.len(), 2);
        assert!(
            instances(&after).iter().all(|instance| !instances(&before).contains(instance)),
            "{after:?} {before:?}"
        );
        assert_eq!(versions(), number + 2);
    }
    let app = engine.app("/a");
    assert_eq!((&app["cmd"], &app["labels"]), (&json!("exec sleep 2000"), &json!({ "a": "b" })));
}

#[test]
fn a_change_that_changes_nothing_succeeds_at_once() {
    let engine = TestEngine::start();
    let mut events = engine.listen();
    engine.deployed(engine.post_app("/a", sleeper()), &mut events);
    let (before, tasks) = (engine.app("/a"), engine.task_ids("/a"));
    for same in [sleeper(), json!({ "instances": 1 }), json!({})] {
        let done = engine.deployed(engine.put_app("/a", same), &mut events);
        assert_eq!(done["plan"]["steps"], json!([]));
    }
    // What was shown can be sent back whole.
    let reply = engine.put("/v2/apps/a?partialUpdate=false", &before);
    assert_eq!(engine.deployed(reply, &mut events)["plan"]["steps"], json!([]));
    assert_eq!((engine.app("/a"), engine.task_ids("/a")), (before, tasks));
}

#[test]
fn a_second_change_is_refused_and_takes_the_place_of_the_first_by_force() {
    let engine = TestEngine::start();
    let signs = Signs::new();
    signs.put("ok");
    let mut events = engine.listen();
    let page = |path: &str| json!([check("HTTP", json!({ "portIndex": 0, "path": path }))]);
    engine.deployed(engine.post_app("/a", signs.server(&page("/ok")[0])), &mut events);
    let before = engine.task_ids("/a");
    let first = engine.put_app("/a", json!({ "healthChecks": page("/missing") })).ok();
    let first = first.header("marathon-deployment-id").unwrap().to_owned();
    engine.running("/a", 2);
    for reply in [
        engine.put_app("/a", json!({ "instances": 2 })),
        engine.ask("PATCH", "/v2/apps/a", Some(&json!({ "instances": 2 }))),
        engine.post("/v2/apps/a/restart", &json!({})),
        engine.delete("/v2/apps/a?force=false"),
    ] {
        is_locked_by(&reply, &first);
        // The refusal is told too.
        let failed = events.until("deployment_failed", |event| event["id"] != first);
        assert!(failed["reason"].as_str().unwrap().starts_with("App is locked"), "{failed:#}");
    }
    let second = engine.put("/v2/apps/a?force=true", &json!({ "healthChecks": page("/ok"), "env": { "A": "b" } })).ok();
    let cancelled = events.until("deployment_failed", |event| event["id"] == first);
    assert_eq!(cancelled["reason"], "The upgrade has been cancelled");
    engine.deployed(second, &mut events);
    let after = engine.task_ids("/a");
    assert!(after.len() == 1 && after != before, "{after:?}");
    assert_eq!(engine.app("/a")["env"], json!({ "A": "b" }));
}

#[test]
fn an_app_rolls_back_to_a_version_that_it_had() {
    let engine = TestEngine::start();
    let mut events = engine.listen();
    engine.deployed(engine.post_app("/a", with(sleeper(), json!({ "env": { "A": "1" } }))), &mut events);
    let first = engine.app("/a")["version"].clone();
    engine.deployed(engine.put_app("/a", json!({ "env": { "A": "2" }, "instances": 2 })), &mut events);
    let kept = engine.get(&format!("/v2/apps/a/versions/{}", first.as_str().unwrap())).ok().json();
    assert_eq!((&kept["env"], &kept["instances"]), (&json!({ "A": "1" }), &json!(1)));
    engine.deployed(engine.put_app("/a", json!({ "version": first })), &mut events);
    let back = engine.app("/a");
    assert_eq!((&back["env"], &back["instances"], &back["tasksRunning"]), (&json!({ "A": "1" }), &json!(1), &json!(1)));
    assert_ne!(back["version"], first);
    let status = |fields: Value| engine.put_app("/a", fields).status;
    assert_eq!(status(json!({ "version": first, "cmd": "true" })), 422);
    assert_eq!(status(json!({ "version": "2015-01-01T00:00:00.000Z" })), 404);
    assert_eq!(deployments(&engine), [""; 0]);
}

#[test]
fn a_restart_gives_new_instances_of_the_same_definition_under_a_new_version() {
    let engine = TestEngine::start();
    let mut events = engine.listen();
    engine.deployed(engine.post_app("/a", with(sleeper(), json!({ "instances": 2 }))), &mut events);
    let (mut before, tasks) = (engine.app("/a"), engine.task_ids("/a"));
    engine.deployed(engine.post("/v2/apps/a/restart", &json!({})), &mut events);
    let (mut after, others) = (engine.app("/a"), engine.task_ids("/a"));
    assert!(others.len() == 2 && others.iter().all(|task| !tasks.contains(task)), "{others:?} {tasks:?}");
    assert!(after["version"].as_str() > before["version"].as_str());
    assert_eq!(after["versionInfo"]["lastConfigChangeAt"], after["version"]);
    for app in [&mut before, &mut after] {
        for changing in ["version", "versionInfo", "tasks"] {
            app.as_object_mut().unwrap().remove(changing);
        }
    }
    assert_eq!(after, before);
    assert_eq!(engine.post("/v2/apps/none/restart", &json!({})).status, 404);
}
