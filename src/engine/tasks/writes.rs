//! One look-out over all files that command tasks write to: the kernel gives a user few look-outs, and each takes many files.

use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use rustix::fs::inotify;
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

use super::commands::watched;
use super::lock;

/// Which files are looked out for, and which of them were written to.
#[derive(Debug)]
pub(super) struct Writes {
    inotify: AsyncFd<OwnedFd>,
    files: Mutex<HashMap<i32, PathBuf>>,
}

impl Writes {
    pub(super) fn new() -> io::Result<Self> {
        let inotify = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        Ok(Self { inotify: watched(inotify)?, files: Mutex::default() })
    }

    /// From now on, until it is removed or no longer looked out for.
    pub(super) fn look_out_for(&self, file: &Path) -> io::Result<()> {
        let watch = inotify::add_watch(self.inotify.get_ref(), file, inotify::WatchFlags::MODIFY)?;
        lock(&self.files).insert(watch, file.to_owned());
        Ok(())
    }

    pub(super) fn forget(&self, forgotten: &[PathBuf]) {
        lock(&self.files).retain(|watch, file| {
            let keep = !forgotten.contains(file);
            if !keep {
                // One that is gone already is as good.
                let _ = inotify::remove_watch(self.inotify.get_ref(), *watch);
            }
            keep
        });
    }

    /// Waits until some are written to, and then a while, since writes come in bursts; which they were.
    pub(super) async fn next(&self) -> io::Result<Vec<PathBuf>> {
        const BURST: Duration = Duration::from_secs(1);
        let mut ready = self.inotify.readable().await?;
        tokio::time::sleep(BURST).await;
        let mut written = Vec::new();
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(self.inotify.get_ref(), &mut buffer);
        loop {
            match reader.next() {
                Ok(event) => written.push(event.wd()),
                Err(Errno::WOULDBLOCK) => break,
                Err(error) => return Err(error.into()),
            }
        }
        ready.clear_ready();
        written.sort_unstable();
        written.dedup();
        let files = lock(&self.files);
        Ok(written.iter().filter_map(|watch| files.get(watch).cloned()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_written_to_is_told_and_what_is_forgotten_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let files = ["a", "b", "c"].map(|name| dir.path().join(name));
        let writes = Writes::new().unwrap();
        for file in &files {
            std::fs::write(file, "").unwrap();
            writes.look_out_for(file).unwrap();
        }
        writes.forget(&files[1..2]);
        for file in &files[..2] {
            std::fs::write(file, "more").unwrap();
        }
        let told = tokio::time::timeout(Duration::from_secs(10), writes.next()).await.unwrap().unwrap();
        assert_eq!(told, &files[..1]);
    }
}
