use super::super::public_key::samples::{ED25519, ED25519_FINGERPRINT, P256, RSA_2048};
use super::*;
use crate::accounts::users;
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
    let added = add(&store, &name("alice"), &key(ED25519)).await.unwrap().key;
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
    assert_eq!(add(&store, &name("bob"), &key(ED25519)).await.unwrap().key.user.as_str(), "bob");
}

#[tokio::test]
async fn a_damaged_record_opens_nothing() {
    let Fresh(store, _dir) = fresh();
    let added = add(&store, &name("alice"), &key(ED25519)).await.unwrap().key;
    let path = Place::Key(&added.fingerprint).path();
    let with = |line: &str| {
        serde_json::json!({"user": "alice", "key": line, "comment": "", "added": "2001-02-03T04:05:06Z"}).to_string()
    };
    for value in ["{".to_owned(), with(P256), with(&format!("command=\"x\" {ED25519}")), with("x")] {
        store.put(&path, value.into_bytes(), None).await.unwrap();
        let error = find(&store, &added.fingerprint).await.unwrap_err();
        assert!(matches!(error, KeyError::Damaged { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn only_the_first_user_of_a_platform_is_made_its_admin() {
    let Fresh(store, _dir) = fresh();
    let first = add(&store, &name("alice"), &key(ED25519)).await.unwrap();
    assert!(first.made_admin && users::get(&store, &name("alice")).await.unwrap().unwrap().is_admin);
    for (user, text) in [("alice", P256), ("bob", RSA_2048)] {
        assert!(!add(&store, &name(user), &key(text)).await.unwrap().made_admin, "{user}");
    }
    assert!(!users::get(&store, &name("bob")).await.unwrap().unwrap().is_admin);
}

#[tokio::test]
async fn of_two_first_users_one_is_admin() {
    for _ in 0..20 {
        let Fresh(store, dir) = fresh();
        let other = SqliteStore::open(dir.path()).unwrap();
        let ((alice, bob), (first, second)) = ((name("alice"), name("bob")), (key(ED25519), key(P256)));
        let (one, two) = tokio::join!(add(&store, &alice, &first), add(&other, &bob, &second));
        assert!(one.unwrap().made_admin != two.unwrap().made_admin);
        assert_eq!(users::list(&store).await.unwrap().iter().filter(|user| user.is_admin).count(), 1);
    }
}

/// A store as earlier versions left it: users without a list of keys, keys without a name.
async fn older_store(store: &SqliteStore) {
    let put = async |place: Place<'_>, value: serde_json::Value| {
        store.ensure(&place.path().parent().unwrap()).await.unwrap();
        store.create(&place.path(), value.to_string().into_bytes()).await.unwrap();
    };
    let time = "2001-02-03T04:05:06Z";
    put(Place::User(&name("alice")), serde_json::json!({"created": time})).await;
    for text in [ED25519, P256] {
        let key = key(text);
        let record = serde_json::json!(
            {"user": "alice", "key": key.to_string(), "comment": key.comment(), "added": time});
        put(Place::Key(key.fingerprint()), record).await;
    }
}

#[tokio::test]
async fn what_earlier_versions_recorded_is_read_and_changed() {
    let Fresh(store, _dir) = fresh();
    older_store(&store).await;
    let alice = name("alice");
    assert!(!users::get(&store, &alice).await.unwrap().unwrap().is_admin);
    let keys = of_user(&store, &alice).await.unwrap();
    let names: Vec<_> = keys.iter().map(|key| key.name.as_str()).collect();
    assert!(names.contains(&"alice@laptop") && names.iter().any(|name| name.starts_with("key-")), "{names:?}");
    let added = add(&store, &alice, &key(RSA_2048)).await.unwrap();
    assert!(!added.made_admin, "she is not the first");
    assert_eq!(of_user(&store, &alice).await.unwrap().len(), 3);
    remove(&store, key(P256).fingerprint()).await.unwrap();
    let renamed = rename(&store, key(ED25519).fingerprint(), &"home".parse().unwrap()).await.unwrap();
    assert_eq!(find(&store, key(ED25519).fingerprint()).await.unwrap(), Some(renamed));
    let keys = of_user(&store, &alice).await.unwrap();
    let names: Vec<_> = keys.iter().map(|key| key.name.as_str()).collect();
    assert_eq!(names, ["home", "key-1"]);
}

#[tokio::test]
async fn the_first_user_beside_those_of_an_earlier_version_is_no_admin() {
    let Fresh(store, _dir) = fresh();
    older_store(&store).await;
    assert!(!add(&store, &name("bob"), &key(RSA_2048)).await.unwrap().made_admin);
}

#[tokio::test]
async fn a_name_is_unique_among_the_keys_of_one_user() {
    let Fresh(store, _dir) = fresh();
    let same = format!("{P256} alice@laptop");
    let (alice, bob) = (name("alice"), name("bob"));
    let first = add(&store, &alice, &key(ED25519)).await.unwrap().key;
    let second = add(&store, &alice, &key(&same)).await.unwrap().key;
    let third = add(&store, &bob, &key(RSA_2048)).await.unwrap().key;
    assert_eq!((first.name.as_str(), second.name.as_str()), ("alice@laptop", "alice@laptop-2"));
    assert_eq!(third.name.as_str(), "key-1");
    let refused = rename(&store, &second.fingerprint, &first.name).await.unwrap_err();
    assert!(
        matches!(&refused, KeyError::NameTaken { fingerprint, .. } if *fingerprint == first.fingerprint),
        "{refused}"
    );
    assert_eq!(rename(&store, &first.fingerprint, &first.name).await.unwrap(), first, "its own name is not taken");
    rename(&store, &third.fingerprint, &first.name).await.unwrap();
    let unknown = format!("SHA256:{}", "a".repeat(43)).parse().unwrap();
    assert!(matches!(rename(&store, &unknown, &first.name).await, Err(KeyError::Unknown(_))));
}

#[tokio::test]
async fn of_two_keys_that_get_one_name_at_once_one_has_it() {
    let Fresh(store, dir) = fresh();
    let other = SqliteStore::open(dir.path()).unwrap();
    let alice = name("alice");
    let first = add(&store, &alice, &key(ED25519)).await.unwrap().key.fingerprint;
    let second = add(&store, &alice, &key(P256)).await.unwrap().key.fingerprint;
    for round in 0..20 {
        let wanted = format!("laptop-{round}").parse().unwrap();
        let (one, two) = tokio::join!(rename(&store, &first, &wanted), rename(&other, &second, &wanted));
        assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    }
}

#[tokio::test]
async fn a_use_is_written_down_once_a_minute_and_goes_with_its_key() {
    let Fresh(store, _dir) = fresh();
    let alice = name("alice");
    let fingerprint = add(&store, &alice, &key(ED25519)).await.unwrap().key.fingerprint;
    let last = async || of_user(&store, &alice).await.unwrap()[0].last_used;
    assert_eq!(last().await, None);
    let at = |second: i64, from: &str| LastUse {
        at: Timestamp::from_second(1_000_000 + second).unwrap(),
        from: Some(from.parse().unwrap()),
    };
    let first = at(0, "192.0.2.1");
    used_at(&store, &fingerprint, first).await.unwrap();
    used_at(&store, &fingerprint, at(59, "192.0.2.2")).await.unwrap();
    assert_eq!(last().await, Some(first), "within the minute nothing is written");
    let later = at(60, "2001:db8::1");
    used_at(&store, &fingerprint, later).await.unwrap();
    assert_eq!(last().await, Some(later));
    let back = at(-3600, "192.0.2.1");
    used_at(&store, &fingerprint, back).await.unwrap();
    assert_eq!(last().await, Some(back), "a clock that was set back does not stop it");
    assert_eq!(list(&store).await.unwrap()[0].last_used, Some(back));

    remove(&store, &fingerprint).await.unwrap();
    assert!(matches!(used(&store, &fingerprint, None).await, Err(KeyError::Unknown(_))));
    add(&store, &alice, &key(ED25519)).await.unwrap();
    assert_eq!(last().await, None, "it was never used since it came back");
}

#[tokio::test]
async fn uses_and_changes_of_a_key_do_not_hinder_each_other() {
    let Fresh(store, dir) = fresh();
    let other = SqliteStore::open(dir.path()).unwrap();
    let fingerprint = add(&store, &name("alice"), &key(ED25519)).await.unwrap().key.fingerprint;
    for round in 0..20_i64 {
        let at = Timestamp::from_second(round * 60).unwrap();
        let renamed = format!("name-{round}").parse().unwrap();
        let (one, two) = tokio::join!(
            used_at(&store, &fingerprint, LastUse { at, from: None }),
            rename(&other, &fingerprint, &renamed)
        );
        one.and(two.map(|_| ())).unwrap();
        assert_eq!(last_use(&store, &fingerprint).await.unwrap().unwrap().at, at);
    }
}
