//! Members: which users belong to a tenant, and with which role.
//!
//! A tenant that has an owner keeps one. Whoever removes or lowers an owner has another one bear witness: the
//! transaction fails unless that other is an owner still, so that of two who leave at once one stays.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::tenants::{self, TenantError};
use super::users::{Draft, UserError};
use super::{Place, committed, names_below};
use crate::model::{Role, TenantName, UserName};
use crate::store::{Change, Store, StoreError, Version};

/// A member of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Member {
    pub user: UserName,
    pub role: Role,
    pub added: Timestamp,
    /// Who gave the membership, or what: a token's id.
    pub by: String,
}

/// The record's value; the user is the record's own name.
#[derive(Debug, Serialize, Deserialize)]
struct MemberRecord {
    role: Role,
    added: Timestamp,
    by: String,
}

/// Why a membership was not found or not changed.
#[derive(Debug, thiserror::Error)]
pub enum MemberError {
    #[error("there is no tenant `{0}`")]
    NoTenant(TenantName),
    #[error("there is no user `{0}`; a user is made with the first key, or by joining with a token")]
    NoUser(UserName),
    #[error("`{user}` is a member of tenant `{tenant}` already, as {role}")]
    Known { tenant: TenantName, user: UserName, role: Role },
    #[error("`{user}` is no member of tenant `{tenant}`")]
    Unknown { tenant: TenantName, user: UserName },
    #[error("`{user}` is the last owner of tenant `{tenant}`, which somebody has to own")]
    LastOwner { tenant: TenantName, user: UserName },
    #[error("the record of `{user}` as a member of tenant `{tenant}` is damaged")]
    Damaged {
        tenant: TenantName,
        user: UserName,
        #[source]
        cause: serde_json::Error,
    },
    #[error(transparent)]
    Tenant(#[from] TenantError),
    #[error(transparent)]
    User(#[from] UserError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A membership as it was read.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) tenant: TenantName,
    pub(super) member: Member,
    version: Version,
}

impl Seat {
    async fn read(store: &dyn Store, tenant: &TenantName, user: &UserName) -> Result<Option<Self>, MemberError> {
        let Some(found) = store.get(&Place::Member(tenant, user).path()).await? else { return Ok(None) };
        let MemberRecord { role, added, by } = serde_json::from_slice(&found.value)
            .map_err(|cause| MemberError::Damaged { tenant: tenant.clone(), user: user.clone(), cause })?;
        let member = Member { user: user.clone(), role, added, by };
        Ok(Some(Self { tenant: tenant.clone(), member, version: found.version }))
    }

    /// The changes that remove the member; nothing may when this is the last owner.
    pub(super) async fn removal(&self, store: &dyn Store) -> Result<Option<Vec<Change>>, MemberError> {
        let Some(mut changes) = self.another_owner(store).await? else { return Ok(None) };
        changes.push(self.deletion());
        Ok(Some(changes))
    }

    pub(super) fn handed_to(&self, user: &UserName) -> [Change; 2] {
        let path = Place::Member(&self.tenant, user).path();
        [self.deletion(), Change::Create { path, value: record_of(&self.member) }]
    }

    fn with_role(&self, role: Role) -> Change {
        let member = Member { role, ..self.member.clone() };
        Change::Put { path: self.path(), value: record_of(&member), expected: Some(self.version) }
    }

    /// What has to hold for this one to be an owner no more: that another stays one. Nothing when this one is none.
    async fn another_owner(&self, store: &dyn Store) -> Result<Option<Vec<Change>>, MemberError> {
        if self.member.role != Role::Owner {
            return Ok(Some(Vec::new()));
        }
        let seats = seats_in(store, &self.tenant).await?;
        let other = seats.iter().find(|seat| seat.member.role == Role::Owner && seat.member.user != self.member.user);
        Ok(other.map(|seat| vec![Change::Check { path: seat.path(), expected: seat.version }]))
    }

    fn deletion(&self) -> Change {
        Change::Delete { path: self.path(), expected: Some(self.version) }
    }

    fn path(&self) -> crate::store::StorePath {
        Place::Member(&self.tenant, &self.member.user).path()
    }
}

fn record_of(member: &Member) -> Vec<u8> {
    let record = MemberRecord { role: member.role, added: member.added, by: member.by.clone() };
    serde_json::to_vec(&record).expect("a record of texts and a time")
}

async fn seats_in(store: &dyn Store, tenant: &TenantName) -> Result<Vec<Seat>, MemberError> {
    let mut seats = Vec::new();
    for user in names_below(store, Place::Members(tenant)).await? {
        let Ok(user) = UserName::try_from(user) else { continue };
        // One removed meanwhile is not there any more.
        seats.extend(Seat::read(store, tenant, &user).await?);
    }
    Ok(seats)
}

/// All memberships of the user, by tenant.
pub(super) async fn seats_of(store: &dyn Store, user: &UserName) -> Result<Vec<Seat>, MemberError> {
    let mut seats = Vec::new();
    for tenant in names_below(store, Place::Tenants).await? {
        let Ok(tenant) = TenantName::try_from(tenant) else { continue };
        seats.extend(Seat::read(store, &tenant, user).await?);
    }
    Ok(seats)
}

/// The members of a tenant, by name; none when there is no such tenant.
pub async fn list(store: &dyn Store, tenant: &TenantName) -> Result<Vec<Member>, MemberError> {
    Ok(seats_in(store, tenant).await?.into_iter().map(|seat| seat.member).collect())
}

/// The user's role in the tenant, if any.
pub async fn role_of(store: &dyn Store, tenant: &TenantName, user: &UserName) -> Result<Option<Role>, MemberError> {
    Ok(Seat::read(store, tenant, user).await?.map(|seat| seat.member.role))
}

/// Makes a user a member. `by` is who did that, as it is told to people.
pub async fn add(
    store: &dyn Store,
    tenant: &TenantName,
    user: &UserName,
    role: Role,
    by: &str,
) -> Result<Member, MemberError> {
    loop {
        let (_, same_tenant) =
            tenants::held(store, tenant).await?.ok_or_else(|| MemberError::NoTenant(tenant.clone()))?;
        let draft = Draft::known(store, user).await?.ok_or_else(|| MemberError::NoUser(user.clone()))?;
        if let Some(role) = role_of(store, tenant, user).await? {
            return Err(MemberError::Known { tenant: tenant.clone(), user: user.clone(), role });
        }
        let member = Member { user: user.clone(), role, added: Timestamp::now(), by: by.to_owned() };
        let mut changes = vec![same_tenant];
        changes.extend(draft.changes());
        changes.extend(seating(store, tenant, &member).await?);
        if committed(store, changes).await? {
            return Ok(member);
        }
    }
}

/// The changes that make a new member, the place of all members among them where there is none yet.
async fn seating(store: &dyn Store, tenant: &TenantName, member: &Member) -> Result<Vec<Change>, StoreError> {
    let place = Place::Members(tenant).path();
    let mut changes = Vec::new();
    if store.get(&place).await?.is_none() {
        changes.push(Change::Create { path: place, value: Vec::new() });
    }
    changes.push(Change::Create { path: Place::Member(tenant, &member.user).path(), value: record_of(member) });
    Ok(changes)
}

/// The changes that give a user at least this role, and the role they have then: the higher of the two stays.
pub(super) async fn raise(
    store: &dyn Store,
    tenant: &TenantName,
    user: &UserName,
    role: Role,
    by: &str,
) -> Result<(Role, Vec<Change>), MemberError> {
    match Seat::read(store, tenant, user).await? {
        Some(seat) if seat.member.role >= role => {
            Ok((seat.member.role, vec![Change::Check { path: seat.path(), expected: seat.version }]))
        }
        Some(seat) => Ok((role, vec![seat.with_role(role)])),
        None => {
            let member = Member { user: user.clone(), role, added: Timestamp::now(), by: by.to_owned() };
            Ok((role, seating(store, tenant, &member).await?))
        }
    }
}

/// Gives a member another role. The last owner stays one.
pub async fn set_role(
    store: &dyn Store,
    tenant: &TenantName,
    user: &UserName,
    role: Role,
) -> Result<Member, MemberError> {
    loop {
        let seat = seat(store, tenant, user).await?;
        let mut changes = match role {
            Role::Owner => Vec::new(),
            _ => seat.another_owner(store).await?.ok_or_else(|| last_owner(&seat))?,
        };
        changes.push(seat.with_role(role));
        if committed(store, changes).await? {
            return Ok(Member { role, ..seat.member });
        }
    }
}

/// Removes a member, and says what they were. The last owner stays.
pub async fn remove(store: &dyn Store, tenant: &TenantName, user: &UserName) -> Result<Member, MemberError> {
    loop {
        let seat = seat(store, tenant, user).await?;
        let changes = seat.removal(store).await?.ok_or_else(|| last_owner(&seat))?;
        if committed(store, changes).await? {
            return Ok(seat.member);
        }
    }
}

async fn seat(store: &dyn Store, tenant: &TenantName, user: &UserName) -> Result<Seat, MemberError> {
    let unknown = || MemberError::Unknown { tenant: tenant.clone(), user: user.clone() };
    Seat::read(store, tenant, user).await?.ok_or_else(unknown)
}

fn last_owner(seat: &Seat) -> MemberError {
    MemberError::LastOwner { tenant: seat.tenant.clone(), user: seat.member.user.clone() }
}

#[cfg(test)]
mod tests;
