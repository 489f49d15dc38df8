//! How long things took, and what is typical of it.

use std::time::{Duration, Instant};

/// How long things took.
#[derive(Debug, Default, Clone)]
pub struct Times(Vec<Duration>);

impl Times {
    /// Does something so many times.
    pub fn of(count: usize, mut work: impl FnMut(usize)) -> Self {
        let mut times = Self::default();
        (0..count).for_each(|turn| times.take(|| work(turn)));
        times
    }
    pub fn take<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let result = work();
        self.0.push(begun.elapsed());
        result
    }
    pub fn push(&mut self, time: Duration) {
        self.0.push(time);
    }
    pub fn count(&self) -> usize {
        self.0.len()
    }
    /// The time within which so many hundredths of all were done.
    pub fn percentile(&self, percent: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort();
        sorted[((sorted.len() * percent).div_ceil(100)).clamp(1, sorted.len()) - 1]
    }
    pub fn median(&self) -> Duration {
        self.percentile(50)
    }
}

impl FromIterator<Duration> for Times {
    fn from_iter<I: IntoIterator<Item = Duration>>(times: I) -> Self {
        Self(times.into_iter().collect())
    }
}

/// In milliseconds, as people read it.
pub fn ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}
