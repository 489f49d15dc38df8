//! Instances' lives: launched, watched, ended, launched again.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::super::Moment;
use super::super::constraints;
use super::super::event::{self, Status};
use super::super::health::{self, CheckHealth, Outcome, Verdict};
use super::super::instance::{
    End, Goal, Handle, Instance, InstanceId, KillReason, Live, Phase, Placed, TaskId, kill_grace,
};
use super::super::record::Record;
use super::super::waiting::Reject;
use super::{Core, Effect, is_container, is_waiting};
use crate::docker::ContainerState;
use crate::marathon::{App, CheckResult, LastTaskFailure, PathId, ReadinessResult, TaskState};

/// Between a task's end and its next launch, also when no backoff applies: nothing that fails at once may keep the
/// machine busy, and a client that looks every 50 ms sees the gap.
pub(super) const PAUSE: Duration = Duration::from_millis(150);

/// How long to wait before another try when there was no port left.
const PORTS_PAUSE: Duration = Duration::from_secs(1);

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// A container, by its status.
    Container { status: i64, out_of_memory: bool, error: String },
    /// A process, by its status.
    Status(i32),
    /// A process, by a signal.
    Signal(i32),
    /// Nobody saw it.
    Unknown(&'static str),
}

/// Why a launch came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotLaunched {
    /// Others have these host ports.
    PortsTaken(Vec<u16>),
    /// Docker does not answer; it says so when it does again.
    NoDocker,
    /// It was given up, as asked.
    Aborted,
    /// In the words of whoever refused.
    Failed(String),
}

/// A container of this engine, as Docker lists it.
#[derive(Debug, Clone)]
pub struct SeenTask {
    pub container: String,
    pub task: Option<TaskId>,
    pub state: ContainerState,
}

impl Core {
    /// Launches the app's instances that are due.
    pub(super) fn launch_due(&mut self, app: &PathId) {
        let waiting = self.instances(app).filter(|instance| is_waiting(instance)).map(|instance| instance.id.clone());
        let waiting = waiting.collect::<Vec<_>>();
        if waiting.is_empty() && self.waiting(app).is_some() {
            Arc::make_mut(&mut self.state.waiting).remove(app);
        }
        for id in waiting {
            self.launch_if_due(&id);
        }
    }

    fn launch_if_due(&mut self, id: &InstanceId) {
        let Some(instance) = self.instance(id) else { return };
        let Some(app) = self.definition(instance).cloned() else { return };
        let due = self.backoff.not_before(&app, self.now).max(instance.not_before);
        if let Some(due) = due
            && due > self.now
        {
            self.timers.insert((due, app.id.clone()));
            return;
        }
        if is_container(&app) && !self.docker_up {
            return;
        }
        let placed = self.place_task(&app);
        self.note_look(&app, placed.as_ref().err().copied());
        match placed {
            Ok(placed) => self.provision(id, app, placed),
            Err(Reject::Ports) => {
                // Whoever has them may be no task of ours, and then nothing tells when they are free.
                self.timers.insert((self.now.plus(PORTS_PAUSE), app.id.clone()));
            }
            Err(_) => {}
        }
    }

    /// Notes that what is left of this machine was looked at for the app.
    fn note_look(&mut self, app: &App, reject: Option<Reject>) {
        let (now, left) = (self.now, self.books.left);
        let waiting = Arc::make_mut(&mut self.state.waiting).entry(app.id.clone()).or_default();
        match reject {
            None => waiting.note_used(now),
            Some(reject) => waiting.note_unused(reject, left, now),
        }
    }

    fn place_task(&mut self, app: &App) -> Result<Placed, Reject> {
        let beside = self.instances(&app.id).filter(|instance| instance.is_alive()).count();
        if !constraints::allow(app, beside, &self.place.host) {
            return Err(Reject::Constraint);
        }
        self.ledger.room_for(app)?;
        let ports = self.ports.take(app, self.ledger.ports(), self.state.now).map_err(|_| Reject::Ports)?;
        Ok(Placed { staged_at: self.now, ports })
    }

    fn provision(&mut self, id: &InstanceId, app: Arc<App>, placed: Placed) {
        let Some(instance) = self.state.instance_mut(id) else { return };
        instance.incarnation += 1;
        instance.not_before = None;
        instance.phase = Phase::Provisioned(placed.clone());
        let task = TaskId { instance: id.clone(), incarnation: instance.incarnation };
        self.take(id, &app, &placed.ports.host);
        self.tell_changed(id);
        self.changed(id);
        self.launching.insert(task.clone());
        self.effects.push(Effect::Launch { task, app, placed });
    }

    /// A launch has begun.
    pub fn launching(&mut self, task: &TaskId) {
        let Some(instance) = self.current(task) else { return };
        let Phase::Provisioned(placed) = &instance.phase else { return };
        instance.phase = Phase::Starting(placed.clone());
        // Not written: what was provisioned is looked for after a restart just the same.
        self.tell_status(&task.instance, TaskState::Starting, "");
        self.tell_changed(&task.instance);
    }

    /// A task runs.
    pub fn started(&mut self, task: &TaskId, handle: &Handle, address: Option<IpAddr>, at: Moment) {
        self.launching.remove(task);
        let address = address.unwrap_or(self.place.address);
        let Some(app) = self.instance(&task.instance).and_then(|instance| self.definition(instance)).cloned() else {
            return self.bury_unknown(task, handle);
        };
        let Some(instance) = self.current(task) else { return self.bury_unknown(task, handle) };
        let (Phase::Provisioned(placed) | Phase::Starting(placed)) = &instance.phase else { return };
        let live = Live {
            placed: placed.clone(),
            started_at: at,
            handle: handle.clone(),
            address,
            health: vec![CheckHealth::default(); app.health_checks.len()],
            readiness: None,
            check: None,
        };
        instance.phase = Phase::Running(live);
        let now = self.now;
        self.backoff_mut().running(&app, now);
        self.tell_status(&task.instance, TaskState::Running, "");
        self.tell_changed(&task.instance);
        self.changed(&task.instance);
        self.watch(&task.instance);
        self.kill_if_doomed(&task.instance);
        if let Some(exit) = self.early_ends.remove(task) {
            self.ended(task, &exit);
        }
    }

    /// A launch came to nothing.
    pub fn not_launched(&mut self, task: &TaskId, why: &NotLaunched) {
        self.launching.remove(task);
        self.early_ends.remove(task);
        let now = self.now;
        let Some(instance) = self.current(task) else { return };
        let (Phase::Provisioned(placed) | Phase::Starting(placed)) = &instance.phase else { return };
        let taken = placed.ports.host.clone();
        match why {
            _ if instance.kill.is_some() || !instance.is_wanted() => {
                self.end(task, TaskState::Killed, "the launch was given up");
            }
            NotLaunched::Failed(message) => self.end(task, TaskState::Failed, message),
            NotLaunched::PortsTaken(_) | NotLaunched::NoDocker | NotLaunched::Aborted => {
                // The same task is tried again: nothing of it has been.
                instance.phase = Phase::Scheduled;
                instance.incarnation -= 1;
                instance.waiting_since = now;
                match why {
                    NotLaunched::PortsTaken(_) => self.ports.avoid(&taken, now),
                    // One call may fail while Docker is there: whether it is, is for whoever follows it to say, and if
                    // they say nothing this is tried again.
                    NotLaunched::NoDocker => instance.not_before = Some(now.plus(PAUSE)),
                    NotLaunched::Aborted | NotLaunched::Failed(_) => {}
                }
                self.free(&task.instance);
                self.changed(&task.instance);
            }
        }
    }

    /// A task ended.
    pub fn ended(&mut self, task: &TaskId, exit: &Exit) {
        if self.launching.contains(task) {
            self.early_ends.insert(task.clone(), exit.clone());
            return;
        }
        let Some(instance) = self.current(task) else { return };
        if !instance.is_alive() {
            return;
        }
        let killed = instance.kill.is_some();
        let (state, message) = verdict(exit, killed);
        self.end(task, state, &message);
    }

    fn end(&mut self, task: &TaskId, state: TaskState, message: &str) {
        let now = self.now;
        let id = &task.instance;
        let Some(app) = self.instance(id).and_then(|instance| self.definition(instance)).cloned() else { return };
        let place_address = self.place.address;
        let Some(instance) = self.current(task) else { return };
        let (handle, address, health) = match &instance.phase {
            // What no longer runs serves nobody, whatever its checks said last.
            Phase::Running(live) => {
                let failing = live.health.iter().filter(|check| check.is_known() && !check.is_alive()).cloned();
                (Some(live.handle.clone()), Some(live.address), failing.collect())
            }
            _ => (None, Some(place_address), Vec::new()),
        };
        let ports = instance.host_ports().to_vec();
        let reason = instance.kill.take();
        let end = End { state, message: message.to_owned(), at: now, address, health };
        let record = Record::of(instance, &app).map(|record| Box::new(record.ended(&end)));
        instance.phase = Phase::Ended(end);
        instance.waiting_since = now;
        instance.not_before = Some(now.plus(PAUSE));
        let (goal, version) = (instance.goal, instance.version.clone());
        self.free(id);
        let status = Status { task, state, message, address, ports: &ports, version: &version };
        let update = event::status_update(&self.place, &status);
        self.emit(update);
        self.tell_changed(id);
        self.note_failure(task, &app, state, message, reason);
        if matches!(state, TaskState::Failed | TaskState::Finished | TaskState::Error) {
            self.backoff_mut().ended(&app, now);
        }
        self.effects.push(Effect::Bury { task: task.clone(), handle, record });
        self.changed(id);
        if goal != Goal::Running {
            self.remove_instance(id);
        }
    }

    fn note_failure(&mut self, task: &TaskId, app: &App, state: TaskState, message: &str, kill: Option<KillReason>) {
        let unhealthy = kill == Some(KillReason::Unhealthy)
            && app.health_checks.iter().any(|check| health::is_marathons(check.protocol));
        if !state.is_failure() && !unhealthy {
            return;
        }
        let message = if unhealthy {
            "Task was killed since health check failed. Reason: it did not answer as it should".to_owned()
        } else {
            message.to_owned()
        };
        let failure = LastTaskFailure {
            app_id: app.id.clone(),
            host: self.place.host.clone(),
            message,
            state,
            task_id: task.to_string(),
            timestamp: self.now.to_string(),
            version: app.version.clone(),
            slave_id: Some(self.place.agent.clone()),
        };
        self.changes.failures.insert(app.id.clone());
        Arc::make_mut(&mut self.state.failures).insert(app.id.clone(), Arc::new(failure));
    }

    /// A health check's result.
    pub fn probed(&mut self, task: &TaskId, check_index: usize, outcome: &Outcome) {
        let now = self.now;
        let Some(app) = self.instance(&task.instance).and_then(|instance| self.definition(instance)).cloned() else {
            return;
        };
        let Some(check) = app.health_checks.get(check_index) else { return };
        let Some(instance) = self.current(task) else { return };
        let Phase::Running(live) = &mut instance.phase else { return };
        let started = live.started_at;
        let Some(known) = live.health.get_mut(check_index) else { return };
        let was_alive = known.is_alive();
        let verdict = known.note(check, outcome, started, now);
        let alive = known.is_alive();
        let counted = known.consecutive_failures > 0;
        let told = verdict != Verdict::Unchanged;
        let healthy = live.health.iter().all(CheckHealth::is_alive);
        if counted && !is_agents_own(check) {
            self.tell_about(&task.instance, |instance| event::health_check_failed(instance, check));
        }
        if told {
            if !health::is_marathons(check.protocol) {
                self.tell_status(&task.instance, TaskState::Running, "");
            }
            if was_alive != alive {
                self.tell_about(&task.instance, |instance| event::health_status_changed(instance, alive));
            }
            self.tell_about(&task.instance, |instance| event::instance_health_changed(instance, Some(healthy)));
            self.changed(&task.instance);
        }
        if verdict == Verdict::Kill {
            let reason = outcome.as_ref().err().cloned().unwrap_or_default();
            self.kill_unhealthy(&task.instance, check, &reason);
        }
    }

    /// A readiness check's result; of no matter once no deployment waits for it.
    pub fn readied(&mut self, task: &TaskId, result: &ReadinessResult) {
        if !self.is_deploying(task.instance.app()) {
            return;
        }
        let Some(instance) = self.current(task) else { return };
        let Phase::Running(live) = &mut instance.phase else { return };
        if live.readiness.as_ref() != Some(result) {
            live.readiness = Some(result.clone());
            self.changed(&task.instance);
        }
    }

    /// A deployment no longer waits for instances of the app to be ready.
    pub(super) fn end_readiness(&mut self, app: &PathId) {
        let asked = self.instances(app).filter(|instance| instance.live().is_some_and(|live| live.readiness.is_some()));
        let asked = asked.map(|instance| instance.id.clone()).collect::<Vec<_>>();
        for id in asked {
            let Some(instance) = self.state.instance_mut(&id) else { continue };
            if let Phase::Running(live) = &mut instance.phase {
                live.readiness = None;
            }
            let task = instance.task();
            self.effects.extend(task.map(|task| Effect::EndReadiness { task }));
            self.changed(&id);
        }
    }

    /// A general check's result.
    pub fn checked(&mut self, task: &TaskId, result: CheckResult) {
        let Some(instance) = self.current(task) else { return };
        let Phase::Running(live) = &mut instance.phase else { return };
        if live.check == Some(result) {
            return;
        }
        live.check = Some(result);
        self.tell_status(&task.instance, TaskState::Running, "");
        self.changed(&task.instance);
    }

    fn kill_unhealthy(&mut self, id: &InstanceId, check: &crate::marathon::HealthCheck, reason: &str) {
        if health::is_marathons(check.protocol)
            && let Some(instance) = self.instance(id)
            && instance.kill.is_none()
        {
            let event = event::unhealthy_kill(&self.place, instance, reason);
            self.emit(event);
        }
        self.kill(id, KillReason::Unhealthy);
    }

    /// Ends the present task of an instance, which comes back as its next.
    pub fn kill_task(&mut self, id: &InstanceId) {
        self.kill(id, KillReason::Wanted);
    }

    /// Ends an instance for good.
    pub fn decommission(&mut self, id: &InstanceId, goal: Goal) {
        let Some(instance) = self.state.instance_mut(id) else { return };
        if instance.goal == goal {
            return;
        }
        instance.goal = goal;
        let alive = instance.is_alive();
        self.tell_changed(id);
        self.changed(id);
        if alive {
            self.kill(id, KillReason::Wanted);
        } else {
            self.remove_instance(id);
        }
    }

    fn kill(&mut self, id: &InstanceId, reason: KillReason) {
        let Some(instance) = self.state.instance_mut(id) else { return };
        if !instance.is_alive() || instance.kill.is_some() {
            return;
        }
        instance.kill = Some(reason);
        self.changed(id);
        self.kill_if_doomed(id);
    }

    /// Gives the order for a kill that was decided on.
    fn kill_if_doomed(&mut self, id: &InstanceId) {
        let Some(instance) = self.instance(id) else { return };
        let (Some(task), Some(_)) = (instance.task(), instance.kill) else { return };
        let Some(app) = self.definition(instance) else { return };
        let effect = match &instance.phase {
            Phase::Running(live) => Effect::Kill { task, handle: live.handle.clone(), grace: kill_grace(app) },
            Phase::Provisioned(_) | Phase::Starting(_) => Effect::Abort { task },
            Phase::Scheduled | Phase::Ended(_) => return,
        };
        self.effects.push(effect);
    }

    fn remove_instance(&mut self, id: &InstanceId) {
        let Some(instance) = self.state.take_instance(id) else { return };
        if instance.goal == Goal::Wiped {
            self.emit(event::instance_terminated(&instance));
        }
        self.changed(id);
        self.state.forget_definitions(id.app());
    }

    /// What Docker lists of this engine, after a connection was made. `asked` is when; what came later is not in it.
    pub fn census(&mut self, seen: &[SeenTask], asked: Moment) {
        self.docker_up = true;
        for container in seen {
            self.take_in(container);
        }
        let listed: BTreeSet<&TaskId> = seen.iter().filter_map(|container| container.task.as_ref()).collect();
        let missing = self.containers().filter(|task| !listed.contains(task)).collect::<Vec<_>>();
        for task in missing {
            self.miss(&task, asked);
        }
        self.touch_all();
    }

    /// Docker does not answer any more.
    pub fn docker_is_down(&mut self) {
        self.docker_up = false;
    }

    fn take_in(&mut self, seen: &SeenTask) {
        let known = seen.task.clone().filter(|task| self.current(task).is_some_and(|instance| instance.is_alive()));
        let Some(task) = known else {
            let of_launch = seen.task.as_ref().is_some_and(|task| self.launching.contains(task));
            if !of_launch {
                self.effects.push(Effect::RemoveContainer { id: seen.container.clone() });
            }
            return;
        };
        if self.launching.contains(&task) {
            return;
        }
        let handle = Handle::Container(seen.container.clone());
        let runs = self.instance(&task.instance).is_some_and(|instance| instance.live().is_some());
        match &seen.state {
            ContainerState::Running { .. } if runs => {
                self.watch(&task.instance);
                self.kill_if_doomed(&task.instance);
            }
            ContainerState::Running { address } => self.started(&task, &handle, *address, self.now),
            ContainerState::Created => {
                self.effects.push(Effect::RemoveContainer { id: seen.container.clone() });
                self.not_launched(&task, &NotLaunched::Aborted);
            }
            ContainerState::Ended(end) => {
                // It ran while nobody looked, and what it wrote is kept like any other's.
                if !runs {
                    self.started(&task, &handle, None, self.now);
                }
                let error = end.error.clone();
                self.ended(&task, &Exit::Container { status: end.status, out_of_memory: end.out_of_memory, error });
            }
        }
    }

    /// The tasks that should be containers now.
    fn containers(&self) -> impl Iterator<Item = TaskId> + '_ {
        self.all_instances()
            .filter(|instance| instance.is_alive())
            .filter(|instance| self.definition(instance).is_some_and(|app| is_container(app)))
            .filter_map(Instance::task)
    }

    fn miss(&mut self, task: &TaskId, asked: Moment) {
        if self.launching.contains(task) {
            return;
        }
        match self.instance(&task.instance).map(|instance| &instance.phase) {
            Some(Phase::Running(live)) if live.started_at < asked => {
                self.ended(task, &Exit::Unknown("the container was removed"));
            }
            Some(Phase::Provisioned(_) | Phase::Starting(_)) => self.not_launched(task, &NotLaunched::Aborted),
            _ => {}
        }
    }

    /// A process that ran before this engine did is still there: it is followed again. `None` for one that is gone.
    pub fn adopt_process(&mut self, task: &TaskId, found: Option<Handle>) {
        let Some(instance) = self.instance(&task.instance) else { return };
        match (&instance.phase, found) {
            (Phase::Running(_), Some(_)) => {
                self.watch(&task.instance);
                self.kill_if_doomed(&task.instance);
            }
            (Phase::Running(_), None) => self.ended(task, &Exit::Unknown("it ended while the engine was not running")),
            (_, Some(handle)) => self.started(task, &handle, None, self.now),
            (_, None) => self.not_launched(task, &NotLaunched::Aborted),
        }
    }

    /// The processes that should be running, whether they are or not.
    pub fn processes(&self) -> Vec<(TaskId, Option<Handle>)> {
        self.all_instances()
            .filter(|instance| instance.is_alive())
            .filter(|instance| self.definition(instance).is_none_or(|app| !is_container(app)))
            .filter_map(|instance| Some((instance.task()?, instance.live().map(|live| live.handle.clone()))))
            .collect()
    }

    /// Notes that this engine ends its command tasks because it ends itself: they are still asked for, and are
    /// launched at its next start.
    pub fn suspend_processes(&mut self) -> Vec<(TaskId, Handle, Duration)> {
        let mut ending = Vec::new();
        for (task, handle) in self.processes() {
            let Some(app) = self.instance(&task.instance).and_then(|instance| self.definition(instance)).cloned()
            else {
                continue;
            };
            let now = self.now;
            if let Some(instance) = self.current(&task) {
                let message = "ended with the engine".to_owned();
                let (at, address, health) = (now, None, Vec::new());
                instance.phase = Phase::Ended(End { state: TaskState::Killed, message, at, address, health });
                instance.kill = None;
                self.free(&task.instance);
                self.changes.instances.insert(task.instance.clone());
            }
            ending.extend(handle.map(|handle| (task, handle, kill_grace(&app))));
        }
        ending
    }

    fn watch(&mut self, id: &InstanceId) {
        let Some(instance) = self.instance(id) else { return };
        let (Some(task), Some(live), Some(app)) = (instance.task(), instance.live(), self.definition(instance)) else {
            return;
        };
        let effect = Effect::Watch {
            task,
            app: app.clone(),
            started: live.started_at,
            listen: live.placed.ports.listen.clone(),
            handle: live.handle.clone(),
            address: live.address,
            readiness: !instance.is_ready(app) && self.is_deploying(id.app()),
        };
        self.effects.push(effect);
    }

    /// Something runs that no instance stands for.
    fn bury_unknown(&mut self, task: &TaskId, handle: &Handle) {
        self.effects.push(Effect::Kill { task: task.clone(), handle: handle.clone(), grace: Duration::ZERO });
        self.effects.push(Effect::Bury { task: task.clone(), handle: Some(handle.clone()), record: None });
    }

    /// The instance whose present task it is.
    fn current(&mut self, task: &TaskId) -> Option<&mut Instance> {
        self.state.instance_mut(&task.instance).filter(|instance| instance.incarnation == task.incarnation)
    }

    fn tell_changed(&mut self, id: &InstanceId) {
        let Some(instance) = self.instance(id) else { return };
        let event = event::instance_changed(&self.place, instance);
        self.emit(event);
    }
    fn tell_about(&mut self, id: &InstanceId, what: impl FnOnce(&Instance) -> crate::marathon::EventKind) {
        if let Some(event) = self.instance(id).map(what) {
            self.emit(event);
        }
    }
    fn tell_status(&mut self, id: &InstanceId, state: TaskState, message: &str) {
        let Some(instance) = self.instance(id) else { return };
        let Some(task) = instance.task() else { return };
        let status = Status {
            task: &task,
            state,
            message,
            address: instance.live().map(|live| live.address),
            ports: instance.host_ports(),
            version: &instance.version,
        };
        let event = event::status_update(&self.place, &status);
        self.emit(event);
    }
}

/// The agent does the check and keeps its failures to itself, but for what they lead to.
fn is_agents_own(check: &crate::marathon::HealthCheck) -> bool {
    use crate::marathon::HealthProtocol::{MesosHttp, MesosHttps, MesosTcp};
    matches!(check.protocol, MesosTcp | MesosHttp | MesosHttps)
}

fn verdict(exit: &Exit, killed: bool) -> (TaskState, String) {
    let (state, message) = match exit {
        Exit::Container { out_of_memory: true, .. } => (TaskState::Failed, "Memory limit exceeded".to_owned()),
        Exit::Container { error, .. } if !error.is_empty() => (TaskState::Failed, error.clone()),
        Exit::Container { status: 0, .. } => (TaskState::Finished, "Container exited with status 0".to_owned()),
        Exit::Container { status, .. } => (TaskState::Failed, format!("Container exited with status {status}")),
        Exit::Status(0) => (TaskState::Finished, "Command exited with status 0".to_owned()),
        Exit::Status(status) => (TaskState::Failed, format!("Command exited with status {status}")),
        Exit::Signal(signal) => (TaskState::Failed, format!("Command terminated with signal {}", signal_name(*signal))),
        Exit::Unknown(how) => (TaskState::Failed, (*how).to_owned()),
    };
    (if killed { TaskState::Killed } else { state }, message)
}

/// The words of `strsignal`, for those that end programs.
fn signal_name(signal: i32) -> String {
    match signal {
        1 => "Hangup".to_owned(),
        2 => "Interrupt".to_owned(),
        6 => "Aborted".to_owned(),
        9 => "Killed".to_owned(),
        11 => "Segmentation fault".to_owned(),
        15 => "Terminated".to_owned(),
        other => other.to_string(),
    }
}
