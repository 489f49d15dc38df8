//! A deployment's plan: which apps to stop, start, scale and restart, in which order, from the old tree to the new.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::marathon::{Action, ActionKind, App, PathId, Step};

use super::group::Group;

/// The steps from `old` to `new`, none when nothing has to be done. Versions tell what changed (see
/// `group::settle_versions`); `new` must have passed `Group::check`.
pub fn steps(old: &Group, new: &Group) -> Vec<Step> {
    let before = by_id(old.apps_unlike(Some(new)));
    let after = by_id(new.apps_unlike(Some(old)));
    let gone = before.keys().filter(|id| !after.contains_key(*id));
    let added = after.keys().filter(|id| !before.contains_key(*id));
    let mut steps = vec![
        step(gone.map(|id| (ActionKind::StopApplication, *id))),
        step(added.map(|id| (ActionKind::StartApplication, *id))),
    ];
    let depths = new.depths().unwrap_or_default();
    let mut by_depth: BTreeMap<usize, Vec<(ActionKind, &PathId)>> = BTreeMap::new();
    for (id, app) in &after {
        if let Some(kind) = action(before.get(id).copied(), app) {
            by_depth.entry(depths.get(*id).copied().unwrap_or(0)).or_default().push((kind, id));
        }
    }
    steps.extend(by_depth.into_values().map(step));
    steps.retain(|step| !step.actions.is_empty());
    steps
}

fn by_id(apps: Vec<&Arc<App>>) -> BTreeMap<&PathId, &App> {
    apps.into_iter().map(|app| (&app.id, &**app)).collect()
}

fn step<'a>(actions: impl IntoIterator<Item = (ActionKind, &'a PathId)>) -> Step {
    Step { actions: actions.into_iter().map(|(action, app)| Action { action, app: app.clone() }).collect() }
}

fn action(before: Option<&App>, after: &App) -> Option<ActionKind> {
    let Some(before) = before else { return Some(ActionKind::ScaleApplication) };
    if before.version == after.version {
        return None;
    }
    let configured = |app: &App| app.version_info.as_ref().map(|info| info.last_config_change_at.clone());
    let upgrade = configured(before) != configured(after);
    Some(if upgrade && after.instances > 0 { ActionKind::RestartApplication } else { ActionKind::ScaleApplication })
}

#[cfg(test)]
mod tests {
    use super::super::Moment;
    use super::super::group::settle_versions;
    use super::super::samples::{command, id};
    use super::*;

    fn tree(apps: Vec<App>) -> Group {
        let mut root = Group::empty(PathId::root());
        for app in apps {
            root.put_app(Arc::new(app));
        }
        root
    }
    fn planned(old: Vec<App>, new: Vec<App>) -> String {
        let (old, mut new) = (tree(old), tree(new));
        settle_versions(&old, &mut new, Moment::from_millis(1_900_000_000_000));
        let show = |action: &Action| format!("{:?} {}", action.action, action.app).replace("Application", "");
        let steps = steps(&old, &new);
        steps.iter().map(|s| s.actions.iter().map(show).collect::<Vec<_>>().join(", ")).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn a_new_app_is_started_and_scaled() {
        assert_eq!(planned(vec![], vec![command("/a")]), "Start /a; Scale /a");
    }

    #[test]
    fn a_change_restarts_a_scaling_scales_and_nothing_is_nothing() {
        let a = || command("/a");
        assert_eq!(planned(vec![a()], vec![App { mem: 64.0, ..a() }]), "Restart /a");
        assert_eq!(planned(vec![a()], vec![App { mem: 64.0, instances: 4, ..a() }]), "Restart /a");
        assert_eq!(planned(vec![a()], vec![App { mem: 64.0, instances: 0, ..a() }]), "Scale /a");
        assert_eq!(planned(vec![a()], vec![App { instances: 4, ..a() }]), "Scale /a");
        assert_eq!(planned(vec![a()], vec![a()]), "");
    }

    #[test]
    fn what_is_gone_is_stopped_first_and_dependencies_go_before_their_users() {
        let web = App { dependencies: vec![id("/g/db")], ..command("/g/web") };
        let old = vec![App { mem: 1.0, ..web.clone() }, command("/g/old")];
        let new = vec![web, command("/g/db"), command("/g/worker")];
        assert_eq!(
            planned(old, new),
            "Stop /g/old; Start /g/db, Start /g/worker; Scale /g/db, Scale /g/worker; Restart /g/web"
        );
    }
}
