//! Why a push came to nothing, and how that is told in one line.

use super::build::{BuildError, FailedBuild};
use super::console;
use super::deploy::DeployError;
use super::formation::FormationError;
use super::release::ReleaseError;
use super::release_command::ReleaseCommandError;
use super::source::SourceError;
use crate::docker::{DockerError, PushImageError};
use crate::marathon;
use crate::model::{OverQuota, TenantName, in_full};
use crate::store::{BoxedCause, Holder, StoreError};

/// Why a push did not become a release that serves. The ref stays where it was.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    #[error("another push to this app is under way: {}", describe_holder(.holder.as_ref()))]
    Busy { holder: Option<Holder> },
    #[error("another push moved {branch} meanwhile: fetch it, bring your commit on top, and push again")]
    Overtaken { branch: String },
    #[error(
        "you may not push to this app any more: your key, your role or the deploy token was taken away while it was built"
    )]
    NotAllowed,
    #[error("it could not be decided whether you may still push to this app")]
    Undecided(#[source] BoxedCause),
    #[error("{cause}; `paas tenant quota show {tenant}` shows both: ask for less, or an owner for more")]
    OverQuota { tenant: TenantName, cause: OverQuota },
    #[error("the quota of tenant `{tenant}` is held by another: {}", describe_holder(.holder.as_ref()))]
    QuotaHeld { tenant: TenantName, holder: Option<Holder> },
    #[error("the tenant's Marathon did not say what its apps use of the quota")]
    InUse(#[source] marathon::ClientError),
    #[error("the source cannot be deployed")]
    Source(#[from] SourceError),
    #[error("the build failed")]
    Build(#[from] FailedBuild),
    #[error("there is nothing to run")]
    Formation(#[from] FormationError),
    #[error("the slug was not published")]
    Publish(#[from] PushImageError),
    #[error("the release was not recorded")]
    Release(#[from] ReleaseError),
    #[error("the release command failed; nothing has changed but what it did itself")]
    ReleaseCommand(#[from] ReleaseCommandError),
    #[error("the deploy failed")]
    Deploy(#[from] DeployError),
    #[error("the store failed")]
    Store(#[from] StoreError),
    #[error("Docker failed")]
    Docker(#[from] DockerError),
}

impl PushError {
    /// One short line for git's ref line: what failed, and why.
    pub fn reason(&self) -> String {
        use std::error::Error as _;
        let (what, cause): (_, &dyn std::fmt::Display) = match self {
            Self::Busy { .. }
            | Self::Overtaken { .. }
            | Self::NotAllowed
            | Self::Undecided(_)
            | Self::QuotaHeld { .. } => return one_line(&self.to_string()),
            Self::OverQuota { cause, .. } => return one_line(&cause.to_string()),
            Self::InUse(error) => ("the quota cannot be checked", error),
            Self::Formation(error) => return one_line(&error.to_string()),
            Self::Source(error) => ("source refused", error),
            Self::Build(failed) => return build_failed(failed),
            Self::Publish(error) => ("publishing failed", error),
            Self::Release(error) => ("release failed", error),
            Self::ReleaseCommand(error) => ("the release command failed", error),
            Self::Deploy(error) => ("deploy failed", error),
            Self::Store(error) => ("the store failed", error),
            Self::Docker(error) => ("Docker failed", error),
        };
        // What the store says is what the operator needs.
        if let Self::Release(_)
        | Self::Build(FailedBuild { cause: BuildError::Record(_), .. })
        | Self::Store(_)
        | Self::Deploy(DeployError::Unrecorded { .. }) = self
        {
            let cause = self.source().map_or_else(|| cause.to_string(), in_full);
            return one_line(&format!("{what}: {cause}"));
        }
        // The deploy's own cause is Marathon's answer, which is what the person needs.
        match (self, self.source().and_then(|error| error.source())) {
            (Self::Deploy(_), Some(why)) => one_line(&format!("{what}: {cause}: {why}")),
            _ => one_line(&format!("{what}: {cause}")),
        }
    }
}

impl From<BuildError> for PushError {
    fn from(cause: BuildError) -> Self {
        Self::Build(cause.into())
    }
}

/// Longest reason, in characters.
const LONGEST: usize = 300;

/// Short enough for git's line, and a single one, whatever the causes hold.
fn one_line(text: &str) -> String {
    line_of(text, LONGEST)
}

fn line_of(text: &str, longest: usize) -> String {
    console::clean(&text.replace(['\n', '\r'], " ")).chars().take(longest).collect()
}

/// Ends in where the rest of it can be read, however long it is.
fn build_failed(failed: &FailedBuild) -> String {
    if let BuildError::Cancelled { .. } = failed.cause {
        return one_line(&failed.to_string());
    }
    let log = failed.number.map_or_else(String::new, |number| format!("; paas builds log {number}"));
    line_of(&format!("build failed: {failed}"), LONGEST - log.len()) + &log
}

pub(super) fn describe_holder(holder: Option<&Holder>) -> String {
    match holder {
        Some(Holder { who, since }) => format!("{who}, since {}", since.strftime("%H:%M:%S UTC")),
        None => "it has just begun".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::deploy::Aftermath;
    use super::*;
    use crate::model::ReleaseNumber;

    #[test]
    fn the_reason_is_one_line_that_says_what_failed() {
        let failed = PushError::from(BuildError::StepFailed { status: 2, complaint: None });
        assert_eq!(failed.reason(), "build failed: the build exited with status 2");
        let complaint = Some("no buildpack recognised this app".to_owned());
        let failed = PushError::from(BuildError::StepFailed { status: 1, complaint });
        assert_eq!(failed.reason(), "build failed: no buildpack recognised this app (the build exited with status 1)");
        let complaint = Some("x".repeat(999));
        let cause = BuildError::StepFailed { status: 1, complaint };
        let numbered = PushError::from(FailedBuild { number: Some(12), cause }).reason();
        assert!(numbered.len() == LONGEST && numbered.ends_with("x; paas builds log 12"), "{numbered}");
        let cause = BuildError::Cancelled { by: "bob".to_owned() };
        assert_eq!(PushError::from(FailedBuild { number: Some(12), cause }).reason(), "build cancelled by bob");
        let deploy = DeployError::Failed {
            reason: "web could not run:\n\u{1b}[2Jx".to_owned(),
            now: Aftermath::Serving(ReleaseNumber::new(11)),
        };
        assert_eq!(PushError::from(deploy).reason(), "deploy failed: web could not run: x; v11 is still serving");
    }

    #[test]
    fn whoever_waits_is_told_for_whom_and_since_when() {
        let holder =
            Holder { who: "alice's push of 3f2c1ab".to_owned(), since: "2026-11-23T12:03:04Z".parse().unwrap() };
        let busy = PushError::Busy { holder: Some(holder) };
        assert!(busy.reason().ends_with("alice's push of 3f2c1ab, since 12:03:04 UTC"), "{}", busy.reason());
    }
}
