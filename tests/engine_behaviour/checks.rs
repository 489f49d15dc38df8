//! Health and readiness checks of what runs.

use serde_json::{Value, json};

use super::{Asking, Signs, check, holds_soon, instance_and_incarnation, with};
use crate::support::engine::TestEngine;

fn of_page(protocol: &str, path: &str) -> Value {
    check(protocol, json!({ "portIndex": 0, "path": path }))
}

#[test]
fn a_readiness_check_holds_an_upgrade_back_and_shows_why() {
    let engine = TestEngine::start();
    let signs = Signs::new();
    signs.put("ready");
    let mut events = engine.listen();
    let readiness = json!([{
        "name": "warm", "protocol": "HTTP", "path": "/ready", "portName": "http", "intervalSeconds": 2,
        "timeoutSeconds": 1, "httpStatusCodesForReady": [200], "preserveLastResponse": true
    }]);
    let mut app = with(signs.server(&json!({})), json!({ "readinessChecks": readiness }));
    app.as_object_mut().unwrap().remove("healthChecks");
    engine.deployed(engine.post_app("/a", app), &mut events);
    let old = engine.task_ids("/a");

    signs.take("ready");
    let upgrade = engine.put_app("/a", json!({ "env": { "A": "2" } }));
    let not_ready = |results: &Value| results[0]["lastResponse"]["status"] == 404;
    let found = engine.until("/v2/deployments", "asked whether it is ready", |running| {
        not_ready(&running[0]["currentActions"][0]["readinessCheckResults"])
    });
    let result = &found[0]["currentActions"][0]["readinessCheckResults"][0];
    let task = result["taskId"].as_str().unwrap();
    assert_eq!((&result["name"], &result["ready"]), (&json!("warm"), &json!(false)));
    let tasks = engine.task_ids("/a");
    assert!(tasks.len() == 2 && tasks.contains(&old[0]) && tasks.iter().any(|one| one == task), "{tasks:?}");
    let embedded = engine.get("/v2/apps?embed=apps.readiness").json()["apps"][0].clone();
    assert!(not_ready(&embedded["readinessCheckResults"]), "{embedded:#}");
    assert!(engine.get("/v2/apps").json()["apps"][0].get("readinessCheckResults").is_none());

    signs.put("ready");
    engine.deployed(upgrade, &mut events);
    assert_eq!(engine.task_ids("/a"), [task]);
}

#[test]
fn an_instance_that_marathon_finds_unhealthy_is_killed_and_comes_back() {
    let engine = TestEngine::start();
    let signs = Signs::new();
    signs.put("ok");
    let mut events = engine.listen();
    let check = with(of_page("HTTP", "/ok"), json!({ "maxConsecutiveFailures": 1 }));
    engine.deployed(engine.post_app("/a", signs.server(&check)), &mut events);
    let before = engine.task_ids("/a");
    let instance = instance_and_incarnation(&before[0]).0;
    signs.take("ok");
    let unhealthy = events.until("instance_health_changed_event", |event| event["healthy"] == false);
    assert_eq!(unhealthy["instanceId"], instance);
    let killed = events.until("unhealthy_instance_kill_event", |_| true);
    assert_eq!((&killed["taskId"], &killed["instanceId"]), (&json!(before[0]), &json!(instance)));
    signs.put("ok");
    let again = engine.until("/v2/apps/a", "healthy again", |found| {
        found["app"]["tasksHealthy"] == 1 && found["app"]["tasks"][0]["id"] != before[0]
    });
    assert_eq!(instance_and_incarnation(again["app"]["tasks"][0]["id"].as_str().unwrap()), (instance, 2));
    let failure = &again["app"]["lastTaskFailure"];
    assert_eq!((&failure["state"], &failure["taskId"]), (&json!("TASK_KILLED"), &json!(before[0])));
    let message = failure["message"].as_str().unwrap();
    assert!(message.starts_with("Task was killed since health check failed. Reason: "), "{message}");
    // A kill is no failure of the command: nothing waited for a delay.
    assert!(events.heard().iter().all(|(_, event)| event["taskStatus"] != "TASK_FAILED"));
}

#[test]
fn an_instance_that_the_agent_finds_unhealthy_is_killed_without_a_word_of_failure() {
    let engine = TestEngine::start();
    let signs = Signs::new();
    signs.put("ok");
    let mut events = engine.listen();
    let command = json!({ "command": { "value": format!("test -e {}", signs.place("ok").display()) } });
    let check = with(check("COMMAND", command), json!({ "maxConsecutiveFailures": 1 }));
    engine.deployed(engine.post_app("/a", signs.server(&check)), &mut events);
    let before = engine.task_ids("/a");
    signs.take("ok");
    events.until("instance_health_changed_event", |event| event["healthy"] == false);
    let killed = events.until("status_update_event", |event| event["taskStatus"] == "TASK_KILLED");
    assert_eq!(killed["taskId"], before[0]);
    signs.put("ok");
    let again = engine.until("/v2/apps/a", "healthy again", |found| {
        found["app"]["tasksHealthy"] == 1 && found["app"]["tasks"][0]["id"] != before[0]
    });
    assert!(again["app"].get("lastTaskFailure").is_none(), "{again:#}");
}

#[test]
fn failures_in_the_time_of_grace_do_not_kill_and_count_when_marathon_looks() {
    let engine = TestEngine::start();
    let signs = Signs::new();
    let in_grace = json!({ "maxConsecutiveFailures": 1, "gracePeriodSeconds": 3600 });
    let looks = signs.place("looks");
    let look = format!("echo >> {}; test -e {}", looks.display(), signs.place("ok").display());
    let by_agent = with(check("COMMAND", json!({ "command": { "value": look } })), in_grace.clone());
    engine.post_app("/agent", signs.server(&by_agent)).ok();
    engine.post_app("/marathon", signs.server(&with(of_page("HTTP", "/ok"), in_grace))).ok();
    let unhealthy = |found: &Value| found["app"]["tasksUnhealthy"] == 1;
    let found = engine.until("/v2/apps/marathon", "unhealthy", unhealthy);
    let result = &found["app"]["tasks"][0]["healthCheckResults"][0];
    assert_eq!((&result["alive"], &result["consecutiveFailures"]), (&json!(false), &json!(0)));
    // Without grace the second look would have been the end of either.
    holds_soon("four looks", || std::fs::read_to_string(&looks).is_ok_and(|looks| looks.lines().count() >= 4));
    let agents = engine.app("/agent");
    assert_eq!((&agents["tasksRunning"], &agents["tasksUnhealthy"]), (&json!(1), &json!(0)));
    signs.put("ok");
    engine.settled();
    for id in ["/agent", "/marathon"] {
        let tasks = engine.task_ids(id);
        assert_eq!(
            (engine.app(id)["tasksHealthy"].clone(), instance_and_incarnation(&tasks[0]).1),
            (json!(1), 1),
            "{id}"
        );
    }
}
