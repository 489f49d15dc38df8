//! `/v2/deployments` and `/v2/queue`.

use axum::http::StatusCode;

use super::super::core::{Accepted, How};
use super::super::reading::Refusal;
use super::answer::Answer;
use super::request::Asked;
use super::{Api, queue};
use crate::marathon::{DeploymentId, PathId};

impl Api {
    pub(super) fn deployments(&self) -> Answer {
        let state = self.look();
        let shown = state.deployments().iter().map(|running| running.info(|app| state.readiness(app)));
        let running = shown.collect::<Vec<_>>();
        Answer::json(&running)
    }

    /// Undoes a deployment by another; with `force`, only stops it where it stands.
    pub(super) async fn delete_deployment(&self, text: String, asked: Asked) -> Result<Answer, Refusal> {
        let id: DeploymentId = text.parse().map_err(|_| Refusal::unknown_deployment(&text))?;
        if asked.flag("force", false) {
            let known = self.shared().asker.ask(move |desk| desk.core.cancel(id)).await?;
            return if known {
                Ok(Answer::empty(StatusCode::ACCEPTED))
            } else {
                Err(Refusal::unknown_deployment(&text))
            };
        }
        let undone = self.shared().asker.ask(move |desk| {
            let (tree, before) = desk.core.reversal(id).ok_or_else(|| Refusal::unknown_deployment(&text))?;
            let how = How { force: true, group: PathId::root(), chosen: std::collections::BTreeSet::new() };
            let version = desk.core.fresh_version();
            let accepted = super::apps::change(desk, tree, version, &how)?;
            // What is answered is the version that comes back.
            Ok::<_, Refusal>(Accepted { version: before, ..accepted })
        });
        Ok(Answer::deployment(undone.await??))
    }

    pub(super) fn queue(&self, asked: &Asked) -> Answer {
        let with_offers = asked.all("embed").iter().any(|name| name == "lastUnusedOffers");
        Answer::json(&queue::queue(&self.look(), &self.shared().ports, with_offers))
    }

    pub(super) async fn forget_delay(&self, id: PathId) -> Result<Answer, Refusal> {
        let done = self.shared().asker.ask(move |desk| {
            if desk.core.app(&id).is_none() || !queue::is_queued(&desk.core, &id) {
                return Err(Refusal::not_queued(&id));
            }
            desk.core.forget_delay(&id);
            Ok(())
        });
        done.await??;
        Ok(Answer::empty(StatusCode::NO_CONTENT))
    }
}
