use super::super::public_key::samples::{ED25519, P256, RSA_2048};
use super::*;
use crate::accounts::{PublicKey, tenants};
use crate::model::Role;
use crate::store::SqliteStore;

struct Fresh(SqliteStore, tempfile::TempDir);

/// alice, who is the admin, and bob, each with a key.
async fn alice_and_bob() -> Fresh {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path()).unwrap();
    for (user, key) in [("alice", ED25519), ("bob", P256)] {
        keys::add(&store, &name(user), &public(key)).await.unwrap();
    }
    Fresh(store, dir)
}

fn name(text: &str) -> UserName {
    text.parse().unwrap()
}

fn public(text: &str) -> PublicKey {
    PublicKey::parse(text.as_bytes()).unwrap()
}

async fn tenant_of(store: &SqliteStore, tenant: &str, members: &[(&str, Role)]) -> TenantName {
    let tenant = tenant.parse().unwrap();
    tenants::record(store, &tenant).await.unwrap();
    for (user, role) in members {
        members::add(store, &tenant, &name(user), *role, "(host)").await.unwrap();
    }
    tenant
}

#[tokio::test]
async fn users_are_listed_by_name_with_the_admin() {
    let Fresh(store, _dir) = alice_and_bob().await;
    let users = list(&store).await.unwrap();
    let lines: Vec<_> = users.iter().map(|user| (user.name.as_str(), user.is_admin)).collect();
    assert_eq!(lines, [("alice", true), ("bob", false)]);
    assert_eq!(get(&store, &name("bob")).await.unwrap().as_ref(), Some(&users[1]));
    assert_eq!(get(&store, &name("carol")).await.unwrap(), None);
    assert!(matches!(set_admin(&store, &name("carol"), true).await, Err(UserError::Unknown(_))));
}

#[tokio::test]
async fn a_new_name_takes_keys_and_memberships_along() {
    let Fresh(store, _dir) = alice_and_bob().await;
    let dev = tenant_of(&store, "dev", &[("alice", Role::Owner), ("bob", Role::Developer)]).await;
    let second = keys::add(&store, &name("bob"), &public(RSA_2048)).await.unwrap().key;
    keys::used(&store, &second.fingerprint, None).await.unwrap();
    let (bob, bert) = (name("bob"), name("bert"));
    assert!(matches!(rename(&store, &bob, &name("alice")).await, Err(UserError::Taken(_))));
    assert_eq!(rename(&store, &bob, &bert).await.unwrap().name, bert);

    assert_eq!(get(&store, &bob).await.unwrap(), None);
    assert_eq!(keys::of_user(&store, &bob).await.unwrap(), []);
    assert_eq!(members::role_of(&store, &dev, &bob).await.unwrap(), None);
    let keys = keys::of_user(&store, &bert).await.unwrap();
    assert_eq!(keys.len(), 2);
    assert!(keys.iter().any(|key| key.last_used.is_some()), "what was known of the keys is known still");
    assert_eq!(keys::find(&store, &second.fingerprint).await.unwrap().unwrap().user, bert);
    assert_eq!(members::role_of(&store, &dev, &bert).await.unwrap(), Some(Role::Developer));
    assert!(matches!(rename(&store, &bob, &bert).await, Err(UserError::Unknown(_))));
    assert_eq!(rename(&store, &bert, &bert).await.unwrap().name, bert, "the same name is no change");
}

#[tokio::test]
async fn an_owner_or_admin_stays_one_under_a_new_name() {
    let Fresh(store, _dir) = alice_and_bob().await;
    let dev = tenant_of(&store, "dev", &[("alice", Role::Owner)]).await;
    let renamed = rename(&store, &name("alice"), &name("alicia")).await.unwrap();
    assert!(renamed.is_admin && get(&store, &name("alicia")).await.unwrap().unwrap().is_admin);
    assert_eq!(members::role_of(&store, &dev, &name("alicia")).await.unwrap(), Some(Role::Owner));
}

#[tokio::test]
async fn keys_and_memberships_go_with_their_user() {
    let Fresh(store, _dir) = alice_and_bob().await;
    let dev = tenant_of(&store, "dev", &[("alice", Role::Owner), ("bob", Role::Owner)]).await;
    let key = keys::of_user(&store, &name("bob")).await.unwrap().remove(0).fingerprint;
    keys::used(&store, &key, None).await.unwrap();
    let removed = remove(&store, &name("bob")).await.unwrap();
    assert_eq!((removed.keys, removed.tenants), (vec![key.clone()], vec![dev.clone()]));
    assert_eq!(keys::find(&store, &key).await.unwrap(), None);
    assert_eq!(members::role_of(&store, &dev, &name("bob")).await.unwrap(), None);
    assert_eq!(get(&store, &name("bob")).await.unwrap(), None);
    assert!(matches!(remove(&store, &name("bob")).await, Err(UserError::Unknown(_))));
    keys::add(&store, &name("bob"), &public(P256)).await.unwrap();
    assert_eq!(members::role_of(&store, &dev, &name("bob")).await.unwrap(), None, "the name alone gives nothing");
}

#[tokio::test]
async fn the_last_owner_of_tenants_stays_and_the_tenants_are_named() {
    let Fresh(store, _dir) = alice_and_bob().await;
    let dev = tenant_of(&store, "dev", &[("bob", Role::Owner), ("alice", Role::Developer)]).await;
    let prod = tenant_of(&store, "prod", &[("bob", Role::Owner)]).await;
    tenant_of(&store, "test", &[("bob", Role::Owner), ("alice", Role::Owner)]).await;
    let refused = remove(&store, &name("bob")).await.unwrap_err();
    assert!(matches!(&refused, UserError::LastOwner { tenants, .. } if *tenants == [dev, prod]), "{refused:?}");
    assert!(refused.to_string().contains("`dev`, `prod`"), "{refused}");
    assert_eq!(keys::of_user(&store, &name("bob")).await.unwrap().len(), 1, "a refusal leaves no trace");
}

#[tokio::test]
async fn the_last_admin_who_has_a_key_stays_one() {
    let Fresh(store, _dir) = alice_and_bob().await;
    let (alice, bob) = (name("alice"), name("bob"));
    assert!(matches!(remove(&store, &alice).await, Err(UserError::LastAdmin(_))));
    assert!(matches!(set_admin(&store, &alice, false).await, Err(UserError::LastAdmin(_))));
    set_admin(&store, &bob, true).await.unwrap();
    keys::remove(&store, public(P256).fingerprint()).await.unwrap();
    assert!(matches!(remove(&store, &alice).await, Err(UserError::LastAdmin(_))), "bob has no key");
    remove(&store, &bob).await.unwrap();
    keys::add(&store, &bob, &public(P256)).await.unwrap();
    set_admin(&store, &bob, true).await.unwrap();
    assert!(!set_admin(&store, &alice, false).await.unwrap().is_admin);
    remove(&store, &alice).await.unwrap();
}

#[tokio::test]
async fn of_two_admins_who_leave_at_once_one_stays() {
    let Fresh(store, dir) = alice_and_bob().await;
    let other = SqliteStore::open(dir.path()).unwrap();
    let (alice, bob) = (name("alice"), name("bob"));
    for _ in 0..30 {
        for user in [&alice, &bob] {
            set_admin(&store, user, true).await.unwrap();
        }
        let (one, two) = tokio::join!(set_admin(&store, &alice, false), set_admin(&other, &bob, false));
        assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    }
}

#[tokio::test]
async fn a_key_that_comes_while_its_user_gets_another_name_follows() {
    let Fresh(store, dir) = alice_and_bob().await;
    let other = SqliteStore::open(dir.path()).unwrap();
    let (bob, bert) = (name("bob"), name("bert"));
    for _ in 0..30 {
        let key = public(RSA_2048);
        let (renamed, added) = tokio::join!(rename(&store, &bob, &bert), keys::add(&other, &bob, &key));
        renamed.unwrap();
        added.unwrap();
        // It came first and followed, or it came later and made another bob.
        let of = async |user: &UserName| keys::of_user(&store, user).await.unwrap().len();
        assert!(matches!((of(&bob).await, of(&bert).await), (0, 2) | (1, 1)));
        keys::remove(&store, key.fingerprint()).await.unwrap();
        if exists(&store, &bob).await.unwrap() {
            remove(&store, &bob).await.unwrap();
        }
        rename(&store, &bert, &bob).await.unwrap();
    }
}
