//! Room on the disks, asked before a build, and what a build takes of it: a disk that is full breaks more than the push
//! that filled it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Platform, Push};
use crate::docker::{BuildContainer, Docker, DockerError, Labels};
use crate::model::ByteSize;

/// A disk has too little room for a build to begin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "only {free} are free on the disk of {place}, and no build begins below {least}: the platform's operator has to make \
     room there", place = .place.display()
)]
pub struct DiskFull {
    place: PathBuf,
    free: ByteSize,
    least: ByteSize,
}

/// Why nothing is built now.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoRoom {
    #[error(transparent)]
    Full(#[from] DiskFull),
    #[error(transparent)]
    Docker(#[from] DockerError),
}

/// Looks at the disks of the repositories, which the store and the logs share, and of Docker.
pub(super) async fn has_room(push: &Push, platform: &Platform) -> Result<(), NoRoom> {
    let least = platform.builder.free;
    let docker = platform.docker.root_directory().await?;
    for place in docker.into_iter().chain([push.repository.clone()]) {
        // A Docker elsewhere has its disk elsewhere.
        if let Some(free) = free(&place) {
            enough(free, least, place)?;
        }
    }
    Ok(())
}

/// What anybody may still write there; none where it cannot be seen.
fn free(place: &Path) -> Option<ByteSize> {
    let found = rustix::fs::statvfs(place).ok()?;
    Some(ByteSize::new(found.f_bavail.saturating_mul(found.f_frsize)))
}

fn enough(free: ByteSize, least: ByteSize, place: PathBuf) -> Result<(), DiskFull> {
    if free < least { Err(DiskFull { place, free, least }) } else { Ok(()) }
}

/// More was written to a container than a build may write. What it keeps in its cache is not counted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("wrote more than {most} (build.disk): {written} when it was ended")]
pub struct DiskOverrun {
    pub most: ByteSize,
    pub written: ByteSize,
}

impl DiskOverrun {
    /// Refuses what is more than `most`.
    pub(super) fn of(written: ByteSize, most: ByteSize) -> Result<(), Self> {
        if written > most { Err(Self { most, written }) } else { Ok(()) }
    }
}

/// How often it is asked at most what a build has written.
const PAUSE: Duration = Duration::from_secs(2);
/// Of all the time, Docker is asked for a twentieth part: it reads the whole directory for an answer.
const ASKING: u32 = 20;

fn pause(took: Duration) -> Duration {
    (took * ASKING).max(PAUSE)
}

/// Where a build writes.
#[derive(Debug)]
pub(super) enum Writer<'a> {
    Container(&'a BuildContainer),
    /// The containers of a Dockerfile's steps.
    Labelled(&'a Docker, Labels<'a>),
}

impl Writer<'_> {
    async fn written(&self) -> Result<ByteSize, DockerError> {
        match self {
            Self::Container(container) => container.written().await,
            Self::Labelled(docker, labels) => docker.written_by(labels).await,
        }
    }
}

/// Watches what a build writes, and ends when it is more than `most`. What cannot be asked now is asked again: whoever
/// follows the build hears of a Docker that is gone.
pub(super) async fn overrun(writer: Writer<'_>, most: ByteSize) -> DiskOverrun {
    let mut wait = PAUSE;
    loop {
        tokio::time::sleep(wait).await;
        let began = Instant::now();
        match writer.written().await.map(|written| DiskOverrun::of(written, most)) {
            Ok(Ok(())) => {}
            Ok(Err(overrun)) => return overrun,
            Err(error) => tracing::warn!(%error, "it is not known what a build has written"),
        }
        wait = pause(began.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_is_asked_every_other_second_or_for_a_twentieth_of_the_time() {
        let seconds = Duration::from_secs;
        assert_eq!((pause(Duration::ZERO), pause(Duration::from_millis(50))), (seconds(2), seconds(2)));
        assert_eq!(pause(seconds(1)), seconds(20));
    }

    #[test]
    fn a_build_may_write_as_much_as_is_allowed_and_no_more() {
        let most = ByteSize::mib(10 << 10);
        assert!(DiskOverrun::of(most, most).is_ok());
        let over = DiskOverrun::of(ByteSize::mib(11 << 10), most).unwrap_err().to_string();
        assert!(over == "wrote more than 10 GiB (build.disk): 11 GiB when it was ended", "{over}");
    }

    #[test]
    fn a_build_begins_with_as_much_as_is_asked_for_or_more() {
        let at = |free| enough(ByteSize::mib(free), ByteSize::mib(1024), "/srv".into());
        assert!(at(1024).is_ok() && at(4096).is_ok());
        let text = at(512).unwrap_err().to_string();
        assert!(text.contains("only 512 MiB are free") && text.contains("/srv") && text.contains("1 GiB"), "{text}");
        assert!(free(Path::new("/")).is_some() && free(Path::new("/nowhere")).is_none());
    }
}
