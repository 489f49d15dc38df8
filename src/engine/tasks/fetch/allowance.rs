//! How much a launch may bring into its sandbox.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio_util::sync::CancellationToken;

/// Bytes that all artifacts of a task may have together, as they are fetched and again as they are unpacked.
pub(super) const MAX_BYTES: u64 = 4 << 30;
/// Files and directories that all archives of a task may hold together.
pub(super) const MAX_ENTRIES: u64 = 100_000;

/// What may still come; shared by all that works on one launch.
#[derive(Debug, Clone)]
pub(super) struct Allowance {
    bytes: Arc<AtomicU64>,
    entries: Arc<AtomicU64>,
    given_up: CancellationToken,
}

/// Why no more may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::engine::tasks) enum Exceeded {
    #[error("all artifacts of a task together may have {} GiB, fetched and unpacked", MAX_BYTES >> 30)]
    Bytes,
    #[error("all archives of a task together may hold {MAX_ENTRIES} files")]
    Entries,
    #[error("the launch was given up")]
    GivenUp,
}

impl Allowance {
    /// The whole allowance, until the launch is given up.
    pub(super) fn new(given_up: CancellationToken) -> Self {
        Self::of(MAX_BYTES, MAX_ENTRIES, given_up)
    }
    pub(super) fn of(bytes: u64, entries: u64, given_up: CancellationToken) -> Self {
        Self { bytes: Arc::new(bytes.into()), entries: Arc::new(entries.into()), given_up }
    }

    pub(super) fn spend(&self, bytes: u64) -> Result<(), Exceeded> {
        if self.given_up.is_cancelled() {
            return Err(Exceeded::GivenUp);
        }
        take(&self.bytes, bytes).ok_or(Exceeded::Bytes)
    }
    pub(super) fn spend_entry(&self) -> Result<(), Exceeded> {
        take(&self.entries, 1).ok_or(Exceeded::Entries)
    }
    /// Whether as much as that may come, which is looked at while somebody else brings it.
    pub(super) fn allows(&self, bytes: u64, entries: u64) -> Result<(), Exceeded> {
        if self.given_up.is_cancelled() {
            Err(Exceeded::GivenUp)
        } else if bytes > self.bytes.load(Ordering::Relaxed) {
            Err(Exceeded::Bytes)
        } else if entries > self.entries.load(Ordering::Relaxed) {
            Err(Exceeded::Entries)
        } else {
            Ok(())
        }
    }
    /// A reader that gives no more than may come.
    pub(super) fn metered<R>(&self, inner: R) -> Metered<R> {
        Metered { inner, allowance: self.clone() }
    }
}

fn take(from: &AtomicU64, amount: u64) -> Option<()> {
    let taken = from.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(amount));
    taken.ok().map(drop)
}

impl From<Exceeded> for io::Error {
    fn from(exceeded: Exceeded) -> Self {
        Self::other(exceeded)
    }
}

#[derive(Debug)]
pub(super) struct Metered<R> {
    inner: R,
    allowance: Allowance,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.allowance.spend(u64::try_from(read).unwrap_or(u64::MAX))?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_read_than_may_come() {
        let allowance = Allowance::of(10, 1, CancellationToken::new());
        let mut read = Vec::new();
        allowance.metered(&[0; 10][..]).read_to_end(&mut read).unwrap();
        assert!(allowance.metered(&[0; 1][..]).read_to_end(&mut read).is_err());
        assert_eq!((allowance.spend_entry(), allowance.spend_entry()), (Ok(()), Err(Exceeded::Entries)));
    }

    #[test]
    fn nothing_is_read_for_a_launch_that_was_given_up() {
        let given_up = CancellationToken::new();
        let allowance = Allowance::new(given_up.clone());
        given_up.cancel();
        assert!(allowance.metered(&b"x"[..]).read_to_end(&mut Vec::new()).is_err());
        assert_eq!(allowance.allows(0, 0), Err(Exceeded::GivenUp));
    }
}
