//! A disk that a test may fill.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::engine::run;

/// A file system of so many bytes in memory, which can be full; it goes when this is dropped.
pub struct SmallDisk(TempDir);

impl SmallDisk {
    #[track_caller]
    pub fn of(kibibytes: u32) -> Self {
        let place = tempfile::Builder::new().prefix("paas-disk-").tempdir().unwrap();
        let options = format!("size={kibibytes}k,mode=700");
        let made = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "none"]).arg(place.path()).status();
        assert!(made.unwrap().success(), "no small disk was made");
        Self(place)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes until there is no room for one more byte.
    pub fn fill(&self) {
        let mut file = File::options().create(true).append(true).open(self.0.path().join("ballast")).unwrap();
        let page = [b'x'; 4096];
        while file.write_all(&page).is_ok() {}
    }

    /// Gives the room back.
    pub fn free(&self) {
        std::fs::remove_file(self.0.path().join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: whoever has it open is going too.
        run("umount", &["-l", &self.0.path().to_string_lossy()]);
    }
}
