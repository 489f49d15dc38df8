//! `paas apps redeploy`: what the app's branch is at, once more.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use super::as_account::become_account;
use super::deed::{Deed, Right};
use super::subject::{OfApp, OfTenant, no_app_named, no_tenant_named};
use crate::accounts::access::Caller;
use crate::delivery::{DEPLOY_BRANCHES, Delivery, Terminal};
use crate::git::{Claim, Repository};
use crate::model::{AppName, CommitId, ReleaseNumber, TenantName, UserName};
use crate::pipeline::{self, Platform, Progress, Push, PushError, PushId, PushOptions, Released};
use crate::settings::Settings;
use crate::ui::{Answer, Exit, Failure, Ui, hung_up};

/// Deploy again what was deployed last
///
/// The commit that the deploy branch is at becomes a new release, with the slug that is there and all else as it is now.
/// What is said and how it ends is as with a push.
#[derive(Debug, clap::Args)]
pub(super) struct Redeploy {
    #[command(flatten)]
    pub(super) of: OfTenant,
    #[command(flatten)]
    pub(super) app: OfApp,
    /// Build anew, with an empty cache
    #[arg(long)]
    no_cache: bool,
    /// Take over from a deployment that holds the app
    #[arg(long)]
    force: bool,
}

/// What serves now.
#[derive(Debug, Serialize)]
struct Redeployed {
    release: ReleaseNumber,
    commit: CommitId,
    address: Option<String>,
    /// In seconds.
    took: f64,
}

impl Answer for Redeployed {
    fn text(&self) -> String {
        format!("{}\n", self.release)
    }
}

impl Redeploy {
    pub(super) fn deed(&self) -> Deed {
        let object = self.app.app.as_ref().map(ToString::to_string);
        Deed { tenant: self.of.tenant.clone(), object, ..Deed::change(Right::Push, "apps redeploy") }
    }

    pub(super) async fn run(self, settings: &Settings, caller: &Caller, ui: &mut Ui) -> anyhow::Result<()> {
        let tenant = self.of.tenant.clone().ok_or_else(no_tenant_named)?;
        super::tenant::store_with(settings, &tenant).await?;
        let app = self.app.app.clone().ok_or_else(no_app_named)?;
        if *caller == Caller::Host {
            become_account(settings, &self.words(&tenant, &app), ui).await?;
        }
        let delivery = Delivery { settings, caller: caller.clone(), tenant, app };
        let (claim, push) = self.push(&delivery)?;
        let (commit, app) = (push.commit.clone(), push.app.clone());
        let released = deploy(push, &delivery, ui).await;
        claim.release()?;
        let Released { number, ref address, took, .. } = released.map_err(|failure| explained(failure, &app))?;
        ui.answer(&Redeployed { release: number, commit, address: address.clone(), took: took.as_secs_f64() })
    }

    /// The words that say it, wherever they are typed.
    fn words(&self, tenant: &TenantName, app: &AppName) -> Vec<String> {
        let words = ["apps", "redeploy", "--tenant", tenant.as_str(), "--app", app.as_str()];
        let flags = [(self.no_cache, "--no-cache"), (self.force, "--force")];
        let flags = flags.into_iter().filter_map(|(is_set, flag)| is_set.then_some(flag));
        words.into_iter().chain(flags).map(str::to_owned).collect()
    }

    /// The push that it comes to, and the repository's claim.
    fn push(&self, delivery: &Delivery<'_>) -> anyhow::Result<(Claim, Push)> {
        let Delivery { settings, caller, tenant, app } = delivery;
        let path = settings.home.repository(tenant, app);
        // A link leads nowhere, as for whoever pushes.
        if !std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir()) {
            return Err(never_deployed(tenant, app).into());
        }
        let claim = Claim::on(&path)?;
        let repository = Repository::open(&path)?;
        for branch in DEPLOY_BRANCHES {
            let Some(commit) = repository.reference(branch)? else { continue };
            let options = PushOptions { force: self.force, no_cache: self.no_cache, ..PushOptions::default() };
            let push = Push {
                tenant: tenant.clone(),
                app: app.clone(),
                user: user(caller),
                push: PushId::random(),
                previous: Some(commit.clone()),
                commit,
                branch: branch.to_owned(),
                repository: path,
                options,
            };
            return Ok((claim, push));
        }
        claim.release()?;
        Err(never_deployed(tenant, app).into())
    }
}

/// As builds and releases name who made them; nobody needs to be registered to be at the host itself.
fn user(caller: &Caller) -> UserName {
    match caller {
        Caller::Key(who) => who.user.clone(),
        Caller::Host => "host".parse().expect("a name of lower-case letters"),
    }
}

fn never_deployed(tenant: &TenantName, app: &AppName) -> Failure {
    Failure::new(Exit::Refused, format_args!("nothing was deployed of `{app}` in tenant `{tenant}` yet"))
        .advise("is that its name? A push deploys it")
}

/// Why nothing new serves.
#[derive(Debug, thiserror::Error)]
enum NotRedeployed {
    #[error(transparent)]
    Push(#[from] PushError),
    #[error(transparent)]
    Unknown(#[from] crate::delivery::DeliveryError),
    #[error("it was ended before anything was deployed")]
    Ended,
}

/// Deploys; whoever goes away before the release is posted ends it, as with a push.
async fn deploy(push: Push, delivery: &Delivery<'_>, ui: &mut Ui) -> Result<Released, NotRedeployed> {
    let platform = delivery.platform(None).await?;
    let terminal = Terminal::new(ui.narrative());
    let is_posted = AtomicBool::new(false);
    let say = |progress: Progress| {
        if let Progress::Deploying(_) = progress {
            is_posted.store(true, Ordering::Relaxed);
        }
        terminal.show(&progress);
    };
    let id = push.push.clone();
    let permission = || delivery.permission(None);
    {
        let mut deployed = pin!(pipeline::run(push, &platform, permission, &say));
        let mut gone = pin!(gone());
        let mut is_gone = false;
        loop {
            tokio::select! {
                released = &mut deployed => return Ok(released?),
                () = terminal.keep_alive() => unreachable!("it goes on until the pipeline ends"),
                () = &mut gone, if !is_gone => is_gone = true,
            }
            if is_gone && !is_posted.load(Ordering::Relaxed) {
                break;
            }
        }
    }
    abandon(&platform, &id).await;
    Err(NotRedeployed::Ended)
}

/// Nobody reads what is said any more, or somebody wants it to end.
async fn gone() {
    tokio::select! {
        () = hung_up() => {},
        told = tokio::signal::ctrl_c() => if told.is_err() {
            std::future::pending::<()>().await;
        },
    }
}

/// The next push or sweep finds what could not be taken back.
async fn abandon(platform: &Platform, push: &PushId) {
    if let Err(error) = pipeline::abandon(&platform.docker, push).await {
        tracing::warn!(%error, %push, "what was begun could not be cleaned up");
    }
}

fn explained(error: NotRedeployed, app: &AppName) -> anyhow::Error {
    let exit = match &error {
        NotRedeployed::Push(
            PushError::Busy { .. }
            | PushError::Overtaken { .. }
            | PushError::NotAllowed
            | PushError::OverQuota { .. }
            | PushError::QuotaHeld { .. },
        ) => Exit::Refused,
        NotRedeployed::Unknown(_) => Exit::Unreachable,
        NotRedeployed::Push(_) | NotRedeployed::Ended => Exit::Failed,
    };
    let log = match &error {
        NotRedeployed::Push(PushError::Build(failed)) => failed.number,
        _ => None,
    };
    let failure = Failure::new(exit, format_args!("`{app}` was not deployed again")).because(error);
    match log {
        Some(number) => failure.advise(format_args!("`paas builds log {number}` shows what the build said")).into(),
        None => failure.into(),
    }
}
