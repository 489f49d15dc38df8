//! The tree of groups and apps that is asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::marathon::{App, PathId, VersionInfo};

use super::Moment;

/// A group: apps, groups within, and what they all depend on. A tree shares with its clone what is the same in both.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    pub id: PathId,
    pub apps: BTreeMap<PathId, Arc<App>>,
    pub groups: BTreeMap<PathId, Arc<Group>>,
    pub dependencies: Vec<PathId>,
    /// Set by clients on top-level groups; this engine knows one role and only remembers it.
    pub enforce_role: bool,
}

/// Why a tree cannot be asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTree {
    #[error("Groups and Applications may not have the same identifier.")]
    SameId,
    #[error("Dependency graph has cyclic dependencies.")]
    Cycle,
}

impl Group {
    pub fn empty(id: PathId) -> Self {
        Self { id, apps: BTreeMap::new(), groups: BTreeMap::new(), dependencies: Vec::new(), enforce_role: false }
    }

    /// The group itself or one below it.
    pub fn group(&self, id: &PathId) -> Option<&Self> {
        self.group_of(id.segments())
    }

    fn group_of(&self, id: &[String]) -> Option<&Self> {
        if !id.starts_with(self.id.segments()) {
            return None;
        }
        let depths = self.id.segments().len() + 1..=id.len();
        depths.into_iter().try_fold(self, |group, depth| Some(&**group.groups.get(&id[..depth])?))
    }

    /// The group of that id, made with all above it where it is missing. The id must be below this one.
    pub fn group_or_new(&mut self, id: &PathId) -> &mut Self {
        let rest = id.segments()[self.id.segments().len()..].to_vec();
        rest.iter().fold(self, |group, segment| {
            let id = group.id.child(segment);
            Arc::make_mut(group.groups.entry(id.clone()).or_insert_with(|| Arc::new(Self::empty(id))))
        })
    }

    fn group_mut(&mut self, id: &PathId) -> Option<&mut Self> {
        let id = id.segments();
        if !id.starts_with(self.id.segments()) {
            return None;
        }
        let depths = self.id.segments().len() + 1..=id.len();
        depths.into_iter().try_fold(self, |group, depth| Some(Arc::make_mut(group.groups.get_mut(&id[..depth])?)))
    }

    pub fn app(&self, id: &PathId) -> Option<&Arc<App>> {
        let group = id.segments().split_last()?.1;
        self.group_of(group)?.apps.get(id)
    }

    /// Adds or replaces an app; its groups are made where they are missing.
    pub fn put_app(&mut self, app: Arc<App>) {
        if let Some(parent) = app.id.parent() {
            self.group_or_new(&parent).apps.insert(app.id.clone(), app);
        }
    }

    pub fn remove_app(&mut self, id: &PathId) {
        if let Some(group) = id.parent().and_then(|parent| self.group_mut(&parent)) {
            group.apps.remove(id);
        }
    }

    /// Removes a group with all below it; of the root, everything below it.
    pub fn remove_group(&mut self, id: &PathId) {
        if *id == self.id {
            *self = Self::empty(id.clone());
        } else if let Some(group) = id.parent().and_then(|parent| self.group_mut(&parent)) {
            group.groups.remove(id);
        }
    }

    /// Puts a group in the place of the one with its id.
    pub fn put_group(&mut self, new: Self) {
        let id = new.id.clone();
        *self.group_or_new(&id) = new;
    }

    /// All apps, those of groups within included, ordered by group and id.
    pub fn all_apps(&self) -> Vec<&Arc<App>> {
        let mut found = self.apps.values().collect::<Vec<_>>();
        found.extend(self.groups.values().flat_map(|group| group.all_apps()));
        found
    }

    /// This group and all below it.
    pub fn all_groups(&self) -> Vec<&Self> {
        let mut found = vec![self];
        found.extend(self.groups.values().flat_map(|group| group.all_groups()));
        found
    }

    /// The apps that are not the very same in `other`, a tree that this one was made from, or that was made from it.
    pub fn apps_unlike<'a>(&'a self, other: Option<&Self>) -> Vec<&'a Arc<App>> {
        let shared = |app: &Arc<App>| {
            let same = other.and_then(|other| other.apps.get(&app.id));
            same.is_some_and(|same| Arc::ptr_eq(same, app))
        };
        let mut found: Vec<_> = self.apps.values().filter(|app| !shared(app)).collect();
        for (id, group) in &self.groups {
            let theirs = other.and_then(|other| other.groups.get(id));
            if !theirs.is_some_and(|theirs| Arc::ptr_eq(theirs, group)) {
                found.extend(group.apps_unlike(theirs.map(|theirs| &**theirs)));
            }
        }
        found
    }

    pub fn is_empty(&self) -> bool {
        self.apps.is_empty() && self.groups.is_empty()
    }

    /// Changes every app by `change`, which answers nothing for one that stays as it is.
    pub fn map_apps(&mut self, change: &mut dyn FnMut(&App) -> Option<App>) {
        let changed = self.all_apps().into_iter().filter_map(|app| change(app)).collect::<Vec<_>>();
        self.put_apps(changed);
    }

    /// Changes the apps that are not the very same in `old`, likewise.
    pub fn map_apps_unlike(&mut self, old: &Self, change: &mut dyn FnMut(&App) -> Option<App>) {
        let changed = self.apps_unlike(Some(old)).into_iter().filter_map(|app| change(app)).collect::<Vec<_>>();
        self.put_apps(changed);
    }

    fn put_apps(&mut self, apps: Vec<App>) {
        for app in apps {
            self.put_app(Arc::new(app));
        }
    }

    /// Refuses what no tree may hold, whatever its definitions say.
    pub fn check(&self) -> Result<(), InvalidTree> {
        let groups = self.all_groups();
        if groups.iter().any(|group| group.apps.keys().any(|id| group.groups.contains_key(id))) {
            return Err(InvalidTree::SameId);
        }
        self.depths().map(|_| ())
    }

    /// How long the longest chain of dependencies below each app is. Those that depend on nothing are at depth 0, and
    /// are not in the answer.
    pub fn depths(&self) -> Result<BTreeMap<PathId, usize>, InvalidTree> {
        let needs = self.needs_of_apps();
        let mut users: BTreeMap<&PathId, Vec<&PathId>> = BTreeMap::new();
        // How many of an app's needs have no depth yet.
        let mut open: BTreeMap<&PathId, usize> = BTreeMap::new();
        let mut ready = BTreeSet::new();
        for (app, needed) in &needs {
            open.insert(app, needed.len());
            for needed in needed {
                users.entry(needed).or_default().push(app);
                if !needs.contains_key(needed) {
                    ready.insert(*needed);
                }
            }
        }
        let mut depths = BTreeMap::new();
        let mut ready: Vec<(&PathId, usize)> = ready.into_iter().map(|app| (app, 0)).collect();
        while let Some((app, depth)) = ready.pop() {
            for user in users.remove(app).unwrap_or_default() {
                let deepest: &mut usize = depths.entry(user).or_default();
                *deepest = (depth + 1).max(*deepest);
                if let Some(left) = open.get_mut(user) {
                    *left -= 1;
                    if *left == 0 {
                        open.remove(user);
                        ready.push((user, depths[user]));
                    }
                }
            }
        }
        // Whoever still waits waits for itself.
        if open.is_empty() {
            Ok(depths.into_iter().map(|(app, depth)| (app.clone(), depth)).collect())
        } else {
            Err(InvalidTree::Cycle)
        }
    }

    /// For each app that depends on others, those: by itself and through the groups it is in.
    fn needs_of_apps(&self) -> BTreeMap<&PathId, BTreeSet<&PathId>> {
        let mut needs = BTreeMap::new();
        self.collect_needs(self, &mut BTreeSet::new(), &mut needs);
        needs
    }

    fn collect_needs<'a>(
        &'a self,
        root: &'a Self,
        above: &mut BTreeSet<&'a PathId>,
        needs: &mut BTreeMap<&'a PathId, BTreeSet<&'a PathId>>,
    ) {
        let own = self.dependencies.iter().flat_map(|id| root.apps_named(id));
        let new = own.filter(|id| !above.contains(id)).collect::<BTreeSet<_>>();
        above.extend(&new);
        for app in self.apps.values() {
            let mut needed = above.clone();
            needed.extend(app.dependencies.iter().flat_map(|id| root.apps_named(id)));
            if !needed.is_empty() {
                needs.insert(&app.id, needed);
            }
        }
        for group in self.groups.values() {
            group.collect_needs(root, above, needs);
        }
        above.retain(|id| !new.contains(id));
    }

    /// The app of that id, or every app in the group of that id.
    fn apps_named<'a>(&'a self, id: &PathId) -> Vec<&'a PathId> {
        match self.app(id) {
            Some(app) => vec![&app.id],
            None => self.group(id).map(Self::all_apps).unwrap_or_default().into_iter().map(|app| &app.id).collect(),
        }
    }
}

/// Gives every app of `new` its version: the one it has in `old` when nothing changed, `now` otherwise.
///
/// A new number of instances alone is a scaling; any other change is one of the configuration, on which all instances
/// are replaced.
pub fn settle_versions(old: &Group, new: &mut Group, now: Moment) {
    let now = now.to_string();
    new.map_apps_unlike(old, &mut |app| {
        let before = old.app(&app.id);
        if before.is_some_and(|before| **before == *app) {
            return None;
        }
        // A restart changes nothing else, and has its version already.
        if app.version == now && app.version_info.is_some() {
            return None;
        }
        let mut app = app.clone();
        match before.map(|before| (before, before.version_info.as_ref())) {
            Some((before, Some(info))) if same_but_instances(before, &app) => {
                if before.instances == app.instances {
                    app.version.clone_from(&before.version);
                    app.version_info = Some(info.clone());
                } else {
                    app.version.clone_from(&now);
                    app.version_info = Some(VersionInfo { last_scaling_at: now.clone(), ..info.clone() });
                }
            }
            _ => {
                app.version.clone_from(&now);
                app.version_info =
                    Some(VersionInfo { last_scaling_at: now.clone(), last_config_change_at: now.clone() });
            }
        }
        Some(app)
    });
}

/// Marks the app as to be replaced though nothing in it changes.
#[must_use]
pub fn restarted(app: &App, now: Moment) -> App {
    let mut app = app.clone();
    app.version = now.to_string();
    let last_scaling_at =
        app.version_info.as_ref().map_or_else(|| app.version.clone(), |info| info.last_scaling_at.clone());
    app.version_info = Some(VersionInfo { last_scaling_at, last_config_change_at: app.version.clone() });
    app
}

fn same_but_instances(before: &App, after: &App) -> bool {
    let after = App {
        instances: before.instances,
        version: before.version.clone(),
        version_info: before.version_info.clone(),
        ..after.clone()
    };
    *before == after
}

#[cfg(test)]
mod tests {
    use super::super::samples::{EARLY, command, id};
    use super::*;

    fn tree(apps: &[App]) -> Group {
        let mut root = Group::empty(PathId::root());
        for app in apps {
            root.put_app(Arc::new(app.clone()));
        }
        root
    }
    fn depending(app: &str, on: &str) -> App {
        App { dependencies: vec![id(on)], ..command(app) }
    }

    #[test]
    fn putting_an_app_makes_its_groups() {
        let mut root = tree(&[command("/shop/eu/web")]);
        assert!(root.group(&id("/shop/eu")).is_some());
        assert_eq!(root.all_apps().len(), 1);
        root.remove_group(&id("/shop"));
        assert!(root.is_empty());
    }

    #[test]
    fn an_app_and_a_group_may_not_share_an_id() {
        assert_eq!(tree(&[command("/same"), command("/same/x")]).check(), Err(InvalidTree::SameId));
    }

    #[test]
    fn a_cycle_of_dependencies_is_refused_also_through_groups() {
        assert_eq!(tree(&[depending("/g/a", "/g/b"), depending("/g/b", "/g/a")]).check(), Err(InvalidTree::Cycle));
        let mut root = tree(&[command("/g/a"), depending("/h/b", "/g")]);
        assert_eq!(root.check(), Ok(()));
        root.group_or_new(&id("/g")).dependencies.push(id("/h/b"));
        assert_eq!(root.check(), Err(InvalidTree::Cycle));
    }

    #[test]
    fn depth_follows_the_longest_chain() {
        let root = tree(&[command("/a"), depending("/b", "/a"), depending("/c", "/b"), depending("/d", "/nowhere")]);
        let depths = root.depths().unwrap();
        let depth = |name: &str| depths.get(&id(name)).copied();
        assert_eq!([depth("/a"), depth("/b"), depth("/c"), depth("/d")], [None, Some(1), Some(2), None]);
    }

    /// A thousand apps in a row, as one body may hold them, are no work worth speaking of.
    #[test]
    fn a_long_chain_is_followed_to_its_end() {
        const LENGTH: usize = 1000;
        let mut apps = vec![command("/c/app0")];
        apps.extend((1..LENGTH).map(|n| depending(&format!("/c/app{n}"), &format!("/c/app{}", n - 1))));
        let depths = tree(&apps).depths().unwrap();
        assert_eq!(depths[&id(&format!("/c/app{}", LENGTH - 1))], LENGTH - 1);
        apps[0].dependencies.push(id(&format!("/c/app{}", LENGTH - 1)));
        assert_eq!(tree(&apps).check(), Err(InvalidTree::Cycle));
    }

    #[test]
    fn versions_change_with_what_changed() {
        let now = Moment::from_millis(1_900_000_000_000);
        let old = tree(&[command("/a"), command("/b"), command("/c")]);
        let mut new = old.clone();
        new.put_app(Arc::new(App { instances: 5, ..command("/b") }));
        new.put_app(Arc::new(App { mem: 64.0, ..command("/c") }));
        new.put_app(Arc::new(App { version: "anything".into(), version_info: None, ..command("/a") }));
        new.put_app(Arc::new(App { version_info: None, ..command("/d") }));
        settle_versions(&old, &mut new, now);
        let now = now.to_string();
        let versions = |name: &str| {
            let app = new.app(&id(name)).unwrap();
            let info = app.version_info.clone().unwrap();
            (app.version.clone(), info.last_scaling_at, info.last_config_change_at)
        };
        let early = EARLY.to_owned();
        assert_eq!(versions("/a"), (early.clone(), early.clone(), early.clone()));
        assert_eq!(versions("/b"), (now.clone(), now.clone(), early));
        assert_eq!(versions("/c"), (now.clone(), now.clone(), now.clone()));
        assert_eq!(versions("/d"), (now.clone(), now.clone(), now));
    }
}
