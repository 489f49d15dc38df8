//! A disk that a test may fill.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::engine::run;

/// A file system of so many bytes in memory, which can be full; it goes when this is dropped.
pub struct SmallDisk {
    place: PathBuf,
    // Of those that are not over a directory of somebody's.
    _own: Option<TempDir>,
}

impl SmallDisk {
    #[track_caller]
    pub fn of(kibibytes: u32) -> Self {
        let own = tempfile::Builder::new().prefix("paas-disk-").tempdir().unwrap();
        mount(own.path(), kibibytes, "700");
        Self { place: own.path().to_owned(), _own: Some(own) }
    }

    /// Over an empty directory, which everybody may come to.
    #[track_caller]
    pub fn over(place: &Path, kibibytes: u32) -> Self {
        mount(place, kibibytes, "755");
        Self { place: place.to_owned(), _own: None }
    }

    /// Has so many bytes from now on, which must be more than are in use.
    #[cfg(feature = "fault-points")]
    #[track_caller]
    pub fn shrinks_to(&self, kibibytes: u32) {
        let options = format!("remount,size={kibibytes}k");
        let shrunk = Command::new("mount").args(["-o", &options]).arg(&self.place).status();
        assert!(shrunk.unwrap().success(), "the small disk did not shrink");
    }

    pub fn path(&self) -> &Path {
        &self.place
    }

    /// Writes until there is no room for one more byte.
    pub fn fill(&self) {
        let mut file = File::options().create(true).append(true).open(self.place.join("ballast")).unwrap();
        let page = [b'x'; 4096];
        while file.write_all(&page).is_ok() {}
    }

    /// Gives the room back.
    pub fn free(&self) {
        std::fs::remove_file(self.place.join("ballast")).unwrap();
    }
}

#[track_caller]
fn mount(place: &Path, kibibytes: u32, mode: &str) {
    let options = format!("size={kibibytes}k,mode={mode}");
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "none"]).arg(place).status();
    assert!(mounted.unwrap().success(), "no small disk was made");
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: whoever has it open is going too.
        run("umount", &["-l", &self.place.to_string_lossy()]);
        // Of a directory of somebody's, who could not remove it with a disk over it; if it is there still, it is empty.
        let _ = std::fs::remove_dir(&self.place);
    }
}
