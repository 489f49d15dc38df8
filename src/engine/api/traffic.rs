//! How much is asked of the API: counted as requests come and go, shown by `/metrics`.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{Method, StatusCode};

/// The methods that are counted apart.
pub(super) const METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

/// What was asked and answered since the engine began.
#[derive(Debug)]
pub(super) struct Traffic {
    pub(super) begun: Instant,
    active: AtomicU64,
    by_method: [AtomicU64; METHODS.len()],
    /// Of 1xx to 5xx.
    by_class: [Mutex<Rate>; 5],
    durations: Mutex<Durations>,
    sent_bytes: AtomicU64,
    gzipped_bytes: AtomicU64,
    /// Deployments that requests began, and those that were refused.
    deployments: AtomicU64,
    dismissed: AtomicU64,
}

/// A request that is being answered; its end is noted when this is dropped.
#[derive(Debug)]
pub(super) struct Active<'a>(&'a Traffic);

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is noted of an answer.
#[derive(Debug)]
pub(super) struct Answered<'a> {
    pub(super) method: &'a Method,
    pub(super) status: StatusCode,
    pub(super) took: Duration,
    pub(super) bytes: u64,
    pub(super) gzipped: bool,
    pub(super) deploys: bool,
}

impl Traffic {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            begun: now,
            active: AtomicU64::new(0),
            by_method: Default::default(),
            by_class: std::array::from_fn(|_| Mutex::new(Rate::new(now))),
            durations: Mutex::new(Durations { rate: Rate::new(now), latest: VecDeque::new() }),
            sent_bytes: AtomicU64::new(0),
            gzipped_bytes: AtomicU64::new(0),
            deployments: AtomicU64::new(0),
            dismissed: AtomicU64::new(0),
        }
    }

    pub(super) fn begin(&self) -> Active<'_> {
        self.active.fetch_add(1, Ordering::Relaxed);
        Active(self)
    }

    pub(super) fn note(&self, answered: &Answered) {
        let add = |counter: &AtomicU64, count: u64| counter.fetch_add(count, Ordering::Relaxed);
        let now = Instant::now();
        if let Some(index) = METHODS.iter().position(|method| method == answered.method) {
            add(&self.by_method[index], 1);
        }
        let class = usize::from(answered.status.as_u16() / 100);
        if let Some(rate) = class.checked_sub(1).and_then(|class| self.by_class.get(class)) {
            locked(rate).mark(now);
        }
        locked(&self.durations).note(answered.took, now);
        add(&self.sent_bytes, answered.bytes);
        add(&self.gzipped_bytes, if answered.gzipped { answered.bytes } else { 0 });
        add(&self.deployments, u64::from(answered.deploys && answered.status.is_success()));
        let refused = matches!(answered.status, StatusCode::CONFLICT | StatusCode::FORBIDDEN);
        add(&self.dismissed, u64::from(refused));
    }

    pub(super) fn active(&self) -> u64 {
        self.active.load(Ordering::Relaxed)
    }
    pub(super) fn of_method(&self, index: usize) -> u64 {
        self.by_method[index].load(Ordering::Relaxed)
    }
    /// The answers whose status is `class` hundred and something.
    pub(super) fn of_class(&self, class: usize) -> Meter {
        locked(&self.by_class[class - 1]).meter(Instant::now())
    }
    pub(super) fn durations(&self) -> (Meter, Spread) {
        let mut durations = locked(&self.durations);
        (durations.rate.meter(Instant::now()), Spread::of(durations.latest.iter().copied().collect()))
    }
    pub(super) fn sent_bytes(&self) -> u64 {
        self.sent_bytes.load(Ordering::Relaxed)
    }
    pub(super) fn gzipped_bytes(&self) -> u64 {
        self.gzipped_bytes.load(Ordering::Relaxed)
    }
    pub(super) fn deployments(&self) -> u64 {
        self.deployments.load(Ordering::Relaxed)
    }
    pub(super) fn dismissed(&self) -> u64 {
        self.dismissed.load(Ordering::Relaxed)
    }
}

/// What is counted stays true whatever a holder of the lock went through.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long the latest requests took, in seconds.
#[derive(Debug)]
struct Durations {
    rate: Rate,
    latest: VecDeque<f64>,
}

impl Durations {
    /// Enough for the 99.9th of a hundred.
    const KEPT: usize = 1024;

    fn note(&mut self, took: Duration, now: Instant) {
        self.rate.mark(now);
        if self.latest.len() == Self::KEPT {
            self.latest.pop_front();
        }
        self.latest.push_back(took.as_secs_f64());
    }
}

/// Something that happens now and then: how often, lately. The means fade as load averages do, every five seconds.
#[derive(Debug)]
struct Rate {
    begun: Instant,
    ticked: Instant,
    count: u64,
    since_tick: u64,
    /// Per second over one, five and fifteen minutes; none before the first five seconds are over.
    means: Option<[f64; 3]>,
}

/// A rate as it is shown; rates are per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Meter {
    pub(super) count: u64,
    pub(super) mean: f64,
    pub(super) means: [f64; 3],
}

impl Rate {
    const TICK: Duration = Duration::from_secs(5);
    const MINUTES: [f64; 3] = [1.0, 5.0, 15.0];

    fn new(now: Instant) -> Self {
        Self { begun: now, ticked: now, count: 0, since_tick: 0, means: None }
    }

    fn mark(&mut self, now: Instant) {
        self.catch_up(now);
        self.count += 1;
        self.since_tick += 1;
    }

    /// Ticks that nobody saw are made up for at once: nothing happened after the first of them.
    fn catch_up(&mut self, now: Instant) {
        let ticks = now.saturating_duration_since(self.ticked).as_secs() / Self::TICK.as_secs();
        let Ok(ticks) = u32::try_from(ticks) else { return };
        if ticks == 0 {
            return;
        }
        self.ticked += Self::TICK * ticks;
        let lately = as_float(self.since_tick) / Self::TICK.as_secs_f64();
        self.since_tick = 0;
        let before = self.means.unwrap_or([lately; 3]);
        self.means = Some(std::array::from_fn(|index| {
            let kept = (-Self::TICK.as_secs_f64() / (60.0 * Self::MINUTES[index])).exp();
            let first = lately + (before[index] - lately) * kept;
            first * kept.powf(f64::from(ticks - 1))
        }));
    }

    fn meter(&mut self, now: Instant) -> Meter {
        self.catch_up(now);
        let seconds = now.saturating_duration_since(self.begun).as_secs_f64();
        let mean = if seconds > 0.0 { as_float(self.count) / seconds } else { 0.0 };
        Meter { count: self.count, mean, means: self.means.unwrap_or_default() }
    }
}

/// How values lie: the least, the greatest, and what a part of them does not exceed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Spread {
    sorted: Vec<f64>,
    pub(super) mean: f64,
    pub(super) deviation: f64,
}

impl Spread {
    pub(super) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let count = as_float(values.len().max(1) as u64);
        let mean = values.iter().sum::<f64>() / count;
        let deviation = (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
        Self { sorted: values, mean, deviation }
    }
    pub(super) fn least(&self) -> f64 {
        self.sorted.first().copied().unwrap_or_default()
    }
    pub(super) fn greatest(&self) -> f64 {
        self.sorted.last().copied().unwrap_or_default()
    }
    /// What so many of a thousand do not exceed.
    pub(super) fn per_mille(&self, part: usize) -> f64 {
        let index = (self.sorted.len() * part).div_ceil(1000).max(1) - 1;
        self.sorted.get(index).copied().unwrap_or_default()
    }
}

#[allow(clippy::cast_precision_loss, reason = "nothing here is counted beyond 2^53")]
pub(super) fn as_float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_follows_what_happens_and_fades_when_nothing_does() {
        let begun = Instant::now();
        let at = |seconds: u64| begun + Duration::from_secs(seconds);
        let mut rate = Rate::new(begun);
        for second in 0..60 {
            (0..10).for_each(|_| rate.mark(at(second)));
        }
        let busy = rate.meter(at(60));
        assert_eq!(busy.count, 600);
        assert!((busy.mean - 10.0).abs() < 1e-9, "{busy:?}");
        assert!((busy.means[0] - 10.0).abs() < 1e-6, "{busy:?}");
        let idle = rate.meter(at(660));
        assert!(idle.means[0] < 0.001 && idle.means[2] > 4.0, "{idle:?}");
        assert_eq!(idle.count, 600);
    }

    #[test]
    fn a_spread_has_its_percentiles() {
        let near = |found: f64, wanted: f64| assert!((found - wanted).abs() < 0.001, "{found} is not {wanted}");
        let spread = Spread::of((1..=100).rev().map(f64::from).collect());
        near(spread.least(), 1.0);
        near(spread.greatest(), 100.0);
        for (part, value) in [(500, 50.0), (750, 75.0), (990, 99.0), (999, 100.0)] {
            near(spread.per_mille(part), value);
        }
        near(spread.mean, 50.5);
        near(spread.deviation, 28.866);
        near(Spread::of(Vec::new()).per_mille(500), 0.0);
    }

    #[test]
    fn requests_are_counted_by_what_became_of_them() {
        let traffic = Traffic::new();
        let note = |status: StatusCode, deploys: bool| {
            let took = Duration::from_millis(3);
            let answered = Answered { method: &Method::PUT, status, took, bytes: 10, gzipped: deploys, deploys };
            traffic.note(&answered);
        };
        let active = traffic.begin();
        assert_eq!(traffic.active(), 1);
        drop(active);
        note(StatusCode::OK, true);
        note(StatusCode::CONFLICT, false);
        assert_eq!((traffic.active(), traffic.of_method(3), traffic.of_class(2).count), (0, 2, 1));
        assert_eq!((traffic.deployments(), traffic.dismissed()), (1, 1));
        assert_eq!((traffic.sent_bytes(), traffic.gzipped_bytes()), (20, 10));
        assert!((traffic.durations().1.mean - 0.003).abs() < 1e-9);
    }
}
