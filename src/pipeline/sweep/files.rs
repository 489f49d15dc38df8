//! Builds with their logs and what was lent to them, and repositories.

use std::collections::BTreeSet;
use std::fs::{self, DirEntry};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use super::history::History;
use super::{Kind, Sweep, SweepError, Swept};
use crate::git::{self, Claim, GitError};
use crate::model::{AppName, TenantName};
use crate::pipeline::build_log::BuildLog;
use crate::pipeline::keep::builds_that_go;
use crate::pipeline::places::Places;
use crate::store::StoreError;

/// A repository is made, or removed, within moments; what is still half-made or half-gone after this is left over.
const HALF_MADE: Duration = Duration::from_hours(24);

impl Sweep {
    pub(super) async fn builds(&self, swept: &mut Swept) -> Result<(), SweepError> {
        // The files first: a build has its record before it has a log, and is held before it has a loan.
        let files = self.build_files();
        let histories = self.histories().await?;
        for history in &histories {
            self.old_builds(history, &histories, swept).await;
        }
        for directory in files {
            self.leftover_files(directory, &histories, swept).await?;
        }
        Ok(())
    }

    async fn old_builds(&self, history: &History, all: &[History], swept: &mut Swept) {
        // Also those that serve in other apps and other tenants.
        let serving = all.iter().flat_map(|other| other.serving_builds_of(&history.tenant, &history.app));
        let serving: Vec<u32> = serving.collect();
        for number in builds_that_go(&history.builds, &serving, &self.keep, Timestamp::now()) {
            let outcome = if self.dry_run { Ok(()) } else { self.remove_build(history, number).await };
            swept.tried(Kind::Builds, outcome.map(|()| true));
        }
    }

    /// The log first, so that no log is left of which nobody knows.
    async fn remove_build(&self, history: &History, number: u32) -> Result<(), SweepError> {
        let directory = self.logs.join(history.tenant.as_str()).join(history.app.as_str());
        remove(&BuildLog::path(&directory, number))?;
        let path = Places::of(&history.tenant, &history.app).build(number);
        match self.store.delete(&path, None).await {
            Ok(()) | Err(StoreError::NotFound(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// What builds that were killed were lent, and logs of builds that are in the store no more.
    async fn leftover_files(
        &self,
        files: BuildFiles,
        histories: &[History],
        swept: &mut Swept,
    ) -> Result<(), SweepError> {
        let BuildFiles { tenant, app, directory, loans, logs } = files;
        if self.push_since(&tenant, &app).await?.is_none() {
            for loan in loans {
                swept.tried(Kind::Loans, self.remove_all(&loan));
            }
        }
        let history = histories.iter().find(|history| (&history.tenant, &history.app) == (&tenant, &app));
        let known: BTreeSet<u32> = history.iter().flat_map(|history| &history.builds).map(|one| one.number).collect();
        for number in logs.difference(&known) {
            swept.tried(Kind::Builds, self.remove_all(&BuildLog::path(&directory, *number)));
        }
        Ok(())
    }

    fn build_files(&self) -> Vec<BuildFiles> {
        let below =
            |directory: &Path| directories(directory).filter_map(|entry| named::<AppName>(&entry)).collect::<Vec<_>>();
        let tenants = directories(&self.logs).filter_map(|entry| named::<TenantName>(&entry));
        let apps = tenants.flat_map(|(tenant, directory)| {
            below(&directory).into_iter().map(move |(app, directory)| BuildFiles::of(tenant.clone(), app, directory))
        });
        apps.collect()
    }

    /// Repositories that were being made or removed when their process was killed.
    pub(super) fn half_made(&self, swept: &mut Swept) {
        let tenants = directories(&self.repositories).map(|entry| entry.path());
        for directory in tenants.chain([self.letterboxes.clone()]) {
            for entry in directories(&directory).filter(is_half_made) {
                swept.tried(Kind::HalfMade, self.remove_all(&entry.path()));
            }
        }
    }

    /// Tidies the repositories that have grown, but none in which somebody is at work.
    pub(super) fn repositories(&self, swept: &mut Swept) {
        for tenant in directories(&self.repositories) {
            for entry in directories(&tenant.path()) {
                let path = entry.path();
                if path.extension().is_some_and(|extension| extension == "git") {
                    swept.tried(Kind::Repositories, self.tidy(&path));
                }
            }
        }
    }

    fn tidy(&self, repository: &Path) -> Result<bool, GitError> {
        let (now, last) = git::census(repository)?;
        if !now.has_grown_since(last) {
            return Ok(false);
        }
        let claim = Claim::on(repository)?;
        if !claim.is_alone()? {
            return Ok(false);
        }
        if !self.dry_run {
            git::collect_garbage(repository)?;
        }
        Ok(true)
    }

    fn remove_all(&self, path: &Path) -> Result<bool, SweepError> {
        if !self.dry_run {
            remove(path)?;
        }
        Ok(true)
    }
}

/// What lies in an app's directory of logs.
struct BuildFiles {
    tenant: TenantName,
    app: AppName,
    directory: PathBuf,
    loans: Vec<PathBuf>,
    logs: BTreeSet<u32>,
}

impl BuildFiles {
    fn of(tenant: TenantName, app: AppName, directory: PathBuf) -> Self {
        let paths: Vec<PathBuf> = entries(&directory).map(|entry| entry.path()).collect();
        let logs = paths.iter().filter_map(|path| log_number(path)).collect();
        let is_loan = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "loan");
        Self { tenant, app, logs, loans: paths.into_iter().filter(is_loan).collect(), directory }
    }
}

fn log_number(path: &Path) -> Option<u32> {
    path.file_name()?.to_str()?.strip_suffix(".log")?.parse().ok()
}

/// What is in the directory; nothing when it is not there.
fn entries(directory: &Path) -> impl Iterator<Item = DirEntry> {
    fs::read_dir(directory).into_iter().flatten().flatten()
}

/// An app's repository.
pub(super) fn named_repository(entry: &DirEntry) -> Option<(AppName, PathBuf)> {
    let name = entry.file_name();
    Some((name.to_str()?.strip_suffix(".git")?.parse().ok()?, entry.path()))
}

/// The directories in it; no link is followed to one.
pub(super) fn directories(directory: &Path) -> impl Iterator<Item = DirEntry> {
    entries(directory).filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
}

fn named<Name: std::str::FromStr>(entry: &DirEntry) -> Option<(Name, PathBuf)> {
    Some((entry.file_name().to_str()?.parse().ok()?, entry.path()))
}

fn is_half_made(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    let is_named = [".new-", ".old-"].iter().any(|begin| name.as_encoded_bytes().starts_with(begin.as_bytes()));
    let changed = entry.metadata().and_then(|found| found.modified());
    let age = changed.ok().and_then(|changed| SystemTime::now().duration_since(changed).ok());
    is_named && age.is_some_and(|age| age > HALF_MADE)
}

/// Removes a file, or a directory with all that is in it; one that is gone is as good.
fn remove(path: &Path) -> Result<(), SweepError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(SweepError::File { path: path.to_owned(), cause }),
        _ => Ok(()),
    }
}
