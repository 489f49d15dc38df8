//! What the operator decided: `config.yml` in the platform's home, overridden by `PAAS_*` variables.
//!
//! The environment and the file are read here, once, into values; below this everything is an argument.

mod draft;
mod home;
mod load;

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use crate::model::{ByteSize, HttpsHost, Period};

pub use draft::{AccountName, SshServer};
pub use home::Home;
pub use load::{EXAMPLE, Overrides, SettingsError};

/// All settings, each with its default filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub home: Home,
    /// The system user that owns repositories and runs everything but sshd, when `paas up` runs as root.
    pub user: String,
    pub docker: DockerSettings,
    pub ssh: SshSettings,
    pub engine: EngineSettings,
    pub marathon: MarathonSettings,
    /// Slugs are pushed there and released by digest; without one they are released by image id.
    pub registry: Option<RegistrySettings>,
    pub build: BuildSettings,
    pub builds: BuildsSettings,
    pub limits: Limits,
    pub deploy: DeploySettings,
    pub keep: KeepSettings,
}

#[derive(Debug, Clone, PartialEq)]
pub struct DockerSettings {
    /// Default `/var/run/docker.sock`.
    pub socket: PathBuf,
}

#[derive(Debug, Clone, PartialEq)]
pub struct SshSettings {
    /// Default [`SshServer::Own`].
    pub server: SshServer,
    /// The configuration of the host's own sshd, which lets people in with [`SshServer::Host`]; default
    /// `/etc/ssh/sshd_config`.
    pub config: PathBuf,
    /// Default `127.0.0.1`.
    pub listen: IpAddr,
    /// Default 2222.
    pub port: u16,
    /// The name people reach the receive host by, for the remotes that are printed; default: `listen`, or this
    /// machine's name when that is every address.
    pub host: String,
    /// A key that nobody knows may redeem a join token, and nothing else; default: true.
    pub newcomers: bool,
}

/// The one-machine engine: the root's, and what tenants' engines inherit.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineSettings {
    /// Where the root engine listens; default `127.0.0.1`.
    pub listen: IpAddr,
    /// Default 8080.
    pub port: u16,
    /// The address that instances' ports are published on, and that tasks name as their host; default `127.0.0.1`.
    pub address: IpAddr,
    /// Host ports for instances; default 31000 to 32999.
    pub ports: RangeInclusive<u16>,
}

/// The root Marathon.
#[derive(Debug, Clone, PartialEq)]
pub struct MarathonSettings {
    /// Default: the root engine's address.
    pub url: String,
    /// `user:password`; default: the root engine's own, made by `paas up` (`Home::root_credentials`).
    pub credentials: Option<crate::model::Secret>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct RegistrySettings {
    /// `host[:port]`, as it stands in image names; plain HTTP is Docker's to allow.
    pub host: String,
    pub credentials: Option<crate::model::Secret>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct BuildSettings {
    /// The builder image; default `paas/stack:12`, which `paas stack build` makes.
    pub image: String,
    /// A CA bundle of the host that build containers get too; for users behind a proxy with its own CA. Default: none.
    pub ca_bundle: Option<PathBuf>,
    /// Default 15 min.
    pub timeout: Period,
    /// Default 2 GiB.
    pub memory: ByteSize,
    /// Default: no limit.
    pub cpus: Option<f64>,
    /// Default 1024.
    pub processes: u32,
    /// What one may write to its container, its cache not counted. Default 10 GiB.
    pub disk: ByteSize,
    /// From where builds fetch submodules, over https alone. Default: from nowhere.
    pub submodule_hosts: Vec<HttpsHost>,
}

/// All builds of this host together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuildsSettings {
    /// How many run at once; the others wait for their turn, whatever tenant they are of. Default: as many as this machine
    /// has CPUs.
    pub parallel: NonZeroU32,
}

/// What a push may be at most.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Default 6 GiB.
    pub pack: ByteSize,
    /// Default 200 000.
    pub files: u64,
    /// Default 8 GiB.
    pub unpacked: ByteSize,
    /// No build begins with less than this free on the disk of Docker or of the repositories. Default 1 GiB.
    pub free: ByteSize,
}

#[derive(Debug, Clone, PartialEq)]
pub struct DeploySettings {
    /// How long a release may take until it serves; Marathon's deployments never time out. Default 5 min.
    pub deadline: Period,
    /// How long an instance without a check must stay up to count as serving. Default 1 s.
    pub settle: Period,
    /// How often a new instance may end or be found unhealthy before the release has failed. Default 2.
    pub retries: u32,
    /// How long a push waits for another one of the same app to end, and for its turn to build. Default 1 h.
    pub patience: Period,
}

/// What is kept on this machine of what is no longer needed to serve, and how often the rest is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepSettings {
    /// Slugs of each app, the newest; always those of the release that serves and of the one before it. Default 5.
    pub slugs: u32,
    /// Builds of each app, with their logs; always those of the two releases. Default 50.
    pub builds: u32,
    /// A build that began longer ago goes, however few there are. Default 2160 h, which is 90 days.
    pub build_age: Period,
    /// How often a platform that is up sweeps. Default 1 h.
    pub every: Period,
}
