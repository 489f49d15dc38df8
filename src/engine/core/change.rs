//! Changes of the tree, and the deployments that carry them out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uuid::Uuid;

use super::super::Moment;
use super::super::deployment::{self, Change, Deployment, Orders};
use super::super::event;
use super::super::group::{self, Group, InvalidTree};
use super::super::instance::{Goal, Instance, InstanceId};
use super::super::plan;
use super::Core;
use crate::marathon::{Action, ActionKind, App, DeploymentId, DeploymentResult, PathId, Step};

/// How a change is to be made.
#[derive(Debug, Clone)]
pub struct How {
    /// Also when an app is in a deployment, which is then cancelled.
    pub force: bool,
    /// The group that events name: the parent of an app, or of the group that was changed.
    pub group: PathId,
    /// Instances to end first, when there are to be fewer.
    pub chosen: BTreeSet<InstanceId>,
}

/// A change was accepted and goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    pub deployment: DeploymentId,
    pub version: Moment,
}

impl From<Accepted> for DeploymentResult {
    fn from(accepted: Accepted) -> Self {
        Self { deployment_id: accepted.deployment, version: accepted.version.to_string() }
    }
}

/// Why a change was not accepted; nothing is different then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("{}", super::super::reading::LOCKED)]
    Locked(Vec<DeploymentId>),
    #[error("{MAX_DEPLOYMENTS} deployments are running")]
    TooManyDeployments,
    #[error(transparent)]
    Tree(#[from] InvalidTree),
}

/// Marathon's `--max_running_deployments`.
pub const MAX_DEPLOYMENTS: usize = 100;

/// Why a deployment ended without having succeeded.
const CANCELLED: &str = "The upgrade has been cancelled";

impl Core {
    /// A version that no tree had before.
    pub fn fresh_version(&self) -> Moment {
        self.now.max(self.root_version.next())
    }

    /// Asks for another tree. Versions of apps that changed become `version`.
    pub fn change(&mut self, mut new: Group, version: Moment, how: &How) -> Result<Accepted, Refused> {
        new.check()?;
        group::settle_versions(&self.root, &mut new, version);
        let deployment = self.plan(&new, version, how);
        let locks = self.locks(&deployment);
        if !locks.is_empty() && !how.force {
            self.emit(event::deployment_failed(&deployment, super::super::reading::LOCKED));
            self.emit(event::group_not_changed(&how.group, version, super::super::reading::LOCKED));
            return Err(Refused::Locked(locks));
        }
        if self.deployments.len() - locks.len() >= MAX_DEPLOYMENTS {
            return Err(Refused::TooManyDeployments);
        }
        for id in locks {
            self.cancel(id);
        }
        self.put_root(new, version);
        self.emit(event::group_changed(&how.group, version));
        let accepted = Accepted { deployment: deployment.id, version };
        self.begin(deployment);
        Ok(accepted)
    }

    /// The steps to another tree, without taking them. Every app for which `changed` holds counts as changed.
    pub fn dry_run(&self, mut new: Group, changed: &dyn Fn(&PathId) -> bool) -> Result<Vec<Step>, InvalidTree> {
        new.check()?;
        let version = self.fresh_version();
        group::settle_versions(&self.root, &mut new, version);
        new.map_apps(&mut |app| changed(&app.id).then(|| group::restarted(app, version)));
        Ok(plan::steps(&self.root, &new))
    }

    /// Ends a deployment where it stands, as a client asked.
    pub fn cancel(&mut self, id: DeploymentId) -> bool {
        let Some(index) = self.deployments.iter().position(|deployment| deployment.id == id) else { return false };
        let deployment = self.state.deployments.remove(index);
        self.changes.deployments.insert(id);
        self.emit(event::deployment_failed(&deployment, CANCELLED));
        for app in deployment.changes.keys() {
            self.end_readiness(app);
            self.state.forget_definitions(app);
        }
        true
    }

    /// The tree that undoes a deployment, and the version that the tree had before it.
    pub fn reversal(&self, id: DeploymentId) -> Option<(Group, Moment)> {
        let deployment = self.deployments.iter().find(|deployment| deployment.id == id)?;
        let mut tree = Group::clone(&self.root);
        for (app, change) in &deployment.changes {
            match change.before.as_ref().and_then(|version| self.definition_of(app, version)) {
                Some(before) => tree.put_app(before.clone()),
                None => tree.remove_app(app),
            }
        }
        // The innermost first, so that a group that only held empty groups goes too.
        for group in deployment.added_groups.iter().rev() {
            if tree.group(group).is_some_and(Group::is_empty) {
                tree.remove_group(group);
            }
        }
        Some((tree, deployment.before))
    }

    /// Notes whether a top-level group enforces its role, which is no change of anything that runs.
    pub fn enforce_role(&mut self, group: &PathId, enforce: bool) {
        if self.root.group(group).is_some() {
            Arc::make_mut(&mut self.state.root).group_or_new(group).enforce_role = enforce;
            self.changes.root = true;
        }
    }

    fn plan(&self, new: &Group, version: Moment, how: &How) -> Deployment {
        let steps = plan::steps(&self.root, new);
        let version_in = |tree: &Group, app: &PathId| tree.app(app).map(|app| app.version.clone());
        let affected = steps.iter().flat_map(|step| &step.actions).map(|action| action.app.clone());
        let changes = affected
            .map(|app| {
                let change = Change { before: version_in(&self.root, &app), after: version_in(new, &app) };
                (app, change)
            })
            .collect::<BTreeMap<_, _>>();
        let added = new.all_groups().into_iter().map(|group| &group.id);
        let added_groups = added.filter(|id| self.root.group(id).is_none()).cloned().collect();
        Deployment {
            id: DeploymentId::random(),
            version,
            steps,
            current: 0,
            before: self.root_version,
            changes,
            added_groups,
            chosen: how.chosen.clone(),
            finished: BTreeSet::new(),
            added: BTreeSet::new(),
        }
    }

    /// The running deployments that have an app in common with this one.
    fn locks(&self, new: &Deployment) -> Vec<DeploymentId> {
        let shares = |running: &&Arc<Deployment>| running.changes.keys().any(|app| new.affects(app));
        self.deployments.iter().filter(shares).map(|running| running.id).collect()
    }

    fn put_root(&mut self, new: Group, version: Moment) {
        for app in new.apps_unlike(Some(&self.root.clone())) {
            if self.definition_of(&app.id, &app.version).is_none() {
                let app = app.clone();
                self.changes.definitions.push(app.clone());
                self.state.define(app);
            }
        }
        self.state.root = Arc::new(new);
        self.state.root_version = version;
        self.changes.root = true;
    }

    fn begin(&mut self, deployment: Deployment) {
        self.changes.deployments.insert(deployment.id);
        self.state.deployments.push(Arc::new(deployment));
        let index = self.deployments.len() - 1;
        self.enter_step(index);
        self.advance(index);
    }

    fn enter_step(&mut self, index: usize) {
        let deployment = self.deployments[index].clone();
        let Some(step) = deployment.step() else { return };
        self.emit(event::deployment_info(&deployment, step));
        for action in &step.actions {
            self.enter_action(index, action);
        }
    }

    fn enter_action(&mut self, index: usize, action: &Action) {
        self.touched.insert(action.app.clone());
        let id = &action.app;
        let versions = self.deployments[index].changes.get(id);
        if action.action == ActionKind::StopApplication {
            let before = versions.and_then(|change| change.before.as_ref());
            let gone = before.and_then(|version| self.definition_of(id, version)).cloned();
            for _ in gone.iter().flat_map(|app| &app.health_checks) {
                self.emit(event::health_check_removed(id));
            }
            return;
        }
        let Some(app) = self.target(index, id) else { return };
        let is_new = versions.is_some_and(|change| change.before.is_none());
        // A new app's checks are told of once, when it is started.
        if !is_new || action.action == ActionKind::StartApplication {
            for check in &app.health_checks {
                self.emit(event::health_check_added(&app, check));
            }
        }
        if action.action == ActionKind::RestartApplication {
            self.backoff_mut().reset(id);
        }
    }

    /// What a deployment makes of an app.
    fn target(&self, index: usize, app: &PathId) -> Option<Arc<App>> {
        let after = self.deployments[index].changes.get(app)?.after.as_ref()?;
        self.definition_of(app, after).cloned()
    }

    /// Takes a deployment as far as it can go now.
    pub(super) fn advance(&mut self, index: usize) {
        while let Some(step) = self.deployments[index].step().cloned() {
            let mut all_done = true;
            for action in &step.actions {
                all_done &= self.act(index, action);
            }
            if !all_done {
                return;
            }
            self.emit(event::step_succeeded(&self.deployments[index], &step));
            let deployment = self.deployment_mut(index);
            deployment.current += 1;
            deployment.finished.clear();
            deployment.added.clear();
            let id = deployment.id;
            self.changes.deployments.insert(id);
            self.enter_step(index);
        }
        let deployment = self.state.deployments.remove(index);
        self.changes.deployments.insert(deployment.id);
        self.emit(event::deployment_succeeded(&deployment));
        for app in deployment.changes.keys() {
            self.end_readiness(app);
            self.state.forget_definitions(app);
            self.touched.insert(app.clone());
        }
    }

    /// Carries out what an action wants now; true when it wants nothing more.
    fn act(&mut self, index: usize, action: &Action) -> bool {
        if self.deployments[index].finished.contains(&action.app) {
            return true;
        }
        loop {
            let orders = self.orders(index, action);
            if orders.done {
                self.finish(index, action);
                return true;
            }
            if orders.create == 0 && orders.end.is_empty() {
                return false;
            }
            self.carry_out(index, action, &orders);
        }
    }

    fn orders(&self, index: usize, action: &Action) -> Orders {
        let deployment = &self.deployments[index];
        let instances = self.instances(&action.app).collect::<Vec<_>>();
        match (action.action, self.target(index, &action.app)) {
            (ActionKind::StopApplication, _) => deployment::stop(&instances),
            (ActionKind::ScaleApplication, Some(app)) => deployment::scale(&app, deployment, &instances),
            (ActionKind::RestartApplication, Some(app)) => deployment::replace(&app, &instances),
            // Starting is announcing; what has no definition any more has nothing to be done.
            (ActionKind::StartApplication | ActionKind::Other, _) | (_, None) => {
                Orders { done: true, ..Orders::default() }
            }
        }
    }

    fn carry_out(&mut self, index: usize, action: &Action, orders: &Orders) {
        for id in &orders.end {
            self.decommission(id, Goal::Decommissioned);
        }
        let Some(app) = self.target(index, &action.app) else { return };
        for _ in 0..orders.create {
            let id = self.add_instance(&app, None);
            let deployment = self.deployment_mut(index);
            deployment.added.insert(id);
            let id = deployment.id;
            self.changes.deployments.insert(id);
        }
    }

    fn finish(&mut self, index: usize, action: &Action) {
        let deployment = self.deployment_mut(index);
        deployment.finished.insert(action.app.clone());
        let id = deployment.id;
        self.changes.deployments.insert(id);
        if action.action == ActionKind::StopApplication {
            self.backoff_mut().reset(&action.app);
            Arc::make_mut(&mut self.state.waiting).remove(&action.app);
            if Arc::make_mut(&mut self.state.failures).remove(&action.app).is_some() {
                self.changes.failures.insert(action.app.clone());
            }
            self.emit(event::app_terminated(&action.app));
        }
    }

    /// Keeps an app that is in no deployment at its number of instances.
    pub(super) fn keep(&mut self, id: &PathId) {
        let instances = self.instances(id).collect::<Vec<_>>();
        let (app, orders) = match self.root.app(id) {
            Some(app) => (Some(app.clone()), deployment::keep(app, &instances)),
            None => (None, deployment::stop(&instances)),
        };
        for instance in &orders.end {
            self.decommission(instance, Goal::Decommissioned);
        }
        for _ in 0..orders.create {
            let Some(app) = &app else { break };
            self.add_instance(app, Some(self.now.plus(super::life::PAUSE)));
        }
    }

    fn add_instance(&mut self, app: &Arc<App>, not_before: Option<Moment>) -> InstanceId {
        let id = InstanceId::new(app.id.clone(), Uuid::now_v1(&NODE));
        let mut instance = Instance::new(id.clone(), app.version.clone(), self.now);
        instance.not_before = not_before;
        self.emit(event::instance_changed(&self.place, &instance));
        self.state.put_instance(instance);
        self.changed(&id);
        id
    }
}

/// Stands for the network card in instance ids; all are made here, and no id is a secret.
const NODE: [u8; 6] = [0x02, 0x42, 0x18, 0x90, 0x58, 0xf9];
