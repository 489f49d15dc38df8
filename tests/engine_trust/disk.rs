//! A disk that is full: what is asked is answered, what is to be changed waits or is refused, and nothing is half done.

use std::time::Duration;

use serde_json::{Value, json};

use super::{healthy, until};
use crate::support::engine::{TestEngine, probe_app, run};
use crate::support::load::Client;
use crate::support::small_disk::SmallDisk;

const DISK_KIB: u32 = 6 << 10;

fn engine_on(disk: &SmallDisk) -> TestEngine {
    TestEngine::setup().state(&disk.path().join("state")).start()
}

/// An app whose definition takes more room than a file of the state may have left over.
fn large_app() -> Value {
    json!({ "cmd": "exec sleep 1000", "cpus": 0.1, "mem": 32, "labels": { "weight": "x".repeat(1 << 20) } })
}

/// Asks for a change and gives what was answered within two seconds, if anything was.
fn try_change(engine: &TestEngine) -> Option<u16> {
    let mut client = Client::try_to(engine.address(), Duration::from_secs(2)).unwrap();
    client.ask("PUT", "/v2/apps/large", &large_app().to_string()).ok().map(|reply| reply.status)
}

#[test]
fn while_the_disk_is_full_all_is_answered_and_nothing_half_done_and_then_it_goes_on() {
    let disk = SmallDisk::of(DISK_KIB);
    let engine = engine_on(&disk);
    engine.put("/v2/groups/shop", &json!({ "apps": [probe_app("1")] })).ok();
    engine.settled();
    disk.fill();
    let answered = try_change(&engine);
    assert!(matches!(answered, None | Some(503)), "{answered:?}");
    let mut reader = Client::try_to(engine.address(), Duration::from_secs(2)).unwrap();
    for path in ["/v2/apps", "/v2/apps/shop/web", "/v2/tasks", "/v2/queue", "/v2/deployments", "/v2/info", "/ping"] {
        let reply = reader.ask("GET", path, "").unwrap_or_else(|error| panic!("{path} while it is full: {error}"));
        assert_eq!(reply.status, 200, "{path}");
    }
    // What dies meanwhile is missed until there is room again, at the longest.
    let killed = engine.containers().remove(0);
    run("docker", &["kill", &killed]);
    assert_eq!(reader.get("/v2/apps/shop/web").status, 200);
    disk.free();
    // It tries again by itself.
    let small = json!({ "cmd": "exec sleep 1000", "cpus": 0.1, "mem": 32 });
    until("accepted again", || (200..300).contains(&engine.put("/v2/apps/small", &small).status));
    engine.settled();
    until("run by another container", || matches!(&engine.containers()[..], [other] if *other != killed));
    healthy(&engine, "/shop/web");
    let large = engine.get("/v2/apps/large");
    match answered {
        Some(_) => assert_eq!(large.status, 404, "it was refused"),
        // Nobody waited for the answer. Either is right, if it is whole.
        None => assert!(large.status == 404 || large.json()["app"]["tasksRunning"] == 1, "{}", large.status),
    }
    assert_eq!(engine.get("/v2/apps/small").json()["app"]["tasksRunning"], 1);
}

#[test]
fn an_engine_killed_while_its_disk_was_full_has_its_state_whole() {
    let disk = SmallDisk::of(DISK_KIB);
    let mut engine = engine_on(&disk);
    engine.put("/v2/groups/shop", &json!({ "apps": [probe_app("1")] })).ok();
    engine.settled();
    let known = |engine: &TestEngine| {
        let mut found = engine.get("/v2/apps/shop/web").ok().json();
        // When it was last found healthy changes every second.
        found["app"]["tasks"][0].as_object_mut().unwrap().remove("healthCheckResults");
        found
    };
    let (before, containers) = (known(&engine), engine.containers());
    disk.fill();
    let answered = try_change(&engine);
    assert!(matches!(answered, None | Some(503)), "{answered:?}");
    engine.kill();
    disk.free();
    engine.launch();
    assert_eq!(engine.get("/v2/apps/large").status, 404, "it was never accepted");
    assert_eq!(known(&engine), before);
    engine.put("/v2/apps/small", &json!({ "cmd": "exec sleep 1000", "cpus": 0.1, "mem": 32 })).ok();
    engine.settled();
    assert_eq!(engine.containers(), containers);
}
