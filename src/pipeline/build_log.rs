//! A build's number, its record in the store, its log file, and the directory it lends to its container.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Push;
use super::app_record::AppRecord;
use super::build::BuildError;
use super::builds::is_its_push;
use super::places::Places;
use super::release::{ReleaseError, json};
use super::slug::SlugKey;
use crate::model::{CommitId, ImageId, UserName};
use crate::store::{Change, Store, StoreError, Version};

/// One build, as the store remembers it. Builds are numbered per app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    pub number: u32,
    pub slug: SlugKey,
    pub commit: CommitId,
    pub user: UserName,
    pub push: String,
    pub started: Timestamp,
    /// Its push goes on without its client, and what comes after the build is in the log too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub detached: bool,
    pub state: BuildState,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "state")]
pub enum BuildState {
    /// It waits for its turn among the tenant's builds.
    Queued,
    Running,
    Succeeded {
        at: Timestamp,
        image: ImageId,
        /// What it added to the builder; unknown of builds from before this was noted.
        #[serde(default)]
        bytes: Option<u64>,
    },
    Failed {
        at: Timestamp,
        reason: String,
    },
    /// Somebody ended it; its push may need an instant more to hear of it.
    Cancelled {
        at: Timestamp,
        /// As the audit log names them.
        by: String,
    },
    /// Its push was cut off; when the next one came, or somebody asked, it was found so.
    Abandoned,
}

impl BuildState {
    /// As the record spells it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded { .. } => "succeeded",
            Self::Failed { .. } => "failed",
            Self::Cancelled { .. } => "cancelled",
            Self::Abandoned => "abandoned",
        }
    }

    /// When it ended, where anybody was there to see.
    pub fn ended(&self) -> Option<Timestamp> {
        match self {
            Self::Succeeded { at, .. } | Self::Failed { at, .. } | Self::Cancelled { at, .. } => Some(*at),
            Self::Queued | Self::Running | Self::Abandoned => None,
        }
    }

    /// By its own word; whether its push lives says the app's lease.
    pub fn is_under_way(&self) -> bool {
        matches!(self, Self::Queued | Self::Running)
    }
}

/// The builds of one app. Whoever writes holds the app's lease, but for whoever cancels one.
#[derive(Debug)]
pub(super) struct Builds<'a> {
    pub store: &'a dyn Store,
    pub places: Places,
}

impl Builds<'_> {
    /// Numbers and records a build that begins, or that waits for its turn.
    pub(super) async fn begin(
        &self,
        push: &Push,
        slug: &SlugKey,
        state: BuildState,
        now: Timestamp,
    ) -> Result<Build, ReleaseError> {
        self.store.ensure(&self.places.builds()).await?;
        loop {
            let record = AppRecord::read(self.store, &self.places).await?;
            let build = Build {
                number: record.value.builds + 1,
                slug: slug.clone(),
                commit: push.commit.clone(),
                user: push.user.clone(),
                push: push.push.to_string(),
                started: now,
                detached: push.options.detach,
                state: state.clone(),
            };
            let counted = AppRecord { builds: build.number, ..record.value.clone() };
            let path = self.places.build(build.number);
            let changes = vec![record.put(&self.places, &counted), Change::Create { path, value: json(&build) }];
            match self.store.commit(changes).await {
                Ok(()) => return Ok(build),
                Err(StoreError::Changed(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// A build and the version of its record.
    pub(super) async fn read(&self, number: u32) -> Result<Option<(Build, Version)>, ReleaseError> {
        let path = self.places.build(number);
        let Some(record) = self.store.get(&path).await? else { return Ok(None) };
        let cause = |cause| ReleaseError::Unreadable { path: path.to_string(), cause };
        Ok(Some((serde_json::from_slice(&record.value).map_err(cause)?, record.version)))
    }

    /// Who cancelled the build, if somebody did.
    pub(super) async fn cancelled_by(&self, number: u32) -> Result<Option<String>, ReleaseError> {
        Ok(match self.read(number).await?.map(|(build, _)| build.state) {
            Some(BuildState::Cancelled { by, .. }) => Some(by),
            _ => None,
        })
    }

    /// Gives the build another state, unless somebody cancelled it meanwhile: then it keeps that.
    pub(super) async fn mark(&self, build: &mut Build, state: BuildState) -> Result<(), BuildError> {
        let path = self.places.build(build.number);
        loop {
            let (kept, version) = self.read(build.number).await?.ok_or_else(|| StoreError::NotFound(path.clone()))?;
            if let BuildState::Cancelled { by, .. } = kept.state {
                return Err(BuildError::Cancelled { by });
            }
            build.state = state.clone();
            match self.store.put(&path, json(build), Some(version)).await {
                Err(StoreError::Changed(_)) => {}
                done => return done.map_err(BuildError::from),
            }
        }
    }

    /// Marks the newest build as abandoned if it never ended, and gives its push's id; also that of one that failed or
    /// was cancelled, for Docker may have been away when its container was to go.
    pub(super) async fn abandon_unfinished(&self) -> Result<Option<String>, ReleaseError> {
        let newest = AppRecord::read(self.store, &self.places).await?.value.builds;
        loop {
            let Some((build, version)) = self.read(newest).await? else { return Ok(None) };
            match build.state {
                BuildState::Queued | BuildState::Running => {
                    if self.abandon(&build, version).await? {
                        return Ok(Some(build.push));
                    }
                    // Somebody cancelled it just now, or the sweep was quicker.
                }
                BuildState::Cancelled { .. } | BuildState::Failed { .. } | BuildState::Abandoned => {
                    return Ok(Some(build.push));
                }
                BuildState::Succeeded { .. } => return Ok(None),
            }
        }
    }

    /// The build as it was read, when it is under way by its record alone: its push is no more.
    pub(super) async fn dead(&self, number: u32) -> Result<Option<(Build, Version)>, ReleaseError> {
        // The record first: a push writes its end before it lets go of the app.
        let Some((build, version)) = self.read(number).await? else { return Ok(None) };
        let holder = self.store.lease_holder(self.places.app()).await?;
        let is_dead = build.state.is_under_way() && !is_its_push(&build, holder.as_ref());
        Ok(is_dead.then_some((build, version)))
    }

    /// Marks a build as abandoned, unless its record is another one by now; says whether it did.
    pub(super) async fn abandon(&self, build: &Build, version: Version) -> Result<bool, ReleaseError> {
        let abandoned = Build { state: BuildState::Abandoned, ..build.clone() };
        match self.store.put(&self.places.build(build.number), json(&abandoned), Some(version)).await {
            Ok(()) => Ok(true),
            Err(StoreError::Changed(_) | StoreError::NotFound(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// The file that keeps what a build said. It is closed when the build's end is in the store, or with the push that dies:
/// by that a follower knows.
#[derive(Debug)]
pub(super) struct BuildLog {
    path: PathBuf,
    file: File,
}

/// A file of a build could not be made or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}", path = .path.display())]
pub struct BuildFileError {
    path: PathBuf,
    #[source]
    cause: io::Error,
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> BuildFileError {
    move |cause| BuildFileError { path: path.to_owned(), cause }
}

impl BuildLog {
    /// Makes the log of a new build, and the directory of logs with it.
    pub(super) fn create(logs: &Path, build: u32) -> Result<Self, BuildFileError> {
        DirBuilder::new().recursive(true).mode(0o700).create(logs).map_err(at(logs))?;
        let path = Self::path(logs, build);
        let file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path).map_err(at(&path))?;
        Ok(Self { path, file })
    }

    /// Goes on with a log that was closed.
    pub(super) fn reopen(logs: &Path, build: u32) -> Result<Self, BuildFileError> {
        let path = Self::path(logs, build);
        let file = OpenOptions::new().append(true).open(&path).map_err(at(&path))?;
        Ok(Self { path, file })
    }

    /// Where it is among the app's logs.
    pub(super) fn path(logs: &Path, build: u32) -> PathBuf {
        logs.join(format!("{build}.log"))
    }

    pub(super) fn line(&mut self, line: &str) -> Result<(), BuildFileError> {
        self.file.write_all(format!("{line}\n").as_bytes()).map_err(at(&self.path))
    }
}

/// What a build is lent.
#[derive(Debug, Default)]
pub(super) struct Lent<'a> {
    /// Its settings, one file each.
    pub env: BTreeMap<String, String>,
    /// Of the host.
    pub ca_bundle: Option<&'a Path>,
    /// The list of what it fetches; empty: nothing.
    pub submodules: String,
}

/// What of the host's file system a build is lent, gone when this is dropped. Bind-mounted, so that none of it gets into
/// the image. The directory itself is for its owner alone; what is in it has to be readable for whatever user the build
/// steps down to.
#[derive(Debug)]
pub(super) struct Loan {
    directory: PathBuf,
    has_ca_bundle: bool,
    has_submodules: bool,
}

impl Loan {
    pub(super) fn make(logs: &Path, build: u32, lent: &Lent<'_>) -> Result<Self, BuildFileError> {
        let Lent { env, ca_bundle, submodules } = lent;
        let directory = logs.join(format!("{build}.loan"));
        DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(at(&directory))?;
        let loan = Self { directory, has_ca_bundle: ca_bundle.is_some(), has_submodules: !submodules.is_empty() };
        open_directory(&loan.env())?;
        for (name, value) in env {
            // The manifest let no other names in; here it is the last door before a path is made of it.
            if is_variable(name) {
                write(&loan.env().join(name), value.as_bytes())?;
            }
        }
        if let Some(bundle) = ca_bundle {
            open_directory(&loan.ca())?;
            write(&loan.ca().join("bundle.pem"), &std::fs::read(bundle).map_err(at(bundle))?)?;
        }
        if loan.has_submodules {
            open_directory(&loan.list())?;
            write(&loan.list().join("list"), submodules.as_bytes())?;
        }
        Ok(loan)
    }

    pub(super) fn env(&self) -> PathBuf {
        self.directory.join("env")
    }
    /// The directory with `bundle.pem` in it, when there is one.
    pub(super) fn ca_bundle(&self) -> Option<PathBuf> {
        self.has_ca_bundle.then(|| self.ca())
    }
    fn ca(&self) -> PathBuf {
        self.directory.join("ca")
    }
    /// The directory with `list` in it, when something is to be fetched.
    pub(super) fn submodules(&self) -> Option<PathBuf> {
        self.has_submodules.then(|| self.list())
    }
    fn list(&self) -> PathBuf {
        self.directory.join("submodules")
    }

    /// Removes what builds that were killed left.
    pub(super) fn sweep(logs: &Path) {
        let Ok(entries) = std::fs::read_dir(logs) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.extension().is_some_and(|extension| extension == "loan") {
                remove(&path);
            }
        }
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        remove(&self.directory);
    }
}

fn remove(directory: &Path) {
    if let Err(error) = std::fs::remove_dir_all(directory) {
        tracing::warn!(directory = %directory.display(), %error, "a build's directory is left");
    }
}

/// Whatever the umask is, others can read it; who may come here is said by the directory above.
fn open_directory(path: &Path) -> Result<(), BuildFileError> {
    std::fs::create_dir(path).map_err(at(path))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).map_err(at(path))
}

fn write(path: &Path, content: &[u8]) -> Result<(), BuildFileError> {
    std::fs::write(path, content).map_err(at(path))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).map_err(at(path))
}

fn is_variable(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loan_holds_the_settings_and_is_gone_when_dropped() {
        let logs = tempfile::tempdir().unwrap();
        let env = BTreeMap::from([("NODE_ENV".to_owned(), "production".to_owned())]);
        let loan = Loan::make(logs.path(), 3, &Lent { env, ..Lent::default() }).unwrap();
        assert_eq!(std::fs::read_to_string(loan.env().join("NODE_ENV")).unwrap(), "production");
        assert_eq!(std::fs::metadata(logs.path().join("3.loan")).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!((loan.ca_bundle(), loan.submodules()), (None, None));
        drop(loan);
        assert!(!logs.path().join("3.loan").exists());
    }

    #[test]
    fn no_setting_can_name_a_file_elsewhere() {
        let logs = tempfile::tempdir().unwrap();
        let env = BTreeMap::from([("../../escaped".to_owned(), "x".to_owned()), ("A".to_owned(), "1".to_owned())]);
        let loan = Loan::make(logs.path(), 1, &Lent { env, ..Lent::default() }).unwrap();
        assert_eq!(std::fs::read_dir(loan.env()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_killed_build_left_is_swept() {
        let logs = tempfile::tempdir().unwrap();
        std::mem::forget(Loan::make(logs.path(), 1, &Lent::default()).unwrap());
        BuildLog::create(logs.path(), 1).unwrap().line("kept").unwrap();
        Loan::sweep(logs.path());
        assert!(!logs.path().join("1.loan").exists());
        assert_eq!(std::fs::read_to_string(logs.path().join("1.log")).unwrap(), "kept\n");
    }
}
