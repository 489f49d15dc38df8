//! Groups: several apps as one, in the order of their dependencies.

use std::cmp::Ordering;

use serde_json::{Value, json};

use super::{Asking, Signs, apps, check, deployments, is_locked_by, sleeper, with};
use crate::support::engine::TestEngine;

#[test]
fn a_group_is_created_changed_and_deleted_as_one() {
    let engine = TestEngine::start();
    let mut events = engine.listen();
    let group = json!({ "id": "/g", "apps": apps(&[("a", sleeper()), ("b", sleeper())]), "groups": [{ "id": "n", "apps": apps(&[("c", sleeper())]) }] });
    let reply = engine.post("/v2/groups", &group);
    assert_eq!(reply.status, 201);
    assert!(reply.header("location").unwrap().ends_with("/g"), "{}", reply.head);
    engine.deployed(reply, &mut events);
    let tasks = [engine.task_ids("/g/a"), engine.task_ids("/g/b"), engine.task_ids("/g/n/c")];
    assert!(tasks.iter().all(|ids| ids.len() == 1), "{tasks:?}");
    assert_eq!(engine.post("/v2/groups", &group).status, 409);

    // What is left out goes, what is changed is replaced, what is the same stays, what is not named at all is kept.
    let changed = json!({ "apps": apps(&[("a", sleeper()), ("d", sleeper())]) });
    engine.deployed(engine.put("/v2/groups/g", &changed), &mut events);
    assert_eq!((engine.task_ids("/g/a"), engine.task_ids("/g/n/c")), (tasks[0].clone(), tasks[2].clone()));
    assert_eq!((engine.get("/v2/apps/g/b").status, engine.task_ids("/g/d").len()), (404, 1));

    engine.deployed(engine.delete("/v2/groups/g"), &mut events);
    assert_eq!((engine.get("/v2/groups/g").status, engine.processes()), (404, vec![]));
}

#[test]
fn a_group_is_scaled_by_a_factor_rounded_up() {
    let engine = TestEngine::start();
    let mut events = engine.listen();
    let two = with(sleeper(), json!({ "instances": 2 }));
    let group = json!({ "apps": apps(&[("one", sleeper()), ("two", two)]) });
    engine.deployed(engine.put("/v2/groups/g", &group), &mut events);
    for (factor, wanted) in [(1.2, [2, 3]), (0.5, [1, 2]), (0.0, [0, 0])] {
        engine.deployed(engine.put("/v2/groups/g", &json!({ "scaleBy": factor })), &mut events);
        for (id, count) in ["/g/one", "/g/two"].into_iter().zip(wanted) {
            let app = engine.app(id);
            assert_eq!((&app["instances"], &app["tasksRunning"]), (&json!(count), &json!(count)), "{id} × {factor}");
        }
    }
    assert_eq!(engine.put("/v2/groups/g", &json!({ "scaleBy": 2, "apps": [] })).status, 422);
}

#[test]
fn apps_start_in_the_order_of_their_dependencies_and_a_dry_run_says_so_before() {
    let engine = TestEngine::start();
    let mut events = engine.listen();
    let needs = |others: &[&str]| with(sleeper(), json!({ "dependencies": others }));
    let chain = [("web", needs(&["/g/service"])), ("db", sleeper()), ("service", needs(&["db"]))];
    let group = json!({ "apps": apps(&chain) });
    let tried = engine.put("/v2/groups/g?dryRun=true", &group).ok().json();
    let action = |action: &str, id: &str| json!({ "action": action, "app": format!("/g/{id}") });
    let scale = |id: &str| json!({ "actions": [action("ScaleApplication", id)] });
    let mut steps = tried["steps"].as_array().unwrap().clone();
    steps[0]["actions"].as_array_mut().unwrap().sort_by(|a, b| text_order(&a["app"], &b["app"]));
    let all = ["db", "service", "web"].map(|id| action("StartApplication", id));
    assert_eq!(json!(steps), json!([{ "actions": all }, scale("db"), scale("service"), scale("web")]));
    assert_eq!(engine.get("/v2/groups/g").status, 404);

    engine.deployed(engine.put("/v2/groups/g", &group), &mut events);
    let first_runs = |id: &str| {
        let is = |event: &Value| event["runSpecId"] == format!("/g/{id}") && event["condition"] == "Running";
        events.heard().iter().position(|(kind, event)| kind == "instance_changed_event" && is(event)).unwrap()
    };
    assert!(first_runs("db") < first_runs("service") && first_runs("service") < first_runs("web"));
    let circle = json!({ "apps": apps(&[("a", needs(&["b"])), ("b", needs(&["a"]))]) });
    let refused = engine.put("/v2/groups/circle", &circle);
    assert!(
        refused.status == 422 && refused.body.contains("Dependency graph has cyclic dependencies."),
        "{}",
        refused.body
    );
}

fn text_order(a: &Value, b: &Value) -> Ordering {
    a.as_str().cmp(&b.as_str())
}

#[test]
fn an_upgrade_goes_no_further_than_a_dependency_that_is_not_healthy() {
    let engine = TestEngine::start();
    let signs = Signs::new();
    signs.put("first");
    let mut events = engine.listen();
    let group = |page: &str| {
        let page_is_there = json!({ "portIndex": 0, "path": format!("/{page}"), "gracePeriodSeconds": 0 });
        let db = signs.server(&check("HTTP", page_is_there));
        let web = with(sleeper(), json!({ "dependencies": ["db"], "env": { "PAGE": page } }));
        json!({ "apps": apps(&[("db", db), ("web", web)]) })
    };
    engine.deployed(engine.put("/v2/groups/g", &group("first")), &mut events);
    let (db, web) = (engine.task_ids("/g/db"), engine.task_ids("/g/web"));
    let upgrade = engine.put("/v2/groups/g", &group("second"));
    engine.until("/v2/apps/g/db", "found unhealthy", |found| found["app"]["tasksUnhealthy"] == 1);
    let running = engine.get("/v2/deployments").json();
    assert_eq!((&running[0]["currentStep"], &running[0]["totalSteps"]), (&json!(1), &json!(2)));
    // The old ones go on serving.
    assert!(engine.task_ids("/g/db").contains(&db[0]));
    assert_eq!(engine.task_ids("/g/web"), web);
    signs.put("second");
    engine.deployed(upgrade, &mut events);
    assert_eq!((engine.task_ids("/g/db").len(), engine.task_ids("/g/web").len()), (1, 1));
    assert!(engine.task_ids("/g/db") != db && engine.task_ids("/g/web") != web);
}

#[test]
fn while_a_group_is_deployed_what_touches_it_is_refused_and_what_does_not_is_done() {
    let engine = TestEngine::start();
    let signs = Signs::new();
    let mut events = engine.listen();
    let slow = signs.server(&check("HTTP", json!({ "portIndex": 0, "path": "/ok" })));
    let group = json!({ "apps": apps(&[("slow", slow), ("other", sleeper())]) });
    let reply = engine.put("/v2/groups/g", &group).ok();
    let deployment = reply.header("marathon-deployment-id").unwrap().to_owned();
    let one_less = json!({ "apps": apps(&[("other", sleeper())]) });
    is_locked_by(&engine.put("/v2/groups/g", &one_less), &deployment);
    is_locked_by(&engine.put("/v2/groups/g", &json!({ "scaleBy": 2 })), &deployment);
    is_locked_by(&engine.delete("/v2/groups/g"), &deployment);
    is_locked_by(&engine.put_app("/g/slow", json!({ "instances": 2 })), &deployment);
    engine.deployed(engine.put("/v2/groups/elsewhere", &json!({ "apps": apps(&[("a", sleeper())]) })), &mut events);
    assert_eq!(deployments(&engine), [deployment.as_str()]);
    engine.deployed(engine.put("/v2/groups/g?force=true", &one_less), &mut events);
    assert_eq!((engine.get("/v2/apps/g/slow").status, engine.app("/g/other")["tasksRunning"].clone()), (404, json!(1)));
}

#[test]
fn deleting_a_deployment_brings_back_what_was_and_by_force_leaves_what_is() {
    let engine = TestEngine::start();
    let signs = Signs::new();
    signs.put("ok");
    let mut events = engine.listen();
    let page = |path: &str| signs.server(&check("HTTP", json!({ "portIndex": 0, "path": path })));
    engine.deployed(engine.put("/v2/groups/g", &json!({ "apps": apps(&[("a", page("/ok"))]) })), &mut events);
    let stuck = json!({ "apps": apps(&[("a", page("/missing")), ("new", sleeper())]) });
    let first = engine.put("/v2/groups/g", &stuck).ok().json()["deploymentId"].as_str().unwrap().to_owned();
    engine.running("/g/a", 2);
    let undone = engine.delete(&format!("/v2/deployments/{first}"));
    assert_eq!(undone.status, 200);
    assert_ne!(undone.json()["deploymentId"], json!(first));
    events.until("deployment_failed", |event| event["id"] == first);
    let back = undone.json()["deploymentId"].clone();
    events.until("deployment_success", |event| event["id"] == back);
    let app = engine.app("/g/a");
    assert_eq!((&app["healthChecks"][0]["path"], &app["tasksRunning"]), (&json!("/ok"), &json!(1)));
    assert_eq!(engine.get("/v2/apps/g/new").status, 404);

    let second = engine.put("/v2/groups/g", &stuck).ok().json()["deploymentId"].as_str().unwrap().to_owned();
    engine.running("/g/a", 2);
    let left = engine.delete(&format!("/v2/deployments/{second}?force=true"));
    assert_eq!((left.status, left.body.as_str()), (202, ""));
    events.until("deployment_failed", |event| event["id"] == second);
    assert_eq!(deployments(&engine), [""; 0]);
    assert_eq!(engine.app("/g/a")["healthChecks"][0]["path"], "/missing");
    assert_eq!(engine.delete(&format!("/v2/deployments/{second}")).status, 404);
}

#[test]
fn a_group_rolls_back_to_a_version_that_it_had() {
    let engine = TestEngine::start();
    let mut events = engine.listen();
    engine.deployed(engine.put("/v2/groups/g", &json!({ "apps": apps(&[("a", sleeper())]) })), &mut events);
    let first = engine.get("/v2/groups/g").json()["version"].as_str().unwrap().to_owned();
    let tasks = engine.task_ids("/g/a");
    let second = json!({ "apps": apps(&[("a", with(sleeper(), json!({ "env": { "A": "2" } }))), ("b", sleeper())]) });
    engine.deployed(engine.put("/v2/groups/g", &second), &mut events);
    let versions = engine.get("/v2/groups/g/versions").json();
    assert!(versions.as_array().unwrap().contains(&json!(first)), "{versions}");
    let was = engine.get(&format!("/v2/groups/g/versions/{first}")).ok().json();
    assert_eq!(was["apps"].as_array().unwrap().len(), 1);
    engine.deployed(engine.put("/v2/groups/g", &json!({ "version": first })), &mut events);
    assert_eq!((engine.get("/v2/apps/g/b").status, engine.app("/g/a").get("env")), (404, None));
    let after = engine.task_ids("/g/a");
    assert!(after.len() == 1 && after != tasks, "{after:?} {tasks:?}");
}
