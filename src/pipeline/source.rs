//! Source: commit → tree, and what the tree says about how it is built and run.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;

use super::formation::Wish;
use super::slug::BuildInput;
use crate::model::ProcessType;

/// A commit's tree, and what its `paas.yml` and Procfile ask for.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub repository: PathBuf,
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

use super::{Progress, Push, Say};
use crate::model::CommitId;

/// Why a commit cannot be deployed.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("the commit {commit} cannot be read")]
    Unreadable {
        commit: CommitId,
        #[source]
        cause: git2::Error,
    },
}

/// Reads the commit's tree.
pub(super) async fn check_out(push: &Push, say: Say<'_>) -> Result<Source, SourceError> {
    let (repository, commit) = (push.repository.clone(), push.commit.clone());
    let read = move || {
        let id = git2::Oid::from_str(commit.as_str())?;
        git2::Repository::open_bare(&repository)?.find_commit(id).map(|commit| commit.tree_id().to_string())
    };
    let tree = tokio::task::spawn_blocking(read).await.expect("reading a commit does not panic");
    let tree = tree.map_err(|cause| SourceError::Unreadable { commit: push.commit.clone(), cause })?;
    say(Progress::Step(format!("Source {}", push.commit.short())));
    Ok(Source {
        repository: push.repository.clone(),
        tree,
        build: BuildInput::default(),
        build_timeout: None,
        procfile: BTreeSet::new(),
        wishes: BTreeMap::new(),
        env: BTreeMap::new(),
        domains: Vec::new(),
    })
}

impl Source {
    /// The tree as a tar stream, every path below `prefix`. One blob is in memory at a time, and a few chunks of it again.
    pub(super) fn tar(&self, prefix: &str) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        let (sender, mut receiver) = tokio::sync::mpsc::channel(CHUNKS_AHEAD);
        let (repository, tree, prefix) = (self.repository.clone(), self.tree.clone(), prefix.to_owned());
        tokio::task::spawn_blocking(move || {
            if let Err(error) =
                write_tar(&repository, &tree, &prefix, Chunks { sender: sender.clone(), rest: Vec::new() })
            {
                // Nobody receives any more when the upload was given up.
                let _ = sender.blocking_send(Err(error));
            }
        });
        futures_util::stream::poll_fn(move |context| receiver.poll_recv(context))
    }
}

const CHUNKS_AHEAD: usize = 4;
const CHUNK_BYTES: usize = 64 << 10;

/// A writer whose other end is a stream.
struct Chunks {
    sender: tokio::sync::mpsc::Sender<io::Result<Bytes>>,
    rest: Vec<u8>,
}

impl io::Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.rest.extend_from_slice(bytes);
        if self.rest.len() >= CHUNK_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        let chunk = Bytes::from(std::mem::take(&mut self.rest));
        self.sender.blocking_send(Ok(chunk)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

fn write_tar(repository: &Path, tree: &str, prefix: &str, out: Chunks) -> io::Result<()> {
    let repository = git2::Repository::open_bare(repository).map_err(io::Error::other)?;
    let tree = git2::Oid::from_str(tree).and_then(|id| repository.find_tree(id)).map_err(io::Error::other)?;
    let mut tar = tar::Builder::new(out);
    let mut failure = Ok(());
    let walked = tree.walk(git2::TreeWalkMode::PreOrder, |above, entry| {
        let path = [prefix.as_bytes(), b"/", above.as_bytes(), entry.name_bytes()].concat();
        failure = append(&mut tar, &repository, entry, Path::new(OsStr::from_bytes(&path)));
        if failure.is_ok() { git2::TreeWalkResult::Ok } else { git2::TreeWalkResult::Abort }
    });
    failure?;
    walked.map_err(io::Error::other)?;
    tar.into_inner()?.flush()
}

fn append(
    tar: &mut tar::Builder<Chunks>,
    repository: &git2::Repository,
    entry: &git2::TreeEntry<'_>,
    path: &Path,
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    let Some(git2::ObjectType::Blob) = entry.kind() else {
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(0o755);
        header.set_size(0);
        return tar.append_data(&mut header, path, io::empty());
    };
    let blob = repository.find_blob(entry.id()).map_err(io::Error::other)?;
    if entry.filemode() == 0o120_000 {
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        return tar.append_link(&mut header, path, OsStr::from_bytes(blob.content()));
    }
    header.set_mode(if entry.filemode() & 0o111 == 0 { 0o644 } else { 0o755 });
    header.set_size(blob.content().len() as u64);
    tar.append_data(&mut header, path, blob.content())
}
