//! The directories of tasks: what they may write, what they wrote to their outputs, and what is known of those that
//! ended.
//!
//! `<state>/tasks/<task id>/` has `stdout` and `stderr`, and `sandbox/`, which is the task's own. The outputs are
//! outside of it, since a program could put a link in their place. `ended` is there once the task has ended; what is in
//! it is its [`Record`].

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;

use super::super::Moment;
use super::super::instance::TaskId;
use super::super::record::Record;
use super::lock;
use crate::marathon::{PathId, TaskState};

/// Where a container sees its sandbox.
pub(super) const INSIDE: &str = "/mnt/mesos/sandbox";

/// Most of each output that is kept, in bytes, and as much of what was written before that.
pub(super) const MAX_OUTPUT: u64 = 4 << 20;

/// The names of outputs, and what is added for the part before the present one.
pub(super) const OUTPUTS: [&str; 2] = ["stdout", "stderr"];
pub(super) const EARLIER: &str = "1";

/// How long the directory of an ended task is kept when nothing else is asked for.
pub const KEPT_FOR: Duration = Duration::from_hours(24);

/// How many directories of ended tasks are kept for each app, so that one that always fails does not fill the disk.
const KEPT_PER_APP: usize = 20;

/// In a task's directory; it tells that the task has ended.
const ENDED: &str = "ended";

/// Before the name of a directory that is being removed.
const GOING: &str = ".gone-";

/// All tasks' directories of one engine; cheap to clone.
#[derive(Debug, Clone)]
pub struct Sandboxes(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    place: PathBuf,
    kept_for: Duration,
    /// Held while a directory is made, or is about to be removed.
    ended: Mutex<Ended>,
    /// There is more to be removed at some time.
    more: Notify,
}

/// When tasks ended that still have a directory.
#[derive(Debug, Default)]
struct Ended(BTreeMap<PathId, BTreeSet<(Moment, TaskId)>>);

impl Ended {
    fn add(&mut self, task: TaskId, at: Moment) {
        self.0.entry(task.instance.app().clone()).or_default().insert((at, task));
    }

    fn forget(&mut self, task: &TaskId) {
        if let Some(of_app) = self.0.get_mut(task.instance.app()) {
            of_app.retain(|(_, ended)| ended != task);
        }
    }

    /// When the oldest directory will have been kept for long enough.
    fn next(&self, kept_for: Duration) -> Option<Moment> {
        self.0.values().filter_map(BTreeSet::first).map(|(at, _)| at.plus(kept_for)).min()
    }

    /// Takes out those that were kept for long enough, and of each app those that are too many.
    fn take_due(&mut self, kept_for: Duration, now: Moment) -> Vec<TaskId> {
        let mut due = Vec::new();
        for of_app in self.0.values_mut() {
            while let Some((at, _)) = of_app.first()
                && (of_app.len() > KEPT_PER_APP || at.plus(kept_for) <= now)
            {
                due.extend(of_app.pop_first().map(|(_, task)| task));
            }
        }
        self.0.retain(|_, of_app| !of_app.is_empty());
        due
    }
}

impl Sandboxes {
    /// In the engine's state directory.
    pub fn in_state(state: &Path) -> Self {
        Self::keeping(state, KEPT_FOR)
    }

    /// In the engine's state directory; those of ended tasks are kept for that long.
    pub fn keeping(state: &Path, kept_for: Duration) -> Self {
        let place = state.join("tasks");
        Self(Arc::new(Shared { place, kept_for, ended: Mutex::default(), more: Notify::new() }))
    }

    pub(super) fn place(&self) -> &Path {
        &self.0.place
    }
    pub(super) fn kept_for(&self) -> Duration {
        self.0.kept_for
    }
    pub(super) fn directory(&self, task: &TaskId) -> PathBuf {
        self.0.place.join(task.to_string())
    }
    pub(super) fn sandbox(&self, task: &TaskId) -> PathBuf {
        self.directory(task).join("sandbox")
    }
    pub(super) fn outputs(&self, task: &TaskId) -> [PathBuf; 2] {
        OUTPUTS.map(|name| self.directory(task).join(name))
    }

    /// The tasks that have a directory, and what is known of those that ended.
    pub(super) fn tasks(&self) -> Vec<(TaskId, Option<Record>)> {
        let entries = std::fs::read_dir(&self.0.place).into_iter().flatten().flatten();
        let tasks = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<TaskId>().ok());
        let with_record = |task: TaskId| {
            let record = self.record(&task);
            (task, record)
        };
        tasks.map(with_record).collect()
    }

    /// What is known of a task that ended; none while it has not.
    fn record(&self, task: &TaskId) -> Option<Record> {
        let mut file = File::open(self.directory(task).join(ENDED)).ok()?;
        let mut text = Vec::new();
        let read = file.read_to_end(&mut text).map(|_| serde_json::from_slice::<Record>(&text));
        let record = match read {
            Ok(Ok(record)) if record.task == *task => record,
            // Not written whole.
            _ => Record::unknown(task.clone(), TaskState::Lost),
        };
        Some(Record { ended_at: record.ended_at.or_else(|| changed_at(&file)), ..record })
    }

    /// Makes a task's directories. The sandbox is for whatever user the task runs as; nobody else gets into the state
    /// directory above it.
    pub(super) fn make(&self, task: &TaskId) -> io::Result<()> {
        let mut ended = lock(&self.0.ended);
        let sandbox = self.sandbox(task);
        DirBuilder::new().recursive(true).mode(0o700).create(&sandbox)?;
        std::fs::set_permissions(&sandbox, std::fs::Permissions::from_mode(0o777))?;
        // A launch that came to nothing is tried again by the same task, perhaps by the next engine.
        match std::fs::remove_file(self.directory(task).join(ENDED)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Err(_) => Ok(()),
            Ok(()) => {
                ended.forget(task);
                Ok(())
            }
        }
    }

    /// Notes that a task has ended; its directory is kept for a while.
    pub(super) fn ended(&self, record: &Record, now: Moment) -> io::Result<()> {
        let directory = self.directory(&record.task);
        if !directory.is_dir() {
            return Ok(());
        }
        lock(&self.0.ended).add(record.task.clone(), record.ended_at.unwrap_or(now));
        self.0.more.notify_one();
        std::fs::write(directory.join(ENDED), serde_json::to_vec(record)?)
    }

    /// Finds the directories that an earlier engine left, before anything is launched. Those of tasks that are not
    /// `alive` any more have ended, also if it could not note that; `last` tells what is known of such a task.
    pub fn take_stock(&self, alive: &BTreeSet<TaskId>, last: impl Fn(&TaskId) -> Option<Record>, now: Moment) {
        for (task, record) in self.tasks().into_iter().filter(|(task, _)| !alive.contains(task)) {
            if let Some(record) = record {
                lock(&self.0.ended).add(task, record.ended_at.unwrap_or(now));
                continue;
            }
            let record = last(&task).unwrap_or_else(|| Record::unknown(task.clone(), TaskState::Lost));
            let record = Record { ended_at: record.ended_at.or(Some(now)), ..record };
            if let Err(error) = self.ended(&record, now) {
                tracing::warn!(%task, %error, "cannot note that a task has ended");
            }
        }
    }

    /// When there is something to remove next.
    pub(super) fn next_due(&self) -> Option<Moment> {
        lock(&self.0.ended).next(self.0.kept_for)
    }
    /// Waits until that may have changed.
    pub(super) async fn more(&self) {
        self.0.more.notified().await;
    }

    /// Puts aside the directories of ended tasks that were kept for long enough, or are too many. No task finds its own
    /// any more; they are left to be removed.
    pub(super) fn put_aside(&self, now: Moment) -> Vec<PathBuf> {
        let mut ended = lock(&self.0.ended);
        let mut aside = Vec::new();
        for task in ended.take_due(self.0.kept_for, now) {
            let path = self.0.place.join(format!("{GOING}{task}"));
            match std::fs::rename(self.directory(&task), &path) {
                Ok(()) => aside.push(path),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => tracing::warn!(%task, %error, "cannot remove the directory of a task"),
            }
        }
        aside
    }

    /// The directories that were put aside and not removed, by whichever engine.
    pub(super) fn left_aside(&self) -> io::Result<Vec<PathBuf>> {
        let entries = match std::fs::read_dir(&self.0.place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let going = entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(GOING));
        Ok(going.map(|entry| entry.path()).collect())
    }

    /// The files a command writes to; appending, so that they can be cut while it does.
    pub(super) fn open_outputs(&self, task: &TaskId) -> io::Result<[File; 2]> {
        let open = |path: &Path| OpenOptions::new().create(true).append(true).mode(0o600).open(path);
        let [stdout, stderr] = self.outputs(task);
        Ok([open(&stdout)?, open(&stderr)?])
    }

    /// Cuts an output that has become too long: its last part is kept beside it, and it begins anew.
    pub(super) fn bound(path: &Path) -> io::Result<()> {
        let mut file = OpenOptions::new().read(true).write(true).open(path)?;
        let length = file.metadata()?.len();
        if length <= MAX_OUTPUT {
            return Ok(());
        }
        file.seek(io::SeekFrom::Start(length - MAX_OUTPUT))?;
        let mut kept =
            OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(earlier_part(path))?;
        io::copy(&mut (&file).take(MAX_OUTPUT), &mut kept)?;
        file.set_len(0)
    }
}

/// Where the part of an output is that came before the present one.
pub(super) fn earlier_part(path: &Path) -> PathBuf {
    path.with_added_extension(EARLIER)
}

fn changed_at(file: &File) -> Option<Moment> {
    let changed = jiff::Timestamp::try_from(file.metadata().ok()?.modified().ok()?).ok()?;
    Some(Moment::from_millis(changed.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn task(number: u32) -> TaskId {
        format!("a.instance-0ec8a2b0-e722-11f1-aa61-0242189058f9._app.{number}").parse().unwrap()
    }

    fn ended(number: u32, at: i64) -> Record {
        Record { ended_at: Some(Moment::from_millis(at)), ..Record::unknown(task(number), TaskState::Failed) }
    }

    fn names(sandboxes: &Sandboxes) -> Vec<TaskId> {
        let mut tasks: Vec<_> = sandboxes.tasks().into_iter().map(|(task, _)| task).collect();
        tasks.sort();
        tasks
    }

    #[test]
    fn directories_of_running_tasks_stay_however_many_there_are() {
        let state = tempfile::tempdir().unwrap();
        let sandboxes = Sandboxes::in_state(state.path());
        let now = Moment::from_millis(1000);
        for number in 1..=60 {
            sandboxes.make(&task(number)).unwrap();
        }
        for number in 31..=60 {
            sandboxes.ended(&ended(number, i64::from(number)), now).unwrap();
        }
        let aside = sandboxes.put_aside(now);
        assert_eq!(aside.len(), 10);
        let left = sandboxes.left_aside().unwrap();
        assert!(left.len() == 10 && aside.iter().all(|path| left.contains(path)));
        let expected = (1..=30).chain(41..=60).map(task).collect::<Vec<_>>();
        assert_eq!(names(&sandboxes), expected);
    }

    #[test]
    fn an_ended_tasks_directory_is_kept_for_the_set_time() {
        let state = tempfile::tempdir().unwrap();
        let sandboxes = Sandboxes::keeping(state.path(), Duration::from_millis(100));
        sandboxes.make(&task(1)).unwrap();
        assert_eq!(sandboxes.next_due(), None);
        sandboxes.ended(&ended(1, 5), Moment::from_millis(5)).unwrap();
        assert_eq!(sandboxes.next_due(), Some(Moment::from_millis(105)));
        assert!(sandboxes.put_aside(Moment::from_millis(104)).is_empty());
        assert_eq!(names(&sandboxes), [task(1)]);
        assert_eq!(sandboxes.put_aside(Moment::from_millis(105)).len(), 1);
        assert!(names(&sandboxes).is_empty());
        assert_eq!(sandboxes.next_due(), None);
    }

    #[test]
    fn the_next_engine_knows_what_ended_and_marks_what_nobody_could() {
        let state = tempfile::tempdir().unwrap();
        let sandboxes = Sandboxes::in_state(state.path());
        for number in 1..=3 {
            sandboxes.make(&task(number)).unwrap();
        }
        sandboxes.ended(&ended(2, 7), Moment::from_millis(7)).unwrap();
        let next = Sandboxes::keeping(state.path(), Duration::from_millis(100));
        next.take_stock(&BTreeSet::from([task(1)]), |_| None, Moment::from_millis(50));
        let mut found = next.tasks();
        found.sort_by(|(one, _), (other, _)| one.cmp(other));
        let states = found.iter().map(|(_, record)| record.as_ref().map(|record| record.state)).collect::<Vec<_>>();
        assert_eq!(states, [None, Some(TaskState::Failed), Some(TaskState::Lost)]);
        assert_eq!(next.next_due(), Some(Moment::from_millis(107)));
        next.put_aside(Moment::from_millis(110));
        assert_eq!(names(&next), [task(1), task(3)]);
    }

    #[test]
    fn a_task_that_is_launched_again_has_not_ended() {
        let state = tempfile::tempdir().unwrap();
        let sandboxes = Sandboxes::keeping(state.path(), Duration::from_millis(100));
        sandboxes.make(&task(1)).unwrap();
        sandboxes.ended(&ended(1, 5), Moment::from_millis(5)).unwrap();
        sandboxes.make(&task(1)).unwrap();
        assert!(sandboxes.put_aside(Moment::from_millis(1000)).is_empty());
        assert_eq!(sandboxes.tasks(), [(task(1), None)]);
    }

    #[test]
    fn an_end_that_was_not_written_whole_is_an_end() {
        let state = tempfile::tempdir().unwrap();
        let sandboxes = Sandboxes::in_state(state.path());
        sandboxes.make(&task(1)).unwrap();
        std::fs::write(sandboxes.directory(&task(1)).join(ENDED), "{\"task\":").unwrap();
        let record = sandboxes.record(&task(1)).unwrap();
        assert_eq!(record.state, TaskState::Lost);
        assert!(record.ended_at.is_some());
    }

    #[test]
    fn an_output_that_is_too_long_begins_anew() {
        let state = tempfile::tempdir().unwrap();
        let sandboxes = Sandboxes::in_state(state.path());
        sandboxes.make(&task(1)).unwrap();
        let [mut out, _] = sandboxes.open_outputs(&task(1)).unwrap();
        out.write_all(b"first").unwrap();
        out.write_all(&vec![b'x'; usize::try_from(MAX_OUTPUT).unwrap()]).unwrap();
        let [path, _] = sandboxes.outputs(&task(1));
        Sandboxes::bound(&path).unwrap();
        out.write_all(b"more").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"more");
        let earlier = std::fs::read(earlier_part(&path)).unwrap();
        assert!(u64::try_from(earlier.len()).unwrap() == MAX_OUTPUT && earlier.iter().all(|byte| *byte == b'x'));
    }
}
