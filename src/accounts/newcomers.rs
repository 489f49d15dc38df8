//! How often keys that nobody knows may try tokens: so seldom that nobody finds one by trying.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::Place;
use crate::store::{Change, Store, StoreError, Version};

/// For how long a failed try counts.
const WINDOW: SignedDuration = SignedDuration::from_mins(10);
/// Failed tries from one address, and from all together, within that time.
const MOST_FROM_ONE: usize = 10;
const MOST_IN_ALL: usize = 100;

/// Failed tries of late, by where they came from. There are never more than may be.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Tries(BTreeMap<String, Vec<Timestamp>>);

impl Tries {
    fn of_late(mut self, now: Timestamp) -> Self {
        for times in self.0.values_mut() {
            times.retain(|at| *at + WINDOW > now);
        }
        self.0.retain(|_, times| !times.is_empty());
        self
    }
    fn allow(&self, from: &str) -> bool {
        self.0.get(from).map_or(0, Vec::len) < MOST_FROM_ONE
            && self.0.values().map(Vec::len).sum::<usize>() < MOST_IN_ALL
    }
}

/// Counts a try before it is made, as one that failed; false when there were too many already.
pub async fn begin(store: &dyn Store, from: Option<IpAddr>) -> Result<bool, StoreError> {
    begin_at(store, from, Timestamp::now()).await
}

async fn begin_at(store: &dyn Store, from: Option<IpAddr>, now: Timestamp) -> Result<bool, StoreError> {
    let from = origin(from);
    loop {
        let (tries, version) = read(store).await?;
        let mut tries = tries.of_late(now);
        if !tries.allow(&from) {
            return Ok(false);
        }
        tries.0.entry(from.clone()).or_default().push(now);
        if write(store, &tries, version).await? {
            return Ok(true);
        }
    }
}

/// The last try from there did not fail after all.
pub async fn succeeded(store: &dyn Store, from: Option<IpAddr>) -> Result<(), StoreError> {
    let from = origin(from);
    loop {
        let (mut tries, version) = read(store).await?;
        if let Some(times) = tries.0.get_mut(&from) {
            times.pop();
        }
        if write(store, &tries, version).await? {
            return Ok(());
        }
    }
}

/// Whoever has one address of the newer kind has a whole network of them.
fn origin(from: Option<IpAddr>) -> String {
    match from {
        None => "unknown".to_owned(),
        Some(IpAddr::V4(address)) => address.to_string(),
        Some(IpAddr::V6(address)) => match address.to_ipv4_mapped() {
            Some(address) => address.to_string(),
            None => format!("{}/64", Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        },
    }
}

/// A record that is damaged counts nothing.
async fn read(store: &dyn Store) -> Result<(Tries, Option<Version>), StoreError> {
    let record = store.get(&Place::Newcomers.path()).await?;
    Ok(record.map_or_else(Default::default, |record| {
        (serde_json::from_slice(&record.value).unwrap_or_default(), Some(record.version))
    }))
}

/// False when somebody else was quicker.
async fn write(store: &dyn Store, tries: &Tries, version: Option<Version>) -> Result<bool, StoreError> {
    let path = Place::Newcomers.path();
    let value = serde_json::to_vec(tries).expect("a record of texts and times");
    let change = match version {
        Some(_) => Change::Put { path, value, expected: version },
        None => Change::Create { path, value },
    };
    match store.commit(vec![change]).await {
        Ok(()) => Ok(true),
        Err(StoreError::Changed(_) | StoreError::Exists(_) | StoreError::NotFound(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::SqliteStore;

    #[tokio::test]
    async fn tries_are_few_from_one_address_and_in_all_and_more_after_a_while() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(dir.path()).unwrap();
        let now = Timestamp::from_second(1_900_000_000).unwrap();
        let address = |last: u8| Some(IpAddr::from([192, 0, 2, last]));
        for _ in 0..MOST_FROM_ONE {
            assert!(begin_at(&store, address(1), now).await.unwrap());
        }
        assert!(!begin_at(&store, address(1), now).await.unwrap());
        for last in 2..=10 {
            for _ in 0..MOST_FROM_ONE {
                assert!(begin_at(&store, address(last), now).await.unwrap(), "{last}");
            }
        }
        assert!(!begin_at(&store, address(11), now).await.unwrap(), "a hundred in all");
        assert!(begin_at(&store, address(1), now + WINDOW).await.unwrap());
    }

    #[tokio::test]
    async fn a_try_that_succeeds_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(dir.path()).unwrap();
        for _ in 0..3 * MOST_FROM_ONE {
            assert!(begin(&store, None).await.unwrap());
            succeeded(&store, None).await.unwrap();
        }
    }

    #[test]
    fn a_network_of_the_newer_kind_is_one_origin() {
        let of = |text: &str| origin(Some(text.parse().unwrap()));
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:2::"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), "192.0.2.1");
    }
}
