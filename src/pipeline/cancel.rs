//! Cancelling a build: without the app's lease, which its push holds.
//!
//! The build's record says that it is cancelled, and whoever writes it first, the push its end or somebody their wish,
//! is right: both only replace what they have read. Touching the log wakes the push that awaits its wish, and the
//! container goes by the push's label.

use std::path::Path;

use jiff::Timestamp;

use super::PushId;
use super::build_log::{Build, BuildLog, BuildState, Builds};
use super::builds::{BuildHistory, BuildsError};
use super::log_watch::{self, LogWatch};
use super::release::json;
use crate::docker::{Docker, DockerError, labels};
use crate::store::StoreError;

/// Resolves when somebody cancels the build, with their name.
pub(super) async fn wished(builds: &Builds<'_>, number: u32, log: &Path) -> String {
    match wish(builds, number, log).await {
        Ok(by) => by,
        Err(error) => {
            // The build still ends with its container, and its record is read then.
            tracing::warn!(%error, build = number, "nobody listens for the cancelling of a build");
            std::future::pending().await
        }
    }
}

async fn wish(builds: &Builds<'_>, number: u32, log: &Path) -> Result<String, BuildsError> {
    let unwatched = |cause| BuildsError::Log { number, cause };
    // First of all, so that no wish comes unseen between reading and looking out.
    let touches = LogWatch::for_touches(log).map_err(unwatched)?;
    loop {
        if let Some(by) = builds.cancelled_by(number).await? {
            return Ok(by);
        }
        touches.next().await.map_err(unwatched)?;
    }
}

/// Also those that Docker was only just making. What has no push's id has no container either, and the empty one is on
/// every instance.
async fn end_containers(build: &Build, docker: &Docker) -> Result<(), DockerError> {
    match build.push.parse::<PushId>() {
        Ok(push) => docker.sweep(&[(labels::PUSH, &push.to_string())]).await.map(drop),
        Err(_) => Ok(()),
    }
}

impl BuildHistory<'_> {
    /// Ends a build that is under way; its push is refused with the name of `by`. One that was cancelled already stays
    /// that, and its container is looked for again. Afterwards nothing of it runs.
    pub async fn cancel(&self, number: u32, by: &str, now: Timestamp, docker: &Docker) -> Result<Build, BuildsError> {
        let build = self.mark_cancelled(number, by, now).await?;
        let log = BuildLog::path(&self.logs, number);
        if let Err(error) = log_watch::touch(&log) {
            tracing::warn!(%error, log = %log.display(), "a push could not be woken");
        }
        end_containers(&build, docker).await?;
        Ok(build)
    }

    async fn mark_cancelled(&self, number: u32, by: &str, now: Timestamp) -> Result<Build, BuildsError> {
        loop {
            let seen = self.get(number).await?;
            match seen.state {
                BuildState::Cancelled { .. } => return Ok(seen),
                BuildState::Queued | BuildState::Running => {}
                _ => return Err(BuildsError::Ended { number, state: seen.state.name() }),
            }
            let Some((mut build, version)) = self.builds.read(number).await? else { continue };
            if !build.state.is_under_way() {
                continue;
            }
            build.state = BuildState::Cancelled { at: now, by: by.to_owned() };
            match self.builds.store.put(&self.builds.places.build(number), json(&build), Some(version)).await {
                Ok(()) => return Ok(build),
                Err(StoreError::Changed(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
