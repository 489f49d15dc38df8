//! The engine's state, and how it answers to what happens.
//!
//! Everything here is synchronous and free of Docker: a method takes in one thing that happened (a client's change, a
//! task's end, a probe's result, the time), changes the state, and leaves behind the records that must be written
//! ([`Changes`]) and the [`Effect`]s that must be carried out, in that order. `settle` then decides what follows, until
//! nothing does.

mod change;
mod life;
mod state;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::Moment;
use super::backoff::Backoff;
use super::deployment::Deployment;
use super::event::Place;
use super::group::Group;
use super::instance::{Handle, Instance, InstanceId, Phase, Placed, TaskId};
use super::ledger::{Ledger, Machine};
use super::ports::{HostPorts, is_on_host_network};
use super::record::Record;
use crate::marathon::{App, DeploymentId, Event, EventKind, LastTaskFailure, PathId};

pub use change::{Accepted, How, MAX_DEPLOYMENTS, Refused};
pub use life::{Exit, NotLaunched, SeenTask};
pub use state::{Crew, State};

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
    /// Follow a task that runs: its end, its health, and whether it is ready if a deployment wants to know.
    Watch {
        task: TaskId,
        app: Arc<App>,
        started: Moment,
        listen: Vec<u16>,
        handle: Handle,
        address: std::net::IpAddr,
        readiness: bool,
    },
    /// Nobody waits any more for a task to be ready.
    EndReadiness {
        task: TaskId,
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
        /// What stays known of it; none for what no instance stands for.
        record: Option<Box<Record>>,
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

/// The state of the engine, and what is to follow from it.
#[derive(Debug)]
pub struct Core {
    state: State,
    ledger: Ledger,
    ports: HostPorts,
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

impl std::ops::Deref for Core {
    type Target = State;
    fn deref(&self) -> &State {
        &self.state
    }
}

impl Core {
    pub fn new(saved: Saved, place: Place, share: Machine, ports: HostPorts, now: Moment) -> Self {
        let failures = saved.failures.into_iter().map(|failure| (failure.app_id.clone(), Arc::new(failure)));
        let ledger = Ledger::new(share);
        let state = State {
            place: Arc::new(place),
            now,
            root: Arc::new(saved.root),
            root_version: saved.root_version,
            definitions: Arc::default(),
            crews: Arc::default(),
            deployments: saved.deployments.into_iter().map(Arc::new).collect(),
            failures: Arc::new(failures.collect()),
            backoff: Arc::default(),
            books: ledger.books(),
            waiting: Arc::default(),
        };
        let mut core = Self {
            state,
            ledger,
            ports,
            docker_up: false,
            launching: BTreeSet::new(),
            early_ends: BTreeMap::new(),
            touched: BTreeSet::new(),
            timers: BTreeSet::new(),
            changes: Changes::default(),
            effects: Vec::new(),
        };
        for app in saved.definitions {
            core.state.define(app);
        }
        for instance in saved.instances {
            let instance = instance.not_after(now);
            core.note_holding(&instance);
            core.state.put_instance(instance);
        }
        core.touch_all();
        core
    }

    /// Says what time it is; all that follows happens then.
    pub fn set_clock(&mut self, now: Moment) {
        self.state.now = self.state.now.max(now);
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

    /// The state as it is now, for whoever reads it while this goes on.
    pub fn state(&self) -> &State {
        &self.state
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

    /// Launches of the app wait no longer.
    pub fn forget_delay(&mut self, app: &PathId) {
        self.backoff_mut().reset(app);
        self.touched.insert(app.clone());
    }
    /// Tells listeners of something that is no consequence of the state.
    pub fn tell(&mut self, kind: EventKind) {
        self.emit(kind);
    }

    fn touch_all(&mut self) {
        self.touched.extend(self.state.crews.keys().cloned());
        self.touched.extend(self.state.root.all_apps().into_iter().map(|app| app.id.clone()));
        self.touched.extend(self.state.deployments.iter().flat_map(|deployment| deployment.changes.keys().cloned()));
    }
    fn backoff_mut(&mut self) -> &mut Backoff {
        Arc::make_mut(&mut self.state.backoff)
    }
    fn deployment_mut(&mut self, index: usize) -> &mut Deployment {
        Arc::make_mut(&mut self.state.deployments[index])
    }
    fn emit(&mut self, kind: EventKind) {
        self.effects.push(Effect::Emit(Event { timestamp: self.now.to_string(), kind }));
    }
    fn changed(&mut self, id: &InstanceId) {
        self.changes.instances.insert(id.clone());
        self.touched.insert(id.app().clone());
    }

    /// Notes what an instance's task holds of this machine, if it has one that may run.
    fn note_holding(&mut self, instance: &Instance) {
        if instance.is_alive()
            && let Some(app) = self.definition(instance).cloned()
        {
            self.take(&instance.id, &app, instance.host_ports());
        }
    }
    fn take(&mut self, id: &InstanceId, app: &App, ports: &[u16]) {
        self.ledger.take(id, app, ports);
        self.state.books = self.ledger.books();
    }
    /// Takes back what an instance's task held, for those that wait for it.
    fn free(&mut self, id: &InstanceId) {
        if self.ledger.give_back(id) {
            self.state.books = self.ledger.books();
            let lacking = self.state.waiting.iter().filter(|(_, waiting)| waiting.last.is_some());
            self.touched.extend(lacking.map(|(app, _)| app.clone()));
        }
    }
}

/// The app has an image, which Docker runs, also where Mesos' own containers were asked for; all others are processes
/// of this machine.
pub fn is_container(app: &App) -> bool {
    app.container.as_ref().is_some_and(|container| container.docker.is_some())
}

/// Runs in a container that shares this machine's network.
pub fn is_host_container(app: &App) -> bool {
    is_container(app) && is_on_host_network(app)
}

/// Waits to be launched, for the first time or again.
pub fn is_waiting(instance: &Instance) -> bool {
    instance.is_wanted() && matches!(instance.phase, Phase::Scheduled | Phase::Ended(_))
}
