//! Removes what is left of tasks that ended long ago.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use rustix::path::Arg;

use super::Tasks;

impl Tasks {
    /// Removes directories of ended tasks when their time has come, for as long as the engine lives.
    pub async fn keep_house(&self) {
        let (sandboxes, clock) = (self.setting().sandboxes.clone(), self.setting().clock.clone());
        let mut going = sandboxes.left_aside().unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot look for what is left of tasks");
            Vec::new()
        });
        loop {
            let (place, now) = (sandboxes.clone(), clock.now());
            let removed = tokio::task::spawn_blocking(move || {
                going.extend(place.put_aside(now));
                going.retain(|path| !is_gone(path));
                going
            });
            going = removed.await.unwrap_or_default();
            let due = async {
                match sandboxes.next_due() {
                    // Times are whole milliseconds: one more, so that it has come.
                    Some(at) => tokio::time::sleep(at.next().since(clock.now())).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => {}
                () = sandboxes.more() => {}
            }
        }
    }
}

/// Whether a directory is removed with all in it; one that is not is tried again.
fn is_gone(path: &Path) -> bool {
    match remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "cannot remove what is left of a task");
            false
        }
        _ => true,
    }
}

/// Removes a directory and all in it, however deep: a task may have made one that is too deep to go down into. What is
/// in a directory of it is moved up instead, until nothing has anything in it.
fn remove(path: &Path) -> io::Result<()> {
    /// A process that outlived its task could make new files for ever.
    const PASSES: u32 = 100_000;
    let top = open_directory(CWD, path)?;
    let mut moved = 0_u64;
    for _ in 0..PASSES {
        let mut empty = true;
        for name in names(&top)? {
            empty = false;
            let name = name?;
            if !is_removed(&top, &name)? {
                empty_out(&top, &name, &mut moved)?;
            }
        }
        if empty {
            return std::fs::remove_dir(path);
        }
    }
    Err(io::Error::other("something in it is made over and over again"))
}

/// Empties a directory in `top` into that, but for what is no directory, and removes it.
fn empty_out(top: &OwnedFd, name: &CStr, moved: &mut u64) -> io::Result<()> {
    let inner = open_directory(top, name)?;
    for below in names(&inner)? {
        let below = below?;
        if !is_removed(&inner, &below)? {
            move_up(&inner, &below, top, moved)?;
        }
    }
    match rustix::fs::unlinkat(top, name, AtFlags::REMOVEDIR) {
        // The next pass finds it again.
        Err(Errno::NOTEMPTY) => Ok(()),
        other => Ok(other?),
    }
}

/// Moves a directory under a name that nothing in `top` has.
fn move_up(inner: &OwnedFd, name: &CStr, top: &OwnedFd, moved: &mut u64) -> io::Result<()> {
    loop {
        *moved += 1;
        let up = format!(".moved-up-{moved}");
        match rustix::fs::renameat_with(inner, name, top, &up, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {}
            other => return Ok(other?),
        }
    }
}

/// Removes what is no directory.
fn is_removed(directory: &OwnedFd, name: &CStr) -> io::Result<bool> {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::ISDIR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn open_directory(at: impl AsFd, name: impl Arg) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(at, name, flags, Mode::empty())?)
}

fn names(directory: &OwnedFd) -> io::Result<impl Iterator<Item = io::Result<CString>>> {
    let entries = Dir::read_from(directory)?.map(|entry| Ok(entry?.file_name().to_owned()));
    Ok(entries.filter(|name| !name.as_ref().is_ok_and(|name| matches!(name.to_bytes(), b"." | b".."))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_goes_however_deep_it_is_and_nothing_that_a_link_names() {
        let place = tempfile::tempdir().unwrap();
        let (going, kept) = (place.path().join("going"), place.path().join("kept"));
        std::fs::create_dir_all(going.join("a/.moved-up-1")).unwrap();
        std::fs::create_dir_all(going.join(".moved-up-2/b")).unwrap();
        std::fs::create_dir(&kept).unwrap();
        std::fs::write(kept.join("file"), "kept").unwrap();
        std::os::unix::fs::symlink(&kept, going.join("a/link")).unwrap();
        let mut at = open_directory(CWD, &going).unwrap();
        // Deeper than descriptors, or a thread's stack, would last.
        for _ in 0..5000 {
            rustix::fs::mkdirat(&at, "d", Mode::RWXU).unwrap();
            at = open_directory(&at, "d").unwrap();
        }
        rustix::fs::openat(&at, "file", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap();
        remove(&going).unwrap();
        assert!(!going.exists());
        assert_eq!(std::fs::read(kept.join("file")).unwrap(), b"kept");
    }
}
