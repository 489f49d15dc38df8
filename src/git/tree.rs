//! Walking a tree, without recursion and within bounds.

use std::path::Path;

use git2::{ObjectType, Oid};

use super::GitError;
use super::contents::{Asking, Contents};
use crate::model::CommitId;

/// Longest path taken, in bytes: Linux's own limit.
pub(super) const MAX_PATH_BYTES: usize = 4096;

/// git's mode of a symlink.
pub(super) const SYMLINK: i32 = 0o120_000;

/// What a tree holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TreeSummary {
    pub files: u64,
    /// Counted by path, like the files: a few small objects can name each other into billions of directories.
    pub directories: u64,
    pub bytes: u64,
}

/// Where counting stops: what is more than either is only known to be more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Within {
    /// Bounds the directories as well.
    pub files: u64,
    pub bytes: u64,
}

impl Within {
    pub const EVERYTHING: Self = Self { files: u64::MAX, bytes: u64::MAX };

    pub fn holds(self, found: TreeSummary) -> bool {
        found.files <= self.files && found.directories <= self.files && found.bytes <= self.bytes
    }
}

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File {
        executable: bool,
    },
    Symlink,
    Directory,
    /// A commit of another repository; its content is not here.
    Submodule,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) path: Vec<u8>,
    pub(super) kind: Kind,
    pub(super) id: Oid,
}

/// Calls `visit` for everything below `root`, a directory before its content, until `visit` says false.
pub(super) fn walk<E: From<GitError>>(
    repository: &git2::Repository,
    root: Oid,
    unreadable: impl Fn(git2::Error) -> GitError,
    mut visit: impl FnMut(Entry) -> Result<bool, E>,
) -> Result<(), E> {
    let mut pending = vec![(Vec::new(), root)];
    while let Some((above, id)) = pending.pop() {
        let tree = repository.find_tree(id).map_err(&unreadable)?;
        for entry in &tree {
            let mut path = above.clone();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(entry.name_bytes());
            if path.len() > MAX_PATH_BYTES {
                return Err(GitError::PathTooLong.into());
            }
            let kind = match (entry.kind(), entry.filemode()) {
                (Some(ObjectType::Tree), _) => Kind::Directory,
                (Some(ObjectType::Commit), _) => Kind::Submodule,
                (_, SYMLINK) => Kind::Symlink,
                (_, mode) => Kind::File { executable: mode & 0o111 != 0 },
            };
            if kind == Kind::Directory {
                pending.push((path.clone(), entry.id()));
            }
            if !visit(Entry { path, kind, id: entry.id() })? {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// How many ids are asked for before their sizes are read: few enough that neither pipe fills up (64 KiB; an answer
/// has at most 70 bytes), so that one thread may do both.
const BATCH: usize = 512;
/// Of so many the sizes are looked up here: for them no process is worth its start. Of more it is, since a size is read
/// through a map of the pack, and the pages of large packs would count as our memory.
const FEW: usize = 64;

pub(super) fn summary(
    repository: &git2::Repository,
    path: &Path,
    tree: &git2::Tree<'_>,
    commit: &CommitId,
    within: Within,
) -> Result<TreeSummary, GitError> {
    let unreadable = |cause| GitError::Unreadable { commit: commit.clone(), cause };
    let (mut found, mut ids) = (TreeSummary::default(), Vec::new());
    let mut git = None;
    walk(repository, tree.id(), unreadable, |entry| {
        if !matches!(entry.kind, Kind::File { .. } | Kind::Symlink) {
            found.directories += 1;
            return Ok::<_, GitError>(within.holds(found));
        }
        found.files += 1;
        ids.push(entry.id);
        if ids.len() == BATCH {
            found.bytes = found.bytes.saturating_add(asked_for(&mut ids, &mut git, path)?);
        }
        Ok(within.holds(found))
    })?;
    let rest = if git.is_none() && ids.len() <= FEW {
        looked_up(repository, &ids).map_err(unreadable)?
    } else {
        asked_for(&mut ids, &mut git, path)?
    };
    found.bytes = found.bytes.saturating_add(rest);
    Ok(found)
}

/// The sum of their sizes.
fn looked_up(repository: &git2::Repository, ids: &[Oid]) -> Result<u64, git2::Error> {
    let odb = repository.odb()?;
    ids.iter().try_fold(0_u64, |sum, id| Ok(sum.saturating_add(odb.read_header(*id)?.0 as u64)))
}

/// The sum of their sizes, by a process of git's that is started for the first of them. `ids` is empty afterwards.
fn asked_for(ids: &mut Vec<Oid>, git: &mut Option<(Contents, Asking)>, path: &Path) -> Result<u64, GitError> {
    let (sizes, asking) = match git {
        Some(git) => git,
        None => git.insert(Contents::sizes(path)?),
    };
    asking.ask_all(ids).map_err(GitError::Contents)?;
    ids.drain(..).try_fold(0_u64, |sum, _| Ok(sum.saturating_add(sizes.size().map_err(GitError::Contents)?)))
}
