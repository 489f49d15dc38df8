//! `paas audit`: who changed what, when, from where; and what was refused.

use futures_util::StreamExt as _;
use jiff::Timestamp;
use serde::Serialize;

use super::deed::{self, Deed, Right};
use crate::accounts::access::Caller;
use crate::accounts::audit::{AuditLog, Event, Filter, Outcome, Sight};
use crate::model::{Period, TenantName};
use crate::settings::Settings;
use crate::ui::{Answer, Closed, Table, Ui, hung_up, printable};

/// Show who changed what, when and from where, and what was refused
///
/// An admin sees everything, an owner what happened in their tenants, everybody what they did themselves.
#[derive(Debug, clap::Args)]
pub(super) struct Audit {
    /// Of this tenant alone
    #[arg(long, value_name = "NAME")]
    tenant: Option<TenantName>,
    /// By this user alone
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Not older than this, such as `30m`, `12h`
    #[arg(long, value_name = "TIME")]
    since: Option<Period>,
    /// Go on with what happens from now on
    #[arg(long, short)]
    follow: bool,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Events(Vec<Event>);

impl Answer for Events {
    fn text(&self) -> String {
        let mut table = Table::headed(["TIME", "USER", "FROM", "WHAT", "TENANT", "OBJECT", "OUTCOME"]);
        for event in &self.0 {
            let [at, from, tenant, object, outcome] = columns(event);
            table.row([&at, &event.user, &from, &event.what, &tenant, &object, &outcome]);
        }
        table.to_string()
    }
}

/// One event of those that come while somebody watches.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct One(Event);

impl Answer for One {
    fn text(&self) -> String {
        let [at, from, tenant, object, outcome] = columns(&self.0);
        printable(&[&at, &self.0.user, &from, &self.0.what, &tenant, &object, &outcome].map(String::as_str).join("  "))
    }
}

/// What is not text in an event yet: time, address, tenant, object, outcome.
fn columns(event: &Event) -> [String; 5] {
    let none = || "-".to_owned();
    [
        event.at.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        event.from.map_or_else(none, |from| from.to_string()),
        event.tenant.as_ref().map_or_else(none, ToString::to_string),
        event.object.clone().unwrap_or_else(none),
        match &event.outcome {
            Outcome::Done => "done".to_owned(),
            Outcome::Refused => "refused".to_owned(),
            Outcome::Failed(reason) => format!("failed: {reason}"),
        },
    ]
}

impl Audit {
    pub(super) fn deed(&self) -> Deed {
        match &self.tenant {
            Some(tenant) => Deed::look(Right::Manage, "audit").of(tenant),
            // Of which everybody sees as much as they may.
            None => Deed::look(Right::Own, "audit"),
        }
    }

    pub(super) async fn run(self, settings: &Settings, caller: &Caller, ui: &mut Ui) -> anyhow::Result<()> {
        let Some(store) = super::store::open_existing(settings)? else { return ui.answer(&Events(Vec::new())) };
        let (deed, log) = (self.deed(), AuditLog::in_directory(&settings.home.audit()));
        // Before time began everything is younger.
        let since = self.since.and_then(|period| Timestamp::now().checked_sub(period.get()).ok());
        let filter = Filter { tenant: self.tenant, user: self.user, since };
        if !self.follow {
            let events = log.read(&filter)?;
            return ui.answer(&Events(Sight::of(&store, caller).of_these(events).await?));
        }
        let (mut added, mut hung_up) = (std::pin::pin!(log.follow(filter)?), std::pin::pin!(hung_up()));
        loop {
            let events = tokio::select! {
                added = added.next() => added,
                () = &mut hung_up => return Err(Closed.into()),
            };
            let Some(events) = events.transpose()? else { return Ok(()) };
            // Decided anew each time: whoever is no owner any more sees nothing more.
            deed::admit(settings, caller, &deed).await?;
            for event in Sight::of(&store, caller).of_these(events).await? {
                ui.answer(&One(event))?;
            }
        }
    }
}
