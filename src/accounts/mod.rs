//! Who may use the platform and what for: users, their keys, tenants, members, tokens, and the record of what they
//! did. Rules over the store, the same for every store.
//!
//! What belongs together changes in one transaction. Whoever changes a user's keys, or gives a user a membership,
//! writes the user's record too: its version then stands for all of that, and who commits against it has seen it all.

pub mod access;
pub mod audit;
pub mod authorized_keys;
pub mod keys;
pub mod members;
pub mod newcomers;
mod public_key;
pub mod tenants;
pub mod tokens;
pub mod users;

use crate::model::{Fingerprint, TenantName, UserName};
use crate::store::{Change, Store, StoreError, StorePath};

#[cfg(test)]
pub(crate) use public_key::samples;
pub use public_key::{InvalidKey, MAX_COMMENT_BYTES, MAX_KEY_BYTES, MIN_RSA_BITS, PublicKey};

/// Where this room keeps its records.
#[derive(Debug, Clone, Copy)]
enum Place<'a> {
    Users,
    User(&'a UserName),
    Keys,
    Key(&'a Fingerprint),
    /// When a key was last used. Below the key, so that it cannot stay behind; apart from it, since it changes often.
    KeyUse(&'a Fingerprint),
    Tenants,
    Tenant(&'a TenantName),
    /// No record: the name of the lease of whoever changes the quota, or holds a push against it.
    Quota(&'a TenantName),
    /// The pipeline's records of apps; each is also the name of the lease that a push to the app holds.
    Apps(&'a TenantName),
    Members(&'a TenantName),
    Member(&'a TenantName, &'a UserName),
    Tokens,
    Token(&'a tokens::TokenHash),
    Newcomers,
}

impl Place<'_> {
    fn path(self) -> StorePath {
        match self {
            Self::Users => StorePath::root().join("users"),
            Self::User(name) => Self::Users.path().join(name),
            Self::Keys => StorePath::root().join("keys"),
            // The fingerprint's base64 may hold `/`, which divides paths; it never holds `_`.
            Self::Key(fingerprint) => Self::Keys.path().join(fingerprint.as_str().replace('/', "_")),
            Self::KeyUse(fingerprint) => Self::Key(fingerprint).path().join("used"),
            Self::Tenants => StorePath::root().join("tenants"),
            Self::Tenant(name) => Self::Tenants.path().join(name),
            Self::Quota(tenant) => Self::Tenant(tenant).path().join("quota"),
            Self::Apps(tenant) => Self::Tenant(tenant).path().join("apps"),
            Self::Members(tenant) => Self::Tenant(tenant).path().join("members"),
            Self::Member(tenant, user) => Self::Members(tenant).path().join(user),
            Self::Tokens => StorePath::root().join("tokens"),
            Self::Token(hash) => Self::Tokens.path().join(hash),
            Self::Newcomers => StorePath::root().join("newcomers"),
        }
    }
}

/// Commits all changes; false when somebody else was faster, so that they have to be thought out anew.
async fn committed(store: &dyn Store, changes: Vec<Change>) -> Result<bool, StoreError> {
    use StoreError::{Changed, Exists, NotEmpty, NotFound};
    match store.commit(changes).await {
        Ok(()) => Ok(true),
        Err(Changed(_) | Exists(_) | NotEmpty(_) | NotFound(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The names of the records below; none where there is no such place.
async fn names_below(store: &dyn Store, place: Place<'_>) -> Result<Vec<String>, StoreError> {
    match store.children(&place.path()).await {
        Err(StoreError::NotFound(_)) => Ok(Vec::new()),
        names => names,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fingerprint_has_a_place_of_its_own() {
        let place = |text: &str| Place::Key(&text.parse().unwrap()).path().to_string();
        let digest = "s/yqwCcAQJEEp5xApXAZCwk9BeSuFSb7ttG0Ep80c8+";
        assert_eq!(place(&format!("SHA256:{digest}")), format!("/keys/SHA256:{}", digest.replace('/', "_")));
    }
}
