//! The judgement of health checks: what a probe's result means for an instance. Probing is `probe`'s work.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Moment;
use crate::marathon::{HealthCheck, HealthProtocol};

/// What one check knows about one task.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckHealth {
    pub first_success: Option<Moment>,
    pub last_success: Option<Moment>,
    pub last_failure: Option<Moment>,
    pub last_failure_cause: Option<String>,
    pub consecutive_failures: u32,
    /// Marathon itself looked, and found what does not count yet.
    #[serde(default)]
    pub is_looked_at: bool,
}

/// What a probe found.
pub type Outcome = Result<(), String>;

/// What follows from a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing that others would see.
    Unchanged,
    /// It serves now and did not, or the other way round.
    Changed,
    /// It is first seen not to serve, which is said of it though it does not count yet.
    Noticed,
    /// It failed too often.
    Kill,
}

impl CheckHealth {
    /// The last word was good; without any word it is not known to serve.
    pub fn is_alive(&self) -> bool {
        self.last_success.is_some() && self.last_success > self.last_failure
    }
    /// Whether any result is to be shown yet.
    pub fn is_known(&self) -> bool {
        self.is_looked_at || self.last_success.is_some() || self.last_failure.is_some()
    }

    /// Takes in a result of the check for a task that has run since `started`.
    pub fn note(&mut self, check: &HealthCheck, outcome: &Outcome, started: Moment, now: Moment) -> Verdict {
        let (known, alive) = (self.is_known(), self.is_alive());
        match outcome {
            Ok(()) => {
                self.first_success.get_or_insert(now);
                // A clock that was set back may not make an old failure the last word.
                self.last_success = Some(now.max(self.last_failure.map_or(now, Moment::next)));
                self.consecutive_failures = 0;
            }
            // A program that comes up is no failure: until it has served once, it has its grace. An agent does not even
            // mention it, while Marathon shows such an instance as one that does not serve.
            Err(_) if self.first_success.is_none() && now.since(started) < patience(check) => {
                self.is_looked_at = is_marathons(check.protocol);
                return if known == self.is_known() { Verdict::Unchanged } else { Verdict::Noticed };
            }
            Err(cause) => {
                let last = now.max(self.last_success.map_or(now, Moment::next));
                self.last_failure = Some(last);
                self.last_failure_cause = Some(cause.clone());
                self.consecutive_failures = self.consecutive_failures.saturating_add(1);
                if self.consecutive_failures >= failures_to_kill(check) {
                    return Verdict::Kill;
                }
            }
        }
        if known == self.is_known() && alive == self.is_alive() { Verdict::Unchanged } else { Verdict::Changed }
    }
}

/// How long failures do not count while the task has never served.
fn patience(check: &HealthCheck) -> Duration {
    Duration::from_secs(check.grace_period_seconds.max(check.delay_seconds))
}

/// Mesos kills at the limit; Marathon's own checks, which look at the count before the present failure, one later.
fn failures_to_kill(check: &HealthCheck) -> u32 {
    match (check.max_consecutive_failures, is_marathons(check.protocol)) {
        (0, _) => u32::MAX,
        (limit, false) => limit,
        (limit, true) => limit.saturating_add(1),
    }
}

/// Whether Marathon itself would do the check, rather than the agent: its kills are recorded as failures of the app.
pub fn is_marathons(protocol: HealthProtocol) -> bool {
    matches!(protocol, HealthProtocol::Http | HealthProtocol::Https | HealthProtocol::Tcp)
}

/// How long after its start a task is asked for the first time. Marathon's own checks know no such delay.
pub fn delay(check: &HealthCheck) -> Duration {
    if is_marathons(check.protocol) { Duration::ZERO } else { Duration::from_secs(check.delay_seconds) }
}

/// How long to wait before the next probe of a task that was `up_for` so long.
///
/// Until it has served once it is asked often, so that it is found as soon as it serves; the longer it takes, the less
/// often. After that, at the check's own interval.
pub fn pause(check: &HealthCheck, has_served: bool, up_for: Duration) -> Duration {
    const EAGER: Duration = Duration::from_millis(50);
    let interval = Duration::from_secs(check.interval_seconds).max(EAGER);
    let counting = up_for >= patience(check);
    let asked_for = up_for.saturating_sub(delay(check));
    if has_served || counting { interval } else { (asked_for / 20).clamp(EAGER, interval) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::marathon::IpProtocol;

    fn check(protocol: HealthProtocol, grace_period_seconds: u64, max_consecutive_failures: u32) -> HealthCheck {
        HealthCheck {
            protocol,
            command: None,
            grace_period_seconds,
            ignore_http1xx: None,
            interval_seconds: 5,
            max_consecutive_failures,
            path: None,
            port: None,
            port_index: Some(0),
            ip_protocol: IpProtocol::V4,
            timeout_seconds: 1,
            delay_seconds: 0,
        }
    }
    fn verdicts(check: &HealthCheck, results: &[(i64, bool)]) -> Vec<Verdict> {
        let mut health = CheckHealth::default();
        let note = |(at, good): &(i64, bool)| {
            let outcome = if *good { Ok(()) } else { Err("refused".to_owned()) };
            health.note(check, &outcome, Moment::from_millis(0), Moment::from_millis(*at))
        };
        results.iter().map(note).collect()
    }
    use Verdict::{Changed, Kill, Noticed, Unchanged};

    #[test]
    fn failures_within_the_grace_do_not_count_until_it_has_served() {
        let check = check(HealthProtocol::MesosTcp, 10, 2);
        assert_eq!(
            verdicts(&check, &[(10, false), (60, false), (900, true), (1000, false), (2000, false)]),
            [Unchanged, Unchanged, Changed, Changed, Kill]
        );
    }

    #[test]
    fn marathon_shows_from_its_first_look_what_does_not_serve_yet() {
        let check = check(HealthProtocol::Http, 10, 1);
        assert_eq!(
            verdicts(&check, &[(10, false), (60, false), (10_000, false), (11_000, false)]),
            [Noticed, Unchanged, Unchanged, Kill]
        );
        assert_eq!(verdicts(&check, &[(10, false), (60, true), (70, false)]), [Noticed, Changed, Changed]);
    }

    #[test]
    fn failures_after_the_grace_count_and_a_success_forgives_them() {
        let check = check(HealthProtocol::MesosTcp, 1, 2);
        assert_eq!(verdicts(&check, &[(2000, false), (3000, true), (4000, false)]), [Changed, Changed, Changed]);
        assert_eq!(verdicts(&check, &[(2000, false), (3000, false)]), [Changed, Kill]);
    }

    #[test]
    fn marathons_own_checks_kill_one_failure_later_and_a_limit_of_zero_never_kills() {
        let own = check(HealthProtocol::Http, 0, 2);
        assert_eq!(verdicts(&own, &[(1, false), (2, false), (3, false)]), [Changed, Unchanged, Kill]);
        let never = check(HealthProtocol::MesosTcp, 0, 0);
        assert_eq!(verdicts(&never, &[(1, false), (2, false), (3, false)]), [Changed, Unchanged, Unchanged]);
    }

    #[test]
    fn a_result_of_the_same_millisecond_still_has_the_last_word() {
        assert_eq!(verdicts(&check(HealthProtocol::MesosTcp, 0, 9), &[(5, true), (5, false), (5, true)]), [Changed; 3]);
    }

    #[test]
    fn a_task_that_never_served_is_asked_often_and_one_that_did_at_its_interval() {
        let check = check(HealthProtocol::MesosTcp, 300, 3);
        let ms = Duration::from_millis;
        assert_eq!(pause(&check, false, ms(0)), ms(50));
        assert_eq!(pause(&check, false, ms(4000)), ms(200));
        assert_eq!(pause(&check, false, ms(290_000)), ms(5000));
        assert_eq!(pause(&check, true, ms(0)), ms(5000));
        assert_eq!(pause(&check, false, ms(300_000)), ms(5000));
        let delayed = HealthCheck { delay_seconds: 15, ..check };
        assert_eq!(pause(&delayed, false, ms(15_000)), ms(50));
    }

    #[test]
    fn only_the_agents_checks_wait_before_they_begin() {
        let delayed = |protocol| delay(&HealthCheck { delay_seconds: 15, ..check(protocol, 300, 3) }).as_secs();
        for protocol in [HealthProtocol::MesosTcp, HealthProtocol::MesosHttp, HealthProtocol::Command] {
            assert_eq!(delayed(protocol), 15);
        }
        for protocol in [HealthProtocol::Tcp, HealthProtocol::Http, HealthProtocol::Https] {
            assert_eq!(delayed(protocol), 0);
        }
    }
}
