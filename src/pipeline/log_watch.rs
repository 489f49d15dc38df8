//! Awaiting what happens to a build's log: the kernel says it.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, inotify, utimensat};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

/// A log that is looked at.
#[derive(Debug)]
pub(super) struct LogWatch {
    /// There until it is dropped.
    inotify: Option<AsyncFd<OwnedFd>>,
}

impl LogWatch {
    /// Tells when something is written, and when the writer closes it, by itself or by its death.
    pub(super) fn for_output(log: &Path) -> io::Result<Self> {
        Self::on(log, inotify::WatchFlags::MODIFY | inotify::WatchFlags::CLOSE_WRITE)
    }

    /// Tells when it was touched, and nothing of what is written.
    pub(super) fn for_touches(log: &Path) -> io::Result<Self> {
        Self::on(log, inotify::WatchFlags::ATTRIB)
    }

    fn on(log: &Path, what: inotify::WatchFlags) -> io::Result<Self> {
        let inotify = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        inotify::add_watch(&inotify, log, what)?;
        Ok(Self { inotify: Some(watched(inotify)?) })
    }

    /// Waits for the next event since the last one that this told of, and gives whether the writer closed the log.
    pub(super) async fn next(&self) -> io::Result<bool> {
        let inotify = self.inotify.as_ref().expect("it is there until this is dropped");
        let mut ready = inotify.readable().await?;
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(inotify.get_ref(), &mut buffer);
        let mut closed = false;
        loop {
            match reader.next() {
                Ok(event) => closed |= event.events().contains(inotify::ReadFlags::CLOSE_WRITE),
                Err(Errno::WOULDBLOCK) => break,
                Err(error) => return Err(error.into()),
            }
        }
        ready.clear_ready();
        Ok(closed)
    }
}

impl Drop for LogWatch {
    /// The kernel takes some ten milliseconds to end a watch, for which no push is to wait.
    fn drop(&mut self) {
        let Some(inotify) = self.inotify.take().map(AsyncFd::into_inner) else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn_blocking(move || drop(inotify));
        }
    }
}

/// Wakes whoever awaits touches of the log, and nobody who awaits output.
pub(super) fn touch(log: &Path) -> io::Result<()> {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    // Both times: with one alone the kernel tells of something else.
    let times = Timestamps { last_access: now, last_modification: now };
    Ok(utimensat(CWD, log, &times, AtFlags::empty())?)
}

/// A descriptor that can be waited for.
#[allow(deprecated, reason = "its successor is for types whose descriptor may change; an OwnedFd's never does")]
fn watched(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(descriptor)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::time::Duration;

    use super::*;

    /// Far longer than the kernel takes to tell.
    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn what_is_written_and_the_writers_end_are_told_and_touches_are_not() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("1.log");
        let mut writer = std::fs::File::create(&log).unwrap();
        let (output, touches) = (LogWatch::for_output(&log).unwrap(), LogWatch::for_touches(&log).unwrap());
        writer.write_all(b"line\n").unwrap();
        assert!(!tokio::time::timeout(PATIENCE, output.next()).await.unwrap().unwrap());
        touch(&log).unwrap();
        tokio::time::timeout(PATIENCE, touches.next()).await.unwrap().unwrap();
        drop(writer);
        assert!(tokio::time::timeout(PATIENCE, output.next()).await.unwrap().unwrap(), "it was closed");
        // Neither heard of what was the other's: nothing is left to be told.
        for watch in [output, touches] {
            assert!(tokio::time::timeout(Duration::from_millis(20), watch.next()).await.is_err());
        }
    }
}
