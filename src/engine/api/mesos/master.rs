//! Mesos' master: its agent, its frameworks and their tasks. This engine is both, and Marathon, the only framework.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::super::super::reading::Refusal;
use super::super::super::record::Record;
use super::super::answer::Answer;
use super::super::{Api, Asked};
use super::snapshot::Snapshot;
use super::task::{Executor, Resources, Task, seconds};
use super::{MESOS_VERSION, document, is_asked_for};
use crate::marathon::TaskState;

/// What Marathon asks of Mesos by default; here tasks keep running for as long as the engine is away.
pub(super) const FAILOVER_SECONDS: f64 = 604_800.0;

/// Most tasks that `/tasks` lists when nothing else is asked for.
const LISTED_TASKS: usize = 100;

/// The states that summaries count.
const COUNTED: [(&str, TaskState); 10] = [
    ("TASK_STAGING", TaskState::Staging),
    ("TASK_STARTING", TaskState::Starting),
    ("TASK_RUNNING", TaskState::Running),
    ("TASK_KILLING", TaskState::Killing),
    ("TASK_FINISHED", TaskState::Finished),
    ("TASK_KILLED", TaskState::Killed),
    ("TASK_FAILED", TaskState::Failed),
    ("TASK_LOST", TaskState::Lost),
    ("TASK_ERROR", TaskState::Error),
    ("TASK_UNREACHABLE", TaskState::Unreachable),
];

/// Marathon, with its tasks as a master has them, and its executors as an agent has.
#[derive(Debug, Serialize)]
struct Framework<'a> {
    #[serde(flatten)]
    about: Value,
    user: &'a str,
    failover_timeout: f64,
    checkpoint: bool,
    registered_time: f64,
    unregistered_time: f64,
    resources: Resources,
    role: &'static str,
    tasks: Vec<Task<'a>>,
    unreachable_tasks: [(); 0],
    completed_tasks: Vec<Task<'a>>,
    offers: [(); 0],
    executors: Vec<Executor<'a>>,
    completed_executors: Vec<Executor<'a>>,
    offer_constraints: Map<String, Value>,
}

/// The master's fields, then the agent's that it has no word of its own for.
#[derive(Debug, Serialize)]
struct MasterState<'a> {
    version: &'static str,
    start_time: f64,
    elected_time: f64,
    id: &'a str,
    pid: String,
    hostname: &'a str,
    capabilities: [&'static str; 0],
    activated_slaves: f64,
    deactivated_slaves: f64,
    unreachable_slaves: f64,
    leader: String,
    leader_info: Value,
    flags: Value,
    slaves: [Value; 1],
    recovered_slaves: [(); 0],
    frameworks: [Framework<'a>; 1],
    completed_frameworks: [(); 0],
    orphan_tasks: [(); 0],
    unregistered_frameworks: [(); 0],
    #[serde(flatten)]
    of_agent: Value,
}

impl Api {
    /// The master's id: that of the one agent without its number.
    fn master_id(&self) -> &str {
        let agent = self.shared().place.agent.as_str();
        agent.strip_suffix("-S0").unwrap_or(agent)
    }
    fn master_pid(&self) -> String {
        format!("master@{}", self.shared().leader)
    }
    fn port(&self) -> u16 {
        self.shared().leader.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or_default()
    }

    fn slave(&self, snapshot: &Snapshot) -> Value {
        let shared = self.shared();
        let resources = self.machine_resources(snapshot);
        json!({
            "id": shared.place.agent, "hostname": shared.place.host, "port": self.port(), "attributes": {},
            "pid": self.agent_pid(), "registered_time": seconds(shared.since), "resources": resources,
            "used_resources": snapshot.used, "offered_resources": Resources::default(), "reserved_resources": {},
            "unreserved_resources": resources, "active": true, "deactivated": false, "version": MESOS_VERSION,
            "capabilities": [],
        })
    }

    /// What is said of Marathon wherever it is named.
    fn about_framework(&self, snapshot: &Snapshot) -> Value {
        let shared = self.shared();
        json!({
            "id": shared.framework, "name": "marathon", "used_resources": snapshot.used,
            "offered_resources": Resources::default(), "capabilities": [], "hostname": shared.place.host,
            "webui_url": format!("http://{}", shared.leader), "active": true, "connected": true, "recovered": false,
        })
    }

    fn framework<'a>(&'a self, snapshot: &'a Snapshot) -> Framework<'a> {
        let shared = self.shared();
        let tasks = |records: &'a [Record]| records.iter().map(|record| self.task(record)).collect();
        let [executors, completed_executors] = self.executors(snapshot);
        Framework {
            about: self.about_framework(snapshot),
            user: &shared.user,
            failover_timeout: FAILOVER_SECONDS,
            checkpoint: true,
            registered_time: seconds(shared.since),
            unregistered_time: 0.0,
            resources: snapshot.used.clone(),
            role: "*",
            tasks: tasks(&snapshot.alive),
            unreachable_tasks: [],
            completed_tasks: tasks(&snapshot.ended),
            offers: [],
            executors,
            completed_executors,
            offer_constraints: Map::new(),
        }
    }

    fn task<'a>(&'a self, record: &'a Record) -> Task<'a> {
        Task::new(record, &self.shared().framework, &self.shared().place.agent)
    }

    pub(super) async fn slaves(&self, asked: &Asked) -> Result<Answer, Refusal> {
        let snapshot = self.snapshot().await;
        let wanted = is_asked_for(asked, "slave_id", &self.shared().place.agent);
        let in_full = || {
            let mut slave = self.slave(&snapshot);
            slave["reserved_resources_full"] = json!({});
            slave["unreserved_resources_full"] = json!(self.machine_resources(&snapshot).in_full(false));
            slave["used_resources_full"] = json!(snapshot.used.in_full(true));
            slave["offered_resources_full"] = json!([]);
            slave
        };
        let slaves: Vec<Value> = wanted.then(in_full).into_iter().collect();
        Ok(Answer::json(&json!({ "slaves": slaves, "recovered_slaves": [] })))
    }

    /// One document for clients of the master and of the agent.
    pub(super) async fn master_state(&self) -> Result<Answer, Refusal> {
        let (shared, snapshot) = (self.shared(), self.snapshot().await);
        let mut flags = self.agent_flags();
        flags["authenticate_http_readonly"] = json!(shared.credentials.is_some().to_string());
        let since = seconds(shared.since);
        Ok(Answer::json(&MasterState {
            version: MESOS_VERSION,
            start_time: since,
            elected_time: since,
            id: self.master_id(),
            pid: self.master_pid(),
            hostname: &shared.place.host,
            capabilities: [],
            activated_slaves: 1.0,
            deactivated_slaves: 0.0,
            unreachable_slaves: 0.0,
            leader: self.master_pid(),
            leader_info: json!({
                "id": self.master_id(), "pid": self.master_pid(), "port": self.port(), "hostname": shared.place.host,
            }),
            flags,
            slaves: [self.slave(&snapshot)],
            recovered_slaves: [],
            frameworks: [self.framework(&snapshot)],
            completed_frameworks: [],
            orphan_tasks: [],
            unregistered_frameworks: [],
            of_agent: self.holdings(&snapshot),
        }))
    }

    pub(super) async fn state_summary(&self) -> Result<Answer, Refusal> {
        let (shared, snapshot) = (self.shared(), self.snapshot().await);
        let with_counts = |mut of: Value, name: &str, ids: &str| {
            for (state, counted) in COUNTED {
                of[state] = json!(snapshot.count(counted));
            }
            of[name] = json!([ids]);
            of
        };
        let slave = with_counts(self.slave(&snapshot), "framework_ids", &shared.framework);
        let framework = with_counts(self.about_framework(&snapshot), "slave_ids", &shared.place.agent);
        Ok(Answer::json(&json!({ "hostname": shared.place.host, "slaves": [slave], "frameworks": [framework] })))
    }

    /// The latest tasks first, unless `order=asc`; `limit` and `offset` count in that order.
    pub(super) async fn mesos_tasks(&self, asked: &Asked) -> Result<Answer, Refusal> {
        let snapshot = self.snapshot().await;
        let wanted = |record: &&Record| {
            is_asked_for(asked, "framework_id", &self.shared().framework)
                && is_asked_for(asked, "task_id", &record.task.to_string())
        };
        let mut records: Vec<&Record> = snapshot.all().filter(wanted).collect();
        records.sort_by_key(|record| (record.staged_at.or(record.ended_at), &record.task));
        if asked.one("order") != Some("asc") {
            records.reverse();
        }
        let number = |name: &str| asked.one(name).and_then(|text| text.parse().ok());
        let (offset, limit) = (number("offset").unwrap_or(0), number("limit").unwrap_or(LISTED_TASKS));
        let tasks: Vec<Task<'_>> =
            records.into_iter().skip(offset).take(limit).map(|record| self.task(record)).collect();
        Ok(document("tasks", &tasks))
    }

    pub(super) async fn frameworks(&self, asked: &Asked) -> Result<Answer, Refusal> {
        #[derive(Serialize)]
        struct Frameworks<'a> {
            frameworks: Vec<Framework<'a>>,
            completed_frameworks: [(); 0],
            unregistered_frameworks: [(); 0],
        }
        let snapshot = self.snapshot().await;
        let wanted = is_asked_for(asked, "framework_id", &self.shared().framework);
        let frameworks = wanted.then(|| self.framework(&snapshot)).into_iter().collect();
        Ok(Answer::json(&Frameworks { frameworks, completed_frameworks: [], unregistered_frameworks: [] }))
    }

    pub(super) async fn roles(&self) -> Result<Answer, Refusal> {
        let snapshot = self.snapshot().await;
        let mut roles: BTreeMap<&str, Vec<&Record>> = BTreeMap::from([("*", Vec::new())]);
        for record in &snapshot.alive {
            roles.entry(&record.role).or_default().push(record);
        }
        let role = |(name, records): (&&str, &Vec<&Record>)| {
            let amounts = Resources::of_all(records.iter().copied()).quantities();
            json!({
                "name": name, "weight": 1.0,
                "quota": { "role": name, "guarantee": {}, "limit": {}, "consumed": amounts },
                "resources": amounts, "allocated": amounts, "offered": {}, "reserved": {},
                "frameworks": [self.shared().framework],
            })
        };
        Ok(document("roles", &roles.iter().map(role).collect::<Vec<_>>()))
    }
}
