//! What all pages are made from: the engine's tasks and its machine, as they are at one time.

use std::collections::HashMap;

use super::super::super::instance::{Handle, TaskId};
use super::super::super::ledger::Machine;
use super::super::super::record::Record;
use super::super::Api;
use super::task::Resources;
use crate::marathon::TaskState;

/// Tasks and machine at one time.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) machine: Machine,
    /// Those that run, or are about to.
    pub(super) alive: Vec<Record>,
    /// Those whose files are still here; the last to end comes last.
    pub(super) ended: Vec<Record>,
    /// What the tasks that run were given.
    pub(super) used: Resources,
}

impl Snapshot {
    pub(super) fn all(&self) -> impl Iterator<Item = &Record> {
        self.alive.iter().chain(&self.ended)
    }

    /// How many tasks are in a state, with those that ended.
    pub(super) fn count(&self, state: TaskState) -> usize {
        self.all().filter(|record| record.state == state).count()
    }
}

impl Api {
    pub(super) async fn snapshot(&self) -> Snapshot {
        // The directories first: one that is made meanwhile is a task's that runs.
        let known = self.shared().tasks.known().await;
        let state = self.look();
        let records = state.all_instances().filter_map(|instance| {
            let record = Record::of(instance, state.definition(instance)?)?;
            Some((instance.is_alive(), record))
        });
        let machine = state.books().share;
        let (alive, waiting): (Vec<_>, Vec<_>) = records.partition(|(alive, _)| *alive);
        let alive: Vec<Record> = alive.into_iter().map(|(_, record)| record).collect();
        let mut waiting: HashMap<TaskId, Record> =
            waiting.into_iter().map(|(_, record)| (record.task.clone(), record)).collect();
        let runs: std::collections::HashSet<&TaskId> = alive.iter().map(|record| &record.task).collect();
        let ended = known.into_iter().filter(|(task, _)| !runs.contains(task)).map(|(task, record)| {
            // One without a record is just being buried.
            let last = record.or_else(|| waiting.remove(&task));
            last.unwrap_or_else(|| Record::unknown(task, TaskState::Killed))
        });
        let mut ended: Vec<Record> = ended.collect();
        ended.sort_by(|one, other| (one.ended_at, &one.task).cmp(&(other.ended_at, &other.task)));
        let used = Resources::of_all(alive.iter());
        Snapshot { machine, alive, ended, used }
    }

    /// The tasks that run, with what runs them.
    pub(super) fn running(&self) -> Vec<(Record, Handle)> {
        let state = self.look();
        let running = state.all_instances().filter_map(|instance| {
            let handle = instance.live()?.handle.clone();
            Some((Record::of(instance, state.definition(instance)?)?, handle))
        });
        running.collect()
    }
}
