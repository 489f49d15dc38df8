//! How long to wait before an app that keeps ending is launched again.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Moment;
use crate::marathon::{App, PathId};

/// The delay of one app's configuration.
#[derive(Debug, Clone, PartialEq)]
struct Delay {
    /// `lastConfigChangeAt`: scaling keeps the delay, a new configuration starts afresh.
    config: String,
    current: Duration,
    /// When the clock of this delay was started.
    reference: Moment,
    /// How long after `reference` the delay is forgotten.
    lifetime: Duration,
}

/// The delays of all apps.
#[derive(Debug, Clone, Default)]
pub struct Backoff {
    delays: BTreeMap<PathId, Delay>,
}

impl Backoff {
    /// Notes that a task of the app ended by itself; the next launch is later than the last was.
    pub fn ended(&mut self, app: &App, now: Moment) {
        self.forget_old(now);
        let longest = Duration::from_secs(app.max_launch_delay_seconds);
        let config = configuration(app);
        let current = match self.delays.get(&app.id) {
            Some(delay) if delay.config == config => delay.current.mul_f64(app.backoff_factor.max(1.0)),
            _ => Duration::from_secs(app.backoff_seconds),
        };
        let current = current.min(longest);
        self.delays.insert(app.id.clone(), Delay { config, current, reference: now, lifetime: longest });
    }

    /// Notes that a task of the app runs: an existing delay counts from here, without growing.
    pub fn running(&mut self, app: &App, now: Moment) {
        if let Some(delay) = self.delays.get_mut(&app.id)
            && delay.config == configuration(app)
        {
            delay.reference = now;
        }
    }

    /// When the app may be launched; none when at once.
    pub fn not_before(&self, app: &App, now: Moment) -> Option<Moment> {
        let delay = self.delays.get(&app.id).filter(|delay| delay.config == configuration(app))?;
        let at = delay.reference.plus(delay.current);
        (at > now && now.since(delay.reference) < delay.lifetime).then_some(at)
    }

    /// Launches of the app wait no longer.
    pub fn reset(&mut self, app: &PathId) {
        self.delays.remove(app);
    }

    fn forget_old(&mut self, now: Moment) {
        self.delays.retain(|_, delay| now.since(delay.reference) < delay.lifetime);
    }
}

fn configuration(app: &App) -> String {
    app.version_info.as_ref().map_or_else(|| app.version.clone(), |info| info.last_config_change_at.clone())
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    fn app() -> App {
        App { backoff_seconds: 5, backoff_factor: 2.0, ..samples::command("/bad/exit") }
    }
    fn at(milliseconds: i64) -> Moment {
        Moment::from_millis(1_000_000 + milliseconds)
    }

    #[test]
    fn each_end_makes_the_wait_longer_up_to_the_limit() {
        let app = App { max_launch_delay_seconds: 15, ..app() };
        let mut backoff = Backoff::default();
        assert_eq!(backoff.not_before(&app, at(0)), None);
        for (end, wait) in [(0, 5), (6_000, 10), (17_000, 15), (31_000, 15)] {
            backoff.ended(&app, at(end));
            assert_eq!(backoff.not_before(&app, at(end)), Some(at(end + wait * 1000)));
        }
    }

    #[test]
    fn scaling_keeps_the_delay_and_a_new_configuration_starts_afresh() {
        let mut backoff = Backoff::default();
        let app = app();
        backoff.ended(&app, at(0));
        let mut scaled = app.clone();
        scaled.version = "2030-01-01T00:00:00.000Z".into();
        assert!(backoff.not_before(&scaled, at(1)).is_some());
        let mut changed = scaled.clone();
        changed.version_info.as_mut().unwrap().last_config_change_at = changed.version.clone();
        assert_eq!(backoff.not_before(&changed, at(1)), None);
        backoff.ended(&changed, at(1));
        assert_eq!(backoff.not_before(&changed, at(1)), Some(at(5_001)));
    }

    #[test]
    fn running_restarts_the_clock_without_growing_the_delay() {
        let (app, mut backoff) = (app(), Backoff::default());
        backoff.ended(&app, at(0));
        backoff.running(&app, at(5_000));
        assert_eq!(backoff.not_before(&app, at(5_000)), Some(at(10_000)));
        backoff.ended(&app, at(60_000));
        assert_eq!(backoff.not_before(&app, at(60_000)), Some(at(70_000)));
    }

    #[test]
    fn a_delay_is_forgotten_in_time_and_on_request() {
        let (app, mut backoff) = (App { max_launch_delay_seconds: 8, ..app() }, Backoff::default());
        backoff.ended(&app, at(0));
        backoff.ended(&app, at(9_000));
        assert_eq!(backoff.not_before(&app, at(9_000)), Some(at(14_000)), "the first is forgotten, this is a first");
        backoff.reset(&app.id);
        assert_eq!(backoff.not_before(&app, at(9_001)), None);
    }
}
