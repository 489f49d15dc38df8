//! The launch queue: what waits, why, and for how long.

use serde_json::{Value, json};

use super::{Asking, Signs, deployments, fields, sleeper, with};
use crate::support::engine::TestEngine;

/// In the order that they are tried in.
const REASONS: [&str; 10] = [
    "UnfulfilledRole",
    "UnfulfilledConstraint",
    "NoCorrespondingReservationFound",
    "AgentMaintenance",
    "InsufficientCpus",
    "InsufficientMemory",
    "InsufficientDisk",
    "InsufficientGpus",
    "InsufficientPorts",
    "DeclinedScarceResources",
];

/// How often an app was declined for each reason that it was.
fn declined(item: &Value) -> Vec<&str> {
    let summary = item["processedOffersSummary"]["rejectSummaryLastOffers"].as_array().unwrap();
    let reasons: Vec<_> = summary.iter().map(|step| step["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, REASONS);
    summary.iter().filter(|step| step["declined"] != 0).map(|step| step["reason"].as_str().unwrap()).collect()
}

#[test]
fn what_cannot_be_placed_is_queued_with_the_reason_and_leaves_the_queue_when_it_runs() {
    let engine = TestEngine::start();
    let mut events = engine.listen();
    let alone = with(sleeper(), json!({ "instances": 2, "constraints": [["hostname", "UNIQUE"]] }));
    engine.post_app("/alone", alone).ok();
    engine.running("/alone", 1);
    let big = with(sleeper(), json!({ "cpus": 100_000 }));
    engine.post_app("/big", big).ok();
    let queue = engine.until("/v2/queue", "two in the queue", |found| {
        let items = found["queue"].as_array().unwrap();
        items.len() == 2 && items.iter().all(|item| item["processedOffersSummary"]["unusedOffersCount"] != 0)
    });
    for (id, reason) in [("/alone", "UnfulfilledConstraint"), ("/big", "InsufficientCpus")] {
        let item = queue["queue"].as_array().unwrap().iter().find(|item| item["app"]["id"] == id).unwrap();
        assert_eq!(fields(item, &["count", "role"]), json!({ "count": 1, "role": "*" }), "{id}");
        assert_eq!(item["delay"], json!({ "timeLeftSeconds": 0, "overdue": true }));
        assert!(item["since"].is_string() && item.get("lastUnusedOffers").is_none(), "{item:#}");
        assert_eq!(declined(item), [reason], "{id}");
    }
    let embedded = engine.get("/v2/queue?embed=lastUnusedOffers").json();
    let offer = &embedded["queue"][0]["lastUnusedOffers"][0];
    assert!(offer["offer"]["hostname"].is_string() && offer["reason"].is_array(), "{embedded:#}");

    engine.deployed(engine.put("/v2/apps/alone?force=true", &json!({ "constraints": [] })), &mut events);
    engine.deployed(engine.put("/v2/apps/big?force=true", &json!({ "cpus": 0.01 })), &mut events);
    assert_eq!(
        (engine.app("/alone")["tasksRunning"].clone(), engine.get("/v2/queue").json()),
        (json!(2), json!({ "queue": [] }))
    );
    assert_eq!(deployments(&engine), [""; 0]);
}

#[test]
fn a_delay_that_is_reset_is_over_at_once() {
    let engine = TestEngine::start();
    let signs = Signs::new();
    let cmd = format!("test -e {} || exit 1; exec sleep 1000", signs.place("ok").display());
    engine.post_app("/g/a", with(sleeper(), json!({ "cmd": cmd, "backoffSeconds": 3600 }))).ok();
    engine.until("/v2/queue", "delayed", |queue| queue["queue"][0]["delay"]["overdue"] == false);
    signs.put("ok");
    let reset = engine.delete("/v2/queue/g/a/delay");
    assert_eq!((reset.status, reset.body.as_str()), (204, ""));
    let app = engine.running("/g/a", 1);
    assert_eq!(super::instance_and_incarnation(app["tasks"][0]["id"].as_str().unwrap()).1, 2);
    engine.until("/v2/queue", "empty", |queue| *queue == json!({ "queue": [] }));
    let again = engine.delete("/v2/queue/g/a/delay");
    assert_eq!(
        (again.status, again.json()["message"].clone()),
        (404, json!("Application /g/a not found in tasks queue."))
    );
}
