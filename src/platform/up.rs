//! The whole life of `paas up`.

use std::io;
use std::time::Duration;

use tokio::sync::watch;

use super::account::{Account, AccountError};
use super::layout::{self, LayoutError};
use super::preflight::{self, Problem};
use super::presence::{self, Presence};
use super::process::Process;
use super::service::{Happening, Service, ServiceError, turned_true};
use super::sshd::{self, SshdError};
use super::{Programs, root_engine, tool};
use crate::model::Secret;
use crate::settings::{Overrides, Settings, SshServer};
use crate::store::{SqliteStore, StoreError};

/// The root engine ends its commands, the tenants' engines, first.
const ENGINE_PATIENCE: Duration = Duration::from_secs(30);
const SSHD_PATIENCE: Duration = Duration::from_secs(5);
/// A sweep may end anywhere: the next one goes on from there.
const SWEEP_PATIENCE: Duration = Duration::from_secs(5);
/// The first sweep comes this soon after the start, for what the last life of the platform left.
const FIRST_SWEEP: Duration = Duration::from_mins(1);
/// However often sweeps are asked for, they are no busy loop.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// Why the platform is not up.
#[derive(Debug, thiserror::Error)]
pub enum UpError {
    #[error("this platform is up already: process {} serves it", .0.pid)]
    Serving(Process),
    #[error("another `paas up` of this home is just starting")]
    Starting,
    #[error("{} in the way of the platform", count(.0.len()))]
    InTheWay(Vec<Problem>),
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Sshd(#[from] SshdError),
    #[error(transparent)]
    Service(#[from] ServiceError),
    #[error("git's hooks could not be put in their place")]
    Hooks(#[source] io::Error),
    #[error("cannot tell whether this platform is up already")]
    Presence(#[source] io::Error),
    #[error("what an earlier `paas up` left running could not be ended")]
    Leftovers(#[source] io::Error),
}

fn count(problems: usize) -> String {
    if problems == 1 { "1 thing is".to_owned() } else { format!("{problems} things are") }
}

/// What is told while the platform is up.
#[derive(Debug)]
pub enum News {
    /// The example configuration was written there, as there was none.
    Configured,
    /// The named part did that.
    Of(&'static str, Happening),
    /// Everything serves.
    Serving,
    Ending,
}

/// Brings the platform up, watches over it, and ends it when `shutdown` resolves; apps keep running.
///
/// `new_credentials` makes the root engine's, once in the life of a home. Must be awaited on the main thread: the
/// kernel ends what was started when the thread that started it does.
pub async fn run(
    settings: &Settings,
    overrides: &Overrides,
    programs: &Programs,
    new_credentials: impl FnOnce() -> Secret,
    say: &(dyn Fn(News) + Sync),
    shutdown: impl Future<Output = ()>,
) -> Result<(), UpError> {
    let as_root = rustix::process::geteuid().is_root();
    let home = &settings.home;
    if let Some(process) = presence::serving(home).map_err(UpError::Presence)? {
        return Err(UpError::Serving(process));
    }
    end_leftovers(settings).await.map_err(UpError::Leftovers)?;
    let problems = preflight::check(settings, programs, as_root).await;
    if !problems.is_empty() {
        return Err(UpError::InTheWay(problems));
    }
    let account = account(settings, as_root).await?;
    layout::directories(home, &account)?;
    // Opened once as root, so that it and whatever root made in it before belong to the account.
    SqliteStore::open(&home.store())?;
    let _presence = Presence::take(home).map_err(UpError::Presence)?.ok_or(UpError::Starting)?;
    if layout::configuration(home, &account)? {
        say(News::Configured);
    }
    layout::started_with(home, overrides, &account)?;
    let credentials = layout::root_credentials(home, &account, new_credentials)?;
    crate::git::install_hooks(&home.hooks()).map_err(UpError::Hooks)?;
    let sshd = match settings.ssh.server {
        SshServer::Own => {
            sshd::prepare(settings, programs, &account).await?;
            Some(sshd_service(settings))
        }
        SshServer::Host => None,
    };
    let user = as_root.then(|| account.name.clone());
    let services = Services {
        engine: engine_service(settings, programs, &credentials, user.clone()),
        sshd,
        sweep: sweep_service(settings, programs, user),
        sweep_every: settings.keep.every.get().max(SHORTEST_PAUSE),
    };
    services.keep(say, shutdown).await
}

async fn account(settings: &Settings, as_root: bool) -> Result<Account, AccountError> {
    use std::os::unix::fs::MetadataExt as _;
    if !as_root {
        return Account::current().await;
    }
    // The socket is there: the preflight has just used it.
    let group = std::fs::metadata(&settings.docker.socket).map_or(0, |socket| socket.gid());
    Account::ensure(&settings.user, settings.home.path(), group).await
}

/// Ends a root engine and an sshd whose `paas up` is gone. Tenants' engines are left to the new root engine.
pub(super) async fn end_leftovers(settings: &Settings) -> io::Result<usize> {
    let home = &settings.home;
    let left = Process::with_arguments(|words| sshd::is_ours(words, home) || root_engine::is_ours(words, home));
    for process in &left {
        process.end(ENGINE_PATIENCE).await?;
    }
    Ok(left.len())
}

fn engine_service(settings: &Settings, programs: &Programs, credentials: &Secret, user: Option<String>) -> Service {
    let program = programs.paas.display().to_string();
    Service {
        name: "engine",
        command: [program].into_iter().chain(root_engine::arguments(settings)).collect(),
        environment: root_engine::environment(settings, credentials),
        user,
        is_ready: root_engine::is_ready,
        patience: ENGINE_PATIENCE,
    }
}

/// Comes after whatever else wants the processors or the disk.
fn sweep_service(settings: &Settings, programs: &Programs, user: Option<String>) -> Service {
    let (program, home) = (programs.receive.display().to_string(), settings.home.path().display().to_string());
    let behind = ["ionice", "-t", "-c", "3", "nice", "-n", "19"].map(str::to_owned).into_iter();
    Service {
        name: "sweep",
        command: behind.chain([program, "sweep".to_owned(), "--home".to_owned(), home.clone()]).collect(),
        environment: vec![("HOME", home)],
        user,
        // It is nothing that serves.
        is_ready: |_| false,
        patience: SWEEP_PATIENCE,
    }
}

fn sshd_service(settings: &Settings) -> Service {
    // sshd starts itself anew for each connection and wants its own absolute path for that.
    let program = tool::find("sshd").unwrap_or_else(|| "/usr/sbin/sshd".into()).display().to_string();
    Service {
        name: "sshd",
        command: [program].into_iter().chain(sshd::arguments(&settings.home)).collect(),
        environment: Vec::new(),
        user: None,
        is_ready: sshd::is_ready,
        patience: SSHD_PATIENCE,
    }
}

/// What is kept running.
struct Services {
    engine: Service,
    /// None where people come in by the host's.
    sshd: Option<Service>,
    /// Run from time to time.
    sweep: Service,
    sweep_every: Duration,
}

impl Services {
    /// The front door opens once the engine behind it serves, and closes before the engine ends.
    async fn keep(&self, say: &(dyn Fn(News) + Sync), shutdown: impl Future<Output = ()>) -> Result<(), UpError> {
        let (engine_ready, sshd_ready) = (watch::Sender::new(false), watch::Sender::new(false));
        let (stop_engine, stop_sshd) = (watch::Sender::new(false), watch::Sender::new(false));
        let tell = |name, happening| {
            if happening == Happening::Ready {
                let ready = if name == self.engine.name { &engine_ready } else { &sshd_ready };
                ready.send_replace(true);
            }
            say(News::Of(name, happening));
        };
        let engine = async {
            let ended = self.engine.keep(&mut stop_engine.subscribe(), &tell).await;
            stop_sshd.send_replace(true);
            ended
        };
        let sshd = async {
            let (mut engine_ready, mut stopped) = (engine_ready.subscribe(), stop_sshd.subscribe());
            let opens = tokio::select! {
                () = turned_true(&mut engine_ready) => true,
                () = turned_true(&mut stopped) => false,
            };
            let ended = match &self.sshd {
                Some(sshd) if opens => sshd.keep(&mut stopped, &tell).await,
                Some(_) => Ok(()),
                None => {
                    sshd_ready.send_replace(opens);
                    turned_true(&mut stopped).await;
                    Ok(())
                }
            };
            stop_engine.send_replace(true);
            ended
        };
        let sweep = async {
            let (mut serving, mut stopped) = (sshd_ready.subscribe(), stop_sshd.subscribe());
            tokio::select! {
                () = turned_true(&mut serving) => {}
                () = turned_true(&mut stopped) => return,
            }
            let mut stopped = stop_sshd.subscribe();
            self.sweep.repeat(FIRST_SWEEP.min(self.sweep_every), self.sweep_every, &mut stopped, &tell).await;
        };
        // Large, and moved about by whoever awaits this.
        let mut services = Box::pin(async {
            let (engine, sshd, ()) = tokio::join!(engine, sshd, sweep);
            (engine, sshd)
        });
        tokio::pin!(shutdown);
        let told_to_end = async {
            let mut serving = sshd_ready.subscribe();
            tokio::select! {
                () = &mut shutdown => return,
                () = turned_true(&mut serving) => say(News::Serving),
            }
            shutdown.await;
        };
        let (engine, sshd) = tokio::select! {
            ended = &mut services => ended,
            () = told_to_end => {
                say(News::Ending);
                stop_sshd.send_replace(true);
                services.await
            }
        };
        Ok(engine.and(sshd)?)
    }
}
