//! What goes wrong around a push: its disk, Docker, the registry, Marathon.

use std::sync::Arc;
use std::time::{Duration, Instant};

use paas::pipeline::FaultPoint;

use super::lane::{DEADLINE, Lane, Outcome, SILENCE};
use super::table::{Expected, Fault, Plan, is_in_gits_hands, plan};
use super::{Case, cases, dockerfile_on, is_by_dockerfile, run};
use crate::support::builder::TestBuilder;
use crate::support::door::{Requests, Way};
use crate::support::fault_points::Hold;
use crate::support::http::address_of;
use crate::support::registry::TestRegistry;

/// Docker itself tries a registry again and again, and gives up after some fifty seconds.
const LONGEST: Duration = Duration::from_secs(90);
/// What passes of a layer before its connection is cut.
const CUT_AFTER: u64 = 128 << 10;
/// How long there is no leader.
const LEADERLESS: Duration = Duration::from_secs(2);
/// How long a Docker that hangs may be silent; less than a registry.
const NOTICED_WITHIN: Duration = Duration::from_secs(2);

const FAULTS: [Fault; 15] = [
    // Those that take longest first.
    Fault::RegistryCut,
    Fault::RegistryBroken,
    Fault::RegistryHanging,
    Fault::RegistryAway,
    Fault::RegistryUnauthorized,
    Fault::DockerHanging,
    Fault::MarathonHanging,
    Fault::MarathonAway,
    Fault::MarathonLocked,
    Fault::MarathonRefusing,
    Fault::LeaderLost,
    Fault::AnswersLost,
    Fault::NeverHealthy,
    Fault::DiskFull,
    Fault::DockerAway,
];

#[test]
fn whatever_fails_around_a_push_what_served_goes_on_and_the_next_push_heals() {
    let (builder, registry) = (Arc::new(TestBuilder::make()), TestRegistry::start());
    let address = address_of(&format!("http://{}", registry.host()));
    let mut cases = cases(&FAULTS);
    // Those are `full`'s.
    cases.retain(|case| !is_in_gits_hands(case.point));
    run(cases, 6, || Lane::start(&builder, address), case);
}

fn case(lane: &mut Lane, case: Case) {
    let Case { point, fault } = case;
    let Plan::Run(expected) = plan(point, fault) else { unreachable!("those alone are run") };
    let before = lane.serving.clone();
    prepare(lane, case);
    let page = lane.serving.page.clone();

    let hold = Hold::at(point, lane.home(), &lane.app);
    let push = lane.begin();
    let reached = hold.reached(Duration::from_secs(30), || push.is_finished());
    if reached.is_none() {
        let outcome = push.join().unwrap();
        panic!("it never came to {point:?}: {:?}\n{}", outcome.result, outcome.said);
    }
    if !is_replaced(point) {
        assert_eq!(lane.answer().as_deref(), Some(page.as_str()), "when it came to {point:?}");
    }
    inject(lane, fault);
    drop(hold);
    if matches!(fault, Fault::LeaderLost | Fault::AnswersLost) {
        std::thread::sleep(LEADERLESS);
        lane.marathon.turn(Way::Open);
    }
    let began = Instant::now();
    while !push.is_finished() {
        assert!(began.elapsed() < LONGEST, "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
    let outcome = push.join().unwrap();

    ended_as(expected, &outcome);
    if outcome.result.is_ok() {
        lane.takes_over(&outcome);
    } else {
        serves_something(lane, case, &outcome);
        assert_eq!(lane.branch().map(|commit| commit.to_string()), Some(before.commit), "the branch moved");
    }
    mend(lane, fault);
    assert!(!lane.is_locked(), "its lock outlived it");
    let is_dockers = matches!(fault, Fault::DockerAway | Fault::DockerHanging);
    if !(is_dockers || fault == Fault::DiskFull) {
        assert_eq!(lane.leftovers(), Vec::<String>::new(), "at once");
    }
    if is_before_the_slug(point) && !is_dockers {
        let unknown: Vec<String> = lane.slugs().difference(&lane.known_slugs()).cloned().collect();
        assert_eq!(unknown, Vec::<String>::new(), "a slug is left of a build that failed\n{}", outcome.said);
    }

    heals(lane);
}

/// The next push has its turn at once and succeeds, and nothing of the one that failed is left.
fn heals(lane: &mut Lane) {
    lane.next_page();
    (lane.deadline, lane.docker_silence) = (DEADLINE, SILENCE);
    let next = lane.push();
    assert!(!next.said.contains("Waiting for"), "it had to wait\n{}", next.said);
    lane.takes_over(&next);
    assert_eq!(lane.leftovers(), Vec::<String>::new(), "after the next push");
    lane.sweep();
    let unknown: Vec<String> = lane.slugs().difference(&lane.known_slugs()).cloned().collect();
    assert_eq!(unknown, Vec::<String>::new(), "slugs that nobody knows of, after a sweep");
}

/// What is pushed: something that comes to the step.
fn prepare(lane: &mut Lane, case: Case) {
    lane.project.remove("Dockerfile");
    if is_by_dockerfile(case.point) {
        lane.project.write("Dockerfile", dockerfile_on(&lane.builder));
    }
    lane.next_page();
    lane.deadline = match (case.fault, case.point) {
        // Those that wait for it.
        (Fault::MarathonAway | Fault::MarathonHanging, FaultPoint::Posted | FaultPoint::DeploymentNoted) => {
            Duration::from_secs(6)
        }
        (Fault::NeverHealthy, _) => Duration::from_secs(20),
        _ => DEADLINE,
    };
    if case.fault == Fault::DockerHanging {
        lane.docker_silence = NOTICED_WITHIN;
    }
    match case.point {
        FaultPoint::ReleaseCommandBegun | FaultPoint::ReleaseCommandEnded | FaultPoint::Recorded => {
            lane.project.write("paas.yml", "release: sleep 0.2\nprocesses: {web: {stop_timeout: 1s}}\n");
            lane.project.commit("with a release command");
        }
        FaultPoint::RollingBack | FaultPoint::RolledBack => {
            lane.project.write("Procfile", "web: false\n");
            lane.project.commit("broken");
        }
        FaultPoint::Posted if case.fault == Fault::NeverHealthy => {
            lane.project.write("Procfile", "web: sleep 600\n");
            lane.project.commit("deaf");
        }
        _ => {}
    }
}

fn inject(lane: &Lane, fault: Fault) {
    let answering = |status, body: &str, to| Way::Answering { status, body: body.to_owned(), to };
    match fault {
        Fault::HookKilled | Fault::SessionKilled => unreachable!("a thread cannot be killed"),
        Fault::DiskFull => lane.disk.fill(),
        Fault::DockerAway => lane.docker.turn(Way::Away),
        Fault::DockerHanging => lane.docker.turn(Way::Frozen),
        Fault::RegistryAway => lane.registry.turn(Way::Away),
        Fault::RegistryUnauthorized => {
            let body = r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#;
            lane.registry.turn(answering(401, body, Requests::All));
        }
        Fault::RegistryBroken => lane.registry.turn(answering(500, "{}", Requests::Changes)),
        Fault::RegistryHanging => lane.registry.turn(Way::Hanging),
        Fault::RegistryCut => lane.registry.turn(Way::Cut { after: CUT_AFTER }),
        Fault::MarathonAway => lane.marathon.turn(Way::Away),
        Fault::MarathonHanging => lane.marathon.turn(Way::Hanging),
        Fault::MarathonLocked => {
            let body = r#"{"message":"App is locked by one or more deployments.","deployments":[{"id":"97c136bf-5a28-4821-9d94-480d9fbb01c8"}]}"#;
            lane.marathon.turn(answering(409, body, Requests::Changes));
        }
        Fault::MarathonRefusing => {
            let body =
                r#"{"message":"Object is not valid","details":[{"path":"/instances","errors":["must be greater"]}]}"#;
            lane.marathon.turn(answering(422, body, Requests::Changes));
        }
        Fault::LeaderLost => {
            lane.marathon.turn(answering(
                503,
                r#"{"message":"Could not determine the current leader"}"#,
                Requests::All,
            ));
        }
        Fault::AnswersLost => lane.marathon.turn(Way::AnswersLost),
        // The release itself is what is wrong.
        Fault::NeverHealthy => {}
    }
}

fn mend(lane: &Lane, fault: Fault) {
    if fault == Fault::DiskFull {
        lane.disk.free();
    }
    for door in [&lane.docker, &lane.registry, &lane.marathon] {
        door.turn(Way::Open);
    }
}

/// The release before may be gone when a push comes there.
fn is_replaced(point: FaultPoint) -> bool {
    matches!(point, FaultPoint::Served | FaultPoint::ServingMarked | FaultPoint::RolledBack | FaultPoint::RollingBack)
}

/// No image is there yet, or must be there after a failure.
fn is_before_the_slug(point: FaultPoint) -> bool {
    matches!(
        point,
        FaultPoint::Locked
            | FaultPoint::SourceRead
            | FaultPoint::BuildBegun
            | FaultPoint::ContainerMade
            | FaultPoint::SourceUploaded
            | FaultPoint::BuildEnded
            | FaultPoint::Committed
    )
}

#[track_caller]
fn ended_as(expected: Expected, outcome: &Outcome) {
    match (expected, &outcome.result) {
        (Expected::Success | Expected::Either(_), Ok(_)) => {}
        (Expected::Failure(parts) | Expected::Either(parts), Err(reason)) => {
            for part in parts {
                assert!(reason.contains(part), "no {part:?} in {reason:?}\n{}", outcome.said);
            }
            assert!(!outcome.said.contains("is live"), "success was said:\n{}", outcome.said);
        }
        (expected, result) => panic!("{expected:?} was expected, and it ended as {result:?}\n{}", outcome.said),
    }
}

/// The release before answers; when Marathon could not be reached any more, that or the new one.
fn serves_something(lane: &Lane, case: Case, outcome: &Outcome) {
    if lane.answer().as_deref() == Some(lane.serving.page.as_str()) {
        return;
    }
    // Rolling back replaces instances, at other ports.
    let deadline = Instant::now() + DEADLINE;
    let is_known = |page: &str| {
        let in_the_dark = matches!(case.fault, Fault::MarathonAway | Fault::MarathonHanging);
        page == lane.serving.page || in_the_dark && page.starts_with("page ")
    };
    while lane.any_answer().is_none_or(|page| !is_known(&page)) {
        assert!(Instant::now() < deadline, "what served does not: {:?}\n{}", outcome.result, outcome.said);
        std::thread::sleep(Duration::from_millis(50));
    }
}
