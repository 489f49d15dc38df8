//! The event stream: who hears what, in which order.

use serde_json::{Value, json};

use super::{Asking, apps, sleeper, with};
use crate::support::engine::TestEngine;
use crate::support::event_stream::{Event, EventStream};

/// An event in a word: its kind, with what it says when that matters for the order.
fn word((kind, event): &Event) -> String {
    let detail = ["condition", "taskStatus"].iter().find_map(|field| event[*field].as_str());
    detail.map_or_else(|| kind.clone(), |detail| format!("{kind} {detail}"))
}

#[test]
fn a_first_deployment_is_told_in_marathons_order() {
    let engine = TestEngine::start();
    let mut events = engine.listen();
    let check = json!({
        "protocol": "COMMAND", "command": { "value": "true" }, "gracePeriodSeconds": 30, "intervalSeconds": 1,
        "timeoutSeconds": 5, "maxConsecutiveFailures": 3, "delaySeconds": 0
    });
    let group = json!({ "apps": apps(&[("a", with(sleeper(), json!({ "healthChecks": [check] })))]) });
    engine.deployed(engine.put("/v2/groups/g", &group), &mut events);
    let heard: Vec<String> = events.heard().iter().map(word).collect();
    let expected = [
        "event_stream_attached",
        "group_change_success",
        "deployment_info",
        "add_health_check_event",
        "deployment_step_success",
        "deployment_info",
        "instance_changed_event Scheduled",
        "instance_changed_event Provisioned",
        "status_update_event TASK_STARTING",
        "instance_changed_event Starting",
        "status_update_event TASK_RUNNING",
        "instance_changed_event Running",
        "status_update_event TASK_RUNNING",
        "instance_health_changed_event",
        "deployment_step_success",
        "deployment_success",
    ];
    // Others may stand between.
    let mut rest = heard.iter();
    for word in expected {
        assert!(rest.any(|heard| heard == word), "{word} is missing, or out of order: {heard:#?}");
    }
    let said = |kind: &str| events.heard().iter().filter(|(heard, _)| heard == kind).count();
    // Only of an app that is sent alone.
    assert_eq!((said("group_change_success"), said("api_post_event")), (1, 0));
}

#[test]
fn an_app_that_is_sent_alone_is_told_with_its_definition() {
    let engine = TestEngine::start();
    let mut events = engine.listen();
    for (method, path) in [("POST", "/v2/apps"), ("PUT", "/v2/apps/g/a"), ("PATCH", "/v2/apps/g/a")] {
        let body = with(sleeper(), json!({ "id": "/g/a", "instances": 0, "env": { "BY": method } }));
        engine.ask(method, path, Some(&body)).ok();
        let posted = events.until("api_post_event", |_| true);
        assert_eq!((&posted["uri"], &posted["clientIp"]), (&json!(path), &json!("127.0.0.1")));
        let definition = &posted["appDefinition"];
        assert_eq!((&definition["id"], &definition["env"]), (&json!("/g/a"), &json!({ "BY": method })));
    }
    let of_parent = |(kind, event): &&Event| kind == "group_change_success" && event["groupId"] == "/g";
    assert_eq!(events.heard().iter().filter(of_parent).count(), 3);
    engine.settled();
}

#[test]
fn a_client_hears_only_the_kinds_that_it_asked_for() {
    let engine = TestEngine::start();
    let query = "event_type=deployment_success&event_type=app_terminated_event";
    let mut some = EventStream::open(engine.address(), query);
    for id in ["/a", "/b"] {
        engine.deployed(engine.post_app(id, sleeper()), &mut some);
    }
    engine.delete("/v2/apps/a").ok();
    some.until("app_terminated_event", |event| event["appId"] == "/a");
    let kinds: Vec<&str> = some.heard().iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["deployment_success", "deployment_success", "app_terminated_event"]);
}

#[test]
fn every_client_hears_everything_and_first_that_it_is_there_itself() {
    let engine = TestEngine::start();
    let mut first = engine.listen();
    first.until("event_stream_attached", |event| event["remoteAddress"] == "127.0.0.1");
    let mut second = engine.listen();
    second.until("event_stream_attached", |_| true);
    let reply = engine.post_app("/a", sleeper()).ok();
    let id = reply.header("marathon-deployment-id").unwrap().to_owned();
    let done = |event: &Value| event["id"] == id;
    assert_eq!(first.until("deployment_success", done), second.until("deployment_success", done));
    let of_deployment = |stream: &EventStream| {
        let all = stream.heard().iter().filter(|(kind, _)| !kind.starts_with("event_stream"));
        all.cloned().collect::<Vec<_>>()
    };
    assert_eq!(of_deployment(&first), of_deployment(&second));
    assert_eq!(
        (first.heard()[0].0.as_str(), second.heard()[0].0.as_str()),
        ("event_stream_attached", "event_stream_attached")
    );
    drop(first);
    second.until("event_stream_detached", |_| true);
}

#[test]
fn a_stream_is_for_those_who_accept_one() {
    let engine = TestEngine::start();
    // As a client that accepts JSON.
    assert_eq!(engine.get("/v2/events").status, 405);
}
