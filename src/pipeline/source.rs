//! Source: commit → tree, and what the tree says about how it is built and run.
//!
//! Nothing of it is ever unpacked on this host: the tree goes as a stream into the build container.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use super::formation::Wish;
use super::slug::BuildInput;
use super::{Progress, Push, Say};
use crate::git::{GitError, Repository, TarStream, TreeSummary, Within};
use crate::model::{ByteSize, CommitId, ProcessType};

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
    pub wishes: BTreeMap<ProcessType, Wish>,
    pub env: BTreeMap<String, String>,
    pub domains: Vec<String>,
}

/// Why a commit cannot be deployed.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error(transparent)]
    Git(#[from] GitError),
}

/// Reads the commit's tree.
pub(super) async fn check_out(push: &Push, say: Say<'_>) -> Result<Source, SourceError> {
    let (repository, commit) = (push.repository.clone(), push.commit.clone());
    let read = move || read(repository, commit);
    let (source, size) = tokio::task::spawn_blocking(read).await.expect("reading a commit does not panic")?;
    let bytes = ByteSize::new(size.bytes);
    say(Progress::Step(format!("Source {} ({} files, {bytes})", push.commit.short(), size.files)));
    Ok(source)
}

fn read(repository: PathBuf, commit: CommitId) -> Result<(Source, TreeSummary), SourceError> {
    let git = Repository::open(&repository)?;
    // The size was admitted before; this is for people.
    let size = git.summary(&commit, Within::EVERYTHING)?;
    let source = Source {
        tree: git.tree_id(&commit)?,
        repository,
        commit,
        build: BuildInput::default(),
        build_timeout: None,
        procfile: BTreeSet::new(),
        wishes: BTreeMap::new(),
        env: BTreeMap::new(),
        domains: Vec::new(),
    };
    Ok((source, size))
}

impl Source {
    /// The tree as a tar stream, every path below `prefix`.
    pub(super) fn tar(&self, prefix: &str) -> Result<TarStream, GitError> {
        Repository::open(&self.repository)?.tar(&self.commit, prefix)
    }
}
