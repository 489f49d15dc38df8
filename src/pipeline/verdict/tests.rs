use super::*;

const NEW: &str = "2026-11-23T09:41:28.791Z";
const OLD: &str = "2026-11-20T00:00:00.000Z";
const RULES: DeployRules = DeployRules { deadline: Duration::from_mins(5), settle: Duration::from_secs(1), retries: 2 };

fn ours() -> DeploymentId {
    "fc9e7218-95dd-4578-832c-257e36128a07".parse().unwrap()
}
fn web() -> PathId {
    "/shop/web".parse().unwrap()
}
fn second(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
fn judge(instances: u32, checked: bool) -> Judge {
    let expected = Expected { process: "web".parse().unwrap(), instances, checked };
    Judge::new(ours(), NEW, BTreeMap::from([(web(), expected)]), RULES)
}
fn at(instance: &str, attempt: u32) -> TaskPlace {
    TaskPlace {
        task: format!("shop_web.instance-{instance}._app.{attempt}"),
        host: "127.0.0.1".to_owned(),
        agent: Some("S0".to_owned()),
    }
}
fn task(instance: &str, attempt: u32, healthy: Option<bool>) -> SeenTask {
    SeenTask { at: at(instance, attempt), version: Some(NEW.to_owned()), state: TaskState::Running, healthy }
}
fn old(instance: &str) -> SeenTask {
    SeenTask { version: Some(OLD.to_owned()), ..task(instance, 1, Some(true)) }
}
fn seen(deploying: bool, tasks: Vec<SeenTask>) -> Seen {
    let app = SeenApp { version: NEW.to_owned(), instances: 1, tasks, last_failure: None, shortage: None };
    Seen { deploying, apps: BTreeMap::from([(web(), app)]) }
}
fn ended(instance: &str, attempt: u32, state: TaskState, message: &str) -> Heard {
    Heard::Task { app: web(), version: NEW.to_owned(), state, message: message.to_owned(), at: at(instance, attempt) }
}
fn health(instance: &str, healthy: bool) -> Heard {
    let instance = format!("shop_web.instance-{instance}");
    Heard::Health { app: web(), version: NEW.to_owned(), instance, healthy }
}
/// As a real Marathon told it, of one offer that is refused for these reasons.
fn shortage(reasons: &[&str]) -> Shortage {
    let steps = crate::marathon::transcripts::steps("waiting-app");
    let asked = |step: &&serde_json::Value| step["request"]["path"] == "/v2/queue?embed=lastUnusedOffers";
    let mut item = steps.iter().find(asked).unwrap()["response"]["json"]["queue"][0].clone();
    let summary = &mut item["processedOffersSummary"];
    for step in summary["rejectSummaryLastOffers"].as_array_mut().unwrap() {
        step["declined"] = u32::from(reasons.iter().any(|reason| step["reason"] == *reason)).into();
    }
    summary["lastUnusedOfferAt"] = "2026-11-23T09:43:00.000Z".into();
    Shortage::of(&serde_json::from_value(item).unwrap(), second(3)).unwrap()
}
fn reason(judge: &Judge, now: Duration) -> Option<String> {
    match judge.verdict(now) {
        Verdict::Failed(failure) => Some(failure.to_string()),
        _ => None,
    }
}

#[test]
fn it_serves_when_the_deployment_is_over_and_all_new_instances_are_healthy() {
    let mut judge = judge(2, true);
    judge.see(&seen(true, vec![old("a"), task("b", 1, None)]), second(1));
    assert!(matches!(judge.verdict(second(1)), Verdict::Pending { .. }));
    judge.see(&seen(true, vec![task("b", 1, Some(true)), task("c", 1, Some(true))]), second(2));
    assert!(matches!(judge.verdict(second(2)), Verdict::Pending { .. }), "old instances are not gone yet");
    judge.see(&seen(false, vec![task("b", 1, Some(true)), task("c", 1, Some(true))]), second(3));
    assert_eq!(judge.verdict(second(3)), Verdict::Serving);
}

#[test]
fn a_deployment_that_succeeded_is_not_enough() {
    let mut judge = judge(1, true);
    judge.hear(Heard::DeploymentSucceeded { id: ours() });
    judge.see(&seen(false, vec![task("b", 1, Some(false))]), second(1));
    assert!(matches!(judge.verdict(second(1)), Verdict::Pending { .. }));
    judge.see(&seen(false, vec![old("a")]), second(2));
    assert!(matches!(judge.verdict(second(2)), Verdict::Pending { .. }), "old instances count for nothing");
}

#[test]
fn without_a_check_an_instance_must_have_stayed_up() {
    let mut judge = judge(1, false);
    judge.see(&seen(false, vec![task("b", 1, None)]), second(1));
    assert_eq!(judge.verdict(second(1)), Verdict::Pending { look_again: second(2) });
    judge.see(&seen(false, vec![task("b", 1, None)]), second(2));
    assert_eq!(judge.verdict(second(2)), Verdict::Serving);
}

#[test]
fn a_restart_begins_the_settling_anew() {
    let mut judge = judge(1, false);
    judge.see(&seen(false, vec![task("b", 1, None)]), second(1));
    judge.see(&seen(false, vec![task("b", 2, None)]), second(2));
    assert_eq!(judge.verdict(second(2)), Verdict::Pending { look_again: second(3) });
}

#[test]
fn a_command_that_exits_at_once_has_failed_though_marathon_says_success() {
    let mut judge = judge(1, false);
    judge.hear(Heard::DeploymentSucceeded { id: ours() });
    for attempt in 1..=2 {
        judge.hear(ended("b", attempt, TaskState::Failed, "Container exited with status 1"));
        assert_eq!(reason(&judge, second(1)), None, "it may be tried again");
    }
    judge.hear(ended("b", 3, TaskState::Failed, "Container exited with status 1"));
    assert_eq!(reason(&judge, second(1)).unwrap(), "web exited with status 1");
}

#[test]
fn ending_without_a_failure_is_ending_too() {
    let mut judge = judge(1, true);
    for attempt in 1..=3 {
        judge.hear(ended("b", attempt, TaskState::Finished, "Command exited with status 0"));
    }
    assert_eq!(reason(&judge, second(1)).unwrap(), "web exited with status 0");
}

#[test]
fn a_health_kill_counts_once_and_needs_no_last_task_failure() {
    let mut judge = judge(1, true);
    for attempt in 1..=3 {
        assert_eq!(reason(&judge, second(9)), None);
        judge.see(&seen(true, vec![task("b", attempt, None)]), second(u64::from(attempt)));
        judge.hear(health("b", false));
        judge.hear(ended("b", attempt, TaskState::Killed, "Container exited with status 137"));
    }
    assert_eq!(reason(&judge, second(9)).unwrap(), "web did not pass its health check (3 times)");
}

#[test]
fn an_image_that_cannot_be_pulled_is_told_in_dockers_words() {
    let mut judge = judge(1, true);
    let words = "Failed to launch container: docker pull: manifest unknown\nand more";
    for attempt in 1..=3 {
        judge.hear(ended("b", attempt, TaskState::Failed, words));
    }
    let told = reason(&judge, second(1)).unwrap();
    assert_eq!(told, "web could not run: Failed to launch container: docker pull: manifest unknown");
}

#[test]
fn ends_that_nobody_heard_of_are_seen_by_the_number_of_the_try() {
    let mut judge = judge(1, true);
    let mut look = seen(true, vec![task("b", 4, None)]);
    look.apps.get_mut(&web()).unwrap().last_failure = Some(SeenFailure {
        at: at("b", 3),
        version: NEW.to_owned(),
        state: TaskState::Failed,
        message: "Container exited with status 7".to_owned(),
    });
    judge.see(&look, second(1));
    assert_eq!(reason(&judge, second(1)).unwrap(), "web exited with status 7");
}

#[test]
fn an_old_instance_that_ends_is_no_fault_of_the_new_release() {
    let mut judge = judge(1, true);
    for attempt in 1..=9 {
        let Heard::Task { app, state, message, at, .. } = ended("a", attempt, TaskState::Killed, "") else {
            unreachable!()
        };
        judge.hear(Heard::Task { app, version: OLD.to_owned(), state, message, at });
    }
    assert_eq!(reason(&judge, second(1)), None);
}

#[test]
fn the_same_end_heard_twice_is_one() {
    let mut judge = judge(1, true);
    for _ in 0..9 {
        judge.hear(ended("b", 1, TaskState::Failed, "Container exited with status 1"));
    }
    assert_eq!(reason(&judge, second(1)), None);
}

#[test]
fn the_deadline_names_what_is_missing() {
    let mut judge = judge(2, true);
    judge.see(&seen(true, vec![task("b", 1, Some(true)), task("c", 1, None)]), second(1));
    assert_eq!(judge.verdict(second(1)), Verdict::Pending { look_again: RULES.deadline });
    let Verdict::Failed(failure) = judge.verdict(second(300)) else { panic!("it is late") };
    assert_eq!(failure.to_string(), "web had 1 of 2 instances up after 5m");
    assert_eq!(failure.place(), Some(&at("c", 1)));
}

#[test]
fn a_cancelled_deployment_and_somebody_elses_are_failures() {
    let mut cancelled = judge(1, true);
    let reason_text = "The upgrade has been cancelled".to_owned();
    cancelled.hear(Heard::DeploymentFailed { id: DeploymentId::random(), reason: reason_text.clone() });
    assert_eq!(reason(&cancelled, second(1)), None);
    cancelled.hear(Heard::DeploymentFailed { id: ours(), reason: reason_text });
    assert!(reason(&cancelled, second(1)).unwrap().contains("cancelled"));

    let mut overridden = judge(1, true);
    let mut look = seen(true, Vec::new());
    look.apps.get_mut(&web()).unwrap().version = "2026-11-23T10:00:00.000Z".to_owned();
    overridden.see(&look, second(1));
    assert!(reason(&overridden, second(1)).unwrap().contains("somebody else"));
}

#[test]
fn an_app_that_the_put_did_not_change_counts_with_its_older_version() {
    let mut judge = judge(1, true);
    let mut look = seen(false, vec![old("a")]);
    look.apps.get_mut(&web()).unwrap().version = OLD.to_owned();
    judge.see(&look, second(1));
    assert_eq!(judge.verdict(second(1)), Verdict::Serving);
}

#[test]
fn no_instances_wanted_is_served_by_none() {
    let mut judge = judge(0, true);
    judge.see(&seen(false, Vec::new()), second(0));
    assert_eq!(judge.verdict(second(0)), Verdict::Serving);
}

#[test]
fn each_instance_is_announced_once_by_its_number() {
    let mut judge = judge(2, true);
    let first = judge.see(&seen(true, vec![task("b", 1, Some(true)), task("c", 1, None)]), second(1));
    assert_eq!(first, [CameUp { process: "web".parse().unwrap(), number: 1, checked: true }]);
    let then = judge.see(&seen(true, vec![task("b", 1, Some(true)), task("c", 1, Some(true))]), second(2));
    assert_eq!(then.iter().map(|up| up.number).collect::<Vec<_>>(), [2]);
}

#[test]
fn what_waits_for_resources_is_told_once_for_each_reason_and_again_when_the_deadline_has_passed() {
    let mut judge = judge(2, true);
    let told = |judge: &mut Judge, steps: &[&str], seconds| {
        let mut look = seen(true, vec![task("b", 1, Some(true))]);
        look.apps.get_mut(&web()).unwrap().shortage = Some(shortage(steps));
        judge.see(&look, second(seconds));
        judge.newly_short().iter().map(|waits| (waits.first, waits.to_string())).collect::<Vec<_>>()
    };
    let cpus = "cpus (needs 1000, offered at most 7.95; 1 of 1 offers refused for it)";
    let line = |what: &str| format!("web waits for resources for 1 of 2 instances: {what}");
    assert_eq!(told(&mut judge, &["InsufficientCpus"], 3), [(true, line(cpus))]);
    assert_eq!(told(&mut judge, &["InsufficientCpus"], 8), []);
    let ports = "host ports (1 of 1 offers refused for it)";
    assert_eq!(told(&mut judge, &["InsufficientPorts"], 13), [(false, line(ports))]);
    assert_eq!(told(&mut judge, &["InsufficientCpus"], 18), [(false, line(cpus))]);
    assert_eq!(
        reason(&judge, RULES.deadline).unwrap(),
        format!("web had 1 of 2 instances up after 5m, waiting for resources: {cpus}")
    );

    judge.see(&seen(true, vec![task("b", 1, Some(true)), task("c", 1, None)]), second(19));
    assert_eq!(reason(&judge, RULES.deadline).unwrap(), "web had 1 of 2 instances up after 5m", "it has a place");
}
