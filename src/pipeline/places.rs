//! Where the pipeline's records live in the store.

use std::fmt;

use super::slug::SlugKey;
use crate::model::{AppName, ReleaseNumber, TenantName};
use crate::store::StorePath;

/// The paths of one app. The app's own record is also the name of the lease that a push holds.
#[derive(Debug, Clone)]
pub(super) struct Places {
    app: StorePath,
}

/// Numbers as ten digits, so that the byte order of names is the order of numbers.
struct Digits(u32);
impl fmt::Display for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:010}", self.0)
    }
}

impl Places {
    pub(super) fn of(tenant: &TenantName, app: &AppName) -> Self {
        Self { app: Self::apps(tenant).join(app) }
    }
    /// All tenants; each one's apps are at [`Places::apps`].
    pub(super) fn tenants() -> StorePath {
        StorePath::root().join("tenants")
    }
    pub(super) fn apps(tenant: &TenantName) -> StorePath {
        Self::tenants().join(tenant).join("apps")
    }
    pub(super) fn app(&self) -> &StorePath {
        &self.app
    }
    pub(super) fn builds(&self) -> StorePath {
        self.app.join("builds")
    }
    pub(super) fn build(&self, number: u32) -> StorePath {
        self.builds().join(Digits(number))
    }
    pub(super) fn releases(&self) -> StorePath {
        self.app.join("releases")
    }
    pub(super) fn release(&self, number: ReleaseNumber) -> StorePath {
        self.releases().join(Digits(number.get()))
    }
    /// The lease of whoever holds the tenant's quota against others; the accounts call it the same.
    pub(super) fn quota(tenant: &TenantName) -> StorePath {
        StorePath::root().join("tenants").join(tenant).join("quota")
    }
    /// The slots of the tenant's builds.
    pub(super) fn builds_of_tenant(tenant: &TenantName) -> QueuePlaces {
        QueuePlaces::Below(Self::tenants().join(tenant).join("builds"))
    }
    /// The slots of all builds of this receive host. Should several share a store, each has a name to be put here.
    pub(super) fn builds_of_host() -> QueuePlaces {
        QueuePlaces::Below(StorePath::root().join("builds"))
    }
    /// The app's own lease, and those who wait for it.
    pub(super) fn turn(&self) -> QueuePlaces {
        QueuePlaces::One(self.app.clone())
    }
    /// What was built for every key.
    pub(super) fn slugs() -> StorePath {
        StorePath::root().join("slugs")
    }
    /// The lease of whoever sweeps.
    pub(super) fn sweep() -> StorePath {
        StorePath::root().join("sweep")
    }
    /// What was built for a key, whoever built it.
    pub(super) fn slug(key: &SlugKey) -> StorePath {
        Self::slugs().join(key)
    }
}

/// The leases of slots, and of the queue before them; both are counted from 1.
#[derive(Debug, Clone)]
pub(super) enum QueuePlaces {
    /// As many slots as are asked for.
    Below(StorePath),
    /// One slot, which is this place itself.
    One(StorePath),
}

impl QueuePlaces {
    pub(super) fn slot(&self, number: u32) -> StorePath {
        match self {
            Self::Below(place) => place.join(number),
            Self::One(place) => place.clone(),
        }
    }
    pub(super) fn waiting(&self, place: u32) -> StorePath {
        let (Self::Below(above) | Self::One(above)) = self;
        above.join("waiting").join(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_sort_as_they_count() {
        let places = Places::of(&"dev".parse().unwrap(), &"shop".parse().unwrap());
        assert_eq!(places.app().as_str(), "/tenants/dev/apps/shop");
        assert_eq!(places.build(7).as_str(), "/tenants/dev/apps/shop/builds/0000000007");
        assert!(places.release(ReleaseNumber::new(9)) < places.release(ReleaseNumber::new(10)));
    }
}
