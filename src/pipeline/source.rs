//! Source: commit → tree, and what the tree says about how it is built and run.
//!
//! Nothing of it is ever unpacked on this host: the tree goes as a stream into the build container.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use super::dockerfile::{Dockerfile, DockerfileError};
use super::formation::Command;
use super::release_command::RELEASE;
use super::slug::BuildInput;
use super::submodules::{self, Submodule, SubmoduleError};
use super::{Platform, Progress, Push, Say};
use crate::git::{
    DockerIgnore, Elsewhere, GitError, InvalidDockerIgnore, LeftOut, Repository, TarShape, TarStream, Within,
};
use crate::manifest::{self, Manifest, ManifestError, Procfile, ProcfileError};
use crate::model::{ByteSize, CommitId, HttpsHost, ProcessType, TenantName, without_tokens};

/// A commit's tree, and what its `paas.yml` and Procfile ask for.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub repository: PathBuf,
    pub commit: CommitId,
    /// The tree's id.
    pub tree: String,
    pub build: BuildInput,
    /// By which it is built; without one, a builder does it.
    pub dockerfile: Option<DockerfileSource>,
    pub build_timeout: Option<Duration>,
    /// What is to be done once before any new instance runs.
    pub release_command: Option<Command>,
    /// The Procfile's process types.
    pub procfile: BTreeSet<ProcessType>,
    /// Their commands.
    pub commands: BTreeMap<ProcessType, String>,
    /// What `paas.yml` asks of process types.
    pub wishes: BTreeMap<ProcessType, manifest::Process>,
    pub env: BTreeMap<String, String>,
    pub domains: Vec<String>,
    /// What is fetched in the build.
    pub submodules: Vec<Submodule>,
    /// What the build gets instead of the `paas.yml`, when that has a deploy token in it: images are no place for one.
    manifest_without_token: Option<Vec<u8>>,
    /// What of the tree the build does not get.
    left_out: LeftOut,
}

/// The Dockerfile that a source is built by.
#[derive(Debug, Clone)]
pub(super) struct DockerfileSource {
    /// In the tree.
    pub path: String,
    pub content: Dockerfile,
    pub target: Option<String>,
    /// The text of the tree's `.dockerignore`.
    ignored: String,
}

/// Where the Dockerfile stands that Docker is given, beside the tree's own; no step sees it.
pub(super) const PINNED_DOCKERFILE: &str = ".paas-dockerfile";
const DOCKERFILE: &str = "Dockerfile";
/// Its file in the repository's root.
const DOCKER_IGNORE: &str = ".dockerignore";

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
    #[error(transparent)]
    Submodule(#[from] SubmoduleError),
    #[error(".slugignore is no UTF-8 text")]
    SlugIgnoreNoText,
    #[error(".dockerignore is no UTF-8 text")]
    DockerIgnoreNoText,
    #[error(transparent)]
    DockerIgnore(#[from] InvalidDockerIgnore),
    #[error(transparent)]
    Dockerfile(#[from] DockerfileError),
}

/// The first of them, and how many there are besides.
pub(super) fn named(paths: &[PathBuf]) -> String {
    let first = paths.first().map(|path| path.display().to_string()).unwrap_or_default();
    match paths.len() {
        0 | 1 => format!("`{first}`"),
        several => format!("`{first}` (and {} more at least)", several - 1),
    }
}

/// Its file in the repository's root, with rules as `.gitignore` has them.
const SLUG_IGNORE: &str = ".slugignore";
/// Far more than people write.
const MAX_IGNORE_BYTES: u64 = 64 << 10;

/// What a tree holds, and what people are told of it.
struct Reading {
    source: Source,
    step: String,
}

/// Reads the commit's tree.
pub(super) async fn check_out(push: &Push, platform: &Platform, say: Say<'_>) -> Result<Source, SourceError> {
    let (repository, commit, tenant) = (push.repository.clone(), push.commit.clone(), push.tenant.clone());
    let hosts = platform.builder.submodule_hosts.clone();
    let read = move || read(repository, commit, &tenant, &hosts);
    let reading = tokio::task::spawn_blocking(read).await.expect("reading a commit does not panic")?;
    say(Progress::Step(reading.step));
    Ok(reading.source)
}

fn read(
    repository: PathBuf,
    commit: CommitId,
    tenant: &TenantName,
    hosts: &[HttpsHost],
) -> Result<Reading, SourceError> {
    let git = Repository::open(&repository)?;
    // The size was admitted before; this is for people.
    let size = git.summary(&commit, Within::EVERYTHING)?;
    let step = format!("Source {} ({} files, {})", commit.short(), size.files, ByteSize::new(size.bytes));
    let text = git.file(&commit, manifest::MANIFEST_FILE, manifest::MAX_BYTES as u64)?.unwrap_or_default();
    let manifest = Manifest::read(&text)?.for_tenant(tenant);
    let dockerfile = dockerfile(&git, &commit, &manifest.build)?;
    let left_out = left_out(&git, &commit, dockerfile.as_ref())?;
    let submodules = whole(git.elsewhere(&commit, &left_out)?, dockerfile.as_ref(), hosts, &git, &commit)?;
    let commands = match git.file(&commit, manifest::PROCFILE_FILE, manifest::MAX_BYTES as u64)? {
        Some(text) => Procfile::read(&text)?.commands,
        None => BTreeMap::new(),
    };
    let tree = git.tree_id(&commit)?;
    let (procfile, release_command) = runnable(commands.keys().cloned().collect(), manifest.release.as_deref());
    let release_command = match (release_command, &dockerfile) {
        (Some(Command::Exec(command)), Some(_)) => Some(Command::Shell(command)),
        (Some(_), Some(_)) => commands
            .iter()
            .find(|(name, _)| name.as_str() == RELEASE)
            .map(|(_, command)| Command::Shell(command.clone())),
        (command, _) => command,
    };
    let source = Source {
        manifest_without_token: without_token(&text),
        left_out,
        dockerfile,
        submodules,
        commands,
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

/// What the tree's `.slugignore` says, and its `.dockerignore` when it is built by a Dockerfile.
fn left_out(git: &Repository, commit: &CommitId, by: Option<&DockerfileSource>) -> Result<LeftOut, SourceError> {
    let rules = git.file(commit, SLUG_IGNORE, MAX_IGNORE_BYTES)?.unwrap_or_default();
    let left_out = LeftOut::by(std::str::from_utf8(&rules).map_err(|_| SourceError::SlugIgnoreNoText)?);
    let Some(DockerfileSource { ignored, .. }) = by else { return Ok(left_out) };
    Ok(left_out.and(DockerIgnore::read(ignored)?))
}

/// The Dockerfile, when it is what the source is to be built by.
fn dockerfile(
    git: &Repository,
    commit: &CommitId,
    build: &manifest::Build,
) -> Result<Option<DockerfileSource>, SourceError> {
    let is_there = || git.root_names(commit).map(|names| names.contains(&(DOCKERFILE.to_owned(), false)));
    let Some(path) = dockerfile_path(build, is_there()?) else { return Ok(None) };
    let text = git.file(commit, &path, manifest::MAX_BYTES as u64)?;
    let text = text.ok_or_else(|| DockerfileError::Missing(path.clone()))?;
    let text = String::from_utf8(text).map_err(|_| DockerfileError::NoText(path.clone()))?;
    let ignored = git.file(commit, DOCKER_IGNORE, MAX_IGNORE_BYTES)?.unwrap_or_default();
    let ignored = String::from_utf8(ignored).map_err(|_| SourceError::DockerIgnoreNoText)?;
    let content = Dockerfile::read(&text, &build.env)?;
    Ok(Some(DockerfileSource { path, content, target: build.target.clone(), ignored }))
}

/// A Dockerfile in the root is meant to be used, unless paas.yml says otherwise.
fn dockerfile_path(build: &manifest::Build, is_there: bool) -> Option<String> {
    let is_asked_for = match build.builder {
        Some(manifest::Builder::Buildstep) => false,
        Some(manifest::Builder::Dockerfile) => true,
        None => is_there || build.dockerfile.is_some() || build.target.is_some(),
    };
    is_asked_for.then(|| build.dockerfile.clone().unwrap_or_else(|| DOCKERFILE.to_owned()))
}

/// Nobody is to find out from an app that runs that files are missing: what is not here is fetched, or refused.
fn whole(
    elsewhere: Elsewhere,
    by: Option<&DockerfileSource>,
    hosts: &[HttpsHost],
    git: &Repository,
    commit: &CommitId,
) -> Result<Vec<Submodule>, SourceError> {
    let Elsewhere { submodules, lfs } = elsewhere;
    if !lfs.is_empty() {
        return Err(SourceError::LfsPointers(lfs));
    }
    if submodules.is_empty() {
        return Ok(Vec::new());
    }
    if by.is_some() {
        let paths = submodules.into_iter().map(|link| link.path).collect();
        return Err(SubmoduleError::ByDockerfile(paths).into());
    }
    let mut urls = git.submodule_urls(commit, manifest::MAX_BYTES as u64)?;
    Ok(submodules::to_fetch(submodules, hosts, |link| urls.remove(&link.path))?)
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
            dockerfile: None,
            commands: BTreeMap::new(),
            build_timeout: manifest.build.timeout.map(crate::model::Period::get),
            procfile,
            wishes: manifest.processes,
            env: manifest.env,
            domains: manifest.domains.iter().flatten().map(|domain| domain.as_str().to_owned()).collect(),
            release_command: None,
            submodules: Vec::new(),
            manifest_without_token: None,
            left_out: LeftOut::default(),
        }
    }

    /// The tree as a tar stream, every path below `prefix`.
    pub(super) fn tar(&self, prefix: &str) -> Result<TarStream, GitError> {
        self.archive(TarShape { prefix: prefix.into(), ..TarShape::default() })
    }

    /// The tree as Docker's context, with `text` as the Dockerfile that it is to be built by. The tree's own stays as it
    /// is, for it may be copied into the image.
    pub(super) fn context(&self, dockerfile: &DockerfileSource, text: String) -> Result<TarStream, GitError> {
        // What is named here Docker takes out before the first step; as its own program does it.
        let ignored = match dockerfile.ignored.as_str() {
            "" => format!("{DOCKER_IGNORE}\n{PINNED_DOCKERFILE}\n"),
            rules => format!("{rules}\n{PINNED_DOCKERFILE}\n"),
        };
        let added = [(PINNED_DOCKERFILE, text), (DOCKER_IGNORE, ignored)];
        let added = added.into_iter().map(|(path, text)| (path.into(), text.into_bytes())).collect();
        self.archive(TarShape { added, ..TarShape::default() })
    }

    fn archive(&self, shape: TarShape) -> Result<TarStream, GitError> {
        let without_token = self.manifest_without_token.clone();
        let replaced = without_token.map(|text| (manifest::MANIFEST_FILE.into(), text)).into_iter().collect();
        let left_out = self.left_out.clone();
        Repository::open(&self.repository)?.tar(&self.commit, TarShape { replaced, left_out, ..shape })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Builder;

    #[test]
    fn a_dockerfile_is_used_when_it_is_asked_for_or_there_unless_it_is_said_to_be_none_of_ours() {
        let (buildstep, dockerfile) = (Some(Builder::Buildstep), Some(Builder::Dockerfile));
        for (builder, path, target, is_there, used) in [
            (None, None, None, false, None),
            (None, None, None, true, Some("Dockerfile")),
            (dockerfile, None, None, false, Some("Dockerfile")),
            (dockerfile, Some("a/D"), None, true, Some("a/D")),
            (None, Some("a/D"), None, false, Some("a/D")),
            (None, None, Some("prod"), false, Some("Dockerfile")),
            (buildstep, None, None, true, None),
            (buildstep, Some("a/D"), Some("prod"), true, None),
        ] {
            let text = |text: Option<&str>| text.map(str::to_owned);
            let build =
                manifest::Build { builder, dockerfile: text(path), target: text(target), ..manifest::Build::default() };
            assert_eq!(dockerfile_path(&build, is_there).as_deref(), used, "{build:?} {is_there}");
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
