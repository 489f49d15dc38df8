//! The engine itself, killed at any moment of a deployment.

use std::time::Duration;

use serde_json::json;

use super::{healthy, until};
use crate::support::chance::Chance;
use crate::support::engine::{TestEngine, probe_app};

#[test]
fn an_engine_killed_at_any_moment_of_a_deployment_brings_it_to_its_end() {
    const ROUNDS: usize = 10;
    let mut chance = Chance::new();
    let mut engine = TestEngine::start();
    let mut release = 0;
    for _ in 0..ROUNDS {
        release += 1;
        let mut app = probe_app(&release.to_string());
        app["instances"] = json!(chance.between(1, 2));
        let command = json!({ "id": "job", "cmd": format!("exec sleep 1000{release}"), "cpus": 0.1, "mem": 32 });
        engine.put("/v2/groups/shop?force=true", &json!({ "apps": [app, command] })).ok();
        std::thread::sleep(Duration::from_millis(chance.between(0, 700)));
        engine.kill();
        engine.launch();
        // What was answered as accepted is still asked for.
        let found = engine.get("/v2/apps/shop/web").ok().json();
        assert_eq!(found["app"]["env"]["PAAS_RELEASE"], json!(release.to_string()), "{found:#}");
    }
    engine.settled();
    let found = healthy(&engine, "/shop/web");
    let wanted = usize::try_from(found["app"]["instances"].as_u64().unwrap()).unwrap();
    engine.until("/v2/apps/shop/job", "running", |found| found["app"]["tasksRunning"] == 1);
    until("as many containers and processes as asked for", || {
        (engine.containers().len(), engine.processes().len()) == (wanted, 1)
    });
}
