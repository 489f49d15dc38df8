//! What of a tree is not wanted: by rules such as `.gitignore` has, and by those of a `.dockerignore`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use git2::Repository;

use super::DockerIgnore;
use super::tree::{Entry, Kind};

/// Rules of both kinds; what either leaves out is.
#[derive(Debug, Clone, Default)]
pub struct LeftOut {
    /// One a line. They hold for the repository object that they were put into.
    rules: String,
    docker: DockerIgnore,
}

impl LeftOut {
    /// Reads the text of a file of rules.
    pub fn by(rules: &str) -> Self {
        let rules = rules.strip_prefix('\u{feff}').unwrap_or(rules).to_owned();
        Self { rules, docker: DockerIgnore::default() }
    }

    /// These rules, and what a `.dockerignore` says.
    #[must_use]
    pub fn and(self, docker: DockerIgnore) -> Self {
        Self { docker, ..self }
    }

    pub(super) fn put_into(&self, repository: &Repository) -> Result<(), git2::Error> {
        if self.rules.is_empty() { Ok(()) } else { repository.add_ignore_rule(&self.rules) }
    }

    /// Whether the rules leave it out. They have to be in the repository.
    pub(super) fn takes(&self, repository: &Repository, entry: &Entry) -> Result<bool, git2::Error> {
        if self.docker.takes(entry) {
            return Ok(true);
        }
        if self.rules.is_empty() {
            return Ok(false);
        }
        let mut path = entry.path.clone();
        if matches!(entry.kind, Kind::Directory | Kind::Submodule) {
            path.push(b'/');
        }
        repository.is_path_ignored(Path::new(OsStr::from_bytes(&path)))
    }
}
