//! Tokens: what makes its bearer a member of a tenant, or lets a stranger with a key deploy one app.
//!
//! The store keeps a token's hash alone, so that nobody who reads it can use one. A token is for the tenant that it
//! was made for: one of the same name that is made later does not take it.

mod redeem;
mod text;

use std::num::NonZeroU32;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::keys::KeyError;
use super::members::MemberError;
use super::tenants::{self, TenantError};
use super::users::UserError;
use super::{Place, committed, names_below};
use crate::model::{AppName, InvalidName, Role, TenantName, TokenId, TokenPurpose, UserName};
use crate::store::{Change, Store, StoreError, Version};

pub use redeem::{Joined, redeem};
pub(super) use text::TokenHash;
pub use text::{InvalidToken, Token};

/// What a token gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum TokenKind {
    /// Membership of the tenant.
    Join { role: Role, uses_left: u32 },
    /// Deploying one app of the tenant.
    Deploy { app: AppName },
}

/// A token as it is listed: everything but its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IssuedToken {
    pub id: TokenId,
    pub tenant: TenantName,
    #[serde(flatten)]
    pub kind: TokenKind,
    pub created: Timestamp,
    /// Who made it, as it is told to people.
    pub by: String,
    /// Never, when there is none.
    pub expires: Option<Timestamp>,
}

/// A token that was just made: the only moment at which its value is known.
#[derive(Debug)]
pub struct NewToken {
    pub token: Token,
    pub issued: IssuedToken,
}

/// The record's value; its name is the hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct TokenRecord {
    tenant: TenantName,
    /// When the tenant was made that it is for.
    tenant_created: Timestamp,
    #[serde(flatten)]
    kind: TokenKind,
    created: Timestamp,
    by: String,
    expires: Option<Timestamp>,
}

/// Why a token was not made, found or taken.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("there is no tenant `{0}`")]
    NoTenant(TenantName),
    #[error("the token would have expired already, at {0}")]
    ExpiresInThePast(Timestamp),
    #[error("tenant `{tenant}` has no token {id}")]
    Unknown { tenant: TenantName, id: TokenId },
    /// One answer for a token that was never made, was used up, has expired or was revoked: what it was is nobody's
    /// business who cannot use it.
    #[error("the token is not valid, or not any more: it was used up, has expired or was revoked")]
    Unusable,
    #[error("nobody knows this key, and its comment names nobody: a name for its user is needed")]
    NameNeeded(#[source] InvalidName),
    #[error("there is a user `{0}` already, who has other keys: another name for this key's user is needed")]
    NameTaken(UserName),
    #[error("the record of the token {id} in the store is damaged")]
    Damaged {
        id: TokenId,
        #[source]
        cause: serde_json::Error,
    },
    #[error(transparent)]
    Tenant(#[from] TenantError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    User(#[from] UserError),
    #[error(transparent)]
    Member(#[from] MemberError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A token's record as it was read.
#[derive(Debug)]
struct Stored {
    hash: TokenHash,
    record: TokenRecord,
    version: Version,
}

impl Stored {
    async fn read(store: &dyn Store, hash: TokenHash) -> Result<Option<Self>, TokenError> {
        let Some(found) = store.get(&Place::Token(&hash).path()).await? else { return Ok(None) };
        let record =
            serde_json::from_slice(&found.value).map_err(|cause| TokenError::Damaged { id: hash.id(), cause })?;
        Ok(Some(Self { hash, record, version: found.version }))
    }

    async fn of_tenant(store: &dyn Store, tenant: &TenantName) -> Result<Vec<Self>, TokenError> {
        let mut stored = Vec::new();
        for hash in names_below(store, Place::Tokens).await?.into_iter().filter_map(TokenHash::from_name) {
            // One revoked meanwhile is not there any more.
            stored.extend(Self::read(store, hash).await?.filter(|stored| stored.record.tenant == *tenant));
        }
        Ok(stored)
    }

    /// Whether it opens anything, for the tenant that is there now.
    fn is_usable(&self, tenant: &tenants::Tenant, now: Timestamp) -> bool {
        let record = &self.record;
        let is_used_up = matches!(record.kind, TokenKind::Join { uses_left: 0, .. });
        let is_over = record.expires.is_some_and(|expires| expires <= now);
        record.tenant == tenant.name && record.tenant_created == tenant.created && !is_used_up && !is_over
    }

    fn deletion(&self) -> Change {
        Change::Delete { path: Place::Token(&self.hash).path(), expected: None }
    }

    fn issued(self) -> IssuedToken {
        let TokenRecord { tenant, kind, created, by, expires, .. } = self.record;
        IssuedToken { id: self.hash.id(), tenant, kind, created, by, expires }
    }
}

/// Makes a token by which `uses` bearers become members of the tenant, until it expires.
pub async fn create_join(
    store: &dyn Store,
    tenant: &TenantName,
    role: Role,
    uses: NonZeroU32,
    expires: Timestamp,
    by: &str,
) -> Result<NewToken, TokenError> {
    create(store, tenant, TokenPurpose::Join, TokenKind::Join { role, uses_left: uses.get() }, Some(expires), by).await
}

/// Makes a token by which whoever has a registered key may deploy the app, which need not be there yet.
pub async fn create_deploy(
    store: &dyn Store,
    tenant: &TenantName,
    app: &AppName,
    expires: Option<Timestamp>,
    by: &str,
) -> Result<NewToken, TokenError> {
    create(store, tenant, TokenPurpose::Deploy, TokenKind::Deploy { app: app.clone() }, expires, by).await
}

/// Tokens of the tenant that open nothing any more go at this opportunity.
async fn create(
    store: &dyn Store,
    tenant: &TenantName,
    purpose: TokenPurpose,
    kind: TokenKind,
    expires: Option<Timestamp>,
    by: &str,
) -> Result<NewToken, TokenError> {
    let now = Timestamp::now();
    if let Some(past) = expires.filter(|expires| *expires <= now) {
        return Err(TokenError::ExpiresInThePast(past));
    }
    store.ensure(&Place::Tokens.path()).await?;
    loop {
        let found = tenants::held(store, tenant).await?;
        let (owner, same_tenant) = found.ok_or_else(|| TokenError::NoTenant(tenant.clone()))?;
        let (usable, over): (Vec<_>, Vec<_>) =
            Stored::of_tenant(store, tenant).await?.into_iter().partition(|stored| stored.is_usable(&owner, now));
        let token = Token::random(purpose);
        // Ids are short, and have to tell the tenant's tokens apart.
        if usable.iter().any(|stored| stored.hash.id() == token.id()) {
            continue;
        }
        let record = TokenRecord {
            tenant: tenant.clone(),
            tenant_created: owner.created,
            kind: kind.clone(),
            created: now,
            by: by.to_owned(),
            expires,
        };
        let value = serde_json::to_vec(&record).expect("a record of texts and times");
        let creation = Change::Create { path: Place::Token(token.hash()).path(), value };
        let deletions = over.iter().map(Stored::deletion);
        if committed(store, deletions.chain([same_tenant, creation]).collect()).await? {
            let issued = Stored { hash: token.hash().clone(), record, version: Version(0) }.issued();
            return Ok(NewToken { token, issued });
        }
    }
}

/// The tenant's tokens, by time; also those that are used up or have expired, until another one is made.
pub async fn list(store: &dyn Store, tenant: &TenantName) -> Result<Vec<IssuedToken>, TokenError> {
    let stored = Stored::of_tenant(store, tenant).await?;
    let mut issued: Vec<_> = stored.into_iter().map(Stored::issued).collect();
    issued.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
    Ok(issued)
}

/// Revokes a token of the tenant: from then on it opens nothing.
pub async fn revoke(store: &dyn Store, tenant: &TenantName, id: &TokenId) -> Result<IssuedToken, TokenError> {
    let unknown = || TokenError::Unknown { tenant: tenant.clone(), id: id.clone() };
    let found = Stored::of_tenant(store, tenant).await?.into_iter().find(|stored| stored.hash.id() == *id);
    let stored = found.ok_or_else(unknown)?;
    match store.commit(vec![stored.deletion()]).await {
        Err(StoreError::NotFound(_)) => Err(unknown()),
        revoked => Ok(revoked.map(|()| stored.issued())?),
    }
}

/// Which token lets its bearer deploy the app now, if `text` is one that does. Anything else is none, whatever it is.
/// That the bearer has a registered key is to be asked apart.
pub async fn deploys(
    store: &dyn Store,
    text: &str,
    tenant: &TenantName,
    app: &AppName,
    now: Timestamp,
) -> Result<Option<TokenId>, TokenError> {
    let Ok(token) = Token::parse(text) else { return Ok(None) };
    let Some(stored) = Stored::read(store, token.hash().clone()).await? else { return Ok(None) };
    let Some(owner) = tenants::get(store, tenant).await? else { return Ok(None) };
    let is_for_it = matches!(&stored.record.kind, TokenKind::Deploy { app: its } if its == app);
    Ok((is_for_it && stored.is_usable(&owner, now)).then(|| token.id()))
}

/// Whether anybody could deploy by a token now, to whichever tenant. Who may not see a tenant learns no more than this.
pub async fn any_deploys(store: &dyn Store, now: Timestamp) -> Result<bool, TokenError> {
    for hash in names_below(store, Place::Tokens).await?.into_iter().filter_map(TokenHash::from_name) {
        let Some(stored) = Stored::read(store, hash).await? else { continue };
        let is_over = stored.record.expires.is_some_and(|expires| expires <= now);
        if matches!(stored.record.kind, TokenKind::Deploy { .. }) && !is_over {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes all tokens of a tenant that is going. One whose record is damaged opens nothing anyway.
pub(super) async fn forget(store: &dyn Store, tenant: &TenantName) -> Result<(), StoreError> {
    for hash in names_below(store, Place::Tokens).await?.into_iter().filter_map(TokenHash::from_name) {
        let Ok(Some(stored)) = Stored::read(store, hash).await else { continue };
        if stored.record.tenant == *tenant {
            committed(store, vec![stored.deletion()]).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
