//! What a command is about to do, said before it is done: by this it is decided whether it may, and the audit log tells
//! it afterwards.

use super::subject::no_tenant_named;
use crate::accounts::access::{self, Action, Caller};
use crate::accounts::audit::{AuditLog, Event, Outcome};
use crate::model::TenantName;
use crate::settings::Settings;
use crate::store::Store;
use crate::ui::{Closed, Exit, Failure};

/// What a command needs to be allowed; the tenant, where there is one, is the deed's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    Read,
    Push,
    Manage,
    Delete,
    CreateTenant,
    ManageUsers,
    SeeHost,
    Own,
}

/// One command, as far as others are concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Deed {
    pub(super) right: Right,
    /// Such as `tenant members add`.
    pub(super) what: &'static str,
    pub(super) tenant: Option<TenantName>,
    /// What else it is done to, by name.
    pub(super) object: Option<String>,
    /// Something is another afterwards.
    pub(super) changes: bool,
}

impl Deed {
    /// One that changes nothing.
    pub(super) fn look(right: Right, what: &'static str) -> Self {
        Self { right, what, tenant: None, object: None, changes: false }
    }
    pub(super) fn change(right: Right, what: &'static str) -> Self {
        Self { changes: true, ..Self::look(right, what) }
    }
    pub(super) fn of(self, tenant: &TenantName) -> Self {
        Self { tenant: Some(tenant.clone()), ..self }
    }
    #[allow(clippy::needless_pass_by_value, reason = "what is formatted in place is gone afterwards")]
    pub(super) fn to(self, object: impl ToString) -> Self {
        Self { object: Some(object.to_string()), ..self }
    }

    /// Nothing when a tenant is needed, and none is named.
    fn action(&self) -> Option<Action<'_>> {
        Some(match self.right {
            Right::Read => Action::Read(self.tenant.as_ref()?),
            Right::Push => Action::Push(self.tenant.as_ref()?),
            Right::Manage => Action::Manage(self.tenant.as_ref()?),
            Right::Delete => Action::Delete(self.tenant.as_ref()?),
            Right::CreateTenant => Action::CreateTenant,
            Right::ManageUsers => Action::ManageUsers,
            Right::SeeHost => Action::SeeHost,
            Right::Own => Action::Own,
        })
    }
}

/// Ok when the caller may do that; else the refusal, which the log has then.
pub(super) async fn admit(settings: &Settings, caller: &Caller, deed: &Deed) -> anyhow::Result<()> {
    let Caller::Key(_) = caller else { return Ok(()) };
    let store = super::store::open(settings)?;
    let Some(action) = deed.action() else { return Err(no_tenant_named().into()) };
    if access::may(&store, caller, action).await? {
        return Ok(());
    }
    note(settings, caller, deed, Outcome::Refused);
    Err(refusal(&store, caller, deed).await?.into())
}

/// Notes a change, and a try that came to nothing, once it has ended.
pub(super) fn note_end(settings: &Settings, caller: &Caller, deed: &Deed, done: &anyhow::Result<()>) {
    if deed.changes {
        let outcome = match done {
            Ok(()) => Outcome::Done,
            Err(error) if nobody_read_of_it(error) => Outcome::Done,
            Err(error) => match super::failures::exit_of(error) {
                Exit::Refused => Outcome::Refused,
                _ => Outcome::Failed(error.to_string()),
            },
        };
        note(settings, caller, deed, outcome);
    }
}

/// Whether it was done, and only the answer found no reader any more: that is given last.
pub(super) fn nobody_read_of_it(error: &anyhow::Error) -> bool {
    error.is::<Closed>()
}

/// Where there is no platform nothing was changed either.
fn note(settings: &Settings, caller: &Caller, deed: &Deed, outcome: Outcome) {
    if !settings.home.path().exists() {
        return;
    }
    let event =
        Event { object: deed.object.clone(), tenant: deed.tenant.clone(), ..Event::by(caller, deed.what, outcome) };
    AuditLog::in_directory(&settings.home.audit()).note(&event);
}

/// What somebody may not see does not exist for them: the words for a tenant that is not there.
async fn refusal(store: &dyn Store, caller: &Caller, deed: &Deed) -> anyhow::Result<Failure> {
    if deed.right == Right::Own {
        return Ok(Failure::new(Exit::Refused, "your key opens nothing here any more")
            .advise("with a token it does again: `paas tenant join`"));
    }
    let Some(tenant) = &deed.tenant else {
        return Ok(Failure::new(Exit::Refused, format_args!("`paas {}` is for the admins of this host", deed.what))
            .advise("ask one of them"));
    };
    if access::may(store, caller, Action::Read(tenant)).await? {
        let who = if deed.right == Right::Push { "a developer" } else { "an owner" };
        let what = format!("`paas {}` needs to be {who} of tenant `{tenant}`", deed.what);
        return Ok(Failure::new(Exit::Refused, what).advise("`paas tenant members list` shows who is one"));
    }
    Ok(super::tenant::not_there(tenant))
}
