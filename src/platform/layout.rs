//! What `paas up` puts into the platform's home before anything runs: directories and their owners, the
//! configuration, the root engine's credentials.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown, fchown, lchown};
use std::path::{Path, PathBuf};

use super::account::Account;
use crate::git::install_hooks;
use crate::model::Secret;
use crate::settings::{EXAMPLE, Home, Overrides};

/// Something could not be made or given its owner.
#[derive(Debug, thiserror::Error)]
#[error("cannot prepare {path}", path = .path.display())]
pub struct LayoutError {
    path: PathBuf,
    #[source]
    cause: io::Error,
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> LayoutError {
    let path = path.to_owned();
    move |cause| LayoutError { path, cause }
}

/// Makes the directories, and gives each its owner and mode, also those that were there.
///
/// Under root, the home, `ssh/` and what lies in it stay root's: sshd trusts them, so the user it serves must not
/// be able to write there. The rest belongs to `account`, and to nobody else's eyes.
pub(super) fn directories(home: &Home, account: &Account) -> Result<(), LayoutError> {
    for open in [home.path().to_owned(), home.ssh(), home.hooks()] {
        directory(&open, None, 0o755)?;
    }
    install_hooks(&home.hooks()).map_err(at(&home.hooks()))?;
    let engines = home.root_engine().parent().map(Path::to_owned);
    let own = [
        home.store(),
        home.repositories(),
        home.letterboxes(),
        home.logs(),
        home.run(),
        home.audit(),
        home.root_engine(),
    ];
    for closed in engines.into_iter().chain(own) {
        directory(&closed, Some(account), 0o700)?;
    }
    // Commands of root's before the first start have written there.
    for entry in fs::read_dir(home.audit()).map_err(at(&home.audit()))?.flatten() {
        let path = entry.path();
        lchown(&path, Some(account.uid), Some(account.gid)).map_err(at(&path))?;
    }
    Ok(())
}

fn directory(path: &Path, owner: Option<&Account>, mode: u32) -> Result<(), LayoutError> {
    fs::create_dir_all(path).map_err(at(path))?;
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(at(path))?;
    owner.map_or(Ok(()), |account| chown(path, Some(account.uid), Some(account.gid))).map_err(at(path))
}

/// Writes the commented example where there is no configuration yet. True when it did. It may come to hold credentials,
/// so nobody but its owner and the account reads it; one that was there stays as it is but for that.
pub(super) fn configuration(home: &Home, account: &Account) -> Result<bool, LayoutError> {
    let path = home.config();
    let made = new_file(&path, 0o640).and_then(|mut file| {
        fchown(&file, None, Some(account.gid))?;
        file.write_all(EXAMPLE.as_bytes())
    });
    match made {
        Ok(()) => Ok(true),
        Err(there) if there.kind() == io::ErrorKind::AlreadyExists => {
            close_to_others(&path, account).map(|()| false).map_err(at(&path))
        }
        Err(cause) => Err(at(&path)(cause)),
    }
}

/// Takes a file from everybody's eyes, and lets the account read it instead of them.
fn close_to_others(path: &Path, account: &Account) -> io::Result<()> {
    let found = fs::metadata(path)?;
    let is_closed = found.mode() & 0o777 == found.mode() & 0o770 && found.gid() == account.gid;
    let me = rustix::process::geteuid();
    if is_closed || !(me.is_root() || me.as_raw() == found.uid()) {
        return Ok(());
    }
    chown(path, None, Some(account.gid))?;
    fs::set_permissions(path, Permissions::from_mode((found.mode() & 0o700) | 0o040))
}

/// Keeps what this start was told by flags and variables, for the commands and hooks to come. It may hold
/// credentials, so nobody but the account reads it.
pub(super) fn started_with(home: &Home, overrides: &Overrides, account: &Account) -> Result<(), LayoutError> {
    let (path, fresh) = (home.started_with(), home.path().join("started-with.yml.new"));
    let written = || {
        drop_if_there(&fresh)?;
        new_file(&fresh, 0o640)?.write_all(overrides.to_yaml().as_bytes())?;
        chown(&fresh, None, Some(account.gid))?;
        fs::rename(&fresh, &path)
    };
    written().map_err(at(&path))
}

/// Makes the root engine's credentials with `make`, once.
pub(super) fn root_credentials(
    home: &Home,
    account: &Account,
    make: impl FnOnce() -> Secret,
) -> Result<Secret, LayoutError> {
    let path = home.root_credentials();
    match fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() => return Ok(Secret::new(text.trim())),
        Ok(_) => drop_if_there(&path).map_err(at(&path))?,
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => {}
        Err(cause) => return Err(at(&path)(cause)),
    }
    let credentials = make();
    let written = || {
        let mut file = new_file(&path, 0o600)?;
        fchown(&file, Some(account.uid), Some(account.gid))?;
        writeln!(file, "{}", credentials.reveal())
    };
    written().map_err(at(&path))?;
    Ok(credentials)
}

/// Writes a file that is made anew at each start, by way of a neighbour, so that it is never seen half-written.
pub(super) fn generated(path: &Path, text: &str, mode: u32) -> Result<(), LayoutError> {
    let fresh = path.with_extension("new");
    let written = || {
        drop_if_there(&fresh)?;
        new_file(&fresh, mode)?.write_all(text.as_bytes())?;
        fs::set_permissions(&fresh, Permissions::from_mode(mode))?;
        fs::rename(&fresh, path)
    };
    written().map_err(at(path))
}

/// The log of a platform in the background, begun anew.
pub fn log_file(home: &Home) -> Result<fs::File, LayoutError> {
    let (directory, path) = (home.run(), home.log());
    fs::create_dir_all(&directory).map_err(at(&directory))?;
    drop_if_there(&path).and_then(|()| new_file(&path, 0o600)).map_err(at(&path))
}

/// A file that was not there before, so never one behind somebody's link.
fn new_file(path: &Path, mode: u32) -> io::Result<fs::File> {
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)
}

fn drop_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A home of this test's user.
    fn home() -> (tempfile::TempDir, Home, Account) {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(directory.path().join("paas"));
        let owner = fs::metadata(directory.path()).unwrap();
        let account =
            Account { name: "me".to_owned(), uid: owner.uid(), gid: owner.gid(), home: home.path().to_owned() };
        (directory, home, account)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn what_sshd_trusts_is_open_and_the_rest_is_the_accounts_own() {
        let (_directory, home, account) = home();
        directories(&home, &account).unwrap();
        fs::set_permissions(home.store(), Permissions::from_mode(0o777)).unwrap();
        directories(&home, &account).unwrap();
        assert_eq!((mode(home.path()), mode(&home.ssh()), mode(&home.hooks())), (0o755, 0o755, 0o755));
        for closed in [home.store(), home.repositories(), home.letterboxes(), home.run(), home.root_engine()] {
            assert_eq!(mode(&closed), 0o700, "{}", closed.display());
        }
    }

    #[test]
    fn a_configuration_is_written_once_and_never_over_somebodys_own() {
        let (_directory, home, account) = home();
        directories(&home, &account).unwrap();
        assert!(configuration(&home, &account).unwrap());
        fs::write(home.config(), "user: me\n").unwrap();
        assert!(!configuration(&home, &account).unwrap());
        assert_eq!(fs::read_to_string(home.config()).unwrap(), "user: me\n");
    }

    #[test]
    fn a_configuration_is_read_by_its_owner_and_the_account_alone_whoever_wrote_it() {
        let (_directory, home, account) = home();
        directories(&home, &account).unwrap();
        configuration(&home, &account).unwrap();
        assert_eq!((mode(&home.config()), fs::metadata(home.config()).unwrap().gid()), (0o640, account.gid));
        for (written, expected) in [(0o644, 0o640), (0o666, 0o640), (0o640, 0o640), (0o600, 0o600)] {
            fs::set_permissions(home.config(), Permissions::from_mode(written)).unwrap();
            configuration(&home, &account).unwrap();
            assert_eq!(mode(&home.config()), expected, "{written:o}");
        }
    }

    #[test]
    fn the_root_engines_credentials_are_made_once_and_nobody_else_reads_them() {
        let (_directory, home, account) = home();
        directories(&home, &account).unwrap();
        let first = root_credentials(&home, &account, || Secret::new("root:one")).unwrap();
        let second = root_credentials(&home, &account, || Secret::new("root:two")).unwrap();
        assert_eq!((first.reveal(), second.reveal()), ("root:one", "root:one"));
        assert_eq!(mode(&home.root_credentials()), 0o600);
        fs::write(home.root_credentials(), "").unwrap();
        let third = root_credentials(&home, &account, || Secret::new("root:three")).unwrap();
        assert_eq!(third.reveal(), "root:three", "an empty file is one that was never finished");
    }

    #[test]
    fn what_a_start_was_told_replaces_what_the_last_one_was() {
        let (_directory, home, account) = home();
        directories(&home, &account).unwrap();
        started_with(&home, &Overrides::default().ssh_port(Some(1)), &account).unwrap();
        started_with(&home, &Overrides::default().ssh_port(Some(2)), &account).unwrap();
        assert!(fs::read_to_string(home.started_with()).unwrap().contains("port: 2"));
        assert_eq!(mode(&home.started_with()), 0o640);
    }
}
