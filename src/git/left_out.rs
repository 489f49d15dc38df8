//! What of a tree is not wanted, by rules such as `.gitignore` has.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use git2::Repository;

use super::tree::{Entry, Kind};

/// Rules, one a line. They hold for the repository object that they were put into.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LeftOut(String);

impl LeftOut {
    /// Reads the text of a file of rules.
    pub fn by(rules: &str) -> Self {
        Self(rules.strip_prefix('\u{feff}').unwrap_or(rules).to_owned())
    }

    pub(super) fn put_into(&self, repository: &Repository) -> Result<(), git2::Error> {
        if self.0.is_empty() { Ok(()) } else { repository.add_ignore_rule(&self.0) }
    }

    /// Whether the rules leave it out. They have to be in the repository.
    pub(super) fn takes(&self, repository: &Repository, entry: &Entry) -> Result<bool, git2::Error> {
        if self.0.is_empty() {
            return Ok(false);
        }
        let mut path = entry.path.clone();
        if matches!(entry.kind, Kind::Directory | Kind::Submodule) {
            path.push(b'/');
        }
        repository.is_path_ignored(Path::new(OsStr::from_bytes(&path)))
    }
}
