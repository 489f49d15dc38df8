//! `paas users`: the people and machines that the platform knows.

use serde::Serialize;

use super::deed::{Deed, Right};
use crate::accounts::access::Caller;
use crate::accounts::keys::{self, RegisteredKey};
use crate::accounts::members;
use crate::accounts::tenants;
use crate::accounts::users::{self, Removed, User, UserError};
use crate::model::{Role, TenantName, UserName};
use crate::platform;
use crate::settings::Settings;
use crate::store::Store;
use crate::ui::{Answer, Exit, Failure, Table, Ui};

/// List, show, rename and remove users
#[derive(Debug, clap::Args)]
pub(super) struct Users {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List the users
    List,
    /// Show a user: keys, tenants and roles
    Show {
        /// [default: yourself]
        name: Option<UserName>,
    },
    /// Give a user another name; keys and memberships stay
    Rename { name: UserName, new: UserName },
    /// Remove a user with all keys and memberships, at once
    Remove { name: UserName },
    /// Make a user an admin of this host, who may do anything, or no longer
    SetAdmin {
        name: UserName,
        #[arg(value_name = "true|false", action = clap::ArgAction::Set)]
        admin: bool,
    },
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Views(Vec<User>);

impl Answer for Views {
    fn text(&self) -> String {
        let mut table = Table::headed(["USER", "SINCE", "ADMIN"]);
        for User { name, created, is_admin } in &self.0 {
            let day = created.strftime("%Y-%m-%d").to_string();
            table.row([name.as_str(), &day, if *is_admin { "yes" } else { "-" }]);
        }
        table.to_string()
    }
}

#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    user: User,
    keys: Vec<RegisteredKey>,
    tenants: Vec<Membership>,
}

#[derive(Debug, Serialize)]
struct Membership {
    tenant: TenantName,
    role: Role,
}

impl Answer for Shown {
    fn text(&self) -> String {
        let keys: Vec<_> = self.keys.iter().map(|key| format!("{} ({})", key.fingerprint, key.name)).collect();
        let tenants: Vec<_> = self.tenants.iter().map(|of| format!("{} ({})", of.tenant, of.role)).collect();
        let list = |items: Vec<String>| if items.is_empty() { "-".to_owned() } else { items.join(", ") };
        Table::record([
            ("name", self.user.name.to_string()),
            ("since", self.user.created.to_string()),
            ("admin", if self.user.is_admin { "yes" } else { "no" }.to_owned()),
            ("keys", list(keys)),
            ("tenants", list(tenants)),
        ])
        .to_string()
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct One(User);

impl Answer for One {
    fn text(&self) -> String {
        self.0.name.to_string()
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Gone(Removed);

impl Answer for Gone {
    fn text(&self) -> String {
        self.0.user.name.to_string()
    }
}

impl Users {
    pub(super) fn deed(&self, caller: &Caller) -> Deed {
        match &self.verb {
            Verb::List => Deed::look(Right::ManageUsers, "users list"),
            Verb::Show { name } => {
                let own = name.as_ref().is_none_or(|name| is(caller, name));
                Deed::look(if own { Right::Own } else { Right::ManageUsers }, "users show")
            }
            Verb::Rename { name, new } => {
                Deed::change(Right::ManageUsers, "users rename").to(format_args!("{name} to {new}"))
            }
            Verb::Remove { name } => Deed::change(Right::ManageUsers, "users remove").to(name),
            Verb::SetAdmin { name, admin } => {
                Deed::change(Right::ManageUsers, "users set-admin").to(format_args!("{name}: {admin}"))
            }
        }
    }

    pub(super) async fn run(self, settings: &Settings, caller: &Caller, ui: &mut Ui) -> anyhow::Result<()> {
        let store = super::store::open(settings)?;
        match self.verb {
            Verb::List => ui.answer(&Views(users::list(&store).await?)),
            Verb::Show { name } => {
                let name = name.or_else(|| own_name(caller)).ok_or_else(|| {
                    Failure::new(Exit::Usage, "which user? On the host itself nobody in particular asks")
                        .advise("name one: `paas users show NAME`")
                })?;
                ui.answer(&shown(&store, &name).await?)
            }
            Verb::Rename { name, new } => {
                let user = users::rename(&store, &name, &new).await.map_err(explained)?;
                ui.note(format_args!("`{name}` is called `{new}` now"))?;
                ui.answer(&One(user))
            }
            Verb::Remove { name } => {
                let removed = users::remove(&store, &name).await.map_err(explained)?;
                let ended = platform::end_sessions(&settings.home, &removed.keys).await?;
                let keys = removed.keys.len();
                ui.note(format_args!(
                    "`{name}` is removed; keys that open nothing any more: {keys}, connections ended: {ended}"
                ))?;
                ui.answer(&Gone(removed))
            }
            Verb::SetAdmin { name, admin } => {
                let user = users::set_admin(&store, &name, admin).await.map_err(explained)?;
                let what = if admin { "an admin of this host now" } else { "no admin of this host any more" };
                ui.note(format_args!("`{name}` is {what}"))?;
                ui.answer(&One(user))
            }
        }
    }
}

async fn shown(store: &dyn Store, name: &UserName) -> anyhow::Result<Shown> {
    let user = users::get(store, name).await?.ok_or_else(|| explained(UserError::Unknown(name.clone())))?;
    let mut memberships = Vec::new();
    for tenant in tenants::list(store).await? {
        if let Some(role) = members::role_of(store, &tenant.name, name).await? {
            memberships.push(Membership { tenant: tenant.name, role });
        }
    }
    Ok(Shown { user, keys: keys::of_user(store, name).await?, tenants: memberships })
}

pub(super) fn own_name(caller: &Caller) -> Option<UserName> {
    match caller {
        Caller::Host => None,
        Caller::Key(who) => Some(who.user.clone()),
    }
}

fn is(caller: &Caller, name: &UserName) -> bool {
    own_name(caller).as_ref() == Some(name)
}

#[allow(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
fn explained(error: UserError) -> anyhow::Error {
    Failure::new(Exit::Refused, error.to_string()).advise("`paas users list` shows all users").into()
}
