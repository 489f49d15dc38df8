//! `/v2/groups`: the tree.

use std::collections::BTreeSet;

use axum::http::StatusCode;

use super::super::core::{Accepted, Core, How};
use super::super::group::Group;
use super::super::journal::Records;
use super::super::reading::{self, Asked as Told, Contents, GroupChange, GroupRequest, Refusal};
use super::super::supervisor::Desk;
use super::answer::Answer;
use super::apps::change;
use super::request::Asked;
use super::views::{Embed, GroupEmbed, Look};
use super::{Api, how, parent};
use crate::marathon::{DryRun, PathId};

impl Api {
    pub(super) fn show_group(&self, id: &PathId, asked: &Asked) -> Result<Answer, Refusal> {
        let embed = GroupEmbed::of(&asked.all("embed"));
        let state = self.look();
        let found = state.root().group(id).ok_or_else(|| Refusal::unknown_group(id, Told::ByLooking))?;
        Ok(Answer::json(&Look::after(&state, &self.0.rendered).group(found, state.root_version(), embed)))
    }

    pub(super) fn apps_of_group(&self, id: &PathId, asked: &Asked) -> Result<Answer, Refusal> {
        let embed = Embed::NOTHING.with(asked.all("embed").iter().map(String::as_str));
        let state = self.look();
        let found = state.root().group(id).ok_or_else(|| Refusal::unknown_group(id, Told::ByLooking))?;
        Ok(Answer::json(&Look::after(&state, &self.0.rendered).apps(found.all_apps(), embed)))
    }

    pub(super) async fn group_versions(&self, id: PathId) -> Result<Answer, Refusal> {
        self.look().root().group(&id).ok_or_else(|| Refusal::unknown_group(&id, Told::ByLooking))?;
        Ok(Answer::json(&self.shared().past.read(Records::tree_versions).await?))
    }

    pub(super) async fn group_version(&self, id: PathId, version: String, asked: Asked) -> Result<Answer, Refusal> {
        let at = Self::version(&version)?;
        let embed = GroupEmbed::of(&asked.all("embed"));
        let tree = self.shared().past.read(move |past| past.tree(at)).await?;
        let found = tree.as_ref().and_then(|tree| tree.group(&id));
        let found = found.ok_or_else(|| Refusal::unknown_group_version(&id, at))?;
        let state = self.look();
        Ok(Answer::json(&Look::at(&state).group(found, at, embed)))
    }

    pub(super) async fn create_group(&self, url: PathId, asked: Asked) -> Result<Answer, Refusal> {
        let request = reading::read_group(&asked.body, &url, &self.shared().rules)?;
        let location = asked.location(&self.shared().leader, &request.id);
        let how = how(&asked, false, parent(&request.id));
        let accepted = self.shared().asker.ask(move |desk| {
            let root = desk.core.root();
            if root.group(&request.id).is_some() {
                return Err(Refusal::group_exists(&request.id));
            }
            if root.app(&request.id).is_some() {
                return Err(Refusal::app_in_the_way(&request.id));
            }
            change_group(desk, &request, &how)
        });
        let accepted = accepted.await??;
        Ok(Answer::deployment(accepted).created(&location))
    }

    pub(super) async fn put_group(&self, url: PathId, asked: Asked) -> Result<Answer, Refusal> {
        let request = reading::read_group(&asked.body, &url, &self.shared().rules)?;
        let how = how(&asked, false, parent(&request.id));
        if asked.flag("dryRun", false) {
            let steps = self.shared().asker.ask(move |desk| dry_run(desk, &request)).await??;
            return Ok(Answer::json(&steps));
        }
        let accepted = self.shared().asker.ask(move |desk| change_group(desk, &request, &how)).await??;
        Ok(Answer::deployment(accepted))
    }

    /// Says whether a top-level group enforces its role.
    pub(super) async fn patch_group(&self, id: PathId, asked: Asked) -> Result<Answer, Refusal> {
        let enforce = reading::read_group_patch(&asked.body)?;
        let done = self.shared().asker.ask(move |desk| {
            desk.core.root().group(&id).ok_or_else(|| Refusal::unknown_group(&id, Told::ByLooking))?;
            match enforce {
                Some(enforce) if id.segments().len() == 1 => {
                    desk.core.enforce_role(&id, enforce);
                    Ok(())
                }
                Some(_) => Err(Refusal::unprocessable("enforceRole can only be changed for top-level groups.")),
                None => Err(Refusal::unprocessable("Only enforceRole can be changed.")),
            }
        });
        done.await??;
        Ok(Answer::empty(StatusCode::OK))
    }

    pub(super) async fn delete_group(&self, id: PathId, asked: Asked) -> Result<Answer, Refusal> {
        let how = how(&asked, false, parent(&id));
        let accepted = self.shared().asker.ask(move |desk| {
            let mut tree = desk.core.root().clone();
            tree.group(&id).ok_or_else(|| Refusal::unknown_group(&id, Told::ByChanging))?;
            tree.remove_group(&id);
            let version = desk.core.fresh_version();
            change(desk, tree, version, &how)
        });
        Ok(Answer::deployment(accepted.await??))
    }
}

fn change_group(desk: &mut Desk, request: &GroupRequest, how: &How) -> Result<Accepted, Refusal> {
    let tree = changed_tree(desk, request)?;
    let version = desk.core.fresh_version();
    change(desk, tree, version, how)
}

fn dry_run(desk: &mut Desk, request: &GroupRequest) -> Result<DryRun, Refusal> {
    let mut tree = changed_tree(desk, request)?;
    let core: &Core = &desk.core;
    reading::settle(core.root(), &mut tree)?;
    let mut named = BTreeSet::new();
    if let GroupChange::Contents(contents) = &request.change {
        name_apps(contents, &mut named);
    }
    Ok(DryRun { steps: core.dry_run(tree, &|id| named.contains(id))? })
}

fn name_apps(contents: &Contents, named: &mut BTreeSet<PathId>) {
    named.extend(contents.apps.iter().flatten().map(|app| app.id.clone()));
    for (_, below) in contents.groups.iter().flatten() {
        name_apps(below, named);
    }
}

fn changed_tree(desk: &Desk, request: &GroupRequest) -> Result<Group, Refusal> {
    let GroupChange::RollBack(version) = request.change else {
        return reading::apply_group(desk.core.root(), request);
    };
    let then = desk.journal.tree(version)?.and_then(|tree| tree.group(&request.id).cloned());
    let then = then.ok_or_else(|| Refusal::group_version_unavailable(&request.id, version))?;
    let mut tree = desk.core.root().clone();
    tree.put_group(then);
    Ok(tree)
}
