//! A Docker that hangs: it has connections, and answers nothing, not even a ping.

use std::path::Path;
use std::time::{Duration, Instant};

use paas::docker::{Docker, Socket};

use super::Lab;
use crate::support::door::{Door, Way};
use crate::support::project::Project;

/// Long enough for a ping on a machine that is busy with everything else that is tested.
const SILENCE: Duration = Duration::from_secs(4);

fn lab(door: &Door) -> Lab {
    Lab::building(|platform| {
        platform.docker = Docker::at(Socket(door.socket().to_owned())).given_up_after(SILENCE);
    })
}

#[tokio::test]
async fn a_build_that_is_silent_for_long_is_waited_for_as_long_as_docker_lives() {
    let door = Door::before_socket(Path::new("/var/run/docker.sock"));
    let lab = lab(&door);
    let outcome = lab.push(&Project::built_by("sleep 6; echo done after all")).await;
    outcome.says("done after all");
    assert_eq!(lab.images().len(), 1, "{}", outcome.text());
}

#[tokio::test]
async fn a_docker_that_falls_silent_amid_a_build_ends_it_and_the_next_push_finds_nothing_of_it() {
    let door = Door::before_socket(Path::new("/var/run/docker.sock"));
    let lab = lab(&door);
    let app = Project::built_by("echo it begins; sleep 600");
    let hung = async {
        while lab.containers().is_empty() || !lab.build_log(1).contains("it begins") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        door.turn(Way::Frozen);
        Instant::now()
    };
    let (outcome, hung) = tokio::join!(lab.push(&app), hung);
    let reason = outcome.reason();
    assert!(reason.starts_with("build failed: cannot reach Docker at "), "{reason}");
    assert!(reason.contains(": it gave no sign of life for 4 s"), "{reason}");
    // Once for the build, and a moment for its container, which is not asked for in vain again.
    assert!(hung.elapsed() < SILENCE * 3, "{:?}", hung.elapsed());

    door.turn(Way::Open);
    let next = lab.push(&Project::built_by("echo made")).await;
    next.says("made");
    assert_eq!(lab.containers(), "", "{}", next.text());
}
