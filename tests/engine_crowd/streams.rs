//! Event streams: many that are idle, and one that is never read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;

use super::{beside_another, modest, unharmed};
use crate::support::crowd::{attach_and_leave, fill_with_events};
use crate::support::engine::TestEngine;
use crate::support::events::Events;
use crate::support::usage::Usage;

const IDLE: usize = 1000;

#[test]
fn a_thousand_idle_streams_are_served_from_a_soft_limit_of_a_hundred_and_all_hear_what_happens() {
    let engine = TestEngine::setup().open_files(100).start();
    let before = Usage::of(engine.pid()).resident;
    let kind = "?event_type=deployment_success";
    let (mut streams, times) =
        beside_another(&engine, || (0..IDLE).map(|_| Events::of(engine.address(), kind).unwrap()).collect::<Vec<_>>());
    unharmed(&times);
    let each = (Usage::of(engine.pid()).resident.saturating_sub(before) << 10) / u64::try_from(IDLE).unwrap();
    assert!(each < 64 << 10, "an idle stream takes {each} bytes");
    let deployment = engine.put("/v2/apps/a", &json!({ "cmd": "exec sleep 1000", "instances": 0 })).ok().json();
    for stream in &mut streams {
        let (kind, data) = stream.next().expect("the event");
        assert_eq!((kind.as_str(), &data["id"]), ("deployment_success", &deployment["deploymentId"]));
    }
    modest(&engine);
}

#[test]
fn a_client_that_never_reads_is_cut_off_and_the_others_hear_all() {
    const EVENTS: u64 = 4_000;
    // Of what it does not read, the kernel keeps about ten megabytes.
    const LARGE: usize = 160;
    const BYTES: usize = 100_000;
    let engine = TestEngine::start();
    let mut deaf = Events::of(engine.address(), "").unwrap();
    let mut listener = Events::of(engine.address(), "?event_type=event_stream_detached").unwrap();
    let heard = AtomicU64::new(0);
    let ((), times) = beside_another(&engine, || {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // Each client that comes and goes is told of twice, of which this one hears the second.
                while heard.load(Ordering::Relaxed) < EVENTS / 2 && listener.next().is_some() {
                    heard.fetch_add(1, Ordering::Relaxed);
                }
            });
            for n in 0..LARGE {
                let labels = json!({ "n": n.to_string(), "weight": "x".repeat(BYTES) });
                engine.put("/v2/apps/large", &json!({ "cmd": "sleep 1", "instances": 0, "labels": labels })).ok();
            }
            fill_with_events(engine.address(), EVENTS, 4);
        });
    });
    assert!(heard.into_inner() >= EVENTS / 2, "the one that reads has heard all");
    assert!(deaf.ends(Duration::from_secs(30)), "the one that did not read was cut off");
    attach_and_leave(engine.address());
    unharmed(&times);
    modest(&engine);
}
