//! Builds that fill Docker's own disk: a Docker of the test's own, with a small one.

use paas::docker::{Docker, Socket};
use paas::model::ByteSize;

use super::{Engine, Lab, Outcome, live_at, site};
use crate::support::http::get;
use crate::support::own_docker::OwnDocker;

const DISK: u32 = 48 << 10;

/// Says why it failed, and nothing is left of it.
#[track_caller]
fn failed_on_a_full_disk(outcome: &Outcome, because: &str, docker: &OwnDocker) {
    let reason = outcome.reason();
    assert!(
        reason.starts_with("build failed: Docker's disk is full: ") && reason.contains(" are free on "),
        "{reason}"
    );
    let advice = " were when the build began; its operator has to make room there, or the build to write less (";
    assert!(reason.contains(&format!("{advice}{because}")), "{reason}");
    assert_eq!(docker.docker(&["ps", "--all", "--quiet"]).lines().count(), 1, "what serves, and nothing else");
    assert_eq!(docker.docker(&["images", "--all", "--quiet"]).lines().count(), 2, "the builder and what serves");
}

#[tokio::test]
async fn a_build_that_fills_dockers_disk_is_told_so_and_leaves_room_for_the_next_one() {
    let own = OwnDocker::on_a_disk_of(DISK);
    let home = tempfile::tempdir().unwrap();
    let engine = Engine::start_in(&own.socket(), &home.path().join("engine"), &home.path().display().to_string());
    let url = engine.url.clone();
    let lab = Lab::with(home, &url, Some(engine), |platform| {
        platform.docker = Docker::at(Socket(own.socket()));
        platform.builder.free = ByteSize::mib(16);
    });
    own.load(lab.builder.name());
    let app = site("first");
    let address = live_at(&lab.push(&app).await);

    app.write("build", "cat /dev/zero > all-there-is\n");
    app.commit("greedy");
    failed_on_a_full_disk(&lab.push(&app).await, "the build exited with status 1", &own);
    let step = "cat /dev/zero > /all-there-is || { sleep 1; exit 1; }";
    app.write("Dockerfile", format!("FROM {}\nRUN {step}\n", lab.builder.name()));
    app.commit("greedy in another way");
    failed_on_a_full_disk(&lab.push(&app).await, "The command '/bin/sh -c cat /dev/zero > /all-there-is", &own);
    assert_eq!(get(address, "/page", None).unwrap().body, "first");

    app.remove("Dockerfile");
    app.write("build", "echo modest\n");
    app.write("page", "second");
    app.commit("modest");
    assert_eq!(get(live_at(&lab.push(&app).await), "/page", None).unwrap().body, "second");
}
