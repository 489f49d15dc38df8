//! `paas install`: a machine becomes a receive host whose own sshd lets registered keys in, and whose systemd runs
//! `paas up`; `paas uninstall` takes that back.
//!
//! Every step looks first and does what is missing, so a second run changes nothing and a broken-off one is finished by
//! the next. The door opens when what it leads to is there; last comes `paas up`, which looks whether the
//! door is open.

mod drop_in;
mod marked;
mod systemd;
mod undo;
mod unit;

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use drop_in::{Idle, WhyClosed};
pub use undo::{Uninstalled, uninstall};

use super::account::{Account, AccountError};
use super::layout::{self, LayoutError};
use super::preflight::{self, Problem};
use super::tool::{self, ToolError};
use super::{Programs, presence, sshd};
use crate::accounts::authorized_keys::{
    self, AuthorizedKeysFileError, MADE_BY_INSTALL, authorized_keys_file, write_authorized_keys,
};
use crate::accounts::keys::{self, KeyError};
use crate::settings::{Overrides, Settings, SettingsError, SshServer};
use crate::store::{SqliteStore, StoreError};
use drop_in::{Door, HostSshd};
use marked::Marked;
use systemd::Services;

/// How sshd learns which keys there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeysBy {
    /// It asks `paas-receive` at each connection.
    Command,
    /// From `authorized_keys`, for sites that forbid that.
    File,
}

/// What a step did, or would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Did {
    Made,
    Changed,
    Removed,
    /// It is as it should be.
    #[serde(rename = "unchanged")]
    Nothing,
}

/// One thing that is to be there, or gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    pub what: String,
    pub did: Did,
}

/// What was installed, or would be.
#[derive(Debug, Serialize)]
pub struct Installed {
    pub user: String,
    pub home: PathBuf,
    pub keys: KeysBy,
    pub dry_run: bool,
    /// Whether any step did something.
    pub changed: bool,
    pub steps: Vec<Step>,
    /// What is left for somebody to do.
    pub by_hand: Vec<String>,
}

/// Why the machine is not as it should be. What was done before stays, and the next run goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    #[error("this needs root: it makes a system user, and writes where sshd and systemd read")]
    NotRoot,
    #[error("{} things are in the way", .0.len())]
    InTheWay(Vec<Problem>),
    #[error("{path} is there and was not made by `paas install`", path = .0.display())]
    Foreign(PathBuf),
    #[error("{path} cannot be read, written or removed", path = .path.display())]
    File {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("sshd does not take its own configuration, without any change of ours")]
    BrokenSshd(#[source] ToolError),
    #[error("sshd refuses {path}, which was taken back", path = .path.display())]
    Refused {
        path: PathBuf,
        #[source]
        cause: ToolError,
    },
    #[error("sshd does not do what {path} says, so it was taken back: `{option}` is not in effect", path = .path.display())]
    NotInEffect { path: PathBuf, config: PathBuf, option: String },
    #[error("cannot make {path}, which sshd needs", path = .path.display())]
    PrivilegeSeparation {
        path: &'static Path,
        #[source]
        cause: io::Error,
    },
    #[error("systemd did not do what it was told")]
    Systemd(#[source] ToolError),
    #[error("sshd's configuration {path} names no address to listen on", path = .0.display())]
    Nowhere(PathBuf),
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    KeysFile(#[from] AuthorizedKeysFileError),
    #[error(transparent)]
    Keys(#[from] KeyError),
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("the platform could not be ended")]
    Down(#[from] super::DownError),
    #[error("what the platform has in Docker could not be removed")]
    Docker(#[from] crate::docker::DockerError),
    #[error("there is no platform in {home}", home = .0.display())]
    NoPlatform(PathBuf),
    #[error("the user `{name}` could not be removed")]
    User {
        name: String,
        #[source]
        cause: ToolError,
    },
}

/// What is to be installed, and where.
#[derive(Debug)]
pub struct Installation<'a> {
    pub settings: &'a Settings,
    pub programs: &'a Programs,
    /// What `/etc` is in: `/`, except in tests.
    pub root: &'a Path,
    pub keys: KeysBy,
}

impl Installation<'_> {
    /// Makes this machine a receive host; with `dry_run` it only says what it would do.
    pub async fn make(&self, dry_run: bool) -> Result<Installed, InstallError> {
        let ssh = HostSshd::of(self.settings, self.root);
        let address = self.check(&ssh).await?;
        let mut done = Steps::default();
        let account = self.account(dry_run, &mut done).await?;
        self.home(account.as_ref(), &mut done)?;
        self.keys_file(account.as_ref(), &mut done).await?;
        self.door(&ssh, dry_run, &mut done).await?;
        let found = self.found(&ssh, address, dry_run, &mut done)?;
        self.unit(found, dry_run, &mut done).await?;
        // One of another way to install is read by nobody any more.
        if self.keys == KeysBy::Command && undo::keys_file(self.home_path(), dry_run)? == Did::Removed {
            done.add(authorized_keys_file(self.home_path()).display(), Did::Removed);
        }
        Ok(Installed {
            user: self.settings.user.clone(),
            home: self.home_path().to_owned(),
            keys: self.keys,
            dry_run,
            changed: done.steps.iter().any(|step| step.did != Did::Nothing),
            steps: done.steps,
            by_hand: done.by_hand,
        })
    }

    fn home_path(&self) -> &Path {
        self.settings.home.path()
    }

    fn unit_file(&self) -> Marked {
        let Settings { home, user, .. } = self.settings;
        Marked { path: unit::path(self.root), text: unit::text(home, user, &self.programs.paas) }
    }

    fn door_of(&self) -> Door<'_> {
        let Settings { home, user, .. } = self.settings;
        Door { user, home, receive: &self.programs.receive, keys: self.keys }
    }

    /// Looks at everything that could stop the rest half-way; changes nothing of the machine. Gives where sshd listens.
    async fn check(&self, ssh: &HostSshd) -> Result<SocketAddr, InstallError> {
        if !rustix::process::geteuid().is_root() {
            return Err(InstallError::NotRoot);
        }
        let problems = preflight::check(self.settings, self.programs, true).await;
        // `paas up` may be running already; its ports matter when it starts. The door is what comes now.
        let is_ours = |problem: &Problem| {
            !matches!(problem, Problem::PortTaken { .. } | Problem::PortRefused { .. } | Problem::DoorClosed { .. })
        };
        let problems: Vec<Problem> = problems.into_iter().filter(is_ours).collect();
        if !problems.is_empty() {
            return Err(InstallError::InTheWay(problems));
        }
        self.unit_file().state()?;
        ssh.file(&self.door_of()).state()?;
        marked::read(&self.settings.home.installed())?;
        authorized_keys::is_kept(self.home_path())?;
        let path = Path::new(sshd::PRIVILEGE_SEPARATION);
        std::fs::create_dir_all(path).map_err(|cause| InstallError::PrivilegeSeparation { path, cause })?;
        ssh.check().await?;
        ssh.address().await
    }

    /// The system user; nothing where there is none and none is to be made.
    async fn account(&self, dry_run: bool, done: &mut Steps) -> Result<Option<Account>, InstallError> {
        let (name, home) = (&self.settings.user, self.home_path());
        let what = format!("user `{name}`");
        let there = Account::existing(name, home).await?;
        if dry_run {
            done.add(what, if there.is_some() { Did::Nothing } else { Did::Made });
            return Ok(None);
        }
        let before = known_of(name).await;
        let socket = &self.settings.docker.socket;
        let group = std::fs::metadata(socket).map_err(|cause| marked::failed(socket, cause))?.gid();
        let account = Account::ensure(name, home, group).await?;
        let same = before == known_of(name).await;
        done.add(
            what,
            if there.is_none() {
                Did::Made
            } else if same {
                Did::Nothing
            } else {
                Did::Changed
            },
        );
        Ok(Some(account))
    }

    /// The directories, the store in them, and the configuration, which is never written over.
    fn home(&self, account: Option<&Account>, done: &mut Steps) -> Result<(), InstallError> {
        let home = &self.settings.home;
        let had = (SqliteStore::is_in(&home.store()), home.config().exists());
        if let Some(account) = account {
            layout::directories(home, account)?;
            // Made as root, it gets the owner of its directory.
            SqliteStore::open(&home.store())?;
            layout::configuration(home, account)?;
        }
        let did = |had: bool| if had { Did::Nothing } else { Did::Made };
        done.add(home.path().display(), did(had.0));
        done.add(home.config().display(), did(had.1));
        Ok(())
    }

    /// The file of keys, where sshd is to read one.
    async fn keys_file(&self, account: Option<&Account>, done: &mut Steps) -> Result<(), InstallError> {
        if self.keys == KeysBy::Command {
            return Ok(());
        }
        let (home, receive) = (self.home_path(), &self.programs.receive);
        let path = authorized_keys_file(home);
        if let (Some(account), Some(directory)) = (account, path.parent()) {
            own_directory(directory, account).map_err(|cause| marked::failed(directory, cause))?;
        }
        let store = self.settings.home.store();
        let store = if SqliteStore::is_in(&store) { Some(SqliteStore::open(&store)?) } else { None };
        let keys = match &store {
            Some(store) => keys::list(store).await?,
            None => Vec::new(),
        };
        let did = match std::fs::read_to_string(&path) {
            Ok(found)
                if found == authorized_keys::text(&keys, home, receive).map_err(AuthorizedKeysFileError::from)? =>
            {
                Did::Nothing
            }
            Ok(_) => Did::Changed,
            Err(_none) => Did::Made,
        };
        if let (Some(_), Some(store), true) = (account, &store, did != Did::Nothing) {
            write_authorized_keys(store, home, receive).await?;
        }
        done.add(path.display(), did);
        Ok(())
    }

    /// The unit, and that it runs; `found` is what became of the settings that it is to go by.
    async fn unit(&self, found: Did, dry_run: bool, done: &mut Steps) -> Result<(), InstallError> {
        let file = self.unit_file();
        let did = if dry_run { file.state()? } else { file.write()? };
        done.add(file.path.display(), did);
        let serving = presence::serving(&self.settings.home).ok().flatten().is_some();
        match Services::of(self.root) {
            Services::Systemd => {
                let renewed = did == Did::Changed || found != Did::Nothing;
                run_by_systemd(renewed, serving, dry_run, done).await?;
            }
            Services::ByHand if !serving => done.by_hand.push(format!(
                "start `{} up --home {} --user {}` at each boot, as systemd does not run here",
                self.programs.paas.display(),
                self.home_path().display(),
                self.settings.user
            )),
            Services::ByHand if found != Did::Nothing => done.by_hand.push(
                "`paas down`, then start it as before, when it suits: it still serves by the settings of before"
                    .to_owned(),
            ),
            Services::ByHand => {}
        }
        Ok(())
    }

    /// What commands and `paas up` are to know of this machine's sshd.
    fn found(&self, ssh: &HostSshd, address: SocketAddr, dry_run: bool, done: &mut Steps) -> Result<Did, InstallError> {
        let found = Overrides::default().host_sshd(address, ssh.config.clone());
        let heading =
            format!("{MADE_BY_INSTALL}; `paas uninstall` takes it back. What config.yml says wins over what is here.");
        let file = Marked { path: self.settings.home.installed(), text: found.to_yaml_below(&heading) };
        let did = if dry_run { file.state()? } else { file.write()? };
        done.add(file.path.display(), did);
        if !dry_run {
            let effective = Settings::to_start_with(self.settings.home.clone(), &Overrides::default())?;
            done.by_hand.extend(overruled(&effective, address));
        }
        Ok(did)
    }

    async fn door(&self, ssh: &HostSshd, dry_run: bool, done: &mut Steps) -> Result<(), InstallError> {
        let door = self.door_of();
        if dry_run {
            let file = ssh.file(&door);
            done.add(file.path.display(), file.state()?);
            return Ok(());
        }
        let opened = ssh.open(&door).await?;
        done.add(ssh.drop_in.display(), opened.did);
        done.by_hand.extend(opened.remarks);
        tell_sshd(self.root, opened.did, &mut done.by_hand).await
    }
}

/// What to do where config.yml says otherwise than what was found, and so wins over it.
fn overruled(effective: &Settings, address: SocketAddr) -> Option<String> {
    let (config, ssh) = (effective.home.config(), &effective.ssh);
    let (config, port) = (config.display(), address.port());
    if ssh.server == SshServer::Own {
        Some(format!("take `server: own` out of {config}, or `paas up` starts an sshd of its own besides"))
    } else if ssh.port != port {
        let written = ssh.port;
        Some(format!(
            "take ssh's `port: {written}` out of {config}, unless something leads from there to sshd's {port}"
        ))
    } else {
        None
    }
}

/// Whether the host's own sshd lets people into this platform: what `paas up` relies on when it starts none.
pub(super) async fn door_is_open(settings: &Settings, programs: &Programs, as_root: bool) -> Result<(), Problem> {
    let ssh = HostSshd::with(settings.ssh.config.clone());
    let Settings { home, user, .. } = settings;
    if as_root {
        // At boot the machine's sshd may not have made it yet, nor at all before somebody connects, where it starts then.
        // When it cannot be made, sshd says what it lacks.
        let _ = std::fs::create_dir_all(sshd::PRIVILEGE_SEPARATION);
    }
    let door = Door { user, home, receive: &programs.receive, keys: KeysBy::Command };
    ssh.is_open(door, as_root).await.map_err(|why| Problem::DoorClosed { path: ssh.drop_in.clone(), why })
}

/// Lets systemd start the platform, now and at each boot. `renewed` when its unit or its settings are; the platform may
/// be `serving` already, also by somebody's own `paas up`, which is left alone.
async fn run_by_systemd(renewed: bool, serving: bool, dry_run: bool, done: &mut Steps) -> Result<(), InstallError> {
    let name = unit::NAME;
    let (enabled, running) = (systemd::starts_at_boot().await, systemd::runs().await);
    // Always, as an earlier run may have been broken off before systemd read the unit.
    if !dry_run {
        systemd::enable().await?;
    }
    done.add(format_args!("{name} starts at boot"), if enabled { Did::Nothing } else { Did::Made });
    match (running, serving) {
        (true, _) if renewed => {
            done.by_hand
                .push(format!("`systemctl restart {name}` when it suits: its unit or its settings are others now"));
        }
        (true, _) => {}
        (false, true) => {
            done.by_hand
                .push(format!("`paas down`, then `systemctl start {name}`: somebody's own `paas up` serves now"));
        }
        (false, false) => {
            if !dry_run {
                systemd::start().await?;
            }
            done.add(format_args!("{name} runs"), Did::Made);
        }
    }
    Ok(())
}

/// Lets the running sshd know. With systemd always, as an earlier run may have been broken off before it did.
async fn tell_sshd(root: &Path, did: Did, by_hand: &mut Vec<String>) -> Result<(), InstallError> {
    match Services::of(root) {
        Services::Systemd => systemd::reload_sshd().await?,
        Services::ByHand if did != Did::Nothing => {
            by_hand.push("let the running sshd read its configuration again: `kill -HUP` its first process".to_owned());
        }
        Services::ByHand => {}
    }
    Ok(())
}

#[derive(Debug, Default)]
struct Steps {
    steps: Vec<Step>,
    by_hand: Vec<String>,
}

impl Steps {
    fn add(&mut self, what: impl std::fmt::Display, did: Did) {
        self.steps.push(Step { what: what.to_string(), did });
    }
}

/// What this machine knows of a user: its numbers and groups, and whether it is locked.
async fn known_of(name: &str) -> [Option<String>; 2] {
    [tool::run("id", ["--", name]).await.ok(), tool::run("getent", ["shadow", "--", name]).await.ok()]
}

/// A directory of the account's, for nobody else's eyes. In a home of root's, so no link can be in its place.
fn own_directory(path: &Path, account: &Account) -> io::Result<()> {
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    std::os::unix::fs::chown(path, Some(account.uid), Some(account.gid))
}
