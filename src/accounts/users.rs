//! Users: made when their first key is registered.

use serde::{Deserialize, Serialize};

use super::Place;
use crate::model::UserName;
use crate::store::{Change, Store, StoreError};

/// What the store knows of a user besides the name, which is the record's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct UserRecord {
    created: jiff::Timestamp,
}

/// Whether there is such a user.
pub async fn exists(store: &dyn Store, name: &UserName) -> Result<bool, StoreError> {
    Ok(store.get(&Place::User(name).path()).await?.is_some())
}

/// The change that makes sure the user is there: made anew, or unchanged since it was looked at now.
pub(super) async fn ensured(store: &dyn Store, name: &UserName, now: jiff::Timestamp) -> Result<Change, StoreError> {
    let path = Place::User(name).path();
    Ok(match store.get(&path).await? {
        Some(user) => Change::Check { path, expected: user.version },
        None => {
            Change::Create { path, value: serde_json::to_vec(&UserRecord { created: now }).expect("a plain record") }
        }
    })
}
