//! What has happened since the engine began, counted from the events that tell of it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::marathon::{Condition, EventKind, TaskState};

/// The states of tasks that are counted apart, as Mesos names them.
pub const STATES: [(TaskState, &str); 8] = [
    (TaskState::Staging, "task-staging"),
    (TaskState::Starting, "task-starting"),
    (TaskState::Running, "task-running"),
    (TaskState::Killed, "task-killed"),
    (TaskState::Finished, "task-finished"),
    (TaskState::Failed, "task-failed"),
    (TaskState::Error, "task-error"),
    (TaskState::Lost, "task-lost"),
];

/// Counters that only grow.
#[derive(Debug, Default)]
pub struct Tally {
    updates: [AtomicU64; STATES.len()],
    launched: AtomicU64,
    health_kills: AtomicU64,
    finished_deployments: AtomicU64,
    events: AtomicU64,
}

impl Tally {
    pub fn count(&self, event: &EventKind) {
        let add = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        add(&self.events);
        match event {
            EventKind::StatusUpdateEvent { task_status, .. } => {
                if let Some(index) = STATES.iter().position(|(state, _)| state == task_status) {
                    add(&self.updates[index]);
                }
            }
            EventKind::InstanceChangedEvent { condition: Condition::Provisioned, .. } => {
                add(&self.launched);
            }
            EventKind::UnhealthyInstanceKillEvent { .. } => {
                add(&self.health_kills);
            }
            EventKind::DeploymentSuccess { .. } => {
                add(&self.finished_deployments);
            }
            _ => {}
        }
    }

    /// How often tasks came to the state of that place in [`STATES`].
    pub fn updates(&self, index: usize) -> u64 {
        self.updates[index].load(Ordering::Relaxed)
    }
    pub fn launched(&self) -> u64 {
        self.launched.load(Ordering::Relaxed)
    }
    pub fn health_kills(&self) -> u64 {
        self.health_kills.load(Ordering::Relaxed)
    }
    pub fn finished_deployments(&self) -> u64 {
        self.finished_deployments.load(Ordering::Relaxed)
    }
    pub fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_counted_by_what_they_tell() {
        let tally = Tally::default();
        let app = crate::engine::samples::id("/a");
        let instance = |condition| EventKind::InstanceChangedEvent {
            instance_id: String::new(),
            condition,
            run_spec_id: app.clone(),
            agent_id: None,
            host: None,
            run_spec_version: String::new(),
        };
        tally.count(&instance(Condition::Scheduled));
        tally.count(&instance(Condition::Provisioned));
        tally.count(&EventKind::StatusUpdateEvent {
            slave_id: String::new(),
            task_id: String::new(),
            task_status: TaskState::Failed,
            message: String::new(),
            app_id: app.clone(),
            host: String::new(),
            ip_addresses: Vec::new(),
            ports: Vec::new(),
            version: String::new(),
        });
        let failed = STATES.iter().position(|(state, _)| *state == TaskState::Failed).unwrap();
        assert_eq!((tally.launched(), tally.updates(failed), tally.events()), (1, 1, 3));
    }
}
