//! Where the platform keeps things on the receive host.

use std::path::{Path, PathBuf};

use crate::model::{AppName, TenantName};

/// The platform's directory. When `paas up` runs as root, it belongs to root, and so does `ssh/`: what sshd trusts
/// must not be writable by the user it serves. The rest belongs to that user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home(PathBuf);

impl Home {
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }
    pub fn path(&self) -> &Path {
        &self.0
    }
    pub fn config(&self) -> PathBuf {
        self.0.join("config.yml")
    }
    /// What `paas install` found out about this machine, in the form of the configuration, which wins over it.
    pub fn installed(&self) -> PathBuf {
        self.0.join("installed.yml")
    }
    /// What the last `paas up` was told by flags and variables, in the form of the configuration.
    pub fn started_with(&self) -> PathBuf {
        self.0.join("started-with.yml")
    }
    /// The store's directory: the SQLite file and its leases.
    pub fn store(&self) -> PathBuf {
        self.0.join("store")
    }
    pub fn repositories(&self) -> PathBuf {
        self.0.join("repositories")
    }
    /// The bare repository of an app. Both parts are validated names, so it cannot be anywhere else.
    pub fn repository(&self, tenant: &TenantName, app: &AppName) -> PathBuf {
        self.repositories().join(tenant.as_str()).join(format!("{app}.git"))
    }
    /// Repositories of single pushes whose pushers may not see the app's own.
    pub fn letterboxes(&self) -> PathBuf {
        self.0.join("letterboxes")
    }
    /// Build logs, one file per build, in a directory per app.
    pub fn build_logs(&self, tenant: &TenantName, app: &AppName) -> PathBuf {
        self.logs().join(tenant.as_str()).join(app.as_str())
    }
    /// All build logs.
    pub fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }
    /// State of the root engine.
    pub fn root_engine(&self) -> PathBuf {
        self.0.join("engines").join("root")
    }
    /// State of all tenants' engines.
    pub fn tenant_engines(&self) -> PathBuf {
        self.0.join("engines").join("tenants")
    }
    /// State of a tenant's engine.
    pub fn tenant_engine(&self, tenant: &TenantName) -> PathBuf {
        self.tenant_engines().join(tenant.as_str())
    }
    /// `user:password` of the root engine; mode 0600.
    pub fn root_credentials(&self) -> PathBuf {
        self.0.join("engines").join("root.credentials")
    }
    /// git's hooks, as `core.hooksPath` names them.
    pub fn hooks(&self) -> PathBuf {
        self.0.join("ssh").join("hooks")
    }
    /// sshd's configuration, host key and log.
    pub fn ssh(&self) -> PathBuf {
        self.0.join("ssh")
    }
    /// Who changed what.
    pub fn audit(&self) -> PathBuf {
        self.0.join("audit")
    }
    /// Locks and process ids of the running platform.
    pub fn run(&self) -> PathBuf {
        self.0.join("run")
    }
    /// What a platform in the background tells.
    pub fn log(&self) -> PathBuf {
        self.run().join("up.log")
    }
}
