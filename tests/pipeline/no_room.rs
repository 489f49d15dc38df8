//! A release that the engine has no room for.

use std::time::Duration;

use super::{Lab, live_at, site};
use crate::support::http::{address_of, get};

#[tokio::test]
async fn a_release_that_this_machine_has_no_room_for_says_so_and_the_last_one_serves() {
    let lab = Lab::serving(|platform| platform.deploy.deadline = Duration::from_secs(10));
    let app = site("first");
    app.write("paas.yml", "processes: {web: {stop_timeout: 1s}}\n");
    app.commit("quickly ended");
    live_at(&lab.push(&app).await);
    // 16 TiB.
    app.write("paas.yml", "processes: {web: {stop_timeout: 1s, mem: 16777216}}\n");
    app.commit("too big");
    let outcome = lab.push(&app).await;
    outcome.says(" !     web waits for resources for 1 of 1 instances: memory (needs 16777216 MiB, offered at most ");
    let reason = outcome.reason();
    let parts = [
        "deploy failed: web had 0 of 1 instances up after 10s, waiting for resources: memory (needs 16777216 MiB, ",
        "; 1 of 1 offers refused for it); v1 is still serving",
    ];
    assert!(reason.starts_with(parts[0]) && reason.ends_with(parts[1]), "{reason}");
    let tasks = lab.platform.tenancy.marathon.tasks(&"/shop/web".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(tasks.len(), 1, "{tasks:?}");
    let serving = format!("http://{}:{}", tasks[0].host, tasks[0].ports[0]);
    assert_eq!(get(address_of(&serving), "/page", None).unwrap().body, "first");

    app.write("paas.yml", "");
    app.commit("of a size");
    live_at(&lab.push(&app).await);
}
