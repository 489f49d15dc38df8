//! Source: commit → tree, and what the tree says about how it is built and run.
//!
//! Nothing of it is ever unpacked on this host: the tree goes as a stream into the build container.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use super::formation::Command;
use super::release_command::RELEASE;
use super::slug::BuildInput;
use super::{Progress, Push, Say};
use crate::git::{Elsewhere, GitError, LeftOut, Repository, TarShape, TarStream, Within};
use crate::manifest::{self, Manifest, ManifestError, Procfile, ProcfileError};
use crate::model::{ByteSize, CommitId, ProcessType, TenantName, without_tokens};

/// A commit's tree, and what its `paas.yml` and Procfile ask for.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub repository: PathBuf,
    pub commit: CommitId,
    /// The tree's id.
    pub tree: String,
    pub build: BuildInput,
    pub build_timeout: Option<Duration>,
    /// What is to be done once before any new instance runs.
    pub release_command: Option<Command>,
    /// The Procfile's process types.
    pub procfile: BTreeSet<ProcessType>,
    /// What `paas.yml` asks of process types.
    pub wishes: BTreeMap<ProcessType, manifest::Process>,
    pub env: BTreeMap<String, String>,
    pub domains: Vec<String>,
    /// What the build gets instead of the `paas.yml`, when that has a deploy token in it: images are no place for one.
    manifest_without_token: Option<Vec<u8>>,
    /// What of the tree the build does not get.
    left_out: LeftOut,
}

/// Why a commit cannot be deployed.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error(transparent)]
    Git(#[from] GitError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    Procfile(#[from] ProcfileError),
    #[error(
        "{} is kept by git LFS, and only its pointer was pushed; commit the file itself (`git lfs migrate export`), or \
         name it in .slugignore if the app does without",
        named(.0)
    )]
    LfsPointers(Vec<PathBuf>),
    #[error(
        "{} is a submodule, whose files are not in this repository, and are not fetched; commit them here, or name it \
         in .slugignore if the app does without",
        named(.0)
    )]
    Submodules(Vec<PathBuf>),
    #[error(".slugignore is no UTF-8 text")]
    SlugIgnoreNoText,
    #[error(
        "building from a Dockerfile is not supported yet; to build without it, set `build: {{builder: buildstep}}` in paas.yml"
    )]
    Dockerfile,
}

/// The first of them, and how many there are besides.
fn named(paths: &[PathBuf]) -> String {
    let first = paths.first().map(|path| path.display().to_string()).unwrap_or_default();
    match paths.len() {
        0 | 1 => format!("`{first}`"),
        several => format!("`{first}` (and {} more at least)", several - 1),
    }
}

/// Its file in the repository's root, with rules as `.gitignore` has them.
const SLUG_IGNORE: &str = ".slugignore";
/// Far more than people write.
const MAX_SLUG_IGNORE_BYTES: u64 = 64 << 10;

/// What a tree holds, and what people are told of it.
struct Reading {
    source: Source,
    step: String,
}

/// Reads the commit's tree.
pub(super) async fn check_out(push: &Push, say: Say<'_>) -> Result<Source, SourceError> {
    let (repository, commit, tenant) = (push.repository.clone(), push.commit.clone(), push.tenant.clone());
    let read = move || read(repository, commit, &tenant);
    let reading = tokio::task::spawn_blocking(read).await.expect("reading a commit does not panic")?;
    say(Progress::Step(reading.step));
    Ok(reading.source)
}

fn read(repository: PathBuf, commit: CommitId, tenant: &TenantName) -> Result<Reading, SourceError> {
    let git = Repository::open(&repository)?;
    // The size was admitted before; this is for people.
    let size = git.summary(&commit, Within::EVERYTHING)?;
    let step = format!("Source {} ({} files, {})", commit.short(), size.files, ByteSize::new(size.bytes));
    let text = git.file(&commit, manifest::MANIFEST_FILE, manifest::MAX_BYTES as u64)?.unwrap_or_default();
    let manifest = Manifest::read(&text)?.for_tenant(tenant);
    let left_out = left_out(&git, &commit)?;
    whole(git.elsewhere(&commit, &left_out)?)?;
    let procfile = match git.file(&commit, manifest::PROCFILE_FILE, manifest::MAX_BYTES as u64)? {
        Some(text) => Procfile::read(&text)?.commands.into_keys().collect(),
        None => BTreeSet::new(),
    };
    let has_dockerfile =
        git.root_names(&commit)?.iter().any(|(name, is_directory)| name == "Dockerfile" && !is_directory);
    refuse_dockerfile(manifest.build.builder, has_dockerfile)?;
    let tree = git.tree_id(&commit)?;
    let (procfile, release_command) = runnable(procfile, manifest.release.as_deref());
    let source = Source {
        manifest_without_token: without_token(&text),
        left_out,
        release_command,
        ..Source::of(repository, commit, tree, procfile, manifest)
    };
    Ok(Reading { source, step })
}

/// The text of a `paas.yml` with its tokens made unreadable; none when there are none.
fn without_token(text: &[u8]) -> Option<Vec<u8>> {
    match without_tokens(std::str::from_utf8(text).ok()?) {
        Cow::Owned(clean) => Some(clean.into_bytes()),
        Cow::Borrowed(_) => None,
    }
}

/// What the tree's `.slugignore` says.
fn left_out(git: &Repository, commit: &CommitId) -> Result<LeftOut, SourceError> {
    let rules = git.file(commit, SLUG_IGNORE, MAX_SLUG_IGNORE_BYTES)?.unwrap_or_default();
    Ok(LeftOut::by(std::str::from_utf8(&rules).map_err(|_| SourceError::SlugIgnoreNoText)?))
}

/// Nobody is to find out from an app that runs that files are missing.
fn whole(elsewhere: Elsewhere) -> Result<(), SourceError> {
    let Elsewhere { submodules, lfs } = elsewhere;
    if !lfs.is_empty() {
        return Err(SourceError::LfsPointers(lfs));
    }
    if submodules.is_empty() { Ok(()) } else { Err(SourceError::Submodules(submodules)) }
}

/// A Dockerfile in the root is meant to be used, unless paas.yml says otherwise.
fn refuse_dockerfile(asked: Option<manifest::Builder>, is_there: bool) -> Result<(), SourceError> {
    match asked {
        Some(manifest::Builder::Buildstep) => Ok(()),
        None if !is_there => Ok(()),
        Some(manifest::Builder::Dockerfile) | None => Err(SourceError::Dockerfile),
    }
}

/// The Procfile's `release` is no process type that runs but a command of the release, as with Heroku; that of
/// `paas.yml` comes before it.
fn runnable(
    mut procfile: BTreeSet<ProcessType>,
    of_manifest: Option<&str>,
) -> (BTreeSet<ProcessType>, Option<Command>) {
    let before = procfile.len();
    procfile.retain(|process| process.as_str() != RELEASE);
    let of_procfile = (procfile.len() < before).then_some(Command::Start);
    (procfile, of_manifest.map(|command| Command::Exec(command.to_owned())).or(of_procfile))
}

impl Source {
    fn of(
        repository: PathBuf,
        commit: CommitId,
        tree: String,
        procfile: BTreeSet<ProcessType>,
        manifest: Manifest,
    ) -> Self {
        Self {
            repository,
            commit,
            tree,
            build: BuildInput { env: manifest.build.env, buildpacks: manifest.build.buildpacks.unwrap_or_default() },
            build_timeout: manifest.build.timeout.map(crate::model::Period::get),
            procfile,
            wishes: manifest.processes,
            env: manifest.env,
            domains: manifest.domains.iter().flatten().map(|domain| domain.as_str().to_owned()).collect(),
            release_command: None,
            manifest_without_token: None,
            left_out: LeftOut::default(),
        }
    }

    /// The tree as a tar stream, every path below `prefix`.
    pub(super) fn tar(&self, prefix: &str) -> Result<TarStream, GitError> {
        let replaced = self.manifest_without_token.clone().map(|text| (manifest::MANIFEST_FILE.into(), text));
        Repository::open(&self.repository)?
            .tar(&self.commit, TarShape { prefix: prefix.into(), replaced, left_out: self.left_out.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Builder;

    #[test]
    fn a_dockerfile_is_refused_unless_it_is_said_to_be_none_of_ours() {
        for (asked, is_there, allowed) in [
            (None, false, true),
            (None, true, false),
            (Some(Builder::Dockerfile), false, false),
            (Some(Builder::Dockerfile), true, false),
            (Some(Builder::Buildstep), true, true),
        ] {
            assert_eq!(refuse_dockerfile(asked, is_there).is_ok(), allowed, "{asked:?} {is_there}");
        }
    }

    #[test]
    fn a_release_command_is_no_process_and_that_of_the_manifest_comes_first() {
        let types = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<BTreeSet<ProcessType>>();
        let exec = || Some(Command::Exec("./migrate".to_owned()));
        for (procfile, manifest, command) in [
            (types(&["web", "release"]), None, Some(Command::Start)),
            (types(&["web", "release"]), Some("./migrate"), exec()),
            (types(&["web"]), Some("./migrate"), exec()),
            (types(&["web"]), None, None),
        ] {
            assert_eq!(runnable(procfile, manifest), (types(&["web"]), command));
        }
    }
}
