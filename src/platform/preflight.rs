//! What must be there before the platform starts; whatever is not is said with what to do about it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::Programs;
use super::account::{Account, AccountError};
use super::install::{self, Idle, WhyClosed};
use super::port::{self, Unavailable};
use super::tool;
use crate::model::ByteSize;
use crate::settings::{Settings, SshServer};
use crate::store::{SqliteStore, StoreError};

/// The first git whose `receive-pack` knows the `proc-receive` hook.
const OLDEST_GIT: GitVersion = GitVersion(2, 29);
/// A build needs room for a builder's layers and a slug; with less than this the first one fails half-way.
const LEAST_FREE: ByteSize = ByteSize::mib(1024);

/// One thing that is in the way.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error("Docker is not there: {path} does not exist", path = .0.display())]
    NoDocker(PathBuf),
    #[error("Docker does not answer at {socket}", socket = .socket.display())]
    DockerSilent {
        socket: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("this user may not use Docker's socket {path}", path = .0.display())]
    DockerForbidden(PathBuf),
    #[error("Docker's socket {path} is for root alone, so the platform's user cannot use it", path = .0.display())]
    DockerForRootAlone(PathBuf),
    #[error("the program `{0}` is not installed")]
    Missing(&'static str),
    #[error("git {found} is too old")]
    GitTooOld { found: GitVersion },
    #[error("port {address} is taken{holder}", address = .address, holder = by(.holder.as_deref()))]
    PortTaken { part: Part, address: SocketAddr, holder: Option<String> },
    #[error("{part} cannot listen on {address}: {reason}")]
    PortRefused { part: Part, address: SocketAddr, reason: String },
    #[error("the disk of {place} is nearly full: {free} are free", place = .place.display())]
    DiskFull { place: PathBuf, free: ByteSize },
    #[error("`paas-receive` is not beside `paas`: {path} does not exist", path = .0.display())]
    NoReceive(PathBuf),
    #[error("sshd would refuse to run {program}: {part} is not root's alone to change", program = .program.display(), part = .part.display())]
    UnsafeReceive { program: PathBuf, part: PathBuf },
    #[error("{path} cannot stand in a configuration: use only letters, digits and any of `/._+@-`", path = .0.display())]
    OddPath(PathBuf),
    #[error("the platform's user cannot reach {place}: {closed} is closed to it", place = .place.display(), closed = .closed.display())]
    OutOfReach { place: PathBuf, closed: PathBuf },
    #[error("this machine's sshd lets nobody in by {path}", path = .path.display())]
    DoorClosed {
        path: PathBuf,
        #[source]
        why: WhyClosed,
    },
    #[error(transparent)]
    Store(StoreError),
    #[error(transparent)]
    Account(AccountError),
}

/// A part of the platform that listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Engine,
    Sshd,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Engine => "the root engine",
            Self::Sshd => "sshd",
        })
    }
}

impl Part {
    fn flag(self) -> &'static str {
        match self {
            Self::Engine => "--engine-port",
            Self::Sshd => "--ssh-port",
        }
    }
}

fn by(holder: Option<&str>) -> String {
    holder.map(|who| format!(" by {who}")).unwrap_or_default()
}

impl Problem {
    /// What to do about it.
    pub fn advice(&self) -> String {
        match self {
            Self::NoDocker(_) => "install Docker (on Debian: `apt-get install docker.io`) and start it, or name its socket with PAAS_DOCKER_SOCKET".to_owned(),
            Self::DockerSilent { .. } => "start Docker (`systemctl start docker`)".to_owned(),
            Self::DockerForbidden(_) => "`sudo usermod -aG docker $USER`, then log in again; or start the platform as root".to_owned(),
            Self::DockerForRootAlone(_) => "give the socket to a group, as Docker's packages do: `groupadd docker`, then restart Docker".to_owned(),
            Self::Missing(program) => format!("on Debian: `apt-get install {}`", package_of(program)),
            Self::GitTooOld { .. } => format!("install git {OLDEST_GIT} or newer"),
            Self::PortTaken { part, .. } => {
                format!("end that program, or choose another port with `{} N`", part.flag())
            }
            Self::PortRefused { part, .. } => {
                format!("choose another port with `{} N` (below 1024 they are root's), or check the address in config.yml", part.flag())
            }
            Self::DiskFull { .. } => format!("free some space, at least {LEAST_FREE}; `docker system df` shows what Docker holds"),
            Self::NoReceive(_) => "install both programs into one directory (`make install`)".to_owned(),
            Self::UnsafeReceive { .. } => "install the programs as root (`sudo make install`) and start `/usr/local/bin/paas up`".to_owned(),
            Self::OddPath(_) => "install the programs somewhere else, such as /usr/local/bin".to_owned(),
            Self::OutOfReach { closed, .. } => {
                format!("`chmod o+x {}`, or choose a place such as /var/lib/paas or /usr/local/bin", closed.display())
            }
            Self::DoorClosed { why: WhyClosed::Idle(Idle::NotInEffect(_)), path } => format!(
                "put `Include {}/*.conf` at the top of sshd's configuration, before any `Match`",
                path.parent().unwrap_or(path).display()
            ),
            Self::DoorClosed { why: WhyClosed::Idle(Idle::Refused(_)), .. } => "mend sshd's configuration: `sshd -t` says where".to_owned(),
            Self::DoorClosed { .. } => {
                "`sudo paas install`; or `server: own` in the section `ssh` of config.yml, for an sshd of the platform's own".to_owned()
            }
            Self::Store(StoreError::TooNew { .. }) => "use the version of `paas` that wrote it, or a newer one".to_owned(),
            Self::Store(_) => "see what the file system says about it".to_owned(),
            Self::Account(AccountError::Nameless(_)) => "start the platform as a user of this machine".to_owned(),
            Self::Account(_) => "choose another user with `--user NAME`".to_owned(),
        }
    }
}

fn package_of(program: &str) -> &str {
    match program {
        "sshd" | "ssh-keygen" => "openssh-server",
        "setpriv" => "util-linux",
        "useradd" | "usermod" => "passwd",
        other => other,
    }
}

/// Looks at everything and gives all that is in the way; nothing is changed.
pub(super) async fn check(settings: &Settings, programs: &Programs, as_root: bool) -> Vec<Problem> {
    let mut problems = Vec::new();
    let needed: &[&'static str] = if as_root {
        &["sshd", "ssh-keygen", "setpriv", "useradd", "usermod"]
    } else {
        &["sshd", "ssh-keygen", "setpriv"]
    };
    problems.extend(needed.iter().filter(|program| tool::find(program).is_none()).map(|p| Problem::Missing(p)));
    problems.extend(git().await);
    problems.extend(docker(&settings.docker.socket, as_root).await);
    problems.extend(programs_are_safe(programs));
    problems.extend(ports(settings));
    if settings.ssh.server == SshServer::Host {
        problems.extend(install::door_is_open(settings, programs, as_root).await.err());
    }
    problems.extend(disk(settings.home.path()));
    problems.extend(store(settings));
    if as_root {
        let account = Account::existing(&settings.user, settings.home.path()).await;
        problems.extend(account.err().map(Problem::Account));
        problems.extend([settings.home.path(), &programs.paas].into_iter().filter_map(reachable));
    }
    problems
}

/// git's version, of which the first two numbers matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct GitVersion(u32, u32);

impl fmt::Display for GitVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl GitVersion {
    /// From what `git --version` prints: `git version 2.39.5 (…)`.
    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.strip_prefix("git version ")?.split(['.', ' ', '\n']);
        Some(Self(numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    }
}

async fn git() -> Option<Problem> {
    let Ok(text) = tool::run("git", ["--version"]).await else { return Some(Problem::Missing("git")) };
    let found = GitVersion::parse(&text)?;
    (found < OLDEST_GIT).then_some(Problem::GitTooOld { found })
}

async fn docker(socket: &Path, as_root: bool) -> Option<Problem> {
    let place = || socket.to_owned();
    match tokio::net::UnixStream::connect(socket).await {
        Ok(_) => {}
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Some(Problem::NoDocker(place())),
        Err(denied) if denied.kind() == io::ErrorKind::PermissionDenied => {
            return Some(Problem::DockerForbidden(place()));
        }
        Err(cause) => return Some(Problem::DockerSilent { socket: place(), cause }),
    }
    let found = std::fs::metadata(socket).ok()?;
    let for_a_group = found.gid() != 0 && found.permissions().mode() & 0o060 == 0o060;
    (as_root && !for_a_group).then(|| Problem::DockerForRootAlone(place()))
}

/// Both programs are there; sshd runs only what nobody but root can have changed.
fn programs_are_safe(programs: &Programs) -> Option<Problem> {
    let receive = &programs.receive;
    if !receive.is_file() {
        return Some(Problem::NoReceive(receive.clone()));
    }
    if let Some(odd) = [&programs.paas, receive].into_iter().find(|path| !is_plain(path)) {
        return Some(Problem::OddPath(odd.clone()));
    }
    let part = receive.ancestors().find(|part| !is_roots_alone(part))?;
    Some(Problem::UnsafeReceive { program: receive.clone(), part: part.to_owned() })
}

fn is_plain(path: &Path) -> bool {
    path.to_str().is_some_and(|text| text.chars().all(|c| c.is_ascii_alphanumeric() || "/._+@-".contains(c)))
}

fn is_roots_alone(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.uid() == 0 && found.permissions().mode() & 0o022 == 0)
}

fn ports(settings: &Settings) -> Vec<Problem> {
    let engine = (Part::Engine, SocketAddr::new(settings.engine.listen, settings.engine.port));
    let sshd = (Part::Sshd, SocketAddr::new(settings.ssh.listen, settings.ssh.port));
    // The host's sshd holds its port already, if it runs.
    let sshd = (settings.ssh.server == SshServer::Own).then_some(sshd);
    let problem = |(part, address)| match port::check(address) {
        Ok(()) => None,
        Err(Unavailable::Taken(holder)) => Some(Problem::PortTaken { part, address, holder }),
        Err(Unavailable::Refused(reason)) => Some(Problem::PortRefused { part, address, reason }),
    };
    [engine].into_iter().chain(sshd).filter_map(problem).collect()
}

fn disk(home: &Path) -> Option<Problem> {
    let place = home.ancestors().find(|place| place.exists())?;
    let found = rustix::fs::statvfs(place).ok()?;
    disk_of(place, ByteSize::new(found.f_bavail.saturating_mul(found.f_frsize)))
}

fn disk_of(place: &Path, free: ByteSize) -> Option<Problem> {
    (free < LEAST_FREE).then(|| Problem::DiskFull { place: place.to_owned(), free })
}

/// A store that is there can be opened: it may be from a newer version.
fn store(settings: &Settings) -> Option<Problem> {
    let place = settings.home.store();
    if SqliteStore::is_in(&place) { SqliteStore::open(&place).err().map(Problem::Store) } else { None }
}

/// Everything above `place` that exists lets any user through.
fn reachable(place: &Path) -> Option<Problem> {
    let closed = place.ancestors().skip(1).find(|above| {
        std::fs::metadata(above).is_ok_and(|found| found.is_dir() && found.permissions().mode() & 0o001 == 0)
    })?;
    Some(Problem::OutOfReach { place: place.to_owned(), closed: closed.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_is_new_enough_from_2_29_on() {
        let debian = GitVersion::parse("git version 2.39.5\n").unwrap();
        let old = GitVersion::parse("git version 2.9.1 (Apple Git-1)").unwrap();
        assert!(debian > OLDEST_GIT && old < OLDEST_GIT);
        assert_eq!(GitVersion::parse("command not found"), None);
        assert!(Problem::GitTooOld { found: old }.advice().contains("2.29"));
    }

    #[tokio::test]
    async fn docker_that_is_not_there_is_told_from_docker_that_is_silent() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("docker.sock");
        assert!(matches!(docker(&socket, false).await, Some(Problem::NoDocker(_))));
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        let silent = docker(&socket, false).await.unwrap();
        assert!(silent.to_string().contains("does not answer") && silent.advice().contains("start"), "{silent}");
    }

    #[test]
    fn a_taken_port_is_said_with_its_holder_and_the_flag_that_changes_it() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut settings = Settings::load(Some("/nonexistent".into()), std::iter::empty()).unwrap();
        settings.ssh.port = listener.local_addr().unwrap().port();
        settings.engine.port = 0;
        let problems = ports(&settings);
        let [problem] = &problems[..] else { panic!("{problems:?}") };
        assert!(problem.to_string().contains(&std::process::id().to_string()), "{problem}");
        assert!(problem.advice().contains("--ssh-port"));
    }

    #[test]
    fn a_disk_is_nearly_full_below_a_gibibyte() {
        assert!(disk_of(Path::new("/"), ByteSize::mib(1024)).is_none());
        let full = disk_of(Path::new("/srv"), ByteSize::mib(512)).unwrap().to_string();
        assert!(full.contains("/srv") && full.contains("512 MiB"), "{full}");
    }

    #[test]
    fn a_program_that_others_could_change_is_not_shown_to_sshd() {
        // Anybody may write to the directory for temporary files.
        let directory = tempfile::tempdir().unwrap();
        let programs = Programs::in_directory(directory.path());
        assert!(matches!(programs_are_safe(&programs), Some(Problem::NoReceive(_))));
        std::fs::write(&programs.receive, "").unwrap();
        let problem = programs_are_safe(&programs);
        assert!(matches!(&problem, Some(Problem::UnsafeReceive { .. })), "{problem:?}");
    }

    #[test]
    fn a_place_behind_a_closed_directory_is_out_of_reach() {
        let directory = tempfile::tempdir().unwrap();
        let closed = directory.path().join("closed");
        std::fs::create_dir(&closed).unwrap();
        std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).unwrap();
        match reachable(&closed.join("paas")) {
            // The temporary directory itself is its owner's alone.
            Some(Problem::OutOfReach { closed: at, .. }) => assert!(closed.starts_with(at)),
            other => panic!("{other:?}"),
        }
        assert!(reachable(Path::new("/usr/bin/env")).is_none());
    }
}
