//! Whether a release serves: a judgement over what Marathon says, with no socket and no clock.
//!
//! Events tell what a look at the state cannot: that an instance ended or was found unhealthy (an agent's health kill
//! leaves no trace but events). Everything else is judged by looking, since events may be lost and their order is not
//! promised. Marathon calls a command that exits at once a success, and never gives up on one that keeps failing; so
//! neither its success nor its silence is a verdict.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::DeployRules;
use super::shortage::Shortage;
use crate::marathon::{DeploymentId, PathId, TaskState};
use crate::model::{Period, ProcessType};

/// A process type whose instances are to come up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expected {
    pub process: ProcessType,
    pub instances: u32,
    /// With a health check an instance serves when it is healthy, without one when it has stayed up.
    pub checked: bool,
}

/// What an event said, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard {
    Task { app: PathId, version: String, state: TaskState, message: String, at: TaskPlace },
    Health { app: PathId, version: String, instance: String, healthy: bool },
    DeploymentSucceeded { id: DeploymentId },
    DeploymentFailed { id: DeploymentId, reason: String },
}

/// A task and where it ran, which is what is needed to find its output.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct TaskPlace {
    pub task: String,
    pub host: String,
    /// The Mesos agent's id.
    pub agent: Option<String>,
}

/// What a look at Marathon showed.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Seen {
    /// Our deployment is still listed.
    pub deploying: bool,
    pub apps: BTreeMap<PathId, SeenApp>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct SeenApp {
    pub version: String,
    /// How many instances its definition asks for.
    pub instances: u32,
    pub tasks: Vec<SeenTask>,
    pub last_failure: Option<SeenFailure>,
    /// What its instances wait for, if they do.
    pub shortage: Option<Shortage>,
}

impl SeenApp {
    /// Instances of its version that have a task.
    pub(super) fn launched(&self) -> usize {
        let is_its = |task: &&SeenTask| task.version.as_ref().is_some_and(|version| *version == self.version);
        self.tasks.iter().filter(|task| !task.state.is_terminal()).filter(is_its).count()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SeenTask {
    pub at: TaskPlace,
    /// Marathon leaves it out once the task is over.
    pub version: Option<String>,
    pub state: TaskState,
    /// `None` before the first result, and without checks.
    pub healthy: Option<bool>,
}

/// Marathon's `lastTaskFailure`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SeenFailure {
    pub at: TaskPlace,
    pub version: String,
    pub state: TaskState,
    pub message: String,
}

/// An instance that came up, to be told to people. Instances are counted in the order in which they were first seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CameUp {
    pub process: ProcessType,
    pub number: usize,
    pub checked: bool,
}

/// Instances that are not launched, to be told to people.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Waits {
    pub process: ProcessType,
    pub wanted: u32,
    pub shortage: Shortage,
    /// Nothing was told of it before.
    pub first: bool,
}

impl std::fmt::Display for Waits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { process, wanted, shortage, .. } = self;
        write!(f, "{process} waits for resources for {} of {wanted} instances: {shortage}", shortage.waiting)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    Serving,
    Failed(Failure),
    /// Not yet; with the time at which looking again can change that although nothing was heard.
    Pending {
        look_again: Duration,
    },
}

/// Why a release does not serve.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Failure {
    /// A new instance ended or was found unhealthy too often; the last time so.
    Instance { process: ProcessType, fault: Fault, times: usize, at: TaskPlace },
    /// The deadline passed with too few instances up; with what they waited for, and the place of one that is not up, if
    /// there is any.
    Deadline {
        process: ProcessType,
        up: usize,
        wanted: u32,
        after: Duration,
        shortage: Option<Shortage>,
        at: Option<TaskPlace>,
    },
    /// The deployment was cancelled.
    Cancelled { reason: String },
    /// Somebody else deployed the same app.
    Overridden { process: ProcessType },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// `None`: it is known by its successor alone.
    Ended {
        state: Option<TaskState>,
        message: String,
    },
    Unhealthy,
}

impl Failure {
    /// The instance whose output may tell more.
    pub(super) fn place(&self) -> Option<&TaskPlace> {
        match self {
            Self::Instance { at, .. } => Some(at),
            Self::Deadline { at, .. } => at.as_ref(),
            Self::Cancelled { .. } | Self::Overridden { .. } => None,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Instance { process, fault: Fault::Unhealthy, times, .. } => {
                let times = if *times == 1 { "once".to_owned() } else { format!("{times} times") };
                write!(f, "{process} did not pass its health check ({times})")
            }
            Self::Instance { process, fault: Fault::Ended { state, message }, .. } => match own_status(message) {
                Some(status) => write!(f, "{process} exited with status {status}"),
                None if message.is_empty() => write!(f, "{process} ended{}", Manner(*state)),
                None => write!(f, "{process} could not run: {}", first_line(in_dockers_words(message))),
            },
            Self::Deadline { process, up, wanted, after, .. } if *up >= *wanted as usize => {
                let after = Period::from_secs(after.as_secs());
                write!(f, "Marathon's deployment was not over after {after}, though all instances of {process} are up")
            }
            Self::Deadline { process, up, wanted, after, shortage, .. } => {
                write!(f, "{process} had {up} of {wanted} instances up after {}", Period::from_secs(after.as_secs()))?;
                shortage.as_ref().map_or(Ok(()), |shortage| write!(f, ", waiting for resources: {shortage}"))
            }
            Self::Cancelled { reason } => write!(f, "the deployment was cancelled: {}", first_line(reason)),
            Self::Overridden { process } => write!(f, "{process} was deployed by somebody else meanwhile"),
        }
    }
}

/// How a task ended, when nobody said more.
struct Manner(Option<TaskState>);
impl std::fmt::Display for Manner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(TaskState::Killed) => f.write_str(" because it was killed"),
            Some(TaskState::Failed) => f.write_str(" with a failure"),
            Some(TaskState::Finished) => f.write_str(" by itself"),
            Some(TaskState::Lost | TaskState::Gone | TaskState::GoneByOperator | TaskState::Unreachable) => {
                f.write_str(" because its host was lost")
            }
            _ => Ok(()),
        }
    }
}

/// The status that the app itself ended with. One of a program that the agent ran for it, as to pull its image, is
/// another matter.
fn own_status(message: &str) -> Option<&str> {
    let status = ["Container", "Command"]
        .iter()
        .find_map(|what| message.strip_prefix(what).and_then(|rest| rest.strip_prefix(" exited with status ")));
    status.map(first_word)
}

/// An agent tells of a program that it ran by its whole command line; what that program wrote is what there is to know.
fn in_dockers_words(message: &str) -> &str {
    message.split_once("stderr='").map_or(message, |(_, written)| written.trim_end().trim_end_matches('\''))
}

/// The part of a status that is its number.
fn first_word(text: &str) -> &str {
    text.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default()
}

/// Messages of agents can be long and of many lines; they stand in a line of their own, without terminal control.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).take(200).collect()
}

/// Follows one deployment to its verdict. All times are since it was posted.
#[derive(Debug)]
pub(super) struct Judge {
    deployment: DeploymentId,
    rules: DeployRules,
    state: DeploymentState,
    apps: BTreeMap<PathId, Watched>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum DeploymentState {
    Running,
    Over,
    Failed(String),
}

/// One process type while it is followed.
#[derive(Debug)]
struct Watched {
    expected: Expected,
    /// What new instances are instances of.
    version: String,
    overridden: bool,
    /// Tasks that ended or were found unhealthy, each counted once.
    counted: BTreeSet<String>,
    last_fault: Option<(Fault, TaskPlace)>,
    /// New tasks that run, by task id.
    running: BTreeMap<String, Running>,
    /// The task that an instance id stands for now.
    current: HashMap<String, TaskPlace>,
    /// Instance ids in the order in which they were seen.
    known: Vec<String>,
    announced: BTreeSet<String>,
    shortage: Option<Shortage>,
    /// The reasons of the shortage that people were told of last.
    told_short_of: Option<Vec<String>>,
}

#[derive(Debug)]
struct Running {
    since: Duration,
    healthy: Option<bool>,
    at: TaskPlace,
}

/// A task id is its instance's, the container's name and the number of the try: `shop_web.instance-…._app.3`.
fn instance_and_try(task: &str) -> (&str, Option<u32>) {
    let mut parts = task.rsplitn(3, '.');
    let attempt = parts.next().and_then(|text| text.parse().ok());
    match (parts.next(), parts.next()) {
        (Some(_), Some(instance)) if attempt.is_some() => (instance, attempt),
        _ => (task, None),
    }
}

impl Judge {
    /// `version` is what Marathon answered to the PUT: the version of every app that it changed.
    pub(super) fn new(
        deployment: DeploymentId,
        version: &str,
        expected: BTreeMap<PathId, Expected>,
        rules: DeployRules,
    ) -> Self {
        let apps = expected.into_iter().map(|(id, expected)| (id, Watched::new(expected, version.to_owned())));
        Self { deployment, rules, state: DeploymentState::Running, apps: apps.collect() }
    }

    /// Takes note of an event.
    pub(super) fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Task { app, version, state, message, at } => {
                if let Some(watched) = self.apps.get_mut(&app).filter(|watched| watched.version == version) {
                    watched.hear_task(state, message, at);
                }
            }
            Heard::Health { app, version, instance, healthy } => {
                if let Some(watched) = self.apps.get_mut(&app).filter(|watched| watched.version == version) {
                    watched.hear_health(&instance, healthy);
                }
            }
            Heard::DeploymentSucceeded { id } if id == self.deployment => self.state = DeploymentState::Over,
            Heard::DeploymentFailed { id, reason } if id == self.deployment => {
                self.state = DeploymentState::Failed(reason);
            }
            Heard::DeploymentSucceeded { .. } | Heard::DeploymentFailed { .. } => {}
        }
    }

    /// Takes the whole picture for what is so at `now`, and gives the instances that came up since the last one.
    pub(super) fn see(&mut self, seen: &Seen, now: Duration) -> Vec<CameUp> {
        if !seen.deploying && self.state == DeploymentState::Running {
            self.state = DeploymentState::Over;
        }
        let mut up = Vec::new();
        for (id, watched) in &mut self.apps {
            match seen.apps.get(id) {
                Some(app) => up.extend(watched.see(app, now, self.rules.settle)),
                None => watched.overridden = true,
            }
        }
        up
    }

    /// What waits for resources, each time that it does for other reasons than was told before.
    pub(super) fn newly_short(&mut self) -> Vec<Waits> {
        self.apps.values_mut().filter_map(Watched::newly_short).collect()
    }

    pub(super) fn verdict(&self, now: Duration) -> Verdict {
        if let Some(failure) = self.failure() {
            return Verdict::Failed(failure);
        }
        let short = self.apps.values().find(|watched| watched.up(now, self.rules.settle) < watched.wanted());
        if short.is_none() && self.state == DeploymentState::Over {
            return Verdict::Serving;
        }
        if now >= self.rules.deadline {
            return Verdict::Failed(self.too_late(now));
        }
        Verdict::Pending { look_again: self.next_settled(now).unwrap_or(self.rules.deadline).min(self.rules.deadline) }
    }

    fn failure(&self) -> Option<Failure> {
        let retries = self.rules.retries as usize;
        let gone_wrong = self.apps.values().find_map(|watched| {
            let (fault, at) = watched.last_fault.clone()?;
            let times = watched.counted.len();
            let process = watched.expected.process.clone();
            (times > retries).then_some(Failure::Instance { process, fault, times, at })
        });
        gone_wrong
            .or_else(|| match &self.state {
                DeploymentState::Failed(reason) => Some(Failure::Cancelled { reason: reason.clone() }),
                _ => None,
            })
            .or_else(|| {
                let taken = self.apps.values().find(|watched| watched.overridden)?;
                Some(Failure::Overridden { process: taken.expected.process.clone() })
            })
    }

    /// The process type that is furthest from what is wanted.
    fn too_late(&self, now: Duration) -> Failure {
        let missing = |watched: &&Watched| watched.wanted().saturating_sub(watched.up(now, self.rules.settle));
        let Some(watched) = self.apps.values().max_by_key(missing) else {
            return Failure::Cancelled { reason: "it did not end".to_owned() };
        };
        let up = watched.up(now, self.rules.settle);
        Failure::Deadline {
            process: watched.expected.process.clone(),
            up,
            wanted: watched.expected.instances,
            after: self.rules.deadline,
            shortage: watched.shortage.clone(),
            at: watched.worst().cloned(),
        }
    }

    /// When the next instance without a check will have stayed up long enough.
    fn next_settled(&self, now: Duration) -> Option<Duration> {
        let unchecked = self.apps.values().filter(|watched| !watched.expected.checked);
        unchecked
            .flat_map(|watched| watched.running.values())
            .map(|task| task.since + self.rules.settle)
            .filter(|&settled| settled > now)
            .min()
    }
}

impl Watched {
    fn new(expected: Expected, version: String) -> Self {
        Self {
            expected,
            version,
            overridden: false,
            counted: BTreeSet::new(),
            last_fault: None,
            running: BTreeMap::new(),
            current: HashMap::new(),
            known: Vec::new(),
            announced: BTreeSet::new(),
            shortage: None,
            told_short_of: None,
        }
    }

    fn wanted(&self) -> usize {
        self.expected.instances as usize
    }

    fn hear_task(&mut self, state: TaskState, message: String, at: TaskPlace) {
        self.current.insert(instance_and_try(&at.task).0.to_owned(), at.clone());
        if state.is_terminal() {
            self.running.remove(&at.task);
            self.fault(Fault::Ended { state: Some(state), message }, at);
        }
    }

    fn hear_health(&mut self, instance: &str, healthy: bool) {
        if !healthy {
            let unknown = || TaskPlace { task: instance.to_owned(), ..TaskPlace::default() };
            let at = self.current.get(instance).cloned().unwrap_or_else(unknown);
            self.fault(Fault::Unhealthy, at);
        }
    }

    /// Counts a task once, whatever befalls it: an agent first finds it unhealthy, then kills it. What was said about
    /// a fault is not replaced by an end without a word.
    fn fault(&mut self, fault: Fault, at: TaskPlace) {
        let first = self.counted.insert(at.task.clone());
        let silent = |fault: &Fault| matches!(fault, Fault::Ended { message, .. } if message.is_empty());
        let worth_it = match &self.last_fault {
            None => true,
            Some((last, _)) if silent(last) => first || !silent(&fault),
            Some(_) => first && !silent(&fault),
        };
        if worth_it {
            self.last_fault = Some((fault, at));
        }
    }

    fn see(&mut self, app: &SeenApp, now: Duration, settle: Duration) -> Vec<CameUp> {
        // An app that the PUT did not change keeps its older version, and its tasks count as they are.
        if app.version < self.version {
            self.version.clone_from(&app.version);
        }
        self.overridden = app.version > self.version;
        self.shortage.clone_from(&app.shortage);
        let before = std::mem::take(&mut self.running);
        for task in &app.tasks {
            let ours = task.version.as_ref().is_some_and(|version| *version == self.version);
            if ours {
                self.see_task(task, &before, now);
            }
        }
        if let Some(failure) = app.last_failure.as_ref().filter(|failure| failure.version == self.version) {
            let fault = Fault::Ended { state: Some(failure.state), message: failure.message.clone() };
            self.fault(fault, failure.at.clone());
        }
        self.newly_up(now, settle)
    }

    fn see_task(&mut self, task: &SeenTask, before: &BTreeMap<String, Running>, now: Duration) {
        let (instance, attempt) = instance_and_try(&task.at.task);
        self.current.insert(instance.to_owned(), task.at.clone());
        if !self.known.iter().any(|known| known == instance) {
            self.known.push(instance.to_owned());
        }
        self.count_earlier_tries(&task.at, attempt);
        if task.state.is_terminal() {
            self.fault(Fault::Ended { state: Some(task.state), message: String::new() }, task.at.clone());
        } else if task.state == TaskState::Running {
            let since = before.get(&task.at.task).map_or(now, |running| running.since);
            let running = Running { since, healthy: task.healthy, at: task.at.clone() };
            self.running.insert(task.at.task.clone(), running);
        }
        if task.healthy == Some(false) {
            self.fault(Fault::Unhealthy, task.at.clone());
        }
    }

    /// A third try means that two have ended, whether or not that was heard.
    fn count_earlier_tries(&mut self, at: &TaskPlace, attempt: Option<u32>) {
        let Some((stem, attempt)) = at.task.rsplit_once('.').map(|(stem, _)| stem).zip(attempt) else { return };
        for earlier in 1..attempt {
            let task = format!("{stem}.{earlier}");
            if !self.counted.contains(&task) {
                let fault = Fault::Ended { state: None, message: String::new() };
                self.fault(fault, TaskPlace { task, ..at.clone() });
            }
        }
    }

    fn is_up(&self, task: &Running, now: Duration, settle: Duration) -> bool {
        if self.expected.checked { task.healthy == Some(true) } else { now >= task.since + settle }
    }

    fn up(&self, now: Duration, settle: Duration) -> usize {
        self.running.values().filter(|task| self.is_up(task, now, settle)).count()
    }

    fn newly_up(&mut self, now: Duration, settle: Duration) -> Vec<CameUp> {
        let up: Vec<String> =
            self.running.iter().filter(|(_, task)| self.is_up(task, now, settle)).map(|(id, _)| id.clone()).collect();
        up.into_iter()
            .filter_map(|task| {
                let instance = instance_and_try(&task).0;
                let number = self.known.iter().position(|known| known == instance)? + 1;
                self.announced.insert(task.clone()).then(|| CameUp {
                    process: self.expected.process.clone(),
                    number,
                    checked: self.expected.checked,
                })
            })
            .collect()
    }

    fn newly_short(&mut self) -> Option<Waits> {
        let shortage = self.shortage.clone()?;
        let reasons = shortage.reasons();
        let before = self.told_short_of.replace(reasons.clone());
        (before.as_ref() != Some(&reasons)).then(|| Waits {
            process: self.expected.process.clone(),
            wanted: self.expected.instances,
            shortage,
            first: before.is_none(),
        })
    }

    /// An instance that is not up, or the last that failed.
    fn worst(&self) -> Option<&TaskPlace> {
        let lagging = self.running.values().find(|task| task.healthy != Some(true)).map(|task| &task.at);
        lagging.or(self.last_fault.as_ref().map(|(_, at)| at))
    }
}

#[cfg(test)]
mod tests;
