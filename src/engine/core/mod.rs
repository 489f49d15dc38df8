//! The engine's state, and how it answers to what happens.
//!
//! Everything here is synchronous and free of Docker: a method takes in one thing that happened (a client's change, a
//! task's end, a probe's result, the time), changes the state, and leaves behind the records that must be written
//! ([`Changes`]) and the [`Effect`]s that must be carried out, in that order. `settle` then decides what follows, until
//! nothing does.

mod change;
mod life;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Moment;
use super::backoff::Backoff;
use super::deployment::Deployment;
use super::event::Place;
use super::group::Group;
use super::instance::{Handle, Instance, InstanceId, Phase, Placed, TaskId};
use super::ports::{HostPorts, is_on_host_network};
use crate::marathon::{App, ContainerKind, DeploymentId, Event, EventKind, LastTaskFailure, PathId};

pub use change::{Accepted, How, MAX_DEPLOYMENTS, Refused};
pub use life::{Exit, NotLaunched, SeenTask};

/// Something to be done outside, after what led to it was written.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Make a task run, and report.
    Launch {
        task: TaskId,
        app: Arc<App>,
        placed: Placed,
    },
    /// Give up a launch that has not ended yet.
    Abort {
        task: TaskId,
    },
    /// Follow a task that runs: its end, and its health.
    Watch {
        task: TaskId,
        app: Arc<App>,
        started: Moment,
        listen: Vec<u16>,
        handle: Handle,
        address: std::net::IpAddr,
    },
    /// End a task: SIGTERM, SIGKILL after `grace`.
    Kill {
        task: TaskId,
        handle: Handle,
        grace: Duration,
    },
    /// Keep what the task wrote, and remove what else is left of it.
    Bury {
        task: TaskId,
        handle: Option<Handle>,
    },
    /// Remove a container that belongs to no task.
    RemoveContainer {
        id: String,
    },
    Emit(Event),
}

/// What must be written before the effects are carried out.
#[derive(Debug, Default)]
pub struct Changes {
    pub instances: BTreeSet<InstanceId>,
    pub deployments: BTreeSet<DeploymentId>,
    pub failures: BTreeSet<PathId>,
    pub definitions: Vec<Arc<App>>,
    pub root: bool,
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        !self.root
            && self.instances.is_empty()
            && self.deployments.is_empty()
            && self.failures.is_empty()
            && self.definitions.is_empty()
    }
}

/// What was written, read again at the start.
#[derive(Debug)]
pub struct Saved {
    pub root: Group,
    pub root_version: Moment,
    /// Those in the tree, and those that instances and deployments refer to.
    pub definitions: Vec<Arc<App>>,
    pub instances: Vec<Instance>,
    pub deployments: Vec<Deployment>,
    pub failures: Vec<LastTaskFailure>,
}

/// What this machine has to offer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    pub cpus: f64,
    /// MiB.
    pub mem: f64,
    /// MiB.
    pub disk: f64,
}

/// Why an instance is not launched though it is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reject {
    Constraint,
    Cpus,
    Memory,
    Disk,
    Ports,
}

/// The state of the engine.
#[derive(Debug)]
pub struct Core {
    pub place: Place,
    pub machine: Machine,
    ports: HostPorts,
    now: Moment,
    root: Group,
    root_version: Moment,
    definitions: BTreeMap<PathId, BTreeMap<String, Arc<App>>>,
    crews: BTreeMap<PathId, BTreeMap<InstanceId, Instance>>,
    deployments: Vec<Deployment>,
    backoff: Backoff,
    failures: BTreeMap<PathId, LastTaskFailure>,
    /// Why instances of an app wait, as of the last try.
    rejected: BTreeMap<PathId, Reject>,
    /// Docker answers; nothing is launched in it before.
    docker_up: bool,
    /// Launches that this process has begun and that have not reported.
    launching: BTreeSet<TaskId>,
    /// Ends that were heard of before the launch reported.
    early_ends: BTreeMap<TaskId, Exit>,
    touched: BTreeSet<PathId>,
    timers: BTreeSet<(Moment, PathId)>,
    changes: Changes,
    effects: Vec<Effect>,
}

impl Core {
    pub fn new(saved: Saved, place: Place, machine: Machine, ports: HostPorts, now: Moment) -> Self {
        let mut core = Self {
            place,
            machine,
            ports,
            now,
            root: saved.root,
            root_version: saved.root_version,
            definitions: BTreeMap::new(),
            crews: BTreeMap::new(),
            deployments: saved.deployments,
            backoff: Backoff::default(),
            failures: saved.failures.into_iter().map(|failure| (failure.app_id.clone(), failure)).collect(),
            rejected: BTreeMap::new(),
            docker_up: false,
            launching: BTreeSet::new(),
            early_ends: BTreeMap::new(),
            touched: BTreeSet::new(),
            timers: BTreeSet::new(),
            changes: Changes::default(),
            effects: Vec::new(),
        };
        for app in saved.definitions {
            core.define(app);
        }
        for mut instance in saved.instances {
            // Pauses are short; none is worth a clock that was set back meanwhile.
            instance.not_before = None;
            core.crews.entry(instance.app().clone()).or_default().insert(instance.id.clone(), instance);
        }
        core.touch_all();
        core
    }

    /// Says what time it is; all that follows happens then.
    pub fn set_clock(&mut self, now: Moment) {
        self.now = self.now.max(now);
        while let Some((at, _)) = self.timers.first()
            && *at <= self.now
        {
            let (_, app) = self.timers.pop_first().expect("it was just looked at");
            self.touched.insert(app);
        }
    }
    /// When `set_clock` and `settle` are wanted though nothing happened.
    pub fn next_timer(&self) -> Option<Moment> {
        self.timers.first().map(|(at, _)| *at)
    }
    pub fn now(&self) -> Moment {
        self.now
    }

    /// Decides and orders what follows from what happened, until nothing does.
    pub fn settle(&mut self) {
        while let Some(app) = self.touched.pop_first() {
            match self.deployments.iter().position(|deployment| deployment.affects(&app)) {
                Some(index) => self.advance(index),
                None => self.keep(&app),
            }
            self.launch_due(&app);
        }
    }

    /// What must be written before `take_effects` is carried out.
    pub fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    pub fn root(&self) -> &Group {
        &self.root
    }
    pub fn root_version(&self) -> Moment {
        self.root_version
    }
    pub fn app(&self, id: &PathId) -> Option<&Arc<App>> {
        self.root.app(id)
    }
    pub fn deployments(&self) -> &[Deployment] {
        &self.deployments
    }
    pub fn failure(&self, app: &PathId) -> Option<&LastTaskFailure> {
        self.failures.get(app)
    }
    pub fn instances(&self, app: &PathId) -> impl Iterator<Item = &Instance> {
        self.crews.get(app).into_iter().flat_map(BTreeMap::values)
    }
    pub fn all_instances(&self) -> impl Iterator<Item = &Instance> {
        self.crews.values().flat_map(BTreeMap::values)
    }
    pub fn instance(&self, id: &InstanceId) -> Option<&Instance> {
        self.crews.get(id.app())?.get(id)
    }
    /// The definition that an instance's tasks are made from.
    pub fn definition(&self, instance: &Instance) -> Option<&Arc<App>> {
        self.definitions.get(instance.app())?.get(&instance.version)
    }
    /// The definition of an app in one of the versions that are in use.
    pub fn definition_of(&self, app: &PathId, version: &str) -> Option<&Arc<App>> {
        self.definitions.get(app)?.get(version)
    }
    /// Until when launches of the app are held back; none when they are not.
    pub fn held_until(&self, app: &App) -> Option<Moment> {
        self.backoff.not_before(app, self.now)
    }
    pub fn rejected(&self, app: &PathId) -> Option<Reject> {
        self.rejected.get(app).copied()
    }
    /// Launches of the app wait no longer.
    pub fn forget_delay(&mut self, app: &PathId) {
        self.backoff.reset(app);
        self.touched.insert(app.clone());
    }
    /// Tells listeners of something that is no consequence of the state.
    pub fn tell(&mut self, kind: EventKind) {
        self.emit(kind);
    }

    fn touch_all(&mut self) {
        self.touched.extend(self.crews.keys().cloned());
        self.touched.extend(self.root.all_apps().into_iter().map(|app| app.id.clone()));
        self.touched.extend(self.deployments.iter().flat_map(|deployment| deployment.changes.keys().cloned()));
    }
    fn define(&mut self, app: Arc<App>) {
        self.definitions.entry(app.id.clone()).or_default().insert(app.version.clone(), app);
    }
    fn emit(&mut self, kind: EventKind) {
        self.effects.push(Effect::Emit(Event { timestamp: self.now.to_string(), kind }));
    }
    fn changed(&mut self, id: &InstanceId) {
        self.changes.instances.insert(id.clone());
        self.touched.insert(id.app().clone());
    }
    fn instance_mut(&mut self, id: &InstanceId) -> Option<&mut Instance> {
        self.crews.get_mut(id.app())?.get_mut(id)
    }

    /// Drops definitions of the app that nothing refers to any more.
    fn forget_definitions(&mut self, app: &PathId) {
        let mut used: BTreeSet<&str> = self.instances(app).map(|instance| instance.version.as_str()).collect();
        used.extend(self.root.app(app).map(|app| app.version.as_str()));
        let of_deployments = self.deployments.iter().filter_map(|deployment| deployment.changes.get(app));
        used.extend(of_deployments.flat_map(|change| [&change.before, &change.after]).flatten().map(String::as_str));
        let used: BTreeSet<String> = used.into_iter().map(str::to_owned).collect();
        if let Some(known) = self.definitions.get_mut(app) {
            known.retain(|version, _| used.contains(version));
            if known.is_empty() {
                self.definitions.remove(app);
            }
        }
    }
}

/// The app's tasks are containers of Docker; all others are processes of this machine.
pub fn is_container(app: &App) -> bool {
    app.container.as_ref().is_some_and(|container| container.kind == ContainerKind::Docker)
}

/// Runs in a container that shares this machine's network.
pub fn is_host_container(app: &App) -> bool {
    is_container(app) && is_on_host_network(app)
}

/// Waits to be launched, for the first time or again.
pub fn is_waiting(instance: &Instance) -> bool {
    instance.is_wanted() && matches!(instance.phase, Phase::Scheduled | Phase::Ended(_))
}
