//! Tasks: listed, killed, wiped, scaled away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::core::{Accepted, How, State};
use super::super::instance::{Goal, Instance, InstanceId, TaskId};
use super::super::reading::{self, Asked as Told, Refusal};
use super::super::supervisor::Desk;
use super::answer::Answer;
use super::apps::change;
use super::request::Asked;
use super::views::Each;
use super::{Api, parent, views};
use crate::marathon::{App, PathId, Task, TaskState};

/// What else is done when tasks are killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kill {
    /// There are to be fewer.
    scale: bool,
    /// Others, of new names, take their place.
    wipe: bool,
    force: bool,
}

/// What became of tasks that were to be killed.
enum Killed {
    Tasks(Vec<Task>),
    Scaled(Accepted),
}

impl Kill {
    fn of(asked: &Asked) -> Result<Self, Refusal> {
        let flag = |name| asked.flag(name, false);
        let kill = Self { scale: flag("scale"), wipe: flag("wipe"), force: flag("force") };
        if kill.scale && kill.wipe {
            return Err(Refusal::scale_and_wipe());
        }
        Ok(kill)
    }

    fn carry_out(self, desk: &mut Desk, instances: &[InstanceId], group: PathId) -> Result<Killed, Refusal> {
        if self.scale {
            return self.scale_down(desk, instances, group).map(Killed::Scaled);
        }
        let core = &mut desk.core;
        let shown = instances.iter().filter_map(|id| views::task(core, core.instance(id)?, false)).collect();
        for id in instances {
            if self.wipe {
                core.decommission(id, Goal::Wiped);
            } else {
                core.kill_task(id);
            }
        }
        Ok(Killed::Tasks(shown))
    }

    fn scale_down(self, desk: &mut Desk, instances: &[InstanceId], group: PathId) -> Result<Accepted, Refusal> {
        let mut fewer: BTreeMap<&PathId, u32> = BTreeMap::new();
        for id in instances {
            *fewer.entry(id.app()).or_default() += 1;
        }
        let core = &desk.core;
        let mut tree = core.root().clone();
        for (app, count) in fewer {
            if let Some(app) = core.app(app) {
                tree.put_app(Arc::new(App { instances: app.instances.saturating_sub(count), ..App::clone(app) }));
            }
        }
        let how = How { force: self.force, group, chosen: instances.iter().cloned().collect() };
        let version = core.fresh_version();
        change(desk, tree, version, &how)
    }
}

impl Api {
    pub(super) fn tasks_of(&self, id: &PathId) -> Result<Answer, Refusal> {
        let state = self.look();
        state.app(id).ok_or_else(|| Refusal::unknown_app(id, Told::ByLooking))?;
        Ok(Answer::named("tasks", &views::tasks(&state, id)))
    }

    pub(super) fn tasks_below(&self, group: &PathId) -> Result<Answer, Refusal> {
        let state = self.look();
        let found = state.root().group(group).ok_or_else(|| Refusal::unknown_group(group, Told::ByLooking))?;
        let apps = found.all_apps().into_iter();
        Ok(Answer::named("tasks", &Each::of(apps.flat_map(|app| views::tasks(&state, &app.id)))))
    }

    pub(super) fn all_tasks(&self, asked: &Asked) -> Answer {
        let wanted = asked.all("status").iter().filter_map(|word| status(word)).collect::<Vec<_>>();
        let state = self.look();
        let is_wanted = |instance: &Instance| wanted.is_empty() || wanted.contains(&instance.task_state());
        Answer::named("tasks", &Each::of(self.0.rendered.tasks(&state, is_wanted)))
    }

    pub(super) async fn kill_tasks_of(&self, id: PathId, asked: Asked) -> Result<Answer, Refusal> {
        let kill = Kill::of(&asked)?;
        let host = asked.one("host").filter(|host| *host != "*").map(str::to_owned);
        let killed = self.shared().asker.ask(move |desk| {
            let core = &desk.core;
            if core.app(&id).is_none() {
                let looked = Told::ByLooking;
                return Err(if kill.scale {
                    Refusal::unknown_path(&id, looked)
                } else {
                    Refusal::unknown_app(&id, looked)
                });
            }
            let here = host.is_none_or(|host| host == core.place.host);
            let alive = core.instances(&id).filter(|instance| here && instance.is_alive());
            let instances = alive.map(|instance| instance.id.clone()).collect::<Vec<_>>();
            kill.carry_out(desk, &instances, PathId::root())
        });
        Ok(answer(killed.await??))
    }

    pub(super) async fn kill_task_of(&self, id: PathId, task: String, asked: Asked) -> Result<Answer, Refusal> {
        let kill = Kill::of(&asked)?;
        let killed = self.shared().asker.ask(move |desk| {
            let core = &desk.core;
            core.app(&id).ok_or_else(|| Refusal::unknown_app(&id, Told::ByLooking))?;
            let found =
                task.parse().ok().and_then(|task: TaskId| instance_of(core, &task)).map(|found| found.id.clone());
            let found = found.filter(|found| *found.app() == id).ok_or_else(|| Refusal::unknown_task(&task))?;
            kill.carry_out(desk, &[found], parent(&id))
        });
        Ok(match killed.await?? {
            Killed::Tasks(tasks) => Answer::named("task", &tasks.first()),
            killed @ Killed::Scaled(_) => answer(killed),
        })
    }

    pub(super) async fn delete_tasks(&self, asked: Asked) -> Result<Answer, Refusal> {
        let ids = reading::read_task_ids(&asked.body)?;
        let kill = Kill::of(&asked)?;
        let killed = self.shared().asker.ask(move |desk| {
            let core = &desk.core;
            // A task of before is not what its instance runs now.
            let present =
                |task: &TaskId| core.instance(&task.instance).filter(|found| found.task().as_ref() == Some(task));
            let tasks = ids.iter().filter_map(|id| id.parse().ok());
            let found = tasks.filter_map(|task| present(&task).map(|found| found.id.clone())).collect::<BTreeSet<_>>();
            kill.carry_out(desk, &found.into_iter().collect::<Vec<_>>(), PathId::root())
        });
        Ok(answer(killed.await??))
    }
}

fn answer(killed: Killed) -> Answer {
    match killed {
        Killed::Tasks(tasks) => Answer::named("tasks", &tasks),
        Killed::Scaled(accepted) => Answer::deployment(accepted),
    }
}

/// The instance that a task is or was one of.
fn instance_of<'a>(state: &'a State, task: &TaskId) -> Option<&'a Instance> {
    state.instance(&task.instance).filter(|instance| task.incarnation <= instance.incarnation)
}

fn status(word: &str) -> Option<TaskState> {
    match word {
        "running" => Some(TaskState::Running),
        "staging" => Some(TaskState::Staging),
        _ => None,
    }
}
