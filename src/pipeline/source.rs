//! Source: commit → tree, and what the tree says about how it is built and run.
//!
//! Nothing of it is ever unpacked on this host: the tree goes as a stream into the build container.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use super::slug::BuildInput;
use super::{Progress, Push, Say};
use crate::git::{GitError, Repository, TarShape, TarStream, Within};
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
    /// The Procfile's process types.
    pub procfile: BTreeSet<ProcessType>,
    /// What `paas.yml` asks of process types.
    pub wishes: BTreeMap<ProcessType, manifest::Process>,
    pub env: BTreeMap<String, String>,
    pub domains: Vec<String>,
    /// What the build gets instead of the `paas.yml`, when that has a deploy token in it: images are no place for one.
    manifest_without_token: Option<Vec<u8>>,
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
        "building from a Dockerfile is not supported yet; to build without it, set `build: {{builder: buildstep}}` in paas.yml"
    )]
    Dockerfile,
}

/// What a tree holds, and what people should know about it.
struct Reading {
    source: Source,
    step: String,
    warnings: Vec<&'static str>,
}

/// Reads the commit's tree.
pub(super) async fn check_out(push: &Push, say: Say<'_>) -> Result<Source, SourceError> {
    let (repository, commit, tenant) = (push.repository.clone(), push.commit.clone(), push.tenant.clone());
    let read = move || read(repository, commit, &tenant);
    let reading = tokio::task::spawn_blocking(read).await.expect("reading a commit does not panic")?;
    say(Progress::Step(reading.step));
    for warning in reading.warnings {
        say(Progress::Warning(warning.to_owned()));
    }
    Ok(reading.source)
}

fn read(repository: PathBuf, commit: CommitId, tenant: &TenantName) -> Result<Reading, SourceError> {
    let git = Repository::open(&repository)?;
    // The size was admitted before; this is for people.
    let size = git.summary(&commit, Within::EVERYTHING)?;
    let step = format!("Source {} ({} files, {})", commit.short(), size.files, ByteSize::new(size.bytes));
    let text = git.file(&commit, manifest::MANIFEST_FILE, manifest::MAX_BYTES as u64)?.unwrap_or_default();
    let manifest = Manifest::read(&text)?.for_tenant(tenant);
    let procfile = match git.file(&commit, manifest::PROCFILE_FILE, manifest::MAX_BYTES as u64)? {
        Some(text) => Procfile::read(&text)?.commands.into_keys().collect(),
        None => BTreeSet::new(),
    };
    let has_dockerfile =
        git.root_names(&commit)?.iter().any(|(name, is_directory)| name == "Dockerfile" && !is_directory);
    refuse_dockerfile(manifest.build.builder, has_dockerfile)?;
    let tree = git.tree_id(&commit)?;
    let (procfile, warnings) = runnable(procfile, &manifest);
    let source = Source {
        manifest_without_token: without_token(&text),
        ..Source::of(repository, commit, tree, procfile, manifest)
    };
    Ok(Reading { source, step, warnings })
}

/// The text of a `paas.yml` with its tokens made unreadable; none when there are none.
fn without_token(text: &[u8]) -> Option<Vec<u8>> {
    match without_tokens(std::str::from_utf8(text).ok()?) {
        Cow::Owned(clean) => Some(clean.into_bytes()),
        Cow::Borrowed(_) => None,
    }
}

/// A Dockerfile in the root is meant to be used, unless paas.yml says otherwise.
fn refuse_dockerfile(asked: Option<manifest::Builder>, is_there: bool) -> Result<(), SourceError> {
    match asked {
        Some(manifest::Builder::Buildstep) => Ok(()),
        None if !is_there => Ok(()),
        Some(manifest::Builder::Dockerfile) | None => Err(SourceError::Dockerfile),
    }
}

/// The Procfile's `release` is no process type that runs but a command of the release, as with Heroku.
fn runnable(mut procfile: BTreeSet<ProcessType>, manifest: &Manifest) -> (BTreeSet<ProcessType>, Vec<&'static str>) {
    let before = procfile.len();
    procfile.retain(|process| process.as_str() != "release");
    let mut warnings = Vec::new();
    if procfile.len() < before || manifest.release.is_some() {
        warnings.push("the `release` command is not run: this version does not support it yet");
    }
    (procfile, warnings)
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
            manifest_without_token: None,
        }
    }

    /// The tree as a tar stream, every path below `prefix`.
    pub(super) fn tar(&self, prefix: &str) -> Result<TarStream, GitError> {
        let replaced = self.manifest_without_token.clone().map(|text| (manifest::MANIFEST_FILE.into(), text));
        Repository::open(&self.repository)?.tar(&self.commit, TarShape { prefix: prefix.into(), replaced })
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
    fn a_release_command_is_no_process_and_is_not_passed_over_in_silence() {
        let types = || ["web", "release"].map(|name| name.parse().unwrap()).into_iter().collect();
        let (runs, warnings) = runnable(types(), &Manifest::default());
        assert_eq!(runs.iter().map(ProcessType::as_str).collect::<Vec<_>>(), ["web"]);
        assert_eq!(warnings.len(), 1);
        let (_, none) = runnable(["web".parse().unwrap()].into_iter().collect(), &Manifest::default());
        assert!(none.is_empty());
    }
}
