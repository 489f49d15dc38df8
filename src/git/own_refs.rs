//! What a sweep has to know and do of repositories that may be another user's, of which libgit2 opens none: whether they
//! are ours, what their refs are called, and removing those that we made for ourselves.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use super::GitError;
use super::repository::{MARK, as_owner, file_error, own_git, succeed};

/// Whether the directory is a repository as we make them.
pub fn is_ours(repository: &Path) -> Result<bool, GitError> {
    let mut git = own_git(repository);
    git.args(["config", "--file"]).arg(repository.join("config")).args(["--get", MARK]);
    let output = git.output().map_err(|cause| file_error("look at", repository, cause))?;
    Ok(output.status.success())
}

/// The full names of all refs, in no order; a name may come twice.
pub fn ref_names(repository: &Path) -> Result<Vec<String>, GitError> {
    let failed = |cause| file_error("read the refs of", repository, cause);
    let mut names = Vec::new();
    below(repository, "refs", &mut names).map_err(failed)?;
    let packed = match fs::read_to_string(repository.join("packed-refs")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        read => read.map_err(failed)?,
    };
    let lines = packed.lines().filter(|line| !line.starts_with(['#', '^'])).filter_map(|line| line.split_once(' '));
    names.extend(lines.map(|(_, name)| name.to_owned()));
    Ok(names)
}

/// The loose ones, each a file.
fn below(repository: &Path, name: &str, names: &mut Vec<String>) -> io::Result<()> {
    let entries = match fs::read_dir(repository.join(name)) {
        // Emptied just now.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let Ok(part) = entry.file_name().into_string() else { continue };
        let name = format!("{name}/{part}");
        if entry.file_type()?.is_dir() {
            below(repository, &name, names)?;
        } else if Path::new(&name).extension().is_none_or(|kind| kind != "lock") {
            names.push(name);
        }
    }
    Ok(())
}

/// Removes the refs of these names, as the repository's owner. One that is gone is as good.
pub fn forget_refs<'a>(repository: &Path, names: impl IntoIterator<Item = &'a String>) -> Result<(), GitError> {
    let failed = |cause| file_error("change the refs of", repository, cause);
    for name in names {
        let mut git: Command = own_git(repository);
        git.args(["update-ref", "-d"]).arg(name);
        as_owner(&mut git, repository).map_err(failed)?;
        succeed(&mut git).map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::{Claim, Rules};

    #[test]
    fn refs_are_named_loose_and_packed_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dev/shop.git");
        let _claim = Claim::make(&path, &Rules { max_pack_bytes: 1 << 20, hooks: "/nowhere".into() }).unwrap();
        assert!(is_ours(&path).unwrap());
        assert_eq!(ref_names(&path).unwrap(), Vec::<String>::new());
        let repository = git2::Repository::open(&path).unwrap();
        let tree = repository.find_tree(repository.treebuilder(None).unwrap().write().unwrap()).unwrap();
        let who = git2::Signature::now("Alice", "alice@example.org").unwrap();
        let commit = repository.commit(Some("refs/heads/main"), &who, &who, "first", &tree, &[]).unwrap();
        let sorted = || {
            let mut names = ref_names(&path).unwrap();
            names.sort();
            names
        };
        repository.reference("refs/paas/detached/1", commit, false, "").unwrap();
        crate::git::collect_garbage(&path).unwrap();
        repository.reference("refs/paas/detached/2", commit, false, "").unwrap();
        let [one, two] = ["refs/paas/detached/1", "refs/paas/detached/2"].map(str::to_owned);
        assert_eq!(sorted(), ["refs/heads/main", &one, &two]);
        forget_refs(&path, [&one, &two, &one]).unwrap();
        assert_eq!(sorted(), ["refs/heads/main"]);
    }

    #[test]
    fn what_is_configured_otherwise_is_not_ours() {
        let directory = tempfile::tempdir().unwrap();
        git2::Repository::init_bare(directory.path().join("theirs.git")).unwrap();
        fs::create_dir(directory.path().join("none.git")).unwrap();
        for name in ["theirs.git", "none.git"] {
            assert!(!is_ours(&directory.path().join(name)).unwrap(), "{name}");
        }
    }
}
