//! The tasks as `/v2/tasks` shows them, kept while they are what they are: most of a list of thousands is as it was in
//! the list before it.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::value::{RawValue, to_raw_value};

use super::super::core::State;
use super::super::instance::Instance;
use super::views;

/// What the last list had, ordered by instance.
#[derive(Debug, Default)]
pub(super) struct Rendered(Mutex<Vec<Entry>>);

/// An instance with what is shown of it, if it has a task. While the instance is held here, another is another one.
#[derive(Debug, Clone)]
struct Entry {
    of: Arc<Instance>,
    text: Option<Arc<RawValue>>,
}

impl Rendered {
    /// The tasks of those instances for which `wanted` holds.
    pub(super) fn tasks(&self, state: &State, wanted: impl Fn(&Instance) -> bool) -> Vec<Arc<RawValue>> {
        // Taken out, so that nobody waits: whoever comes meanwhile makes a list of their own.
        let known = std::mem::take(&mut *self.lock());
        let mut known = known.into_iter().peekable();
        let mut entries = Vec::with_capacity(known.len());
        for instance in state.shared_instances() {
            while known.next_if(|entry| entry.of.id < instance.id).is_some() {}
            let same = known.next_if(|entry| Arc::ptr_eq(&entry.of, instance));
            entries.push(same.unwrap_or_else(|| Entry::of(state, instance)));
        }
        let chosen = entries.iter().filter(|entry| wanted(&entry.of)).filter_map(|entry| entry.text.clone()).collect();
        *self.lock() = entries;
        chosen
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn of(state: &State, instance: &Arc<Instance>) -> Self {
        let text = views::task(state, instance, true).map(|task| {
            let text = to_raw_value(&task).expect("tasks are text, numbers and lists");
            text.into()
        });
        Self { of: instance.clone(), text }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::core::{Core, NotLaunched};
    use super::super::super::samples::{change, command, core, nothing};
    use super::*;

    fn ids(tasks: &[Arc<RawValue>]) -> Vec<String> {
        let parsed = tasks.iter().map(|task| serde_json::from_str::<serde_json::Value>(task.get()).unwrap());
        parsed.map(|task| format!("{} {}", task["appId"], task["state"])).collect()
    }

    #[test]
    fn a_list_shows_what_is_and_makes_anew_only_what_changed() {
        let mut core = core(nothing(), 1_900_000_000_000);
        let rendered = Rendered::default();
        change(&mut core, |tree| ["/a", "/b"].into_iter().for_each(|id| tree.put_app(Arc::new(command(id)))));
        let list = |core: &Core| rendered.tasks(core.state(), |_| true);
        let first = list(&core);
        assert_eq!(ids(&first), [r#""/a" "TASK_STAGING""#, r#""/b" "TASK_STAGING""#]);

        let task = core.all_instances().next().unwrap().task().unwrap();
        core.launching(&task);
        let second = list(&core);
        assert_eq!(ids(&second), [r#""/a" "TASK_STARTING""#, r#""/b" "TASK_STAGING""#]);
        assert!(Arc::ptr_eq(&first[1], &second[1]) && !Arc::ptr_eq(&first[0], &second[0]));

        change(&mut core, |tree| tree.put_app(Arc::new(command("/aa"))));
        assert_eq!(ids(&list(&core)).len(), 3);
        let starting = rendered.tasks(core.state(), |instance| *instance.app() == *task.instance.app());
        assert_eq!(ids(&starting), [r#""/a" "TASK_STARTING""#]);
        change(&mut core, |tree| tree.remove_app(task.instance.app()));
        core.not_launched(&task, &NotLaunched::Aborted);
        core.settle();
        assert!(!ids(&list(&core)).iter().any(|shown| shown.starts_with(r#""/a""#)));
    }
}
