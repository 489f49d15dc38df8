//! The way of a push: source → build → publish → release → deploy.
//!
//! Each stage is a file, takes the value that the stage before it made, and makes the next one's. Which shape the
//! platform has, one machine or a cluster, is nowhere asked: there is a store, a Docker, perhaps a registry, and a
//! Marathon. Who may push is decided before; the ref is moved by the caller, after `run` says that the release serves.

mod ahead;
mod app_record;
mod build;
mod build_log;
mod builds;
mod cancel;
mod console;
mod definition;
mod deploy;
mod detached;
mod disk;
mod dockerfile;
mod dockerfile_build;
mod fault_point;
mod formation;
mod keep;
mod log_watch;
mod own_image;
mod places;
mod post;
mod progress;
mod publish;
mod push_error;
mod queue;
mod quota;
mod rehearsal;
mod release;
mod release_command;
mod shortage;
mod slug;
mod slug_memory;
mod source;
mod submodules;
mod sweep;
mod task_logs;
mod turn;
mod verdict;

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::docker::{Docker, DockerError, labels};
use crate::git::Repository;
use crate::marathon;
use crate::model::{
    AppName, ByteSize, CommitId, HttpsHost, ImageRef, Period, ProcessType, Quota, ReleaseNumber, Secret, TenantName,
    TokenId, UserName,
};
use crate::store::{BoxedCause, Lease, Store};
use ahead::{Ahead, Question};
use build_log::{Builds, Loan};
use detached::Afterwards;
pub(crate) use fault_point::reached;
use places::Places;
use post::TakeOver;
use push_error::describe_holder;
use queue::{Queue, Step};
use release::{Draft, Releases};

pub use app_record::AppRecord;
pub use build::{BuildError, FailedBuild};
pub use build_log::{Build, BuildFileError, BuildState};
pub use builds::{BuildHistory, BuildsError, LogReader};
pub use deploy::{Aftermath, DeployError};
pub use detached::{Detached, REFS as RESERVED_REFS};
pub use disk::{DiskFull, DiskOverrun, FilledDisk};
pub use dockerfile::DockerfileError;
#[cfg(feature = "fault-points")]
pub use fault_point::FaultPoint;
pub use formation::{Formation, FormationError};
pub use keep::Keep;
pub use progress::{Progress, Say};
pub use push_error::PushError;
pub use rehearsal::rehearse;
pub use release::{BuildOf, Release, ReleaseError, ReleaseState};
pub use release_command::ReleaseCommandError;
pub use slug_memory::Readable;
pub use source::SourceError;
pub use submodules::SubmoduleError;
pub use sweep::{Kind as Leftover, Sweep, SweepError, Swept};

/// What a push works with.
#[derive(Debug, Clone)]
pub struct Platform {
    pub store: Arc<dyn Store>,
    pub docker: Docker,
    /// The value of the label `paas.home` on everything made in Docker.
    pub home_label: String,
    /// Without one, releases run the local image.
    pub registry: Option<Registry>,
    /// As it was when the push began.
    pub tenancy: Tenancy,
    /// Whose slugs the push may take besides those of its own tenant.
    pub readable: Readable,
    pub builder: Builder,
    pub deploy: DeployRules,
    /// How many builds run at once on this host.
    pub parallel: NonZeroU32,
    /// How long a push waits for another one of the same app to end, and for its turn to build.
    pub patience: Duration,
    /// The directory of this app's build logs.
    pub build_logs: PathBuf,
}

/// What the tenant has.
#[derive(Debug, Clone)]
pub struct Tenancy {
    /// Its own.
    pub marathon: marathon::Client,
    pub quota: Quota,
}

/// To push: by what, and with what.
#[derive(Debug, Clone)]
pub struct Permission {
    /// The deploy token, for somebody who may by that alone.
    pub by_token: Option<TokenId>,
    pub tenancy: Tenancy,
}

/// Where slugs are published.
#[derive(Debug, Clone)]
pub struct Registry {
    /// `host[:port]`, as it stands in image names.
    pub host: String,
    /// `user:password`.
    pub credentials: Option<Secret>,
    /// How long it may leave a push of a slug without any progress.
    pub patience: Duration,
}

impl Registry {
    /// The repository of an app, without the host.
    pub(crate) fn name_of(tenant: &TenantName, app: &AppName) -> String {
        format!("{tenant}/{app}")
    }
    /// The repository of that name, as it stands in the names of images.
    pub(crate) fn repository(&self, name: &str) -> String {
        format!("{}/{name}", self.host)
    }
    /// Docker itself tries again after pauses of at most half a minute, and tells of each.
    pub const PATIENCE: Duration = Duration::from_mins(2);
}

/// The builder image, and what a build may use.
#[derive(Debug, Clone)]
pub struct Builder {
    pub image: String,
    /// A CA bundle of the host that builds are to trust.
    pub ca_bundle: Option<PathBuf>,
    /// For one build; `paas.yml` may ask for less, never for more.
    pub timeout: Duration,
    pub memory: ByteSize,
    pub cpus: Option<f64>,
    pub processes: u32,
    /// What it may write to its container, its cache not counted.
    pub disk: ByteSize,
    /// From where builds fetch submodules.
    pub submodule_hosts: Vec<HttpsHost>,
    /// What has to be free on each disk before a build begins.
    pub free: ByteSize,
}

/// When a release counts as serving, and when as failed.
#[derive(Debug, Clone, Copy)]
pub struct DeployRules {
    /// How long a release may take until it serves.
    pub deadline: Duration,
    /// How long an instance without a check must stay up to count as serving.
    pub settle: Duration,
    /// How often a new instance may end or be found unhealthy before the release has failed.
    pub retries: u32,
}

/// One push to one app's deploy branch.
#[derive(Debug, Clone)]
pub struct Push {
    pub tenant: TenantName,
    pub app: AppName,
    pub user: UserName,
    pub push: PushId,
    pub commit: CommitId,
    /// The deploy branch by its full name, such as `refs/heads/main`.
    pub branch: String,
    /// What the branch was at when the push began.
    pub previous: Option<CommitId>,
    /// The bare repository on this host.
    pub repository: PathBuf,
    pub options: PushOptions,
}

/// Names one push for its whole life; the label `paas.push` on its containers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PushId(uuid::Uuid);

/// The text is no push id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no push id: a UUID is")]
pub struct InvalidPushId(String);

impl PushId {
    /// A new one, unlike all others.
    #[must_use]
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4())
    }
}
impl std::str::FromStr for PushId {
    type Err = InvalidPushId;
    fn from_str(text: &str) -> Result<Self, InvalidPushId> {
        text.parse().map(Self).map_err(|_| InvalidPushId(text.chars().take(64).collect()))
    }
}
impl std::fmt::Display for PushId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// What `git push -o …` asked for.
#[allow(clippy::struct_excessive_bools, reason = "git's push options are flags, each given or not")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PushOptions {
    /// Take over from a deployment that holds the app.
    pub force: bool,
    /// Refuse instead of waiting for another push.
    pub no_wait: bool,
    /// Build anew, with an empty cache.
    pub no_cache: bool,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
    /// Nobody waits for the end: the build's log is to tell also of what comes after it.
    pub detach: bool,
}

/// A release that serves. While this is held no other push has its turn: the branch is to be moved first.
#[derive(Debug)]
pub struct Released {
    pub number: ReleaseNumber,
    pub image: ImageRef,
    /// What the branch is at, and is to be moved from.
    pub branch_at: Option<CommitId>,
    /// Where people reach it, if it has a `web` process that runs.
    pub address: Option<String>,
    pub took: Duration,
    /// Held for its drop alone.
    _turn: Lease,
}

/// Brings a push to a release that serves. What it leaves when it fails, and when it is dropped half-way: the previous
/// release serving, no container, the build's log; after `Progress::Deploying` it should not be dropped any more, since
/// what was posted goes on.
///
/// `permission` tells whether the pusher may still do this, and with what: building takes a while, keys and memberships
/// end at once, and a change of the quota may give the tenant another Marathon.
pub async fn run<Asked: Future<Output = Result<Option<Permission>, BoxedCause>>>(
    push: Push,
    platform: &Platform,
    permission: impl Fn() -> Asked,
    say: Say<'_>,
) -> Result<Released, PushError> {
    let afterwards = Afterwards::default();
    let outcome = run_noting(push, platform, permission, say, &afterwards).await;
    if let Err(error) = &outcome {
        afterwards.failed(&error.reason());
    }
    outcome
}

async fn run_noting<Asked: Future<Output = Result<Option<Permission>, BoxedCause>>>(
    mut push: Push,
    platform: &Platform,
    permission: impl Fn() -> Asked,
    say: Say<'_>,
    afterwards: &Afterwards,
) -> Result<Released, PushError> {
    let began = Instant::now();
    let places = Places::of(&push.tenant, &push.app);
    let place = Question::place(&platform.docker);
    let turn = lease(&push, &places, platform, say).await?;
    push.previous = branch_at_our_turn(&push)?;
    clean_up_after_others(&places, platform).await?;
    reached!(Locked, push.app, platform.home_label);
    let releases = Releases::of(&*platform.store, places.clone());
    let previous = releases.serving().await?;

    let builder = Question::image(&platform.docker, &platform.builder.image);
    let source = source::check_out(&push, platform, say).await?;
    reached!(SourceRead, push.app, platform.home_label);
    quota::foresee(&source, previous.as_ref(), &push, platform).await?;
    let built = build::build(&source, Ahead { place, builder }, &push, platform, say).await?;
    let builds = Builds { store: &*platform.store, places: places.clone() };
    afterwards.begin(&built.build, &push, &builds, &platform.build_logs).await?;
    let told = |progress: Progress| {
        afterwards.note(&progress);
        say(progress);
    };
    let say: Say<'_> = &told;
    let image = publish::publish(&built, &push, platform, say).await?;
    let slug = built.image.clone();
    let mut draft = draft(source, built, image, previous.as_ref())?;
    let formation = draft.formation.clone();
    let clear = async || cleared(&formation, &push, platform, &permission).await;
    let mut clearance = clear().await?;
    draft.token.clone_from(&clearance.by_token);
    let numbered = record(draft, &push, &releases, say).await?;
    reached!(Recorded, push.app, platform.home_label);
    if let Some(command) = numbered.release.command.clone() {
        // It may take long, and nobody else is to wait for the quota meanwhile.
        drop(clearance);
        let done = async {
            release_command::run(&numbered.release, &command, &slug, &push, platform, say).await?;
            reached!(ReleaseCommandEnded, push.app, platform.home_label);
            clear().await
        };
        clearance = match done.await {
            Ok(clearance) => clearance,
            Err(error) => return Err(failed(numbered, error, &releases).await),
        };
    }
    let Clearance { held_quota, tenancy, .. } = clearance;
    let platform = &Platform { tenancy, ..platform.clone() };
    let (release, address) = deploy(numbered, held_quota, previous.as_ref(), &push, &releases, platform, say).await?;

    let took = began.elapsed();
    say(Progress::Milestone(live(&release, address.as_deref(), took)));
    let (number, image, branch_at) = (release.number, release.image, push.previous);
    Ok(Released { number, image, branch_at, address, took, _turn: turn })
}

/// That a release may be posted now.
struct Clearance {
    /// Held against other pushes until Marathon has the release.
    held_quota: Option<Lease>,
    by_token: Option<TokenId>,
    tenancy: Tenancy,
}

async fn cleared<Asked: Future<Output = Result<Option<Permission>, BoxedCause>>>(
    formation: &Formation,
    push: &Push,
    platform: &Platform,
    permission: &impl Fn() -> Asked,
) -> Result<Clearance, PushError> {
    let ask = async || permission().await.map_err(PushError::Undecided)?.ok_or(PushError::NotAllowed);
    let mut permission = ask().await?;
    let held_quota = quota::hold(&permission.tenancy.quota, push, platform).await?;
    if held_quota.is_some() {
        // The last that is asked: whatever is waited for comes before.
        permission = ask().await?;
    }
    let Permission { by_token, tenancy } = permission;
    quota::admit(formation, push, &tenancy).await?;
    Ok(Clearance { held_quota, by_token, tenancy })
}

/// Keeps in the store that the release came to nothing before it was posted.
async fn failed(numbered: Numbered, error: PushError, releases: &Releases<'_>) -> PushError {
    let Numbered { mut release, unsettled } = numbered;
    mark_failed(&mut release, error.reason(), unsettled, releases).await;
    error
}

/// What the store cannot take now the next push finds out by itself; the push's own failure is what people are told.
async fn mark_failed(release: &mut Release, reason: String, unsettled: bool, releases: &Releases<'_>) {
    let state = ReleaseState::Failed { at: Timestamp::now(), reason, unsettled };
    if let Err(error) = releases.mark(release, state).await {
        tracing::warn!(%error, release = %release.number, "a release that failed could not be marked so");
    }
}

/// What the branch is at now. A push that waited may find it moved: what was pushed on top of that goes on, anything
/// else would undo unseen what the other push deployed.
fn branch_at_our_turn(push: &Push) -> Result<Option<CommitId>, PushError> {
    let repository = Repository::open(&push.repository).map_err(SourceError::from)?;
    detached::forget_killed(&repository).map_err(SourceError::from)?;
    let now = repository.reference(&push.branch).map_err(SourceError::from)?;
    let on_top = |at: &CommitId| repository.is_on_top(&push.commit, at).map_err(SourceError::from);
    match &now {
        _ if now == push.previous => Ok(now),
        Some(at) if on_top(at)? => Ok(now),
        _ => Err(PushError::Overtaken { branch: branch_name(&push.branch).to_owned() }),
    }
}

/// As people call it.
fn branch_name(reference: &str) -> &str {
    reference.strip_prefix("refs/heads/").unwrap_or(reference)
}

/// Ends what a cut-off push left running: its containers. What is in the store, the app's next push mends.
pub async fn abandon(docker: &Docker, push: &PushId) -> Result<(), DockerError> {
    docker.remove_containers_labelled(labels::PUSH, &push.to_string()).await.map(drop)
}

/// As others are told who holds what they wait for.
fn describe(push: &Push) -> String {
    format!("{}'s push of {}", push.user, push.commit.short())
}

/// Takes the app for this push; whoever waits is told for whom.
async fn lease(push: &Push, places: &Places, platform: &Platform, say: Say<'_>) -> Result<Lease, PushError> {
    let (who, store) = (describe(push), &*platform.store);
    let queue = Queue { store, places: places.turn(), slots: 1 };
    if let Some(turn) = queue.try_slot(&who).await? {
        return Ok(turn);
    }
    let holder = store.lease_holder(places.app()).await?;
    if push.options.no_wait {
        return Err(PushError::Busy { holder });
    }
    let mut waiting = queue.join(who, platform.patience).await?;
    let patience = Period::from_secs(platform.patience.as_secs());
    let behind = match waiting.place() {
        1 => String::new(),
        place => format!("; place {place} of the queue"),
    };
    say(Progress::Step(format!("Waiting for {} (at most {patience}){behind}", describe_holder(holder.as_ref()))));
    loop {
        match waiting.next().await? {
            Step::MovedUp(place) => say(Progress::Detail(format!("place {place} of the queue"))),
            Step::Served(turn) => return Ok(turn),
            Step::OutOfPatience => return Err(PushError::Busy { holder: store.lease_holder(places.app()).await? }),
        }
    }
}

/// Removes what a push of this app left that was killed. It held the lease that we hold now, so it is surely over.
async fn clean_up_after_others(places: &Places, platform: &Platform) -> Result<(), PushError> {
    let builds = Builds { store: &*platform.store, places: places.clone() };
    let build = builds.abandon_unfinished().await?;
    // A release command has a container too.
    let newest = Releases::of(&*platform.store, places.clone()).newest().await?;
    let release = newest.filter(|release| !matches!(release.state, ReleaseState::Succeeded { .. }));
    let pushes: BTreeSet<String> = build.into_iter().chain(release.map(|release| release.push)).collect();
    // Every instance has the label, but empty.
    for push in pushes.iter().filter(|push| push.parse::<PushId>().is_ok()) {
        platform.docker.remove_containers_labelled(labels::PUSH, push).await?;
    }
    Loan::sweep(&platform.build_logs);
    Ok(())
}

/// What the release will hold: the slug, and the formation that source, buildpack and the release before make together.
fn draft(
    source: source::Source,
    built: build::Built,
    image: ImageRef,
    previous: Option<&Release>,
) -> Result<Draft, FormationError> {
    let known = source.procfile.iter().chain(built.default_processes.keys());
    let before = previous.map(|release| &release.formation);
    let formation = match &built.own_image {
        Some(image) => {
            // What the image itself runs, unless the Procfile says what there is.
            let own: Vec<ProcessType> = if source.procfile.is_empty() { vec![formation::web()] } else { Vec::new() };
            let formation = formation::formation(known.chain(&own), &source.wishes, before)?;
            image.run(formation, &source.commands, &source.wishes)?
        }
        None => formation::formation(known, &source.wishes, before)?,
    };
    let (command, env, domains) = (source.release_command, source.env, source.domains);
    Ok(Draft { image, slug: built.slug, build: built.build, formation, command, env, domains, token: None })
}

async fn record(draft: Draft, push: &Push, releases: &Releases<'_>, say: Say<'_>) -> Result<Numbered, PushError> {
    let mut unsettled = false;
    if let Some(mut newest) = releases.newest().await? {
        unsettled = newest.state.is_unsettled();
        if let ReleaseState::Pending { .. } = newest.state {
            let reason = "its push ended before it served".to_owned();
            releases.mark(&mut newest, ReleaseState::Failed { at: Timestamp::now(), reason, unsettled }).await?;
        }
    }
    let release = releases.record(draft, push, Timestamp::now()).await?;
    let by = release.token.as_ref().map_or_else(String::new, |token| format!(", by deploy token {token}"));
    say(Progress::Step(format!("Release {}: {}{by}", release.number, formation::summary(&release.formation))));
    Ok(Numbered { release, unsettled })
}

/// A release in the store.
struct Numbered {
    release: Release,
    /// A deployment of the one before may still hold the app, and nobody follows it: it is ours to end.
    unsettled: bool,
}

/// Posts the release, follows it, and keeps in the store what became of it.
async fn deploy(
    numbered: Numbered,
    held_quota: Option<Lease>,
    previous: Option<&Release>,
    push: &Push,
    releases: &Releases<'_>,
    platform: &Platform,
    say: Say<'_>,
) -> Result<(Release, Option<String>), PushError> {
    let Numbered { mut release, unsettled } = numbered;
    say(Progress::Deploying(release.number));
    reached!(Deploying, push.app, platform.home_label);
    let posted = release.clone();
    let take_over = match (push.options.force, unsettled) {
        (true, _) => TakeOver::Any,
        (false, true) => TakeOver::Unsettled,
        (false, false) => TakeOver::None,
    };
    let answer = deploy::post(&posted, take_over, platform).await;
    // From here on Marathon counts it.
    drop(held_quota);
    reached!(Posted, push.app, platform.home_label);
    let outcome = match answer {
        Ok(deployment) => followed(deployment, &mut release, previous, releases, platform, say).await,
        Err(error) => Err(error),
    };
    match outcome {
        Ok(address) => Ok((release, address)),
        Err(error) => {
            let unsettled = error.leaves_unsettled().unwrap_or(unsettled);
            mark_failed(&mut release, error.to_string(), unsettled, releases).await;
            Err(error.into())
        }
    }
}

/// Follows what was posted to its end, which is only good when the store knows of it: else it is undone.
async fn followed(
    deployment: deploy::Deployment<'_>,
    release: &mut Release,
    previous: Option<&Release>,
    releases: &Releases<'_>,
    platform: &Platform,
    say: Say<'_>,
) -> Result<Option<String>, DeployError> {
    let state = ReleaseState::Pending { deployment: Some(deployment.id()) };
    if let Err(cause) = releases.mark(release, state).await {
        return Err(deploy::unrecorded(release, previous, cause, platform, say).await);
    }
    reached!(DeploymentNoted, release.app, platform.home_label);
    let address = deployment.settled(previous, say).await?;
    reached!(Served, release.app, platform.home_label);
    if let Err(cause) = releases.mark_serving(release, Timestamp::now()).await {
        return Err(deploy::unrecorded(release, previous, cause, platform, say).await);
    }
    reached!(ServingMarked, release.app, platform.home_label);
    Ok(address)
}

fn live(release: &Release, address: Option<&str>, took: Duration) -> String {
    let (app, number, seconds) = (&release.app, release.number, took.as_secs_f64());
    match address {
        Some(address) => format!("{app} {number} is live: {address} ({seconds:.1} s)"),
        None => format!("{app} {number} is live ({seconds:.1} s)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_id_reads_back() {
        let id = PushId::random();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("x y".parse::<PushId>().is_err());
    }
}
