//! Who may use the platform and what for: users, their keys, tenants. Rules over the store, the same for every store.

pub mod access;
pub mod keys;
mod public_key;
pub mod tenants;
pub mod users;

use crate::model::{Fingerprint, UserName};
use crate::store::StorePath;

#[cfg(test)]
pub(crate) use public_key::samples;
pub use public_key::{InvalidKey, MAX_COMMENT_BYTES, MAX_KEY_BYTES, MIN_RSA_BITS, PublicKey};

/// Where this room keeps its records about users and keys.
#[derive(Debug, Clone, Copy)]
enum Place<'a> {
    Users,
    User(&'a UserName),
    Keys,
    Key(&'a Fingerprint),
}

impl Place<'_> {
    fn path(self) -> StorePath {
        match self {
            Self::Users => StorePath::root().join("users"),
            Self::User(name) => Self::Users.path().join(name),
            Self::Keys => StorePath::root().join("keys"),
            // The fingerprint's base64 may hold `/`, which divides paths; it never holds `_`.
            Self::Key(fingerprint) => Self::Keys.path().join(fingerprint.as_str().replace('/', "_")),
        }
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
