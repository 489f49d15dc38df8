//! A push that goes on without its client: where its commit is kept meanwhile, and where it says what happens.
//!
//! A build's log is the build's. Of a detached push it also has all that comes after the build, since there is nobody
//! else to be told.

use std::fmt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::build_log::{BuildLog, Builds};
use super::release::{BuildOf, ReleaseError};
use super::{Progress, Push};
use crate::git::{GitError, Repository};
use crate::model::{CommitId, ReleaseNumber};

/// Below it are the commits of detached pushes that are under way; nobody pushes there.
pub const REFS: &str = "refs/paas/";

/// By what a push is known from where it goes on alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detached {
    Build(u32),
    /// It has nothing to build.
    Release(ReleaseNumber),
}

impl Detached {
    /// The ref that keeps its commit until its branch has it, or it has failed.
    pub fn reference(self) -> String {
        match self {
            Self::Build(number) => format!("{REFS}detached/{number}"),
            Self::Release(number) => format!("{REFS}detached/{number}"),
        }
    }

    /// Keeps the commit, and gives the ref by which.
    pub fn keep(self, commit: &CommitId, repository: &Path) -> Result<String, GitError> {
        let reference = self.reference();
        Repository::open(repository)?.move_reference(&reference, None, commit, "detached push")?;
        Ok(reference)
    }
}

impl fmt::Display for Detached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Build(number) => write!(f, "Build {number} goes on without you: `paas builds log -f {number}`"),
            Self::Release(number) => write!(f, "Release {number} goes on without you, there was nothing to build"),
        }
    }
}

/// Removes the refs of detached pushes that were killed. Whoever has the app's turn knows that none is under way.
pub(super) fn forget_killed(repository: &Repository) -> Result<(), GitError> {
    repository.remove_references(&format!("{REFS}*"))
}

/// The log of a detached push's build, from when the build is over.
#[derive(Debug, Default)]
pub(super) struct Afterwards(Mutex<Option<BuildLog>>);

impl Afterwards {
    /// From now on what happens is written there, if the slug is of the push's own build.
    pub(super) async fn begin(
        &self,
        build: &BuildOf,
        push: &Push,
        builds: &Builds<'_>,
        logs: &Path,
    ) -> Result<(), ReleaseError> {
        if !push.options.detach || build.app != push.app {
            return Ok(());
        }
        let is_ours = builds.read(build.number).await?.is_some_and(|(build, _)| build.push == push.push.to_string());
        if is_ours {
            // Without it the push is as good.
            match BuildLog::reopen(logs, build.number) {
                Ok(log) => *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(log),
                Err(error) => tracing::warn!(%error, "nobody will read how this push goes on"),
            }
        }
        Ok(())
    }

    pub(super) fn note(&self, progress: &Progress) {
        self.line(progress.line());
    }

    /// The last of it.
    pub(super) fn failed(&self, reason: &str) {
        self.line(Some(format!(" !     {reason}")));
    }

    fn line(&self, line: Option<String>) {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(log), Some(line)) = (log.as_mut(), line)
            && let Err(error) = log.line(&line)
        {
            tracing::warn!(%error, "a line is missing in a log");
        }
    }
}
