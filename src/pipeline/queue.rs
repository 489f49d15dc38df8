//! Waiting in line for one of some slots: first come, first served, by leases alone.
//!
//! Whoever waits holds a place of the queue, counted from 1, and waits for the place before it; the first waits for the
//! slots. The next place is taken before the own one is let go. So wherever somebody leaves, served or killed, those
//! behind move up one after the other, each woken by the one before: nobody has to be told, and nothing stays behind.

use std::time::Duration;

use futures_util::future::select_all;
use tokio::time::Instant;

use super::places::QueuePlaces;
use crate::store::{Holder, Lease, LeaseAttempt, Store, StoreError};

/// So many places in a row without a holder are the end of the queue. Those who move up leave one free for an instant,
/// and so does each who is killed.
const GAP: u32 = 4;

/// Slots, and the queue before them.
#[derive(Debug, Clone)]
pub(super) struct Queue<'a> {
    pub store: &'a dyn Store,
    pub places: QueuePlaces,
    pub slots: u32,
}

impl<'a> Queue<'a> {
    /// A slot, if one is free and nobody waits for it.
    pub(super) async fn try_slot(&self, who: &str) -> Result<Option<Lease>, StoreError> {
        if self.last_place().await? > 0 { Ok(None) } else { self.free_slot(who).await }
    }

    /// Takes the last place of the queue.
    pub(super) async fn join(self, who: String, patience: Duration) -> Result<Waiting<'a>, StoreError> {
        let until = Instant::now() + patience;
        loop {
            let place = self.last_place().await? + 1;
            // Another may come at the same time: one of the two was quicker.
            if let LeaseAttempt::Held(held) = self.store.try_lease(&self.places.waiting(place), &who).await? {
                return Ok(Waiting { queue: self, who, until, place, held });
            }
        }
    }

    /// Who has the slots now.
    pub(super) async fn served(&self) -> Result<Vec<Holder>, StoreError> {
        let mut served = Vec::new();
        for slot in 1..=self.slots {
            served.extend(self.store.lease_holder(&self.places.slot(slot)).await?);
        }
        Ok(served)
    }

    async fn free_slot(&self, who: &str) -> Result<Option<Lease>, StoreError> {
        for slot in 1..=self.slots {
            if let LeaseAttempt::Held(lease) = self.store.try_lease(&self.places.slot(slot), who).await? {
                return Ok(Some(lease));
            }
        }
        Ok(None)
    }

    /// The last place that somebody has; 0 when nobody waits.
    async fn last_place(&self) -> Result<u32, StoreError> {
        let mut last = 0;
        loop {
            // From behind, against those who move up: they have two places for an instant, never none.
            let mut found = None;
            for place in (last + 1..=last + GAP).rev() {
                if self.store.lease_holder(&self.places.waiting(place)).await?.is_some() {
                    found = Some(place);
                    break;
                }
            }
            match found {
                Some(place) => last = place,
                None => return Ok(last),
            }
        }
    }
}

/// A place in the queue; it is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Waiting<'a> {
    queue: Queue<'a>,
    who: String,
    until: Instant,
    place: u32,
    held: Lease,
}

/// What became of waiting.
#[derive(Debug)]
pub(super) enum Step {
    /// To this place.
    MovedUp(u32),
    Served(Lease),
    /// Nothing happened for as long as there was patience.
    OutOfPatience,
}

impl Waiting<'_> {
    pub(super) fn place(&self) -> u32 {
        self.place
    }

    pub(super) fn queue(&self) -> &Queue<'_> {
        &self.queue
    }

    /// Waits until something changes. Once it is over there is nothing more to wait for.
    pub(super) async fn next(&mut self) -> Result<Step, StoreError> {
        if self.place == 1 {
            return Ok(self.slot().await?.map_or(Step::OutOfPatience, Step::Served));
        }
        let (next, patience) = (self.queue.places.waiting(self.place - 1), self.patience());
        match self.queue.store.lease(&next, &self.who, patience).await? {
            LeaseAttempt::Held(next) => {
                self.held = next;
                self.place -= 1;
                Ok(Step::MovedUp(self.place))
            }
            LeaseAttempt::Busy(_) => Ok(Step::OutOfPatience),
        }
    }

    fn patience(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// The first slot that becomes free.
    async fn slot(&self) -> Result<Option<Lease>, StoreError> {
        let Queue { store, places, slots } = &self.queue;
        let all: Vec<_> = (1..=*slots).map(|slot| places.slot(slot)).collect();
        let mut waits: Vec<_> = all.iter().map(|slot| store.lease(slot, &self.who, self.patience())).collect();
        while !waits.is_empty() {
            // Those that lose give up their waits, and whatever they hold.
            let (first, _, rest) = select_all(waits).await;
            match first? {
                LeaseAttempt::Held(lease) => return Ok(Some(lease)),
                LeaseAttempt::Busy(_) => waits = rest,
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::places::Places;
    use crate::store::SqliteStore;

    /// Far longer than moving up takes.
    const PATIENCE: Duration = Duration::from_secs(20);

    struct Lab {
        _home: tempfile::TempDir,
        store: SqliteStore,
    }

    impl Lab {
        fn new() -> Self {
            let home = tempfile::tempdir().unwrap();
            let store = SqliteStore::open(&home.path().join("store")).unwrap();
            Self { _home: home, store }
        }
        fn queue(&self) -> Queue<'_> {
            Queue { store: &self.store, places: Places::builds_of_host(), slots: 2 }
        }
        async fn slot(&self) -> Lease {
            self.queue().try_slot("somebody").await.unwrap().expect("a slot is free")
        }
        async fn join(&self, patience: Duration) -> Waiting<'_> {
            self.queue().join("somebody".to_owned(), patience).await.unwrap()
        }
    }

    async fn moved(waiting: &mut Waiting<'_>) -> u32 {
        match waiting.next().await.unwrap() {
            Step::MovedUp(place) => place,
            other => panic!("{other:?}"),
        }
    }
    async fn served(waiting: &mut Waiting<'_>) -> Lease {
        match waiting.next().await.unwrap() {
            Step::Served(slot) => slot,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn whoever_comes_first_is_served_first() {
        let lab = Lab::new();
        let slots = [lab.slot().await, lab.slot().await];
        assert!(lab.queue().try_slot("late").await.unwrap().is_none());
        assert_eq!(lab.queue().served().await.unwrap().len(), 2);
        let (mut first, mut second) = (lab.join(PATIENCE).await, lab.join(PATIENCE).await);
        assert_eq!((first.place(), second.place()), (1, 2));
        drop(slots);
        // Both slots are free, and whoever comes now still comes behind those that wait.
        assert!(lab.queue().try_slot("late").await.unwrap().is_none());
        let _slot = served(&mut first).await;
        drop(first);
        assert_eq!(moved(&mut second).await, 1);
        let _other = served(&mut second).await;
    }

    #[tokio::test]
    async fn those_behind_move_up_when_somebody_in_the_middle_leaves() {
        let lab = Lab::new();
        let _slots = [lab.slot().await, lab.slot().await];
        let mut all = Vec::new();
        for expected in 1..=5 {
            all.push(lab.join(PATIENCE).await);
            assert_eq!(all.last().unwrap().place(), expected);
        }
        // Two neighbours at once: the place of the first stands empty until those behind come.
        drop(all.drain(1..3));
        let [fourth, fifth] = &mut all[1..] else { panic!() };
        assert_eq!(tokio::join!(moved(fourth), moved(fifth)), (3, 4));
        assert_eq!(tokio::join!(moved(fourth), moved(fifth)), (2, 3));
        assert_eq!(lab.join(PATIENCE).await.place(), 4, "the newest comes last");
    }

    #[tokio::test]
    async fn patience_ends_at_every_place() {
        let lab = Lab::new();
        let _slots = [lab.slot().await, lab.slot().await];
        let short = Duration::from_millis(10);
        let (mut first, mut second) = (lab.join(short).await, lab.join(short).await);
        assert!(matches!(second.next().await.unwrap(), Step::OutOfPatience));
        assert!(matches!(first.next().await.unwrap(), Step::OutOfPatience));
    }
}
