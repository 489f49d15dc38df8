//! Repositories on the receive host: made, read, and their refs moved. Nothing is ever checked out or cloned.
//!
//! Trees are walked with libgit2, contents are streamed by `git cat-file`: libgit2 maps whole packs and reads a blob
//! at once, which would let our memory grow with what people push.

mod claim;
mod contents;
mod docker_ignore;
mod elsewhere;
mod gc;
mod hooks;
mod left_out;
#[cfg(test)]
mod odd_trees;
mod own_refs;
mod repository;
mod submodule_urls;
mod tar_entry;
mod tar_stream;
mod tree;

pub use claim::{Claim, SoleClaim};
pub use docker_ignore::{DockerIgnore, InvalidDockerIgnore};
pub use elsewhere::{Elsewhere, Gitlink};
pub use gc::{Census, census, collect_garbage};
pub use hooks::install_hooks;
pub use left_out::LeftOut;
pub use own_refs::{forget_refs, is_ours, ref_names};
pub use repository::{Repository, Rules};
pub use tar_stream::{TarShape, TarStream};
pub use tree::{TreeSummary, Within};

use crate::model::CommitId;

/// Why a repository could not be made, read or changed.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    #[error("cannot {attempt} the repository at {place}")]
    Repository {
        attempt: &'static str,
        place: String,
        #[source]
        cause: git2::Error,
    },
    #[error("cannot {attempt} {place}")]
    Files {
        attempt: &'static str,
        place: String,
        #[source]
        cause: std::io::Error,
    },
    #[error("the commit {commit} cannot be read")]
    Unreadable {
        commit: CommitId,
        #[source]
        cause: git2::Error,
    },
    #[error("`{name}` was moved by somebody else meanwhile")]
    Moved { name: String },
    #[error("a path of the tree is longer than {} bytes", tree::MAX_PATH_BYTES)]
    PathTooLong,
    #[error("git's own process that reads contents broke off")]
    Contents(#[source] std::io::Error),
    #[error(".gitmodules cannot be read")]
    Gitmodules(#[source] std::io::Error),
    #[error("`{path}` has {bytes} bytes, at most {limit} are read")]
    FileTooLarge { path: String, bytes: u64, limit: u64 },
}
