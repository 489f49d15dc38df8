//! What a repository says about itself: `paas.yml` and the `Procfile`.
//!
//! Both come from whoever may push, so everything in them is checked here and is only data afterwards: no value is ever
//! part of a shell's command on the host. What is not said stays unsaid (`None`); its default is for whoever runs the
//! app to choose.

mod procfile;
mod sections;
mod values;
mod yaml;

use std::collections::BTreeMap;

use crate::model::{AppName, Period, ProcessType, Secret, TenantName};

pub use procfile::{Procfile, ProcfileError};
pub use values::{Constraint, Domain, InvalidConstraint, InvalidDomain};

/// Its file in the repository's root.
pub const MANIFEST_FILE: &str = "paas.yml";
/// Its file in the repository's root.
pub const PROCFILE_FILE: &str = "Procfile";
/// Longest text that is read, in bytes, of either file: some thousand times what a real one has.
pub const MAX_BYTES: usize = 1 << 20;

/// `paas.yml`. Everything in it is optional.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Manifest {
    /// Default: the name in the push URL.
    pub app: Option<AppName>,
    /// A deploy token.
    pub token: Option<Secret>,
    pub build: Build,
    pub processes: BTreeMap<ProcessType, Process>,
    /// A command that runs once, before any new instance.
    pub release: Option<String>,
    /// Not secret; config vars win. The names are names of variables, the values hold no NUL.
    pub env: BTreeMap<String, String>,
    pub domains: Option<Vec<Domain>>,
    /// What is different for one tenant; these have no `app` and no `tenants` of their own.
    tenants: BTreeMap<TenantName, Manifest>,
}

/// How the slug is made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Build {
    /// Default: a Dockerfile in the root decides.
    pub builder: Option<Builder>,
    /// URLs, of which `#…` names a version; none holds white space.
    pub buildpacks: Option<Vec<String>>,
    /// As [`Manifest::env`], for the build alone.
    pub env: BTreeMap<String, String>,
    pub timeout: Option<Period>,
    /// Where the Dockerfile is: a path in the tree. Said at all, it chooses that builder.
    pub dockerfile: Option<String>,
    /// The stage of the Dockerfile that is built; default: the last. Said at all, it chooses that builder.
    pub target: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Builder {
    Buildstep,
    Dockerfile,
}

/// A process type.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Process {
    /// Default: the Procfile's.
    pub command: Option<String>,
    pub instances: Option<u32>,
    /// Shares of a CPU, more than 0.
    pub cpus: Option<f64>,
    /// MiB.
    pub mem: Option<u64>,
    /// Said at all, it asks for a check, be it with defaults alone.
    pub health: Option<Health>,
    /// Between SIGTERM and SIGKILL; whole seconds.
    pub stop_timeout: Option<Period>,
    pub constraints: Option<Vec<Constraint>>,
}

/// How an instance shows that it serves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Health {
    /// An HTTP path, which begins with `/`; without one a connection is enough.
    pub path: Option<String>,
    /// Whole seconds, at least one.
    pub interval: Option<Period>,
    /// Whole seconds.
    pub grace: Option<Period>,
    /// How many in a row end the instance; at least one.
    pub failures: Option<u32>,
}

/// Why a text is no `paas.yml`. One line, fit for git's ref line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    #[error("paas.yml is too large: {bytes} bytes, at most {MAX_BYTES}")]
    TooLarge { bytes: usize },
    #[error("paas.yml is no UTF-8 text")]
    NotText,
    /// Lines and columns count from 1. Where the text as a whole is wrong there is no place.
    #[error("paas.yml{}: {reason}", Place(*.place))]
    Wrong { place: Option<(usize, usize)>, reason: String },
}

struct Place(Option<(usize, usize)>);

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some((line, column)) => write!(f, " line {line}, column {column}"),
            None => Ok(()),
        }
    }
}

impl Manifest {
    /// Reads the file as it is in the repository.
    pub fn read(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() > MAX_BYTES {
            return Err(ManifestError::TooLarge { bytes: bytes.len() });
        }
        Self::parse(std::str::from_utf8(bytes).map_err(|_| ManifestError::NotText)?)
    }

    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        if text.len() > MAX_BYTES {
            return Err(ManifestError::TooLarge { bytes: text.len() });
        }
        yaml::read(text.strip_prefix('\u{feff}').unwrap_or(text))
    }

    /// The tenants that something is different for.
    pub fn tenants(&self) -> impl Iterator<Item = &TenantName> {
        self.tenants.keys()
    }

    /// What counts for this tenant: its overlay, where it has one, over the rest. Maps are laid over each other key by
    /// key; a list or a single value takes the other's place.
    #[must_use]
    pub fn for_tenant(&self, tenant: &TenantName) -> Self {
        let base = Self { tenants: BTreeMap::new(), ..self.clone() };
        match self.tenants.get(tenant) {
            Some(overlay) => overlay.clone().over(base),
            None => base,
        }
    }

    fn over(self, base: Self) -> Self {
        let mut processes = base.processes;
        for (name, process) in self.processes {
            let below = processes.remove(&name).unwrap_or_default();
            processes.insert(name, process.over(below));
        }
        Self {
            app: self.app.or(base.app),
            token: self.token.or(base.token),
            build: self.build.over(base.build),
            processes,
            release: self.release.or(base.release),
            env: merged(self.env, base.env),
            domains: self.domains.or(base.domains),
            tenants: BTreeMap::new(),
        }
    }
}

impl Build {
    fn over(self, base: Self) -> Self {
        Self {
            builder: self.builder.or(base.builder),
            buildpacks: self.buildpacks.or(base.buildpacks),
            env: merged(self.env, base.env),
            timeout: self.timeout.or(base.timeout),
            dockerfile: self.dockerfile.or(base.dockerfile),
            target: self.target.or(base.target),
        }
    }
}

impl Process {
    fn over(self, base: Self) -> Self {
        Self {
            command: self.command.or(base.command),
            instances: self.instances.or(base.instances),
            cpus: self.cpus.or(base.cpus),
            mem: self.mem.or(base.mem),
            health: match (self.health, base.health) {
                (Some(health), Some(below)) => Some(health.over(below)),
                (health, below) => health.or(below),
            },
            stop_timeout: self.stop_timeout.or(base.stop_timeout),
            constraints: self.constraints.or(base.constraints),
        }
    }
}

impl Health {
    fn over(self, base: Self) -> Self {
        Self {
            path: self.path.or(base.path),
            interval: self.interval.or(base.interval),
            grace: self.grace.or(base.grace),
            failures: self.failures.or(base.failures),
        }
    }
}

fn merged(over: BTreeMap<String, String>, mut base: BTreeMap<String, String>) -> BTreeMap<String, String> {
    base.extend(over);
    base
}

#[cfg(test)]
mod tests;
