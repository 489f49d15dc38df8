//! Posting a release to Marathon, through what may come between: a leader that is lost, an answer that is lost, and the
//! deployment of a push that died and still holds the app.

use std::time::{Duration, Instant};

use super::definition::{APP_LABEL, RELEASE_LABEL, definitions, group_id};
use super::deploy::DeployError;
use super::release::Release;
use crate::marathon::{Client, ClientError, DeploymentId, DeploymentResult, GroupUpdate, PathId};
use crate::model::AppName;

/// How long Marathons may take to agree on a leader. A real one needs ten to twenty seconds.
pub(super) const ELECTION: Duration = Duration::from_mins(1);
/// How soon they are asked again.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// Asks, and asks again for as long as Marathon has no leader, and when one goes in the middle of it. For questions, and
/// for what may be done twice.
pub(super) async fn led<T, Asked>(patience: Duration, ask: impl Fn() -> Asked) -> Result<T, ClientError>
where
    Asked: Future<Output = Result<T, ClientError>>,
{
    let until = Instant::now() + patience.min(ELECTION);
    loop {
        match ask().await {
            Err(error) if error.is_passing() && Instant::now() < until => tokio::time::sleep(ASK_AGAIN).await,
            answer => return answer,
        }
    }
}

/// Whose deployments may be taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TakeOver {
    /// Everybody's: it was asked for, or it is this push's own that is undone.
    Any,
    /// Those of this app's releases, since the push that made the last one died, or lost sight of it.
    Unsettled,
    None,
}

/// Makes Marathon run the release. When an answer is lost nobody knows whether the question was heard: so it is looked
/// for what came of it, and asked again if nothing did, for at most `patience`. It is never asked for twice at once, for
/// Marathon would break off the first deployment half-way and find nothing to do for the second.
pub(super) async fn put(
    client: &Client,
    release: &Release,
    take_over: TakeOver,
    patience: Duration,
) -> Result<DeploymentResult, DeployError> {
    let until = Instant::now() + patience.min(ELECTION);
    let (group, update) = (group_id(&release.app), GroupUpdate::of_apps(definitions(release)));
    let (mut force, mut in_doubt) = (take_over == TakeOver::Any, false);
    loop {
        if in_doubt && let Some(taken) = taken(client, release).await {
            return Ok(taken);
        }
        let error = match client.put_group(&group, &update, force).await {
            Ok(posted) => return Ok(posted),
            Err(error) => error,
        };
        match error {
            ClientError::Locked { deployments } => {
                let may_be_ours = take_over == TakeOver::Unsettled;
                if force || !may_be_ours || !are_ours(client, &release.app, &deployments).await {
                    return Err(DeployError::Locked(deployments));
                }
                force = true;
            }
            error if Instant::now() < until && (error.may_have_been_done() || in_doubt && error.is_unreachable()) => {
                in_doubt = true;
                tokio::time::sleep(ASK_AGAIN).await;
            }
            error if in_doubt || error.may_have_been_done() => return Err(DeployError::InDoubt(error)),
            error => return Err(DeployError::NotTaken(error)),
        }
    }
}

/// The deployment by which Marathon is bringing up this very release, if it is.
async fn taken(client: &Client, release: &Release) -> Option<DeploymentResult> {
    let (group, number) = (group_id(&release.app), release.number.to_string());
    for deployment in client.deployments().await.ok()? {
        for affected in deployment.affected_apps.iter().filter(|id| id.segments().first() == group.segments().first()) {
            let found = client.app(affected).await.ok()?;
            if found.is_some_and(|found| found.app.labels.get(RELEASE_LABEL) == Some(&number)) {
                return Some(DeploymentResult { deployment_id: deployment.id, version: deployment.version });
            }
        }
    }
    None
}

/// Whether these deployments are of this app alone, and of releases of ours. What somebody else posted has no label of
/// a release.
async fn are_ours(client: &Client, app: &AppName, holding: &[DeploymentId]) -> bool {
    let Ok(running) = led(ELECTION, || client.deployments()).await else { return false };
    let group = group_id(app);
    // One that is not listed any more holds nothing.
    for deployment in running.iter().filter(|deployment| holding.contains(&deployment.id)) {
        for affected in &deployment.affected_apps {
            if !is_ours(client, app, &group, affected).await {
                return false;
            }
        }
    }
    !holding.is_empty()
}

async fn is_ours(client: &Client, app: &AppName, group: &PathId, affected: &PathId) -> bool {
    if affected.segments().first() != group.segments().first() {
        return false;
    }
    match led(ELECTION, || client.app(affected)).await {
        Ok(Some(found)) => {
            let labels = &found.app.labels;
            labels.get(APP_LABEL).is_some_and(|name| name == app.as_str()) && labels.contains_key(RELEASE_LABEL)
        }
        // It is being taken back.
        Ok(None) => true,
        Err(_) => false,
    }
}
