//! The store of one machine: a SQLite file that many processes use at once, and leases that the kernel frees.

mod connection;
mod leases;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};

use super::{BoxedCause, Change, Holder, LeaseAttempt, Record, Store, StoreError, StorePath, Version};
use leases::Leases;

/// A connection to the store in a directory; cheap to clone, the clones share the connection.
///
/// SQLite and file locks block, so each call runs on tokio's blocking threads. A call whose future is dropped
/// still runs to its end: a commit is never half done.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    place: PathBuf,
    connection: Arc<Mutex<Connection>>,
    leases: Leases,
}

/// Why a transaction did not happen: it was refused, or SQLite failed.
enum Trouble {
    Refused(StoreError),
    Sqlite(rusqlite::Error),
}
impl From<rusqlite::Error> for Trouble {
    fn from(cause: rusqlite::Error) -> Self {
        Self::Sqlite(cause)
    }
}

impl SqliteStore {
    /// Opens the store in `dir`, and makes both when they are missing: the directory with mode 0700, the files 0600.
    ///
    /// Files that root makes get the directory's owner, so that root and the system user share one store. A format
    /// older than this program's is brought forward; a newer one is `StoreError::TooNew` and left alone.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let place = dir.join(connection::FILE_NAME);
        let connection = connection::open(dir, &place)?;
        let leases = Leases::in_directory(&dir.join("leases")).map_err(|cause| open_error(&place, cause))?;
        Ok(Self { place, connection: Arc::new(Mutex::new(connection)), leases })
    }

    /// Whether there is a store in `dir` at all; for readers that have no business making one.
    pub fn is_in(dir: &Path) -> bool {
        dir.join(connection::FILE_NAME).exists()
    }

    /// Runs `work` with the connection, off the async threads.
    async fn with_connection<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, StoreError> {
        let connection = Arc::clone(&self.connection);
        // A panic while the lock was held has rolled its transaction back, so a poisoned lock guards nothing broken.
        blocking(move || work(&mut connection.lock().unwrap_or_else(PoisonError::into_inner))).await.map_err(
            |trouble| match trouble {
                Trouble::Refused(refusal) => refusal,
                Trouble::Sqlite(cause) => self.failed(cause),
            },
        )
    }

    fn failed(&self, cause: impl Into<BoxedCause>) -> StoreError {
        StoreError::Failed { place: self.place.display().to_string(), cause: cause.into() }
    }
}

fn open_error(place: &Path, cause: impl Into<BoxedCause>) -> StoreError {
    StoreError::Open { place: place.display().to_string(), cause: cause.into() }
}

/// Runs `work` on a thread that may block, and carries a panic of it on.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(ended) => std::panic::resume_unwind(ended.into_panic()),
    }
}

#[async_trait::async_trait]
impl Store for SqliteStore {
    async fn get(&self, path: &StorePath) -> Result<Option<Record>, StoreError> {
        let path = path.clone();
        self.with_connection(move |connection| Ok(read(connection, &path)?)).await
    }

    async fn children(&self, path: &StorePath) -> Result<Vec<String>, StoreError> {
        let path = path.clone();
        self.with_connection(move |connection| {
            // One transaction, so that the record and its children are of the same moment.
            let snapshot = connection.transaction()?;
            version_of(&snapshot, &path)?;
            Ok(children(&snapshot, &path)?)
        })
        .await
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        self.with_connection(move |connection| {
            // Immediate: the write lock comes first, so what is checked cannot change before it is written.
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for change in &changes {
                apply(&transaction, change)?;
            }
            Ok(transaction.commit()?)
        })
        .await
    }

    async fn try_lease(&self, path: &StorePath, who: &str) -> Result<LeaseAttempt, StoreError> {
        let (leases, path, who) = (self.leases.clone(), path.clone(), who.to_owned());
        blocking(move || leases.try_take(&path, &who)).await.map_err(|cause| self.failed(cause))
    }

    async fn lease(&self, path: &StorePath, who: &str, patience: Duration) -> Result<LeaseAttempt, StoreError> {
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            let attempt = self.try_lease(path, who).await?;
            if matches!(attempt, LeaseAttempt::Held(_)) {
                return Ok(attempt);
            }
            match tokio::time::timeout_at(deadline, self.leases.released(path)).await {
                Ok(released) => released.map_err(|cause| self.failed(cause))?,
                Err(_elapsed) => return Ok(LeaseAttempt::Busy(self.lease_holder(path).await?)),
            }
        }
    }

    async fn lease_holder(&self, path: &StorePath) -> Result<Option<Holder>, StoreError> {
        let (leases, path) = (self.leases.clone(), path.clone());
        blocking(move || leases.holder(&path)).await.map_err(|cause| self.failed(cause))
    }
}

fn read(connection: &Connection, path: &StorePath) -> Result<Option<Record>, rusqlite::Error> {
    connection
        .prepare_cached("SELECT value, version FROM record WHERE path = ?1")?
        .query_row([path.as_str()], |row| Ok(Record { value: row.get(0)?, version: version(row.get(1)?) }))
        .optional()
}

/// The record's version; refused with `NotFound` when there is no record.
fn version_of(connection: &Connection, path: &StorePath) -> Result<Version, Trouble> {
    let version = connection
        .prepare_cached("SELECT version FROM record WHERE path = ?1")?
        .query_row([path.as_str()], |row| row.get(0).map(version))
        .optional()?;
    version.ok_or_else(|| Trouble::Refused(StoreError::NotFound(path.clone())))
}

/// SQLite's integers are signed.
fn version(stored: i64) -> Version {
    Version(stored.try_into().expect("versions begin at 0 and are counted up"))
}

fn children(connection: &Connection, path: &StorePath) -> Result<Vec<String>, rusqlite::Error> {
    // Siblings share all of their path but the last segment, so the order of paths is the order of segments.
    let mut select = connection.prepare_cached("SELECT path FROM record WHERE parent = ?1 ORDER BY path")?;
    let below = path.as_str().len() + usize::from(!path.is_root());
    select.query_map([path.as_str()], |row| row.get::<_, String>(0).map(|child| child[below..].to_owned()))?.collect()
}

fn apply(transaction: &Transaction<'_>, change: &Change) -> Result<(), Trouble> {
    match change {
        Change::Create { path, value } => create(transaction, path, value),
        Change::Put { path, value, expected } => {
            expect(transaction, path, *expected)?;
            transaction
                .prepare_cached("UPDATE record SET value = ?2, version = version + 1 WHERE path = ?1")?
                .execute(params![path.as_str(), value])?;
            Ok(())
        }
        Change::Delete { path, expected } => {
            expect(transaction, path, *expected)?;
            delete(transaction, path)
        }
        Change::Check { path, expected } => expect(transaction, path, Some(*expected)),
    }
}

fn expect(transaction: &Transaction<'_>, path: &StorePath, expected: Option<Version>) -> Result<(), Trouble> {
    let found = version_of(transaction, path)?;
    if expected.is_none_or(|expected| expected == found) {
        Ok(())
    } else {
        Err(Trouble::Refused(StoreError::Changed(path.clone())))
    }
}

fn create(transaction: &Transaction<'_>, path: &StorePath, value: &[u8]) -> Result<(), Trouble> {
    let Some(parent) = path.parent() else {
        return Err(Trouble::Refused(StoreError::Exists(path.clone())));
    };
    version_of(transaction, &parent)?;
    let inserted = transaction
        .prepare_cached(
            "INSERT INTO record (path, parent, value, version) VALUES (?1, ?2, ?3, 0) ON CONFLICT DO NOTHING",
        )?
        .execute(params![path.as_str(), parent.as_str(), value])?;
    if inserted == 0 { Err(Trouble::Refused(StoreError::Exists(path.clone()))) } else { Ok(()) }
}

/// Deletes a record that is there. The root counts as never empty: it always is.
fn delete(transaction: &Transaction<'_>, path: &StorePath) -> Result<(), Trouble> {
    let occupied = path.is_root()
        || transaction
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM record WHERE parent = ?1)")?
            .query_row([path.as_str()], |row| row.get(0))?;
    if occupied {
        return Err(Trouble::Refused(StoreError::NotEmpty(path.clone())));
    }
    transaction.prepare_cached("DELETE FROM record WHERE path = ?1")?.execute([path.as_str()])?;
    Ok(())
}

#[cfg(test)]
mod tests;
