//! Requests about groups.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::draft::Draft;
use super::parts;
use super::rules::{self, Rules};
use super::shape::{self, Details, Place};
use super::{Asked, Refusal, app, normal};
use crate::engine::Moment;
use crate::engine::group::Group;
use crate::marathon::{App, PathId};

/// A change of one group.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupRequest {
    /// The URL's group, or the one below it that the body names.
    pub id: PathId,
    pub change: GroupChange,
}

#[derive(Debug, Clone, PartialEq)]
pub enum GroupChange {
    /// Multiplies the instances of every app below, rounded up.
    ScaleBy(f64),
    /// Brings back what the group was at that version.
    RollBack(Moment),
    Contents(Contents),
}

/// What a group is to hold. A list that is absent is kept as it is, one that is there is the whole list.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Contents {
    /// Without versions, which are settled later.
    pub apps: Option<Vec<App>>,
    pub groups: Option<Vec<(PathId, Contents)>>,
    pub dependencies: Option<Vec<PathId>>,
    pub enforce_role: Option<bool>,
}

/// Reads a POST or PUT of the group that the URL names.
pub fn read_group(body: &[u8], url: &PathId, rules: &Rules) -> Result<GroupRequest, Refusal> {
    let draft = shape::read_whole(&shape::parse(body)?, GroupDraft::of)?;
    let id = draft.below(url, "/id")?;
    let change = match (draft.scale_by, draft.version) {
        (None, None) => GroupChange::Contents(draft.contents(&id, "", rules)?),
        (Some(factor), None) if !draft.has_contents() => GroupChange::ScaleBy(factor),
        (None, Some(version)) if !draft.has_contents() => GroupChange::RollBack(version),
        (factor, version) => {
            let mut details = Details::default();
            let text = "not allowed in conjunction with other properties.";
            details.require(factor.is_none(), "/scaleBy", text);
            details.require(version.is_none(), "/version", text);
            details.or_valid(GroupChange::ScaleBy(1.0))?
        }
    };
    Ok(GroupRequest { id, change })
}

/// Reads a PATCH of a group: whether it enforces its role, if it says that.
pub fn read_group_patch(body: &[u8]) -> Result<Option<bool>, Refusal> {
    let enforce = |place: &Place| Some(place.object()?.optional("enforceRole", Place::boolean));
    shape::read_whole(&shape::parse(body)?, enforce)
}

/// The tree after a change of contents or scale; a roll back is the caller's, who keeps the past
/// (`Refusal::group_version_unavailable`). Versions, service ports and `Group::check` are still to come.
pub fn apply_group(root: &Group, request: &GroupRequest) -> Result<Group, Refusal> {
    let mut root = root.clone();
    match &request.change {
        GroupChange::Contents(contents) => contents.apply(root.group_or_new(&request.id)),
        GroupChange::RollBack(_) => {}
        GroupChange::ScaleBy(factor) => {
            if root.group(&request.id).is_none() {
                return Err(Refusal::unknown_group(&request.id, Asked::ByChanging));
            }
            root.group_or_new(&request.id)
                .map_apps(&mut |app| Some(App { instances: scaled(app.instances, *factor), ..app.clone() }));
        }
    }
    Ok(root)
}

fn scaled(instances: u32, factor: f64) -> u32 {
    let scaled = (f64::from(instances) * factor).ceil().min(f64::from(i32::MAX));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number from 0 to 2^31 - 1")]
    let scaled = scaled as u32;
    scaled
}

impl Contents {
    fn apply(&self, group: &mut Group) {
        if let Some(apps) = &self.apps {
            group.apps = apps.iter().map(|app| (app.id.clone(), Arc::new(app.clone()))).collect();
        }
        if let Some(dependencies) = &self.dependencies {
            group.dependencies.clone_from(dependencies);
        }
        if let Some(enforce) = self.enforce_role {
            group.enforce_role = enforce;
        }
        if let Some(groups) = &self.groups {
            let mut before = std::mem::take(&mut group.groups);
            for (id, contents) in groups {
                let mut below = before.remove(id).unwrap_or_else(|| Arc::new(Group::empty(id.clone())));
                contents.apply(Arc::make_mut(&mut below));
                group.groups.insert(id.clone(), below);
            }
        }
    }
}

/// What was sent of a group.
#[derive(Debug, Clone, Default, PartialEq)]
struct GroupDraft {
    id: Option<String>,
    apps: Option<Vec<Draft>>,
    groups: Option<Vec<GroupDraft>>,
    dependencies: Option<Vec<String>>,
    scale_by: Option<f64>,
    version: Option<Moment>,
    enforce_role: Option<bool>,
    pods: bool,
}

impl GroupDraft {
    fn of(place: &Place) -> Option<Self> {
        let object = place.object()?;
        Some(Self {
            id: object.optional("id", parts::id),
            // Sets; what is said twice is one by its id.
            apps: object.optional("apps", |p| p.list(Draft::of_app)),
            groups: object.optional("groups", |p| p.list(Self::of)),
            dependencies: object.optional("dependencies", |p| p.set(Place::text)),
            scale_by: object.optional("scaleBy", |p| p.number(0.0, f64::MAX)),
            version: object.optional("version", parts::moment),
            enforce_role: object.optional("enforceRole", Place::boolean),
            pods: object.optional("pods", |p| p.list(|_| Some(()))).is_some_and(|pods| !pods.is_empty()),
        })
    }
    fn has_contents(&self) -> bool {
        self.apps.is_some() || self.groups.is_some() || self.dependencies.is_some() || self.enforce_role.is_some()
    }
    fn below(&self, base: &PathId, path: &str) -> Result<PathId, Refusal> {
        match &self.id {
            None => Ok(base.clone()),
            Some(text) => rules::resolve(text, base, "error.pattern").map_err(|error| Details::rule(path, &error)),
        }
    }

    /// What the group `id` is to hold; `path` is where it stands in what was sent.
    fn contents(self, id: &PathId, path: &str, rules: &Rules) -> Result<Contents, Refusal> {
        if self.pods {
            return Err(Details::rule(&format!("{path}/pods"), &rules::feature("pods")));
        }
        if self.enforce_role == Some(true) {
            return Err(Details::rule(&format!("{path}/enforceRole"), "is not supported by this engine"));
        }
        let dependencies = match self.dependencies {
            Some(texts) => Some(rules::dependencies(&texts, id)?),
            None => None,
        };
        let apps = match self.apps {
            Some(apps) => Some(read_apps(apps, id, path, rules)?),
            None => None,
        };
        let groups = match self.groups {
            Some(groups) => Some(read_groups(groups, id, path, rules)?),
            None => None,
        };
        Ok(Contents { apps, groups, dependencies, enforce_role: self.enforce_role })
    }
}

/// The apps of a group, each directly below it. Of two with one id the last counts.
fn read_apps(drafts: Vec<Draft>, group: &PathId, path: &str, rules: &Rules) -> Result<Vec<App>, Refusal> {
    let mut apps = BTreeMap::new();
    for (index, draft) in drafts.into_iter().enumerate() {
        let path = format!("{path}/apps({index})");
        let id = app::sent_id(&draft, group)?.unwrap_or_else(|| group.clone());
        check_is_child(&id, group, &path)?;
        let app = normal::complete(draft, &id, group, rules).map_err(|refusal| refusal.below(&path))?;
        apps.insert(app.id.clone(), app);
    }
    Ok(apps.into_values().collect())
}

fn read_groups(
    drafts: Vec<GroupDraft>,
    group: &PathId,
    path: &str,
    rules: &Rules,
) -> Result<Vec<(PathId, Contents)>, Refusal> {
    let mut groups = BTreeMap::new();
    for (index, draft) in drafts.into_iter().enumerate() {
        let path = format!("{path}/groups({index})");
        if draft.scale_by.is_some() || draft.version.is_some() {
            let field = if draft.scale_by.is_some() { "scaleBy" } else { "version" };
            return Err(Details::rule(&format!("{path}/{field}"), "must be empty"));
        }
        if draft.id.is_none() {
            return Err(Details::rule(&format!("{path}/id"), "must not be empty"));
        }
        let id = draft.below(group, &format!("{path}/id"))?;
        check_is_child(&id, group, &path)?;
        let contents = draft.contents(&id, &path, rules)?;
        groups.insert(id, contents);
    }
    Ok(groups.into_iter().collect())
}

fn check_is_child(id: &PathId, group: &PathId, path: &str) -> Result<(), Refusal> {
    if id.parent().as_ref() == Some(group) {
        return Ok(());
    }
    Err(Details::rule(&format!("{path}/id"), &format!("Identifier is not child of '{group}'")))
}
