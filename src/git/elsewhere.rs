//! What a tree names and the repository does not hold: submodules, and files whose content git LFS keeps elsewhere.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use git2::{Oid, Repository};

use super::tree::{self, Entry, Kind};
use super::{GitError, LeftOut};
use crate::model::CommitId;

/// How many files are named; there may be thousands.
const MOST: usize = 10;
/// The same of submodules, of which a build fetches each.
const MOST_SUBMODULES: usize = 1000;
/// Pointers are some 130 bytes long, by their specification 1024 at most.
const POINTER_BYTES: std::ops::RangeInclusive<usize> = 100..=1024;
const POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";
const ATTRIBUTES: &[u8] = b".gitattributes";
/// A longer file of attributes is none that people write.
const MAX_ATTRIBUTES_BYTES: usize = 1 << 20;

/// What is elsewhere, as far as it is worth naming.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Elsewhere {
    pub submodules: Vec<Gitlink>,
    pub lfs: Vec<PathBuf>,
}

/// Where a tree has a commit of another repository instead of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gitlink {
    pub path: PathBuf,
    pub commit: CommitId,
}

pub(super) fn elsewhere(
    repository: &Repository,
    tree: Oid,
    commit: &CommitId,
    left_out: &LeftOut,
) -> Result<Elsewhere, GitError> {
    let unreadable = |cause| GitError::Unreadable { commit: commit.clone(), cause };
    let (mut found, mut may_have_lfs) = (Elsewhere::default(), false);
    tree::walk(repository, tree, unreadable, |entry| {
        if entry.kind == Kind::Submodule && !left_out.takes(repository, &entry).map_err(unreadable)? {
            let (path, commit) = (path(&entry), super::repository::commit_id(entry.id));
            found.submodules.push(Gitlink { path, commit });
        }
        may_have_lfs |= is_attributes(&entry)
            && content(repository, entry.id, 0..=MAX_ATTRIBUTES_BYTES)
                .map_err(unreadable)?
                .is_some_and(|text| contains(&text, b"filter=lfs"));
        Ok::<_, GitError>(found.submodules.len() < MOST_SUBMODULES)
    })?;
    // Without the attribute a file that looks like a pointer is what its author meant.
    if may_have_lfs {
        tree::walk(repository, tree, unreadable, |entry| {
            let is_file = matches!(entry.kind, Kind::File { .. });
            let is_pointer = is_file
                && content(repository, entry.id, POINTER_BYTES)
                    .map_err(unreadable)?
                    .is_some_and(|text| text.starts_with(POINTER));
            if is_pointer && !left_out.takes(repository, &entry).map_err(unreadable)? {
                found.lfs.push(path(&entry));
            }
            Ok::<_, GitError>(found.lfs.len() < MOST)
        })?;
    }
    Ok(found)
}

fn is_attributes(entry: &Entry) -> bool {
    matches!(entry.kind, Kind::File { .. }) && entry.path.rsplit(|byte| *byte == b'/').next() == Some(ATTRIBUTES)
}

/// The content of a blob of such a size; the size is looked up first, so that no large one is read.
fn content(
    repository: &Repository,
    id: Oid,
    sizes: std::ops::RangeInclusive<usize>,
) -> Result<Option<Vec<u8>>, git2::Error> {
    let (bytes, _) = repository.odb()?.read_header(id)?;
    if !sizes.contains(&bytes) {
        return Ok(None);
    }
    Ok(Some(repository.find_blob(id)?.content().to_vec()))
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn path(entry: &Entry) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(&entry.path))
}
