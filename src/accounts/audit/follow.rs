//! Following the log: the kernel says when its directory changes.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use futures_util::{Stream, stream};
use rustix::fs::inotify;
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

use super::read::Reader;
use super::{AuditError, Event, Filter, segments};

/// See [`AuditLog::follow`](super::AuditLog::follow).
pub(super) fn follow(
    dir: &Path,
    filter: Filter,
) -> Result<impl Stream<Item = Result<Vec<Event>, AuditError>> + use<>, AuditError> {
    let watch = |cause| AuditError::Watch { place: dir.to_owned(), cause };
    let follower = Follower {
        // First of all, so that nothing is added unseen between reading and looking out.
        changes: Changes::of(dir).map_err(watch)?,
        reader: Reader::new(dir),
        dir: dir.to_owned(),
        filter,
    };
    Ok(stream::try_unfold(follower, |mut follower| async move { Ok(Some((follower.next().await?, follower))) }))
}

#[derive(Debug)]
struct Follower {
    changes: Changes,
    reader: Reader,
    dir: PathBuf,
    filter: Filter,
}

impl Follower {
    async fn next(&mut self) -> Result<Vec<Event>, AuditError> {
        loop {
            let read = self.reader.read().map_err(|cause| AuditError::Read { place: self.dir.clone(), cause })?;
            let events: Vec<Event> = read.into_iter().filter(|event| self.filter.takes(event)).collect();
            if !events.is_empty() {
                return Ok(events);
            }
            let changed = self.changes.next().await;
            changed.map_err(|cause| AuditError::Watch { place: self.dir.clone(), cause })?;
        }
    }
}

/// That something changed in a directory; what it was is seen by reading.
#[derive(Debug)]
struct Changes(AsyncFd<OwnedFd>);

impl Changes {
    fn of(dir: &Path) -> io::Result<Self> {
        segments::make_directory(dir)?;
        let inotify = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        inotify::add_watch(&inotify, dir, inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE)?;
        watched(inotify).map(Self)
    }

    /// Waits for the next change since the last one that this told of.
    async fn next(&self) -> io::Result<()> {
        let mut ready = self.0.readable().await?;
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(self.0.get_ref(), &mut buffer);
        loop {
            match reader.next() {
                Ok(_) => {}
                Err(Errno::WOULDBLOCK) => break,
                Err(error) => return Err(error.into()),
            }
        }
        ready.clear_ready();
        Ok(())
    }
}

/// A descriptor that can be waited for.
#[allow(deprecated, reason = "its successor is for types whose descriptor may change; an OwnedFd's never does")]
fn watched(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(descriptor)
}
