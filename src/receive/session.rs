//! The forced command: one connection of one key, one request, nothing else.
//!
//! git runs in a process group of its own and is watched: when the client hangs up before its release was posted, the
//! group ends, and what the push had begun is taken back.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

use super::context::{self, PushContext, Way};
use super::letterbox;
use super::request::{RefusedRequest, Repository, Request};
use crate::accounts::access::{self, AccessError, Action, Caller, Identity};
use crate::accounts::audit::{AuditLog, Event, Outcome as Ended};
use crate::accounts::keys::{self, KeyError};
use crate::accounts::tenants::{self, TenantError};
use crate::accounts::tokens::{self, TokenError};
use crate::docker::{Docker, Socket};
use crate::git::{self, Claim};
use crate::model::{TenantName, UserName};
use crate::pipeline::{self, PushId};
use crate::settings::Settings;
use crate::store::{SqliteStore, StoreError};
use crate::ui::hung_up;

/// Where git is, so that no PATH can name another.
const GIT: &str = "/usr/bin/git";
/// Between asking git to end, when it takes its quarantine away, and ending it.
const GRACE: Duration = Duration::from_millis(500);

/// Why a session did nothing, or broke off.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    #[error(transparent)]
    Request(#[from] RefusedRequest),
    #[error(transparent)]
    NoSuchTenant(#[from] NoSuchTenant),
    #[error("there is no app `{app}` in tenant `{tenant}`", app = .0.app, tenant = .0.tenant)]
    NoSuchApp(Box<Repository>),
    #[error("the store could not be asked")]
    Store(#[from] StoreError),
    #[error("it could not be decided who may do this")]
    Access(#[from] AccessError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("the tenant could not be looked up")]
    Tenant(#[from] TenantError),
    #[error("the deploy tokens could not be looked up")]
    Token(#[from] TokenError),
    #[error("the repository could not be made")]
    Repository(#[from] git::GitError),
    #[error("cannot run {GIT}")]
    Git(#[source] std::io::Error),
}

/// The same words for a tenant that is not there and one that must not be seen.
#[derive(Debug, thiserror::Error)]
#[error("there is no tenant `{tenant}` that `{user}` may use")]
pub(super) struct NoSuchTenant {
    pub(super) tenant: TenantName,
    pub(super) user: UserName,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) who: Identity,
    pub(super) settings: Settings,
    /// This program, by which git's hooks come back.
    pub(super) program: PathBuf,
}

/// What the session is to answer without git.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Help,
    Version,
    /// git ran, and ended with this status.
    Git(u8),
    /// The command line of `paas` is to run.
    Command(Vec<String>),
}

impl Session {
    /// Carries out `command`, the client's own text (none: it wanted a shell).
    pub(super) async fn run(&self, command: Option<&str>) -> Result<Outcome, SessionError> {
        let request = Request::parse(command.unwrap_or_default())?;
        match keys::used(&SqliteStore::open(&self.settings.home.store())?, &self.who.key, self.who.from).await {
            // Removed since its connection began; whatever it wants is refused in its own words.
            Ok(()) | Err(KeyError::Unknown(_)) => {}
            Err(error) => return Err(error.into()),
        }
        match request {
            Request::Help => Ok(Outcome::Help),
            Request::Version => Ok(Outcome::Version),
            Request::Command(words) => Ok(Outcome::Command(words)),
            Request::ReceivePack(repository) => self.receive_pack(repository).await.map(Outcome::Git),
            Request::UploadPack(repository) => self.upload_pack(repository).await.map(Outcome::Git),
        }
    }

    async fn receive_pack(&self, repository: Repository) -> Result<u8, SessionError> {
        let way = self.way_in(&repository).await?;
        let push = PushContext { who: self.who.clone(), repository, id: PushId::random(), way };
        let path = push.repository_path(&self.settings.home);
        if way == Way::Letterbox {
            letterbox::sweep(&self.settings.home.letterboxes());
        }
        let claim = Claim::make(&path, &context::rules(&self.settings))?;
        let status = self.watched("receive-pack", &path, Some(&push)).await;
        // A refused first push leaves no repository, and a letterbox is for one push.
        match way {
            Way::Door => claim.release()?,
            Way::Letterbox => claim.discard()?,
        }
        status
    }

    async fn upload_pack(&self, repository: Repository) -> Result<u8, SessionError> {
        if !self.may(&repository.tenant, Action::Read(&repository.tenant)).await? {
            return Err(self.refusal("clone", &repository));
        }
        let path = self.settings.home.repository(&repository.tenant, &repository.app);
        // A link leads nowhere, as for whoever pushes.
        if !std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir()) {
            return Err(SessionError::NoSuchApp(Box::new(repository)));
        }
        self.watched("upload-pack", &path, None).await
    }

    /// How a push of this user to the app comes in. Whoever may not push, for whatever reason, has the letterbox, if
    /// there is any deploy token on this platform: which tenants and apps there are shows in nothing that follows.
    async fn way_in(&self, repository: &Repository) -> Result<Way, SessionError> {
        if self.may(&repository.tenant, Action::Push(&repository.tenant)).await? {
            return Ok(Way::Door);
        }
        let store = SqliteStore::open(&self.settings.home.store())?;
        let is_known = access::may(&store, &Caller::Key(self.who.clone()), Action::Own).await?;
        if is_known && tokens::any_deploys(&store, jiff::Timestamp::now()).await? {
            return Ok(Way::Letterbox);
        }
        Err(self.refusal("push", repository))
    }

    /// Whether the tenant is there and the user may do that in it.
    async fn may(&self, tenant: &TenantName, action: Action<'_>) -> Result<bool, SessionError> {
        let store = SqliteStore::open(&self.settings.home.store())?;
        let known = tenants::get(&store, tenant).await?.is_some();
        Ok(known && access::may(&store, &Caller::Key(self.who.clone()), action).await?)
    }

    fn refusal(&self, what: &str, repository: &Repository) -> SessionError {
        let event = Event::by(&Caller::Key(self.who.clone()), what, Ended::Refused);
        let event = event.in_tenant(&repository.tenant).on(&repository.app);
        AuditLog::in_directory(&self.settings.home.audit()).note(&event);
        NoSuchTenant { tenant: repository.tenant.clone(), user: self.who.user.clone() }.into()
    }

    /// Runs git to its end, or ends it when the client is gone.
    async fn watched(&self, verb: &str, path: &Path, push: Option<&PushContext>) -> Result<u8, SessionError> {
        let mut child = self.git(verb, path, push).spawn().map_err(SessionError::Git)?;
        let status = tokio::select! {
            status = child.wait() => status.map_err(SessionError::Git)?,
            () = hung_up() => {
                end(&mut child).await;
                if let Some(push) = push {
                    self.abandon(push).await;
                }
                return Ok(ABANDONED);
            }
        };
        // git ended by a signal: its client sees the connection break, the status is what a shell would give.
        Ok(status.code().or(status.signal().map(|signal| 128 + signal)).and_then(|c| u8::try_from(c).ok()).unwrap_or(1))
    }

    fn git(&self, verb: &str, path: &Path, push: Option<&PushContext>) -> Command {
        let mut command = Command::new(GIT);
        command.arg(verb).arg(path).process_group(0);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("LANG", "C.UTF-8");
        command
            .env("HOME", self.settings.home.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null");
        command.env(context::HOME, self.settings.home.path()).env(context::RECEIVE, &self.program);
        command.envs(push.map(PushContext::to_vars).into_iter().flatten());
        command.stdin(Stdio::inherit()).stdout(Stdio::inherit()).stderr(Stdio::inherit());
        command
    }

    /// Takes back what a push that was cut off had begun. Nobody is left to be told when that fails; the next sweep
    /// finds it by its label.
    async fn abandon(&self, push: &PushContext) {
        let docker = Docker::at(Socket(self.settings.docker.socket.clone()));
        if let Err(error) = pipeline::abandon(&docker, &push.id).await {
            tracing::warn!(%error, push = %push.id, "a cut-off push could not be cleaned up");
        }
    }
}

/// A status for a client that is gone: what a shell gives for SIGHUP.
const ABANDONED: u8 = 129;

/// Asks git's process group to end and then ends it. A hook that deploys has left the group and goes on.
async fn end(child: &mut Child) {
    let Some(group) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) else { return };
    for signal in [Signal::TERM, Signal::KILL] {
        // An error means that it has ended already.
        let _ = kill_process_group(group, signal);
        if tokio::time::timeout(GRACE, child.wait()).await.is_ok() {
            // Its children may have survived what ended git itself.
            let _ = kill_process_group(group, Signal::KILL);
            return;
        }
    }
}
