//! `/v2/apps`: definitions of apps.

use std::sync::Arc;

use axum::http::Method;

use super::super::core::{Accepted, How};
use super::super::group::{self, Group};
use super::super::reading::{self, AppDraft, AppDrafts, AppRequest, Asked as Told, Refusal};
use super::super::supervisor::Desk;
use super::super::{Moment, admission, event};
use super::answer::Answer;
use super::labels::Selector;
use super::request::Asked;
use super::views::{Embed, Look};
use super::{Api, how, parent};
use crate::marathon::{App, AppInfo, Identifiable, PathId, TaskCounts};

impl Api {
    pub(super) fn list_apps(&self, asked: &Asked) -> Result<Answer, Refusal> {
        let filter = Filter::of(asked)?;
        let embed = Embed::LIST.with(asked.all("embed").iter().map(String::as_str));
        let state = self.look();
        let chosen = state.root().all_apps().into_iter().filter(|app| filter.lets_pass(app));
        Ok(Answer::named("apps", &Look::after(&state, &self.0.rendered).apps(chosen, embed)))
    }

    pub(super) fn apps_below(&self, group: &PathId, asked: &Asked) -> Result<Answer, Refusal> {
        let embed = Embed::ONE.with(asked.all("embed").iter().map(String::as_str));
        let state = self.look();
        let found = state.root().group(group).ok_or_else(|| Refusal::unknown_group(group, Told::ByLooking))?;
        Ok(Answer::named("*", &Look::after(&state, &self.0.rendered).apps(found.all_apps(), embed)))
    }

    pub(super) fn show_app(&self, id: &PathId, asked: &Asked) -> Result<Answer, Refusal> {
        let embed = Embed::ONE.with(asked.all("embed").iter().map(String::as_str));
        let state = self.look();
        let app = state.app(id).ok_or_else(|| Refusal::unknown_app(id, Told::ByLooking))?;
        Ok(Answer::named("app", &Look::at(&state).app(app, embed)))
    }

    pub(super) async fn create_app(&self, asked: Asked) -> Result<Answer, Refusal> {
        let app = reading::read_app(&asked.body, &self.shared().rules)?;
        let (id, how) = (app.id.clone(), how(&asked, false, parent(&app.id)));
        let (client, uri) = (asked.client_ip(), asked.uri.path().to_owned());
        let made = self.shared().asker.ask(move |desk| {
            if desk.core.app(&app.id).is_some() {
                return Err(Refusal::app_exists(&app.id));
            }
            // What is answered has its version, and neither its ports nor the version's history.
            let version = desk.core.fresh_version();
            let shown = App { version: version.to_string(), version_info: None, ..app.clone() };
            let mut tree = desk.core.root().clone();
            tree.put_app(Arc::new(app));
            let accepted = change(desk, tree, version, &how)?;
            desk.core.tell(event::api_post(client, &uri, &shown));
            Ok((shown, accepted))
        });
        let (shown, accepted) = made.await??;
        let info = AppInfo {
            counts: Some(TaskCounts::default()),
            deployments: Some(vec![Identifiable { id: accepted.deployment }]),
            ..AppInfo::new(shown)
        };
        let location = asked.location(&self.shared().leader, &id);
        Ok(Answer::json(&info).created(&location).begun_by(accepted))
    }

    pub(super) async fn put_app(&self, id: PathId, asked: Asked) -> Result<Answer, Refusal> {
        let partial = asked.flag("partialUpdate", true);
        let rules = self.shared().rules.clone();
        let location = asked.location(&self.shared().leader, &id);
        let draft = AppDraft::read(&asked.body)?;
        let read = move |id: &PathId, current: Option<&App>| draft.change(id, current, partial, &rules);
        let (existed, accepted) = self.change_app(id, &asked, read).await?;
        let answer = Answer::deployment(accepted);
        Ok(if existed { answer } else { answer.created(&location) })
    }

    pub(super) async fn patch_app(&self, id: PathId, asked: Asked) -> Result<Answer, Refusal> {
        let rules = self.shared().rules.clone();
        let draft = AppDraft::read(&asked.body)?;
        let read = move |id: &PathId, current: Option<&App>| draft.patch(id, current, &rules);
        let (_, accepted) = self.change_app(id, &asked, read).await?;
        Ok(Answer::deployment(accepted))
    }

    /// Changes one app; answers whether it was there before.
    async fn change_app(
        &self,
        id: PathId,
        asked: &Asked,
        read: impl FnOnce(&PathId, Option<&App>) -> Result<AppRequest, Refusal> + Send + 'static,
    ) -> Result<(bool, Accepted), Refusal> {
        let how = how(asked, false, parent(&id));
        let (client, uri) = (asked.client_ip(), asked.uri.path().to_owned());
        let changed = self.shared().asker.ask(move |desk| {
            let current = desk.core.app(&id).cloned();
            let app = definition(desk, &id, read(&id, current.as_deref())?)?;
            let mut tree = desk.core.root().clone();
            tree.put_app(Arc::new(app));
            let version = desk.core.fresh_version();
            let accepted = change(desk, tree, version, &how)?;
            if let Some(app) = desk.core.app(&id).cloned() {
                desk.core.tell(event::api_post(client, &uri, &app));
            }
            Ok::<_, Refusal>((current.is_some(), accepted))
        });
        changed.await?
    }

    pub(super) async fn change_apps(&self, asked: Asked) -> Result<Answer, Refusal> {
        let create = asked.method == Method::PUT;
        let partial = asked.flag("partialUpdate", true) || !create;
        let rules = self.shared().rules.clone();
        let how = how(&asked, false, PathId::root());
        let drafts = AppDrafts::read(&asked.body, partial)?;
        let accepted = self.shared().asker.ask(move |desk| {
            let root = desk.core.root();
            let find = |id: &PathId| root.app(id).map(|app| &**app);
            let requests = drafts.changes(create, find, &rules)?;
            let mut tree = root.clone();
            for (id, request) in requests {
                tree.put_app(Arc::new(definition(desk, &id, request)?));
            }
            let version = desk.core.fresh_version();
            change(desk, tree, version, &how)
        });
        Ok(Answer::deployment(accepted.await??))
    }

    pub(super) async fn delete_app(&self, id: PathId, asked: Asked) -> Result<Answer, Refusal> {
        let how = how(&asked, true, parent(&id));
        let accepted = self.shared().asker.ask(move |desk| {
            let mut tree = desk.core.root().clone();
            tree.app(&id).ok_or_else(|| Refusal::unknown_app(&id, Told::ByChanging))?;
            tree.remove_app(&id);
            let version = desk.core.fresh_version();
            change(desk, tree, version, &how)
        });
        Ok(Answer::deployment(accepted.await??))
    }

    pub(super) async fn restart_app(&self, id: PathId, asked: Asked) -> Result<Answer, Refusal> {
        let how = how(&asked, false, parent(&id));
        let accepted = self.shared().asker.ask(move |desk| {
            let app = desk.core.app(&id).ok_or_else(|| Refusal::unknown_app(&id, Told::ByChanging))?;
            let version = desk.core.fresh_version();
            let restarted = group::restarted(app, version);
            let mut tree = desk.core.root().clone();
            tree.put_app(Arc::new(restarted));
            change(desk, tree, version, &how)
        });
        Ok(Answer::deployment(accepted.await??))
    }

    pub(super) async fn app_versions(&self, id: PathId) -> Result<Answer, Refusal> {
        self.look().app(&id).ok_or_else(|| Refusal::unknown_app(&id, Told::ByLooking))?;
        let versions = self.shared().past.read(move |past| past.app_versions(&id)).await?;
        Ok(Answer::named("versions", &versions))
    }

    pub(super) async fn app_version(&self, id: PathId, version: String) -> Result<Answer, Refusal> {
        let at = Self::version(&version)?;
        let app = id.clone();
        let found = self.shared().past.read(move |past| past.app(&app, &at.to_string())).await?;
        Ok(Answer::json(&found.ok_or_else(|| Refusal::unknown_app_version(&id, at))?))
    }
}

/// The definition that a request asks for.
fn definition(desk: &Desk, id: &PathId, request: AppRequest) -> Result<App, Refusal> {
    match request {
        AppRequest::Define(app) => Ok(*app),
        AppRequest::RollBack(version) => {
            let found = desk.journal.app(id, &version.to_string())?;
            found.ok_or_else(|| Refusal::unknown_app(id, Told::ByChanging))
        }
    }
}

/// Asks for another tree, if this engine can run what is in it; the ports of apps are settled first.
pub(super) fn change(desk: &mut Desk, mut tree: Group, version: Moment, how: &How) -> Result<Accepted, Refusal> {
    reading::settle(desk.core.root(), &mut tree)?;
    admission::admit(desk.core.root(), &tree, &desk.rules)?;
    Ok(desk.core.change(tree, version, how)?)
}

/// Which apps a list has.
struct Filter {
    cmd: Option<String>,
    id: Option<String>,
    label: Option<Selector>,
}

impl Filter {
    fn of(asked: &Asked) -> Result<Self, Refusal> {
        let lower = |name: &str| asked.one(name).map(str::to_lowercase);
        let label = asked.one("label").map(Selector::parse).transpose();
        let label = label.map_err(|error| Refusal::unprocessable(error.to_string()))?;
        Ok(Self { cmd: lower("cmd"), id: lower("id"), label })
    }
    /// An app without a command has none that could hold a text, not even the empty one.
    fn lets_pass(&self, app: &App) -> bool {
        let cmd_holds = |wanted: &String| app.cmd.as_ref().is_some_and(|cmd| cmd.to_lowercase().contains(wanted));
        self.cmd.as_ref().is_none_or(cmd_holds)
            && self.id.as_ref().is_none_or(|wanted| app.id.to_string().contains(wanted))
            && self.label.as_ref().is_none_or(|wanted| wanted.matches(&app.labels))
    }
}
