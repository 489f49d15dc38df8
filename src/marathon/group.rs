//! Groups of apps: the tree that Marathon keeps, and the change of it that a client sends.

use serde::{Deserialize, Serialize};

use super::{App, AppInfo, PathId};

/// A group and all below it. `Group<App>` is the tree itself; [`GroupInfo`] is the answer to a GET.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Group<A = App> {
    pub id: PathId,
    #[serde(default = "Vec::new")]
    pub apps: Vec<A>,
    #[serde(default)]
    pub pods: Vec<serde_json::Value>,
    #[serde(default = "Vec::new")]
    pub groups: Vec<Group<A>>,
    /// Apps or groups, absolute.
    #[serde(default)]
    pub dependencies: Vec<PathId>,
    /// The time of the last change of anything in the tree.
    pub version: String,
    /// Top-level groups alone have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enforce_role: Option<bool>,
}

/// `GroupInfo` in Marathon's API.
pub type GroupInfo = Group<AppInfo>;

impl<A> Group<A> {
    /// An empty group.
    pub fn new(id: PathId, version: impl Into<String>) -> Self {
        let enforce_role = (id.segments().len() == 1).then_some(false);
        Self {
            id,
            apps: Vec::new(),
            pods: Vec::new(),
            groups: Vec::new(),
            dependencies: Vec::new(),
            version: version.into(),
            enforce_role,
        }
    }
    /// This group or the one of that id below it.
    pub fn find(&self, id: &PathId) -> Option<&Self> {
        if self.id == *id {
            return Some(self);
        }
        self.groups.iter().find(|group| group.id == *id || id.is_below(&group.id))?.find(id)
    }
    pub fn find_mut(&mut self, id: &PathId) -> Option<&mut Self> {
        if self.id == *id {
            return Some(self);
        }
        self.groups.iter_mut().find(|group| group.id == *id || id.is_below(&group.id))?.find_mut(id)
    }
    /// Every group of the tree, this one first.
    pub fn all_groups(&self) -> Vec<&Self> {
        let mut all = vec![self];
        all.extend(self.groups.iter().flat_map(Self::all_groups));
        all
    }
    /// Every app of the tree, in the order of the groups.
    pub fn all_apps(&self) -> Vec<&A> {
        self.all_groups().into_iter().flat_map(|group| &group.apps).collect()
    }
    /// The same tree of something else, such as apps with their counts.
    pub fn map<B>(&self, to: &mut impl FnMut(&A) -> B) -> Group<B> {
        Group {
            id: self.id.clone(),
            apps: self.apps.iter().map(&mut *to).collect(),
            pods: self.pods.clone(),
            groups: self.groups.iter().map(|group| group.map(to)).collect(),
            dependencies: self.dependencies.clone(),
            version: self.version.clone(),
            enforce_role: self.enforce_role,
        }
    }
}

impl Group<App> {
    pub fn app(&self, id: &PathId) -> Option<&App> {
        self.find(&id.parent()?)?.apps.iter().find(|app| app.id == *id)
    }
    pub fn app_mut(&mut self, id: &PathId) -> Option<&mut App> {
        self.find_mut(&id.parent()?)?.apps.iter_mut().find(|app| app.id == *id)
    }
}

/// What a client sends to change a group. Lists that are absent are kept, those present are the whole list.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupUpdate {
    /// Relative to the URL's group; absent: that group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<PathId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apps: Option<Vec<App>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<GroupUpdate>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dependencies: Option<Vec<PathId>>,
    /// Alone: multiplies the instances of every app below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_by: Option<f64>,
    /// Alone: rolls the group back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

impl GroupUpdate {
    /// Exactly these apps, others of the group stopped and removed.
    pub fn of_apps(apps: Vec<App>) -> Self {
        Self { apps: Some(apps), ..Self::default() }
    }
    /// Back to what the group was at that version.
    pub fn roll_back_to(version: impl Into<String>) -> Self {
        Self { version: Some(version.into()), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Group {
        let mut root = Group::new(PathId::root(), "v");
        let mut shop = Group::new("/shop".parse().unwrap(), "v");
        shop.apps.push(App::new("/shop/web".parse().unwrap()));
        shop.groups.push(Group::new("/shop/jobs".parse().unwrap(), "v"));
        root.groups.push(shop);
        root
    }

    #[test]
    fn apps_and_groups_are_found_by_id() {
        let root = tree();
        assert!(root.app(&"/shop/web".parse().unwrap()).is_some());
        assert!(root.app(&"/shop/jobs".parse().unwrap()).is_none());
        assert_eq!(root.find(&"/shop/jobs".parse().unwrap()).unwrap().id.to_string(), "/shop/jobs");
        assert!(root.find(&"/shopping".parse().unwrap()).is_none());
        assert_eq!((root.all_groups().len(), root.all_apps().len()), (3, 1));
    }

    #[test]
    fn only_top_level_groups_say_whether_roles_are_enforced() {
        let json = serde_json::to_value(tree()).unwrap();
        assert!(json.get("enforceRole").is_none());
        assert_eq!(json["groups"][0]["enforceRole"], false);
        assert!(json["groups"][0]["groups"][0].get("enforceRole").is_none());
    }

    #[test]
    fn an_update_says_only_what_it_changes() {
        assert_eq!(serde_json::to_string(&GroupUpdate::of_apps(Vec::new())).unwrap(), r#"{"apps":[]}"#);
        assert_eq!(serde_json::to_string(&GroupUpdate::roll_back_to("t")).unwrap(), r#"{"version":"t"}"#);
    }
}
