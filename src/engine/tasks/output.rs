//! What containers write, brought into files: when somebody reads it, from then on while it is read, and when the
//! container has ended.
//!
//! Docker keeps a container's log. Its files here are written from the beginning of that log, by the same rules whenever
//! that is, and are then only added to: what stands at an offset stays there. Only an engine that begins anew does not
//! know how far the one before came, and writes them again; they differ if Docker has dropped the log's beginning since.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::instance::TaskId;
use super::sandbox::{MAX_OUTPUT, earlier_part};
use super::{Tasks, lock};
use crate::docker::{ContainerOutput, DockerError, LogPiece};

/// A container is followed for that long after somebody read what it wrote.
const FOLLOWED_FOR: Duration = Duration::from_mins(1);
/// Most containers that are followed at a time: each holds a connection and two files. One more, and the one that
/// nobody has read for the longest time is left.
const MOST_FOLLOWED: usize = 128;
/// How long a reader waits for what was written before, and how long the end of a container's log may take.
const CATCH_UP_PATIENCE: Duration = Duration::from_secs(10);
const END_PATIENCE: Duration = Duration::from_secs(5);
const WHOLE_PATIENCE: Duration = Duration::from_mins(1);
/// Pieces of a log that are written at once.
const BATCH: usize = 256;

/// The containers whose outputs may be read.
#[derive(Debug, Default)]
pub(super) struct Outputs(Mutex<HashMap<TaskId, Output>>);

#[derive(Debug)]
struct Output {
    container: String,
    /// How far the files have come; none while they are to be written from the beginning.
    written: Option<Position>,
    writing: Option<Writing>,
}

/// A message of a log: the n-th of that time, in Docker's words.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Position {
    stamp: String,
    nth: u32,
}

/// Goes through a log and tells what of it comes after a position.
#[derive(Debug)]
struct Progression {
    after: Option<Position>,
    at: Option<Position>,
    /// The position was seen, or there is none.
    passed: bool,
    is_new: bool,
    /// What comes next begins a message.
    is_between: bool,
}

impl Progression {
    fn after(after: Option<Position>) -> Self {
        let passed = after.is_none();
        Self { after, at: None, passed, is_new: passed, is_between: true }
    }

    /// Whether the piece comes after the position.
    fn is_new(&mut self, piece: &LogPiece) -> bool {
        if let Some(stamp) = &piece.stamp {
            self.is_new = self.passed;
            let before = self.at.take().filter(|before| before.stamp == *stamp);
            self.at = Some(Position { stamp: stamp.clone(), nth: before.map_or(1, |before| before.nth + 1) });
            self.passed |= self.at == self.after;
        }
        self.is_between = piece.ends;
        self.is_new
    }

    /// Up to where all has come; none when that is in the middle of a message.
    fn reached(&self) -> Option<Position> {
        if self.passed { self.at.clone().filter(|_| self.is_between) } else { self.after.clone() }
    }
}

/// A log that is being written to the files.
#[derive(Debug, Clone)]
struct Writing {
    last_read: Instant,
    progress: watch::Receiver<Progress>,
    stop: CancellationToken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// What was written before is not all there yet.
    Behind,
    CaughtUp,
    Whole,
}

type Log = Pin<Box<dyn Stream<Item = Result<LogPiece, DockerError>> + Send>>;

/// Why a log did not come into the files.
#[derive(Debug, thiserror::Error)]
enum NotWritten {
    #[error(transparent)]
    Docker(#[from] DockerError),
    #[error("cannot write it: {0}")]
    Files(#[from] io::Error),
}

impl Writing {
    /// Waits until the files have what was written up to now; no longer than readers may be kept waiting.
    async fn caught_up(mut self) {
        // It may also have failed; the files then have what they have.
        let _ = tokio::time::timeout(CATCH_UP_PATIENCE, self.progress.wait_for(|at| *at != Progress::Behind)).await;
    }
    /// Whether the files have all there will ever be, after at most `patience`.
    async fn whole(&mut self, patience: Duration) -> bool {
        let waited = tokio::time::timeout(patience, self.progress.wait_for(|at| *at == Progress::Whole)).await;
        matches!(waited, Ok(Ok(_)))
    }
    /// Ends it, and waits until it writes no more.
    async fn stopped(&mut self) {
        self.stop.cancel();
        while self.progress.changed().await.is_ok() {}
    }
}

impl Tasks {
    /// A container runs, whose outputs may be read.
    pub(super) fn has_output(&self, task: &TaskId, container: &str) {
        let output = || Output { container: container.to_owned(), written: None, writing: None };
        lock(&self.0.outputs.0).entry(task.clone()).or_insert_with(output);
    }

    /// Brings what a task wrote up to now into its files, if that is a container's.
    pub(super) async fn catch_up(&self, task: &TaskId) {
        let writing = {
            let mut outputs = lock(&self.0.outputs.0);
            let Some(output) = outputs.get_mut(task) else { return };
            let writing = output
                .writing
                .get_or_insert_with(|| self.write_log(task, &output.container, output.written.clone(), true));
            writing.last_read = Instant::now();
            let writing = writing.clone();
            stop_least_read(&outputs);
            writing
        };
        writing.caught_up().await;
    }

    /// Completes the files of a container that has ended, before it is removed.
    pub(super) async fn complete_output(&self, task: &TaskId, container: &str) {
        self.has_output(task, container);
        loop {
            let (mut writing, is_last) = {
                let mut outputs = lock(&self.0.outputs.0);
                let Some(output) = outputs.get_mut(task) else { return };
                if let Some(following) = &output.writing {
                    (following.clone(), false)
                } else {
                    // A follower is told of the end before the last of the output, now and then.
                    let writing = self.write_log(task, container, output.written.clone(), false);
                    (output.writing.insert(writing).clone(), true)
                }
            };
            if !writing.whole(if is_last { WHOLE_PATIENCE } else { END_PATIENCE }).await {
                writing.stopped().await;
            }
            if is_last {
                lock(&self.0.outputs.0).remove(task);
                return;
            }
        }
    }

    /// Begins to write a container's log to the task's files.
    fn write_log(&self, task: &TaskId, container: &str, written: Option<Position>, follow: bool) -> Writing {
        let (progress, seen) = watch::channel(Progress::Behind);
        let stop = CancellationToken::new();
        let writing = Writing { last_read: Instant::now(), progress: seen, stop: stop.clone() };
        let mut writer = Writer { tasks: self.clone(), task: task.clone(), follow, written, progress, stop };
        let container = container.to_owned();
        self.spawn(async move {
            let ended = writer.run(&container).await;
            if let Err(error) = &ended {
                tracing::warn!(task = %writer.task, %error, "cannot bring the output of a task into its files");
            }
            if let Some(output) = lock(&writer.tasks.0.outputs.0).get_mut(&writer.task) {
                output.written = writer.written;
                output.writing = None;
            }
            if matches!(ended, Ok(true)) {
                writer.progress.send_replace(Progress::Whole);
            }
        });
        writing
    }

    fn last_read(&self, task: &TaskId) -> Option<Instant> {
        Some(lock(&self.0.outputs.0).get(task)?.writing.as_ref()?.last_read)
    }
}

/// A log that is about to be written.
struct Begun {
    log: Log,
    progression: Progression,
    /// New bytes of each output that were there at the beginning, where that is known.
    before: Option<[u64; 2]>,
}

/// Writes one container's log to the task's files.
#[derive(Debug)]
struct Writer {
    tasks: Tasks,
    task: TaskId,
    follow: bool,
    written: Option<Position>,
    progress: watch::Sender<Progress>,
    stop: CancellationToken,
}

impl Writer {
    /// Whether it was written to its end.
    async fn run(&mut self, container: &str) -> Result<bool, NotWritten> {
        let stop = self.stop.clone();
        let begun = tokio::select! {
            begun = self.begin(container) => begun?,
            () = stop.cancelled() => return Ok(false),
        };
        let Some(Begun { log, mut progression, before }) = begun else { return Ok(true) };
        let (outputs, resume) = (self.tasks.setting().sandboxes.outputs(&self.task), self.written.is_some());
        let mut files = blocking(move || if resume { Files::resume(outputs) } else { Files::begin(outputs) }).await?;
        let mut pieces = log.ready_chunks(BATCH);
        let mut patience = std::pin::pin!(tokio::time::sleep(CATCH_UP_PATIENCE));
        let mut is_behind = true;
        loop {
            if is_behind && before.is_some_and(|before| files.have(before)) {
                is_behind = false;
                self.progress.send_replace(Progress::CaughtUp);
            }
            let batch = tokio::select! {
                batch = pieces.next() => batch,
                () = &mut patience, if is_behind && self.follow => {
                    is_behind = false;
                    self.progress.send_replace(Progress::CaughtUp);
                    continue;
                }
                () = self.nobody_reads(), if self.follow => return Ok(false),
                () = stop.cancelled() => return Ok(false),
            };
            let Some(batch) = batch else { return Ok(true) };
            let (mut batch, failure) = until_failure(batch);
            batch.retain(|piece| progression.is_new(piece));
            // Until it is written whole, nobody knows how far the files are.
            self.written = None;
            files = blocking(move || files.write(&batch)).await?;
            self.written = progression.reached();
            if let Some(error) = failure {
                return Err(error.into());
            }
        }
    }

    /// The log, and how much of it is new; none when there is no such container any more.
    async fn begin(&self, container: &str) -> Result<Option<Begun>, NotWritten> {
        let docker = &self.tasks.setting().docker;
        let log: Log = match docker.container_log(container, self.follow).await {
            Ok(log) => Box::pin(log),
            // Somebody else removed it: there will be no more.
            Err(DockerError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut progression = Progression::after(self.written.clone());
        if !self.follow && self.written.is_none() {
            return Ok(Some(Begun { log, progression, before: None }));
        }
        // What was written before the follower came is all that Docker gives without it, now that the follower is there.
        let (mut all, mut new) = ([0, 0], [0, 0]);
        let mut present = std::pin::pin!(docker.container_log(container, false).await?);
        while let Some(piece) = present.next().await {
            let piece = piece?;
            let (index, bytes) = parts(&piece);
            all[index] += bytes.len() as u64;
            new[index] += if progression.is_new(&piece) { bytes.len() as u64 } else { 0 };
        }
        Ok(Some(if progression.passed {
            Begun { log, progression: Progression::after(self.written.clone()), before: Some(new) }
        } else {
            // Docker has dropped even what was written last: all that it has comes after that.
            Begun { log, progression: Progression::after(None), before: Some(all) }
        }))
    }

    /// Waits until the output was not read for so long that it is followed no more.
    async fn nobody_reads(&self) {
        loop {
            match self.tasks.last_read(&self.task).map(|last| last + FOLLOWED_FOR) {
                Some(until) if until > Instant::now() => tokio::time::sleep_until(until).await,
                _ => return,
            }
        }
    }
}

/// Keeps the number of containers that are followed within bounds.
fn stop_least_read(outputs: &HashMap<TaskId, Output>) {
    let followed = outputs.values().filter_map(|output| output.writing.as_ref());
    let followed: Vec<_> = followed.filter(|writing| !writing.stop.is_cancelled()).collect();
    if followed.len() > MOST_FOLLOWED
        && let Some(least) = followed.into_iter().min_by_key(|writing| writing.last_read)
    {
        least.stop.cancel();
    }
}

/// The index of the output and what was written to it.
fn parts(piece: &LogPiece) -> (usize, &[u8]) {
    match &piece.output {
        ContainerOutput::Out(bytes) => (0, bytes),
        ContainerOutput::Err(bytes) => (1, bytes),
    }
}

fn until_failure(batch: Vec<Result<LogPiece, DockerError>>) -> (Vec<LogPiece>, Option<DockerError>) {
    let mut pieces = Vec::with_capacity(batch.len());
    for piece in batch {
        match piece {
            Ok(piece) => pieces.push(piece),
            Err(error) => return (pieces, Some(error)),
        }
    }
    (pieces, None)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// The two files of a task's outputs, from their beginning on.
#[derive(Debug)]
struct Files([Bounded; 2]);

impl Files {
    fn begin([stdout, stderr]: [PathBuf; 2]) -> io::Result<Self> {
        Ok(Self([Bounded::begin(stdout)?, Bounded::begin(stderr)?]))
    }
    fn resume([stdout, stderr]: [PathBuf; 2]) -> io::Result<Self> {
        Ok(Self([Bounded::resume(stdout)?, Bounded::resume(stderr)?]))
    }
    fn write(mut self, pieces: &[LogPiece]) -> io::Result<Self> {
        for piece in pieces {
            let (index, bytes) = parts(piece);
            self.0[index].write(bytes)?;
        }
        Ok(self)
    }
    /// Whether as much was written, with what is not kept any more.
    fn have(&self, sizes: [u64; 2]) -> bool {
        self.0.iter().zip(sizes).all(|(file, size)| file.total >= size)
    }
}

/// A file that begins anew when it is full; what it had until then is kept beside it.
#[derive(Debug)]
struct Bounded {
    path: PathBuf,
    file: File,
    /// Of the file, in bytes.
    size: u64,
    /// Of all that this writer wrote.
    total: u64,
}

/// How much longer than it should be a file may become for the sake of whole lines.
const LONGEST_LINE: u64 = 64 << 10;

impl Bounded {
    /// Takes the place of what an earlier writer left. Whoever has that open reads on in it.
    fn begin(path: PathBuf) -> io::Result<Self> {
        for old in [&path, &earlier_part(&path)] {
            match std::fs::remove_file(old) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let file = create(&path)?;
        Ok(Self { path, file, size: 0, total: 0 })
    }

    /// Goes on where an earlier writer ended.
    fn resume(path: PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).open(&path)?;
        let size = file.metadata()?.len();
        Ok(Self { path, file, size, total: 0 })
    }

    /// Where a file ends depends on the bytes alone, not on how they come: behind the first end of a line at which it
    /// is full.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (now, later, full) = split(rest, self.size);
            self.file.write_all(now)?;
            self.size += now.len() as u64;
            self.total += now.len() as u64;
            if full {
                std::fs::rename(&self.path, earlier_part(&self.path))?;
                self.file = create(&self.path)?;
                self.size = 0;
            }
            rest = later;
        }
        Ok(())
    }
}

/// What of `bytes` still belongs into a file of that size, what into the next, and whether the file is full then.
fn split(bytes: &[u8], size: u64) -> (&[u8], &[u8], bool) {
    let room = |limit: u64| usize::try_from(limit.saturating_sub(size)).unwrap_or(usize::MAX).min(bytes.len());
    let (least, most) = (room(MAX_OUTPUT - 1), room(MAX_OUTPUT + LONGEST_LINE));
    let end = bytes[least..most].iter().position(|byte| *byte == b'\n').map(|at| least + at + 1);
    let full = end.is_some() || size + most as u64 >= MAX_OUTPUT + LONGEST_LINE;
    let (now, later) = bytes.split_at(end.unwrap_or(most));
    (now, later, full)
}

fn create(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both files after `bytes` came in pieces of `size`.
    fn written(bytes: &[u8], size: usize) -> (Vec<u8>, Option<Vec<u8>>) {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("stdout");
        let mut file = Bounded::begin(path.clone()).unwrap();
        for piece in bytes.chunks(size) {
            file.write(piece).unwrap();
        }
        assert_eq!(file.total, bytes.len() as u64);
        (std::fs::read(&path).unwrap(), std::fs::read(earlier_part(&path)).ok())
    }

    /// Each message of a log that comes after the position, and where that leads.
    fn after(position: Option<Position>, log: &[(&str, bool)]) -> (Vec<usize>, Progression) {
        let mut progression = Progression::after(position);
        let new = log.iter().enumerate().filter(|(_, (stamp, ends))| {
            let stamp = (!stamp.is_empty()).then(|| (*stamp).to_owned());
            progression.is_new(&LogPiece { output: ContainerOutput::Out(bytes::Bytes::new()), stamp, ends: *ends })
        });
        (new.map(|(index, _)| index).collect(), progression)
    }

    #[test]
    fn what_was_written_is_not_written_again_also_when_the_clock_was_set_back() {
        let log = [("t1", true), ("t2", true), ("t2", false), ("", true), ("t1", true), ("t0", true)];
        let position = |stamp: &str, nth| Some(Position { stamp: stamp.into(), nth });
        let (new, all) = after(None, &log);
        assert_eq!((new, all.reached()), (vec![0, 1, 2, 3, 4, 5], position("t0", 1)));
        assert_eq!(after(position("t2", 1), &log).0, [2, 3, 4, 5]);
        assert_eq!(after(position("t2", 2), &log).0, [4, 5]);
        let (new, none) = after(position("t0", 1), &log);
        assert_eq!((new, none.reached()), (vec![], position("t0", 1)));
        // In the middle of a message nobody can go on.
        assert_eq!(after(None, &log[..3]).1.reached(), None);
        let (new, lost) = after(position("t5", 1), &log);
        assert_eq!((new, lost.passed), (vec![], false));
    }

    #[test]
    fn a_writer_goes_on_where_another_ended() {
        let line = b"0123456789\n".repeat(100_000);
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("stdout");
        Bounded::begin(path.clone()).unwrap().write(&line).unwrap();
        for _ in 0..5 {
            Bounded::resume(path.clone()).unwrap().write(&line).unwrap();
        }
        let (present, earlier) = written(&line.repeat(6), 5000);
        assert!(std::fs::read(&path).unwrap() == present);
        assert!(std::fs::read(earlier_part(&path)).ok() == earlier);
    }

    #[test]
    fn a_full_file_begins_anew_at_a_line_however_its_bytes_come() {
        let line = [&[b'x'; 99][..], b"\n"].concat();
        let lines = line.repeat(50_000);
        let full = usize::try_from(MAX_OUTPUT).unwrap().next_multiple_of(100);
        for size in [4096, 5000, 100_000, lines.len()] {
            let (present, earlier) = written(&lines, size);
            assert_eq!((present.len(), earlier.unwrap().len()), (lines.len() - full, full), "{size}");
        }
    }

    #[test]
    fn bytes_without_an_end_of_a_line_are_bounded_too() {
        let bytes = vec![0xff; usize::try_from(MAX_OUTPUT).unwrap() * 2];
        let full = usize::try_from(MAX_OUTPUT + LONGEST_LINE).unwrap();
        for size in [4096, 5000, bytes.len()] {
            let (present, earlier) = written(&bytes, size);
            assert_eq!((present.len(), earlier.unwrap().len()), (bytes.len() - full, full), "{size}");
        }
    }

    #[test]
    fn a_file_that_is_not_full_has_nothing_before_it() {
        assert_eq!(written(b"a\nb", 1), (b"a\nb".to_vec(), None));
    }

    #[test]
    fn an_earlier_writers_files_are_replaced_and_readers_of_them_read_on() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("stdout");
        std::fs::write(&path, "old").unwrap();
        std::fs::write(earlier_part(&path), "older").unwrap();
        let reader = File::open(&path).unwrap();
        Bounded::begin(path.clone()).unwrap().write(b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert!(!earlier_part(&path).exists());
        assert_eq!(io::read_to_string(reader).unwrap(), "old");
    }
}
