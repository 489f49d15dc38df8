//! `paas uninstall`: what `paas install` made is taken back; what people made with it only when they say so.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::drop_in::HostSshd;
use super::systemd::{self, Services};
use super::{Did, InstallError, Step, Steps, marked, tell_sshd, unit};
use crate::accounts::authorized_keys::{authorized_keys_file, is_kept};
use crate::docker::{Docker, Socket, labels};
use crate::platform::account::Account;
use crate::platform::{Down, DownError, presence, tool};
use crate::settings::{Home, Settings};
use crate::store::SqliteStore;

/// What was taken back.
#[derive(Debug, Serialize)]
pub struct Uninstalled {
    pub home: PathBuf,
    /// The data and the user went too.
    pub purged: bool,
    pub changed: bool,
    pub steps: Vec<Step>,
    /// What is left for somebody to do.
    pub by_hand: Vec<String>,
}

/// Takes back what `paas install` made; with `purge` also the platform's data, its apps and its user. Files that it did
/// not make are left alone, and said.
pub async fn uninstall(settings: &Settings, root: &Path, purge: bool) -> Result<Uninstalled, InstallError> {
    if !rustix::process::geteuid().is_root() {
        return Err(InstallError::NotRoot);
    }
    let home = &settings.home;
    // Whatever the directory was named by mistake, without a store in it, it is none of ours.
    if purge && home.path().exists() && !SqliteStore::is_in(&home.store()) {
        return Err(InstallError::NoPlatform(home.path().to_owned()));
    }
    let mut done = Steps::default();
    // The door first, so that nobody comes in while the rest goes.
    close(&HostSshd::of(settings, root), root, &mut done).await?;
    stop(root, &mut done).await?;
    done.remove(&home.installed())?;
    let file = authorized_keys_file(home.path());
    match keys_file(home.path(), false) {
        Err(error @ InstallError::KeysFile(_)) => done.by_hand.push(format!("{error}, so it was left there")),
        did => done.add_done(file.display(), did?),
    }
    if purge {
        remove_all(settings, &mut done).await?;
    } else if presence::serving(home).ok().flatten().is_some() {
        done.by_hand.push("`paas down` ends the platform, which still runs".to_owned());
    }
    let changed = !done.steps.is_empty();
    Ok(Uninstalled { home: home.path().to_owned(), purged: purge, changed, steps: done.steps, by_hand: done.by_hand })
}

impl Steps {
    /// Notes what was done, if anything was.
    fn add_done(&mut self, what: impl std::fmt::Display, did: Did) {
        if did != Did::Nothing {
            self.add(what, did);
        }
    }

    /// Removes a file of ours, and says so of somebody else's.
    fn remove(&mut self, path: &Path) -> Result<Did, InstallError> {
        let did = match marked::remove(path) {
            Err(foreign @ InstallError::Foreign(_)) => {
                self.by_hand.push(format!("{foreign}, so it was left there"));
                Did::Nothing
            }
            did => did?,
        };
        self.add_done(path.display(), did);
        Ok(did)
    }
}

async fn close(ssh: &HostSshd, root: &Path, done: &mut Steps) -> Result<(), InstallError> {
    let did = done.remove(&ssh.drop_in)?;
    if did != Did::Nothing {
        tell_sshd(root, did, &mut done.by_hand).await?;
    }
    Ok(())
}

async fn stop(root: &Path, done: &mut Steps) -> Result<(), InstallError> {
    let path = unit::path(root);
    let is_ours = marked::read(&path).is_ok_and(|found| found.is_some());
    let by_systemd = Services::of(root) == Services::Systemd;
    if is_ours && by_systemd {
        systemd::disable().await?;
    }
    let did = done.remove(&path)?;
    if did != Did::Nothing && by_systemd {
        systemd::forget().await?;
    }
    Ok(())
}

/// Removes the file of keys, and its directory when it is empty then.
pub(super) fn keys_file(home: &Path, dry_run: bool) -> Result<Did, InstallError> {
    if !is_kept(home)? {
        return Ok(Did::Nothing);
    }
    let path = authorized_keys_file(home);
    if !dry_run {
        std::fs::remove_file(&path).map_err(|cause| marked::failed(&path, cause))?;
        if let Some(directory) = path.parent() {
            // Whatever else is in there is the user's own.
            let _ = std::fs::remove_dir(directory);
        }
    }
    Ok(Did::Removed)
}

/// Ends the platform and removes its apps, its data and its user.
async fn remove_all(settings: &Settings, done: &mut Steps) -> Result<(), InstallError> {
    let home = &settings.home;
    if !home.path().exists() {
        return Ok(());
    }
    end(settings, done).await?;
    if let Some(account) = owner(home).await? {
        let gone = tool::run("userdel", ["--", &account.name]).await;
        gone.map_err(|cause| InstallError::User { name: account.name.clone(), cause })?;
        done.add(format_args!("user `{}`", account.name), Did::Removed);
    }
    remove_home(home, done)
}

/// The platform's processes, and what it has in Docker.
async fn end(settings: &Settings, done: &mut Steps) -> Result<(), InstallError> {
    let label = settings.home.path().display().to_string();
    let left =
        format!("Docker does not answer: containers, volumes and images with the label {}={label} stay", labels::HOME);
    match Down::of(settings, true).await {
        Err(DownError::Apps(error)) if error.is_unreachable() => done.by_hand.push(left),
        Err(error) => return Err(error.into()),
        Ok(_) => {
            let docker = Docker::at(Socket(settings.docker.socket.clone()));
            let ours = [(labels::HOME, label.as_str())];
            docker.remove_volumes_with(&ours).await?;
            docker.remove_images_with(&ours).await?;
        }
    }
    Ok(())
}

/// The system user to whom the data belongs, unless that is root or has its home elsewhere.
async fn owner(home: &Home) -> Result<Option<Account>, InstallError> {
    let uid = std::fs::metadata(home.store()).map_err(|cause| marked::failed(&home.store(), cause))?.uid();
    let found = if uid == 0 { None } else { Account::find(&uid.to_string()).await };
    Ok(found.filter(|account| account.home == home.path()))
}

/// Removes what the platform keeps in its home, and the home unless somebody else keeps something there.
fn remove_home(home: &Home, done: &mut Steps) -> Result<(), InstallError> {
    let engines = home.path().join("engines");
    for directory in
        [home.repositories(), home.letterboxes(), home.logs(), engines, home.ssh(), home.audit(), home.run()]
    {
        gone(&directory, std::fs::remove_dir_all(&directory))?;
    }
    for file in [home.config(), home.started_with()] {
        gone(&file, std::fs::remove_file(&file))?;
    }
    // By it the next try would know that this is a platform, so it goes last.
    gone(&home.store(), std::fs::remove_dir_all(home.store()))?;
    match std::fs::remove_dir(home.path()) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
            done.by_hand.push(format!("{} holds something that the platform did not make", home.path().display()));
        }
        removed => gone(home.path(), removed)?,
    }
    done.add(home.path().display(), Did::Removed);
    Ok(())
}

fn gone(path: &Path, removed: io::Result<()>) -> Result<(), InstallError> {
    match removed {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(marked::failed(path, cause)),
        _ => Ok(()),
    }
}
