//! The store: a small tree of versioned records, as ZooKeeper has it.
//!
//! SQLite implements it for one machine; ZooKeeper will for a cluster, held to the same contract suite
//! (`store::contract`). Rules about users, tenants and releases are written once, above it.

#[cfg(test)]
mod contract;
mod path;
mod sqlite;

use std::time::Duration;

pub use path::{InvalidPath, StorePath};
pub use sqlite::SqliteStore;

/// How often a record was written: 0 when created, one more with each put.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

/// A record as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub value: Vec<u8>,
    pub version: Version,
}

/// One change of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The record must not be there, its parent must.
    Create { path: StorePath, value: Vec<u8> },
    /// The record must have that version; `None` takes any, but it must be there.
    Put { path: StorePath, value: Vec<u8>, expected: Option<Version> },
    /// The record must have that version (`None`: any) and no children.
    Delete { path: StorePath, expected: Option<Version> },
    /// Changes nothing, but fails the transaction unless the record has that version.
    Check { path: StorePath, expected: Version },
}

/// Why the store refused or failed. The first four are answers: nothing was changed, and the caller decides.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("`{0}` is not in the store")]
    NotFound(StorePath),
    #[error("`{0}` is in the store already")]
    Exists(StorePath),
    #[error("`{0}` was changed by somebody else meanwhile")]
    Changed(StorePath),
    #[error("`{0}` has records below it")]
    NotEmpty(StorePath),
    #[error(
        "the store at {place} has format {found}, this program knows up to {known}: it was written by a newer version"
    )]
    TooNew { place: String, found: u32, known: u32 },
    #[error("cannot open the store at {place}")]
    Open {
        place: String,
        #[source]
        cause: BoxedCause,
    },
    #[error("the store at {place} failed")]
    Failed {
        place: String,
        #[source]
        cause: BoxedCause,
    },
}

/// The cause inside a backend; callers print it, none tells one from another.
pub type BoxedCause = Box<dyn std::error::Error + Send + Sync>;

/// Who holds a lease, as the holder described itself, and since when.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Holder {
    /// What people are told, such as `alice's push of 3f2c1ab`.
    pub who: String,
    pub since: jiff::Timestamp,
}

/// What became of the wish for a lease.
#[derive(Debug)]
pub enum LeaseAttempt {
    Held(Lease),
    /// Somebody else has it. (The holder may be unknown for the instant between taking and signing.)
    Busy(Option<Holder>),
}

/// A held lease. It ends when this is dropped, and with its process however that dies.
#[derive(Debug)]
pub struct Lease {
    // Held for its Drop alone.
    _guard: Box<dyn std::any::Any + Send + Sync>,
}

impl Lease {
    /// For implementations of `Store`: `guard`'s drop must end the lease.
    pub fn new(guard: impl std::any::Any + Send + Sync) -> Self {
        Self { _guard: Box::new(guard) }
    }
}

/// The tree. Every method is atomic and durable when it returns; all are safe among many processes.
///
/// A record's parent must be there before it, the root always is.
#[async_trait::async_trait]
pub trait Store: Send + Sync + std::fmt::Debug {
    async fn get(&self, path: &StorePath) -> Result<Option<Record>, StoreError>;

    /// The last segments of the records directly below, in byte order; `NotFound` when `path` itself is not there.
    async fn children(&self, path: &StorePath) -> Result<Vec<String>, StoreError>;

    /// All of the changes or none.
    async fn commit(&self, changes: Vec<Change>) -> Result<(), StoreError>;

    /// Takes the lease named `path` if it is free; `who` is what others are told. The name needs no record.
    async fn try_lease(&self, path: &StorePath, who: &str) -> Result<LeaseAttempt, StoreError>;

    /// Waits for the lease, at most `patience`; `Busy` after that. Dropping the future gives up the wait and takes nothing.
    async fn lease(&self, path: &StorePath, who: &str, patience: Duration) -> Result<LeaseAttempt, StoreError>;

    /// Who holds the lease now, if anybody does.
    async fn lease_holder(&self, path: &StorePath) -> Result<Option<Holder>, StoreError>;

    async fn create(&self, path: &StorePath, value: Vec<u8>) -> Result<(), StoreError> {
        self.commit(vec![Change::Create { path: path.clone(), value }]).await
    }

    async fn put(&self, path: &StorePath, value: Vec<u8>, expected: Option<Version>) -> Result<(), StoreError> {
        self.commit(vec![Change::Put { path: path.clone(), value, expected }]).await
    }

    async fn delete(&self, path: &StorePath, expected: Option<Version>) -> Result<(), StoreError> {
        self.commit(vec![Change::Delete { path: path.clone(), expected }]).await
    }

    /// Creates `path` and every record above it that is missing, each empty; what is there is left alone.
    async fn ensure(&self, path: &StorePath) -> Result<(), StoreError> {
        for above in path.ancestors() {
            if self.get(&above).await?.is_none() {
                match self.create(&above, Vec::new()).await {
                    Ok(()) | Err(StoreError::Exists(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }
}
