//! Who may do what: the one place that decides, for commands and pushes alike.

use std::net::IpAddr;

use jiff::Timestamp;

use super::keys::{self, KeyError};
use super::members::{self, MemberError};
use super::tenants::{self, TenantError};
use super::tokens::{self, TokenError};
use super::users::{self, UserError};
use crate::model::{AppName, Fingerprint, Role, Secret, TenantName, TokenId, UserName};
use crate::store::{Store, StoreError};

/// Somebody who was let in: by which key, as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub user: UserName,
    pub key: Fingerprint,
    /// Where the connection came from, when that is known.
    pub from: Option<IpAddr>,
}

/// Whoever wants something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// A process of this host, of root or of the system user; it may do anything.
    Host,
    /// A connection, opened by a key.
    Key(Identity),
}

impl Caller {
    /// As the audit log names them. No user can be named as the host is.
    pub fn name(&self) -> String {
        match self {
            Self::Host => "(host)".to_owned(),
            Self::Key(who) => who.user.to_string(),
        }
    }
}

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action<'a> {
    /// See the tenant, clone its apps, read their builds, releases and logs.
    Read(&'a TenantName),
    /// Push to an app of the tenant, which makes it if need be, and deploys it.
    Push(&'a TenantName),
    /// Change config and formation of the tenant's apps.
    Configure(&'a TenantName),
    /// Change the tenant's members, tokens and quota, and read its audit log.
    Manage(&'a TenantName),
    /// Delete the tenant.
    Delete(&'a TenantName),
    CreateTenant,
    /// Change users, and the keys of others.
    ManageUsers,
    /// See the platform's state and the whole audit log.
    SeeHost,
    /// Anything about oneself.
    Own,
}

/// By what somebody may push to an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushRight {
    /// By their role, or as an admin.
    Role,
    /// By this deploy token, which their push brought.
    Token(TokenId),
}

impl PushRight {
    /// The token, when it is by one.
    pub fn token(self) -> Option<TokenId> {
        if let Self::Token(id) = self { Some(id) } else { None }
    }
}

/// What an action needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need<'a> {
    /// At least this role in the tenant, or to be an admin.
    Role(&'a TenantName, Role),
    /// To be an admin.
    Admin,
    /// A registered key.
    Key,
}

/// What somebody with a registered key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Standing {
    is_admin: bool,
    /// In the tenant that is asked about.
    role: Option<Role>,
}

/// Why it could not be decided; then nothing may be done.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    #[error("the key could not be looked up")]
    Key(#[from] KeyError),
    #[error("the user could not be looked up")]
    User(#[from] UserError),
    #[error("the membership could not be looked up")]
    Member(#[from] MemberError),
    #[error("the tenants could not be looked up")]
    Tenant(#[from] TenantError),
    #[error("the token could not be looked up")]
    Token(#[from] TokenError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What the action needs; the whole of the rules.
pub const fn need(action: Action<'_>) -> Need<'_> {
    match action {
        Action::Read(tenant) => Need::Role(tenant, Role::Viewer),
        Action::Push(tenant) | Action::Configure(tenant) => Need::Role(tenant, Role::Developer),
        Action::Manage(tenant) | Action::Delete(tenant) => Need::Role(tenant, Role::Owner),
        Action::CreateTenant | Action::ManageUsers | Action::SeeHost => Need::Admin,
        Action::Own => Need::Key,
    }
}

impl Need<'_> {
    fn is_met_by(self, standing: Standing) -> bool {
        standing.is_admin
            || match self {
                Self::Role(_, least) => standing.role >= Some(least),
                Self::Admin => false,
                Self::Key => true,
            }
    }
}

/// Whether the caller may do that, by what the store says now: a key that was removed after its connection began, or
/// that is another's now, may do nothing more.
///
/// A refusal is to be told in the words of "there is no such tenant": what somebody may not see does not exist for
/// them. Whether the tenant is there is not asked here.
pub async fn may(store: &dyn Store, caller: &Caller, action: Action<'_>) -> Result<bool, AccessError> {
    let Caller::Key(who) = caller else { return Ok(true) };
    let need = need(action);
    let tenant = if let Need::Role(tenant, _) = need { Some(tenant) } else { None };
    let allowed = standing(store, who, tenant).await?.is_some_and(|standing| need.is_met_by(standing));
    tracing::debug!(user = %who.user, ?action, allowed, "access decided");
    Ok(allowed)
}

/// By what the caller may push to the app now, if they may: as [`may`] says, else by the deploy token that `paas.yml`
/// holds. A token alone opens nothing, its bearer's key has to be registered.
pub async fn may_push(
    store: &dyn Store,
    caller: &Caller,
    tenant: &TenantName,
    app: &AppName,
    token: Option<&Secret>,
) -> Result<Option<PushRight>, AccessError> {
    if tenants::get(store, tenant).await?.is_none() {
        return Ok(None);
    }
    if may(store, caller, Action::Push(tenant)).await? {
        return Ok(Some(PushRight::Role));
    }
    let (Some(token), true) = (token, may(store, caller, Action::Own).await?) else { return Ok(None) };
    let found = tokens::deploys(store, token.reveal(), tenant, app, Timestamp::now()).await?;
    tracing::debug!(user = %caller.name(), %tenant, %app, allowed = found.is_some(), "deploy token judged");
    Ok(found.map(PushRight::Token))
}

/// What the caller is now; nothing when the key is not registered to that user.
async fn standing(
    store: &dyn Store,
    who: &Identity,
    tenant: Option<&TenantName>,
) -> Result<Option<Standing>, AccessError> {
    if keys::find(store, &who.key).await?.is_none_or(|key| key.user != who.user) {
        return Ok(None);
    }
    let is_admin = users::get(store, &who.user).await?.is_some_and(|user| user.is_admin);
    let role = match tenant {
        Some(tenant) => members::role_of(store, tenant, &who.user).await?,
        None => None,
    };
    Ok(Some(Standing { is_admin, role }))
}

/// The tenants that exist for the caller, by name.
pub async fn visible_tenants(store: &dyn Store, caller: &Caller) -> Result<Vec<TenantName>, AccessError> {
    let mut visible = Vec::new();
    for tenant in tenants::list(store).await? {
        if may(store, caller, Action::Read(&tenant.name)).await? {
            visible.push(tenant.name);
        }
    }
    Ok(visible)
}

#[cfg(test)]
mod tests {
    use super::super::PublicKey;
    use super::super::public_key::samples::{ED25519, P256, P384, P521, RSA_2048};
    use super::*;
    use crate::store::SqliteStore;

    /// The action after this one, until there is none: a new one does not compile without a place here.
    fn following<'a>(action: Action<'a>, tenant: &'a TenantName) -> Option<Action<'a>> {
        Some(match action {
            Action::Read(_) => Action::Push(tenant),
            Action::Push(_) => Action::Configure(tenant),
            Action::Configure(_) => Action::Manage(tenant),
            Action::Manage(_) => Action::Delete(tenant),
            Action::Delete(_) => Action::CreateTenant,
            Action::CreateTenant => Action::ManageUsers,
            Action::ManageUsers => Action::SeeHost,
            Action::SeeHost => Action::Own,
            Action::Own => return None,
        })
    }

    /// May a registered stranger, a viewer, a developer, an owner, an admin? Each action has its line.
    const fn line(action: Action<'_>) -> [bool; 5] {
        match action {
            Action::Read(_) => [false, true, true, true, true],
            Action::Push(_) | Action::Configure(_) => [false, false, true, true, true],
            Action::Manage(_) | Action::Delete(_) => [false, false, false, true, true],
            Action::CreateTenant | Action::ManageUsers | Action::SeeHost => [false, false, false, false, true],
            Action::Own => [true, true, true, true, true],
        }
    }

    fn actions(tenant: &TenantName) -> Vec<Action<'_>> {
        std::iter::successors(Some(Action::Read(tenant)), |action| following(*action, tenant)).collect()
    }

    struct People {
        store: SqliteStore,
        dev: TenantName,
        other: TenantName,
        /// In the order of the lines of the table.
        callers: [Caller; 5],
        _dir: tempfile::TempDir,
    }

    async fn people() -> People {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(dir.path()).unwrap();
        let (dev, other) = ("dev".parse().unwrap(), "other".parse().unwrap());
        for tenant in [&dev, &other] {
            tenants::record(&store, tenant).await.unwrap();
        }
        // The admin is added first and told of last.
        let admin = registered(&store, "admin", RSA_2048).await;
        let stranger = registered(&store, "stranger", ED25519).await;
        let mut callers = vec![stranger];
        for (role, key) in Role::ALL.into_iter().zip([P256, P384, P521]) {
            callers.push(registered(&store, role.as_str(), key).await);
            members::add(&store, &dev, &role.as_str().parse().unwrap(), role, "(host)").await.unwrap();
        }
        callers.push(admin);
        People { store, dev, other, callers: callers.try_into().unwrap(), _dir: dir }
    }

    async fn registered(store: &dyn Store, user: &str, key: &str) -> Caller {
        let user: UserName = user.parse().unwrap();
        let added = keys::add(store, &user, &PublicKey::parse(key.as_bytes()).unwrap()).await.unwrap();
        Caller::Key(Identity { user, key: added.key.fingerprint, from: None })
    }

    #[tokio::test]
    async fn each_role_may_do_what_its_line_of_the_table_says() {
        let People { store, dev, callers, .. } = people().await;
        for action in actions(&dev) {
            for (caller, expected) in callers.iter().zip(line(action)) {
                assert_eq!(may(&store, caller, action).await.unwrap(), expected, "{} {action:?}", caller.name());
            }
            assert!(may(&store, &Caller::Host, action).await.unwrap(), "the host may {action:?}");
        }
    }

    #[tokio::test]
    async fn a_role_counts_in_its_own_tenant_alone() {
        let People { store, other, callers, .. } = people().await;
        for action in actions(&other) {
            let [stranger, .., admin] = line(action);
            for caller in &callers {
                let expected = if caller.name() == "admin" { admin } else { stranger };
                assert_eq!(may(&store, caller, action).await.unwrap(), expected, "{} {action:?}", caller.name());
            }
        }
    }

    #[tokio::test]
    async fn a_key_that_was_removed_or_is_anothers_now_may_nothing() {
        let People { store, dev, callers: [stranger, .., owner, admin], .. } = people().await;
        let (Caller::Key(stranger), Caller::Key(owner), Caller::Key(admin)) = (stranger, owner, admin) else {
            panic!("all of them have keys");
        };
        keys::remove(&store, &owner.key).await.unwrap();
        keys::remove(&store, &admin.key).await.unwrap();
        let posing = Identity { user: "owner".parse().unwrap(), ..stranger };
        for who in [owner, admin, posing].map(Caller::Key) {
            for action in actions(&dev) {
                assert!(!may(&store, &who, action).await.unwrap(), "{} {action:?}", who.name());
            }
            assert_eq!(visible_tenants(&store, &who).await.unwrap(), []);
        }
    }

    #[tokio::test]
    async fn a_change_of_role_counts_at_once() {
        let People { store, dev, callers: [_, viewer, ..], .. } = people().await;
        let user = "viewer".parse().unwrap();
        members::set_role(&store, &dev, &user, Role::Developer).await.unwrap();
        assert!(may(&store, &viewer, Action::Push(&dev)).await.unwrap());
        members::remove(&store, &dev, &user).await.unwrap();
        assert!(!may(&store, &viewer, Action::Read(&dev)).await.unwrap());
    }

    #[tokio::test]
    async fn a_deploy_token_lets_a_registered_key_push_to_its_app_alone() {
        let People { store, dev, other, callers: [stranger, viewer, developer, ..], .. } = people().await;
        let (shop, wiki): (AppName, AppName) = ("shop".parse().unwrap(), "wiki".parse().unwrap());
        let made = tokens::create_deploy(&store, &dev, &shop, None, "(host)").await.unwrap();
        let (token, by_token) = (Secret::new(made.token.expose()), Some(PushRight::Token(made.issued.id)));
        for (caller, tenant, app, token, expected) in [
            (&stranger, &dev, &shop, Some(&token), by_token.clone()),
            (&viewer, &dev, &shop, Some(&token), by_token),
            (&developer, &dev, &shop, Some(&token), Some(PushRight::Role)),
            (&developer, &dev, &shop, None, Some(PushRight::Role)),
            (&stranger, &dev, &wiki, Some(&token), None),
            (&stranger, &other, &shop, Some(&token), None),
            (&stranger, &"nowhere".parse().unwrap(), &shop, Some(&token), None),
            (&stranger, &dev, &shop, None, None),
            (&stranger, &dev, &shop, Some(&Secret::new("paas_dt_x")), None),
        ] {
            let found = may_push(&store, caller, tenant, app, token).await.unwrap();
            assert_eq!(found, expected, "{} {tenant} {app} {token:?}", caller.name());
        }
        let nowhere = "nowhere".parse().unwrap();
        assert_eq!(may_push(&store, &Caller::Host, &nowhere, &shop, None).await.unwrap(), None, "no such tenant");
        let Caller::Key(who) = &stranger else { panic!("it has a key") };
        keys::remove(&store, &who.key).await.unwrap();
        assert_eq!(may_push(&store, &stranger, &dev, &shop, Some(&token)).await.unwrap(), None, "no key any more");
    }

    #[tokio::test]
    async fn people_see_their_own_tenants_and_admins_all() {
        let People { store, dev, other, callers: [stranger, viewer, .., admin], .. } = people().await;
        assert_eq!(visible_tenants(&store, &stranger).await.unwrap(), []);
        assert_eq!(visible_tenants(&store, &viewer).await.unwrap(), std::slice::from_ref(&dev));
        for caller in [admin, Caller::Host] {
            assert_eq!(visible_tenants(&store, &caller).await.unwrap(), [dev.clone(), other.clone()]);
        }
    }
}
