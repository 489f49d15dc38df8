//! Which `paas up` serves a home: a lock that only one can hold, and a note of who that is.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use super::process::Process;
use crate::settings::Home;

/// Held for as long as the platform is up. The kernel frees it however the process ends.
#[derive(Debug)]
pub(super) struct Presence {
    // Held for its lock alone.
    _file: File,
}

fn place(home: &Home) -> PathBuf {
    home.run().join("up.lock")
}

impl Presence {
    /// Takes the home for this process; nothing when another one has it.
    pub(super) fn take(home: &Home) -> io::Result<Option<Self>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).mode(0o644);
        let mut file = options.custom_flags(NO_FOLLOW).open(place(home))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        file.set_len(0)?;
        file.write_all(&serde_json::to_vec(&Process::own())?)?;
        Ok(Some(Self { _file: file }))
    }
}

const NO_FOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();

/// The `paas up` that serves `home` now. The note is believed only from the home's owner: whoever may write into
/// the directory beside it could otherwise point at any process.
pub(super) fn serving(home: &Home) -> io::Result<Option<Process>> {
    let opened = OpenOptions::new().read(true).custom_flags(NO_FOLLOW).open(place(home));
    let mut file = match opened {
        Ok(file) => file,
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if file.metadata()?.uid() != std::fs::metadata(home.path())?.uid() {
        return Ok(None);
    }
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    // Half a note is one of a process that is only just starting or was killed while it wrote.
    let noted: Option<Process> = serde_json::from_str(&text).ok();
    Ok(noted.filter(|process| process.runs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> (tempfile::TempDir, Home) {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(directory.path());
        std::fs::create_dir(home.run()).unwrap();
        (directory, home)
    }

    #[test]
    fn only_one_can_serve_a_home() {
        let (_directory, home) = home();
        assert_eq!(serving(&home).unwrap(), None);
        let first = Presence::take(&home).unwrap();
        assert!(first.is_some());
        assert!(Presence::take(&home).unwrap().is_none());
        assert_eq!(serving(&home).unwrap(), Some(Process::own()));
        drop(first);
        assert!(Presence::take(&home).unwrap().is_some(), "free again once the first is gone");
    }

    #[test]
    fn a_note_left_by_a_killed_platform_means_nothing() {
        let (_directory, home) = home();
        for left in ["", "{", r#"{"pid":1,"started":9}"#] {
            std::fs::write(place(&home), left).unwrap();
            assert_eq!(serving(&home).unwrap(), None, "{left}");
        }
    }

    #[test]
    fn a_link_in_the_notes_place_is_not_followed() {
        let (directory, home) = home();
        let victim = directory.path().join("victim");
        std::fs::write(&victim, "precious").unwrap();
        std::os::unix::fs::symlink(&victim, place(&home)).unwrap();
        assert!(Presence::take(&home).is_err());
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
    }
}
