//! Instances and their tasks: what runs, or is to run, for an app.
//!
//! An instance is a place that is kept filled; a task is one try at filling it. A task that ends comes back in the same
//! instance as its next incarnation, under a new task id.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Moment;
use super::health::CheckHealth;
use crate::marathon::{App, CheckResult, Condition, PathId, ReadinessResult, TaskState};

/// `shop_web.instance-<uuid>`: the app's path with `_` for `/`, which no path segment may hold.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InstanceId {
    app: PathId,
    uuid: Uuid,
}

/// An instance's n-th task: `<instance id>._app.<n>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TaskId {
    pub instance: InstanceId,
    pub incarnation: u32,
}

/// The text is no id of an instance or a task.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no task id")]
pub struct InvalidTaskId(String);

impl InstanceId {
    pub fn new(app: PathId, uuid: Uuid) -> Self {
        Self { app, uuid }
    }
    pub fn app(&self) -> &PathId {
        &self.app
    }
}
impl FromStr for InstanceId {
    type Err = InvalidTaskId;
    fn from_str(text: &str) -> Result<Self, InvalidTaskId> {
        let invalid = || InvalidTaskId(text.chars().take(200).collect());
        let (path, uuid) = text.split_once(".instance-").ok_or_else(invalid)?;
        let app = format!("/{}", path.replace('_', "/")).parse().map_err(|_| invalid())?;
        Ok(Self { app, uuid: uuid.parse().map_err(|_| invalid())? })
    }
}
impl FromStr for TaskId {
    type Err = InvalidTaskId;
    fn from_str(text: &str) -> Result<Self, InvalidTaskId> {
        let invalid = || InvalidTaskId(text.chars().take(200).collect());
        let (instance, incarnation) = text.split_once("._app.").ok_or_else(invalid)?;
        Ok(Self { instance: instance.parse()?, incarnation: incarnation.parse().map_err(|_| invalid())? })
    }
}
impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, segment) in self.app.segments().iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "_" })?;
            f.write_str(segment)?;
        }
        write!(f, ".instance-{}", self.uuid)
    }
}
impl TaskId {
    /// As [`fmt::Display`] writes it; in one piece of memory, since lists have thousands.
    pub fn text(&self) -> String {
        use fmt::Write as _;
        const USUAL: usize = 120;
        let mut text = String::with_capacity(USUAL);
        write!(text, "{self}").expect("memory takes every text");
        text
    }
}
impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}._app.{}", self.instance, self.incarnation)
    }
}

macro_rules! text {
    ($type:ident) => {
        impl TryFrom<String> for $type {
            type Error = InvalidTaskId;
            fn try_from(text: String) -> Result<Self, InvalidTaskId> {
                text.parse()
            }
        }
        impl From<$type> for String {
            fn from(id: $type) -> Self {
                id.to_string()
            }
        }
    };
}
text!(InstanceId);
text!(TaskId);

/// What is wanted of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Goal {
    Running,
    /// To end for good.
    Decommissioned,
    /// To end for good, and to be replaced by an instance of another name.
    Wiped,
}

/// How a task is reached again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Handle {
    /// Docker's id of the container.
    Container(String),
    /// A process, told from a later one of the same number by when it began.
    Process {
        pid: i32,
        /// Clock ticks since the machine's start, from `/proc/<pid>/stat`.
        started: u64,
    },
}

/// A task's ports.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ports {
    /// The host's, in the order of the definitions that have one.
    pub host: Vec<u16>,
    /// What each definition's program listens on: the container's port, or the host's without a container network.
    pub listen: Vec<u16>,
}

/// A task that was given its ports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    pub staged_at: Moment,
    pub ports: Ports,
}

/// A task that runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Live {
    pub placed: Placed,
    pub started_at: Moment,
    pub handle: Handle,
    pub address: IpAddr,
    /// One for each of the app's health checks.
    pub health: Vec<CheckHealth>,
    /// What the app's readiness check found, while a deployment waits for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<ReadinessResult>,
    /// What the app's general check last saw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<CheckResult>,
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct End {
    pub state: TaskState,
    pub message: String,
    pub at: Moment,
    pub address: Option<IpAddr>,
    pub health: Vec<CheckHealth>,
}

/// Where an instance's present task stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Phase {
    /// Never launched, or moved on from its last task.
    Scheduled,
    /// Has its ports, and is about to be launched.
    Provisioned(Placed),
    /// Being launched.
    Starting(Placed),
    Running(Live),
    /// Waits to be launched again, or to be removed.
    Ended(End),
}

/// Why a task is being killed; it decides what its end means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum KillReason {
    /// A client or a deployment wants it gone.
    Wanted,
    /// Its health check failed too often.
    Unhealthy,
}

/// A place for one running copy of an app.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    pub id: InstanceId,
    /// The version of the app's definition that its tasks are made from.
    pub version: String,
    pub goal: Goal,
    /// Of the present or last task; 0 before the first.
    pub incarnation: u32,
    pub phase: Phase,
    /// Set while the present task is being killed.
    pub kill: Option<KillReason>,
    /// Since when it waits to be launched.
    pub waiting_since: Moment,
    /// A pause after a task's end, besides the app's backoff.
    pub not_before: Option<Moment>,
}

impl Instance {
    pub fn new(id: InstanceId, version: String, now: Moment) -> Self {
        Self {
            id,
            version,
            goal: Goal::Running,
            incarnation: 0,
            phase: Phase::Scheduled,
            kill: None,
            waiting_since: now,
            not_before: None,
        }
    }

    /// The same instance, nothing of which is later than `now`: the machine's clock may have been set back since it was
    /// written, and no grace, pause or delay is worth waiting for the time to come again.
    #[must_use]
    pub fn not_after(mut self, now: Moment) -> Self {
        self.waiting_since = self.waiting_since.min(now);
        self.not_before = None;
        match &mut self.phase {
            Phase::Scheduled => {}
            Phase::Provisioned(placed) | Phase::Starting(placed) => placed.staged_at = placed.staged_at.min(now),
            Phase::Running(live) => {
                live.placed.staged_at = live.placed.staged_at.min(now);
                live.started_at = live.started_at.min(now);
            }
            Phase::Ended(end) => end.at = end.at.min(now),
        }
        self
    }

    pub fn app(&self) -> &PathId {
        self.id.app()
    }
    /// The present or last task; none before the first.
    pub fn task(&self) -> Option<TaskId> {
        (self.incarnation > 0).then(|| TaskId { instance: self.id.clone(), incarnation: self.incarnation })
    }
    /// A process or container exists, or may.
    pub fn is_alive(&self) -> bool {
        matches!(self.phase, Phase::Provisioned(_) | Phase::Starting(_) | Phase::Running(_))
    }
    pub fn is_wanted(&self) -> bool {
        self.goal == Goal::Running
    }
    pub fn live(&self) -> Option<&Live> {
        match &self.phase {
            Phase::Running(live) => Some(live),
            _ => None,
        }
    }
    /// Runs, is not being killed, and all checks, if there are any, say that it serves.
    pub fn is_healthy(&self) -> bool {
        self.kill.is_none() && self.live().is_some_and(|live| live.health.iter().all(CheckHealth::is_alive))
    }
    /// Is healthy, and has said that it is ready where its app wants to be asked.
    pub fn is_ready(&self, app: &App) -> bool {
        let ready = |live: &Live| live.readiness.as_ref().is_some_and(|result| result.ready);
        self.is_healthy() && (app.readiness_checks.is_empty() || self.live().is_some_and(ready))
    }
    pub fn host_ports(&self) -> &[u16] {
        match &self.phase {
            Phase::Provisioned(placed) | Phase::Starting(placed) => &placed.ports.host,
            Phase::Running(live) => &live.placed.ports.host,
            Phase::Scheduled | Phase::Ended(_) => &[],
        }
    }
    pub fn task_state(&self) -> TaskState {
        match &self.phase {
            Phase::Scheduled | Phase::Provisioned(_) => TaskState::Staging,
            Phase::Starting(_) => TaskState::Starting,
            Phase::Running(_) => TaskState::Running,
            Phase::Ended(end) => end.state,
        }
    }
    /// Marathon's word for the phase, as its events have it.
    pub fn condition(&self) -> Condition {
        match &self.phase {
            Phase::Scheduled => Condition::Scheduled,
            Phase::Provisioned(_) => Condition::Provisioned,
            Phase::Starting(_) => Condition::Starting,
            Phase::Running(_) => Condition::Running,
            Phase::Ended(end) => match end.state {
                TaskState::Killed => Condition::Killed,
                TaskState::Finished => Condition::Finished,
                TaskState::Error => Condition::Error,
                _ => Condition::Failed,
            },
        }
    }
    /// What to end first when there are too many: the least useful, then by age.
    pub fn killing_order(&self, youngest_first: bool) -> (u8, bool, i128) {
        let (rank, since) = match &self.phase {
            Phase::Scheduled | Phase::Ended(_) => (0, self.waiting_since),
            Phase::Provisioned(placed) => (1, placed.staged_at),
            Phase::Starting(placed) => (2, placed.staged_at),
            Phase::Running(live) => (3, live.started_at),
        };
        let age = i128::try_from(since.since(Moment::from_millis(0)).as_millis()).unwrap_or(i128::MAX);
        (rank, self.is_healthy(), if youngest_first { -age } else { age })
    }
}

/// How long after SIGTERM a task is given before SIGKILL; Mesos' own default when the app says nothing.
pub fn kill_grace(app: &App) -> Duration {
    const DEFAULT_SECONDS: u64 = 3;
    Duration::from_secs(app.task_kill_grace_period_seconds.unwrap_or(DEFAULT_SECONDS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_they_are_written() {
        let text = "grp_a.b_web.instance-0ec8a2b0-e722-11f1-aa61-0242189058f9._app.3";
        let task: TaskId = text.parse().unwrap();
        assert_eq!(task.to_string(), text);
        assert_eq!(task.instance.app().to_string(), "/grp/a.b/web");
        assert_eq!(task.incarnation, 3);
    }

    #[test]
    fn an_instance_id_is_no_task_id() {
        for bad in ["nope", "a.instance-0ec8a2b0-e722-11f1-aa61-0242189058f9", "a.instance-x._app.1", "._app.1"] {
            assert!(bad.parse::<TaskId>().is_err(), "{bad}");
        }
    }
}
