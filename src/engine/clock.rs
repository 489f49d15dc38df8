//! The engine's time: it follows the machine's clock, but never goes back.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Moment;

/// A clock; its clones show the same time.
#[derive(Debug, Clone)]
pub struct Clock(Arc<Mutex<Base>>);

/// A moment, and when in the process's own steady time it was.
#[derive(Debug, Clone, Copy)]
struct Base {
    moment: Moment,
    at: Instant,
}

/// A machine's clock that is further ahead than this was set, or the machine slept.
const STEP: Duration = Duration::from_secs(1);

impl Clock {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Base { moment: Moment::now(), at: Instant::now() })))
    }

    pub fn now(&self) -> Moment {
        // Nothing panics while it holds the lock; if it did, the time would still be right.
        let mut base = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (shown, steady) = (Moment::now(), base.moment.plus(base.at.elapsed()));
        if shown.since(steady) > STEP {
            *base = Base { moment: shown, at: Instant::now() };
            return shown;
        }
        steady
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_and_never_back() {
        let clock = Clock::new();
        let times = (0..1000).map(|_| clock.now()).collect::<Vec<_>>();
        assert!(times.is_sorted());
    }

    #[test]
    fn a_clock_that_was_set_ahead_is_followed() {
        let clock = Clock::new();
        clock.0.lock().unwrap().moment = Moment::from_millis(0);
        assert!(Moment::now().since(clock.now()) < STEP);
    }
}
