//! A deployment that runs, and what its present step wants done: decided from what there is, without memory of what
//! was done, so that it goes on after the engine was killed.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Moment;
use super::instance::{Goal, Instance, InstanceId};
use super::upgrade::{self, Situation};
use crate::marathon::{self, Action, App, CurrentAction, DeploymentId, DeploymentPlan, PathId, ReadinessResult, Step};

/// A plan that is being carried out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deployment {
    pub id: DeploymentId,
    pub version: Moment,
    pub steps: Vec<Step>,
    /// Which step goes on, from 0.
    pub current: usize,
    /// The tree's version before, for a reversal's answer.
    pub before: Moment,
    pub changes: BTreeMap<PathId, Change>,
    /// Groups that the change made; a reversal removes those that are empty.
    pub added_groups: Vec<PathId>,
    /// Instances that a client chose when it scaled down.
    pub chosen: BTreeSet<InstanceId>,
    /// In the present step: the apps that are done.
    pub finished: BTreeSet<PathId>,
    /// In the present step: the instances that a scaling added.
    pub added: BTreeSet<InstanceId>,
}

/// The versions of an app's definition before and after; none when it was not, or will not be, asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    pub before: Option<String>,
    pub after: Option<String>,
}

/// What an action wants now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Orders {
    pub create: u32,
    pub end: Vec<InstanceId>,
    pub done: bool,
}

impl Deployment {
    pub fn affects(&self, app: &PathId) -> bool {
        self.changes.contains_key(app)
    }
    /// The plan, as events show it.
    pub fn plan(&self) -> DeploymentPlan {
        DeploymentPlan { id: self.id, steps: self.steps.clone(), version: self.version.to_string() }
    }
    pub fn step(&self) -> Option<&Step> {
        self.steps.get(self.current)
    }
    pub fn is_final(&self) -> bool {
        self.current >= self.steps.len()
    }
    /// The running deployment, as `/v2/deployments` shows it; `readiness` knows what an app's checks found.
    pub fn info(&self, readiness: impl Fn(&PathId) -> Vec<ReadinessResult>) -> marathon::Deployment {
        let current = self.step().map(|step| step.actions.clone()).unwrap_or_default();
        let shown = |action: Action| CurrentAction { readiness_check_results: readiness(&action.app), action };
        let count = |steps: usize| u32::try_from(steps).unwrap_or(u32::MAX);
        marathon::Deployment {
            id: self.id,
            version: self.version.to_string(),
            affected_apps: self.changes.keys().cloned().collect(),
            affected_pods: Vec::new(),
            steps: self.steps.clone(),
            current_actions: current.into_iter().map(shown).collect(),
            current_step: count((self.current + 1).min(self.steps.len())),
            total_steps: count(self.steps.len()),
        }
    }
}

/// Ends all instances.
pub fn stop(instances: &[&Instance]) -> Orders {
    let end = instances.iter().filter(|instance| instance.is_wanted()).map(|instance| instance.id.clone()).collect();
    Orders { create: 0, end, done: instances.is_empty() }
}

/// Brings the number of instances to the app's: the surplus ends first and is awaited, then what is missing is added.
/// Done when those that were added serve; older ones are not looked at.
pub fn scale(app: &App, deployment: &Deployment, instances: &[&Instance]) -> Orders {
    let target = app.instances as usize;
    let (wanted, ending): (Vec<&Instance>, Vec<&Instance>) =
        instances.iter().copied().partition(|instance| instance.is_wanted());
    if wanted.len() > target {
        let end = first_to_end(&wanted, wanted.len() - target, app, &deployment.chosen);
        return Orders { end, ..Orders::default() };
    }
    if !ending.is_empty() {
        return Orders::default();
    }
    let create = u32::try_from(target - wanted.len()).unwrap_or(u32::MAX);
    let serving = |instance: &&&Instance| !deployment.added.contains(&instance.id) || instance.is_ready(app);
    let done = create == 0 && wanted.iter().filter(serving).count() == wanted.len();
    Orders { create, end: Vec::new(), done }
}

/// Replaces the instances of other versions by ones of the app's.
pub fn replace(app: &App, instances: &[&Instance]) -> Orders {
    let mut now = Situation { target: app.instances, ..Situation::default() };
    let mut old = Vec::new();
    for instance in instances {
        let is_new = instance.version == app.version;
        let serves = if is_new { instance.is_ready(app) } else { instance.is_healthy() };
        let count = match (instance.is_wanted(), is_new, serves) {
            (false, _, _) => &mut now.old_dying,
            (true, true, true) => &mut now.new_healthy,
            (true, true, false) => &mut now.new_unhealthy,
            (true, false, true) => &mut now.old_healthy,
            (true, false, false) => &mut now.old_unhealthy,
        };
        *count += 1;
        if instance.is_wanted() && !is_new {
            old.push(*instance);
        }
    }
    let moves = upgrade::next(&app.upgrade_strategy, &now);
    // Those that do not serve go first, whatever their age.
    old.sort_by_key(|instance| (instance.is_healthy(), instance.killing_order(youngest_first(app))));
    let end = old.iter().take(moves.kill as usize).map(|instance| instance.id.clone()).collect();
    Orders { create: moves.start, end, done: moves.done }
}

/// An app outside of deployments keeps its number of instances; those that end must be gone before others take their
/// place.
pub fn keep(app: &App, instances: &[&Instance]) -> Orders {
    let target = app.instances as usize;
    let wanted = instances.iter().copied().filter(|instance| instance.is_wanted()).collect::<Vec<_>>();
    let end = match wanted.len().checked_sub(target) {
        Some(surplus) => first_to_end(&wanted, surplus, app, &BTreeSet::new()),
        None => Vec::new(),
    };
    Orders { create: u32::try_from(target.saturating_sub(instances.len())).unwrap_or(u32::MAX), end, done: true }
}

fn first_to_end(wanted: &[&Instance], count: usize, app: &App, chosen: &BTreeSet<InstanceId>) -> Vec<InstanceId> {
    let mut order = wanted.to_vec();
    order.sort_by_key(|instance| (!chosen.contains(&instance.id), instance.killing_order(youngest_first(app))));
    order.into_iter().take(count).map(|instance| instance.id.clone()).collect()
}

fn youngest_first(app: &App) -> bool {
    app.kill_selection != "OLDEST_FIRST"
}

/// Ended for good, one way or the other.
pub fn is_ending(instance: &Instance) -> bool {
    matches!(instance.goal, Goal::Decommissioned | Goal::Wiped)
}

#[cfg(test)]
mod tests {
    use super::super::instance::{Handle, Live, Phase, Placed, Ports};
    use super::super::samples::{EARLY, command};
    use super::*;
    use uuid::Uuid;

    const LATER: &str = "2026-02-01T00:00:00.000Z";

    fn instance(number: u128, version: &str) -> Instance {
        let id = InstanceId::new("/a".parse().unwrap(), Uuid::from_u128(number));
        Instance::new(id, version.to_owned(), Moment::from_millis(0))
    }
    fn running(number: u128, version: &str, since: i64) -> Instance {
        let placed = Placed { staged_at: Moment::from_millis(since), ports: Ports::default() };
        let live = Live {
            placed,
            started_at: Moment::from_millis(since),
            handle: Handle::Container("c".into()),
            address: [127, 0, 0, 1].into(),
            health: Vec::new(),
            readiness: None,
            check: None,
        };
        Instance { phase: Phase::Running(live), incarnation: 1, ..instance(number, version) }
    }
    fn ending(instance: Instance) -> Instance {
        Instance { goal: Goal::Decommissioned, ..instance }
    }
    fn app(instances: u32) -> App {
        App { instances, ..command("/a") }
    }
    fn deployment() -> Deployment {
        Deployment {
            id: DeploymentId::random(),
            version: Moment::from_millis(0),
            steps: Vec::new(),
            current: 0,
            before: Moment::from_millis(0),
            changes: BTreeMap::new(),
            added_groups: Vec::new(),
            chosen: BTreeSet::new(),
            finished: BTreeSet::new(),
            added: BTreeSet::new(),
        }
    }
    fn refs(instances: &[Instance]) -> Vec<&Instance> {
        instances.iter().collect()
    }

    #[test]
    fn scaling_up_adds_what_is_missing_and_ends_when_that_serves() {
        let mut deployment = deployment();
        let one = running(1, EARLY, 1);
        assert_eq!(scale(&app(3), &deployment, &[&one]).create, 2);
        let new = [one.clone(), instance(2, EARLY), running(3, EARLY, 5)];
        deployment.added = new[1..].iter().map(|instance| instance.id.clone()).collect();
        assert_eq!(scale(&app(3), &deployment, &refs(&new)), Orders::default());
        let all = [one, running(2, EARLY, 4), running(3, EARLY, 5)];
        assert!(scale(&app(3), &deployment, &refs(&all)).done);
    }

    #[test]
    fn scaling_down_ends_the_chosen_then_the_waiting_then_the_youngest_and_awaits_them() {
        let all = [running(1, EARLY, 1), running(2, EARLY, 9), instance(3, EARLY), running(4, EARLY, 5)];
        let mut deployment = deployment();
        deployment.chosen.insert(all[0].id.clone());
        let orders = scale(&app(1), &deployment, &refs(&all));
        assert_eq!(orders.end, [all[0].id.clone(), all[2].id.clone(), all[1].id.clone()]);
        let left = [ending(all[0].clone()), all[3].clone()];
        assert_eq!(scale(&app(1), &deployment, &refs(&left)), Orders::default());
        assert!(scale(&app(1), &deployment, &[&all[3]]).done);
    }

    #[test]
    fn a_replacement_ends_an_old_one_only_when_a_new_one_serves() {
        let app = App { version: LATER.into(), ..app(1) };
        let old = running(1, EARLY, 1);
        assert_eq!(replace(&app, &[&old]), Orders { create: 1, ..Orders::default() });
        let starting = instance(2, LATER);
        assert_eq!(replace(&app, &[&old, &starting]), Orders::default());
        let serving = running(2, LATER, 2);
        assert_eq!(replace(&app, &[&old, &serving]).end, std::slice::from_ref(&old.id));
        assert!(!replace(&app, &[&ending(old), &serving]).done);
        assert!(replace(&app, &[&serving]).done);
    }

    #[test]
    fn stopping_is_done_when_nothing_is_left() {
        let all = [running(1, EARLY, 1), ending(running(2, EARLY, 1))];
        assert_eq!(stop(&refs(&all)).end, [all[0].id.clone()]);
        assert!(stop(&[]).done);
    }

    #[test]
    fn a_wiped_instance_is_replaced_when_it_is_gone() {
        let wiped = Instance { goal: Goal::Wiped, ..running(1, EARLY, 1) };
        assert_eq!(keep(&app(1), &[&wiped]).create, 0);
        assert_eq!(keep(&app(1), &[]).create, 1);
    }
}
