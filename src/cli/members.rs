//! `paas tenant members`: who may do what in a tenant.

use serde::Serialize;

use super::deed::{Deed, Right};
use super::subject::{OfTenant, no_tenant_named};
use crate::accounts::access::Caller;
use crate::accounts::members::{self, Member, MemberError};
use crate::model::{Role, UserName};
use crate::settings::Settings;
use crate::ui::{Answer, Exit, Failure, Table, Ui};

/// List, add and remove members, and change their roles
#[derive(Debug, clap::Args)]
pub(super) struct Members {
    #[command(flatten)]
    pub(super) of: OfTenant,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List the members and their roles
    List,
    /// Make a user a member
    Add {
        user: UserName,
        /// viewer reads; developer also pushes and changes config; owner also changes members, tokens and quota
        #[arg(long, value_name = "ROLE", default_value = "developer")]
        role: Role,
    },
    /// Remove a member, who then may nothing in the tenant
    Remove { user: UserName },
    /// Give a member another role
    SetRole { user: UserName, role: Role },
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Views(Vec<Member>);

impl Answer for Views {
    fn text(&self) -> String {
        let mut table = Table::headed(["USER", "ROLE", "SINCE", "BY"]);
        for Member { user, role, added, by } in &self.0 {
            table.row([user.as_str(), &role.to_string(), &added.strftime("%Y-%m-%d").to_string(), by]);
        }
        table.to_string()
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct View(Member);

impl Answer for View {
    fn text(&self) -> String {
        format!("{} {}", self.0.user, self.0.role)
    }
}

impl Members {
    pub(super) fn deed(&self) -> Deed {
        let deed = match &self.verb {
            Verb::List => Deed::look(Right::Read, "tenant members list"),
            Verb::Add { user, role } => {
                Deed::change(Right::Manage, "tenant members add").to(format_args!("{user} as {role}"))
            }
            Verb::Remove { user } => Deed::change(Right::Manage, "tenant members remove").to(user),
            Verb::SetRole { user, role } => {
                Deed::change(Right::Manage, "tenant members set-role").to(format_args!("{user} as {role}"))
            }
        };
        Deed { tenant: self.of.tenant.clone(), ..deed }
    }

    pub(super) async fn run(self, settings: &Settings, caller: &Caller, ui: &mut Ui) -> anyhow::Result<()> {
        let tenant = self.of.tenant.ok_or_else(no_tenant_named)?;
        let store = super::tenant::store_with(settings, &tenant).await?;
        match self.verb {
            Verb::List => ui.answer(&Views(members::list(&store, &tenant).await?)),
            Verb::Add { user, role } => {
                let member = members::add(&store, &tenant, &user, role, &caller.name()).await.map_err(explained)?;
                ui.note(format_args!("`{user}` is a member of tenant `{tenant}` now, as {role}"))?;
                ui.answer(&View(member))
            }
            Verb::Remove { user } => {
                let member = members::remove(&store, &tenant, &user).await.map_err(explained)?;
                ui.note(format_args!("`{user}` is no member of tenant `{tenant}` any more"))?;
                ui.answer(&View(member))
            }
            Verb::SetRole { user, role } => {
                let member = members::set_role(&store, &tenant, &user, role).await.map_err(explained)?;
                ui.note(format_args!("`{user}` is {role} of tenant `{tenant}` now"))?;
                ui.answer(&View(member))
            }
        }
    }
}

fn explained(error: MemberError) -> anyhow::Error {
    let advice = match &error {
        MemberError::NoTenant(tenant) => return super::tenant::not_there(tenant).into(),
        MemberError::NoUser(_) => "`paas keys add --user NAME` makes one; with a token people join by themselves",
        MemberError::Known { .. } => "`paas tenant members set-role` changes the role",
        MemberError::Unknown { .. } => "`paas tenant members list` shows the members",
        MemberError::LastOwner { .. } => "make somebody else an owner first: `paas tenant members set-role`",
        MemberError::Damaged { .. } | MemberError::Tenant(_) | MemberError::User(_) | MemberError::Store(_) => {
            return error.into();
        }
    };
    Failure::new(Exit::Refused, &error).advise(advice).into()
}
