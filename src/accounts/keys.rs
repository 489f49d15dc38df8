//! Keys: whose each is. A key belongs to one user, so that it says who somebody is.

mod name;

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::users::{Draft, UserError};
use super::{InvalidKey, Place, PublicKey, committed, names_below};
use crate::model::{Fingerprint, UserName};
use crate::store::{Change, Store, StoreError, Version};

pub use name::{InvalidKeyName, KeyName, MAX_KEY_NAME_CHARS};

/// How often at most it is written down that a key was used.
const USE_INTERVAL: SignedDuration = SignedDuration::from_mins(1);

/// A key as it is registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RegisteredKey {
    pub fingerprint: Fingerprint,
    pub user: UserName,
    /// What its owner calls it; no two keys of one user have the same, unless an earlier version registered them.
    pub name: KeyName,
    #[serde(rename = "type")]
    pub key_type: String,
    /// What its owner wrote behind it; nothing to rely on.
    pub comment: String,
    pub added: Timestamp,
    /// Filled in by those who list keys; [`find`] leaves it out.
    pub last_used: Option<LastUse>,
    /// Type and data, as authorized keys have them.
    #[serde(skip)]
    pub line: String,
}

/// When a key last opened a connection, to the minute, and from where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastUse {
    pub at: Timestamp,
    pub from: Option<IpAddr>,
}

/// What became of a key that was registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    pub key: RegisteredKey,
    /// Its user is the first of the platform, and so its admin.
    pub made_admin: bool,
}

/// Its record; the fingerprint is made from the key again when it is read.
#[derive(Debug, Serialize, Deserialize)]
struct KeyRecord {
    user: UserName,
    /// Absent in records of earlier versions: the comment names the key, or else its fingerprint.
    #[serde(default)]
    name: Option<KeyName>,
    key: String,
    comment: String,
    added: Timestamp,
}

/// Why a key was not registered, found or changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("the key {fingerprint} is registered already, to the user `{user}`; a key belongs to one user")]
    Known { fingerprint: Fingerprint, user: UserName },
    #[error("no key {0} is registered")]
    Unknown(Fingerprint),
    #[error("`{user}` has a key named `{name}` already: {fingerprint}")]
    NameTaken { user: UserName, name: KeyName, fingerprint: Fingerprint },
    #[error("the record of the key {fingerprint} in the store is damaged")]
    Damaged {
        fingerprint: String,
        #[source]
        cause: DamagedKey,
    },
    #[error(transparent)]
    User(#[from] UserError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is wrong with a key's record.
#[derive(Debug, thiserror::Error)]
pub enum DamagedKey {
    #[error("it is no record of a key")]
    Record(#[from] serde_json::Error),
    #[error("its key is none")]
    Key(#[from] InvalidKey),
    #[error("it holds another key")]
    Another,
}

/// A registered key with the version of its record.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) key: RegisteredKey,
    version: Version,
}

impl Held {
    /// The changes that remove the key and what is known of its use.
    pub(super) async fn removal(&self, store: &dyn Store) -> Result<Vec<Change>, StoreError> {
        let fingerprint = &self.key.fingerprint;
        let place = Place::KeyUse(fingerprint).path();
        let used = store.get(&place).await?.map(|_| Change::Delete { path: place, expected: None });
        let key = Change::Delete { path: Place::Key(fingerprint).path(), expected: Some(self.version) };
        Ok(used.into_iter().chain([key]).collect())
    }

    /// Fails a transaction unless the key is as it was read.
    pub(super) fn check(&self) -> Change {
        Change::Check { path: Place::Key(&self.key.fingerprint).path(), expected: self.version }
    }

    pub(super) fn handed_to(self, user: &UserName) -> Change {
        self.changed(|key| key.user = user.clone())
    }

    fn changed(mut self, change: impl FnOnce(&mut RegisteredKey)) -> Change {
        change(&mut self.key);
        let path = Place::Key(&self.key.fingerprint).path();
        Change::Put { path, value: record_of(&self.key), expected: Some(self.version) }
    }
}

/// Registers `key` to `user`, who is made if this is the first one, and made admin if it is the platform's first.
pub async fn add(store: &dyn Store, user: &UserName, key: &PublicKey) -> Result<Added, KeyError> {
    loop {
        if let Some(known) = find(store, key.fingerprint()).await? {
            return Err(KeyError::Known { fingerprint: known.fingerprint, user: known.user });
        }
        let now = Timestamp::now();
        let mut draft = Draft::of(store, user, now).await?;
        let made_admin = draft.crown_the_first(store).await?;
        let (key, creation) = registration(store, &mut draft, user, key, now).await?;
        let changes = draft.changes().into_iter().chain([creation]).collect();
        if committed(store, changes).await? {
            return Ok(Added { key, made_admin });
        }
    }
}

/// The change that registers a key that nobody knows, to the user in `draft`.
pub(super) async fn registration(
    store: &dyn Store,
    draft: &mut Draft,
    user: &UserName,
    key: &PublicKey,
    now: Timestamp,
) -> Result<(RegisteredKey, Change), KeyError> {
    store.ensure(&Place::Keys.path()).await?;
    let others = draft.keys(store).await?;
    let taken: Vec<_> = others.iter().map(|held| &held.key.name).collect();
    draft.add_key(key.fingerprint());
    let registered = RegisteredKey {
        fingerprint: key.fingerprint().clone(),
        user: user.clone(),
        name: KeyName::from_comment(key.comment(), &taken),
        key_type: key.key_type().to_owned(),
        comment: key.comment().to_owned(),
        added: now,
        last_used: None,
        line: key.to_string(),
    };
    let creation = Change::Create { path: Place::Key(key.fingerprint()).path(), value: record_of(&registered) };
    Ok((registered, creation))
}

/// All keys, by user and then by time.
pub async fn list(store: &dyn Store) -> Result<Vec<RegisteredKey>, KeyError> {
    with_use(store, all(store).await?).await
}

/// The user's keys, by time; none when there is no such user.
pub async fn of_user(store: &dyn Store, user: &UserName) -> Result<Vec<RegisteredKey>, KeyError> {
    match Draft::known(store, user).await? {
        Some(mut draft) => with_use(store, draft.keys(store).await?).await,
        None => Ok(Vec::new()),
    }
}

async fn with_use(store: &dyn Store, held: Vec<Held>) -> Result<Vec<RegisteredKey>, KeyError> {
    let mut keys = Vec::with_capacity(held.len());
    for Held { key, .. } in held {
        let last_used = last_use(store, &key.fingerprint).await?;
        keys.push(RegisteredKey { last_used, ..key });
    }
    keys.sort_by(|a, b| (&a.user, a.added, &a.fingerprint).cmp(&(&b.user, b.added, &b.fingerprint)));
    Ok(keys)
}

/// Those of the listed keys that are registered.
pub(super) async fn held(store: &dyn Store, listed: &[Fingerprint]) -> Result<Vec<Held>, KeyError> {
    let mut held = Vec::with_capacity(listed.len());
    for fingerprint in listed {
        held.extend(held_one(store, fingerprint).await?);
    }
    Ok(held)
}

/// The user's keys, looked for among all there are.
pub(super) async fn held_by(store: &dyn Store, user: &UserName) -> Result<Vec<Held>, KeyError> {
    Ok(all(store).await?.into_iter().filter(|held| held.key.user == *user).collect())
}

async fn all(store: &dyn Store) -> Result<Vec<Held>, KeyError> {
    let mut held = Vec::new();
    for name in names_below(store, Place::Keys).await? {
        // One removed meanwhile is not there any more.
        if let Some(record) = store.get(&Place::Keys.path().join(&name)).await? {
            let key = read(&name.replace('_', "/"), &record.value)?;
            held.push(Held { key, version: record.version });
        }
    }
    Ok(held)
}

pub(super) async fn held_one(store: &dyn Store, fingerprint: &Fingerprint) -> Result<Option<Held>, KeyError> {
    let Some(record) = store.get(&Place::Key(fingerprint).path()).await? else { return Ok(None) };
    let key = read(fingerprint.as_str(), &record.value)?;
    Ok(Some(Held { key, version: record.version }))
}

/// The key with this fingerprint, by one indexed look-up; when it was last used is another, see [`last_use`].
pub async fn find(store: &dyn Store, fingerprint: &Fingerprint) -> Result<Option<RegisteredKey>, KeyError> {
    Ok(held_one(store, fingerprint).await?.map(|held| held.key))
}

/// Removes the key, and says whose it was. From then on it opens nothing; the user stays.
pub async fn remove(store: &dyn Store, fingerprint: &Fingerprint) -> Result<RegisteredKey, KeyError> {
    loop {
        let (held, mut draft) = with_owner(store, fingerprint).await?;
        let mut changes = held.removal(store).await?;
        draft.remove_key(fingerprint);
        changes.extend(draft.changes());
        if committed(store, changes).await? {
            return Ok(held.key);
        }
    }
}

/// Gives the key another name, which none of its user's other keys may have.
pub async fn rename(store: &dyn Store, fingerprint: &Fingerprint, name: &KeyName) -> Result<RegisteredKey, KeyError> {
    loop {
        let (held, mut draft) = with_owner(store, fingerprint).await?;
        let others = draft.keys(store).await?;
        let namesake =
            others.into_iter().find(|other| other.key.name == *name && other.key.fingerprint != *fingerprint);
        if let Some(Held { key: RegisteredKey { user, name, fingerprint, .. }, .. }) = namesake {
            return Err(KeyError::NameTaken { user, name, fingerprint });
        }
        let renamed = RegisteredKey { name: name.clone(), ..held.key.clone() };
        let mut changes = draft.changes();
        changes.push(held.changed(|key| key.name = name.clone()));
        if committed(store, changes).await? {
            return Ok(renamed);
        }
    }
}

/// The key and its user, whose keys are listed.
async fn with_owner(store: &dyn Store, fingerprint: &Fingerprint) -> Result<(Held, Draft), KeyError> {
    let held = held_one(store, fingerprint).await?.ok_or_else(|| KeyError::Unknown(fingerprint.clone()))?;
    let mut draft = Draft::of(store, &held.key.user, held.key.added).await?;
    draft.keys(store).await?;
    Ok((held, draft))
}

/// Writes down that the key opened a connection, at most once a minute. It changes nothing that anybody else changes.
pub async fn used(store: &dyn Store, fingerprint: &Fingerprint, from: Option<IpAddr>) -> Result<(), KeyError> {
    used_at(store, fingerprint, LastUse { at: Timestamp::now(), from }).await
}

async fn used_at(store: &dyn Store, fingerprint: &Fingerprint, latest: LastUse) -> Result<(), KeyError> {
    let path = Place::KeyUse(fingerprint).path();
    let value = serde_json::to_vec(&latest).expect("a time and an address");
    let change = match store.get(&path).await? {
        Some(known) if is_recent(&known.value, latest.at) => return Ok(()),
        Some(known) => Change::Put { path, value, expected: Some(known.version) },
        None => Change::Create { path, value },
    };
    match store.commit(vec![change]).await {
        // Another connection wrote it this very moment.
        Ok(()) | Err(StoreError::Changed(_) | StoreError::Exists(_)) => Ok(()),
        Err(StoreError::NotFound(_)) => Err(KeyError::Unknown(fingerprint.clone())),
        Err(error) => Err(error.into()),
    }
}

/// A time from which the clock was set back is not recent, and neither is what cannot be read.
fn is_recent(known: &[u8], now: Timestamp) -> bool {
    let known: Option<LastUse> = serde_json::from_slice(known).ok();
    known.is_some_and(|known| now.duration_since(known.at).abs() < USE_INTERVAL)
}

/// When the key was last used, if it ever was.
pub async fn last_use(store: &dyn Store, fingerprint: &Fingerprint) -> Result<Option<LastUse>, StoreError> {
    let record = store.get(&Place::KeyUse(fingerprint).path()).await?;
    // It is for people to look at; when it is damaged the next use writes it anew.
    Ok(record.and_then(|record| serde_json::from_slice(&record.value).ok()))
}

fn record_of(key: &RegisteredKey) -> Vec<u8> {
    let RegisteredKey { user, name, line, comment, added, .. } = key.clone();
    let record = KeyRecord { user, name: Some(name), key: line, comment, added };
    serde_json::to_vec(&record).expect("a record of texts and a time")
}

fn read(fingerprint: &str, value: &[u8]) -> Result<RegisteredKey, KeyError> {
    parse_record(fingerprint, value).map_err(|cause| KeyError::Damaged { fingerprint: fingerprint.to_owned(), cause })
}

/// The key is parsed as strictly as when it came: what leaves here goes into a line that sshd obeys.
fn parse_record(fingerprint: &str, value: &[u8]) -> Result<RegisteredKey, DamagedKey> {
    let KeyRecord { user, name, key, comment, added } = serde_json::from_slice(value)?;
    let key = PublicKey::parse(key.as_bytes())?;
    if key.fingerprint().as_str() != fingerprint {
        return Err(DamagedKey::Another);
    }
    Ok(RegisteredKey {
        name: name.unwrap_or_else(|| KeyName::unrecorded(&comment, key.fingerprint())),
        fingerprint: key.fingerprint().clone(),
        user,
        key_type: key.key_type().to_owned(),
        comment,
        added,
        last_used: None,
        line: key.to_string(),
    })
}

#[cfg(test)]
mod tests;
