use std::time::Duration;

use super::super::public_key::samples::{ED25519, P256, RSA_2048};
use super::redeem::redeem_at;
use super::*;
use crate::accounts::{PublicKey, keys, members, users};
use crate::store::SqliteStore;

struct Dev {
    store: SqliteStore,
    tenant: TenantName,
    dir: tempfile::TempDir,
}

async fn dev() -> Dev {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path()).unwrap();
    let tenant = "dev".parse().unwrap();
    tenants::record(&store, &tenant).await.unwrap();
    Dev { store, tenant, dir }
}

fn name(text: &str) -> UserName {
    text.parse().unwrap()
}

fn public(text: &str) -> PublicKey {
    PublicKey::parse(text.as_bytes()).unwrap()
}

fn in_an_hour() -> Timestamp {
    Timestamp::now() + Duration::from_hours(1)
}

impl Dev {
    async fn join_token(&self, role: Role, uses: u32) -> NewToken {
        let uses = NonZeroU32::new(uses).unwrap();
        create_join(&self.store, &self.tenant, role, uses, in_an_hour(), "alice").await.unwrap()
    }

    async fn deploy_token(&self, app: &str) -> NewToken {
        create_deploy(&self.store, &self.tenant, &app.parse().unwrap(), None, "alice").await.unwrap()
    }

    async fn redeem(&self, token: &Token, key: &str, wanted: Option<&str>) -> Result<Joined, TokenError> {
        redeem(&self.store, token, &public(key), wanted.map(name)).await
    }
}

#[tokio::test]
async fn an_unknown_key_becomes_a_user_and_member() {
    let dev = dev().await;
    let NewToken { token, .. } = dev.join_token(Role::Developer, 2).await;
    let joined = dev.redeem(&token, ED25519, None).await.unwrap();
    let expected = Joined { user: name("alice"), tenant: dev.tenant.clone(), role: Role::Developer, is_new: true };
    assert_eq!(joined, expected, "named after the key's comment");
    assert_eq!(keys::find(&dev.store, public(ED25519).fingerprint()).await.unwrap().unwrap().user, name("alice"));
    let member = members::list(&dev.store, &dev.tenant).await.unwrap().remove(0);
    assert_eq!((member.role, member.by), (Role::Developer, format!("token {}", token.id())));
    assert!(!users::get(&dev.store, &name("alice")).await.unwrap().unwrap().is_admin, "a token makes no admin");

    assert!(matches!(dev.redeem(&token, P256, None).await, Err(TokenError::NameNeeded(_))));
    let joined = dev.redeem(&token, P256, Some("bob")).await.unwrap();
    assert_eq!((joined.user, joined.is_new), (name("bob"), true));
    assert!(matches!(dev.redeem(&token, RSA_2048, Some("carol")).await, Err(TokenError::Unusable)), "used up");
    assert!(!users::exists(&dev.store, &name("carol")).await.unwrap(), "a refusal leaves no trace");
}

#[tokio::test]
async fn nobody_becomes_somebody_else_by_a_token() {
    let dev = dev().await;
    keys::add(&dev.store, &name("alice"), &public(P256)).await.unwrap();
    let NewToken { token, .. } = dev.join_token(Role::Viewer, 1).await;
    for wanted in [None, Some("alice")] {
        let refused = dev.redeem(&token, ED25519, wanted).await;
        assert!(matches!(&refused, Err(TokenError::NameTaken(user)) if user.as_str() == "alice"), "{refused:?}");
    }
    assert_eq!(keys::of_user(&dev.store, &name("alice")).await.unwrap().len(), 1);
    let joined = dev.redeem(&token, P256, Some("mallory")).await.unwrap();
    assert_eq!((joined.user, joined.is_new), (name("alice"), false), "a known key keeps its user");
    assert!(!users::exists(&dev.store, &name("mallory")).await.unwrap());
}

#[tokio::test]
async fn a_member_keeps_the_higher_of_two_roles() {
    let dev = dev().await;
    keys::add(&dev.store, &name("alice"), &public(ED25519)).await.unwrap();
    for (role, expected) in
        [(Role::Developer, Role::Developer), (Role::Viewer, Role::Developer), (Role::Owner, Role::Owner)]
    {
        let NewToken { token, .. } = dev.join_token(role, 1).await;
        assert_eq!(dev.redeem(&token, ED25519, None).await.unwrap().role, expected);
        let now = members::role_of(&dev.store, &dev.tenant, &name("alice")).await.unwrap();
        assert_eq!(now, Some(expected));
        assert!(matches!(dev.redeem(&token, ED25519, None).await, Err(TokenError::Unusable)), "a use was taken");
    }
}

#[tokio::test]
async fn every_token_that_is_not_valid_gets_the_same_answer() {
    let dev = dev().await;
    let used_up = dev.join_token(Role::Viewer, 1).await.token;
    dev.redeem(&used_up, P256, Some("bob")).await.unwrap();
    let revoked = dev.join_token(Role::Viewer, 1).await.token;
    revoke(&dev.store, &dev.tenant, &revoked.id()).await.unwrap();
    let wrong = dev.deploy_token("shop").await.token;
    let unknown = Token::random(TokenPurpose::Join);
    let mut answers = Vec::new();
    for token in [used_up, revoked, wrong, unknown] {
        answers.push(dev.redeem(&token, ED25519, None).await.unwrap_err());
    }
    let expired = dev.join_token(Role::Viewer, 1).await;
    let end = expired.issued.expires.unwrap();
    answers.push(redeem_at(&dev.store, &expired.token, &public(ED25519), None, end).await.unwrap_err());
    for answer in answers {
        assert!(matches!(answer, TokenError::Unusable), "{answer:?}");
        assert_eq!(answer.to_string(), TokenError::Unusable.to_string());
    }
    assert!(!users::exists(&dev.store, &name("alice")).await.unwrap());
    let just_before = end - Duration::from_secs(1);
    redeem_at(&dev.store, &expired.token, &public(ED25519), None, just_before).await.unwrap();
}

#[tokio::test]
async fn a_tenant_made_anew_does_not_take_the_tokens_of_the_one_before() {
    let dev = dev().await;
    let join = dev.join_token(Role::Owner, 9).await.token;
    let deploy = dev.deploy_token("shop").await.token;
    let kept: Vec<_> = [&join, &deploy].map(|token| Place::Token(token.hash()).path()).into();
    let mut records = Vec::new();
    for path in &kept {
        records.push(dev.store.get(path).await.unwrap().unwrap().value);
    }
    tenants::forget(&dev.store, &dev.tenant).await.unwrap();
    assert_eq!(dev.store.children(&Place::Tokens.path()).await.unwrap(), [""; 0], "they go with their tenant");
    tenants::record(&dev.store, &dev.tenant).await.unwrap();
    // Even had they stayed.
    for (path, value) in kept.iter().zip(records) {
        dev.store.create(path, value).await.unwrap();
    }
    assert!(matches!(dev.redeem(&join, ED25519, None).await, Err(TokenError::Unusable)));
    let now = Timestamp::now();
    let app = "shop".parse().unwrap();
    assert_eq!(deploys(&dev.store, deploy.expose(), &dev.tenant, &app, now).await.unwrap(), None);
}

#[tokio::test]
async fn a_deploy_token_is_for_one_app_of_one_tenant_until_it_expires() {
    let dev = dev().await;
    let prod: TenantName = "prod".parse().unwrap();
    tenants::record(&dev.store, &prod).await.unwrap();
    let (shop, wiki): (AppName, AppName) = ("shop".parse().unwrap(), "wiki".parse().unwrap());
    let end = in_an_hour();
    let made = create_deploy(&dev.store, &dev.tenant, &shop, Some(end), "alice").await.unwrap();
    let NewToken { token, .. } = &made;
    let now = Timestamp::now();
    let ask = async |text: &str, tenant: &TenantName, app: &AppName, now| {
        deploys(&dev.store, text, tenant, app, now).await.unwrap()
    };
    assert_eq!(ask(token.expose(), &dev.tenant, &shop, now).await, Some(token.id()));
    assert_eq!(ask(token.expose(), &dev.tenant, &shop, end).await, None, "expired");
    assert_eq!(ask(token.expose(), &dev.tenant, &wiki, now).await, None, "another app");
    assert_eq!(ask(token.expose(), &prod, &shop, now).await, None, "another tenant");
    assert_eq!(ask(&token.expose()[1..], &dev.tenant, &shop, now).await, None, "no token");
    let join = dev.join_token(Role::Owner, 1).await.token;
    assert_eq!(ask(join.expose(), &dev.tenant, &shop, now).await, None, "another kind");
    revoke(&dev.store, &dev.tenant, &token.id()).await.unwrap();
    assert_eq!(ask(token.expose(), &dev.tenant, &shop, now).await, None, "revoked");
}

#[tokio::test]
async fn tokens_are_listed_by_tenant_and_go_when_they_open_nothing() {
    let dev = dev().await;
    let prod: TenantName = "prod".parse().unwrap();
    tenants::record(&dev.store, &prod).await.unwrap();
    let first = dev.join_token(Role::Viewer, 1).await;
    let second = dev.deploy_token("shop").await;
    assert_eq!(list(&dev.store, &dev.tenant).await.unwrap(), [first.issued.clone(), second.issued.clone()]);
    assert_eq!(list(&dev.store, &prod).await.unwrap(), []);
    let refused = revoke(&dev.store, &prod, &first.issued.id).await;
    assert!(matches!(refused, Err(TokenError::Unknown { .. })), "another tenant's");

    dev.redeem(&first.token, ED25519, None).await.unwrap();
    let listed = list(&dev.store, &dev.tenant).await.unwrap();
    assert_eq!(listed[0].kind, TokenKind::Join { role: Role::Viewer, uses_left: 0 });
    let third = dev.join_token(Role::Owner, 2).await;
    assert_eq!(list(&dev.store, &dev.tenant).await.unwrap(), [second.issued.clone(), third.issued]);
    assert_eq!(revoke(&dev.store, &dev.tenant, &second.issued.id).await.unwrap(), second.issued);
    assert!(matches!(revoke(&dev.store, &dev.tenant, &second.issued.id).await, Err(TokenError::Unknown { .. })));
}

#[tokio::test]
async fn no_token_is_made_for_the_past_or_for_no_tenant() {
    let dev = dev().await;
    let (once, nowhere) = (NonZeroU32::MIN, "nowhere".parse().unwrap());
    let refused = create_join(&dev.store, &dev.tenant, Role::Viewer, once, Timestamp::now(), "alice").await;
    assert!(matches!(refused, Err(TokenError::ExpiresInThePast(_))), "{refused:?}");
    let refused = create_join(&dev.store, &nowhere, Role::Viewer, once, in_an_hour(), "alice").await;
    assert!(matches!(refused, Err(TokenError::NoTenant(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_who_redeem_a_single_use_token_at_once_one_joins() {
    let dev = dev().await;
    let other = SqliteStore::open(dev.dir.path()).unwrap();
    let keys = [public(ED25519), public(P256)];
    for round in 0..200 {
        let token = dev.join_token(Role::Developer, 1).await.token;
        let (alice, bob) = (name("alice"), name("bob"));
        let (one, two) = tokio::join!(
            redeem(&dev.store, &token, &keys[0], Some(alice)),
            redeem(&other, &token, &keys[1], Some(bob))
        );
        assert!(one.is_ok() != two.is_ok(), "round {round}: {one:?} {two:?}");
        let members = members::list(&dev.store, &dev.tenant).await.unwrap();
        assert_eq!(members.len(), 1);
        let (won, lost) = if one.is_ok() { (one, two) } else { (two, one) };
        assert_eq!(members[0].user, won.unwrap().user);
        assert!(matches!(lost, Err(TokenError::Unusable)), "round {round}: {lost:?}");
        assert_eq!(users::list(&other).await.unwrap().len(), 1, "who lost is no user");
        users::remove(&dev.store, &members[0].user).await.unwrap();
    }
}

#[tokio::test]
async fn nothing_that_holds_a_token_shows_it_and_the_store_does_not_have_it() {
    let dev = dev().await;
    for made in [dev.join_token(Role::Viewer, 1).await, dev.deploy_token("shop").await] {
        let value = made.token.expose().to_owned();
        let stored = Stored::read(&dev.store, made.token.hash().clone()).await.unwrap().unwrap();
        let record = dev.store.get(&Place::Token(made.token.hash()).path()).await.unwrap().unwrap().value;
        let refused = revoke(&dev.store, &"prod".parse().unwrap(), &made.token.id()).await.unwrap_err();
        let shown = [
            format!("{made:?}"),
            format!("{:#?}", made.token),
            made.token.to_string(),
            serde_json::to_string(&made.issued).unwrap(),
            format!("{stored:?}"),
            format!("{refused:?} {refused}"),
            String::from_utf8(record).unwrap(),
        ];
        // Not even a part that would help to guess the rest.
        let parts: Vec<_> = (0..value.len() - 12).map(|at| &value[at..at + 12]).filter(|p| !p.contains('_')).collect();
        for text in shown {
            assert!(!parts.iter().any(|part| text.contains(part)), "{text}");
        }
    }
}
