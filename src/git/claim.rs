//! Who is at work in a repository: it is removed again when its first push was refused, unless another uses it.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::repository::file_error;
use super::{GitError, Repository, Rules};

/// The only claim on a repository: nobody is at work there, and whoever comes waits until this is given up.
#[derive(Debug)]
pub struct SoleClaim(Claim);

impl SoleClaim {
    /// Removes the repository with whatever is in it.
    pub fn remove(self) -> Result<(), GitError> {
        self.0.remove()
    }
}

/// Keeps a repository from being removed; as many as there are sessions and hooks in it. Ends with its process.
#[derive(Debug)]
pub struct Claim {
    path: PathBuf,
    directory: File,
}

impl Claim {
    /// Claims the repository, made first if it is not there.
    pub fn make(path: &Path, rules: &Rules) -> Result<Self, GitError> {
        loop {
            Repository::create(path, rules)?;
            // It may be removed between the two; then its directory is another one, or none.
            match Self::on(path) {
                Ok(claim) if claim.is_current() => return Ok(claim),
                Err(GitError::Files { cause, .. }) if cause.kind() != io::ErrorKind::NotFound => {
                    return Err(file_error("claim", path, cause));
                }
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// Claims a repository that is there.
    pub fn on(path: &Path) -> Result<Self, GitError> {
        // A link that somebody made on the host leads nowhere, least of all into another tenant.
        let flags = OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(path, flags, Mode::empty()).map_err(io::Error::from);
        let directory = File::from(opened.map_err(|cause| file_error("open", path, cause))?);
        directory.lock_shared().map_err(|cause| file_error("lock", path, cause))?;
        Ok(Self { path: path.to_owned(), directory })
    }

    fn is_current(&self) -> bool {
        use std::os::unix::fs::MetadataExt as _;
        let same = |a: &fs::Metadata, b: &fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
        matches!((self.directory.metadata(), fs::metadata(&self.path)), (Ok(a), Ok(b)) if same(&a, &b))
    }

    /// Gives the repository up, and removes it when nothing was ever stored in it and nobody else is at work there.
    pub fn release(self) -> Result<(), GitError> {
        if self.is_the_last()? && Repository::open(&self.path)?.is_empty()? { self.remove() } else { Ok(()) }
    }

    /// Gives the repository up, and removes it with whatever is in it, unless somebody else is at work there.
    pub fn discard(self) -> Result<(), GitError> {
        if self.is_the_last()? { self.remove() } else { Ok(()) }
    }

    /// Whether nobody else is at work here now. Whoever comes next does not wait.
    pub fn is_alone(&self) -> Result<bool, GitError> {
        let alone = self.is_the_last()?;
        self.directory.lock_shared().map_err(|cause| file_error("lock", &self.path, cause))?;
        Ok(alone)
    }

    /// Makes it the only one; none when somebody else is at work here.
    pub fn alone(self) -> Result<Option<SoleClaim>, GitError> {
        Ok(if self.is_the_last()? { Some(SoleClaim(self)) } else { None })
    }

    /// Whether nobody else is at work here, and cannot be from now on.
    fn is_the_last(&self) -> Result<bool, GitError> {
        match self.directory.try_lock() {
            Ok(()) => Ok(self.is_current()),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(cause)) => Err(file_error("lock", &self.path, cause)),
        }
    }

    fn remove(self) -> Result<(), GitError> {
        // Out of its place first, so that nobody meets half of it.
        let parent = self.path.parent().expect("a repository stands in a tenant's directory");
        let aside = parent.join(format!(".old-{}", uuid::Uuid::new_v4()));
        fs::rename(&self.path, &aside)
            .and_then(|()| fs::remove_dir_all(&aside))
            .map_err(|cause| file_error("remove", &self.path, cause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules { max_pack_bytes: 1 << 20, hooks: PathBuf::from("/nowhere/hooks") }
    }

    #[test]
    fn an_empty_repository_goes_with_its_last_claim() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dev/shop.git");
        let (first, second) = (Claim::make(&path, &rules()).unwrap(), Claim::make(&path, &rules()).unwrap());
        assert!(!first.is_alone().unwrap() && !second.is_alone().unwrap());
        first.release().unwrap();
        assert!(second.is_alone().unwrap() && Claim::on(&path).is_ok(), "others can still come");
        assert!(path.is_dir(), "it was removed while another session used it");
        second.release().unwrap();
        assert!(!path.exists());
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 0, "something half-made is left");
    }

    #[test]
    fn whoever_comes_to_a_sole_claim_waits_and_finds_a_repository_of_their_own() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dev/shop.git");
        let (first, second) = (Claim::make(&path, &rules()).unwrap(), Claim::make(&path, &rules()).unwrap());
        assert!(first.alone().unwrap().is_none(), "another is at work");
        let sole = second.alone().unwrap().unwrap();
        let came = std::thread::spawn({
            let path = path.clone();
            move || Claim::make(&path, &rules()).unwrap()
        });
        sole.remove().unwrap();
        let came = came.join().unwrap();
        assert!(path.is_dir() && came.is_current());
        came.discard().unwrap();
    }

    #[test]
    fn a_link_is_no_repository() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("theirs/shop.git");
        let claim = Claim::make(&path, &rules()).unwrap();
        let link = directory.path().join("link.git");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(Claim::on(&link).is_err() && Claim::make(&link, &rules()).is_err());
        claim.release().unwrap();
    }

    #[test]
    fn a_repository_that_holds_something_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dev/shop.git");
        let claim = Claim::make(&path, &rules()).unwrap();
        let repository = git2::Repository::open(&path).unwrap();
        let tree = repository.find_tree(repository.treebuilder(None).unwrap().write().unwrap()).unwrap();
        let who = git2::Signature::now("Alice", "alice@example.org").unwrap();
        repository.commit(Some("refs/heads/main"), &who, &who, "first", &tree, &[]).unwrap();
        claim.release().unwrap();
        assert!(path.is_dir());
        let (one, other) = (Claim::on(&path).unwrap(), Claim::on(&path).unwrap());
        one.discard().unwrap();
        assert!(path.is_dir(), "it was removed while another session used it");
        other.discard().unwrap();
        assert!(!path.exists());
    }
}
