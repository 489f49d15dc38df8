//! What a push works with, from the settings and the accounts, and how it is told: the same for git's hooks and for the
//! commands that deploy.

mod terminal;

use std::sync::Arc;

use crate::accounts::access::{self, Action, Caller};
use crate::accounts::tenants::{self, TenantError};
use crate::docker::{Docker, Socket};
use crate::marathon;
use crate::model::{AppName, Secret, TenantName};
use crate::pipeline::{Builder, DeployRules, Permission, Platform, Readable, Registry, Tenancy};
use crate::settings::Settings;
use crate::store::{BoxedCause, SqliteStore, Store, StoreError};

pub use terminal::Terminal;

/// The branches that deploy, in the order in which they are looked for.
pub const DEPLOY_BRANCHES: [&str; 2] = ["refs/heads/main", "refs/heads/master"];

/// An app of a tenant, and who wants to bring it something.
#[derive(Debug)]
pub struct Delivery<'a> {
    pub settings: &'a Settings,
    pub caller: Caller,
    pub tenant: TenantName,
    pub app: AppName,
}

/// Why it is not known what a push would work with.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    #[error("the platform's store cannot be opened; its operator has to see to it: is the disk full?")]
    Store(#[source] StoreError),
    #[error("the tenant's quota cannot be looked up")]
    Quota(#[source] TenantError),
    #[error("the tenant's Marathon cannot be reached")]
    Marathon(#[source] BoxedCause),
}

/// Where slugs are published, if anywhere.
pub fn registry(settings: &Settings) -> Option<Registry> {
    let registry = settings.registry.as_ref()?;
    Some(Registry {
        host: registry.host.clone(),
        credentials: registry.credentials.clone(),
        patience: Registry::PATIENCE,
    })
}

impl Delivery<'_> {
    /// All that the pipeline works with. Whoever comes by a deploy token takes no other tenant's slugs: it is for its own.
    pub async fn platform(&self, token: Option<&Secret>) -> Result<Platform, DeliveryError> {
        let Settings { home, docker, build, builds, limits, deploy, .. } = self.settings;
        let store = SqliteStore::open(&home.store()).map_err(DeliveryError::Store)?;
        let tenancy = self.tenancy(&store).await?;
        Ok(Platform {
            store: Arc::new(store) as Arc<dyn Store>,
            docker: Docker::at(Socket(docker.socket.clone())),
            home_label: home.path().display().to_string(),
            registry: registry(self.settings),
            tenancy,
            readable: if token.is_some() { Readable::nothing() } else { self.readable() },
            builder: Builder {
                image: build.image.clone(),
                ca_bundle: build.ca_bundle.clone(),
                timeout: build.timeout.get(),
                memory: build.memory,
                cpus: build.cpus,
                processes: build.processes,
                disk: build.disk,
                submodule_hosts: build.submodule_hosts.clone(),
                free: limits.free,
            },
            deploy: DeployRules {
                deadline: deploy.deadline.get(),
                settle: deploy.settle.get(),
                retries: deploy.retries,
            },
            parallel: builds.parallel,
            patience: deploy.patience.get(),
            build_logs: home.build_logs(&self.tenant, &self.app),
        })
    }

    /// The tenants that the caller may read.
    fn readable(&self) -> Readable {
        let (store, caller) = (self.settings.home.store(), self.caller.clone());
        Readable::by(move |tenant| {
            let (store, caller) = (store.clone(), caller.clone());
            async move {
                let Ok(store) = SqliteStore::open(&store) else { return false };
                let allowed = access::may(&store, &caller, Action::Read(&tenant)).await;
                allowed
                    .inspect_err(|error| tracing::warn!(%error, "it cannot be said what may be read"))
                    .unwrap_or(false)
            }
        })
    }

    /// What the caller may do now, if anything: by what they are, or by that deploy token.
    pub async fn permission(&self, token: Option<&Secret>) -> Result<Option<Permission>, BoxedCause> {
        let store = SqliteStore::open(&self.settings.home.store())?;
        let may = access::may_push(&store, &self.caller, &self.tenant, &self.app, token).await?;
        let Some(by) = may else { return Ok(None) };
        Ok(Some(Permission { by_token: by.token(), tenancy: self.tenancy(&store).await? }))
    }

    /// What the tenant has, as the store and the root Marathon know it now.
    async fn tenancy(&self, store: &SqliteStore) -> Result<Tenancy, DeliveryError> {
        let name = &self.tenant;
        let tenant = tenants::get(store, name).await.map_err(DeliveryError::Quota)?;
        let unreachable = |cause: BoxedCause| DeliveryError::Marathon(cause);
        let credentials = self.settings.root_credentials().map_err(|cause| unreachable(cause.into()))?;
        let root = marathon::Client::new(&self.settings.marathon.url, Some(credentials))
            .map_err(|cause| unreachable(cause.into()))?;
        let found = tenants::marathon_of(store, &root, name).await.map_err(|cause| unreachable(cause.into()))?;
        let marathon = found.client().map_err(|cause| unreachable(cause.into()))?;
        // A tenant that is gone has no Marathon either, and that was said before.
        Ok(Tenancy { marathon, quota: tenant.map(|tenant| tenant.quota).unwrap_or_default() })
    }
}
