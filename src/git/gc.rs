//! Tidying a repository's packs, off the way of any push: git itself is told never to.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use super::GitError;
use super::repository::{as_owner, file_error, own_git, succeed};

/// How many pieces a repository's objects are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Census {
    pub packs: usize,
    /// Objects in files of their own.
    pub loose: usize,
}

/// What the last collection left: its census. Some objects that nothing leads to stay for two weeks, and would
/// otherwise be collected in vain all that time.
const LEFT: &str = "paas-gc.json";
/// A push of less than a hundred objects leaves them loose, a larger one leaves a pack. So this is the work of about
/// ten pushes, which git gets along with well.
const MORE_PACKS: usize = 10;
const MORE_LOOSE: usize = 1000;

impl Census {
    /// Whether so much came since the last collection that another one is due.
    pub fn has_grown_since(self, last: Self) -> bool {
        self.packs >= last.packs + MORE_PACKS || self.loose >= last.loose + MORE_LOOSE
    }
}

/// Counts the pieces now, and gives what the last collection left (nothing, if there was none).
pub fn census(repository: &Path) -> Result<(Census, Census), GitError> {
    let now = count(&repository.join("objects")).map_err(|cause| file_error("look through", repository, cause))?;
    let last = fs::read(repository.join(LEFT)).ok().and_then(|text| serde_json::from_slice(&text).ok());
    Ok((now, last.unwrap_or_default()))
}

fn count(objects: &Path) -> io::Result<Census> {
    let mut census = Census::default();
    for entry in fs::read_dir(objects)? {
        let (name, path) = { entry.map(|entry| (entry.file_name(), entry.path()))? };
        if name == "pack" {
            let is_pack = |entry: &fs::DirEntry| entry.path().extension().is_some_and(|kind| kind == "pack");
            census.packs = fs::read_dir(path)?.flatten().filter(is_pack).count();
        } else if name.len() == 2 {
            // One that has just been emptied may be gone.
            census.loose += fs::read_dir(path).map_or(0, Iterator::count);
        }
    }
    Ok(census)
}

/// Runs `git gc`, which may go on beside pushes, as the repository's owner, and notes what it left.
pub fn collect_garbage(repository: &Path) -> Result<(), GitError> {
    let failed = |cause| file_error("tidy", repository, cause);
    let mut git = own_git(repository);
    git.args(["gc", "--quiet"]);
    as_owner(&mut git, repository).map_err(failed)?;
    succeed(&mut git).map_err(failed)?;
    let (left, _) = census(repository)?;
    // Whoever it belongs to can write here.
    let (note, draft) = (repository.join(LEFT), repository.join(format!("{LEFT}.new")));
    let text = serde_json::to_vec(&left).expect("a census is two numbers");
    let _ = fs::remove_file(&draft);
    // Made anew, so that whatever link somebody may have put there is not followed.
    let mut file = fs::OpenOptions::new().write(true).create_new(true).open(&draft).map_err(failed)?;
    file.write_all(&text).and_then(|()| fs::rename(&draft, note)).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collection_is_due_when_much_has_come_since_the_last() {
        let of = |packs, loose| Census { packs, loose };
        for (now, last, is_due, why) in [
            (of(0, 0), of(0, 0), false, "it is empty"),
            (of(9, 999), of(0, 0), false, "a few pushes"),
            (of(10, 0), of(0, 0), true, "many large pushes"),
            (of(0, 1000), of(0, 0), true, "many small pushes"),
            (of(1, 5000), of(1, 5000), false, "what could not be collected the last time"),
            (of(1, 6000), of(1, 5000), true, "and more on top of it"),
            (of(1, 3), of(2, 5000), false, "git has dropped what nothing led to"),
        ] {
            assert_eq!(now.has_grown_since(last), is_due, "{why}");
        }
    }

    #[test]
    fn loose_objects_become_a_pack() {
        let directory = tempfile::tempdir().unwrap();
        let repository = git2::Repository::init_bare(directory.path()).unwrap();
        let mut tree = repository.treebuilder(None).unwrap();
        for number in 0..20 {
            let blob = repository.blob(format!("file {number}").as_bytes()).unwrap();
            tree.insert(format!("f{number}"), blob, 0o100_644).unwrap();
        }
        let tree = repository.find_tree(tree.write().unwrap()).unwrap();
        let who = git2::Signature::now("Alice", "alice@example.org").unwrap();
        repository.commit(Some("refs/heads/main"), &who, &who, "first", &tree, &[]).unwrap();
        assert_eq!(census(directory.path()).unwrap(), (Census { packs: 0, loose: 22 }, Census::default()));
        collect_garbage(directory.path()).unwrap();
        let after = Census { packs: 1, loose: 0 };
        assert_eq!(census(directory.path()).unwrap(), (after, after));
        assert!(collect_garbage(&directory.path().join("none")).is_err());
    }
}
