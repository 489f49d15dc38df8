//! `paas tenant quota`: how much of the platform a tenant may have.

use std::num::NonZeroU32;

use serde::Serialize;

use super::deed::{Deed, Right};
use super::subject::{Spelling, Subject, no_tenant_named};
use crate::accounts::tenants::{self, Tenant, TenantError};
use crate::model::{Cpus, InUse, Limit, Quota, QuotaChange, TenantName};
use crate::settings::Settings;
use crate::store::Store;
use crate::ui::{Answer, Exit, Failure, Table, Ui};

/// Set and show how much of the platform a tenant may have
#[derive(Debug, clap::Args)]
pub(super) struct Quotas {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Set(Set),
    Show(Show),
}

/// Change limits; the word `none` lifts one, and what is not named stays
///
/// The tenant's Marathon is started anew when its share changes; apps run on meanwhile. What runs already is not ended,
/// even if it is more than the new limit.
#[derive(Debug, clap::Args)]
struct Set {
    /// [default: where the git remote of the work tree leads]
    name: Option<TenantName>,
    /// The processors that all instances together may ask for
    #[arg(long, value_name = "N")]
    cpus: Option<Limit<Cpus>>,
    /// The memory that they may ask for, in MiB
    #[arg(long, value_name = "MIB")]
    mem: Option<Limit<u64>>,
    /// The disk space that they may ask for, in MiB
    #[arg(long, value_name = "MIB")]
    disk: Option<Limit<u64>>,
    /// How many apps there may be
    #[arg(long, value_name = "N")]
    apps: Option<Limit<u32>>,
    /// How many builds may run at the same time; further ones wait
    #[arg(long, value_name = "N")]
    builds: Option<Limit<NonZeroU32>>,
}

/// Show the limits, and how much of them is in use
#[derive(Debug, clap::Args)]
struct Show {
    /// [default: where the git remote of the work tree leads]
    name: Option<TenantName>,
}

impl Set {
    fn change(&self) -> QuotaChange {
        let Self { cpus, mem, disk, apps, builds, .. } = *self;
        QuotaChange { cpus, mem, disk, apps, builds }
    }
}

impl Quotas {
    pub(super) fn deed(&self) -> Deed {
        let (deed, tenant) = match &self.verb {
            Verb::Set(set) => (Deed::change(Right::Manage, "tenant quota set").to(set.change()), &set.name),
            Verb::Show(show) => (Deed::look(Right::Read, "tenant quota show"), &show.name),
        };
        Deed { tenant: tenant.clone(), ..deed }
    }

    pub(super) fn subject(&mut self) -> Subject<'_> {
        let (Verb::Set(Set { name, .. }) | Verb::Show(Show { name })) = &mut self.verb;
        Subject::tenant(name, Spelling::Argument)
    }

    pub(super) async fn run(self, settings: &Settings, ui: &mut Ui) -> anyhow::Result<()> {
        match self.verb {
            Verb::Set(set) => set.run(settings, ui).await,
            Verb::Show(show) => show.run(settings, ui).await,
        }
    }
}

/// A quota as people and programs see it.
#[derive(Debug, Serialize)]
struct View {
    tenant: TenantName,
    quota: Quota,
    /// What the tenant's apps ask for; absent when its Marathon does not serve now.
    in_use: Option<InUse>,
}

impl View {
    async fn of(tenant: &Tenant, store: &dyn Store, settings: &Settings) -> Self {
        let in_use = async {
            let root = super::tenant::root(settings).ok()?;
            let marathon = tenants::marathon_of(store, &root, &tenant.name).await.ok()?;
            tenants::in_use(&marathon, &tenant.name).await.ok()
        };
        Self { tenant: tenant.name.clone(), quota: tenant.quota, in_use: in_use.await }
    }

    /// What there is more of than the quota allows, since it was set or lifted later.
    fn exceeded(&self) -> Vec<&'static str> {
        let Some(InUse { share, apps }) = self.in_use else { return Vec::new() };
        let Quota { cpus, mem, disk, apps: most_apps, .. } = self.quota;
        let all = [
            ("cpus", cpus.is_some_and(|most| share.cpus > most)),
            ("mem", mem.is_some_and(|most| share.mem > most)),
            ("disk", disk.is_some_and(|most| share.disk > most)),
            ("apps", most_apps.is_some_and(|most| apps > most)),
        ];
        all.into_iter().filter_map(|(name, exceeded)| exceeded.then_some(name)).collect()
    }
}

impl Answer for View {
    fn text(&self) -> String {
        fn shown(amount: Option<impl ToString>, otherwise: &str) -> String {
            amount.map_or_else(|| otherwise.to_owned(), |amount| amount.to_string())
        }
        let Quota { cpus, mem, disk, apps, builds } = self.quota;
        let used = self.in_use;
        let mut table = Table::headed(["", "IN USE", "QUOTA"]);
        table.row(["cpus", &shown(used.map(|used| used.share.cpus), "?"), &shown(cpus, "none")]);
        table.row(["mem (MiB)", &shown(used.map(|used| used.share.mem), "?"), &shown(mem, "none")]);
        table.row(["disk (MiB)", &shown(used.map(|used| used.share.disk), "?"), &shown(disk, "none")]);
        table.row(["apps", &shown(used.map(|used| used.apps), "?"), &shown(apps, "none")]);
        table.row(["builds at once", "", &shown(builds, "none")]);
        table.to_string()
    }
}

impl Set {
    async fn run(self, settings: &Settings, ui: &mut Ui) -> anyhow::Result<()> {
        let change = self.change();
        if change == QuotaChange::default() {
            return Err(Failure::new(Exit::Usage, "no limit is named, so there is nothing to set")
                .advise("`--cpus 8` sets one, `--cpus none` lifts it")
                .into());
        }
        let name = self.name.ok_or_else(no_tenant_named)?;
        let (store, root) = super::tenant::reached(settings)?;
        let engines = super::tenant::engines(settings)?;
        let progress = ui.progress(format_args!("Setting the quota of tenant `{name}`:"));
        let say = |step: &str| progress.say(step);
        let set = progress.during(tenants::set_quota(&store, &root, &engines, &name, &change, &say)).await;
        drop(progress);
        let view = View::of(&set.map_err(explained)?, &store, settings).await;
        ui.answer(&view)?;
        let exceeded = view.exceeded();
        if !exceeded.is_empty() {
            let what = exceeded.join(", ");
            ui.note(format_args!(
                "more is in use than the quota allows ({what}): it runs on, and pushes must ask for less"
            ))?;
        }
        Ok(())
    }
}

impl Show {
    async fn run(self, settings: &Settings, ui: &mut Ui) -> anyhow::Result<()> {
        let name = self.name.ok_or_else(no_tenant_named)?;
        let missing = || super::tenant::not_there(&name);
        let store = super::store::open_existing(settings)?.ok_or_else(missing)?;
        let tenant = tenants::get(&store, &name).await?.ok_or_else(missing)?;
        ui.answer(&View::of(&tenant, &store, settings).await)
    }
}

/// Adds what to do about it. The change itself is kept by then, unless the tenant is not there.
fn explained(error: TenantError) -> Failure {
    match &error {
        TenantError::NotServing(name) => Failure::new(Exit::Unreachable, error.to_string()).advise(format_args!(
            "the quota is kept and holds for pushes; `paas tenant show {name}`, then set it again"
        )),
        TenantError::NotUp { tenant, .. } => Failure::new(Exit::Failed, error.to_string()).advise(format_args!(
            "the quota is kept; set it again, or another one: `paas tenant quota set {tenant} …`"
        )),
        _ => super::tenant::explained(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_and_what_is_in_use_stand_side_by_side() {
        let share = crate::model::Share { cpus: Cpus::nearest(0.3), mem: 768, disk: 0 };
        let quota = Quota { cpus: Some(Cpus::nearest(8.0)), mem: Some(512), ..Quota::default() };
        let view = View { tenant: "dev".parse().unwrap(), quota, in_use: Some(InUse { share, apps: 2 }) };
        assert_eq!(
            view.text(),
            "                IN USE  QUOTA\n\
             cpus            0.3     8\n\
             mem (MiB)       768     512\n\
             disk (MiB)      0       none\n\
             apps            2       none\n\
             builds at once          none\n"
        );
        assert_eq!(view.exceeded(), ["mem"]);
        let unknown = View { in_use: None, ..view };
        assert!(unknown.text().contains("cpus            ?       8") && unknown.exceeded().is_empty());
    }
}
