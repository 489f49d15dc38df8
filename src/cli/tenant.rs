//! `paas tenant`: tenants, each with a Marathon of its own.

use serde::Serialize;

use super::deed::{Deed, Right};
use super::subject::{Spelling, Subject, no_tenant_named};
use super::{join, members, quota, tokens};
use crate::accounts::access::{self, Caller};
use crate::accounts::tenants::{self, Tenant, TenantEngines, TenantError};
use crate::marathon::Client;
use crate::model::{Role, TenantName};
use crate::platform::{self, Programs};
use crate::settings::Settings;
use crate::store::{SqliteStore, Store};
use crate::ui::{Answer, Exit, Failure, Table, Ui};

/// Create, list, show and delete tenants; their members, tokens and quotas
#[derive(Debug, clap::Args)]
pub(super) struct Tenants {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Create(Create),
    List(List),
    Show(Show),
    Delete(Delete),
    Members(members::Members),
    Token(tokens::Tokens),
    Quota(quota::Quotas),
    Join(join::Join),
}

/// Create a tenant: start a Marathon of its own and wait until it serves
#[derive(Debug, clap::Args)]
struct Create {
    /// Such as `dev` or `prod`: a-z, 0-9 and `-`
    name: TenantName,
}

/// List the tenants
#[derive(Debug, clap::Args)]
struct List {}

/// Show a tenant: its Marathon, its apps, how to push to it
#[derive(Debug, clap::Args)]
struct Show {
    /// [default: where the git remote of the work tree leads]
    name: Option<TenantName>,
}

/// Delete a tenant: its apps, their repositories, builds and releases, and its Marathon
#[derive(Debug, clap::Args)]
struct Delete {
    name: TenantName,
    /// Do not ask for the name
    #[arg(long, short)]
    yes: bool,
    /// Also when apps run, or when the tenant's Marathon does not answer
    #[arg(long)]
    force: bool,
}

impl Tenants {
    pub(super) fn deed(&self) -> Deed {
        match &self.verb {
            Verb::Create(create) => Deed::change(Right::CreateTenant, "tenant create").of(&create.name),
            Verb::List(_) => Deed::look(Right::Own, "tenant list"),
            Verb::Show(show) => Deed { tenant: show.name.clone(), ..Deed::look(Right::Read, "tenant show") },
            Verb::Delete(delete) => Deed::change(Right::Delete, "tenant delete").of(&delete.name),
            Verb::Members(members) => members.deed(),
            Verb::Token(tokens) => tokens.deed(),
            Verb::Quota(quota) => quota.deed(),
            Verb::Join(join) => join.deed(),
        }
    }

    pub(super) fn subject(&mut self) -> Subject<'_> {
        match &mut self.verb {
            Verb::Members(members) => Subject::of(&mut members.of),
            Verb::Token(tokens) => Subject::of(&mut tokens.of),
            Verb::Show(show) => Subject::tenant(&mut show.name, Spelling::Argument),
            Verb::Quota(quota) => quota.subject(),
            // What makes or ends a tenant names it.
            Verb::Create(_) | Verb::List(_) | Verb::Delete(_) | Verb::Join(_) => Subject::default(),
        }
    }

    /// Whoever joins with a new key is called on the host as here, unless they say otherwise.
    pub(super) fn named(&self, mut typed: Vec<String>, user: Option<&str>) -> Vec<String> {
        if let (Verb::Join(join), Some(user)) = (&self.verb, user)
            && join.name.is_none()
            && user.parse::<crate::model::UserName>().is_ok()
        {
            typed.extend(["--name".to_owned(), user.to_owned()]);
        }
        typed
    }

    /// The command, if it is one that a key may send which nobody knows yet.
    pub(super) fn join(self) -> Option<join::Join> {
        if let Verb::Join(join) = self.verb { Some(join) } else { None }
    }

    pub(super) async fn run(self, settings: &Settings, caller: &Caller, ui: &mut Ui) -> anyhow::Result<()> {
        match self.verb {
            Verb::Create(create) => create.run(settings, caller, ui).await,
            Verb::List(_) => list(settings, caller, ui).await,
            Verb::Show(show) => show.run(settings, ui).await,
            Verb::Delete(delete) => delete.run(settings, ui).await,
            Verb::Members(members) => members.run(settings, caller, ui).await,
            Verb::Token(tokens) => tokens.run(settings, caller, ui).await,
            Verb::Quota(quota) => quota.run(settings, ui).await,
            Verb::Join(join) => join.run(settings, caller, ui).await,
        }
    }
}

/// A tenant as people and programs see it.
#[derive(Debug, Serialize)]
struct View {
    name: TenantName,
    created: jiff::Timestamp,
    /// The git remote of its apps, where `APP` stands for the app's name.
    remote: String,
    /// Where its Marathon answers; absent when that does not serve now.
    marathon: Option<String>,
    /// Absent when they cannot be known now.
    apps: Option<Vec<String>>,
}

impl View {
    async fn of(tenant: &Tenant, store: &dyn Store, root: Option<&Client>, settings: &Settings) -> Self {
        let user = platform::account_name(settings).await;
        // Without its Marathon a tenant can still be shown.
        let marathon = match root {
            Some(root) => tenants::marathon_of(store, root, &tenant.name).await.ok(),
            None => None,
        };
        let apps = match &marathon {
            Some(marathon) => tenants::apps(marathon, &tenant.name).await.ok(),
            None => None,
        };
        Self {
            name: tenant.name.clone(),
            created: tenant.created,
            remote: super::remote::url(&settings.ssh, &user, &tenant.name, "APP"),
            marathon: marathon.map(|marathon| marathon.url),
            apps,
        }
    }

    fn state(&self) -> &'static str {
        if self.marathon.is_some() { "serves" } else { "does not serve" }
    }

    /// Of apps, not of their process types: `shop/web` and `shop/worker` are one.
    fn app_names(&self) -> Option<Vec<&str>> {
        let mut names: Vec<&str> =
            self.apps.as_ref()?.iter().map(|id| id.split('/').next().unwrap_or_default()).collect();
        names.dedup();
        Some(names)
    }
}

impl Answer for View {
    fn text(&self) -> String {
        let unknown = || "unknown".to_owned();
        Table::record([
            ("name", self.name.to_string()),
            ("state", self.state().to_owned()),
            ("created", self.created.to_string()),
            ("marathon", self.marathon.clone().unwrap_or_else(|| "-".to_owned())),
            ("apps", self.app_names().map_or_else(unknown, |names| names.join(", "))),
            ("remote", self.remote.clone()),
        ])
        .to_string()
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Views(Vec<View>);

impl Answer for Views {
    fn text(&self) -> String {
        let mut table = Table::headed(["NAME", "STATE", "APPS", "REMOTE"]);
        for view in &self.0 {
            let apps = view.app_names().map_or_else(|| "?".to_owned(), |names| names.len().to_string());
            table.row([view.name.as_str(), view.state(), &apps, &view.remote]);
        }
        table.to_string()
    }
}

impl Create {
    async fn run(self, settings: &Settings, caller: &Caller, ui: &mut Ui) -> anyhow::Result<()> {
        let (store, root) = reached(settings)?;
        let engines = engines(settings)?;
        let progress = ui.progress(format_args!("Creating tenant `{}`:", self.name));
        let say = |step: &str| progress.say(step);
        let made = progress.during(tenants::create(&store, &root, &engines, &self.name, &say)).await;
        drop(progress);
        let tenant = made.map_err(explained)?;
        // Whoever makes a tenant owns it; the host itself is no user.
        if let Caller::Key(who) = caller {
            crate::accounts::members::add(&store, &self.name, &who.user, Role::Owner, &caller.name()).await?;
        }
        let view = View::of(&tenant, &store, Some(&root), settings).await;
        ui.answer(&view)?;
        ui.note(format_args!(
            "\nNext, in a git work tree:\n  git remote add paas-{0} {1}\n  git push paas-{0}",
            self.name,
            view.remote.replace("APP", "NAME-OF-THE-APP")
        ))?;
        ui.note(format_args!("(or `paas init --tenant {}`, which does the first for you)", self.name))?;
        Ok(())
    }
}

async fn list(settings: &Settings, caller: &Caller, ui: &mut Ui) -> anyhow::Result<()> {
    let Some(store) = super::store::open_existing(settings)? else { return ui.answer(&Views(Vec::new())) };
    let root = root(settings).ok();
    let visible = access::visible_tenants(&store, caller).await?;
    let mut views = Vec::new();
    for tenant in tenants::list(&store).await?.into_iter().filter(|tenant| visible.contains(&tenant.name)) {
        views.push(View::of(&tenant, &store, root.as_ref(), settings).await);
    }
    ui.answer(&Views(views))
}

impl Show {
    async fn run(self, settings: &Settings, ui: &mut Ui) -> anyhow::Result<()> {
        let name = self.name.ok_or_else(no_tenant_named)?;
        let missing = || not_there(&name);
        let store = super::store::open_existing(settings)?.ok_or_else(missing)?;
        let tenant = tenants::get(&store, &name).await?.ok_or_else(missing)?;
        let root = root(settings).ok();
        ui.answer(&View::of(&tenant, &store, root.as_ref(), settings).await)
    }
}

/// What `delete` answers.
#[derive(Debug, Serialize)]
struct Deleted {
    name: TenantName,
    #[serde(flatten)]
    removed: crate::docker::Removed,
}

impl Answer for Deleted {
    fn text(&self) -> String {
        format!("Tenant `{}` is deleted.", self.name)
    }
}

impl Delete {
    async fn run(self, settings: &Settings, ui: &mut Ui) -> anyhow::Result<()> {
        let (store, root) = reached(settings)?;
        if tenants::get(&store, &self.name).await?.is_none() {
            return Err(explained(TenantError::NotFound(self.name)).into());
        }
        self.confirm(ui)?;
        let progress = ui.progress(format_args!("Deleting tenant `{}`:", self.name));
        let say = |step: &str| progress.say(step);
        progress.during(tenants::end(&store, &root, &self.name, self.force, &say)).await.map_err(explained)?;
        say("removing its repositories and images");
        let removed = progress.during(platform::remove_remains(settings, &self.name)).await?;
        tenants::forget(&store, &self.name).await?;
        drop(progress);
        ui.answer(&Deleted { name: self.name, removed })
    }

    fn confirm(&self, ui: &mut Ui) -> anyhow::Result<()> {
        if self.yes {
            return Ok(());
        }
        let question = format!("This ends and removes everything of tenant `{0}`. Type `{0}` to do so:", self.name);
        match ui.ask(question)? {
            Some(typed) if typed == self.name.as_str() => Ok(()),
            Some(_) => Err(Failure::new(Exit::Refused, "nothing was deleted: that is not the tenant's name").into()),
            None => Err(Failure::new(
                Exit::Refused,
                format_args!("tenant `{}` was not deleted, as nobody can be asked here", self.name),
            )
            .advise("`--yes` does it without asking")
            .into()),
        }
    }
}

/// What is said of a tenant that is not there, or that must not be seen.
pub(super) fn not_there(tenant: &TenantName) -> Failure {
    explained(TenantError::NotFound(tenant.clone()))
}

/// The store, in which the tenant is.
pub(super) async fn store_with(settings: &Settings, tenant: &TenantName) -> anyhow::Result<SqliteStore> {
    let store = super::store::open(settings)?;
    if tenants::get(&store, tenant).await?.is_none() {
        return Err(not_there(tenant).into());
    }
    Ok(store)
}

/// The store and the root Marathon, both of which must be there.
pub(super) fn reached(settings: &Settings) -> anyhow::Result<(SqliteStore, Client)> {
    let root = root(settings)?;
    Ok((super::store::open(settings)?, root))
}

pub(super) fn root(settings: &Settings) -> anyhow::Result<Client> {
    let credentials = settings.root_credentials().map_err(|error| {
        Failure::new(Exit::Unreachable, "this platform is not there, or not yours to change")
            .because(error)
            .advise("`paas up` starts it; another home is named with `--home DIR`; as root's, it needs `sudo`")
    })?;
    Ok(Client::new(&settings.marathon.url, Some(credentials))?)
}

pub(super) fn engines(settings: &Settings) -> anyhow::Result<TenantEngines> {
    Ok(TenantEngines {
        program: Programs::of_process()?.paas,
        home: settings.home.path().to_owned(),
        states: settings.home.tenant_engines(),
        docker: settings.docker.socket.clone(),
        address: settings.engine.address,
        ports: settings.engine.ports.clone(),
    })
}

/// Adds what to do about it.
pub(super) fn explained(error: TenantError) -> Failure {
    use crate::marathon::ClientError;
    let what = error.to_string();
    let failure = |exit| Failure::new(exit, what);
    match error {
        TenantError::NotFound(_) => failure(Exit::Refused).advise("`paas tenant list` shows those there are"),
        TenantError::Exists(name) => failure(Exit::Refused)
            .advise(format_args!("`paas tenant show {name}` shows it; choose another name for another one")),
        TenantError::AppsRunning { .. } => failure(Exit::Refused).advise("`--force` ends them"),
        TenantError::NotServing(_) => failure(Exit::Unreachable)
            .advise("`paas status` shows what runs; `--force` deletes the tenant all the same"),
        TenantError::Busy { .. } => failure(Exit::Refused).advise("try again once that has ended"),
        TenantError::Root(ClientError::Unreachable { url, cause }) => {
            Failure::new(Exit::Unreachable, format_args!("the root Marathon does not answer at {url}"))
                .because(cause)
                .advise("`paas up` starts it; `paas status` shows what runs")
        }
        error => Failure::new(Exit::Failed, "the tenant is not as you want it").because(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_counts_apps_and_not_their_process_types() {
        let view = View {
            name: "dev".parse().unwrap(),
            created: jiff::Timestamp::UNIX_EPOCH,
            remote: String::new(),
            marathon: None,
            apps: Some(vec!["shop/web".to_owned(), "shop/worker".to_owned(), "wiki/web".to_owned()]),
        };
        assert_eq!(view.app_names().unwrap(), ["shop", "wiki"]);
    }
}
