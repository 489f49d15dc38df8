//! Who may do what: the one place that decides.

use super::keys::{self, KeyError};
use crate::model::{Fingerprint, TenantName, UserName};
use crate::store::Store;

/// Somebody who was let in: by which key, as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub user: UserName,
    pub key: Fingerprint,
}

/// What somebody wants to do with a tenant's apps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Push to an app, which makes it if need be, and deploys it.
    Push,
    /// Clone an app, read its builds and releases.
    Read,
}

/// Whether `who` may do `action` in `tenant`, by what the store says now: a key that was removed after its
/// connection began may do nothing more.
///
/// Whoever has a registered key may push and read everywhere. A refusal is to be told in the words of "there is no
/// such app": what somebody may not see does not exist for them.
pub async fn may(store: &dyn Store, who: &Identity, action: Action, tenant: &TenantName) -> Result<bool, KeyError> {
    let registered = keys::find(store, &who.key).await?.is_some_and(|key| key.user == who.user);
    tracing::debug!(user = %who.user, ?action, %tenant, registered, "access decided");
    Ok(registered)
}

#[cfg(test)]
mod tests {
    use super::super::PublicKey;
    use super::super::public_key::samples::ED25519;
    use super::*;
    use crate::store::SqliteStore;

    #[tokio::test]
    async fn a_registered_key_may_push_and_read_until_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(dir.path()).unwrap();
        let key = PublicKey::parse(ED25519.as_bytes()).unwrap();
        let alice = Identity { user: "alice".parse().unwrap(), key: key.fingerprint().clone() };
        let bob = Identity { user: "bob".parse().unwrap(), ..alice.clone() };
        let tenant = "dev".parse().unwrap();
        for action in [Action::Push, Action::Read] {
            assert!(!may(&store, &alice, action, &tenant).await.unwrap(), "nobody knows the key yet");
            keys::add(&store, &alice.user, &key).await.unwrap();
            assert!(may(&store, &alice, action, &tenant).await.unwrap());
            assert!(!may(&store, &bob, action, &tenant).await.unwrap(), "it is another's key");
            keys::remove(&store, &alice.key).await.unwrap();
            assert!(!may(&store, &alice, action, &tenant).await.unwrap(), "it was removed");
        }
    }
}
