//! The release command: what the source wants to be done once for each release, such as a migration, with the new slug
//! and the runtime config, before any new instance runs.

use std::time::Duration;

use super::build::labels_with;
use super::definition::{arguments, environment};
use super::disk::{self, DiskOverrun, Writer};
use super::formation::Command;
use super::release::Release;
use super::{Platform, Progress, Push, Say, console, reached};
use crate::docker::{BuildContainer, BuildContainerSpec, ContainerEnd, DockerError, Job, labels};
use crate::model::{ByteSize, ImageId, Period, ProcessType};

/// What the process type is called that a Procfile names it by, as with Heroku.
pub(super) const RELEASE: &str = "release";

/// Why it did not succeed. No instance of the release was begun.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseCommandError {
    #[error("it exited with status {status}")]
    Failed { status: i64 },
    #[error("it needed more than its {limit} of memory and was ended (status {status})")]
    OutOfMemory { status: i64, limit: ByteSize },
    #[error("it {0}")]
    DiskOverrun(DiskOverrun),
    #[error("it was ended because it took longer than {after}")]
    TimedOut { after: Period },
    #[error(transparent)]
    Docker(#[from] DockerError),
}

/// Runs the release's command in a container of its slug, within the limits of a build, and tells what it writes. Its
/// container is gone afterwards; a client that hangs up ends it.
pub(super) async fn run(
    release: &Release,
    command: &Command,
    slug: &ImageId,
    push: &Push,
    platform: &Platform,
    say: Say<'_>,
) -> Result<(), ReleaseCommandError> {
    say(Progress::Step(format!("Running the release command of {}", release.number)));
    let container = platform.docker.create_build(spec(release, command, slug, push, platform)).await?;
    reached!(ReleaseCommandBegun, push.app, platform.home_label);
    let rules = &platform.builder;
    let ended = tokio::select! {
        ended = tokio::time::timeout(rules.timeout, follow(&container, say)) => {
            judge(ended.map_err(|_| rules.timeout), rules.memory)
        }
        overrun = disk::overrun(Writer::Container(&container), rules.disk) => {
            Err(ReleaseCommandError::DiskOverrun(overrun))
        }
    };
    // Removed before anything is told, so that who hears of a failure finds nothing left.
    container.remove().await?;
    ended
}

fn judge(
    ended: Result<Result<ContainerEnd, DockerError>, Duration>,
    limit: ByteSize,
) -> Result<(), ReleaseCommandError> {
    match ended {
        Err(after) => Err(ReleaseCommandError::TimedOut { after: Period::from_secs(after.as_secs()) }),
        Ok(Err(error)) => Err(error.into()),
        Ok(Ok(ContainerEnd { status: 0, .. })) => Ok(()),
        Ok(Ok(ContainerEnd { status, out_of_memory: true, .. })) => {
            Err(ReleaseCommandError::OutOfMemory { status, limit })
        }
        Ok(Ok(ContainerEnd { status, .. })) => Err(ReleaseCommandError::Failed { status }),
    }
}

fn spec(release: &Release, command: &Command, slug: &ImageId, push: &Push, platform: &Platform) -> BuildContainerSpec {
    let rules = &platform.builder;
    let name: ProcessType = RELEASE.parse().expect("it is a process type's name");
    BuildContainerSpec {
        image: slug.clone(),
        as_root: false,
        // As a build's: by the push it is found and ended when that is cut off.
        labels: labels_with(push, platform, [(labels::PUSH, push.push.to_string())]),
        job: match command {
            // The image has no programs of the buildstep contract.
            Command::Shell(text) => Job::Shell(text.clone()),
            command => Job::Arguments(arguments(&name, command)),
        },
        env: environment(release, &name),
        cache: None,
        read_only: Vec::new(),
        memory_bytes: rules.memory.get(),
        cpus: rules.cpus,
        processes: rules.processes,
        patience: rules.timeout,
    }
}

async fn follow(container: &BuildContainer, say: Say<'_>) -> Result<ContainerEnd, DockerError> {
    let told: Result<(), DockerError> = console::follow(container, |line| {
        say(Progress::Output(line));
        Ok(())
    })
    .await;
    told?;
    container.ended().await
}
