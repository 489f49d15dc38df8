//! What is told of a task, also long after it ended and its app was deleted: kept with its files.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Moment;
use super::health::CheckHealth;
use super::instance::{End, Instance, Phase, Placed, TaskId};
use super::ports::{is_on_host_network, mappings};
use crate::marathon::{App, ContainerKind, NetworkMode, TaskState};

/// A task, as Mesos' API shows one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub task: TaskId,
    pub state: TaskState,
    pub role: String,
    pub cpus: f64,
    /// MiB.
    pub mem: f64,
    /// MiB.
    pub disk: f64,
    pub gpus: f64,
    /// On the host.
    pub ports: Vec<u16>,
    /// The most of the processors it may use at any time, where that is limited.
    pub cpus_limit: Option<f64>,
    pub labels: BTreeMap<String, String>,
    /// What it runs, cut.
    pub command: String,
    pub container: Option<ContainerRecord>,
    pub address: Option<IpAddr>,
    /// What its health checks say, if it has any and they have spoken.
    pub healthy: Option<bool>,
    pub staged_at: Option<Moment>,
    pub started_at: Option<Moment>,
    pub ended_at: Option<Moment>,
}

/// The container of a task that is one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerRecord {
    pub image: String,
    /// In Mesos' words: `HOST`, `BRIDGE` or `USER`.
    pub network: String,
    pub privileged: bool,
    pub port_mappings: Vec<MappingRecord>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MappingRecord {
    pub host_port: u16,
    pub container_port: u16,
    pub protocol: String,
}

/// Longest part of a command that is shown.
const SHOWN_COMMAND: usize = 12;

impl Record {
    /// Of the present or last task; none before the first.
    pub fn of(instance: &Instance, app: &App) -> Option<Self> {
        let blank = Self::unknown(instance.task()?, instance.task_state());
        let record = Self {
            role: app.role.clone(),
            cpus: app.cpus,
            mem: app.mem,
            disk: app.disk,
            gpus: f64::from(app.gpus),
            ports: instance.host_ports().to_vec(),
            cpus_limit: app.resource_limits.as_ref().and_then(|limits| limits.get("cpus")?.as_f64()),
            labels: app.labels.clone(),
            command: command(app),
            ..blank
        };
        Some(match &instance.phase {
            Phase::Scheduled => record,
            Phase::Provisioned(placed) | Phase::Starting(placed) => record.placed(app, placed),
            Phase::Running(live) => Self {
                address: Some(live.address),
                healthy: healthy(&live.health),
                started_at: Some(live.started_at),
                ..record.placed(app, &live.placed)
            },
            Phase::Ended(end) => record.ended(end),
        })
    }

    /// A task of which nothing else is known.
    pub fn unknown(task: TaskId, state: TaskState) -> Self {
        Self {
            task,
            state,
            role: "*".to_owned(),
            cpus: 0.0,
            mem: 0.0,
            disk: 0.0,
            gpus: 0.0,
            ports: Vec::new(),
            cpus_limit: None,
            labels: BTreeMap::new(),
            command: "NO EXECUTABLE".to_owned(),
            container: None,
            address: None,
            healthy: None,
            staged_at: None,
            started_at: None,
            ended_at: None,
        }
    }

    #[must_use]
    pub fn ended(self, end: &End) -> Self {
        let healthy = if end.health.is_empty() { self.healthy } else { healthy(&end.health) };
        Self { state: end.state, address: end.address.or(self.address), healthy, ended_at: Some(end.at), ..self }
    }

    fn placed(self, app: &App, placed: &Placed) -> Self {
        Self { staged_at: Some(placed.staged_at), container: ContainerRecord::of(app, placed), ..self }
    }
}

impl ContainerRecord {
    fn of(app: &App, placed: &Placed) -> Option<Self> {
        let container = app.container.as_ref().filter(|container| container.kind == ContainerKind::Docker)?;
        let docker = container.docker.as_ref()?;
        let network = if is_on_host_network(app) {
            "HOST"
        } else if app.networks.iter().any(|network| network.mode == NetworkMode::Container) {
            "USER"
        } else {
            "BRIDGE"
        };
        let mut host = placed.ports.host.iter();
        let mut port_mappings = Vec::new();
        for (mapping, listen) in mappings(app).iter().zip(&placed.ports.listen) {
            let Some(port) = mapping.host_port.and_then(|_| host.next()) else { continue };
            let protocol = mapping.protocol.clone();
            port_mappings.push(MappingRecord { host_port: *port, container_port: *listen, protocol });
        }
        Some(Self {
            image: docker.image.clone(),
            network: network.to_owned(),
            privileged: docker.privileged,
            port_mappings,
        })
    }
}

fn healthy(checks: &[CheckHealth]) -> Option<bool> {
    let known = checks.iter().any(CheckHealth::is_known);
    known.then(|| checks.iter().all(CheckHealth::is_alive))
}

/// As the name of a command's executor has it.
fn command(app: &App) -> String {
    let cut = |text: &str| {
        let whole = text.chars().nth(SHOWN_COMMAND + "...".len()).is_none();
        if whole { text.to_owned() } else { text.chars().take(SHOWN_COMMAND).chain("...".chars()).collect() }
    };
    match &app.cmd {
        Some(cmd) => format!("sh -c '{}'", cut(cmd)),
        None if app.args.is_empty() => "NO EXECUTABLE".to_owned(),
        None => format!("[{}]", cut(&app.args.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::instance::{InstanceId, Ports};
    use super::super::samples::bridge;
    use super::*;

    fn staged(app: &App, ports: Ports) -> Instance {
        let id = InstanceId::new(app.id.clone(), uuid::Uuid::nil());
        let placed = Placed { staged_at: Moment::from_millis(5), ports };
        Instance {
            incarnation: 1,
            phase: Phase::Provisioned(placed),
            ..Instance::new(id, String::new(), Moment::from_millis(0))
        }
    }

    #[test]
    fn a_record_tells_what_was_given_to_the_task_and_how_it_ended() {
        let app = bridge("/shop/web", &[(8080, Some(0)), (9000, None)]);
        let mut instance = staged(&app, Ports { host: vec![31001], listen: vec![8080, 9000] });
        let record = Record::of(&instance, &app).unwrap();
        assert_eq!((record.state, record.ports.as_slice()), (TaskState::Staging, &[31001][..]));
        let container = record.container.clone().unwrap();
        assert_eq!(container.network, "BRIDGE");
        let mapping = MappingRecord { host_port: 31001, container_port: 8080, protocol: "tcp".into() };
        assert_eq!(container.port_mappings, [mapping]);

        let at = Moment::from_millis(9);
        let end = End { state: TaskState::Failed, message: String::new(), at, address: None, health: Vec::new() };
        let kept = record.ended(&end);
        assert_eq!((kept.state, kept.staged_at), (TaskState::Failed, Some(Moment::from_millis(5))));
        assert_eq!(serde_json::from_str::<Record>(&serde_json::to_string(&kept).unwrap()).unwrap(), kept);
        instance.phase = Phase::Ended(end);
        assert_eq!(Record::of(&instance, &app).unwrap().ended_at, Some(at));
    }

    #[test]
    fn commands_are_cut_as_mesos_cuts_them() {
        let mut app = bridge("/a", &[]);
        (app.cmd, app.args) = (Some("for i in $(seq 1 9); do :; done".into()), Vec::new());
        assert_eq!(command(&app), "sh -c 'for i in $(s...'");
        app.cmd = Some("exec sleep 1000".into());
        assert_eq!(command(&app), "sh -c 'exec sleep 1000'");
        (app.cmd, app.args) = (None, vec!["/start".into(), "web".into()]);
        assert_eq!(command(&app), "[/start, web]");
    }
}
