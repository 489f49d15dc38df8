//! Fills a task's sandbox before it starts with what its app wants fetched.
//!
//! The directory is new, and nobody but the engine is in it: whatever an artifact holds, it is put where it belongs or
//! the launch fails.

mod allowance;
mod artifact;
mod download;
mod reach;
mod sandbox_dir;
mod unpack;

use std::io;
use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::super::instance::TaskId;
use super::Tasks;
use crate::marathon::{App, Artifact};

use allowance::{Allowance, Exceeded};
use artifact::{Archive, Treatment};
pub use artifact::{InvalidArtifact, Source, Wanted};
use download::DownloadError;
use reach::Reach;
pub(super) use sandbox_dir::Readers;
use sandbox_dir::{SandboxDir, open_to};
use unpack::UnpackError;

/// Why a sandbox was not filled.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("cannot make the sandbox: {0}")]
    Sandbox(#[source] io::Error),
    #[error("cannot fetch {uri}: {why}")]
    Artifact { uri: String, why: Reason },
}

/// Why an artifact was not fetched.
#[derive(Debug, thiserror::Error)]
pub(super) enum Reason {
    #[error("its `{field}` {0}", field = .0.field())]
    Invalid(#[from] InvalidArtifact),
    #[error("files of this machine are not for apps of this engine")]
    NotTrusted,
    #[error("it is no regular file")]
    NoFile,
    #[error(transparent)]
    Download(#[from] DownloadError),
    #[error("it cannot be unpacked: {0}")]
    Unpack(#[from] UnpackError),
    #[error(transparent)]
    Exceeded(#[from] Exceeded),
    #[error(transparent)]
    Failed(#[from] io::Error),
}

impl Tasks {
    /// Makes a new sandbox for the task, with what its app wants fetched; `readers` may read that. Dropping this stops
    /// it.
    pub(super) async fn furnish(&self, task: &TaskId, app: &App, readers: Readers) -> Result<(), FetchError> {
        let sandboxes = &self.setting().sandboxes;
        let sandbox = sandboxes.sandbox(task);
        // An earlier try of the same task may have left one.
        empty(&sandbox).and_then(|()| sandboxes.make(task)).map_err(FetchError::Sandbox)?;
        if app.fetch.is_empty() {
            return open_sandbox(readers, &sandbox);
        }
        let given_up = CancellationToken::new();
        let _stop = given_up.clone().drop_guard();
        let fetching = Fetching {
            sandbox: sandbox.clone(),
            aside: sandboxes.directory(task).join(format!("unpacking-{}", Uuid::new_v4())),
            reach: if self.setting().trusts_apps { Reach::Anywhere } else { Reach::Outside },
            allowance: Allowance::new(given_up),
        };
        for artifact in &app.fetch {
            let fetched = fetching.fetch(artifact).await;
            fetched.map_err(|why| FetchError::Artifact { uri: artifact.uri.clone(), why })?;
        }
        blocking(move || Ok::<_, io::Error>(open_sandbox(readers, &sandbox))).await.map_err(FetchError::Sandbox)?
    }
}

fn empty(sandbox: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(sandbox) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn open_sandbox(readers: Readers, sandbox: &Path) -> Result<(), FetchError> {
    open_to(readers, sandbox).map_err(FetchError::Sandbox)
}

/// What all artifacts of a launch share.
struct Fetching {
    sandbox: PathBuf,
    /// Where archives are unpacked before they are let into the sandbox; on the same file system.
    aside: PathBuf,
    reach: Reach,
    allowance: Allowance,
}

impl Fetching {
    async fn fetch(&self, artifact: &Artifact) -> Result<(), Reason> {
        let wanted = Wanted::read(artifact)?;
        let file = SandboxDir::open(&self.sandbox)?.create(&wanted.place)?;
        match &wanted.source {
            Source::File(_) if self.reach != Reach::Anywhere => return Err(Reason::NotTrusted),
            Source::File(path) => self.copy(path.clone(), file).await?,
            Source::Web(url) => {
                download::download(url, self.reach, tokio::fs::File::from_std(file), &self.allowance).await?;
            }
        }
        match wanted.treatment {
            Treatment::Keep => Ok(()),
            Treatment::MakeExecutable => self.make_executable(&wanted.place),
            Treatment::Unpack(archive) => self.unpack(archive, wanted.place).await,
        }
    }

    async fn copy(&self, from: PathBuf, mut to: std::fs::File) -> Result<(), Reason> {
        let allowance = self.allowance.clone();
        blocking(move || {
            // Opening a pipe would wait for who writes to it.
            let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::CLOEXEC;
            let source = std::fs::File::from(
                rustix::fs::open(&from, flags, rustix::fs::Mode::empty()).map_err(io::Error::from)?,
            );
            if !source.metadata()?.is_file() {
                return Err(Reason::NoFile);
            }
            io::copy(&mut allowance.metered(source), &mut to)?;
            Ok(())
        })
        .await
    }

    fn make_executable(&self, place: &Path) -> Result<(), Reason> {
        use std::os::unix::fs::PermissionsExt as _;
        let file = SandboxDir::open(&self.sandbox)?.read(place)?;
        Ok(file.set_permissions(std::fs::Permissions::from_mode(0o755))?)
    }

    async fn unpack(&self, archive: Archive, place: PathBuf) -> Result<(), Reason> {
        let (sandbox, aside, allowance) = (self.sandbox.clone(), self.aside.clone(), self.allowance.clone());
        blocking(move || {
            let _removed = Aside::make(&aside)?;
            let name = place.file_name().unwrap_or_default().to_string_lossy();
            // The file was made anew, below no link: its path leads to it.
            unpack::unpack(archive, &name, &sandbox.join(&place), &aside, &allowance)?;
            allowance.allows(0, 0)?;
            Ok(SandboxDir::open(&sandbox)?.take_in(&aside, Path::new(""))?)
        })
        .await
    }
}

/// A directory that goes with its owner.
struct Aside<'a>(&'a Path);

impl<'a> Aside<'a> {
    fn make(path: &'a Path) -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        std::fs::DirBuilder::new().mode(0o700).create(path)?;
        Ok(Self(path))
    }
}

impl Drop for Aside<'_> {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(self.0) {
            tracing::warn!(path = %self.0.display(), %error, "cannot remove what was unpacked");
        }
    }
}

async fn blocking<T: Send + 'static, E: From<io::Error> + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|ended| Err(io::Error::other(ended).into()))
}
