//! What a `.gitmodules` says, as git itself reads it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use super::GitError;
use super::repository::own_git;
use crate::model::CommitId;

pub(super) const FILE: &str = ".gitmodules";
/// What is asked for: `submodule.<name>.path` and `submodule.<name>.url`, whatever the name.
const WANTED: &str = r"^submodule\..*\.(path|url)$";

/// The addresses of submodules by their paths. Nothing that the file would include is.
pub(super) fn read(repository: &Path, commit: &CommitId) -> Result<BTreeMap<PathBuf, Vec<u8>>, GitError> {
    let output = own_git(repository)
        .args(["config", "--no-includes", "--null", "--blob", &format!("{commit}:{FILE}"), "--get-regexp", WANTED])
        .output()
        .map_err(GitError::Gitmodules)?;
    match output.status.code() {
        Some(0) => Ok(by_path(&output.stdout)),
        // There is nothing of the kind in it; a file that cannot be read ends in the same status, with a word about it.
        Some(1) if output.stderr.is_empty() => Ok(BTreeMap::new()),
        _ => Err(GitError::Gitmodules(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()))),
    }
}

/// Takes git's list apart: `name`, a newline, the value and a NUL. As for git, of several values the last one holds.
fn by_path(list: &[u8]) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut paths, mut urls) = (BTreeMap::new(), BTreeMap::new());
    for item in list.split(|byte| *byte == 0) {
        let Some(end) = item.iter().position(|byte| *byte == b'\n') else { continue };
        let (name, value) = (&item[..end], &item[end + 1..]);
        if let Some(submodule) = name.strip_suffix(b".path") {
            paths.insert(submodule, value);
        } else if let Some(submodule) = name.strip_suffix(b".url") {
            urls.insert(submodule, value);
        }
    }
    let paths = paths.into_iter().filter_map(|(name, path)| Some((path, *urls.get(name)?)));
    paths.map(|(path, url)| (PathBuf::from(OsString::from_vec(path.to_vec())), url.to_vec())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_path_and_address_of_a_name_hold_and_one_without_the_other_is_nothing() {
        let list = b"submodule.a.b.path\nvendor/a\0submodule.a.b.url\nhttps://one\0submodule.a.b.url\nhttps://two\0\
                     submodule.c.path\nc\0submodule.d.url\nhttps://d\0submodule.e.path\0";
        assert_eq!(by_path(list), BTreeMap::from([("vendor/a".into(), b"https://two".to_vec())]));
        assert!(by_path(b"").is_empty());
    }

    #[test]
    fn a_file_that_includes_another_reads_nothing_of_that() {
        let directory = tempfile::tempdir().unwrap();
        let included = directory.path().join("included");
        std::fs::write(&included, "[submodule \"x\"]\n\tpath = x\n\turl = https://included\n").unwrap();
        let repository = git2::Repository::init_bare(directory.path().join("r.git")).unwrap();
        let commit = |text: String| {
            let blob = repository.blob(text.as_bytes()).unwrap();
            let mut tree = repository.treebuilder(None).unwrap();
            tree.insert(FILE, blob, 0o100_644).unwrap();
            let (tree, who) = (tree.write().unwrap(), git2::Signature::now("A", "a@b").unwrap());
            let tree = repository.find_tree(tree).unwrap();
            repository.commit(None, &who, &who, "", &tree, &[]).unwrap().to_string().parse::<CommitId>().unwrap()
        };
        let own = "[submodule \"own\"]\n\tpath = own\n\turl = https://own\n";
        let found = read(repository.path(), &commit(format!("[include]\n\tpath = {}\n{own}", included.display())));
        assert_eq!(found.unwrap(), BTreeMap::from([("own".into(), b"https://own".to_vec())]));
        assert!(read(repository.path(), &commit("[core]\n".to_owned())).unwrap().is_empty());
        let broken = read(repository.path(), &commit("[submodule\n".to_owned())).unwrap_err();
        assert!(matches!(broken, GitError::Gitmodules(_)), "{broken}");
    }
}
