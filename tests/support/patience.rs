//! Waiting for what no event tells of.

use std::time::{Duration, Instant};

/// Far longer than anything takes that goes well.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Waits until `found` gives something.
#[track_caller]
pub fn eventually<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
