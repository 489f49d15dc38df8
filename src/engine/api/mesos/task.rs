//! A task, its statuses, its container and its executor, as Mesos shows them.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use serde::Serialize;
use serde_json::{Value, json};

use super::super::super::Moment;
use super::super::super::instance::TaskId;
use super::super::super::ledger::Machine;
use super::super::super::record::{ContainerRecord, Record};
use crate::marathon::TaskState;

/// Amounts of a machine, or of what runs on it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Resources {
    disk: f64,
    mem: f64,
    gpus: f64,
    cpus: f64,
    #[serde(skip_serializing_if = "Ranges::is_empty")]
    ports: Ranges,
}

/// Ports from the first to the last of each pair: `[31000-31001, 31005-31005]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Ranges(Vec<(u16, u16)>);

impl Ranges {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    fn of(mut all: Vec<(u16, u16)>) -> Self {
        all.sort_unstable();
        let mut ranges: Vec<(u16, u16)> = Vec::new();
        for (first, last) in all {
            match ranges.last_mut() {
                Some((_, end)) if u32::from(first) <= u32::from(*end) + 1 => *end = last.max(*end),
                _ => ranges.push((first, last)),
            }
        }
        Self(ranges)
    }
}

impl Serialize for Ranges {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let shown: Vec<String> = self.0.iter().map(|(first, last)| format!("{first}-{last}")).collect();
        serializer.collect_str(&format_args!("[{}]", shown.join(", ")))
    }
}

impl Resources {
    pub(super) fn of_machine(machine: &Machine, ports: &RangeInclusive<u16>) -> Self {
        let ports = Ranges(vec![(*ports.start(), *ports.end())]);
        let (disk, mem, cpus) = (rounded(machine.disk), rounded(machine.mem), rounded(machine.cpus));
        Self { disk, mem, gpus: 0.0, cpus, ports }
    }

    /// What all these tasks were given together.
    pub(super) fn of_all<'a>(records: impl Iterator<Item = &'a Record>) -> Self {
        let (mut sum, mut ports) = (Self::default(), Vec::new());
        for record in records {
            sum.disk += record.disk;
            sum.mem += record.mem;
            sum.gpus += record.gpus;
            sum.cpus += record.cpus;
            ports.extend(record.ports.iter().map(|port| (*port, *port)));
        }
        let (disk, mem, gpus, cpus) = (rounded(sum.disk), rounded(sum.mem), rounded(sum.gpus), rounded(sum.cpus));
        Self { disk, mem, gpus, cpus, ports: Ranges::of(ports) }
    }

    fn scalars(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let all = [("cpus", self.cpus), ("mem", self.mem), ("disk", self.disk), ("gpus", self.gpus)];
        all.into_iter().filter(|(_, amount)| *amount > 0.0)
    }

    /// As roles have them: what is nothing is not named, and ports are no amount.
    pub(super) fn quantities(&self) -> Value {
        self.scalars().map(|(name, amount)| (name.to_owned(), json!(amount))).collect()
    }

    /// One by one; with whom they are allocated to.
    pub(super) fn in_full(&self, is_allocated: bool) -> Vec<Value> {
        let scalars = self
            .scalars()
            .map(|(name, value)| json!({ "name": name, "type": "SCALAR", "scalar": { "value": value }, "role": "*" }));
        let ranges = self.ports.0.iter().map(|(first, last)| json!({ "begin": first, "end": last }));
        let ranges: Vec<Value> = ranges.collect();
        let ports = json!({ "name": "ports", "type": "RANGES", "ranges": { "range": ranges }, "role": "*" });
        let mut all: Vec<Value> = scalars.chain((!self.ports.is_empty()).then_some(ports)).collect();
        if is_allocated {
            for one in &mut all {
                one["allocation_info"] = json!({ "role": "*" });
            }
        }
        all
    }
}

/// Mesos counts in thousandths; more would only show what floating point adds.
fn rounded(amount: f64) -> f64 {
    (amount * 1000.0).round() / 1000.0
}

/// Seconds since 1970, as Mesos has all times.
pub(super) fn seconds(moment: Moment) -> f64 {
    moment.since(Moment::from_millis(0)).as_secs_f64()
}

#[derive(Debug, Serialize)]
pub(super) struct Task<'a> {
    id: &'a TaskId,
    name: String,
    framework_id: &'a str,
    /// A command task's executor is the agent's own.
    executor_id: &'static str,
    slave_id: &'a str,
    state: TaskState,
    resources: Resources,
    role: &'a str,
    statuses: Vec<Status<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    labels: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<Value>,
}

#[derive(Debug, Serialize)]
struct Status<'a> {
    state: TaskState,
    timestamp: f64,
    container_status: ContainerStatus<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    healthy: Option<bool>,
}

#[derive(Debug, Clone, Serialize)]
struct ContainerStatus<'a> {
    container_id: ContainerId<'a>,
    network_infos: Vec<Value>,
}

/// A task has one container, whose name in Docker is the task's id.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct ContainerId<'a> {
    pub(super) value: &'a TaskId,
}

impl<'a> Task<'a> {
    pub(super) fn new(record: &'a Record, framework: &'a str, agent: &'a str) -> Self {
        let label = |(key, value): (&String, &String)| json!({ "key": key, "value": value });
        Self {
            id: &record.task,
            name: name(&record.task),
            framework_id: framework,
            executor_id: "",
            slave_id: agent,
            state: record.state,
            resources: Resources::of_all(std::iter::once(record)),
            role: &record.role,
            statuses: statuses(record),
            labels: record.labels.iter().map(label).collect(),
            container: record.container.as_ref().map(container),
        }
    }
}

/// The app's path as a host's name: `/shop/web` is `web.shop`.
fn name(task: &TaskId) -> String {
    let segments: Vec<_> = task.instance.app().segments().iter().rev().map(ToString::to_string).collect();
    segments.join(".")
}

/// The states it was in, as far as they are known.
fn statuses(record: &Record) -> Vec<Status<'_>> {
    let began = (record.state != TaskState::Staging).then_some(record.staged_at).flatten();
    let known =
        [(TaskState::Starting, began), (TaskState::Running, record.started_at), (record.state, record.ended_at)];
    let container_status =
        ContainerStatus { container_id: ContainerId { value: &record.task }, network_infos: networks(record.address) };
    let mut statuses: Vec<Status<'_>> = known
        .into_iter()
        .filter_map(|(state, at)| {
            let timestamp = seconds(at?);
            Some(Status { state, timestamp, container_status: container_status.clone(), healthy: None })
        })
        .collect();
    if let Some(last) = statuses.last_mut().filter(|last| last.state == record.state) {
        last.healthy = record.healthy;
    }
    statuses
}

fn networks(address: Option<IpAddr>) -> Vec<Value> {
    let network = |address: IpAddr| {
        let protocol = if address.is_ipv4() { "IPv4" } else { "IPv6" };
        json!({ "ip_addresses": [{ "protocol": protocol, "ip_address": address }] })
    };
    address.into_iter().map(network).collect()
}

fn container(of: &ContainerRecord) -> Value {
    let mut docker = json!({ "image": of.image, "network": of.network, "privileged": of.privileged });
    if !of.port_mappings.is_empty() {
        let mappings = of.port_mappings.iter().map(|mapping| {
            json!({
                "host_port": mapping.host_port, "container_port": mapping.container_port, "protocol": mapping.protocol,
            })
        });
        docker["port_mappings"] = mappings.collect();
    }
    json!({ "type": "DOCKER", "docker": docker })
}

/// What runs one task; it has the task's id.
#[derive(Debug, Serialize)]
pub(super) struct Executor<'a> {
    id: &'a TaskId,
    name: String,
    source: &'a TaskId,
    container: &'a TaskId,
    directory: String,
    resources: Resources,
    role: &'a str,
    tasks: Vec<Task<'a>>,
    queued_tasks: [(); 0],
    completed_tasks: Vec<Task<'a>>,
}

impl<'a> Executor<'a> {
    pub(super) fn new(record: &'a Record, directory: String, framework: &'a str, agent: &'a str) -> Self {
        let task = vec![Task::new(record, framework, agent)];
        let (tasks, completed_tasks) = if record.ended_at.is_some() || record.state.is_terminal() {
            (Vec::new(), task)
        } else {
            (task, Vec::new())
        };
        Self {
            id: &record.task,
            name: executor_name(record),
            source: &record.task,
            container: &record.task,
            directory,
            resources: Resources::of_all(std::iter::once(record)),
            role: &record.role,
            tasks,
            queued_tasks: [],
            completed_tasks,
        }
    }
}

pub(super) fn executor_name(record: &Record) -> String {
    format!("Command Executor (Task: {}) (Command: {})", record.task, record.command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_add_up_without_what_floating_point_adds() {
        let task = "a.instance-0ec8a2b0-e722-11f1-aa61-0242189058f9._app.1".parse().unwrap();
        let blank = Record::unknown(task, TaskState::Running);
        let one = Record { cpus: 0.1, mem: 32.0, ports: vec![31002, 31000], ..blank.clone() };
        let other = Record { cpus: 0.2, mem: 64.0, ports: vec![31001, 31005], ..blank };
        let sum = Resources::of_all([&one, &other].into_iter());
        assert_eq!(
            serde_json::to_value(&sum).unwrap(),
            json!({ "cpus": 0.3, "mem": 96.0, "disk": 0.0, "gpus": 0.0, "ports": "[31000-31002, 31005-31005]" })
        );
        assert_eq!(sum.quantities(), json!({ "cpus": 0.3, "mem": 96.0 }));
        let full = sum.in_full(true);
        assert_eq!((full.len(), &full[2]["ranges"]["range"][1]), (3, &json!({ "begin": 31005, "end": 31005 })));
    }

    #[test]
    fn statuses_are_those_it_went_through() {
        let task: TaskId = "shop_web.instance-0ec8a2b0-e722-11f1-aa61-0242189058f9._app.1".parse().unwrap();
        let at = |milliseconds| Some(Moment::from_millis(milliseconds));
        let staging = Record { staged_at: at(1000), ..Record::unknown(task.clone(), TaskState::Staging) };
        let running =
            Record { started_at: at(2500), healthy: Some(true), state: TaskState::Running, ..staging.clone() };
        let ended = Record { ended_at: at(4000), healthy: None, state: TaskState::Failed, ..running.clone() };
        let shown = |record: &Record| {
            let task = serde_json::to_value(Task::new(record, "f", "s")).unwrap();
            let statuses = task["statuses"].as_array().unwrap().iter();
            statuses
                .map(|status| format!("{} {}", status["state"].as_str().unwrap(), status["timestamp"]))
                .collect::<Vec<_>>()
        };
        assert_eq!(shown(&staging), [""; 0]);
        assert_eq!(shown(&running), ["TASK_STARTING 1.0", "TASK_RUNNING 2.5"]);
        assert_eq!(shown(&ended), ["TASK_STARTING 1.0", "TASK_RUNNING 2.5", "TASK_FAILED 4.0"]);
        let shown = serde_json::to_value(Task::new(&running, "f", "s")).unwrap();
        assert_eq!((&shown["name"], &shown["statuses"][1]["healthy"]), (&json!("web.shop"), &json!(true)));
        assert_eq!(shown["statuses"][0].get("healthy"), None);
        let executor = Executor::new(&ended, "/d".into(), "f", "s");
        assert_eq!((executor.tasks.len(), executor.completed_tasks.len()), (0, 1));
        assert_eq!(serde_json::to_value(&executor).unwrap()["id"], json!(task));
    }
}
