//! Sweeping: what pushes that were cut off left behind, and what is older than is kept, goes.
//!
//! By the platform's label in Docker and below the platform's own directories alone, beside pushes that go on
//! meanwhile. What cannot be removed is told of and left to the next sweep; nothing else waits for it.

mod files;
mod gone;
mod history;
mod in_docker;
mod killed;
mod published;
mod slugs;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use super::Registry;
use super::keep::Keep;
use super::places::Places;
use super::release::ReleaseError;
use crate::docker::{Docker, DockerError, RegistryError};
use crate::git::GitError;
use crate::model::{AppName, TenantName};
use crate::store::{Holder, LeaseAttempt, Store, StoreError};

/// What a sweep works with.
#[derive(Debug, Clone)]
pub struct Sweep {
    pub store: Arc<dyn Store>,
    pub docker: Docker,
    /// The value of the label `paas.home` on everything of this platform.
    pub home_label: String,
    /// Where slugs are published, if anywhere.
    pub registry: Option<Registry>,
    pub keep: Keep,
    /// All apps' build logs: a directory per tenant, in it one per app.
    pub logs: PathBuf,
    /// All apps' repositories: a directory per tenant.
    pub repositories: PathBuf,
    /// Repositories of single pushes.
    pub letterboxes: PathBuf,
    /// Only say what would go.
    pub dry_run: bool,
}

/// What a sweep has dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Containers,
    Caches,
    Slugs,
    /// Manifests in the registry.
    Published,
    /// What the store remembers of slugs.
    Memories,
    /// Builds of pushes that were killed: marked, not removed.
    Abandoned,
    Builds,
    Loans,
    Letterboxes,
    HalfMade,
    /// Of detached pushes that were killed.
    Refs,
    /// Repositories of apps that are gone.
    Gone,
    /// Tidied, not removed.
    Repositories,
}

/// What went, and what could not.
#[derive(Debug, Default)]
pub struct Swept {
    pub counts: BTreeMap<Kind, usize>,
    pub troubles: Vec<SweepError>,
    /// What is left for somebody to see to.
    pub notes: BTreeSet<String>,
}

/// Why something was not swept.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    #[error("another sweep of this platform is at work{}", since(.0.as_ref()))]
    Busy(Option<Holder>),
    #[error("the store could not be asked what is still needed")]
    Store(#[from] StoreError),
    #[error(transparent)]
    Record(#[from] ReleaseError),
    #[error("`{0}` in the store is no name of a tenant or an app")]
    StrangeName(String),
    #[error(transparent)]
    Docker(#[from] DockerError),
    #[error(transparent)]
    Git(#[from] GitError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error("cannot remove {path}", path = .path.display())]
    File {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("cannot keep in {path} since when an app is gone", path = .path.display())]
    Note {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
}

fn since(holder: Option<&Holder>) -> String {
    holder.map(|holder| format!(", since {}", holder.since.strftime("%H:%M:%S UTC"))).unwrap_or_default()
}

impl Sweep {
    /// Sweeps once. It fails as a whole only when it must not even begin.
    pub async fn run(&self) -> Result<Swept, SweepError> {
        let _turn = match self.store.try_lease(&Places::sweep(), "a sweep").await? {
            LeaseAttempt::Held(turn) => turn,
            LeaseAttempt::Busy(holder) => return Err(SweepError::Busy(holder)),
        };
        let (mut swept, mut gone) = (Swept::default(), Vec::new());
        for stage in [
            self.killed(&mut swept).await,
            self.containers(&mut swept).await,
            self.caches(&mut swept).await,
            self.builds(&mut swept).await,
            self.slugs(&mut gone, &mut swept).await,
            // After the slugs: what is left of them is what stays.
            self.published(&gone, &mut swept).await,
        ] {
            swept.troubles.extend(stage.err());
        }
        self.half_made(&mut swept);
        self.refs_of_killed(&mut swept);
        self.gone(&mut swept).await;
        // The longest comes last.
        self.repositories(&mut swept);
        Ok(swept)
    }

    /// Every app of every tenant.
    async fn apps(&self) -> Result<Vec<(TenantName, AppName)>, SweepError> {
        let mut all = Vec::new();
        for tenant in self.names_below(&Places::tenants()).await? {
            let tenant: TenantName = tenant.parse().map_err(|_| SweepError::StrangeName(tenant))?;
            for app in self.names_below(&Places::apps(&tenant)).await? {
                all.push((tenant.clone(), app.parse().map_err(|_| SweepError::StrangeName(app))?));
            }
        }
        Ok(all)
    }

    /// The records below a place that need not be there.
    async fn names_below(&self, place: &crate::store::StorePath) -> Result<Vec<String>, StoreError> {
        match self.store.children(place).await {
            Err(StoreError::NotFound(_)) => Ok(Vec::new()),
            children => children,
        }
    }

    /// Since when a push of the app is under way, if one is.
    async fn push_since(&self, tenant: &TenantName, app: &AppName) -> Result<Option<Timestamp>, StoreError> {
        let holder = self.store.lease_holder(Places::of(tenant, app).app()).await?;
        Ok(holder.map(|holder| holder.since))
    }
}

impl Swept {
    /// Counts what went, or notes why it did not. `Ok(false)` is for what somebody else was quicker with, or needs.
    pub fn tried(&mut self, kind: Kind, outcome: Result<bool, impl Into<SweepError>>) {
        match outcome {
            Ok(true) => *self.counts.entry(kind).or_default() += 1,
            Ok(false) => {}
            Err(error) => self.troubles.push(error.into()),
        }
    }
}

impl fmt::Display for Kind {
    /// In the plural.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Containers => "containers of pushes that are over",
            Self::Caches => "build caches of apps that are gone",
            Self::Slugs => "old slugs",
            Self::Published => "manifests of old slugs in the registry",
            Self::Memories => "memories of slugs that are gone",
            Self::Abandoned => "builds of pushes that were killed",
            Self::Builds => "old builds and their logs",
            Self::Loans => "directories lent to builds that are over",
            Self::Letterboxes => "letterboxes that nobody uses",
            Self::HalfMade => "half-made repositories",
            Self::Refs => "refs of detached pushes that were killed",
            Self::Gone => "repositories of apps that are gone",
            Self::Repositories => "repositories that had grown",
        })
    }
}
