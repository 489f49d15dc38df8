//! Keys: whose each is. A key belongs to one user, so that it says who somebody is.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{InvalidKey, Place, PublicKey, users};
use crate::model::{Fingerprint, UserName};
use crate::store::{Change, Store, StoreError};

/// A key as it is registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RegisteredKey {
    pub fingerprint: Fingerprint,
    pub user: UserName,
    #[serde(rename = "type")]
    pub key_type: String,
    /// What its owner wrote behind it; nothing to rely on.
    pub comment: String,
    pub added: Timestamp,
    /// Type and data, as authorized keys have them.
    #[serde(skip)]
    pub line: String,
}

/// Its record; the fingerprint is made from the key again when it is read.
#[derive(Debug, Serialize, Deserialize)]
struct KeyRecord {
    user: UserName,
    key: String,
    comment: String,
    added: Timestamp,
}

/// Why a key was not registered, found or removed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("the key {fingerprint} is registered already, to the user `{user}`; a key belongs to one user")]
    Known { fingerprint: Fingerprint, user: UserName },
    #[error("no key {0} is registered")]
    Unknown(Fingerprint),
    #[error("the record of the key {fingerprint} in the store is damaged")]
    Damaged {
        fingerprint: String,
        #[source]
        cause: DamagedKey,
    },
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

/// Registers `key` to `user`, who is made if this is the first one.
pub async fn add(store: &dyn Store, user: &UserName, key: &PublicKey) -> Result<RegisteredKey, KeyError> {
    store.ensure(&Place::Users.path()).await?;
    store.ensure(&Place::Keys.path()).await?;
    let added = Timestamp::now();
    let record = KeyRecord { user: user.clone(), key: key.to_string(), comment: key.comment().to_owned(), added };
    let value = serde_json::to_vec(&record).expect("a record of texts and a time");
    loop {
        if let Some(known) = find(store, key.fingerprint()).await? {
            return Err(KeyError::Known { fingerprint: known.fingerprint, user: known.user });
        }
        let new_key = Change::Create { path: Place::Key(key.fingerprint()).path(), value: value.clone() };
        match store.commit(vec![users::ensured(store, user, added).await?, new_key]).await {
            Ok(()) => return Ok(registered(record, key.fingerprint().clone(), key.key_type().to_owned())),
            // Somebody registered the key, or made, changed or removed the user, since we looked: look again.
            Err(StoreError::Exists(_) | StoreError::Changed(_) | StoreError::NotFound(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// All keys, by user and then by time.
pub async fn list(store: &dyn Store) -> Result<Vec<RegisteredKey>, KeyError> {
    let names = match store.children(&Place::Keys.path()).await {
        Err(StoreError::NotFound(_)) => Vec::new(),
        names => names?,
    };
    let mut keys = Vec::with_capacity(names.len());
    for name in names {
        // One removed meanwhile is not there any more.
        if let Some(record) = store.get(&Place::Keys.path().join(&name)).await? {
            keys.push(read(&name.replace('_', "/"), &record.value)?);
        }
    }
    keys.sort_by(|a, b| (&a.user, a.added, &a.fingerprint).cmp(&(&b.user, b.added, &b.fingerprint)));
    Ok(keys)
}

/// The key with this fingerprint, by one indexed look-up.
pub async fn find(store: &dyn Store, fingerprint: &Fingerprint) -> Result<Option<RegisteredKey>, KeyError> {
    let record = store.get(&Place::Key(fingerprint).path()).await?;
    record.map(|record| read(fingerprint.as_str(), &record.value)).transpose()
}

/// Removes the key, and says whose it was. From then on it opens nothing; the user stays.
pub async fn remove(store: &dyn Store, fingerprint: &Fingerprint) -> Result<RegisteredKey, KeyError> {
    let unknown = || KeyError::Unknown(fingerprint.clone());
    let removed = find(store, fingerprint).await?.ok_or_else(unknown)?;
    match store.delete(&Place::Key(fingerprint).path(), None).await {
        Err(StoreError::NotFound(_)) => Err(unknown()),
        deleted => Ok(deleted.map(|()| removed)?),
    }
}

fn registered(record: KeyRecord, fingerprint: Fingerprint, key_type: String) -> RegisteredKey {
    let KeyRecord { user, key: line, comment, added } = record;
    RegisteredKey { fingerprint, user, key_type, comment, added, line }
}

fn read(fingerprint: &str, value: &[u8]) -> Result<RegisteredKey, KeyError> {
    parse_record(fingerprint, value).map_err(|cause| KeyError::Damaged { fingerprint: fingerprint.to_owned(), cause })
}

/// The key is parsed as strictly as when it came: what leaves here goes into a line that sshd obeys.
fn parse_record(fingerprint: &str, value: &[u8]) -> Result<RegisteredKey, DamagedKey> {
    let record: KeyRecord = serde_json::from_slice(value)?;
    let key = PublicKey::parse(record.key.as_bytes())?;
    if key.fingerprint().as_str() != fingerprint {
        return Err(DamagedKey::Another);
    }
    Ok(registered(KeyRecord { key: key.to_string(), ..record }, key.fingerprint().clone(), key.key_type().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::public_key::samples::{ED25519, ED25519_FINGERPRINT, P256, RSA_2048};
    use super::*;
    use crate::store::SqliteStore;

    struct Fresh(SqliteStore, tempfile::TempDir);

    fn fresh() -> Fresh {
        let dir = tempfile::tempdir().unwrap();
        Fresh(SqliteStore::open(dir.path()).unwrap(), dir)
    }

    fn key(text: &str) -> PublicKey {
        PublicKey::parse(text.as_bytes()).unwrap()
    }

    fn name(text: &str) -> UserName {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn a_first_key_makes_its_user() {
        let Fresh(store, _dir) = fresh();
        assert!(!users::exists(&store, &name("alice")).await.unwrap());
        let added = add(&store, &name("alice"), &key(ED25519)).await.unwrap();
        assert!(users::exists(&store, &name("alice")).await.unwrap());
        add(&store, &name("alice"), &key(P256)).await.unwrap();
        let found = find(&store, &ED25519_FINGERPRINT.parse().unwrap()).await.unwrap().unwrap();
        assert_eq!(found, added);
        assert_eq!((found.user.as_str(), found.comment.as_str()), ("alice", "alice@laptop"));
        assert_eq!(format!("{} alice@laptop", found.line), ED25519);
    }

    #[tokio::test]
    async fn a_key_that_is_known_is_refused_and_its_user_named() {
        let Fresh(store, _dir) = fresh();
        add(&store, &name("alice"), &key(ED25519)).await.unwrap();
        for user in ["bob", "alice"] {
            let error = add(&store, &name(user), &key(ED25519)).await.unwrap_err();
            assert!(matches!(&error, KeyError::Known { user, .. } if user.as_str() == "alice"), "{error:?}");
        }
        assert!(!users::exists(&store, &name("bob")).await.unwrap(), "a refusal leaves no trace");
    }

    #[tokio::test]
    async fn of_two_who_register_one_key_one_gets_it() {
        let Fresh(store, dir) = fresh();
        let other = SqliteStore::open(dir.path()).unwrap();
        let (alice, bob) = (name("alice"), name("bob"));
        let key = key(ED25519);
        let (one, two) = tokio::join!(add(&store, &alice, &key), add(&other, &bob, &key));
        assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
        assert_eq!(list(&store).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn one_user_may_register_two_keys_at_once() {
        let Fresh(store, dir) = fresh();
        let other = SqliteStore::open(dir.path()).unwrap();
        let alice = name("alice");
        let (first, second) = (key(ED25519), key(P256));
        let (one, two) = tokio::join!(add(&store, &alice, &first), add(&other, &alice, &second));
        one.and(two).unwrap();
        assert_eq!(list(&store).await.unwrap().len(), 2);
    }

    #[tokio::test]
    async fn keys_are_listed_by_user() {
        let Fresh(store, _dir) = fresh();
        assert_eq!(list(&store).await.unwrap(), []);
        for (user, text) in [("bob", ED25519), ("alice", P256), ("bob", RSA_2048)] {
            add(&store, &name(user), &key(text)).await.unwrap();
        }
        let listed = list(&store).await.unwrap();
        let lines: Vec<_> = listed.iter().map(|key| (key.user.as_str(), key.key_type.as_str())).collect();
        assert_eq!(lines, [("alice", "ecdsa-sha2-nistp256"), ("bob", "ssh-ed25519"), ("bob", "ssh-rsa")]);
    }

    #[tokio::test]
    async fn a_removed_key_is_gone_and_can_come_back() {
        let Fresh(store, _dir) = fresh();
        let fingerprint = ED25519_FINGERPRINT.parse().unwrap();
        assert!(matches!(remove(&store, &fingerprint).await, Err(KeyError::Unknown(_))));
        add(&store, &name("alice"), &key(ED25519)).await.unwrap();
        assert_eq!(remove(&store, &fingerprint).await.unwrap().user.as_str(), "alice");
        assert_eq!(find(&store, &fingerprint).await.unwrap(), None);
        assert!(matches!(remove(&store, &fingerprint).await, Err(KeyError::Unknown(_))));
        assert_eq!(add(&store, &name("bob"), &key(ED25519)).await.unwrap().user.as_str(), "bob");
    }

    #[tokio::test]
    async fn a_damaged_record_opens_nothing() {
        let Fresh(store, _dir) = fresh();
        let added = add(&store, &name("alice"), &key(ED25519)).await.unwrap();
        let path = Place::Key(&added.fingerprint).path();
        let with = |line: &str| {
            serde_json::json!({"user": "alice", "key": line, "comment": "", "added": "2001-02-03T04:05:06Z"})
                .to_string()
        };
        for value in ["{".to_owned(), with(P256), with(&format!("command=\"x\" {ED25519}")), with("x")] {
            store.put(&path, value.into_bytes(), None).await.unwrap();
            let error = find(&store, &added.fingerprint).await.unwrap_err();
            assert!(matches!(error, KeyError::Damaged { .. }), "{error:?}");
        }
    }
}
