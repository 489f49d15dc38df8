//! Pushes that are held at one of their steps, as a program with the feature `fault-points` lets itself be.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use paas::model::AppName;
use paas::pipeline::FaultPoint;

/// Holds the pushes of one app at one step, until it is dropped.
pub struct Hold {
    point: FaultPoint,
    home: PathBuf,
    app: AppName,
}

impl Hold {
    pub fn at(point: FaultPoint, home: &Path, app: &AppName) -> Self {
        let directory = home.join("fault-points");
        fs::create_dir_all(&directory).unwrap();
        // The platform may run as another user than the tests.
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();
        fs::write(point.file(home, app), "").unwrap();
        Self { point, home: home.to_owned(), app: app.clone() }
    }

    /// The id of the process that is held, as soon as one is; none if that takes too long, or `over` says that no push
    /// will come any more.
    pub fn reached(&self, patience: Duration, mut over: impl FnMut() -> bool) -> Option<u32> {
        let (file, deadline) = (self.point.reached(&self.home, &self.app), Instant::now() + patience);
        while Instant::now() < deadline && !over() {
            if let Some(process) = fs::read_to_string(&file).ok().and_then(|text| text.parse().ok()) {
                return Some(process);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        for file in [self.point.reached(&self.home, &self.app), self.point.file(&self.home, &self.app)] {
            // There is none when nobody came, or its disk is gone.
            let _ = fs::remove_file(file);
        }
    }
}
