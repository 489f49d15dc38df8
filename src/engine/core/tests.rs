//! The core against a world that is only told of: no Docker, no time but what is said.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::*;
use crate::docker::{ContainerEnd, ContainerState};
use crate::engine::instance::{Goal, KillReason};
use crate::engine::samples::{self, bridge, command, id};
use crate::engine::waiting::Reject;
use crate::marathon::{HealthCheck, HealthProtocol, HttpScheme, ReadinessCheck, ReadinessResult, TaskState};

/// A core, and what a Docker would have of it.
struct World {
    core: Core,
    now: i64,
    running: BTreeMap<TaskId, Handle>,
    launched: Vec<TaskId>,
    killed: Vec<TaskId>,
    removed: Vec<String>,
    told: Vec<String>,
}

impl World {
    fn new() -> Self {
        Self::with(samples::nothing())
    }
    fn with(saved: Saved) -> Self {
        let now = 1_900_000_000_000;
        let core = samples::core(saved, now);
        let (running, launched, killed) = (BTreeMap::new(), Vec::new(), Vec::new());
        Self { core, now, running, launched, killed, removed: Vec::new(), told: Vec::new() }
    }
    /// A world in which Docker answers.
    fn awake() -> Self {
        let mut world = Self::new();
        world.core.census(&[], Moment::from_millis(world.now));
        world
    }
    /// Decides, and notes what is to be done.
    fn settle(&mut self) {
        self.core.settle();
        self.core.take_changes();
        for effect in self.core.take_effects() {
            match effect {
                Effect::Launch { task, .. } => self.launched.push(task),
                Effect::Kill { task, .. } => self.killed.push(task),
                Effect::RemoveContainer { id } => self.removed.push(id),
                Effect::Emit(event) => self.told.push(event.kind.name().to_owned()),
                Effect::Abort { .. } | Effect::Watch { .. } | Effect::EndReadiness { .. } | Effect::Bury { .. } => {}
            }
        }
    }
    fn pass(&mut self, milliseconds: i64) {
        self.now += milliseconds;
        self.core.set_clock(Moment::from_millis(self.now));
        self.settle();
    }
    fn change(&mut self, force: bool, edit: impl FnOnce(&mut Group)) -> Result<Accepted, Refused> {
        self.pass(1);
        let mut tree = self.core.root().clone();
        edit(&mut tree);
        let how = How { force, group: PathId::root(), chosen: BTreeSet::new() };
        let accepted = self.core.change(tree, self.core.fresh_version(), &how);
        self.settle();
        accepted
    }
    fn put(&mut self, app: App) -> Accepted {
        self.change(false, |tree| tree.put_app(Arc::new(App { version_info: None, ..app }))).unwrap()
    }
    /// Launches that were ordered succeed.
    fn launch(&mut self) -> Vec<TaskId> {
        let launched = std::mem::take(&mut self.launched);
        for task in &launched {
            let handle = Handle::Container(format!("c-{task}"));
            self.core.launching(task);
            self.core.started(task, &handle, Some([172, 17, 0, 2].into()), Moment::from_millis(self.now));
            self.running.insert(task.clone(), handle);
        }
        self.settle();
        launched
    }
    /// Kills that were ordered succeed.
    fn kill(&mut self) -> Vec<TaskId> {
        let killed = std::mem::take(&mut self.killed);
        for task in &killed {
            self.end(task, 137);
        }
        killed
    }
    fn end(&mut self, task: &TaskId, status: i64) {
        self.running.remove(task);
        let error = String::new();
        self.core.ended(task, &Exit::Container { status, out_of_memory: false, error });
        self.settle();
    }
    fn probe(&mut self, task: &TaskId, good: bool) {
        let outcome = if good { Ok(()) } else { Err("refused".to_owned()) };
        self.core.probed(task, 0, &outcome);
        self.settle();
    }
    fn is_settled(&self) -> bool {
        self.core.deployments().is_empty()
    }
    fn tasks(&self) -> Vec<TaskId> {
        self.core.all_instances().filter(|instance| instance.live().is_some()).filter_map(Instance::task).collect()
    }
}

fn web() -> App {
    bridge("/shop/web", &[(0, Some(0))])
}
fn checked() -> App {
    let check =
        HealthCheck { port_index: Some(0), grace_period_seconds: 0, ..HealthCheck::new(HealthProtocol::MesosTcp) };
    let check = HealthCheck { delay_seconds: 0, max_consecutive_failures: 2, ..check };
    App { health_checks: vec![check], ..web() }
}

#[test]
fn a_deployment_goes_from_its_start_to_its_success() {
    let mut world = World::awake();
    world.put(checked());
    let task = world.launch().remove(0);
    assert!(!world.is_settled());
    world.probe(&task, true);
    assert!(world.is_settled());
    let order = [
        "group_change_success",
        "deployment_info",
        "add_health_check_event",
        "deployment_step_success",
        "deployment_info",
        "instance_changed_event",
        "instance_changed_event",
        "status_update_event",
        "instance_changed_event",
        "status_update_event",
        "instance_changed_event",
        "status_update_event",
        "health_status_changed_event",
        "instance_health_changed_event",
        "deployment_step_success",
        "deployment_success",
    ];
    assert_eq!(world.told, order);
}

/// `checked`, which also wants to be asked whether it is ready.
fn readied() -> App {
    let check = ReadinessCheck {
        name: "ready".into(),
        protocol: HttpScheme::Http,
        path: "/".into(),
        port_name: "http".into(),
        interval_seconds: 1,
        timeout_seconds: 1,
        http_status_codes_for_ready: vec![200],
        preserve_last_response: false,
    };
    App { readiness_checks: vec![check], ..checked() }
}
fn readiness(task: &TaskId, ready: bool) -> ReadinessResult {
    ReadinessResult { name: "ready".into(), task_id: task.to_string(), ready, last_response: None }
}

#[test]
fn a_deployment_waits_until_its_instance_is_healthy_and_ready() {
    let mut world = World::awake();
    world.put(readied());
    let task = world.launch().remove(0);
    let id = id("/shop/web");
    world.core.readied(&task, &readiness(&task, true));
    world.settle();
    assert!(!world.is_settled(), "ready is not healthy");
    world.core.readied(&task, &readiness(&task, false));
    world.probe(&task, true);
    assert!(!world.is_settled(), "healthy is not ready");
    assert_eq!(world.core.readiness(&id), [readiness(&task, false)]);
    world.core.readied(&task, &readiness(&task, true));
    world.settle();
    assert!(world.is_settled());
    assert!(world.core.readiness(&id).is_empty(), "nobody waits any more");
    world.core.readied(&task, &readiness(&task, false));
    assert!(world.core.readiness(&id).is_empty(), "and nobody listens");
}

#[test]
fn an_old_instance_stays_until_the_new_one_is_ready() {
    let mut world = World::awake();
    world.put(readied());
    let old = world.launch().remove(0);
    world.probe(&old, true);
    world.core.readied(&old, &readiness(&old, true));
    world.settle();
    world.put(App { mem: 64.0, ..readied() });
    let new = world.launch().remove(0);
    world.probe(&new, true);
    assert!(world.killed.is_empty());
    world.core.readied(&new, &readiness(&new, true));
    world.settle();
    assert_eq!(world.kill(), [old]);
    assert!(world.is_settled());
}

#[test]
fn containers_wait_for_docker_and_commands_do_not() {
    let mut world = World::new();
    world.put(web());
    world.put(command("/jobs/sleep"));
    assert_eq!(world.launched.len(), 1);
    assert_eq!(*world.launched[0].instance.app(), id("/jobs/sleep"));
    world.core.census(&[], Moment::from_millis(world.now));
    world.settle();
    assert_eq!(world.launched.len(), 2);
}

#[test]
fn a_task_that_failed_comes_back_later_and_a_killed_one_soon() {
    let mut world = World::awake();
    world.put(App { backoff_seconds: 10, ..web() });
    let first = world.launch().remove(0);
    world.end(&first, 3);
    let failure = world.core.failure(&id("/shop/web")).unwrap();
    assert_eq!((failure.message.as_str(), failure.state), ("Container exited with status 3", TaskState::Failed));
    world.pass(9_999);
    assert!(world.launched.is_empty());
    world.pass(1);
    let second = world.launch().remove(0);
    assert_eq!((second.instance.clone(), second.incarnation), (first.instance, 2));
    world.pass(600_000);
    world.core.kill_task(&second.instance);
    world.settle();
    world.kill();
    world.pass(150);
    assert_eq!(world.launch()[0].incarnation, 3);
}

#[test]
fn a_finished_task_is_no_failure_and_is_run_again() {
    let mut world = World::awake();
    world.put(web());
    let task = world.launch().remove(0);
    world.end(&task, 0);
    assert!(world.core.failure(&id("/shop/web")).is_none());
    world.pass(1_000);
    assert_eq!(world.launch().len(), 1);
}

#[test]
fn a_wiped_instance_is_replaced_by_one_of_another_name() {
    let mut world = World::awake();
    world.put(web());
    let first = world.launch().remove(0);
    world.core.decommission(&first.instance, Goal::Wiped);
    world.settle();
    assert!(world.launched.is_empty());
    world.kill();
    assert!(world.told.contains(&"unknown_instance_terminated_event".to_owned()));
    world.pass(150);
    let next = world.launch().remove(0);
    assert_ne!(next.instance, first.instance);
    assert_eq!(next.incarnation, 1);
}

#[test]
fn an_old_instance_is_ended_when_its_successor_serves_and_not_before() {
    let mut world = World::awake();
    world.put(checked());
    let old = world.launch().remove(0);
    world.probe(&old, true);
    world.put(App { mem: 64.0, ..checked() });
    let new = world.launch().remove(0);
    assert!(world.killed.is_empty());
    world.probe(&new, true);
    assert_eq!(world.kill(), [old]);
    assert!(world.is_settled());
    assert_eq!(world.tasks(), [new]);
}

#[test]
fn an_unhealthy_task_is_killed_without_backoff() {
    let mut world = World::awake();
    world.put(App { backoff_seconds: 100, ..checked() });
    let task = world.launch().remove(0);
    world.probe(&task, true);
    world.probe(&task, false);
    assert!(world.killed.is_empty());
    world.probe(&task, false);
    assert_eq!(world.core.instance(&task.instance).unwrap().kill, Some(KillReason::Unhealthy));
    assert_eq!(world.kill(), [task]);
    world.pass(150);
    assert_eq!(world.launch().len(), 1);
}

#[test]
fn an_app_in_a_deployment_is_locked_unless_forced() {
    let mut world = World::awake();
    let first = world.put(checked());
    let change = |tree: &mut Group| tree.put_app(Arc::new(App { mem: 64.0, version_info: None, ..checked() }));
    assert_eq!(world.change(false, change), Err(Refused::Locked(vec![first.deployment])));
    assert!(world.change(true, change).is_ok());
    assert_eq!(world.core.deployments().len(), 1);
    world.put(command("/other"));
}

#[test]
fn undoing_a_deployment_brings_back_what_was_and_removes_what_was_not() {
    let mut world = World::awake();
    world.put(web());
    world.launch();
    let change = world
        .change(false, |tree| {
            tree.put_app(Arc::new(App { mem: 64.0, version_info: None, ..web() }));
            tree.put_app(Arc::new(App { version_info: None, ..command("/new/deep/app") }));
        })
        .unwrap();
    let (tree, before) = world.core.reversal(change.deployment).unwrap();
    assert!(before < change.version);
    world.change(true, |root| *root = tree).unwrap();
    for _ in 0..4 {
        world.launch();
        world.kill();
    }
    assert!(world.is_settled());
    assert!(world.core.root().group(&id("/new")).is_none());
    assert!((world.core.app(&id("/shop/web")).unwrap().mem - 32.0).abs() < f64::EPSILON);
    assert_eq!(world.tasks().len(), 1);
}

#[test]
fn an_end_that_is_heard_of_before_the_start_counts() {
    let mut world = World::awake();
    world.put(web());
    let task = std::mem::take(&mut world.launched).remove(0);
    world.end(&task, 1);
    let handle = Handle::Container("c".into());
    world.core.started(&task, &handle, None, Moment::from_millis(world.now));
    world.settle();
    assert!(world.core.failure(&id("/shop/web")).is_some());
    assert!(world.tasks().is_empty());
}

#[test]
fn a_port_that_others_have_is_passed_over_by_the_same_task() {
    let mut world = World::awake();
    world.put(web());
    let ports = |world: &World| world.core.all_instances().next().unwrap().host_ports().to_vec();
    let (task, taken) = (std::mem::take(&mut world.launched).remove(0), ports(&world));
    world.core.not_launched(&task, &NotLaunched::PortsTaken(taken.clone()));
    world.settle();
    assert_eq!(world.launched, [task]);
    assert_ne!(ports(&world), taken);
}

/// Whoever follows Docker may not have noticed anything, and then says nothing of its return.
#[test]
fn a_launch_that_did_not_reach_docker_is_tried_again_unasked() {
    let mut world = World::awake();
    world.put(web());
    let task = std::mem::take(&mut world.launched).remove(0);
    world.core.not_launched(&task, &NotLaunched::NoDocker);
    world.settle();
    assert!(world.launched.is_empty(), "not at once, which would keep the machine busy");
    world.pass(150);
    assert_eq!(world.launch(), [task]);
}

#[test]
fn what_cannot_be_placed_waits_and_says_why() {
    let mut world = World::awake();
    world.put(App { cpus: 1000.0, ..web() });
    assert_eq!(world.core.waiting(&id("/shop/web")).unwrap().last, Some(Reject::Cpus));
    world.put(App { instances: 2, constraints: vec![vec!["hostname".into(), "UNIQUE".into()]], ..command("/u") });
    assert_eq!(world.launch().len(), 1);
    assert_eq!(world.core.waiting(&id("/u")).unwrap().last, Some(Reject::Constraint));
}

#[test]
fn what_waits_for_room_is_launched_when_another_task_ends() {
    let mut world = World::awake();
    world.put(App { cpus: 3.0, ..command("/first") });
    world.put(App { cpus: 2.0, ..command("/second") });
    let first = world.launch().remove(0);
    assert_eq!(first.instance.app(), &id("/first"));
    assert_eq!(world.core.waiting(&id("/second")).unwrap().last, Some(Reject::Cpus));
    let how = How { force: true, group: PathId::root(), chosen: BTreeSet::new() };
    let tree = Group::empty(PathId::root());
    let mut without = tree.clone();
    without.put_app(world.core.app(&id("/second")).unwrap().clone());
    world.core.change(without, world.core.fresh_version(), &how).unwrap();
    world.settle();
    assert!(world.launched.is_empty(), "what is being killed still holds its share");
    world.kill();
    assert_eq!(world.launch()[0].instance.app(), &id("/second"));
    assert!((world.core.books().given.cpus - 2.0).abs() < 1e-9);
    assert!(world.core.waiting(&id("/second")).is_none());
}

fn seen(task: &TaskId, state: ContainerState) -> SeenTask {
    SeenTask { container: format!("c-{task}"), task: Some(task.clone()), state }
}

/// The same engine, started again.
fn restarted(world: &World) -> World {
    World::with(saved(world))
}

/// What the engine's journal would have.
fn saved(world: &World) -> Saved {
    let core = &world.core;
    Saved {
        root: core.root().clone(),
        root_version: core.root_version(),
        definitions: core.definitions.values().flat_map(|known| known.values()).cloned().collect(),
        instances: core.all_instances().cloned().collect(),
        deployments: core.deployments().iter().map(|deployment| Deployment::clone(deployment)).collect(),
        failures: core.failures.values().map(|failure| LastTaskFailure::clone(failure)).collect(),
    }
}

#[test]
fn a_clock_that_was_set_back_between_two_engines_prolongs_no_grace() {
    const HOUR: i64 = 3_600_000;
    let mut world = World::awake();
    world.put(checked());
    let task = world.launch().remove(0);
    world.probe(&task, true);
    let mut again = restarted(&world);
    again.now -= HOUR;
    again.core = samples::core(saved(&world), again.now);
    again.core.census(&[seen(&task, ContainerState::Running { address: None })], again.core.now());
    again.settle();
    again.probe(&task, false);
    again.probe(&task, false);
    assert_eq!(again.killed, [task]);
    let live = world.core.all_instances().next().unwrap().live().unwrap().started_at;
    let now = again.core.all_instances().next().unwrap().live().unwrap().started_at;
    assert!(now < live && now <= again.core.now());
}

#[test]
fn a_new_engine_keeps_what_runs_and_sorts_out_the_rest() {
    let mut world = World::awake();
    world.put(App { instances: 4, ..web() });
    let tasks = world.launch();
    let mut again = restarted(&world);
    let stranger: TaskId = "x.instance-0ec8a2b0-e722-11f1-aa61-0242189058f9._app.1".parse().unwrap();
    let runs = ContainerState::Running { address: None };
    let ended = ContainerState::Ended(ContainerEnd { status: 1, ..ContainerEnd::default() });
    let found = [
        seen(&tasks[0], runs.clone()),
        seen(&tasks[1], ended),
        seen(&stranger, runs),
        SeenTask { container: "c-nobody".into(), task: None, state: ContainerState::Created },
    ];
    again.core.census(&found, Moment::from_millis(again.now + 10));
    again.settle();
    assert_eq!(again.tasks(), [tasks[0].clone()]);
    assert_eq!(again.removed, [format!("c-{stranger}"), "c-nobody".to_owned()]);
    again.pass(10_000);
    let mut back: Vec<_> = again.launch().into_iter().map(|task| (task.instance, task.incarnation)).collect();
    back.sort();
    let mut wanted: Vec<_> = tasks[1..].iter().map(|task| (task.instance.clone(), 2)).collect();
    wanted.sort();
    assert_eq!(back, wanted);
}

#[test]
fn a_launch_that_the_old_engine_did_not_finish_is_taken_up_or_done_again() {
    let mut world = World::awake();
    world.put(App { instances: 3, ..web() });
    let tasks = std::mem::take(&mut world.launched);
    world.core.launching(&tasks[0]);
    let mut again = restarted(&world);
    let found = [seen(&tasks[0], ContainerState::Running { address: None }), seen(&tasks[1], ContainerState::Created)];
    again.core.census(&found, Moment::from_millis(again.now + 10));
    again.settle();
    assert_eq!(again.tasks(), [tasks[0].clone()]);
    assert_eq!(again.removed, [format!("c-{}", tasks[1])]);
    let mut launched = again.launched.clone();
    launched.sort();
    let mut wanted = tasks[1..].to_vec();
    wanted.sort();
    assert_eq!(launched, wanted);
}

#[test]
fn a_container_that_came_and_ended_while_no_engine_ran_is_buried_with_what_it_wrote() {
    let mut world = World::awake();
    world.put(web());
    let task = std::mem::take(&mut world.launched).remove(0);
    let mut again = restarted(&world);
    let ended = ContainerState::Ended(ContainerEnd { status: 7, ..ContainerEnd::default() });
    again.core.census(&[seen(&task, ended)], Moment::from_millis(again.now + 10));
    again.core.settle();
    let effects = again.core.take_effects();
    let container = Some(Handle::Container(format!("c-{task}")));
    let buried = |effect: &&Effect| matches!(effect, Effect::Bury { handle, .. } if *handle == container);
    assert_eq!(effects.iter().filter(buried).count(), 1, "{effects:?}");
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::RemoveContainer { .. })), "{effects:?}");
    let failure = again.core.failure(task.instance.app()).unwrap();
    assert!(failure.message.contains("status 7"), "{}", failure.message);
}

/// Small, even and the same each time.
struct Dice(u64);
impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// One thing that clients or fate may do.
fn disturb(world: &mut World, dice: &mut Dice) {
    let names = ["/a", "/b/c", "/b/d", "/e"];
    let name = names[usize::try_from(dice.roll(4)).unwrap()];
    let running: Vec<TaskId> = world.tasks();
    let any = |dice: &mut Dice| running.get(usize::try_from(dice.roll(running.len().max(1) as u64)).unwrap()).cloned();
    match dice.roll(9) {
        0..=2 => {
            let instances = u32::try_from(dice.roll(4)).unwrap();
            let mem = [32.0, 64.0][usize::try_from(dice.roll(2)).unwrap()];
            let app = App { instances, mem, version_info: None, ..bridge(name, &[(0, Some(0))]) };
            let _ = world.change(dice.roll(2) == 0, |tree| tree.put_app(Arc::new(app)));
        }
        3 => {
            let _ = world.change(dice.roll(2) == 0, |tree| tree.remove_app(&id(name)));
        }
        4 => {
            if let Some(task) = any(dice) {
                world.end(&task, 1);
            }
        }
        5 => {
            if let Some(task) = any(dice) {
                world.core.decommission(&task.instance, Goal::Wiped);
                world.settle();
            }
        }
        6 => {
            if let Some(deployment) = world.core.deployments().first().map(|running| running.id) {
                world.core.cancel(deployment);
                world.settle();
            }
        }
        7 => {
            let restored = restarted(world);
            let running = std::mem::take(&mut world.running);
            *world = restored;
            let runs = ContainerState::Running { address: None };
            let found: Vec<_> = running.keys().map(|task| seen(task, runs.clone())).collect();
            world.core.census(&found, Moment::from_millis(world.now + 1));
            world.running = running;
            world.settle();
            let gone: Vec<_> = std::mem::take(&mut world.removed);
            world.running.retain(|task, _| !gone.contains(&format!("c-{task}")));
        }
        _ => world.pass(i64::try_from(dice.roll(3000)).unwrap()),
    }
}

#[test]
fn whatever_happens_what_is_asked_for_runs_in_the_end() {
    for seed in 0..60 {
        let mut dice = Dice(seed);
        let mut world = World::awake();
        for _ in 0..80 {
            disturb(&mut world, &mut dice);
            if dice.roll(3) > 0 {
                world.launch();
            }
            if dice.roll(3) > 0 {
                world.kill();
            }
        }
        for _ in 0..40 {
            world.launch();
            world.kill();
            world.pass(60_000);
        }
        assert!(world.is_settled(), "seed {seed}: {:#?}", world.core.deployments());
        for app in world.core.root().all_apps() {
            let running = world.core.instances(&app.id).filter(|instance| instance.live().is_some()).count();
            assert_eq!(running, app.instances as usize, "seed {seed}: {}", app.id);
        }
        let asked: u32 = world.core.root().all_apps().iter().map(|app| app.instances).sum();
        assert_eq!(world.running.len(), asked as usize, "seed {seed}");
        assert_eq!(world.core.all_instances().count(), asked as usize, "seed {seed}");
    }
}
