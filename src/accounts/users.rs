//! Users: made when their first key is registered. The first user of a platform is its admin.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::keys::{self, KeyError};
use super::members::{self, MemberError};
use super::{Place, committed, names_below};
use crate::model::{Fingerprint, TenantName, UserName};
use crate::store::{Change, Store, StoreError, Version};

/// A user as the store knows them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct User {
    pub name: UserName,
    pub created: Timestamp,
    pub is_admin: bool,
}

/// The record's value; the name is the record's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct UserRecord {
    created: Timestamp,
    #[serde(default)]
    is_admin: bool,
    /// Which keys are theirs. Earlier versions kept no list: then they are found among all keys, until the next change.
    #[serde(default)]
    keys: Option<Vec<Fingerprint>>,
}

/// What went with a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Removed {
    pub user: User,
    pub keys: Vec<Fingerprint>,
    pub tenants: Vec<TenantName>,
}

/// Why a user was not found or not changed.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    #[error("there is no user `{0}`")]
    Unknown(UserName),
    #[error("there is a user `{0}` already")]
    Taken(UserName),
    #[error("`{user}` is the last owner of {}, which somebody has to own", in_backticks(.tenants))]
    LastOwner { user: UserName, tenants: Vec<TenantName> },
    #[error("`{0}` is the last admin who has a key, and somebody has to be")]
    LastAdmin(UserName),
    #[error("the record of the user `{0}` in the store is damaged")]
    Damaged(UserName, #[source] serde_json::Error),
    #[error(transparent)]
    Key(Box<KeyError>),
    #[error(transparent)]
    Member(Box<MemberError>),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<KeyError> for UserError {
    fn from(error: KeyError) -> Self {
        Self::Key(Box::new(error))
    }
}
impl From<MemberError> for UserError {
    fn from(error: MemberError) -> Self {
        Self::Member(Box::new(error))
    }
}

fn in_backticks(tenants: &[TenantName]) -> String {
    tenants.iter().map(|tenant| format!("`{tenant}`")).collect::<Vec<_>>().join(", ")
}

/// A user as a transaction is to leave them. Its changes fail when anybody changed the user, the user's keys, or gave
/// the user a membership since it was read.
#[derive(Debug)]
pub(super) struct Draft {
    name: UserName,
    record: UserRecord,
    origin: Origin,
}

#[derive(Debug, Clone, Copy)]
enum Origin {
    /// Made anew; with the version of the place of all users, which counts those that were made.
    New {
        users: Version,
    },
    Known(Version),
}

impl Draft {
    /// The user of that name, or a new one.
    pub(super) async fn of(store: &dyn Store, name: &UserName, now: Timestamp) -> Result<Self, UserError> {
        if let Some(known) = Self::known(store, name).await? {
            return Ok(known);
        }
        store.ensure(&Place::Users.path()).await?;
        let users = store.get(&Place::Users.path()).await?.map_or(Version(0), |place| place.version);
        let record = UserRecord { created: now, is_admin: false, keys: Some(Vec::new()) };
        Ok(Self { name: name.clone(), record, origin: Origin::New { users } })
    }

    pub(super) async fn known(store: &dyn Store, name: &UserName) -> Result<Option<Self>, UserError> {
        let Some(found) = store.get(&Place::User(name).path()).await? else { return Ok(None) };
        let record = serde_json::from_slice(&found.value).map_err(|cause| UserError::Damaged(name.clone(), cause))?;
        Ok(Some(Self { name: name.clone(), record, origin: Origin::Known(found.version) }))
    }

    pub(super) fn is_new(&self) -> bool {
        matches!(self.origin, Origin::New { .. })
    }

    /// Makes the very first user of a platform its admin, and says whether this is that one.
    pub(super) async fn crown_the_first(&mut self, store: &dyn Store) -> Result<bool, StoreError> {
        // Earlier versions did not count: what they made is there to be seen.
        let is_first = matches!(self.origin, Origin::New { users: Version(0) })
            && names_below(store, Place::Users).await?.is_empty();
        self.record.is_admin |= is_first;
        Ok(is_first)
    }

    /// All keys of the user, and from now on a list of them.
    pub(super) async fn keys(&mut self, store: &dyn Store) -> Result<Vec<keys::Held>, KeyError> {
        let held = match &self.record.keys {
            Some(listed) => keys::held(store, listed).await?,
            None => keys::held_by(store, &self.name).await?,
        };
        let held: Vec<_> = held.into_iter().filter(|held| held.key.user == self.name).collect();
        self.record.keys = Some(held.iter().map(|held| held.key.fingerprint.clone()).collect());
        Ok(held)
    }

    /// Of a user whose keys are listed.
    pub(super) fn add_key(&mut self, key: &Fingerprint) {
        self.record.keys.get_or_insert_default().push(key.clone());
    }

    /// Of a user whose keys are listed.
    pub(super) fn remove_key(&mut self, key: &Fingerprint) {
        self.record.keys.get_or_insert_default().retain(|listed| listed != key);
    }

    pub(super) fn changes(self) -> Vec<Change> {
        let path = Place::User(&self.name).path();
        let value = serde_json::to_vec(&self.record).expect("a record of times and fingerprints");
        match self.origin {
            Origin::Known(version) => vec![Change::Put { path, value, expected: Some(version) }],
            Origin::New { users } => vec![
                Change::Put { path: Place::Users.path(), value: Vec::new(), expected: Some(users) },
                Change::Create { path, value },
            ],
        }
    }

    fn deletion(&self) -> Change {
        let Origin::Known(version) = self.origin else { unreachable!("only a user who is there is removed") };
        Change::Delete { path: Place::User(&self.name).path(), expected: Some(version) }
    }

    /// Fails the transaction unless the user is as it was read.
    fn check(&self) -> Change {
        let Origin::Known(expected) = self.origin else { unreachable!("only a user who is there bears witness") };
        Change::Check { path: Place::User(&self.name).path(), expected }
    }

    fn user(&self) -> User {
        User { name: self.name.clone(), created: self.record.created, is_admin: self.record.is_admin }
    }
}

/// Whether there is such a user.
pub async fn exists(store: &dyn Store, name: &UserName) -> Result<bool, StoreError> {
    Ok(store.get(&Place::User(name).path()).await?.is_some())
}

/// The user of that name.
pub async fn get(store: &dyn Store, name: &UserName) -> Result<Option<User>, UserError> {
    Ok(Draft::known(store, name).await?.map(|found| found.user()))
}

/// All users, by name.
pub async fn list(store: &dyn Store) -> Result<Vec<User>, UserError> {
    let mut users = Vec::new();
    for name in names(store).await? {
        // One removed meanwhile is not there any more.
        users.extend(get(store, &name).await?);
    }
    Ok(users)
}

async fn names(store: &dyn Store) -> Result<Vec<UserName>, StoreError> {
    let names = names_below(store, Place::Users).await?;
    Ok(names.into_iter().filter_map(|name| UserName::try_from(name).ok()).collect())
}

/// Makes the user an admin of the platform, or one no more; the last admin who has a key stays one.
pub async fn set_admin(store: &dyn Store, name: &UserName, is_admin: bool) -> Result<User, UserError> {
    loop {
        let mut draft = known(store, name).await?;
        let mut changes = if is_admin { Vec::new() } else { another_admin(store, &mut draft).await? };
        draft.record.is_admin = is_admin;
        let user = draft.user();
        changes.extend(draft.changes());
        if committed(store, changes).await? {
            return Ok(user);
        }
    }
}

/// Gives the user another name. Keys and memberships follow; what was recorded under the old name (releases, audit)
/// stays as it was written.
pub async fn rename(store: &dyn Store, name: &UserName, new: &UserName) -> Result<User, UserError> {
    loop {
        let mut draft = known(store, name).await?;
        if name == new {
            return Ok(draft.user());
        }
        if exists(store, new).await? {
            return Err(UserError::Taken(new.clone()));
        }
        let mut changes = vec![draft.deletion()];
        for held in draft.keys(store).await? {
            changes.push(held.handed_to(new));
        }
        for seat in members::seats_of(store, name).await? {
            changes.extend(seat.handed_to(new));
        }
        let renamed = User { name: new.clone(), ..draft.user() };
        let value = serde_json::to_vec(&draft.record).expect("a record of times and fingerprints");
        changes.push(Change::Create { path: Place::User(new).path(), value });
        if committed(store, changes).await? {
            return Ok(renamed);
        }
    }
}

/// Removes the user with all keys and memberships. Refused while that would leave a tenant without an owner, or the
/// platform without an admin who has a key.
pub async fn remove(store: &dyn Store, name: &UserName) -> Result<Removed, UserError> {
    loop {
        let mut draft = known(store, name).await?;
        let mut changes = another_admin(store, &mut draft).await?;
        let keys = draft.keys(store).await?;
        for held in &keys {
            changes.extend(held.removal(store).await?);
        }
        let (mut tenants, mut ownerless) = (Vec::new(), Vec::new());
        for seat in members::seats_of(store, name).await? {
            match seat.removal(store).await? {
                Some(removal) => changes.extend(removal),
                None => ownerless.push(seat.tenant.clone()),
            }
            tenants.push(seat.tenant);
        }
        if !ownerless.is_empty() {
            return Err(UserError::LastOwner { user: name.clone(), tenants: ownerless });
        }
        changes.push(draft.deletion());
        if committed(store, changes).await? {
            let keys = keys.into_iter().map(|held| held.key.fingerprint).collect();
            return Ok(Removed { user: draft.user(), keys, tenants });
        }
    }
}

async fn known(store: &dyn Store, name: &UserName) -> Result<Draft, UserError> {
    Draft::known(store, name).await?.ok_or_else(|| UserError::Unknown(name.clone()))
}

/// What has to hold for the user to be an admin no more: that another who has a key stays one. Nothing when the user
/// is none, or one without a key.
async fn another_admin(store: &dyn Store, draft: &mut Draft) -> Result<Vec<Change>, UserError> {
    if !draft.record.is_admin || draft.keys(store).await?.is_empty() {
        return Ok(Vec::new());
    }
    for name in names(store).await?.iter().filter(|name| **name != draft.name) {
        let Some(mut other) = Draft::known(store, name).await? else { continue };
        if other.record.is_admin && !other.keys(store).await?.is_empty() {
            return Ok(vec![other.check()]);
        }
    }
    Err(UserError::LastAdmin(draft.name.clone()))
}

#[cfg(test)]
mod tests;
