//! One bare repository.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use git2::{ErrorCode, ObjectType, Oid, RepositoryInitOptions, RepositoryOpenFlags};

use super::elsewhere::{self, Elsewhere};
use super::tree::{self, TreeSummary, Within};
use super::{GitError, LeftOut, TarShape, TarStream, submodule_urls};
use crate::model::CommitId;

/// By this setting of its own every repository of ours is known.
pub(super) const MARK: &str = "receive.procReceiveRefs";

/// What every repository is configured to.
#[derive(Debug, Clone)]
pub struct Rules {
    /// git refuses a larger pack while it comes in.
    pub max_pack_bytes: u64,
    /// The directory of git's hooks.
    pub hooks: PathBuf,
}

/// An open bare repository. Honours the `GIT_*` variables that git gives to its hooks: objects in quarantine are seen.
pub struct Repository {
    path: PathBuf,
    inner: git2::Repository,
}

impl std::fmt::Debug for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Repository").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Repository {
    pub fn open(path: &Path) -> Result<Self, GitError> {
        let flags = RepositoryOpenFlags::FROM_ENV | RepositoryOpenFlags::NO_SEARCH;
        let inner = git2::Repository::open_ext(path, flags, std::iter::empty::<&Path>())
            .map_err(|cause| failed("open", path, cause))?;
        Ok(Self { path: path.to_owned(), inner })
    }

    /// Makes the repository if it is not there. It appears whole or not at all: it is made beside its place and renamed.
    pub(super) fn create(path: &Path, rules: &Rules) -> Result<(), GitError> {
        if path.is_dir() {
            return Ok(());
        }
        let parent = path.parent().expect("a repository stands in a tenant's directory");
        fs::create_dir_all(parent).map_err(|cause| file_error("make", parent, cause))?;
        let draft = parent.join(format!(".new-{}", uuid::Uuid::new_v4()));
        let made = Self::draft(&draft, rules).and_then(|()| match fs::rename(&draft, path) {
            // Another first push was quicker; its repository is as good.
            Err(_) if path.is_dir() => Ok(()),
            renamed => renamed.map_err(|cause| file_error("make", path, cause)),
        });
        // Gone already when it was renamed.
        let _ = fs::remove_dir_all(&draft);
        made
    }

    fn draft(path: &Path, rules: &Rules) -> Result<(), GitError> {
        let mut options = RepositoryInitOptions::new();
        options
            .bare(true)
            .external_template(false)
            .initial_head("main")
            .mode(git2::RepositoryInitMode::from_bits_retain(0o700));
        git2::Repository::init_opts(path, &options).map_err(|cause| failed("make", path, cause))?;
        // At once: each value by itself would write the whole file anew.
        let config = path.join("config");
        let added = fs::OpenOptions::new().append(true).open(&config);
        added
            .and_then(|mut file| file.write_all(configuration(rules).as_bytes()))
            .map_err(|cause| file_error("configure", path, cause))
    }

    /// True while no ref was ever stored.
    pub(super) fn is_empty(&self) -> Result<bool, GitError> {
        let mut references = self.inner.references().map_err(|cause| failed("read", &self.path, cause))?;
        Ok(references.next().is_none())
    }

    /// The commit that the full ref name points at.
    pub fn reference(&self, name: &str) -> Result<Option<CommitId>, GitError> {
        match self.inner.refname_to_id(name) {
            Ok(id) => Ok(Some(commit_id(id))),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(cause) => Err(failed("read", &self.path, cause)),
        }
    }

    /// Whether `ancestor` is in the history of `commit`, or the same.
    pub fn is_on_top(&self, commit: &CommitId, ancestor: &CommitId) -> Result<bool, GitError> {
        if commit == ancestor {
            return Ok(true);
        }
        match self.inner.graph_descendant_of(oid(commit), oid(ancestor)) {
            // Their histories never meet, or the history of a shallow push ends before they do.
            Err(error) if error.code() == ErrorCode::NotFound => Ok(false),
            found => found.map_err(|cause| failed("read", &self.path, cause)),
        }
    }

    /// Moves the ref from `old` (none: it is new) to `new`; `Moved` when it does not stand at `old`.
    pub fn move_reference(
        &self,
        name: &str,
        old: Option<&CommitId>,
        new: &CommitId,
        why: &str,
    ) -> Result<(), GitError> {
        let moved = match old {
            Some(old) => self.inner.reference_matching(name, oid(new), true, oid(old), why),
            None => self.inner.reference(name, oid(new), false, why),
        };
        match moved {
            Ok(_) => Ok(()),
            Err(error) if matches!(error.code(), ErrorCode::Modified | ErrorCode::Exists | ErrorCode::NotFound) => {
                Err(GitError::Moved { name: name.to_owned() })
            }
            Err(cause) => Err(failed("change", &self.path, cause)),
        }
    }

    /// Removes the refs whose names `pattern` fits, in which `*` stands for anything; there need not be any.
    pub fn remove_references(&self, pattern: &str) -> Result<(), GitError> {
        let failed = |cause| failed("change", &self.path, cause);
        for reference in self.inner.references_glob(pattern).map_err(failed)? {
            match reference.and_then(|mut reference| reference.delete()) {
                Err(error) if error.code() == ErrorCode::NotFound => {}
                done => done.map_err(failed)?,
            }
        }
        Ok(())
    }

    /// Lets a clone check out `name`, unless `HEAD` points at a branch that is there.
    pub fn point_head_at(&self, name: &str) -> Result<(), GitError> {
        match self.inner.head() {
            Err(error) if error.code() == ErrorCode::UnbornBranch => {
                self.inner.set_head(name).map_err(|cause| failed("change", &self.path, cause))
            }
            _ => Ok(()),
        }
    }

    /// The id of the commit's tree, 40 hexadecimal digits: equal for equal content.
    pub fn tree_id(&self, commit: &CommitId) -> Result<String, GitError> {
        Ok(self.tree(commit)?.id().to_string())
    }

    /// Counts the tree's files and bytes, and stops as soon as it is more than `within`.
    pub fn summary(&self, commit: &CommitId, within: Within) -> Result<TreeSummary, GitError> {
        tree::summary(&self.inner, &self.path, &self.tree(commit)?, commit, within)
    }

    /// The names at the tree's root, each with whether it is a directory; names that are no UTF-8 are left out.
    pub fn root_names(&self, commit: &CommitId) -> Result<Vec<(String, bool)>, GitError> {
        let tree = self.tree(commit)?;
        let named = |entry: git2::TreeEntry<'_>| {
            Some((String::from_utf8(entry.name_bytes().to_vec()).ok()?, entry.kind() == Some(ObjectType::Tree)))
        };
        Ok(tree.iter().filter_map(named).collect())
    }

    /// The content of a file of at most `limit` bytes; none when there is no such file. A symlink is none: its content
    /// would be its target's path.
    pub fn file(&self, commit: &CommitId, path: &str, limit: u64) -> Result<Option<Vec<u8>>, GitError> {
        let unreadable = |cause| GitError::Unreadable { commit: commit.clone(), cause };
        let entry = match self.tree(commit)?.get_path(Path::new(path)) {
            Ok(entry) if entry.kind() == Some(ObjectType::Blob) && entry.filemode() != tree::SYMLINK => entry,
            Ok(_) => return Ok(None),
            Err(error) if error.code() == ErrorCode::NotFound => return Ok(None),
            Err(cause) => return Err(unreadable(cause)),
        };
        let (bytes, _) = self.inner.odb().and_then(|odb| odb.read_header(entry.id())).map_err(unreadable)?;
        if bytes as u64 > limit {
            return Err(GitError::FileTooLarge { path: path.to_owned(), bytes: bytes as u64, limit });
        }
        let blob = self.inner.find_blob(entry.id()).map_err(unreadable)?;
        Ok(Some(blob.content().to_vec()))
    }

    /// The commit's time, in seconds since 1970.
    pub fn commit_time(&self, commit: &CommitId) -> Result<i64, GitError> {
        Ok(self.commit(commit)?.time().seconds())
    }

    /// What the commit's tree names and the repository does not hold, but for what is left out.
    pub fn elsewhere(&self, commit: &CommitId, left_out: &LeftOut) -> Result<Elsewhere, GitError> {
        let unreadable = |cause| GitError::Unreadable { commit: commit.clone(), cause };
        // Opened again, since the rules stay in it.
        let repository = Self::open(&self.path)?.inner;
        left_out.put_into(&repository).map_err(unreadable)?;
        elsewhere::elsewhere(&repository, self.tree(commit)?.id(), commit, left_out)
    }

    /// Where the commit's `.gitmodules`, a file of at most `limit` bytes, says that submodules are from, by their paths.
    pub fn submodule_urls(&self, commit: &CommitId, limit: u64) -> Result<BTreeMap<PathBuf, Vec<u8>>, GitError> {
        match self.file(commit, submodule_urls::FILE, limit)? {
            Some(_) => submodule_urls::read(&self.path, commit),
            None => Ok(BTreeMap::new()),
        }
    }

    /// The commit's tree as a tar archive.
    pub fn tar(&self, commit: &CommitId, shape: TarShape) -> Result<TarStream, GitError> {
        // Opened again for the thread that walks it.
        let tree = self.tree(commit)?.id();
        TarStream::start(Self::open(&self.path)?.inner, &self.path, tree, shape, self.commit_time(commit)?)
    }

    /// Brings the commit, with its history as far as it is there, from another repository of this host. No ref has to
    /// lead to it there, and none is made here.
    pub fn bring(&self, commit: &CommitId, from: &Path) -> Result<(), GitError> {
        let mut git = own_git(&self.path);
        // Of which any commit can be asked.
        git.args(["-c", "protocol.version=2"])
            .args(["fetch", "--quiet", "--no-tags", "--no-auto-maintenance", "--no-write-fetch-head"])
            // A shallow push has a history that ends before its beginning.
            .arg("--update-shallow")
            .arg("--end-of-options")
            .arg(from)
            .arg(commit.as_str());
        succeed(&mut git).map_err(|cause| file_error("fetch into", &self.path, cause))
    }

    fn commit(&self, commit: &CommitId) -> Result<git2::Commit<'_>, GitError> {
        // A tag that points at a commit is one, too.
        self.inner
            .find_object(oid(commit), None)
            .and_then(|object| object.peel_to_commit())
            .map_err(|cause| GitError::Unreadable { commit: commit.clone(), cause })
    }

    fn tree(&self, commit: &CommitId) -> Result<git2::Tree<'_>, GitError> {
        self.commit(commit)?.tree().map_err(|cause| GitError::Unreadable { commit: commit.clone(), cause })
    }
}

/// What git is told to in every repository, as its file has it.
fn configuration(rules: &Rules) -> String {
    // Known bad trees and .gitmodules are refused by git itself. Every ref goes through proc-receive, which can name its
    // reason in git's own line. Packs are tidied off the push's path.
    format!(
        "[receive]\n\
         \tfsckObjects = true\n\
         \tshallowUpdate = true\n\
         \tadvertisePushOptions = true\n\
         \tprocReceiveRefs = refs\n\
         \tdenyDeletes = false\n\
         \tdenyNonFastForwards = false\n\
         \tautogc = false\n\
         \tmaxInputSize = {}\n\
         [gc]\n\
         \tauto = 0\n\
         [core]\n\
         \thooksPath = {}\n",
        rules.max_pack_bytes,
        quoted(&rules.hooks.to_string_lossy())
    )
}

/// A value as git's configuration has it, whatever is in it.
fn quoted(value: &str) -> String {
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").replace('\t', "\\t");
    format!("\"{escaped}\"")
}

/// git for our own ends in a repository: with nothing of whoever's push started us, nor of the machine's configuration.
pub(super) fn own_git(repository: &Path) -> Command {
    let mut git = Command::new("git");
    git.env_clear()
        .envs([("PATH", "/usr/bin:/bin"), ("GIT_CONFIG_NOSYSTEM", "1"), ("GIT_CONFIG_GLOBAL", "/dev/null")])
        .arg("--git-dir")
        .arg(repository)
        .stdin(Stdio::null());
    git
}

/// As the repository's owner: git does nothing for root in what is another's, and what root made there would be in its
/// owner's way.
pub(super) fn as_owner(git: &mut Command, repository: &Path) -> io::Result<()> {
    use std::os::unix::{fs::MetadataExt as _, process::CommandExt as _};
    git.current_dir("/");
    let owner = fs::metadata(repository)?;
    if rustix::process::geteuid().is_root() {
        git.uid(owner.uid()).gid(owner.gid());
    }
    Ok(())
}

/// Runs git to its end; the error is what it complained of.
pub(super) fn succeed(git: &mut Command) -> io::Result<()> {
    let output = git.output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

fn oid(commit: &CommitId) -> Oid {
    Oid::from_str(commit.as_str()).expect("a commit id is 40 hexadecimal digits")
}

pub(super) fn commit_id(oid: Oid) -> CommitId {
    oid.to_string().parse().expect("libgit2 writes 40 hexadecimal digits")
}

fn failed(attempt: &'static str, path: &Path, cause: git2::Error) -> GitError {
    GitError::Repository { attempt, place: path.display().to_string(), cause }
}

pub(super) fn file_error(attempt: &'static str, path: &Path, cause: std::io::Error) -> GitError {
    GitError::Files { attempt, place: path.display().to_string(), cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_repository_is_configured_as_git_reads_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dev/shop.git");
        let rules = Rules { max_pack_bytes: 6 << 30, hooks: PathBuf::from("/srv/a \"b\" \\c;#/hooks") };
        Repository::create(&path, &rules).unwrap();
        let told = |name: &str| {
            let output = own_git(&path).args(["config", "--get", name]).output().unwrap();
            String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
        };
        assert_eq!(told("core.hooksPath"), "/srv/a \"b\" \\c;#/hooks");
        assert_eq!(told("receive.maxInputSize"), (6_u64 << 30).to_string());
        let all = ["fsckObjects", "shallowUpdate", "advertisePushOptions"].map(|name| told(&format!("receive.{name}")));
        assert_eq!(all, ["true", "true", "true"]);
        let none = ["receive.denyDeletes", "receive.denyNonFastForwards", "receive.autogc"].map(told);
        assert_eq!(none, ["false", "false", "false"]);
        assert_eq!((told("receive.procReceiveRefs"), told("gc.auto")), ("refs".to_owned(), "0".to_owned()));
    }
}
