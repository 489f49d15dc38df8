//! The state as clients see it: apps with what is embedded, tasks, groups, the queue.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::Moment;
use super::super::core::{State, is_waiting};
use super::super::event;
use super::super::group::Group;
use super::super::health::CheckHealth;
use super::super::instance::{Instance, Phase};
use super::super::ports::{is_on_host_network, mappings};
use super::super::waiting::{REASONS, Waiting};
use crate::marathon::{
    App, AppInfo, DECLINE_REASONS, DeclinedOffers, GroupInfo, HealthCheckResult, Identifiable, OffersSummary, Queue,
    QueueDelay, QueueItem, Task, TaskCounts, TaskState,
};

/// What is embedded in an app's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a wish of its own")]
pub(super) struct Embed {
    pub(super) tasks: bool,
    pub(super) counts: bool,
    pub(super) deployments: bool,
    pub(super) readiness: bool,
    pub(super) last_task_failure: bool,
    pub(super) task_stats: bool,
}

impl Embed {
    /// What a GET of apps always has.
    pub(super) const LIST: Self = Self {
        tasks: false,
        counts: true,
        deployments: true,
        readiness: false,
        last_task_failure: false,
        task_stats: false,
    };
    /// What a GET of one app, or of a group's, always has.
    pub(super) const ONE: Self = Self { tasks: true, last_task_failure: true, ..Self::LIST };
    pub(super) const NOTHING: Self = Self { counts: false, deployments: false, ..Self::LIST };

    /// With what the query asks for besides; unknown names do not count.
    pub(super) fn with<'a>(mut self, wanted: impl IntoIterator<Item = &'a str>) -> Self {
        for name in wanted {
            let prefixes = ["group.apps.", "apps.", "app."];
            let bare = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
            match bare {
                "tasks" => (self.tasks, self.deployments) = (true, true),
                "counts" => self.counts = true,
                "deployments" => self.deployments = true,
                "readiness" => self.readiness = true,
                "lastTaskFailure" | "failures" => self.last_task_failure = true,
                "taskStats" => self.task_stats = true,
                _ => {}
            }
        }
        self
    }
}

pub(super) fn app(state: &State, app: &App, embed: Embed) -> AppInfo {
    let tasks = state.instances(&app.id).filter_map(|instance| task(state, instance, false)).collect::<Vec<_>>();
    let deployments = state.deployments().iter().filter(|deployment| deployment.affects(&app.id));
    let deployments = deployments.map(|deployment| Identifiable { id: deployment.id }).collect();
    AppInfo {
        counts: embed.counts.then(|| TaskCounts::of(&tasks)),
        deployments: embed.deployments.then_some(deployments),
        readiness_check_results: embed.readiness.then(|| state.readiness(&app.id)),
        last_task_failure: state.failure(&app.id).filter(|_| embed.last_task_failure).cloned(),
        tasks_stats: embed.task_stats.then(|| task_stats(state.now(), app, &tasks)),
        tasks: embed.tasks.then_some(tasks),
        ..AppInfo::new(app.clone())
    }
}

/// A task; none for an instance that has had none yet.
pub(super) fn task(state: &State, instance: &Instance, with_service_ports: bool) -> Option<Task> {
    let id = instance.task()?;
    let (placed, live) = match &instance.phase {
        Phase::Scheduled => return None,
        Phase::Provisioned(placed) | Phase::Starting(placed) => (Some(placed), None),
        Phase::Running(live) => (Some(&live.placed), Some(live)),
        Phase::Ended(_) => (None, None),
    };
    let (address, health) = match &instance.phase {
        Phase::Running(live) => (Some(live.address), live.health.as_slice()),
        Phase::Ended(end) => (end.address, end.health.as_slice()),
        _ => (None, [].as_slice()),
    };
    let app = state.definition(instance);
    Some(Task {
        app_id: instance.app().clone(),
        check_result: live.and_then(|live| live.check),
        health_check_results: health.iter().filter_map(|check| health_result(instance, check)).collect(),
        host: state.place.host.clone(),
        id: id.to_string(),
        ip_addresses: address.into_iter().map(event::ip_address).collect(),
        ports: instance.host_ports().to_vec(),
        service_ports: app.filter(|_| with_service_ports).map(|app| service_ports(app)).unwrap_or_default(),
        slave_id: Some(state.place.agent.clone()),
        state: instance.task_state(),
        staged_at: placed.map(|placed| placed.staged_at.to_string()),
        started_at: live.map(|live| live.started_at.to_string()),
        version: placed.map(|_| instance.version.clone()),
        local_volumes: Vec::new(),
        role: app.map_or_else(|| "*".to_owned(), |app| app.role.clone()),
    })
}

fn health_result(instance: &Instance, check: &CheckHealth) -> Option<HealthCheckResult> {
    check.is_known().then(|| HealthCheckResult {
        alive: check.is_alive(),
        consecutive_failures: check.consecutive_failures,
        first_success: check.first_success.map(|at| at.to_string()),
        instance_id: HealthCheckResult::instance_id_text(&instance.id.to_string()),
        last_failure: check.last_failure.map(|at| at.to_string()),
        last_failure_cause: check.last_failure_cause.clone(),
        last_success: check.last_success.map(|at| at.to_string()),
    })
}

fn service_ports(app: &App) -> Vec<u16> {
    if is_on_host_network(app) {
        return app.port_definitions.iter().flatten().map(|definition| definition.port).collect();
    }
    mappings(app).iter().map(|mapping| mapping.service_port).collect()
}

/// How many tasks there are and how old they are, by what has changed since they were launched.
fn task_stats(now: Moment, app: &App, tasks: &[Task]) -> Value {
    let info = app.version_info.as_ref();
    let since = |limit: Option<&String>, task: &&Task| limit.is_some_and(|limit| task.version.as_ref() >= Some(limit));
    let scaled = info.map(|info| &info.last_scaling_at);
    let configured = info.map(|info| &info.last_config_change_at);
    let mut stats = serde_json::Map::new();
    let mut put = |name: &str, of: Vec<&Task>| {
        if !of.is_empty() {
            stats.insert(name.to_owned(), json!({ "stats": stats_of(now, &of) }));
        }
    };
    put("startedAfterLastScaling", tasks.iter().filter(|task| since(scaled, task)).collect());
    put("withLatestConfig", tasks.iter().filter(|task| since(configured, task)).collect());
    put("withOutdatedConfig", tasks.iter().filter(|task| !since(configured, task)).collect());
    put("totalSummary", tasks.iter().collect());
    Value::Object(stats)
}

fn stats_of(now: Moment, tasks: &[&Task]) -> Value {
    let counts = TaskCounts::of(tasks.iter().copied());
    let counts = json!({
        "staged": counts.tasks_staged, "running": counts.tasks_running,
        "healthy": counts.tasks_healthy, "unhealthy": counts.tasks_unhealthy
    });
    let started =
        tasks.iter().filter(|task| task.state == TaskState::Running).filter_map(|task| task.started_at.as_ref());
    let mut ages: Vec<f64> = started.filter_map(|at| Some(now.since(at.parse().ok()?).as_secs_f64())).collect();
    if ages.is_empty() {
        return json!({ "counts": counts });
    }
    ages.sort_by(f64::total_cmp);
    let middle = ages.len() / 2;
    let median = if ages.len() % 2 == 1 { ages[middle] } else { f64::midpoint(ages[middle - 1], ages[middle]) };
    let count = f64::from(u32::try_from(ages.len()).unwrap_or(u32::MAX));
    let average = ages.iter().sum::<f64>() / count;
    json!({ "counts": counts, "lifeTime": { "averageSeconds": average, "medianSeconds": median } })
}

/// Which parts of a group are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GroupEmbed {
    apps: bool,
    groups: bool,
    app: Embed,
}

impl GroupEmbed {
    /// Everything, unless the query names what it wants.
    pub(super) fn of(wanted: &[String]) -> Self {
        if wanted.is_empty() {
            return Self { apps: true, groups: true, app: Embed::NOTHING };
        }
        let names = |name: &str| wanted.iter().any(|wanted| wanted == name);
        let of_apps = wanted.iter().map(String::as_str).filter(|name| name.starts_with("group.apps."));
        Self { apps: names("group.apps"), groups: names("group.groups"), app: Embed::NOTHING.with(of_apps) }
    }
}

pub(super) fn group(state: &State, group: &Group, version: Moment, embed: GroupEmbed) -> GroupInfo {
    let mut info = GroupInfo::new(group.id.clone(), version.to_string());
    info.dependencies.clone_from(&group.dependencies);
    info.enforce_role = info.enforce_role.map(|_| group.enforce_role);
    if embed.apps {
        info.apps = group.apps.values().map(|found| app(state, found, embed.app)).collect();
    }
    if embed.groups {
        info.groups = group.groups.values().map(|below| self::group(state, below, version, embed)).collect();
    }
    info
}

/// The apps of which instances wait to be launched, or for their launch to be confirmed.
pub(super) fn queue(state: &State, with_offers: bool) -> Queue {
    let queued = |instance: &&Instance| is_waiting(instance) || matches!(instance.phase, Phase::Provisioned(_));
    let apps: BTreeSet<_> = state.all_instances().filter(queued).map(Instance::app).collect();
    let item = |id| {
        let waiting = state.instances(id).filter(queued).collect::<Vec<_>>();
        let first = waiting.first()?;
        let app = state.app(id).or_else(|| state.definition(first))?;
        let held = state.held_until(app);
        let since = waiting.iter().map(|instance| instance.waiting_since).min()?;
        Some(QueueItem {
            count: u32::try_from(waiting.len()).unwrap_or(u32::MAX),
            role: app.role.clone(),
            delay: QueueDelay {
                time_left_seconds: held.map_or(0, |until| until.since(state.now()).as_secs()),
                overdue: held.is_none(),
            },
            since: since.to_string(),
            processed_offers_summary: offers(state.waiting(id)),
            last_unused_offers: with_offers.then(Vec::new),
            app: App::clone(app),
        })
    };
    Queue { queue: apps.into_iter().filter_map(item).collect() }
}

/// Whether an app waits in the queue.
pub(super) fn is_queued(state: &State, app: &crate::marathon::PathId) -> bool {
    state.instances(app).any(|instance| is_waiting(instance) || matches!(instance.phase, Phase::Provisioned(_)))
}

/// What Marathon tells of the offers it looked at: here, of the times that what is left of this machine was.
fn offers(waiting: Option<&Waiting>) -> OffersSummary {
    let nothing = Waiting::default();
    let waiting = waiting.unwrap_or(&nothing);
    let mut last = [0; REASONS];
    if let Some(reject) = waiting.last {
        last[reject.place()] = 1;
    }
    OffersSummary {
        processed_offers_count: waiting.processed,
        unused_offers_count: waiting.unused,
        last_unused_offer_at: waiting.last_unused_at.map(|at| at.to_string()),
        last_used_offer_at: waiting.last_used_at.map(|at| at.to_string()),
        reject_summary_last_offers: summary(last, waiting.processed.min(1)),
        reject_summary_launch_attempt: summary(waiting.declined, waiting.processed),
    }
}

/// Each reason is looked at for the offers that passed those before it.
fn summary(declined: [u32; REASONS], processed: u32) -> Vec<DeclinedOffers> {
    let mut left = processed;
    let counted = DECLINE_REASONS.iter().zip(declined).map(|(reason, declined)| {
        let processed = left;
        left = left.saturating_sub(declined);
        DeclinedOffers { reason: (*reason).to_owned(), declined, processed }
    });
    counted.collect()
}
