//! A sandbox that is being filled: nothing that was put into it before, a symbolic link least of all, leads a later
//! file elsewhere.

use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Component, Path};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};

/// Open while nothing but the engine is in it.
#[derive(Debug)]
pub(super) struct SandboxDir(OwnedFd);

/// Who may read what was fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine::tasks) enum Readers {
    /// The engine's own user.
    Own,
    /// Any user a container may have.
    Everybody,
    /// It becomes this user's.
    User { uid: u32, gid: u32 },
}

impl SandboxDir {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::open(path, flags, Mode::empty())?))
    }

    /// Makes a new file at `place`, with the directories above it; what was there is replaced.
    pub(super) fn create(&self, place: &Path) -> io::Result<File> {
        let (parent, name) = self.make_room(place)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH;
        Ok(rustix::fs::openat(&parent, name, flags, mode)?.into())
    }

    /// Opens a file to read it.
    pub(super) fn read(&self, place: &Path) -> io::Result<File> {
        Ok(self.open_beneath(place, OFlags::RDONLY)?.into())
    }

    /// Moves all that is in the directory `from` to `place`, a directory here, into others that are there already.
    pub(super) fn take_in(&self, from: &Path, place: &Path) -> io::Result<()> {
        for entry in std::fs::read_dir(from)? {
            let entry = entry?;
            let target = place.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                self.make_dir(&target)?;
                let mode = entry.metadata()?.permissions();
                // Only who may write to a directory may move something out of it.
                std::fs::set_permissions(entry.path(), Permissions::from_mode(0o700))?;
                self.take_in(&entry.path(), &target)?;
                File::from(self.open_beneath(&target, OFlags::DIRECTORY)?).set_permissions(mode)?;
            } else {
                let (parent, name) = self.make_room(&target)?;
                rustix::fs::renameat(rustix::fs::CWD, entry.path(), &parent, name)?;
            }
        }
        Ok(())
    }

    /// The directory above `place`, made if need be, and the last name of `place`, under which there is nothing.
    fn make_room<'a>(&self, place: &'a Path) -> io::Result<(OwnedFd, &'a OsStr)> {
        let name = place.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let above = place.parent().unwrap_or(Path::new(""));
        let mut made = std::path::PathBuf::new();
        for part in above.components().filter(|part| *part != Component::CurDir) {
            made.push(part);
            self.make_dir(&made)?;
        }
        let parent = self.open_beneath(above, OFlags::DIRECTORY)?;
        match rustix::fs::unlinkat(&parent, name, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok((parent, name)),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes one directory, whose parent is there.
    fn make_dir(&self, place: &Path) -> io::Result<()> {
        let name = place.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let parent = self.open_beneath(place.parent().unwrap_or(Path::new("")), OFlags::DIRECTORY)?;
        match rustix::fs::mkdirat(&parent, name, Mode::RWXU | Mode::RGRP | Mode::XGRP | Mode::ROTH | Mode::XOTH) {
            // What is there may be a link: opening it tells.
            Err(rustix::io::Errno::EXIST) => self.open_beneath(place, OFlags::DIRECTORY).map(drop),
            made => Ok(made?),
        }
    }

    fn open_beneath(&self, place: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let place = if place.as_os_str().is_empty() { Path::new(".") } else { place };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        Ok(rustix::fs::openat2(&self.0, place, flags | OFlags::CLOEXEC, Mode::empty(), resolve)?)
    }
}

/// Lets readers at everything below a directory, links left as they are. Nobody else may be at work there.
pub(super) fn open_to(readers: Readers, path: &Path) -> io::Result<()> {
    let found = std::fs::symlink_metadata(path)?;
    match readers {
        Readers::Own => return Ok(()),
        Readers::User { uid, gid } => std::os::unix::fs::lchown(path, Some(uid), Some(gid))?,
        Readers::Everybody if found.is_symlink() => {}
        Readers::Everybody => {
            let mode = found.mode();
            let executable = found.is_dir() || mode & 0o100 != 0;
            let readable = if executable { 0o555 } else { 0o444 };
            std::fs::set_permissions(path, Permissions::from_mode(mode & 0o7777 | readable))?;
        }
    }
    if found.is_dir() {
        for entry in std::fs::read_dir(path)? {
            open_to(readers, &entry?.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_in_the_way_is_replaced_at_the_end_and_refused_before() {
        let (outside, sandbox) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        symlink(outside.path(), sandbox.path().join("dir")).unwrap();
        symlink(outside.path().join("file"), sandbox.path().join("file")).unwrap();
        let dir = SandboxDir::open(sandbox.path()).unwrap();
        assert!(dir.create(Path::new("dir/x")).is_err());
        dir.create(Path::new("file")).unwrap().write_all(b"mine").unwrap();
        assert_eq!(std::fs::read(sandbox.path().join("file")).unwrap(), b"mine");
        dir.create(Path::new("a/b/c")).unwrap();
        assert!(sandbox.path().join("a/b/c").is_file());
        assert!(dir.create(Path::new("../x")).is_err());
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_was_unpacked_is_moved_in_beside_what_is_there_and_not_through_links() {
        let (outside, sandbox, from) = (
            tempfile::tempdir().unwrap(),
            tempfile::tempdir().unwrap(),
            tempfile::tempdir_in(std::env::temp_dir()).unwrap(),
        );
        std::fs::create_dir_all(sandbox.path().join("lib/old")).unwrap();
        std::fs::create_dir_all(from.path().join("lib/new")).unwrap();
        std::fs::write(from.path().join("lib/new/file"), "x").unwrap();
        symlink("/etc/passwd", from.path().join("link")).unwrap();
        let dir = SandboxDir::open(sandbox.path()).unwrap();
        dir.take_in(from.path(), Path::new("")).unwrap();
        let mut text = String::new();
        dir.read(Path::new("lib/new/file")).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "x");
        assert!(sandbox.path().join("lib/old").is_dir() && sandbox.path().join("link").is_symlink());
        assert!(dir.read(Path::new("link")).is_err());

        std::fs::remove_dir_all(sandbox.path().join("lib")).unwrap();
        symlink(outside.path(), sandbox.path().join("lib")).unwrap();
        std::fs::write(from.path().join("lib/again"), "x").unwrap();
        assert!(dir.take_in(from.path(), Path::new("")).is_err());
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn everybody_may_read_and_links_stay_what_they_are() {
        let sandbox = tempfile::tempdir().unwrap();
        let (program, data) = (sandbox.path().join("program"), sandbox.path().join("data"));
        for (path, mode) in [(&program, 0o700), (&data, 0o600)] {
            std::fs::write(path, "x").unwrap();
            std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        }
        let outside = tempfile::NamedTempFile::new().unwrap();
        symlink(outside.path(), sandbox.path().join("link")).unwrap();
        open_to(Readers::Everybody, sandbox.path()).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&program), mode(&data), mode(outside.path())), (0o755, 0o644, 0o600));
    }
}
