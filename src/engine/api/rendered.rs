//! What lists show of apps and tasks, as text that is kept while it is true: most of a list of thousands is as it was
//! in the list before it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::super::core::{Crew, State};
use super::super::instance::{Instance, InstanceId};
use super::views::{self, Embed};
use crate::marathon::{App, Identifiable, LastTaskFailure, PathId};

/// JSON.
pub(super) type Text = Arc<RawValue>;

/// Texts that were shown, with what each was made from.
#[derive(Debug, Default)]
pub(super) struct Rendered {
    tasks: Kept<InstanceId, Same<Instance>, Option<Text>>,
    apps: Kept<(Embed, PathId), Shown, Text>,
}

impl Rendered {
    /// The tasks of those instances for which `wanted` holds.
    pub(super) fn tasks(&self, state: &State, wanted: impl Fn(&Instance) -> bool) -> impl Iterator<Item = Text> {
        // Some of what is kept may be of instances that are gone.
        self.tasks.bound(2 * state.shared_instances().count());
        let chosen = state.shared_instances().filter(move |instance| wanted(instance));
        chosen.filter_map(|instance| {
            let make = || views::task(state, instance, true).as_ref().map(text);
            self.tasks.get(instance.id.clone(), Same(instance.clone()), make)
        })
    }

    /// An app, made by `make` when it is not known.
    pub(super) fn app(&self, embed: Embed, shown: Shown, make: impl FnOnce() -> Text) -> Text {
        self.apps.get((embed, shown.app.0.id.clone()), shown, make)
    }

    /// Some of what is kept may be of apps that are gone, or of what somebody embedded once.
    pub(super) fn bound_apps(&self, state: &State) {
        const KINDS: usize = 4;
        self.apps.bound(KINDS * state.root().all_apps().len());
    }
}

pub(super) fn text(value: &impl Serialize) -> Text {
    to_raw_value(value).expect("what is shown is text, numbers, lists and maps with text keys").into()
}

/// What an app's text is made from.
#[derive(Debug, PartialEq)]
pub(super) struct Shown {
    pub(super) app: Same<App>,
    pub(super) crew: Option<Same<Crew>>,
    pub(super) deployments: Vec<Identifiable>,
    pub(super) failure: Option<Same<LastTaskFailure>>,
}

/// Equal to itself alone. What changes in the state becomes another, and cannot be where this one still is.
#[derive(Debug)]
pub(super) struct Same<T>(pub(super) Arc<T>);

impl<T> PartialEq for Same<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Values by key, each with its source.
#[derive(Debug)]
struct Kept<K, S, V>(Mutex<HashMap<K, (S, V)>>);

impl<K, S, V> Default for Kept<K, S, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, S: PartialEq, V: Clone> Kept<K, S, V> {
    fn get(&self, key: K, source: S, make: impl FnOnce() -> V) -> V {
        let known = self.lock().get(&key).filter(|(of, _)| *of == source).map(|(_, value)| value.clone());
        // Made while nobody has to wait for it.
        known.unwrap_or_else(|| {
            let value = make();
            self.lock().insert(key, (source, value.clone()));
            value
        })
    }
    /// Begins anew when there is more than that.
    fn bound(&self, most: usize) {
        let mut kept = self.lock();
        if kept.len() > most {
            kept.clear();
        }
    }
    fn lock(&self) -> MutexGuard<'_, HashMap<K, (S, V)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::core::{Core, NotLaunched};
    use super::super::super::samples::{change, command, core, nothing};
    use super::*;

    fn ids(tasks: &[Text]) -> Vec<String> {
        let parsed = tasks.iter().map(|task| serde_json::from_str::<serde_json::Value>(task.get()).unwrap());
        parsed.map(|task| format!("{} {}", task["appId"], task["state"])).collect()
    }

    #[test]
    fn a_list_shows_what_is_and_makes_anew_only_what_changed() {
        let mut core = core(nothing(), 1_900_000_000_000);
        let rendered = Rendered::default();
        change(&mut core, |tree| ["/a", "/b"].into_iter().for_each(|id| tree.put_app(Arc::new(command(id)))));
        let list = |core: &Core| rendered.tasks(core.state(), |_| true).collect::<Vec<_>>();
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
        assert_eq!(ids(&starting.collect::<Vec<_>>()), [r#""/a" "TASK_STARTING""#]);
        change(&mut core, |tree| tree.remove_app(task.instance.app()));
        core.not_launched(&task, &NotLaunched::Aborted);
        core.settle();
        assert!(!ids(&list(&core)).iter().any(|shown| shown.starts_with(r#""/a""#)));
    }
}
