//! What runs: tasks, their states, their health, their failures, and an app with all of it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{App, CheckResult, DeploymentId, PathId, ReadinessResult};

/// Mesos' states of a task. One this does not know reads as `Unknown`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TaskState {
    #[serde(rename = "TASK_STAGING")]
    Staging,
    #[serde(rename = "TASK_STARTING")]
    Starting,
    #[serde(rename = "TASK_RUNNING")]
    Running,
    #[serde(rename = "TASK_KILLING")]
    Killing,
    #[serde(rename = "TASK_KILLED")]
    Killed,
    #[serde(rename = "TASK_FINISHED")]
    Finished,
    #[serde(rename = "TASK_FAILED")]
    Failed,
    #[serde(rename = "TASK_ERROR")]
    Error,
    #[serde(rename = "TASK_LOST")]
    Lost,
    #[serde(rename = "TASK_DROPPED")]
    Dropped,
    #[serde(rename = "TASK_GONE")]
    Gone,
    #[serde(rename = "TASK_GONE_BY_OPERATOR")]
    GoneByOperator,
    #[serde(rename = "TASK_UNREACHABLE")]
    Unreachable,
    #[serde(rename = "TASK_UNKNOWN", other)]
    Unknown,
}

impl TaskState {
    /// The task is over, and this one will not run again.
    pub fn is_terminal(self) -> bool {
        !matches!(self, Self::Staging | Self::Starting | Self::Running | Self::Killing | Self::Unreachable)
    }
    /// It ended by itself and not as an order was carried out; `lastTaskFailure` tells of these.
    pub fn is_failure(self) -> bool {
        self.is_terminal() && !matches!(self, Self::Killed | Self::Finished)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    pub app_id: PathId,
    #[serde(default)]
    pub health_check_results: Vec<HealthCheckResult>,
    /// Of the app's general check, once there is a result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check_result: Option<CheckResult>,
    pub host: String,
    pub id: String,
    #[serde(default)]
    pub ip_addresses: Vec<IpAddress>,
    /// On the host; empty once the task is over.
    #[serde(default)]
    pub ports: Vec<u16>,
    /// Filled by `/v2/tasks` alone.
    #[serde(default)]
    pub service_ports: Vec<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slave_id: Option<String>,
    pub state: TaskState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staged_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// Of the app definition it runs; absent once the task is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(default)]
    pub local_volumes: Vec<serde_json::Value>,
    pub role: String,
}

impl Task {
    /// As `tasksHealthy` counts: it has results and all are alive.
    pub fn is_healthy(&self) -> bool {
        !self.health_check_results.is_empty() && self.health_check_results.iter().all(|result| result.alive)
    }
    /// As `tasksUnhealthy` counts: some result is not alive.
    pub fn is_unhealthy(&self) -> bool {
        self.health_check_results.iter().any(|result| !result.alive)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IpAddress {
    pub ip_address: String,
    /// `IPv4` or `IPv6`.
    pub protocol: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheckResult {
    pub alive: bool,
    pub consecutive_failures: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_success: Option<String>,
    /// Marathon writes `instance [<instance id>]` here; see [`HealthCheckResult::instance_id_text`].
    pub instance_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure_cause: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success: Option<String>,
}

impl HealthCheckResult {
    /// How Marathon writes an instance's id in a result.
    pub fn instance_id_text(instance: &str) -> String {
        format!("instance [{instance}]")
    }
}

/// How many tasks of an app are in which state; waiting instances are in none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskCounts {
    pub tasks_staged: u32,
    pub tasks_running: u32,
    pub tasks_healthy: u32,
    pub tasks_unhealthy: u32,
}

impl TaskCounts {
    pub fn of<'a>(tasks: impl IntoIterator<Item = &'a Task>) -> Self {
        let mut counts = Self::default();
        for task in tasks {
            counts.count(task.state, task.health_check_results.iter().map(|result| result.alive));
        }
        counts
    }
    /// Counts a task of that state, of which `alive` are the results that its checks have.
    pub fn count(&mut self, state: TaskState, alive: impl IntoIterator<Item = bool>) {
        let (mut known, mut dead) = (false, false);
        for alive in alive {
            (known, dead) = (true, dead || !alive);
        }
        self.tasks_staged += u32::from(state == TaskState::Staging);
        self.tasks_running += u32::from(state == TaskState::Running);
        self.tasks_healthy += u32::from(known && !dead);
        self.tasks_unhealthy += u32::from(dead);
    }
}

/// The latest failure of an app's tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastTaskFailure {
    pub app_id: PathId,
    pub host: String,
    pub message: String,
    pub state: TaskState,
    pub task_id: String,
    pub timestamp: String,
    pub version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slave_id: Option<String>,
}

/// An object with nothing but its id, as in an app's `deployments`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identifiable {
    pub id: DeploymentId,
}

/// An app as a GET answers it: the definition and what was asked to be embedded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppInfo {
    /// Shared, so that an engine's thousand definitions are shown without a copy of each.
    #[serde(flatten)]
    pub app: Arc<App>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub counts: Option<TaskCounts>,
    /// The running deployments that affect it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployments: Option<Vec<Identifiable>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness_check_results: Option<Vec<ReadinessResult>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks: Option<Vec<Task>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_task_failure: Option<LastTaskFailure>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks_stats: Option<serde_json::Value>,
}

impl AppInfo {
    /// The bare definition; fill in what is embedded.
    pub fn new(app: impl Into<Arc<App>>) -> Self {
        Self {
            app: app.into(),
            counts: None,
            deployments: None,
            readiness_check_results: None,
            tasks: None,
            last_task_failure: None,
            tasks_stats: None,
        }
    }
}
