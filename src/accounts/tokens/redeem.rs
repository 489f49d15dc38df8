//! Becoming a member: a use of the token, the key, the user and the membership change together or not at all.

use jiff::Timestamp;
use serde::Serialize;

use super::{Stored, Token, TokenError, TokenKind};
use crate::accounts::users::Draft;
use crate::accounts::{Place, PublicKey, committed, keys, members, tenants};
use crate::model::{InvalidName, MAX_NAME_BYTES, Role, TenantName, UserName};
use crate::store::{Change, Store};

/// Who joined what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Joined {
    pub user: UserName,
    pub tenant: TenantName,
    /// The role they have now: the token's, or the one they had when that is higher.
    pub role: Role,
    /// Whether the user was made.
    pub is_new: bool,
}

/// Makes the key's user a member of the token's tenant. A known key keeps its user, whatever name is wanted. An unknown
/// one is registered to a new user, named as wanted, or else after the key's comment; never to a user who is there
/// already, since then a token would be enough to become somebody else.
pub async fn redeem(
    store: &dyn Store,
    token: &Token,
    key: &PublicKey,
    wanted_name: Option<UserName>,
) -> Result<Joined, TokenError> {
    redeem_at(store, token, key, wanted_name, Timestamp::now()).await
}

pub(super) async fn redeem_at(
    store: &dyn Store,
    token: &Token,
    key: &PublicKey,
    wanted_name: Option<UserName>,
    now: Timestamp,
) -> Result<Joined, TokenError> {
    let name = wanted_name.map_or_else(|| name_in(key.comment()), Ok);
    loop {
        let grant = Grant::of(store, token, now).await?;
        let bearer = Bearer::of(store, key, &name, now).await?;
        let by = format!("token {}", token.id());
        let (role, seated) = members::raise(store, &grant.tenant, &bearer.user, grant.role, &by).await?;
        let changes = grant.changes.into_iter().chain(bearer.changes).chain(seated);
        if committed(store, changes.collect()).await? {
            return Ok(Joined { user: bearer.user, tenant: grant.tenant, role, is_new: bearer.is_new });
        }
    }
}

/// Whose key it is, and the changes that make or keep it so.
struct Bearer {
    user: UserName,
    is_new: bool,
    changes: Vec<Change>,
}

impl Bearer {
    async fn of(
        store: &dyn Store,
        key: &PublicKey,
        name: &Result<UserName, InvalidName>,
        now: Timestamp,
    ) -> Result<Self, TokenError> {
        if let Some(known) = keys::held_one(store, key.fingerprint()).await? {
            let user = known.key.user.clone();
            let draft = Draft::of(store, &user, now).await?;
            let changes = draft.changes().into_iter().chain([known.check()]).collect();
            return Ok(Self { user, is_new: false, changes });
        }
        let user = name.clone().map_err(TokenError::NameNeeded)?;
        let mut draft = Draft::of(store, &user, now).await?;
        if !draft.is_new() {
            return Err(TokenError::NameTaken(user));
        }
        let (_, creation) = keys::registration(store, &mut draft, &user, key, now).await?;
        let changes = draft.changes().into_iter().chain([creation]).collect();
        Ok(Self { user, is_new: true, changes })
    }
}

/// What the token gives, and the changes by which it does so once.
struct Grant {
    tenant: TenantName,
    role: Role,
    changes: Vec<Change>,
}

impl Grant {
    async fn of(store: &dyn Store, token: &Token, now: Timestamp) -> Result<Self, TokenError> {
        let stored = Stored::read(store, token.hash().clone()).await?.ok_or(TokenError::Unusable)?;
        let found = tenants::held(store, &stored.record.tenant).await?;
        let (tenant, same_tenant) = found.ok_or(TokenError::Unusable)?;
        let TokenKind::Join { role, uses_left } = stored.record.kind else { return Err(TokenError::Unusable) };
        if !stored.is_usable(&tenant, now) {
            return Err(TokenError::Unusable);
        }
        let mut record = stored.record;
        record.kind = TokenKind::Join { role, uses_left: uses_left - 1 };
        let used = Change::Put {
            path: Place::Token(&stored.hash).path(),
            value: serde_json::to_vec(&record).expect("a record of texts and times"),
            expected: Some(stored.version),
        };
        Ok(Self { tenant: record.tenant, role, changes: vec![same_tenant, used] })
    }
}

/// The user in a comment such as `Alice.Smith@laptop`, made fit: `alice-smith`.
fn name_in(comment: &str) -> Result<UserName, InvalidName> {
    let name = comment.split_once('@').map_or(comment, |(name, _machine)| name);
    let mut fit = String::new();
    for c in name.chars().map(|c| c.to_ascii_lowercase()) {
        match c {
            'a'..='z' | '0'..='9' => fit.push(c),
            _ if !fit.is_empty() && !fit.ends_with('-') => fit.push('-'),
            _ => {}
        }
    }
    fit.truncate(MAX_NAME_BYTES);
    fit.trim_end_matches('-').parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_is_made_fit_to_be_a_name() {
        for (comment, name) in [
            ("alice@laptop", "alice"),
            ("Alice.Smith@laptop", "alice-smith"),
            ("alice", "alice"),
            ("_bob_ @x", "bob"),
            ("work laptop", "work-laptop"),
            (&"x".repeat(40), &"x".repeat(MAX_NAME_BYTES)),
            (&format!("{}.y", "x".repeat(29)), &"x".repeat(29)),
        ] {
            assert_eq!(name_in(comment).unwrap().as_str(), name, "{comment}");
        }
        for comment in ["", "@laptop", "日本", "…"] {
            assert!(name_in(comment).is_err(), "{comment}");
        }
    }
}
