//! Carries out what the core decided: containers and processes are launched, followed, ended and cleaned up, and
//! everything that happens to them is reported.

mod account;
mod checks;
mod commands;
mod containers;
pub mod fetch;
mod files;
mod health;
mod output;
mod readiness;
mod retention;
mod sandbox;
mod usage;
mod writes;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::Moment;
use super::clock::Clock;
use super::core::{Effect, Exit, NotLaunched, SeenTask, is_container};
use super::health::Outcome;
use super::instance::{Handle, TaskId};
use super::record::Record;
use crate::docker::{Docker, InstanceNetwork};
use crate::marathon::{CheckResult, ReadinessResult, TaskState};

pub(in crate::engine) use commands::end_all;
pub use commands::find_process;
pub use files::{Found, Listed, read_at, user_name};
pub use sandbox::{KEPT_FOR, Sandboxes};

/// Between the announcement of a task's end, by an event, and its SIGTERM: load balancers that follow the events can
/// turn away from it meanwhile.
const FAREWELL: Duration = Duration::from_millis(150);

/// What happened to a task.
#[derive(Debug)]
pub enum Report {
    Launching(TaskId),
    Started {
        task: TaskId,
        handle: Handle,
        address: Option<IpAddr>,
        at: Moment,
    },
    NotLaunched {
        task: TaskId,
        why: NotLaunched,
    },
    Ended {
        task: TaskId,
        exit: Exit,
    },
    Probed {
        task: TaskId,
        check: usize,
        outcome: Outcome,
    },
    Readiness {
        task: TaskId,
        result: ReadinessResult,
    },
    Checked {
        task: TaskId,
        result: CheckResult,
    },
    /// Docker answers: these containers it has of ours.
    Census {
        seen: Vec<SeenTask>,
        asked: Moment,
    },
    /// Docker does not answer any more.
    DockerDown,
}

/// Where and how tasks run.
#[derive(Debug, Clone)]
pub struct Setting {
    pub docker: Docker,
    /// On every container, so that it is found again.
    pub engine: String,
    pub network: InstanceNetwork,
    /// On every container and network.
    pub labels: HashMap<String, String>,
    /// Host ports are bound there.
    pub address: IpAddr,
    /// What tasks are told their host is called.
    pub host: String,
    /// `$PATH` of command tasks.
    pub path: String,
    /// Apps may reach this machine.
    pub trusts_apps: bool,
    /// The longest that a launch may take, from its first fetch until the task runs.
    pub launch_timeout: Duration,
    pub sandboxes: Sandboxes,
    pub clock: Clock,
}

/// Everything that runs for tasks in this process; cheap to clone, ends with the last clone.
#[derive(Debug, Clone)]
pub struct Tasks(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    setting: Setting,
    reports: mpsc::UnboundedSender<Report>,
    workers: Mutex<JoinSet<()>>,
    launches: Mutex<HashMap<TaskId, CancellationToken>>,
    watchers: Mutex<HashMap<TaskId, Vec<AbortHandle>>>,
    /// Who asks new tasks whether they are ready.
    readiness: Mutex<HashMap<TaskId, AbortHandle>>,
    /// Processes that are children of this one: whoever launched them waits for them.
    children: Mutex<HashSet<TaskId>>,
    outputs: output::Outputs,
    /// What commands write to; none where the machine has no look-out left.
    writes: Option<writes::Writes>,
}

impl Tasks {
    pub fn new(setting: Setting, reports: mpsc::UnboundedSender<Report>) -> Self {
        let writes = writes::Writes::new();
        let writes = writes.inspect_err(|error| tracing::warn!(%error, "the outputs of tasks are not bounded")).ok();
        Self(Arc::new(Shared {
            setting,
            reports,
            workers: Mutex::default(),
            launches: Mutex::default(),
            watchers: Mutex::default(),
            readiness: Mutex::default(),
            children: Mutex::default(),
            outputs: output::Outputs::default(),
            writes,
        }))
    }

    /// Begins to carry out an effect; what comes of it is reported.
    pub fn carry_out(&self, effect: Effect) {
        match effect {
            Effect::Launch { task, app, placed } => {
                let token = CancellationToken::new();
                lock(&self.0.launches).insert(task.clone(), token.clone());
                let tasks = self.clone();
                self.spawn(async move {
                    if is_container(&app) {
                        tasks.launch_container(&task, &app, &placed, &token).await;
                        lock(&tasks.0.launches).remove(&task);
                    } else {
                        let child = tasks.launch_command(&task, &app, &placed, &token).await;
                        lock(&tasks.0.launches).remove(&task);
                        if let Some(child) = child {
                            tasks.await_child(&task, child).await;
                        }
                    }
                });
            }
            Effect::Abort { task } => {
                if let Some(token) = lock(&self.0.launches).get(&task) {
                    token.cancel();
                }
            }
            Effect::Watch { task, app, started, listen, handle, address, readiness } => {
                let subject = health::Subject { task, app, started, listen, handle, address };
                self.watch(&subject);
                if readiness {
                    self.ask_for_readiness(&subject);
                }
            }
            Effect::EndReadiness { task } => {
                if let Some(asking) = lock(&self.0.readiness).remove(&task) {
                    asking.abort();
                }
            }
            Effect::Kill { task, handle, grace } => {
                let tasks = self.clone();
                self.spawn(async move {
                    if !grace.is_zero() {
                        tokio::time::sleep(FAREWELL).await;
                    }
                    match handle {
                        Handle::Container(id) => tasks.stop_container(&task, &id, grace).await,
                        Handle::Process { pid, started } => tasks.end_process(&task, pid, started, grace).await,
                    }
                });
            }
            Effect::Bury { task, handle, record } => {
                self.unwatch(&task);
                let record = record.map_or_else(|| Record::unknown(task, TaskState::Killed), |record| *record);
                let tasks = self.clone();
                self.spawn(async move { tasks.bury(record, handle).await });
            }
            Effect::RemoveContainer { id } => {
                let tasks = self.clone();
                self.spawn(async move { tasks.remove_container(&id).await });
            }
            // Events are the supervisor's to send.
            Effect::Emit(_) => {}
        }
    }

    fn watch(&self, subject: &health::Subject) {
        let mut watchers = lock(&self.0.watchers);
        if watchers.contains_key(&subject.task) {
            return;
        }
        let mut handles = Vec::new();
        if let Handle::Container(id) = &subject.handle {
            self.has_output(&subject.task, id);
        }
        for check in 0..subject.app.health_checks.len() {
            let (tasks, subject) = (self.clone(), subject.clone());
            handles.push(self.spawn(async move { tasks.check_health(&subject, check).await }));
        }
        if subject.app.check.is_some() {
            let (tasks, subject) = (self.clone(), subject.clone());
            handles.push(self.spawn(async move {
                if let Some(check) = &subject.app.check {
                    tasks.follow_check(&subject, check).await;
                }
            }));
        }
        if let Handle::Process { pid, started } = subject.handle {
            self.follow_writes(&subject.task);
            if !lock(&self.0.children).contains(&subject.task) {
                let (tasks, task) = (self.clone(), subject.task.clone());
                handles.push(self.spawn(async move { tasks.await_process(&task, pid, started).await }));
            }
        }
        watchers.insert(subject.task.clone(), handles);
    }

    fn ask_for_readiness(&self, subject: &health::Subject) {
        // Marathon knows one such check for an app.
        let Some(check) = subject.app.readiness_checks.first().cloned() else { return };
        let mut asking = lock(&self.0.readiness);
        if asking.contains_key(&subject.task) {
            return;
        }
        let (tasks, subject) = (self.clone(), subject.clone());
        let task = subject.task.clone();
        asking.insert(task, self.spawn(async move { tasks.await_readiness(&subject, &check).await }));
    }

    fn unwatch(&self, task: &TaskId) {
        if let Some(writes) = &self.0.writes {
            writes.forget(&self.setting().sandboxes.outputs(task));
        }
        let watchers = lock(&self.0.watchers).remove(task).into_iter().flatten();
        for watcher in watchers.chain(lock(&self.0.readiness).remove(task)) {
            watcher.abort();
        }
    }

    /// The tasks that have a directory, and what is known of those that ended.
    pub async fn known(&self) -> Vec<(TaskId, Option<Record>)> {
        let sandboxes = self.setting().sandboxes.clone();
        tokio::task::spawn_blocking(move || sandboxes.tasks()).await.unwrap_or_default()
    }

    /// Where all tasks' directories are said to be.
    pub fn place(&self) -> String {
        self.setting().sandboxes.place().display().to_string()
    }
    /// Where a task's files are said to be.
    pub fn directory(&self, task: &TaskId) -> String {
        self.setting().sandboxes.directory(task).display().to_string()
    }
    /// How long the directory of an ended task is kept.
    pub fn kept_for(&self) -> Duration {
        self.setting().sandboxes.kept_for()
    }

    /// Opens a task's file. An output has what was written up to now.
    pub async fn open_file(&self, path: &str) -> Found {
        let Some(spot) = self.spot(path).await else { return Found::Nothing };
        let sandboxes = self.setting().sandboxes.clone();
        tokio::task::spawn_blocking(move || sandboxes.open(&spot)).await.unwrap_or(Found::Nothing)
    }

    /// What is in one of a task's directories, by name; none when it is none.
    pub async fn list_files(&self, path: &str) -> Option<Vec<Listed>> {
        let spot = self.spot(path).await?;
        let sandboxes = self.setting().sandboxes.clone();
        tokio::task::spawn_blocking(move || sandboxes.list(&spot)).await.ok().flatten()
    }

    async fn spot(&self, path: &str) -> Option<files::Spot> {
        let spot = self.setting().sandboxes.spot(path)?;
        if spot.has_outputs() {
            self.catch_up(&spot.task).await;
        }
        Some(spot)
    }

    async fn bury(&self, record: Record, handle: Option<Handle>) {
        if let Some(Handle::Container(id)) = handle {
            self.complete_output(&record.task, &id).await;
            self.remove_container(&id).await;
        }
        let (sandboxes, now) = (self.setting().sandboxes.clone(), self.setting().clock.now());
        let task = record.task.clone();
        let noted = tokio::task::spawn_blocking(move || sandboxes.ended(&record, now)).await;
        if let Ok(Err(error)) = noted {
            tracing::warn!(%task, %error, "cannot note that a task has ended");
        }
    }

    fn setting(&self) -> &Setting {
        &self.0.setting
    }
    fn report(&self, report: Report) {
        // Nobody listening means that the engine ends.
        let _ = self.0.reports.send(report);
    }
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let mut workers = lock(&self.0.workers);
        while workers.try_join_next().is_some() {}
        workers.spawn(work)
    }

    /// Stops all work at once; what runs keeps running.
    pub fn abandon(&self) {
        lock(&self.0.workers).abort_all();
    }
}

/// The tables are whole after every step, so a panic elsewhere is no reason to stop.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
