//! What the event stream tells: one function for each kind of event, and the hub that hands events to clients.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::broadcast;

use super::Moment;
use super::deployment::Deployment;
use super::instance::{Instance, TaskId};
use super::tally::Tally;
use crate::marathon::{App, Event, EventKind, HealthCheck, IpAddress, PathId, Step, TaskState};

/// Where everything of this engine runs: the one machine, under the names that Marathon's clients expect.
#[derive(Debug, Clone)]
pub struct Place {
    pub address: IpAddr,
    pub host: String,
    /// The one agent's id.
    pub agent: String,
}

/// A task's state as an agent would report it.
#[derive(Debug)]
pub struct Status<'a> {
    pub task: &'a TaskId,
    pub state: TaskState,
    pub message: &'a str,
    pub address: Option<IpAddr>,
    pub ports: &'a [u16],
    pub version: &'a str,
}

pub fn stream_attached(remote_address: String) -> EventKind {
    EventKind::EventStreamAttached { remote_address }
}
pub fn api_post(client: IpAddr, uri: &str, app: &App) -> EventKind {
    EventKind::ApiPostEvent {
        client_ip: client.to_string(),
        uri: uri.to_owned(),
        app_definition: Box::new(app.clone()),
    }
}
pub fn group_changed(group: &PathId, version: Moment) -> EventKind {
    EventKind::GroupChangeSuccess { group_id: group.clone(), version: version.to_string() }
}
pub fn group_not_changed(group: &PathId, version: Moment, reason: &str) -> EventKind {
    EventKind::GroupChangeFailed { group_id: group.clone(), version: version.to_string(), reason: reason.to_owned() }
}
pub fn deployment_info(deployment: &Deployment, step: &Step) -> EventKind {
    EventKind::DeploymentInfo { plan: deployment.plan(), current_step: step.clone() }
}
pub fn step_succeeded(deployment: &Deployment, step: &Step) -> EventKind {
    EventKind::DeploymentStepSuccess { plan: deployment.plan(), current_step: step.clone() }
}
pub fn deployment_succeeded(deployment: &Deployment) -> EventKind {
    EventKind::DeploymentSuccess { id: deployment.id, plan: deployment.plan() }
}
pub fn deployment_failed(deployment: &Deployment, reason: &str) -> EventKind {
    EventKind::DeploymentFailed { id: deployment.id, plan: deployment.plan(), reason: reason.to_owned() }
}
pub fn app_terminated(app: &PathId) -> EventKind {
    EventKind::AppTerminatedEvent { app_id: app.clone() }
}
pub fn health_check_added(app: &App, check: &HealthCheck) -> EventKind {
    EventKind::AddHealthCheckEvent { app_id: app.id.clone(), health_check: check.clone(), version: app.version.clone() }
}
pub fn health_check_removed(app: &PathId) -> EventKind {
    EventKind::RemoveHealthCheckEvent { app_id: app.clone() }
}
/// A failure that counts. Marathon has the instance's id where the task's should be.
pub fn health_check_failed(instance: &Instance, check: &HealthCheck) -> EventKind {
    EventKind::FailedHealthCheckEvent {
        app_id: instance.app().clone(),
        task_id: instance.id.to_string(),
        health_check: check.clone(),
    }
}
pub fn health_status_changed(instance: &Instance, alive: bool) -> EventKind {
    EventKind::HealthStatusChangedEvent {
        app_id: instance.app().clone(),
        instance_id: instance.id.to_string(),
        version: instance.version.clone(),
        alive,
    }
}
pub fn instance_health_changed(instance: &Instance, healthy: Option<bool>) -> EventKind {
    EventKind::InstanceHealthChangedEvent {
        instance_id: instance.id.to_string(),
        run_spec_id: instance.app().clone(),
        healthy,
        run_spec_version: instance.version.clone(),
    }
}
pub fn unhealthy_kill(place: &Place, instance: &Instance, reason: &str) -> EventKind {
    EventKind::UnhealthyInstanceKillEvent {
        app_id: instance.app().clone(),
        task_id: instance.task().map(|task| task.to_string()).unwrap_or_default(),
        instance_id: instance.id.to_string(),
        version: instance.version.clone(),
        reason: reason.to_owned(),
        host: place.host.clone(),
        slave_id: Some(place.agent.clone()),
    }
}
pub fn instance_changed(place: &Place, instance: &Instance) -> EventKind {
    let placed = instance.incarnation > 0;
    EventKind::InstanceChangedEvent {
        instance_id: instance.id.to_string(),
        condition: instance.condition(),
        run_spec_id: instance.app().clone(),
        agent_id: placed.then(|| place.agent.clone()),
        host: placed.then(|| place.host.clone()),
        run_spec_version: instance.version.clone(),
    }
}
pub fn instance_terminated(instance: &Instance) -> EventKind {
    EventKind::UnknownInstanceTerminatedEvent {
        instance_id: instance.id.to_string(),
        run_spec_id: instance.app().clone(),
        condition: instance.condition(),
    }
}
pub fn status_update(place: &Place, status: &Status<'_>) -> EventKind {
    // Marathon cuts what agents report.
    const LONGEST_MESSAGE: usize = 10_000;
    EventKind::StatusUpdateEvent {
        slave_id: place.agent.clone(),
        task_id: status.task.to_string(),
        task_status: status.state,
        message: status.message.chars().take(LONGEST_MESSAGE).collect(),
        app_id: status.task.instance.app().clone(),
        host: place.host.clone(),
        ip_addresses: vec![ip_address(status.address.unwrap_or(place.address))],
        ports: status.ports.to_vec(),
        version: status.version.to_owned(),
    }
}

/// A task's address, as Marathon writes it.
pub fn ip_address(address: IpAddr) -> IpAddress {
    let protocol = if address.is_ipv4() { "IPv4" } else { "IPv6" };
    IpAddress { ip_address: address.to_string(), protocol: protocol.to_owned() }
}

/// A frame as it is sent, with its kind for the clients' filters.
#[derive(Debug, Clone)]
pub struct Frame {
    pub kind: Arc<str>,
    /// Shared by all whom it is sent to.
    pub text: Bytes,
}

impl From<&Event> for Frame {
    fn from(event: &Event) -> Self {
        let kind = event.kind.name();
        let body = serde_json::to_string(event).expect("an event is text, numbers and lists, which JSON can hold");
        Self { kind: kind.into(), text: format!("event: {kind}\r\ndata: {body}\r\n\r\n").into() }
    }
}

/// Counts each event, and hands it to every client that listens.
#[derive(Debug, Clone)]
pub struct Hub {
    frames: broadcast::Sender<Frame>,
    tally: Arc<Tally>,
}

impl Hub {
    /// A client that lags by so many events is cut off, as Marathon does it.
    const MAX_OUTSTANDING: usize = 1024;

    pub fn new() -> Self {
        Self { frames: broadcast::Sender::new(Self::MAX_OUTSTANDING), tally: Arc::default() }
    }
    pub fn send(&self, event: &Event) {
        self.tally.count(&event.kind);
        if self.frames.receiver_count() > 0 {
            // Nobody listening any more is no failure.
            let _ = self.frames.send(event.into());
        }
    }
    pub fn listen(&self) -> broadcast::Receiver<Frame> {
        self.frames.subscribe()
    }
    /// How many clients listen.
    pub fn listeners(&self) -> usize {
        self.frames.receiver_count()
    }
    pub fn tally(&self) -> &Tally {
        &self.tally
    }
}

impl Default for Hub {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        Event { timestamp: "1970-01-01T00:00:00.000Z".into(), kind: stream_attached("127.0.0.1".into()) }
    }

    #[test]
    fn a_frame_is_one_line_of_json_under_its_kind() {
        let frame = Frame::from(&event());
        assert_eq!(&*frame.kind, "event_stream_attached");
        let text = std::str::from_utf8(&frame.text).unwrap();
        assert!(text.starts_with("event: event_stream_attached\r\ndata: {"), "{text}");
        assert!(text.ends_with("}\r\n\r\n") && text.lines().count() == 3);
        assert!(text.contains(r#""eventType":"event_stream_attached""#));
    }

    #[tokio::test]
    async fn a_client_that_lags_is_told_so() {
        let hub = Hub::new();
        let mut client = hub.listen();
        (0..=Hub::MAX_OUTSTANDING).for_each(|_| hub.send(&event()));
        assert!(matches!(client.recv().await, Err(broadcast::error::RecvError::Lagged(_))));
    }
}
