//! What others do to an engine's containers, images, ports and network.

use std::net::TcpListener;
use std::process::Command;

use serde_json::{Value, json};

use super::{healthy, reasons, task, until};
use crate::support::engine::{ProbeImage, TestEngine, probe_app, run};

/// The app with a check that asks for a page, which a program that stands still does not give.
fn app_that_is_asked_for_a_page() -> Value {
    let mut app = probe_app("1");
    app["healthChecks"] = json!([{
        "protocol": "MESOS_HTTP", "path": "/", "portIndex": 0, "gracePeriodSeconds": 30, "intervalSeconds": 1,
        "timeoutSeconds": 1, "maxConsecutiveFailures": 2, "delaySeconds": 0
    }]);
    app
}

#[test]
fn a_paused_container_is_found_unhealthy_and_replaced() {
    let engine = TestEngine::start();
    engine.put("/v2/groups/shop", &json!({ "apps": [app_that_is_asked_for_a_page()] })).ok();
    engine.settled();
    let (before, container) = (task(&engine, "/shop/web"), engine.containers().remove(0));
    run("docker", &["pause", &container]);
    engine.until("/v2/apps/shop/web", "replaced", |found| {
        found["app"]["tasksHealthy"] == 1 && found["app"]["tasks"][0]["id"] != *before
    });
    until("one container, another", || {
        let now = engine.containers();
        now.len() == 1 && now[0] != container
    });
}

#[test]
fn an_image_that_is_gone_shows_in_dockers_words_and_is_used_when_it_is_there_again() {
    // Nothing listens at that port, so that nothing is fetched either.
    let image = format!("127.0.0.1:1/gone-{}:1", std::process::id());
    let engine = TestEngine::start();
    run("docker", &["tag", ProbeImage::NAME, &image]);
    let _untag = Untag(&image);
    let mut app = probe_app("1");
    app["container"]["docker"]["image"] = json!(image);
    engine.put("/v2/groups/shop", &json!({ "apps": [app] })).ok();
    engine.settled();

    run("docker", &["rmi", &image]);
    run("docker", &["kill", &engine.containers()[0]]);
    let failed = engine.until("/v2/apps/shop/web", "failed for want of the image", |found| {
        let said = found["app"]["lastTaskFailure"]["message"].as_str().unwrap_or_default();
        said.contains(&image) && (said.contains("connection refused") || said.contains("127.0.0.1:1"))
    });
    assert_eq!(failed["app"]["lastTaskFailure"]["state"], "TASK_FAILED", "{failed:#}");
    let queued = |queue: &Value| {
        let items = queue["queue"].as_array().unwrap();
        items.iter().any(|item| item["app"]["id"] == "/shop/web" && item["delay"]["overdue"] == false)
    };
    engine.until("/v2/queue", "held back for a while", queued);

    run("docker", &["tag", ProbeImage::NAME, &image]);
    healthy(&engine, "/shop/web");
    until("one container", || engine.containers().len() == 1);
}

struct Untag<'a>(&'a str);

impl Drop for Untag<'_> {
    fn drop(&mut self) {
        run("docker", &["rmi", "-f", self.0]);
    }
}

#[test]
fn an_app_waits_for_its_port_while_another_program_has_it() {
    let engine = TestEngine::start();
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    let mut app = probe_app("1");
    app["container"]["portMappings"][0]["hostPort"] = json!(port);
    app["container"]["portMappings"][0]["containerPort"] = json!(8000);
    app["env"] = json!({ "PORT": "8000" });
    engine.put("/v2/groups/shop", &json!({ "apps": [app] })).ok();
    until("waits for a port", || reasons(&engine, "/shop/web") == ["InsufficientPorts"]);
    drop(holder);
    engine.settled();
    let found = healthy(&engine, "/shop/web");
    assert_eq!(found["app"]["tasks"][0]["ports"], json!([port]));
    assert_eq!(engine.get("/v2/queue").json(), json!({ "queue": [] }));
}

/// A port that is taken, below one that is not.
fn taken_below_free() -> (TcpListener, u16) {
    loop {
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = holder.local_addr().unwrap().port();
        if port < u16::MAX && TcpListener::bind(("127.0.0.1", port + 1)).is_ok() {
            return (holder, port);
        }
    }
}

#[test]
fn a_task_gets_another_port_when_one_is_taken_and_waits_when_all_are() {
    let (holder, port) = taken_below_free();
    let engine = TestEngine::setup().arguments(&["--ports", &format!("{port}-{}", port + 1)]).start();
    engine.put("/v2/groups/shop", &json!({ "apps": [probe_app("1")] })).ok();
    engine.settled();
    let found = healthy(&engine, "/shop/web");
    assert_eq!(found["app"]["tasks"][0]["ports"], json!([port + 1]));
    // Both are taken now.
    engine.put("/v2/groups/more", &json!({ "apps": [probe_app("1")] })).ok();
    until("waits for a port", || reasons(&engine, "/more/web") == ["InsufficientPorts"]);
    drop(holder);
    engine.settled();
    assert_eq!(healthy(&engine, "/more/web")["app"]["tasks"][0]["ports"], json!([port]));
}

#[test]
fn a_network_that_was_removed_is_made_again() {
    let engine = TestEngine::start();
    engine.put("/v2/groups/shop", &json!({ "apps": [app_that_is_asked_for_a_page()] })).ok();
    engine.settled();
    // Only a network that nobody is on can be removed.
    let network = engine.network();
    let container = engine.containers().remove(0);
    run("docker", &["network", "disconnect", "-f", network, &container]);
    let removed = Command::new("docker").args(["network", "rm", network]).output().unwrap();
    assert!(removed.status.success(), "{}", String::from_utf8_lossy(&removed.stderr));
    engine.until("/v2/apps/shop/web", "replaced and healthy", |found| {
        found["app"]["tasksHealthy"] == 1 && found["app"]["tasks"][0]["state"] == "TASK_RUNNING" && {
            let now = engine.containers();
            now.len() == 1 && now[0] != container
        }
    });
    engine.put("/v2/groups/more", &json!({ "apps": [probe_app("1")] })).ok();
    healthy(&engine, "/more/web");
}
