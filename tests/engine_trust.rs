//! Whatever dies, fills up or is taken away: what was asked for runs again without a hand, or it shows why not.

mod behind_its_back;
mod clock;
mod disk;
mod dockerd;
mod random_kills;
mod state_file;

mod the_end;

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::engine::TestEngine;

/// One instance, running and healthy.
#[track_caller]
fn healthy(engine: &TestEngine, app: &str) -> Value {
    engine.until(&format!("/v2/apps{app}"), "healthy", |found| {
        found["app"]["tasksHealthy"] == found["app"]["instances"] && found["app"]["tasksHealthy"] != 0
    })
}

/// The id of the app's only task.
#[track_caller]
fn task(engine: &TestEngine, app: &str) -> String {
    let found = engine.get(&format!("/v2/apps{app}/tasks")).ok().json();
    let tasks = found["tasks"].as_array().unwrap();
    assert_eq!(tasks.len(), 1, "{found:#}");
    tasks[0]["id"].as_str().unwrap().to_owned()
}

/// Looks until it is so.
#[track_caller]
fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !holds() {
        assert!(Instant::now() < deadline, "never {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Why the app waits, in the words of the queue: the reasons that declined something.
fn reasons(engine: &TestEngine, app: &str) -> Vec<String> {
    let queue = engine.get("/v2/queue").ok().json();
    let items = queue["queue"].as_array().unwrap();
    let item = items.iter().find(|item| item["app"]["id"] == app);
    let summary = item.map(|item| &item["processedOffersSummary"]["rejectSummaryLastOffers"]);
    let entries = summary.and_then(Value::as_array).into_iter().flatten();
    let declined = entries.filter(|entry| entry["declined"].as_u64().is_some_and(|declined| declined > 0));
    declined.map(|entry| entry["reason"].as_str().unwrap().to_owned()).collect()
}
