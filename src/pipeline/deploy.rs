//! Deploy: a release's definitions → the tenant's Marathon, followed until they serve or have failed.
//!
//! Marathon's deployments never end by themselves when instances keep failing, so the verdict and the deadline are ours
//! (`verdict`). A release that fails is undone: the previous one is posted again and seen to be serving.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::stream::BoxStream;
use futures_util::{FutureExt as _, StreamExt as _};

use super::definition::{app_id, group_id};
use super::formation::{Check, WEB};
use super::post::{self, TakeOver, led};
use super::reached;
use super::release::{Release, ReleaseError};
use super::shortage::Shortage;
use super::task_logs;
use super::verdict::{
    CameUp, Expected, Failure, Heard, Judge, Seen, SeenApp, SeenFailure, SeenTask, TaskPlace, Verdict, Waits,
};
use super::{Platform, Progress, Say};
use crate::marathon::{AppInfo, Client, ClientError, DeploymentId, DeploymentResult, Event, EventKind, PathId, Task};
use crate::model::{Period, ReleaseNumber, in_full};

/// A look at the state is taken after every event that concerns the app; this often without one too, since events can
/// be lost and their order is not promised.
const LOOK_ANYWAY: Duration = Duration::from_secs(5);
/// How long a look may take when the deadline is there.
const LAST_LOOK: Duration = Duration::from_secs(1);
/// The same while there is no event stream, and how soon another one is asked for.
const WITHOUT_EVENTS: Duration = Duration::from_secs(1);
/// What is not launched after that long may lack resources: a real Marathon gets offers every few seconds.
const ASK_WHY_AFTER: Duration = Duration::from_secs(3);
/// The kinds of event that can change the picture.
const KINDS: [&str; 6] = [
    "deployment_failed",
    "deployment_step_success",
    "deployment_success",
    "instance_changed_event",
    "instance_health_changed_event",
    "status_update_event",
];

/// Why a release does not serve.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// Marathon did not take it; nothing has changed.
    #[error("Marathon did not take the release")]
    NotTaken(#[source] ClientError),
    /// No answer said whether Marathon took it.
    #[error("it is not known whether Marathon took the release; the next push takes over from it")]
    InDoubt(#[source] ClientError),
    /// The store could not keep what came of it, so it was undone.
    #[error("the release could not be kept in the store; {now}")]
    Unrecorded {
        #[source]
        cause: ReleaseError,
        now: Aftermath,
    },
    /// Somebody else's deployment has the app; nothing has changed.
    #[error("{} holds the app; wait for it, or push again with `-o force` to take over", holders(.0))]
    Locked(Vec<DeploymentId>),
    /// It was tried, and undone.
    #[error("{reason}; {now}")]
    Failed { reason: String, now: Aftermath },
}

impl DeployError {
    /// Whether Marathon may still be at it; none when nothing has changed.
    pub(super) fn leaves_unsettled(&self) -> Option<bool> {
        match self {
            Self::NotTaken(_) | Self::Locked(_) => None,
            Self::InDoubt(_) => Some(true),
            Self::Unrecorded { now, .. } | Self::Failed { now, .. } => Some(matches!(now, Aftermath::Unknown { .. })),
        }
    }
}

fn holders(deployments: &[DeploymentId]) -> String {
    let ids: Vec<String> = deployments.iter().map(ToString::to_string).collect();
    let word = if ids.len() == 1 { "Marathon's deployment" } else { "one of Marathon's deployments" };
    format!("{word} {}", ids.join(", "))
}

/// What serves after a release failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Aftermath {
    /// The previous release was seen to be serving.
    Serving(ReleaseNumber),
    /// There was none; what had been posted is gone.
    Nothing,
    /// Undoing it did not come to an end, or could not be seen to.
    Unknown { previous: Option<ReleaseNumber>, why: String },
}

impl std::fmt::Display for Aftermath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Serving(number) => write!(f, "{number} is still serving"),
            Self::Nothing => f.write_str("nothing serves"),
            Self::Unknown { previous: Some(number), why } => {
                write!(f, "whether {number} serves is unknown, and the next push takes over: {why}")
            }
            Self::Unknown { previous: None, why } => write!(f, "it could not be taken back: {why}"),
        }
    }
}

/// Why following a deployment ended without success.
#[derive(Debug)]
enum Trouble {
    Verdict(Failure),
    /// The deadline passed without an answer.
    Unreachable(ClientError),
    /// The deadline passed in the middle of a question.
    Silent {
        url: String,
        after: Duration,
    },
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Verdict(failure) => failure.fmt(f),
            Self::Unreachable(error) => error.fmt(f),
            Self::Silent { url, after } => {
                write!(
                    f,
                    "cannot reach Marathon at {url}: it gave no answer within {}",
                    Period::from_secs(after.as_secs())
                )
            }
        }
    }
}

/// One release on its way to Marathon.
pub(super) struct Deployment<'a> {
    platform: &'a Platform,
    release: &'a Release,
    events: Events,
    posted: DeploymentResult,
    began: Instant,
}

/// Posts the release.
pub(super) async fn post<'a>(
    release: &'a Release,
    take_over: TakeOver,
    platform: &'a Platform,
) -> Result<Deployment<'a>, DeployError> {
    let (client, patience) = (&platform.tenancy.marathon, platform.deploy.deadline);
    // Subscribed first, so that nothing that follows from the PUT is missed.
    let events = led(patience, || Events::of(client)).await.map_err(DeployError::NotTaken)?;
    let began = Instant::now();
    let posted = post::put(client, release, take_over, patience).await?;
    Ok(Deployment { platform, release, events, posted, began })
}

/// Undoes a release of which the store knows too little, whether it would have served or not.
pub(super) async fn unrecorded(
    release: &Release,
    previous: Option<&Release>,
    cause: ReleaseError,
    platform: &Platform,
    say: Say<'_>,
) -> DeployError {
    say(Progress::Warning(in_full(&cause)));
    let now = roll_back(release, previous, platform, say).await;
    DeployError::Unrecorded { cause, now }
}

impl Deployment<'_> {
    pub(super) fn id(&self) -> DeploymentId {
        self.posted.deployment_id
    }

    /// Waits until the release serves, and gives the address people reach it at. If it fails, it is undone.
    pub(super) async fn settled(
        mut self,
        previous: Option<&Release>,
        say: Say<'_>,
    ) -> Result<Option<String>, DeployError> {
        match self.follow(say).await {
            Ok(()) => Ok(address(self.release, &self.platform.tenancy.marathon).await),
            Err(trouble) => {
                say(Progress::Warning(trouble.to_string()));
                tell_output(&trouble, &self.platform.tenancy.marathon, say).await;
                reached!(RollingBack, self.release.app, self.platform.home_label);
                let now = roll_back(self.release, previous, self.platform, say).await;
                reached!(RolledBack, self.release.app, self.platform.home_label);
                Err(DeployError::Failed { reason: trouble.to_string(), now })
            }
        }
    }

    async fn follow(&mut self, say: Say<'_>) -> Result<(), Trouble> {
        let expected = expected(self.release);
        let ids: Vec<PathId> = expected.keys().cloned().collect();
        let mut judge = Judge::new(self.id(), &self.posted.version, expected, self.platform.deploy);
        loop {
            let left = self.platform.deploy.deadline.saturating_sub(self.began.elapsed()).max(LAST_LOOK);
            let looking = look(&self.platform.tenancy.marathon, &ids, self.id(), self.began.elapsed());
            let Ok(looked) = tokio::time::timeout(left, looking).await else {
                let url = self.platform.tenancy.marathon.url().to_owned();
                return Err(Trouble::Silent { url, after: self.platform.deploy.deadline });
            };
            let now = self.began.elapsed();
            let mut look_again = WITHOUT_EVENTS;
            match looked {
                Ok(seen) => {
                    judge.see(&seen, now).iter().for_each(|up| say(told(up, now)));
                    judge.newly_short().iter().for_each(|waits| self.tell_shortage(waits, say));
                    match judge.verdict(now) {
                        Verdict::Serving => return Ok(()),
                        Verdict::Failed(failure) => return Err(Trouble::Verdict(failure)),
                        Verdict::Pending { look_again: at } => look_again = at.saturating_sub(now),
                    }
                }
                Err(error) if now >= self.platform.deploy.deadline => return Err(Trouble::Unreachable(error)),
                Err(_) => {}
            }
            self.wait(&mut judge, &ids, look_again).await;
        }
    }

    fn tell_shortage(&self, waits: &Waits, say: Say<'_>) {
        say(Progress::Warning(waits.to_string()));
        if waits.first {
            let deadline = Period::from_secs(self.platform.deploy.deadline.as_secs());
            say(Progress::Detail(format!(
                "what fits is launched as soon as there is room, within {deadline} of the release; what {0} needs stands at \
                 `processes: {{{0}: …}}` in `paas.yml`",
                waits.process
            )));
        }
    }

    /// Waits until something happened that is worth a look, at most `patience`.
    async fn wait(&mut self, judge: &mut Judge, ids: &[PathId], patience: Duration) {
        self.events.renew(&self.platform.tenancy.marathon).await;
        let anyway = if self.events.stream.is_some() { LOOK_ANYWAY } else { WITHOUT_EVENTS };
        let until = tokio::time::Instant::now() + patience.min(anyway);
        let deployment = self.id();
        let mut concerned = false;
        while !concerned {
            let Ok(Some(event)) = tokio::time::timeout_at(until, self.events.next()).await else { break };
            concerned |= hear(judge, event, ids, deployment);
            // What came together is taken together: one look for all of it.
            while let Some(Some(event)) = self.events.next().now_or_never() {
                concerned |= hear(judge, event, ids, deployment);
            }
        }
    }
}

/// Shows what the instance that decided the matter wrote last.
async fn tell_output(trouble: &Trouble, client: &Client, say: Say<'_>) {
    let Trouble::Verdict(failure) = trouble else { return };
    let Some(place) = failure.place() else { return };
    match task_logs::last_lines(client, place).await {
        Ok(lines) if lines.is_empty() => say(Progress::Detail("the instance wrote nothing".to_owned())),
        Ok(lines) => {
            say(Progress::Step(format!("Last lines of {}", place.task)));
            for line in lines {
                say(Progress::Output(line));
            }
        }
        Err(error) => say(Progress::Warning(format!("the output of {} cannot be shown: {error}", place.task))),
    }
}

/// Marathon's event stream, as long as it stands.
struct Events {
    stream: Option<BoxStream<'static, Result<Event, ClientError>>>,
}

impl Events {
    async fn of(client: &Client) -> Result<Self, ClientError> {
        Ok(Self { stream: Some(client.events(&KINDS).await?) })
    }

    /// Asks for a stream again if there is none.
    async fn renew(&mut self, client: &Client) {
        if self.stream.is_none() {
            self.stream = client.events(&KINDS).await.ok();
        }
    }

    /// The next event; `None` once, when the stream ended, and never again until it is renewed.
    async fn next(&mut self) -> Option<Event> {
        let Some(stream) = &mut self.stream else { return std::future::pending().await };
        if let Some(Ok(event)) = stream.next().await {
            return Some(event);
        }
        self.stream = None;
        None
    }
}

/// Takes note of an event; true when the picture may be another one now.
fn hear(judge: &mut Judge, event: Event, ids: &[PathId], ours: DeploymentId) -> bool {
    let concerned = match &event.kind {
        EventKind::StatusUpdateEvent { app_id, .. } => ids.contains(app_id),
        EventKind::InstanceChangedEvent { run_spec_id, .. }
        | EventKind::InstanceHealthChangedEvent { run_spec_id, .. } => ids.contains(run_spec_id),
        EventKind::DeploymentSuccess { id, .. } | EventKind::DeploymentFailed { id, .. } => *id == ours,
        EventKind::DeploymentStepSuccess { plan, .. } => plan.id == ours,
        _ => false,
    };
    if let Some(heard) = heard(event.kind) {
        judge.hear(heard);
    }
    concerned
}

fn heard(event: EventKind) -> Option<Heard> {
    match event {
        EventKind::StatusUpdateEvent { slave_id, task_id, task_status, message, app_id, host, version, .. } => {
            let at = TaskPlace { task: task_id, host, agent: Some(slave_id) };
            Some(Heard::Task { app: app_id, version, state: task_status, message, at })
        }
        EventKind::InstanceHealthChangedEvent { instance_id, run_spec_id, healthy, run_spec_version } => {
            let (app, version) = (run_spec_id, run_spec_version);
            healthy.map(|healthy| Heard::Health { app, version, instance: instance_id, healthy })
        }
        EventKind::DeploymentSuccess { id, .. } => Some(Heard::DeploymentSucceeded { id }),
        EventKind::DeploymentFailed { id, reason, .. } => Some(Heard::DeploymentFailed { id, reason }),
        _ => None,
    }
}

/// What is to come up of a release.
fn expected(release: &Release) -> BTreeMap<PathId, Expected> {
    let expected = release.formation.iter().map(|(name, process)| {
        let checked = process.check != Check::None;
        (app_id(&release.app, name), Expected { process: name.clone(), instances: process.instances, checked })
    });
    expected.collect()
}

/// One look at everything that the verdict needs, so long after the release was posted.
async fn look(
    client: &Client,
    ids: &[PathId],
    deployment: DeploymentId,
    waited: Duration,
) -> Result<Seen, ClientError> {
    let deploying = client.deployments().await?.iter().any(|running| running.id == deployment);
    let mut apps = BTreeMap::new();
    for id in ids {
        if let Some(app) = client.app(id).await? {
            apps.insert(id.clone(), seen_app(app));
        }
    }
    if waited >= ASK_WHY_AFTER && apps.values().any(|app| app.launched() < app.instances as usize) {
        see_shortages(client, &mut apps, waited).await;
    }
    Ok(Seen { deploying, apps })
}

/// Why they wait is told if Marathon says it; the verdict does without.
async fn see_shortages(client: &Client, apps: &mut BTreeMap<PathId, SeenApp>, waited: Duration) {
    for item in client.queue().await.unwrap_or_default() {
        if let Some(app) = apps.get_mut(&item.app.id).filter(|app| app.version == item.app.version) {
            app.shortage = Shortage::of(&item, waited);
        }
    }
}

fn seen_app(info: AppInfo) -> SeenApp {
    let last_failure = info.last_task_failure.map(|failure| SeenFailure {
        at: TaskPlace { task: failure.task_id, host: failure.host, agent: failure.slave_id },
        version: failure.version,
        state: failure.state,
        message: failure.message,
    });
    let tasks = info.tasks.unwrap_or_default().into_iter().map(seen_task).collect();
    SeenApp { version: info.app.version.clone(), instances: info.app.instances, tasks, last_failure, shortage: None }
}

fn seen_task(task: Task) -> SeenTask {
    let healthy = (!task.health_check_results.is_empty()).then(|| task.is_healthy());
    let at = TaskPlace { task: task.id, host: task.host, agent: task.slave_id };
    SeenTask { at, version: task.version, state: task.state, healthy }
}

fn told(up: &CameUp, now: Duration) -> Progress {
    let how = if up.checked { "healthy" } else { "up" };
    Progress::Detail(format!("{}.{} {how} after {:.1} s", up.process, up.number, now.as_secs_f64()))
}

/// The first domain, else an instance's own address; none if no `web` runs.
async fn address(release: &Release, client: &Client) -> Option<String> {
    if let Some(domain) = release.domains.first() {
        return Some(format!("http://{domain}"));
    }
    let (name, _) = release.formation.iter().find(|(name, _)| name.as_str() == WEB)?;
    let tasks = client.tasks(&app_id(&release.app, name)).await.ok()??;
    let task = tasks.into_iter().find(|task| !task.state.is_terminal() && !task.ports.is_empty())?;
    Some(format!("http://{}:{}", task.host, task.ports[0]))
}

/// Brings back what served before, and looks whether it does; `force`, since it is our own deployment that is ended.
async fn roll_back(failed: &Release, previous: Option<&Release>, platform: &Platform, say: Say<'_>) -> Aftermath {
    let Some(previous) = previous else {
        return match take_back(failed, platform).await {
            Ok(()) => Aftermath::Nothing,
            Err(why) => Aftermath::Unknown { previous: None, why },
        };
    };
    say(Progress::Step(format!("Rolling back to {}", previous.number)));
    let number = Some(previous.number);
    match post(previous, TakeOver::Any, platform).await {
        Err(error) => Aftermath::Unknown { previous: number, why: in_full(&error) },
        Ok(mut deployment) => match deployment.follow(say).await {
            Ok(()) => Aftermath::Serving(previous.number),
            Err(trouble) => Aftermath::Unknown { previous: number, why: trouble.to_string() },
        },
    }
}

/// Removes the group of an app that never served, and waits until it is gone.
async fn take_back(failed: &Release, platform: &Platform) -> Result<(), String> {
    let (client, group) = (&platform.tenancy.marathon, group_id(&failed.app));
    let patience = platform.deploy.deadline;
    let mut events = led(patience, || Events::of(client)).await.map_err(|error| in_full(&error))?;
    let deleted = match led(patience, || client.delete_group(&group, true)).await {
        Ok(deleted) => deleted,
        Err(ClientError::NotFound { .. }) => return Ok(()),
        Err(error) => return Err(in_full(&error)),
    };
    let gone = async {
        loop {
            let deployments = client.deployments().await;
            if deployments.is_ok_and(|all| all.iter().all(|running| running.id != deleted.deployment_id)) {
                return;
            }
            events.renew(client).await;
            // Whatever is heard, or nothing for a while, is a reason to look again.
            let _ = tokio::time::timeout(WITHOUT_EVENTS, events.next()).await;
        }
    };
    tokio::time::timeout(patience, gone).await.map_err(|_| format!("it was not gone after {} s", patience.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_says_what_still_serves() {
        let error = DeployError::Failed {
            reason: "web exited with status 1".to_owned(),
            now: Aftermath::Serving(ReleaseNumber::new(11)),
        };
        assert_eq!(error.to_string(), "web exited with status 1; v11 is still serving");
    }
}
