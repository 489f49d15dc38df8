//! Files of ours in other programs' directories: known by their first line, and never written over anybody else's.

use std::io;
use std::path::{Path, PathBuf};

use super::{Did, InstallError};
use crate::accounts::authorized_keys::MADE_BY_INSTALL;
use crate::platform::layout;

/// A file as it is to be. Its text begins with the marker.
#[derive(Debug)]
pub(super) struct Marked {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

impl Marked {
    /// What writing it would do.
    pub(super) fn state(&self) -> Result<Did, InstallError> {
        Ok(match read(&self.path)? {
            None => Did::Made,
            Some(found) if found == self.text => Did::Nothing,
            Some(_) => Did::Changed,
        })
    }

    /// Writes it where it is not there like this; it is never seen half-written.
    pub(super) fn write(&self) -> Result<Did, InstallError> {
        let state = self.state()?;
        if state != Did::Nothing {
            let directory = self.path.parent().unwrap_or(Path::new("/"));
            std::fs::create_dir_all(directory).map_err(|cause| failed(directory, cause))?;
            layout::generated(&self.path, &self.text, 0o644)?;
        }
        Ok(state)
    }
}

/// The text of our file at `path`; nothing when there is no file, and refused when it is somebody else's. An empty
/// one is what a power cut may leave of ours.
pub(super) fn read(path: &Path) -> Result<Option<String>, InstallError> {
    match std::fs::read(path) {
        Ok(text) if text.is_empty() => Ok(Some(String::new())),
        Ok(text) => match String::from_utf8(text) {
            Ok(text) if text.starts_with(MADE_BY_INSTALL) => Ok(Some(text)),
            _ => Err(InstallError::Foreign(path.to_owned())),
        },
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(failed(path, cause)),
    }
}

/// Removes our file; `Did::Nothing` when there is none, and refused when it is somebody else's.
pub(super) fn remove(path: &Path) -> Result<Did, InstallError> {
    match read(path)? {
        None => Ok(Did::Nothing),
        Some(_) => std::fs::remove_file(path).map(|()| Did::Removed).map_err(|cause| failed(path, cause)),
    }
}

pub(super) fn failed(path: &Path, cause: io::Error) -> InstallError {
    InstallError::File { path: path.to_owned(), cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(path: PathBuf, text: &str) -> Marked {
        Marked { path, text: format!("{MADE_BY_INSTALL}\n{text}\n") }
    }

    #[test]
    fn a_file_is_written_once_changed_when_it_differs_and_taken_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("etc/paas.conf");
        assert_eq!(marked(path.clone(), "a").state().unwrap(), Did::Made);
        assert!(!path.exists(), "looking writes nothing");
        assert_eq!(marked(path.clone(), "a").write().unwrap(), Did::Made);
        assert_eq!(marked(path.clone(), "a").write().unwrap(), Did::Nothing);
        assert_eq!(marked(path.clone(), "b").write().unwrap(), Did::Changed);
        assert!(std::fs::read_to_string(&path).unwrap().ends_with("\nb\n"));
        std::fs::write(&path, "").unwrap();
        assert_eq!(marked(path.clone(), "b").write().unwrap(), Did::Changed, "a power cut's rest is healed");
        assert_eq!(remove(&path).unwrap(), Did::Removed);
        assert_eq!(remove(&path).unwrap(), Did::Nothing);
    }

    #[test]
    fn somebody_elses_file_is_neither_written_nor_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("paas.conf");
        std::fs::write(&path, "Match User paas\n").unwrap();
        assert!(matches!(marked(path.clone(), "a").write(), Err(InstallError::Foreign(_))));
        assert!(matches!(remove(&path), Err(InstallError::Foreign(_))));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "Match User paas\n");
    }
}
