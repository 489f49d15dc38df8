//! The directories of tasks: what they may write, and what they wrote to their outputs.
//!
//! `<state>/tasks/<task id>/` has `stdout` and `stderr`, and `sandbox/`, which is the task's own. The outputs are
//! outside of it, since a program could put a link in their place.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::super::instance::TaskId;
use crate::docker::ContainerOutput;
use crate::marathon::PathId;

/// Where a container sees its sandbox.
pub(super) const INSIDE: &str = "/mnt/mesos/sandbox";

/// Most of each output that is kept, in bytes.
pub(super) const MAX_OUTPUT: u64 = 4 << 20;

/// How many tasks' directories are kept for each app, with those that run.
const KEPT_PER_APP: usize = 8;

/// All tasks' directories of one engine.
#[derive(Debug, Clone)]
pub struct Sandboxes(PathBuf);

impl Sandboxes {
    /// In the engine's state directory.
    pub fn in_state(state: &Path) -> Self {
        Self(state.join("tasks"))
    }
    pub(super) fn directory(&self, task: &TaskId) -> PathBuf {
        self.0.join(task.to_string())
    }
    pub(super) fn sandbox(&self, task: &TaskId) -> PathBuf {
        self.directory(task).join("sandbox")
    }
    pub(super) fn outputs(&self, task: &TaskId) -> [PathBuf; 2] {
        ["stdout", "stderr"].map(|name| self.directory(task).join(name))
    }

    /// The task and the file in its directory that a path names, if it is one of ours.
    pub(super) fn file(&self, path: &str) -> Option<(TaskId, String)> {
        let below = path.strip_prefix(self.0.to_str()?)?.strip_prefix('/')?;
        let (task, name) = below.split_once('/').unwrap_or((below, ""));
        Some((task.parse().ok()?, name.to_owned()))
    }

    /// The tasks that have a directory.
    pub(super) fn tasks(&self) -> Vec<TaskId> {
        let entries = std::fs::read_dir(&self.0).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
    }

    /// Makes a task's directories. The sandbox is for whatever user the task runs as; nobody else gets into the state
    /// directory above it.
    pub(super) fn make(&self, task: &TaskId) -> io::Result<()> {
        let sandbox = self.sandbox(task);
        DirBuilder::new().recursive(true).mode(0o700).create(&sandbox)?;
        std::fs::set_permissions(&sandbox, std::fs::Permissions::from_mode(0o777))
    }

    /// The files a command writes to; appending, so that they can be cut while it does.
    pub(super) fn open_outputs(&self, task: &TaskId) -> io::Result<[File; 2]> {
        let open = |path: &Path| OpenOptions::new().create(true).append(true).mode(0o600).open(path);
        let [stdout, stderr] = self.outputs(task);
        Ok([open(&stdout)?, open(&stderr)?])
    }

    /// Keeps what a container wrote.
    pub(super) fn keep_output(&self, task: &TaskId, written: &[ContainerOutput]) -> io::Result<()> {
        let [mut stdout, mut stderr] = self.open_outputs(task)?;
        for output in written {
            match output {
                ContainerOutput::Out(bytes) => stdout.write_all(bytes)?,
                ContainerOutput::Err(bytes) => stderr.write_all(bytes)?,
            }
        }
        Ok(())
    }

    /// Cuts an output that has become too long: its last part is kept beside it, and it begins anew.
    pub(super) fn bound(path: &Path) -> io::Result<()> {
        if std::fs::metadata(path)?.len() <= MAX_OUTPUT {
            return Ok(());
        }
        std::fs::copy(path, path.with_added_extension("1"))?;
        OpenOptions::new().write(true).open(path)?.set_len(0)
    }

    /// Removes the oldest directories of an app's tasks. Those that run are among the newest: each launch makes one.
    pub(super) async fn forget_old(&self, app: &PathId) {
        let (place, prefix) = (self.0.clone(), format!("{}.instance-", app.segments().join("_")));
        let swept = tokio::task::spawn_blocking(move || sweep(&place, &prefix)).await;
        if let Ok(Err(error)) = swept {
            tracing::warn!(%app, %error, "cannot remove old sandboxes");
        }
    }
}

fn sweep(place: &Path, prefix: &str) -> io::Result<()> {
    let mut found: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(place)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            found.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    found.sort();
    let surplus = found.len().saturating_sub(KEPT_PER_APP);
    // One that cannot be removed, since root inside a container wrote to it, keeps no other.
    let removed = found.into_iter().take(surplus).map(|(_, path)| std::fs::remove_dir_all(path));
    removed.fold(Ok(()), io::Result::and)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(number: u32) -> TaskId {
        format!("a.instance-0ec8a2b0-e722-11f1-aa61-0242189058f9._app.{number}").parse().unwrap()
    }

    #[tokio::test]
    async fn the_newest_directories_of_an_app_are_kept() {
        let state = tempfile::tempdir().unwrap();
        let sandboxes = Sandboxes::in_state(state.path());
        for number in 1..=20 {
            sandboxes.make(&task(number)).unwrap();
            let old = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(u64::from(number));
            File::open(sandboxes.directory(&task(number))).unwrap().set_modified(old).unwrap();
        }
        sandboxes.forget_old(&"/a".parse().unwrap()).await;
        assert!(sandboxes.directory(&task(20)).exists() && !sandboxes.directory(&task(12)).exists());
    }

    #[test]
    fn an_output_that_is_too_long_begins_anew() {
        let state = tempfile::tempdir().unwrap();
        let sandboxes = Sandboxes::in_state(state.path());
        sandboxes.make(&task(1)).unwrap();
        let [mut out, _] = sandboxes.open_outputs(&task(1)).unwrap();
        out.write_all(&vec![b'x'; usize::try_from(MAX_OUTPUT).unwrap() + 1]).unwrap();
        let [path, _] = sandboxes.outputs(&task(1));
        Sandboxes::bound(&path).unwrap();
        out.write_all(b"more").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"more");
        assert!(std::fs::metadata(path.with_added_extension("1")).unwrap().len() > MAX_OUTPUT);
    }
}
