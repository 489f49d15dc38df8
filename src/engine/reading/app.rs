//! Requests about apps: definitions, changes, lists of changes.

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
}

/// Reads a POST of an app. The answer has neither version nor service ports yet.
pub fn read_app(body: &[u8], rules: &Rules) -> Result<App, Refusal> {
    let draft = shape::read_whole(&shape::parse(body)?, Draft::of_app)?;
    let id = sent_id(&draft, &PathId::root())?.unwrap_or_else(PathId::root);
    normal::complete(draft, &id, &PathId::root(), rules)
}

/// Reads a PUT or PATCH of the app `id`, of which `current` is the present definition.
///
/// A partial change keeps what it does not name, with the version and all; a whole one (`partial` false) and one of an
/// unknown app is a definition in full. The id in the body does not count.
pub fn read_app_change(
    body: &[u8],
    id: &PathId,
    current: Option<&App>,
    partial: bool,
    rules: &Rules,
) -> Result<AppRequest, Refusal> {
    let draft = shape::read_whole(&shape::parse(body)?, Draft::of_update)?;
    change(draft, id, current, partial, rules)
}

/// Reads a PATCH of the app `id`: as a partial PUT, but an unknown app is not made. It is still looked at first, as
/// Marathon does: 422 if it would not make an app, 404 otherwise.
pub fn read_app_patch(body: &[u8], id: &PathId, current: Option<&App>, rules: &Rules) -> Result<AppRequest, Refusal> {
    let request = read_app_change(body, id, current, true, rules)?;
    if current.is_some() { Ok(request) } else { Err(Refusal::unknown_app(id, Asked::ByChanging)) }
}

/// Reads a PUT or PATCH of a list of apps; `find` knows the present definitions, and `create` says whether unknown apps
/// are made or refused.
pub fn read_app_changes<'a>(
    body: &[u8],
    partial: bool,
    create: bool,
    find: impl Fn(&PathId) -> Option<&'a App>,
    rules: &Rules,
) -> Result<Vec<(PathId, AppRequest)>, Refusal> {
    let read = |place: &Place| place.list(if partial { Draft::of_update } else { Draft::of_app });
    let drafts = shape::read_whole(&shape::parse(body)?, read)?;
    let mut changes = Vec::new();
    for draft in drafts {
        let Some(id) = sent_id(&draft, &PathId::root())? else {
            return Err(Refusal::unprocessable("requirement failed: App Update must have app id set"));
        };
        let request = match find(&id) {
            None if !create => return Err(Refusal::unknown_app(&id, Asked::ByChanging)),
            None if partial => {
                let draft = Draft::of_nothing().changed_by(normal::migrated_update(draft)?);
                AppRequest::define(normal::complete(draft, &id, &PathId::root(), rules)?)
            }
            current => change(draft, &id, current, partial, rules)?,
        };
        changes.push((id, request));
    }
    Ok(changes)
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
    rules::resolve(text, base).map(Some).ok_or_else(|| Details::rule("/id", "error.pattern"))
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
