//! Requests about apps: definitions, changes, lists of changes.

use std::collections::BTreeMap;

use serde_json::json;

use super::draft::Draft;
use super::normal;
use super::rules::{self, Rules};
use super::shape::{self, Details, Place};
use super::{Asked, Refusal};
use crate::engine::Moment;
use crate::marathon::{App, PathId};

/// What a PUT or PATCH asks of an app.
#[derive(Debug, Clone, PartialEq)]
pub enum AppRequest {
    /// To be this.
    Define(Box<App>),
    /// To be what it was at that version.
    RollBack(Moment),
}

impl AppRequest {
    fn define(app: App) -> Self {
        Self::Define(Box::new(app))
    }
    fn definition(&self) -> Option<&App> {
        match self {
            Self::Define(app) => Some(app),
            Self::RollBack(_) => None,
        }
    }
}

/// Reads a POST of an app. The answer has neither version nor service ports yet.
pub fn read_app(body: &[u8], rules: &Rules) -> Result<App, Refusal> {
    let draft = shape::read_whole(&shape::parse(body)?, Draft::of_app)?;
    let id = sent_id(&draft, &PathId::root())?.unwrap_or_else(PathId::root);
    normal::complete(draft, &id, &PathId::root(), rules)
}

/// The body of a PUT or PATCH of one app: its shape is right, and no more is known.
#[derive(Debug, Clone, PartialEq)]
pub struct AppDraft(Draft);

impl AppDraft {
    pub fn read(body: &[u8]) -> Result<Self, Refusal> {
        shape::read_whole(&shape::parse(body)?, Draft::of_update).map(Self)
    }

    /// What a PUT asks of the app `id`, of which `current` is the present definition.
    ///
    /// A partial change keeps what it does not name, with the version and all; a whole one (`partial` false) and one of
    /// an unknown app is a definition in full. The id in the body does not count.
    pub fn change(
        self,
        id: &PathId,
        current: Option<&App>,
        partial: bool,
        rules: &Rules,
    ) -> Result<AppRequest, Refusal> {
        change(self.0, id, current, partial, rules)
    }

    /// What a PATCH asks: as a partial PUT, but an unknown app is not made. It is still looked at first, as Marathon
    /// does: 422 if it would not make an app, 404 otherwise.
    pub fn patch(self, id: &PathId, current: Option<&App>, rules: &Rules) -> Result<AppRequest, Refusal> {
        let request = self.change(id, current, true, rules)?;
        if current.is_some() { Ok(request) } else { Err(Refusal::unknown_app(id, Asked::ByChanging)) }
    }
}

/// The body of a PUT or PATCH of a list of apps.
#[derive(Debug, Clone, PartialEq)]
pub struct AppDrafts {
    drafts: Vec<Draft>,
    partial: bool,
}

impl AppDrafts {
    pub fn read(body: &[u8], partial: bool) -> Result<Self, Refusal> {
        let read = |place: &Place| place.list(if partial { Draft::of_update } else { Draft::of_app });
        let drafts = shape::read_whole(&shape::parse(body)?, read)?;
        Ok(Self { drafts, partial })
    }

    /// What is asked of each app; `find` knows the present definitions, and `create` says whether unknown apps are made
    /// or refused.
    pub fn changes<'a>(
        self,
        create: bool,
        find: impl Fn(&PathId) -> Option<&'a App>,
        rules: &Rules,
    ) -> Result<Vec<(PathId, AppRequest)>, Refusal> {
        let mut changes: BTreeMap<PathId, AppRequest> = BTreeMap::new();
        for draft in self.drafts {
            let Some(id) = sent_id(&draft, &PathId::root())? else {
                return Err(Refusal::unprocessable("requirement failed: App Update must have app id set"));
            };
            // What stands further up in the list has happened already.
            let earlier = changes.get(&id).and_then(AppRequest::definition);
            let request = match earlier.or_else(|| find(&id)) {
                None if !create => return Err(Refusal::unknown_app(&id, Asked::ByChanging)),
                None if self.partial => {
                    let draft = Draft::of_nothing().changed_by(normal::migrated_update(draft)?);
                    AppRequest::define(normal::complete(draft, &id, &PathId::root(), rules)?)
                }
                current => change(draft, &id, current, self.partial, rules)?,
            };
            changes.insert(id, request);
        }
        Ok(changes.into_iter().collect())
    }
}

/// The task ids of `POST /v2/tasks/delete`.
pub fn read_task_ids(body: &[u8]) -> Result<Vec<String>, Refusal> {
    let value = shape::parse(body)?;
    if value.get("ids").is_none() {
        let error = format!("'ids' is undefined on object: {value}");
        let body = json!({ "message": "Invalid JSON", "details": [{ "path": "", "errors": [error] }] });
        return Err(Refusal { status: 422, body });
    }
    let ids = shape::read_whole(&value, |place| place.object()?.required("ids", |ids| ids.set(Place::text)))?;
    match ids.iter().find(|id| !is_task_id(id)) {
        Some(bad) => Err(Refusal::bad_task_id(bad)),
        None => Ok(ids),
    }
}

/// `<app>.instance-<uuid>._app.<n>`, and the older forms `<app>.<uuid>` and `<app>.instance-<uuid>.<container>`.
fn is_task_id(text: &str) -> bool {
    const UUID: usize = 36;
    let is_uuid = |text: &str| text.len() == UUID && text.parse::<uuid::Uuid>().is_ok();
    let instance = |text: &str| {
        let rest = ["instance-", "marathon-"].iter().find_map(|prefix| text.strip_prefix(prefix));
        rest.is_some_and(|rest| rest.split_once('.').is_some_and(|(id, task)| is_uuid(id) && !task.is_empty()))
    };
    let mut after_dots = text.match_indices('.').filter(|(at, _)| *at > 0).map(|(at, _)| &text[at + 1..]);
    after_dots.any(|rest| is_uuid(rest) || instance(rest))
}

/// The id in the body, below `base`.
pub(super) fn sent_id(draft: &Draft, base: &PathId) -> Result<Option<PathId>, Refusal> {
    let Some(text) = &draft.id else { return Ok(None) };
    rules::resolve(text, base, "error.pattern").map(Some).map_err(|error| Details::rule("/id", &error))
}

fn change(
    draft: Draft,
    id: &PathId,
    current: Option<&App>,
    partial: bool,
    rules: &Rules,
) -> Result<AppRequest, Refusal> {
    let Some(current) = current.filter(|_| partial) else {
        // Marathon loses this one on the way.
        let draft = Draft { executor_resources: None, ..draft };
        return normal::complete(draft, id, &PathId::root(), rules).map(AppRequest::define);
    };
    if let Some(version) = draft.version {
        let text = "The 'version' field may only be combined with the 'id' field.";
        let alone = draft.is_only_a_version();
        return if alone { Ok(AppRequest::RollBack(version)) } else { Err(Details::rule("/", text)) };
    }
    let role = current.role.clone();
    let draft = Draft::of_present(current).changed_by(normal::migrated_update(draft)?);
    // An app keeps the role it has, whatever the rules say of new ones.
    let rules = if draft.role.as_ref() == Some(&role) { Rules { role, ..rules.clone() } } else { rules.clone() };
    let app = normal::complete(draft, id, &PathId::root(), &rules)?;
    Ok(AppRequest::define(App { version: current.version.clone(), version_info: current.version_info.clone(), ..app }))
}
