//! The one node: its leadership, its headers, its end and its next beginning.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Asking, Signs, check, sleeper, with};
use crate::support::engine::TestEngine;

#[test]
fn an_upgrade_goes_on_where_its_engine_was_killed() {
    let mut engine = TestEngine::start();
    let signs = Signs::new();
    signs.put("first");
    let check = |page: &str| json!([check("HTTP", json!({ "portIndex": 0, "path": format!("/{page}") }))]);
    let mut events = engine.listen();
    let app = with(signs.server(&json!({})), json!({ "healthChecks": check("first"), "instances": 2 }));
    engine.deployed(engine.post_app("/a", app), &mut events);
    let old = engine.task_ids("/a");
    let id = engine.put_app("/a", json!({ "healthChecks": check("second") })).ok().json()["deploymentId"].clone();
    engine.running("/a", 4);
    engine.kill();
    events.ended();
    engine.launch();
    let mut events = engine.listen();
    assert_eq!(engine.get("/v2/deployments").json()[0]["id"], id);
    assert_eq!(engine.task_ids("/a").len(), 4);
    signs.put("second");
    events.until("deployment_success", |event| event["id"] == id);
    let new = engine.task_ids("/a");
    assert!(new.len() == 2 && new.iter().all(|task| !old.contains(task)), "{new:?} {old:?}");
}

#[test]
fn a_leader_that_abdicates_ends_and_the_next_has_everything() {
    let mut engine = TestEngine::start();
    let mut events = engine.listen();
    engine.deployed(engine.post_app("/a", sleeper()), &mut events);
    let leader = engine.get("/v2/leader").ok().json();
    assert_eq!(leader, json!({ "leader": engine.address().to_string() }));
    let info = engine.get("/v2/info").ok().json();
    assert_eq!((&info["elected"], &info["leader"]), (&json!(true), &leader["leader"]));
    let (app, processes) = (engine.app("/a"), engine.processes());

    let reply = engine.delete("/v2/leader");
    assert_eq!((reply.status, reply.json()), (200, json!({ "message": "Leadership abdicated" })));
    engine.ends(Duration::from_secs(10));
    events.ended();
    engine.launch();
    assert_eq!((engine.app("/a"), engine.processes()), (app, processes));
    assert_eq!(engine.get("/v2/leader").json(), leader);
    assert_eq!(engine.get("/v2/info").json()["frameworkId"], info["frameworkId"]);
}

#[test]
fn answers_come_from_the_leader_itself_and_are_not_to_be_kept() {
    let engine = TestEngine::start();
    for path in ["/ping", "/v2/apps", "/v2/apps/none", "/v2/info", "/metrics", "/nope"] {
        let reply = engine.get(path);
        assert_eq!(reply.header("x-marathon-leader"), Some(engine.url().as_str()), "{path}");
        assert_eq!((reply.header("x-marathon-via"), reply.header("server")), (None, None), "{path}");
        assert_eq!(reply.header("cache-control"), Some("no-cache, no-store, must-revalidate"), "{path}");
        assert_eq!(reply.header("x-frame-options"), Some("deny"), "{path}");
    }
}

#[test]
fn what_it_counts_follows_what_there_is() {
    let engine = TestEngine::start();
    let mut events = engine.listen();
    let gauge = |name: &str| engine.get("/metrics").ok().json()["gauges"][name]["value"].as_f64();
    assert_eq!(gauge("marathon.apps.active.gauge"), Some(0.0));
    engine.deployed(engine.post_app("/g/a", with(sleeper(), json!({ "instances": 2 }))), &mut events);
    assert_eq!(gauge("marathon.apps.active.gauge"), Some(1.0));
    assert_eq!(gauge("marathon.instances.running.gauge"), Some(2.0));
    engine.deployed(engine.delete("/v2/groups/g"), &mut events);
    assert_eq!(gauge("marathon.instances.running.gauge"), Some(0.0));
    let info: Value = engine.get("/v2/info").ok().json();
    assert_eq!(
        (&info["name"], &info["http_config"]["http_port"]),
        (&json!("marathon"), &json!(engine.address().port()))
    );
}

#[test]
fn one_that_finds_its_port_taken_ends_at_once_and_says_so() {
    let engine = TestEngine::start();
    let state = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    let second = std::process::Command::new(env!("CARGO_BIN_EXE_paas"))
        .args(["engine", "--listen", &engine.address().to_string(), "--state"])
        .arg(state.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&second.stderr);
    // Marathon's status for it.
    assert_eq!(second.status.code(), Some(111), "{said}");
    assert!(said.contains(&format!("cannot listen at {}", engine.address())), "{said}");
    assert!(second.stdout.is_empty() && begun.elapsed() < Duration::from_secs(10));
    assert_eq!(engine.get("/ping").status, 200);
}
