use super::super::public_key::samples::{ED25519, P256, RSA_2048};
use super::*;
use crate::accounts::{PublicKey, keys, users};
use crate::store::SqliteStore;

struct Dev {
    store: SqliteStore,
    tenant: TenantName,
    dir: tempfile::TempDir,
}

/// A tenant `dev`, and the users alice, bob and carol, none of them a member.
async fn dev() -> Dev {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path()).unwrap();
    let tenant = "dev".parse().unwrap();
    tenants::record(&store, &tenant).await.unwrap();
    for (user, key) in [("alice", ED25519), ("bob", P256), ("carol", RSA_2048)] {
        keys::add(&store, &name(user), &PublicKey::parse(key.as_bytes()).unwrap()).await.unwrap();
    }
    Dev { store, tenant, dir }
}

fn name(text: &str) -> UserName {
    text.parse().unwrap()
}

impl Dev {
    async fn with(self, members: &[(&str, Role)]) -> Self {
        for (user, role) in members {
            add(&self.store, &self.tenant, &name(user), *role, "(host)").await.unwrap();
        }
        self
    }

    async fn roles(&self) -> Vec<(String, Role)> {
        let members = list(&self.store, &self.tenant).await.unwrap();
        members.into_iter().map(|member| (member.user.to_string(), member.role)).collect()
    }
}

#[tokio::test]
async fn members_are_added_listed_changed_and_removed() {
    let Dev { store, tenant, .. } = dev().await;
    assert_eq!(list(&store, &tenant).await.unwrap(), []);
    let (alice, bob) = (name("alice"), name("bob"));
    add(&store, &tenant, &bob, Role::Viewer, "alice").await.unwrap();
    let owner = add(&store, &tenant, &alice, Role::Owner, "(host)").await.unwrap();
    assert_eq!((owner.by.as_str(), owner.role), ("(host)", Role::Owner));
    let listed = list(&store, &tenant).await.unwrap();
    assert_eq!(listed[0], owner, "by name");
    assert_eq!((&listed[1].user, listed[1].role, listed[1].by.as_str()), (&bob, Role::Viewer, "alice"));

    assert_eq!(set_role(&store, &tenant, &bob, Role::Developer).await.unwrap().role, Role::Developer);
    assert_eq!(role_of(&store, &tenant, &bob).await.unwrap(), Some(Role::Developer));
    assert_eq!(remove(&store, &tenant, &bob).await.unwrap().role, Role::Developer);
    assert_eq!(role_of(&store, &tenant, &bob).await.unwrap(), None);
    assert!(matches!(remove(&store, &tenant, &bob).await, Err(MemberError::Unknown { .. })));
    assert!(matches!(set_role(&store, &tenant, &bob, Role::Owner).await, Err(MemberError::Unknown { .. })));
}

#[tokio::test]
async fn only_users_who_are_there_become_members_once_of_tenants_that_are_there() {
    let Dev { store, tenant, .. } = dev().await.with(&[("alice", Role::Developer)]).await;
    let refused = add(&store, &tenant, &name("dave"), Role::Viewer, "alice").await;
    assert!(matches!(refused, Err(MemberError::NoUser(_))), "{refused:?}");
    let refused = add(&store, &"prod".parse().unwrap(), &name("alice"), Role::Viewer, "alice").await;
    assert!(matches!(refused, Err(MemberError::NoTenant(_))), "{refused:?}");
    assert_eq!(tenants::list(&store).await.unwrap().len(), 1, "a refusal leaves no trace");
    let refused = add(&store, &tenant, &name("alice"), Role::Owner, "alice").await;
    assert!(matches!(refused, Err(MemberError::Known { role: Role::Developer, .. })), "{refused:?}");
}

#[tokio::test]
async fn the_last_owner_is_neither_removed_nor_lowered() {
    let dev = dev().await.with(&[("alice", Role::Owner), ("bob", Role::Developer)]).await;
    let Dev { store, tenant, .. } = &dev;
    let alice = name("alice");
    let last = |error: &MemberError| matches!(error, MemberError::LastOwner { user, .. } if user.as_str() == "alice");
    assert!(last(&remove(store, tenant, &alice).await.unwrap_err()));
    for role in [Role::Viewer, Role::Developer] {
        assert!(last(&set_role(store, tenant, &alice, role).await.unwrap_err()));
    }
    set_role(store, tenant, &alice, Role::Owner).await.unwrap();
    set_role(store, tenant, &name("bob"), Role::Owner).await.unwrap();
    remove(store, tenant, &alice).await.unwrap();
    assert_eq!(dev.roles().await, [("bob".to_owned(), Role::Owner)]);
}

#[tokio::test]
async fn of_two_owners_who_leave_at_once_one_stays() {
    let dev = dev().await;
    let other = SqliteStore::open(dev.dir.path()).unwrap();
    let (alice, bob) = (name("alice"), name("bob"));
    for round in 0..50 {
        let dev_now = dev.roles().await;
        for user in [&alice, &bob] {
            if role_of(&dev.store, &dev.tenant, user).await.unwrap() != Some(Role::Owner) {
                // Somebody was removed, or lowered, by the round before.
                let _ = remove(&dev.store, &dev.tenant, user).await;
                add(&dev.store, &dev.tenant, user, Role::Owner, "(host)").await.unwrap();
            }
        }
        let (one, two) = if round % 2 == 0 {
            tokio::join!(remove(&dev.store, &dev.tenant, &alice), remove(&other, &dev.tenant, &bob))
        } else {
            tokio::join!(set_role(&dev.store, &dev.tenant, &alice, Role::Viewer), remove(&other, &dev.tenant, &bob))
        };
        assert!(one.is_ok() != two.is_ok(), "{dev_now:?}: {one:?} {two:?}");
        let owners = dev.roles().await.into_iter().filter(|(_, role)| *role == Role::Owner).count();
        assert_eq!(owners, 1);
    }
}

#[tokio::test]
async fn what_is_below_a_tenant_goes_with_it() {
    let dev = dev().await.with(&[("alice", Role::Owner), ("bob", Role::Viewer)]).await;
    let Dev { store, tenant, .. } = &dev;
    tenants::forget(store, tenant).await.unwrap();
    assert_eq!(role_of(store, tenant, &name("alice")).await.unwrap(), None);
    tenants::record(store, tenant).await.unwrap();
    assert_eq!(dev.roles().await, [], "one made anew has no members");
}

#[tokio::test]
async fn a_damaged_membership_gives_no_role() {
    let Dev { store, tenant, .. } = dev().await.with(&[("alice", Role::Owner)]).await;
    let path = Place::Member(&tenant, &name("alice")).path();
    for value in ["{", r#"{"role":"admin","added":"2001-02-03T04:05:06Z","by":""}"#] {
        store.put(&path, value.as_bytes().to_vec(), None).await.unwrap();
        assert!(matches!(role_of(&store, &tenant, &name("alice")).await, Err(MemberError::Damaged { .. })));
    }
}

#[tokio::test]
async fn a_user_who_goes_while_becoming_a_member_is_none() {
    let dev = dev().await.with(&[("carol", Role::Owner)]).await;
    let other = SqliteStore::open(dev.dir.path()).unwrap();
    let bob = name("bob");
    for _ in 0..50 {
        let (added, removed) =
            tokio::join!(add(&dev.store, &dev.tenant, &bob, Role::Owner, "(host)"), users::remove(&other, &bob));
        removed.unwrap();
        assert!(added.is_ok() || matches!(added, Err(MemberError::NoUser(_))), "{added:?}");
        assert_eq!(dev.roles().await, [("carol".to_owned(), Role::Owner)]);
        keys::add(&dev.store, &bob, &PublicKey::parse(P256.as_bytes()).unwrap()).await.unwrap();
    }
}
