//! A rolling upgrade, seen by those who use the app.

use serde_json::json;

use crate::support::balancer::Balancer;
use crate::support::engine::{TestEngine, probe_app};
use crate::support::figures::figure;
use crate::support::times::ms;

#[test]
fn a_rolling_upgrade_of_four_instances_fails_no_request_of_a_client_that_follows_the_events() {
    const RATE: u32 = 200;
    let engine = TestEngine::start();
    let app = |release: &str| {
        let mut app = probe_app(release);
        app["instances"] = json!(4);
        app["upgradeStrategy"] = json!({ "minimumHealthCapacity": 0.75, "maximumOverCapacity": 0.25 });
        json!({ "apps": [app] })
    };
    engine.put("/v2/groups/shop", &app("1")).ok();
    engine.settled();
    let balancer = Balancer::of(engine.address(), "/shop/web");
    let (took, served) = balancer.serve(RATE, 8, || {
        let begun = std::time::Instant::now();
        engine.put("/v2/groups/shop", &app("2")).ok();
        engine.settled();
        let took = begun.elapsed();
        // And a while of the new ones alone.
        std::thread::sleep(std::time::Duration::from_millis(500));
        took
    });
    figure(&format!(
        "a rolling upgrade of 4 instances under {RATE} requests/s: {} requests, {} failed, {} refused once; {} s, \
         answers p50 {}, p99 {}",
        served.asked,
        served.failures.len(),
        served.retried,
        took.as_secs(),
        ms(served.times.median()),
        ms(served.times.percentile(99)),
    ));
    assert!(served.failures.is_empty(), "{:#?}", served.failures);
    assert!(served.asked > u64::from(RATE), "only {} were asked", served.asked);
    assert_eq!(served.pages.keys().collect::<Vec<_>>(), ["ok 1", "ok 2"]);
    assert_eq!(engine.get("/v2/apps/shop/web").json()["app"]["tasksHealthy"], 4);
}
