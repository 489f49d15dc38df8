//! Marathon's events, as `/v2/events` sends them.

use serde::{Deserialize, Serialize};

use super::{App, DeploymentId, DeploymentPlan, HealthCheck, IpAddress, PathId, Step, TaskState};

/// One event: when, and what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    #[serde(default)]
    pub timestamp: String,
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened. Each variant is named as its `eventType` is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "eventType", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum EventKind {
    EventStreamAttached {
        remote_address: String,
    },
    EventStreamDetached {
        remote_address: String,
    },
    /// A POST, PUT or PATCH of a single app.
    ApiPostEvent {
        client_ip: String,
        uri: String,
        app_definition: Box<App>,
    },
    /// Of the parent of an app that changed, or of the URL's group.
    GroupChangeSuccess {
        group_id: PathId,
        version: String,
    },
    GroupChangeFailed {
        group_id: PathId,
        version: String,
        reason: String,
    },
    DeploymentInfo {
        plan: DeploymentPlan,
        current_step: Step,
    },
    DeploymentStepSuccess {
        plan: DeploymentPlan,
        current_step: Step,
    },
    DeploymentStepFailure {
        plan: DeploymentPlan,
        current_step: Step,
    },
    DeploymentSuccess {
        id: DeploymentId,
        plan: DeploymentPlan,
    },
    /// Also of a plan that was refused or cancelled.
    DeploymentFailed {
        id: DeploymentId,
        plan: DeploymentPlan,
        reason: String,
    },
    StatusUpdateEvent {
        slave_id: String,
        task_id: String,
        task_status: TaskState,
        message: String,
        app_id: PathId,
        host: String,
        ip_addresses: Vec<IpAddress>,
        ports: Vec<u16>,
        version: String,
    },
    /// An instance's condition or goal is another.
    InstanceChangedEvent {
        instance_id: String,
        condition: Condition,
        run_spec_id: PathId,
        agent_id: Option<String>,
        host: Option<String>,
        run_spec_version: String,
    },
    InstanceHealthChangedEvent {
        instance_id: String,
        run_spec_id: PathId,
        /// Absent: not known any more.
        healthy: Option<bool>,
        run_spec_version: String,
    },
    UnknownInstanceTerminatedEvent {
        instance_id: String,
        run_spec_id: PathId,
        condition: Condition,
    },
    AddHealthCheckEvent {
        app_id: PathId,
        health_check: HealthCheck,
        version: String,
    },
    RemoveHealthCheckEvent {
        app_id: PathId,
    },
    FailedHealthCheckEvent {
        app_id: PathId,
        /// Holds an instance's id.
        task_id: String,
        health_check: HealthCheck,
    },
    HealthStatusChangedEvent {
        app_id: PathId,
        instance_id: String,
        version: String,
        alive: bool,
    },
    UnhealthyInstanceKillEvent {
        app_id: PathId,
        task_id: String,
        instance_id: String,
        version: String,
        reason: String,
        host: String,
        slave_id: Option<String>,
    },
    AppTerminatedEvent {
        app_id: PathId,
    },
    /// A kind this does not know, or a known one of another shape: the whole object.
    #[serde(untagged)]
    Other(serde_json::Map<String, serde_json::Value>),
}

impl EventKind {
    /// The `eventType`, which is also the name of the stream's frame.
    pub fn name(&self) -> &str {
        match self {
            Self::EventStreamAttached { .. } => "event_stream_attached",
            Self::EventStreamDetached { .. } => "event_stream_detached",
            Self::ApiPostEvent { .. } => "api_post_event",
            Self::GroupChangeSuccess { .. } => "group_change_success",
            Self::GroupChangeFailed { .. } => "group_change_failed",
            Self::DeploymentInfo { .. } => "deployment_info",
            Self::DeploymentStepSuccess { .. } => "deployment_step_success",
            Self::DeploymentStepFailure { .. } => "deployment_step_failure",
            Self::DeploymentSuccess { .. } => "deployment_success",
            Self::DeploymentFailed { .. } => "deployment_failed",
            Self::StatusUpdateEvent { .. } => "status_update_event",
            Self::InstanceChangedEvent { .. } => "instance_changed_event",
            Self::InstanceHealthChangedEvent { .. } => "instance_health_changed_event",
            Self::UnknownInstanceTerminatedEvent { .. } => "unknown_instance_terminated_event",
            Self::AddHealthCheckEvent { .. } => "add_health_check_event",
            Self::RemoveHealthCheckEvent { .. } => "remove_health_check_event",
            Self::FailedHealthCheckEvent { .. } => "failed_health_check_event",
            Self::HealthStatusChangedEvent { .. } => "health_status_changed_event",
            Self::UnhealthyInstanceKillEvent { .. } => "unhealthy_instance_kill_event",
            Self::AppTerminatedEvent { .. } => "app_terminated_event",
            Self::Other(object) => object.get("eventType").and_then(serde_json::Value::as_str).unwrap_or_default(),
        }
    }
}

/// What an instance is doing, as Marathon sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Condition {
    Scheduled,
    Provisioned,
    Staging,
    Starting,
    Running,
    Killing,
    Killed,
    Finished,
    Failed,
    Error,
    Gone,
    Dropped,
    Unreachable,
    UnreachableInactive,
    #[serde(other)]
    Unknown,
}
