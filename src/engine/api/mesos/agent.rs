//! Mesos' agent: what it runs and ran, and what that uses.

use serde::Serialize;
use serde_json::{Value, json};

use super::super::super::Moment;
use super::super::super::instance::TaskId;
use super::super::super::ledger::mebibytes;
use super::super::super::reading::Refusal;
use super::super::super::record::Record;
use super::super::answer::Answer;
use super::super::{Api, Asked};
use super::snapshot::Snapshot;
use super::task::{ContainerId, Executor, Resources, executor_name, seconds};
use super::{MESOS_VERSION, is_asked_for};
use crate::docker::Usage;

/// Marathon as an agent knows it.
#[derive(Debug, Serialize)]
struct AgentFramework<'a> {
    id: &'a str,
    name: &'static str,
    user: String,
    failover_timeout: f64,
    checkpoint: bool,
    hostname: &'a str,
    role: &'static str,
    executors: Vec<Executor<'a>>,
    completed_executors: Vec<Executor<'a>>,
}

/// The agent's own fields, and its frameworks.
#[derive(Debug, Serialize)]
struct AgentState<'a> {
    version: &'static str,
    start_time: f64,
    id: &'a str,
    pid: String,
    hostname: &'a str,
    capabilities: [&'static str; 0],
    #[serde(flatten)]
    holdings: Value,
    flags: Value,
    frameworks: [AgentFramework<'a>; 1],
    completed_frameworks: [(); 0],
}

/// What one task uses.
#[derive(Debug, Serialize)]
struct Statistics {
    #[serde(skip_serializing_if = "Option::is_none")]
    cpus_limit: Option<f64>,
    cpus_soft_limit: f64,
    cpus_system_time_secs: f64,
    cpus_user_time_secs: f64,
    mem_limit_bytes: u64,
    mem_rss_bytes: u64,
    timestamp: f64,
}

#[derive(Debug, Serialize)]
struct Monitored<'a> {
    executor_id: &'a TaskId,
    executor_name: String,
    framework_id: &'a str,
    source: &'a TaskId,
    statistics: &'a Statistics,
}

impl Statistics {
    fn new(record: &Record, usage: &Usage, at: Moment) -> Self {
        Self {
            cpus_limit: record.cpus_limit,
            cpus_soft_limit: record.cpus,
            cpus_system_time_secs: usage.system.as_secs_f64(),
            cpus_user_time_secs: usage.user.as_secs_f64(),
            mem_limit_bytes: usage.memory_limit_bytes.unwrap_or_else(|| mebibytes(record.mem)),
            mem_rss_bytes: usage.memory_bytes,
            timestamp: seconds(at),
        }
    }
}

impl Api {
    /// The agent's process, as Mesos names it.
    pub(super) fn agent_pid(&self) -> String {
        format!("slave(1)@{}", self.shared().leader)
    }

    /// What the machine has, and how much of it is in use; the same for master and agent.
    pub(super) fn machine_resources(&self, snapshot: &Snapshot) -> Resources {
        Resources::of_machine(&snapshot.machine, &self.shared().ports)
    }

    pub(super) fn holdings(&self, snapshot: &Snapshot) -> Value {
        let all = self.machine_resources(snapshot);
        json!({
            "resources": all, "reserved_resources": {}, "unreserved_resources": all, "reserved_resources_full": {},
            "unreserved_resources_full": all.in_full(false), "reserved_resources_allocated": {},
            "unreserved_resources_allocated": snapshot.used, "resource_providers": [], "attributes": {},
            "master_hostname": self.shared().place.host,
        })
    }

    pub(super) fn agent_flags(&self) -> Value {
        let shared = self.shared();
        let (ip, port) = shared.leader.rsplit_once(':').unwrap_or((shared.leader.as_str(), ""));
        json!({
            "containerizers": "docker", "gc_delay": format!("{}secs", shared.tasks.kept_for().as_secs()),
            "hostname": shared.place.host, "ip": ip, "master": shared.leader, "port": port,
            "sandbox_directory": "/mnt/mesos/sandbox", "work_dir": shared.tasks.place(),
        })
    }

    /// Executors that run, and those that have ended.
    pub(super) fn executors<'a>(&'a self, snapshot: &'a Snapshot) -> [Vec<Executor<'a>>; 2] {
        let shared = self.shared();
        let executor = |record: &'a Record| {
            Executor::new(record, shared.tasks.directory(&record.task), &shared.framework, &shared.place.agent)
        };
        [&snapshot.alive, &snapshot.ended].map(|records| records.iter().map(executor).collect())
    }

    pub(super) async fn agent_state(&self) -> Result<Answer, Refusal> {
        let (shared, snapshot) = (self.shared(), self.snapshot().await);
        let [executors, completed_executors] = self.executors(&snapshot);
        let framework = AgentFramework {
            id: &shared.framework,
            name: "marathon",
            user: shared.user.clone(),
            failover_timeout: super::master::FAILOVER_SECONDS,
            checkpoint: true,
            hostname: &shared.place.host,
            role: "*",
            executors,
            completed_executors,
        };
        Ok(Answer::json(&AgentState {
            version: MESOS_VERSION,
            start_time: seconds(shared.since),
            id: &shared.place.agent,
            pid: self.agent_pid(),
            hostname: &shared.place.host,
            capabilities: [],
            holdings: self.holdings(&snapshot),
            flags: self.agent_flags(),
            frameworks: [framework],
            completed_frameworks: [],
        }))
    }

    pub(super) async fn containers(&self, asked: &Asked) -> Result<Answer, Refusal> {
        #[derive(Serialize)]
        struct Container<'a> {
            container_id: &'a TaskId,
            #[serde(flatten)]
            monitored: Monitored<'a>,
            status: ContainerStatus<'a>,
        }
        #[derive(Serialize)]
        struct ContainerStatus<'a> {
            container_id: ContainerId<'a>,
        }
        let monitored = self.monitored(|record| is_asked_for(asked, "container_id", &record.task.to_string())).await?;
        let containers = monitored.iter().map(|(record, statistics)| Container {
            container_id: &record.task,
            monitored: self.shown(record, statistics),
            status: ContainerStatus { container_id: ContainerId { value: &record.task } },
        });
        Ok(Answer::json(&containers.collect::<Vec<_>>()))
    }

    pub(super) async fn statistics(&self) -> Result<Answer, Refusal> {
        let monitored = self.monitored(|_| true).await?;
        let shown = monitored.iter().map(|(record, statistics)| self.shown(record, statistics));
        Ok(Answer::json(&shown.collect::<Vec<_>>()))
    }

    /// The tasks that run and are `wanted`, with what they use; without those of which it is not known.
    async fn monitored(&self, wanted: impl Fn(&Record) -> bool) -> Result<Vec<(Record, Statistics)>, Refusal> {
        let mut running = self.running();
        running.retain(|(record, _)| wanted(record));
        let handles = running.iter().map(|(record, handle)| (record.task.clone(), handle.clone())).collect();
        let usage = self.shared().tasks.usage(handles).await;
        let now = Moment::now();
        let with_usage = running.into_iter().filter_map(|(record, _)| {
            let statistics = Statistics::new(&record, usage.get(&record.task)?, now);
            Some((record, statistics))
        });
        Ok(with_usage.collect())
    }

    fn shown<'a>(&'a self, record: &'a Record, statistics: &'a Statistics) -> Monitored<'a> {
        Monitored {
            executor_id: &record.task,
            executor_name: executor_name(record),
            framework_id: &self.shared().framework,
            source: &record.task,
            statistics,
        }
    }
}
