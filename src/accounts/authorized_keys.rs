//! Lines of authorized keys, by which sshd lets a key in; and, where a site forbids `AuthorizedKeysCommand`, the file
//! of them in the system user's own `.ssh`, written anew from the store.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::keys::{self, KeyError, RegisteredKey};
use crate::store::{LeaseAttempt, Store, StoreError, StorePath};

/// Each file that `paas install` writes begins with this. One without it is somebody else's, and left alone.
pub const MADE_BY_INSTALL: &str = "# Made by `paas install`";

/// Begins the second line of the file, which names the program that its keys may run.
const PROGRAM: &str = "# They may run: ";
/// As much of the file is read as its first two lines can have.
const HEAD_BYTES: u64 = 8 * 1024;
/// Rewriting takes seconds with very many keys; whoever waits longer than this waits for a process that hangs.
const PATIENCE: Duration = Duration::from_mins(1);

/// A path that sshd or the login shell would take for more than a plain word.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} cannot stand in a line of authorized keys: it must be an absolute path of letters, digits and any of `/._+@-`"
)]
pub struct OddPath(pub PathBuf);

/// Why the file is not as the store is.
#[derive(Debug, thiserror::Error)]
pub enum AuthorizedKeysFileError {
    #[error(transparent)]
    OddPath(#[from] OddPath),
    #[error("the keys for {path} could not be read from the store", path = .path.display())]
    Keys {
        path: PathBuf,
        #[source]
        cause: KeyError,
    },
    #[error("the turn to write {path} could not be had", path = .path.display())]
    Turn {
        path: PathBuf,
        #[source]
        cause: StoreError,
    },
    #[error("another process has been writing {path} for more than {} s", PATIENCE.as_secs(), path = .0.display())]
    Busy(PathBuf),
    #[error("{path} was not made by `paas install`", path = .0.display())]
    Foreign(PathBuf),
    #[error("cannot write {path}", path = .path.display())]
    File {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
}

/// The line that lets `key` run a session of `program` as its user in the platform at `home`, and nothing else.
///
/// sshd divides options at commas outside of quotes, and hands the command to the login shell: nothing that either
/// could take for more than a plain word gets in.
pub fn line(key: &RegisteredKey, home: &Path, program: &Path) -> Result<String, OddPath> {
    let (program, home) = (plain(program)?, plain(home)?);
    let RegisteredKey { user, fingerprint, line, .. } = key;
    let command = format!("{program} session --user {user} --key {fingerprint} --home {home}");
    Ok(format!("restrict,command=\"{command}\" {line}"))
}

/// A path that sshd and the login shell both take for one plain word.
pub fn plain(path: &Path) -> Result<&str, OddPath> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._+@-".contains(c);
    path.to_str()
        .filter(|text| text.starts_with('/') && text.chars().all(is_plain))
        .ok_or_else(|| OddPath(path.to_owned()))
}

/// Where the file is, in the platform's home, which is the system user's.
pub fn authorized_keys_file(home: &Path) -> PathBuf {
    home.join(".ssh").join("authorized_keys")
}

/// Whether there is such a file, of ours.
pub fn is_kept(home: &Path) -> Result<bool, AuthorizedKeysFileError> {
    Ok(program_in(&authorized_keys_file(home))?.is_some())
}

/// Brings the file to what the store says now, where `paas install --authorized-keys` has made one; gives how many keys
/// it lets in. To be called after each change of a key or its user.
///
/// Those who do it at once take turns, and each reads the store in its turn, so the last file has every change.
pub async fn sync_authorized_keys(store: &dyn Store, home: &Path) -> Result<Option<usize>, AuthorizedKeysFileError> {
    match program_in(&authorized_keys_file(home))? {
        Some(program) => write_authorized_keys(store, home, &program).await.map(Some),
        None => Ok(None),
    }
}

/// Makes the file, or makes it anew, with `program` as what its keys may run; gives how many keys it lets in. Its
/// directory must be there, and the file gets the directory's owner.
pub async fn write_authorized_keys(
    store: &dyn Store,
    home: &Path,
    program: &Path,
) -> Result<usize, AuthorizedKeysFileError> {
    let path = authorized_keys_file(home);
    let lease = StorePath::root().join("authorized_keys");
    let turn = store.lease(&lease, "writing authorized_keys", PATIENCE).await;
    let _turn = match turn.map_err(|cause| AuthorizedKeysFileError::Turn { path: path.clone(), cause })? {
        LeaseAttempt::Held(turn) => turn,
        LeaseAttempt::Busy(_) => return Err(AuthorizedKeysFileError::Busy(path)),
    };
    // Once more, as its turn may have come after somebody else's change.
    program_in(&path)?;
    let keys = keys::list(store).await.map_err(|cause| AuthorizedKeysFileError::Keys { path: path.clone(), cause })?;
    let text = text(&keys, home, program)?;
    replace(&path, &text).map_err(|cause| AuthorizedKeysFileError::File { path, cause })?;
    Ok(keys.len())
}

/// The whole file.
pub fn text(keys: &[RegisteredKey], home: &Path, program: &Path) -> Result<String, OddPath> {
    let mut text = format!(
        "{MADE_BY_INSTALL}: the registered keys, written anew at each change of one; `paas keys` shows them.\n\
         {PROGRAM}{}\n",
        plain(program)?
    );
    for key in keys {
        text.push_str(&line(key, home, program)?);
        text.push('\n');
    }
    Ok(text)
}

/// The program that the file's keys may run; nothing where there is no file.
///
/// The file is in a directory of the system user, so no link in its place is followed.
fn program_in(path: &Path) -> Result<Option<PathBuf>, AuthorizedKeysFileError> {
    let failed = |cause| AuthorizedKeysFileError::File { path: path.to_owned(), cause };
    let opened = OpenOptions::new().read(true).custom_flags(NO_FOLLOW | NO_WAIT).open(path);
    let file = match opened {
        Ok(file) => file,
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(failed(cause)),
    };
    let foreign = || AuthorizedKeysFileError::Foreign(path.to_owned());
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(foreign());
    }
    let mut head = Vec::new();
    file.take(HEAD_BYTES).read_to_end(&mut head).map_err(failed)?;
    let head = String::from_utf8_lossy(&head);
    let mut lines = head.lines();
    let ours = lines.next().is_some_and(|first| first.starts_with(MADE_BY_INSTALL));
    let program = lines.next().and_then(|second| second.strip_prefix(PROGRAM)).filter(|_| ours);
    program.map(|program| Some(PathBuf::from(program))).ok_or_else(foreign)
}

const NO_FOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
const NO_WAIT: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();

/// Puts a whole new file into the place of the old one, with mode 0600 and the directory's owner.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let fresh = path.with_extension("new");
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // New, so that it is never somebody's link.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    give_to_owner_of(path, &file)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&fresh, path)
}

fn give_to_owner_of(path: &Path, file: &File) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let directory = fs::metadata(path.parent().unwrap_or(Path::new("/")))?;
    std::os::unix::fs::fchown(file, Some(directory.uid()), Some(directory.gid()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::PublicKey;
    use super::super::public_key::samples::{ED25519, ED25519_FINGERPRINT, P256, P384, P521};
    use super::*;
    use crate::store::SqliteStore;

    const RECEIVE: &str = "/usr/local/bin/paas-receive";

    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            let place = Self(tempfile::tempdir().unwrap());
            fs::create_dir(place.home().join(".ssh")).unwrap();
            place
        }
        fn home(&self) -> &Path {
            self.0.path()
        }
        fn store(&self) -> SqliteStore {
            SqliteStore::open(&self.home().join("store")).unwrap()
        }
        fn file(&self) -> PathBuf {
            authorized_keys_file(self.home())
        }
        fn read(&self) -> String {
            fs::read_to_string(self.file()).unwrap()
        }
    }

    async fn add(store: &dyn Store, user: &str, key: &str) -> RegisteredKey {
        let key = PublicKey::parse(key.as_bytes()).unwrap();
        keys::add(store, &user.parse().unwrap(), &key).await.unwrap().key
    }

    #[tokio::test]
    async fn the_file_has_the_line_of_each_registered_key_and_follows_the_store() {
        let place = Place::new();
        let store = place.store();
        let alice = add(&store, "alice", ED25519).await;
        assert_eq!(write_authorized_keys(&store, place.home(), Path::new(RECEIVE)).await.unwrap(), 1);
        assert_eq!(fs::metadata(place.file()).unwrap().mode() & 0o777, 0o600);
        let bob = add(&store, "bob", P256).await;
        assert_eq!(sync_authorized_keys(&store, place.home()).await.unwrap(), Some(2));
        let lines = [&alice, &bob].map(|key| line(key, place.home(), Path::new(RECEIVE)).unwrap());
        let written = place.read();
        assert_eq!(written.lines().skip(2).collect::<Vec<_>>(), lines, "{written}");
        keys::remove(&store, &ED25519_FINGERPRINT.parse().unwrap()).await.unwrap();
        sync_authorized_keys(&store, place.home()).await.unwrap();
        assert!(!place.read().contains("alice"), "{}", place.read());
        assert_eq!(fs::read_dir(place.home().join(".ssh")).unwrap().count(), 1, "nothing is left beside it");
    }

    #[tokio::test]
    async fn where_no_file_was_installed_none_is_made() {
        let place = Place::new();
        assert_eq!(sync_authorized_keys(&place.store(), place.home()).await.unwrap(), None);
        assert!(!place.file().exists());
    }

    #[tokio::test]
    async fn a_file_of_somebody_else_and_a_link_are_left_alone() {
        let place = Place::new();
        let elsewhere = place.home().join("precious");
        fs::write(&elsewhere, "precious").unwrap();
        for make in [
            (|_: &Path, file: &Path| fs::write(file, ED25519)) as fn(&Path, &Path) -> io::Result<()>,
            |_, file| fs::write(file, ""),
            |elsewhere, file| std::os::unix::fs::symlink(elsewhere, file),
            |_, file| fs::create_dir(file),
        ] {
            make(&elsewhere, &place.file()).unwrap();
            let before = fs::symlink_metadata(place.file()).unwrap();
            assert!(sync_authorized_keys(&place.store(), place.home()).await.is_err());
            assert!(write_authorized_keys(&place.store(), place.home(), Path::new(RECEIVE)).await.is_err());
            assert_eq!(fs::symlink_metadata(place.file()).unwrap().ino(), before.ino());
            fs::remove_file(place.file()).or_else(|_| fs::remove_dir(place.file())).unwrap();
        }
        assert_eq!(fs::read_to_string(elsewhere).unwrap(), "precious");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn of_many_changes_at_once_none_is_lost_from_the_file() {
        let place = Arc::new(Place::new());
        write_authorized_keys(&place.store(), place.home(), Path::new(RECEIVE)).await.unwrap();
        let changes = [("alice", ED25519), ("bob", P256), ("carol", P384), ("dave", P521)].map(|(user, key)| {
            let place = Arc::clone(&place);
            tokio::spawn(async move {
                let store = place.store();
                add(&store, user, key).await;
                sync_authorized_keys(&store, place.home()).await.unwrap();
            })
        });
        for change in changes {
            change.await.unwrap();
        }
        assert_eq!(place.read().lines().count(), 2 + 4, "{}", place.read());
    }
}
