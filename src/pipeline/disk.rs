//! Room on the disks, asked before a build: a disk that is full breaks more than the push that filled it.

use std::path::{Path, PathBuf};

use super::{Platform, Push};
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

/// Looks at the disks of the repositories, which the store and the logs share, and of Docker, which says where its is.
pub(super) fn has_room(docker: Option<PathBuf>, push: &Push, platform: &Platform) -> Result<(), DiskFull> {
    let least = platform.builder.free;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_begins_with_as_much_as_is_asked_for_or_more() {
        let at = |free| enough(ByteSize::mib(free), ByteSize::mib(1024), "/srv".into());
        assert!(at(1024).is_ok() && at(4096).is_ok());
        let text = at(512).unwrap_err().to_string();
        assert!(text.contains("only 512 MiB are free") && text.contains("/srv") && text.contains("1 GiB"), "{text}");
        assert!(free(Path::new("/")).is_some() && free(Path::new("/nowhere")).is_none());
    }
}
