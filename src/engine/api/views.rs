//! The state as clients see it: apps with what is embedded, tasks, groups.
//!
//! A view shares definitions with the state and copies the rest.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::super::Moment;
use super::super::core::State;
use super::super::event;
use super::super::group::Group;
use super::super::health::CheckHealth;
use super::super::instance::{Instance, Phase};
use super::super::ports::{is_on_host_network, mappings};
use super::rendered::{self, Rendered, Same, Shown, Text};
use crate::marathon::{
    self, App, AppInfo, HealthCheckResult, Identifiable, LastTaskFailure, PathId, Task, TaskCounts, TaskState,
};

/// What is embedded in an app's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
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
                "lastTaskFailure" => self.last_task_failure = true,
                // An old word for three others.
                "failures" => (self.tasks, self.deployments, self.last_task_failure) = (true, true, true),
                "taskStats" => self.task_stats = true,
                _ => {}
            }
        }
        self
    }
}

/// A list of which each item is made when it is written, and then forgotten. It can be written once.
pub(super) struct Each<I>(Cell<Option<I>>);

impl<I: Iterator<Item: Serialize>> Each<I> {
    pub(super) fn of(items: I) -> Self {
        Self(Cell::new(Some(items)))
    }
}

impl<I: Iterator<Item: Serialize>> Serialize for Each<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.take().into_iter().flatten())
    }
}

/// The state, with what is looked up once for a whole list.
pub(super) struct Look<'a> {
    state: &'a State,
    /// The running deployments of each app.
    deployments: BTreeMap<&'a PathId, Vec<Identifiable>>,
    /// What was shown of it before.
    rendered: Option<&'a Rendered>,
}

impl<'a> Look<'a> {
    pub(super) fn at(state: &'a State) -> Self {
        let mut deployments: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for deployment in state.deployments() {
            for app in deployment.changes.keys() {
                deployments.entry(app).or_default().push(Identifiable { id: deployment.id });
            }
        }
        Self { state, deployments, rendered: None }
    }

    /// Shows again what was shown before, where that is still true.
    pub(super) fn after(state: &'a State, rendered: &'a Rendered) -> Self {
        rendered.bound_apps(state);
        Self { rendered: Some(rendered), ..Self::at(state) }
    }

    pub(super) fn apps(
        &self,
        apps: impl IntoIterator<Item = &'a Arc<App>>,
        embed: Embed,
    ) -> Each<impl Iterator<Item = Text>> {
        Each::of(apps.into_iter().map(move |app| self.text(app, embed)))
    }

    fn text(&self, app: &Arc<App>, embed: Embed) -> Text {
        let make = || rendered::text(&self.app(app, embed));
        match self.rendered {
            // How old tasks are is another thing with every look.
            Some(rendered) if !embed.task_stats => rendered.app(embed, self.shown(app), make),
            _ => make(),
        }
    }

    fn shown(&self, app: &Arc<App>) -> Shown {
        Shown {
            app: Same(app.clone()),
            crew: self.state.crew(&app.id).cloned().map(Same),
            deployments: self.deployments_of(&app.id),
            failure: self.state.failure(&app.id).cloned().map(Same),
        }
    }

    fn deployments_of(&self, app: &PathId) -> Vec<Identifiable> {
        self.deployments.get(app).cloned().unwrap_or_default()
    }

    pub(super) fn app(&self, app: &Arc<App>, embed: Embed) -> AppInfo {
        let state = self.state;
        let tasks = (embed.tasks || embed.task_stats).then(|| tasks(state, &app.id));
        AppInfo {
            counts: embed.counts.then(|| counts(state.instances(&app.id))),
            deployments: embed.deployments.then(|| self.deployments_of(&app.id)),
            readiness_check_results: embed.readiness.then(|| state.readiness(&app.id)),
            last_task_failure: state
                .failure(&app.id)
                .filter(|_| embed.last_task_failure)
                .map(|failure| LastTaskFailure::clone(failure)),
            tasks_stats: tasks.as_deref().filter(|_| embed.task_stats).map(|tasks| task_stats(state.now(), app, tasks)),
            tasks: tasks.filter(|_| embed.tasks),
            ..AppInfo::new(app.clone())
        }
    }

    pub(super) fn group(&self, group: &'a Group, version: Moment, embed: GroupEmbed) -> marathon::Group<Text> {
        let mut info = marathon::Group::new(group.id.clone(), version.to_string());
        info.dependencies.clone_from(&group.dependencies);
        info.enforce_role = info.enforce_role.map(|_| group.enforce_role);
        if embed.apps {
            info.apps = group.apps.values().map(|app| self.text(app, embed.app)).collect();
        }
        if embed.groups {
            info.groups = group.groups.values().map(|below| self.group(below, version, embed)).collect();
        }
        info
    }
}

/// The tasks of an app.
pub(super) fn tasks(state: &State, app: &PathId) -> Vec<Task> {
    state.instances(app).filter_map(|instance| task(state, instance, false)).collect()
}

/// How many tasks there are in which state, without making them.
pub(super) fn counts<'a>(instances: impl Iterator<Item = &'a Instance>) -> TaskCounts {
    let mut counts = TaskCounts::default();
    for instance in instances.filter(|instance| instance.incarnation > 0) {
        let known = match &instance.phase {
            Phase::Scheduled => continue,
            Phase::Running(live) => live.health.as_slice(),
            Phase::Ended(end) => end.health.as_slice(),
            Phase::Provisioned(_) | Phase::Starting(_) => &[],
        };
        let known = known.iter().filter(|check| check.is_known());
        counts.count(instance.task_state(), known.map(CheckHealth::is_alive));
    }
    counts
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
        id: id.text(),
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
        let of_apps = Embed::NOTHING.with(wanted.iter().map(String::as_str));
        Self { apps: names("group.apps"), groups: names("group.groups"), app: of_apps }
    }
}
