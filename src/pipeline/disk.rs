//! Room on the disks, asked before a build, whether Docker's was full when it failed, and what a build takes of it: a disk
//! that is full breaks more than the push that filled it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{Platform, Push};
use crate::docker::{BuildContainer, Docker, DockerError, Labels, says_no_space};
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

/// A build ended on a disk of Docker's that had come to be full.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "Docker's disk is full: {free} are free on the disk of {place}, {before} were when the build began; its operator has \
     to make room there, or the build to write less", place = .place.display()
)]
pub struct FilledDisk {
    place: PathBuf,
    before: ByteSize,
    free: ByteSize,
}

/// Less than that is none.
const NEXT_TO_NOTHING: ByteSize = ByteSize::mib(1);

/// Docker's disk while a build writes on it, where this machine can see it.
#[derive(Debug)]
pub(super) struct BuildDisk(Option<Watched>);

#[derive(Debug)]
struct Watched {
    place: PathBuf,
    before: ByteSize,
    /// What no build begins below.
    least: ByteSize,
    /// The least bytes that were free when something said that there is no room: what could not be written may be gone
    /// when the build has ended.
    lowest: AtomicU64,
}

impl BuildDisk {
    /// Looks at the disk when somebody says that there is no room.
    pub(super) fn hear(&self, line: &str) {
        if let Self(Some(disk)) = self
            && says_no_space(line)
            && let Some(now) = free(&disk.place)
        {
            disk.lowest.fetch_min(now.get(), Ordering::Relaxed);
        }
    }

    /// Whether it is to blame for a failure: it is full now, or was low when something found no room. What finds none
    /// on a disk that has some, such as in a small file system of its own, says so itself.
    pub(super) fn filled(&self) -> Option<FilledDisk> {
        let Watched { place, before, least, lowest } = self.0.as_ref()?;
        let (now, heard) = (free(place)?, ByteSize::new(lowest.load(Ordering::Relaxed)));
        let is_full = now < NEXT_TO_NOTHING || heard < *least;
        is_full.then(|| FilledDisk { place: place.clone(), before: *before, free: now.min(heard) })
    }
}

/// Looks at the disks of the repositories, which the store and the logs share, and of Docker, which says where its is;
/// gives the latter.
pub(super) fn has_room(docker: Option<PathBuf>, push: &Push, platform: &Platform) -> Result<BuildDisk, DiskFull> {
    let least = platform.builder.free;
    for place in docker.iter().chain([&push.repository]) {
        // A Docker elsewhere has its disk elsewhere.
        if let Some(free) = free(place) {
            enough(free, least, place.clone())?;
        }
    }
    let watched = docker.and_then(|place| {
        let before = free(&place)?;
        Some(Watched { place, before, least, lowest: AtomicU64::new(u64::MAX) })
    });
    Ok(BuildDisk(watched))
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

    fn disk(least: ByteSize) -> BuildDisk {
        let (place, before) = (PathBuf::from("/"), ByteSize::mib(4096));
        BuildDisk(Some(Watched { place, before, least, lowest: AtomicU64::new(u64::MAX) }))
    }

    #[test]
    fn a_disk_that_was_low_when_something_found_no_room_is_to_blame() {
        let low = disk(ByteSize::new(u64::MAX));
        low.hear("cc: error: everything else");
        assert_eq!(low.filled(), None);
        low.hear("dd: error writing 'big': No space left on device");
        let text = low.filled().unwrap().to_string();
        assert!(text.starts_with("Docker's disk is full: ") && text.contains("/, 4 GiB were when"), "{text}");
    }

    #[test]
    fn a_disk_with_room_is_not_to_blame_whatever_found_none() {
        let roomy = disk(ByteSize::mib(1));
        roomy.hear("No space left on device");
        assert_eq!(roomy.filled(), None);
        BuildDisk(None).hear("No space left on device");
        assert_eq!(BuildDisk(None).filled(), None, "of a Docker elsewhere nothing is known");
    }
}
