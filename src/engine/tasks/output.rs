//! What containers write, brought into files: whenever somebody reads it, and when the container has ended.
//!
//! Docker keeps a container's log. Its files here are written from the beginning of that log, by the same rules whenever
//! that is, and are then only added to: what stands at an offset stays there. Only an engine that begins anew does not
//! know how far the one before came, and writes them again; they differ if Docker has dropped the log's beginning since.
//! So they do for a container with a terminal, whose log has no messages to know a place by.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::instance::TaskId;
use super::sandbox::{MAX_OUTPUT, earlier_part};
use super::{Tasks, lock};
use crate::docker::{ContainerOutput, DockerError, LogPiece};

/// Files that were brought up to date so long ago, or less, are as good as new. A terminal's whole log is read each time.
const FRESH: Duration = Duration::from_millis(100);
const FRESH_OF_TERMINAL: Duration = Duration::from_secs(2);
/// How long a reader waits for that.
const READ_PATIENCE: Duration = Duration::from_secs(10);
/// How long Docker may take to go on with a log.
const PIECE_PATIENCE: Duration = Duration::from_secs(30);
/// How many of the last messages of a log are looked at for what is new, before all of them.
const LAST_MESSAGES: [u32; 2] = [256, 16 << 10];
/// Pieces of a log that are written at once.
const BATCH: usize = 256;

/// The containers whose outputs may be read. Each output is locked while it is brought up to date.
#[derive(Debug, Default)]
pub(super) struct Outputs(Mutex<HashMap<TaskId, Arc<tokio::sync::Mutex<Output>>>>);

#[derive(Debug)]
struct Output {
    container: String,
    /// Asked of Docker once.
    has_terminal: Option<bool>,
    /// How far the files have come; none while they are to be written from the beginning.
    written: Option<Position>,
    /// The files have what was written until then.
    as_of: Option<Instant>,
}

/// A message of a log: the n-th of that time, in Docker's words.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Position {
    stamp: String,
    nth: u32,
}

/// Goes through a log, or its end, and tells what of it comes after a position.
#[derive(Debug)]
struct Progression {
    after: Option<Position>,
    at: Option<Position>,
    /// How many messages before the present one have its time is not known: the log's beginning is not there.
    is_cut: bool,
    part: Part,
    /// What comes next begins a message.
    is_between: bool,
}

/// What of a log is gone through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    BeforePosition,
    /// The message that is the position.
    Position,
    New,
}

impl Progression {
    /// Through a log from its beginning, or from somewhere else in it when `is_cut`.
    fn after(after: Option<Position>, is_cut: bool) -> Self {
        let part = if after.is_some() { Part::BeforePosition } else { Part::New };
        Self { after, at: None, is_cut, part, is_between: true }
    }

    /// Whether the piece comes after the position.
    fn is_new(&mut self, piece: &LogPiece) -> bool {
        if let Some(stamp) = &piece.stamp {
            let before = self.at.take();
            let of_same_time = before.as_ref().filter(|before| before.stamp == *stamp).map(|before| before.nth);
            self.is_cut &= before.is_none() || of_same_time.is_some();
            self.at = Some(Position { stamp: stamp.clone(), nth: of_same_time.unwrap_or(0) + 1 });
            self.part = match self.part {
                Part::BeforePosition if self.is_cut || self.at != self.after => Part::BeforePosition,
                Part::BeforePosition => Part::Position,
                Part::Position | Part::New => Part::New,
            };
        }
        self.is_between = piece.ends;
        self.part == Part::New
    }

    /// The position was seen, or there is none.
    fn passed(&self) -> bool {
        self.part != Part::BeforePosition
    }

    /// Up to where all has come; none when that is in the middle of a message.
    fn reached(&self) -> Option<Position> {
        if self.passed() { self.at.clone().filter(|_| self.is_between) } else { self.after.clone() }
    }
}

/// Why a log did not come into the files.
#[derive(Debug, thiserror::Error)]
enum NotWritten {
    #[error(transparent)]
    Docker(#[from] DockerError),
    #[error("Docker does not go on with the log")]
    Stuck(#[from] tokio::time::error::Elapsed),
    #[error("cannot write it: {0}")]
    Files(#[from] io::Error),
}

impl Output {
    /// Nothing was written since that is not in the files, or nothing that matters.
    fn is_fresh(&self, asked: Instant) -> bool {
        let fresh = if self.has_terminal == Some(true) { FRESH_OF_TERMINAL } else { FRESH };
        self.as_of.is_some_and(|as_of| asked < as_of + fresh)
    }
}

impl Tasks {
    /// A container runs, whose outputs may be read.
    pub(super) fn has_output(&self, task: &TaskId, container: &str) {
        let container = container.to_owned();
        let output = || Output { container, has_terminal: None, written: None, as_of: None };
        lock(&self.0.outputs.0).entry(task.clone()).or_insert_with(|| Arc::new(tokio::sync::Mutex::new(output())));
    }

    /// Brings what a task wrote up to now into its files, if that is a container's. Docker is asked for no more than
    /// what is new, and by nobody else meanwhile.
    pub(super) async fn catch_up(&self, task: &TaskId) {
        let asked = Instant::now();
        let Some(output) = lock(&self.0.outputs.0).get(task).cloned() else { return };
        let (sender, done) = oneshot::channel();
        let (tasks, task) = (self.clone(), task.clone());
        // A reader that goes away leaves nothing half done.
        self.spawn(async move {
            let mut output = output.lock().await;
            if !output.is_fresh(asked) {
                tasks.bring_up_to_date(&task, &mut output).await;
            }
            let _ = sender.send(());
        });
        // The files have what they have.
        let _ = tokio::time::timeout(READ_PATIENCE, done).await;
    }

    /// Completes the files of a container that has ended, before it is removed.
    pub(super) async fn complete_output(&self, task: &TaskId, container: &str) {
        self.has_output(task, container);
        let Some(output) = lock(&self.0.outputs.0).get(task).cloned() else { return };
        let mut output = output.lock().await;
        self.bring_up_to_date(task, &mut output).await;
        lock(&self.0.outputs.0).remove(task);
    }

    async fn bring_up_to_date(&self, task: &TaskId, output: &mut Output) {
        let now = Instant::now();
        match self.add_new(task, output).await {
            // Without a container there is nothing new any more.
            Ok(()) | Err(NotWritten::Docker(DockerError::NotFound { .. })) => output.as_of = Some(now),
            Err(error) => tracing::warn!(%task, %error, "cannot bring the output of a task into its files"),
        }
    }

    /// Adds what is new in a container's log to its files.
    async fn add_new(&self, task: &TaskId, output: &mut Output) -> Result<(), NotWritten> {
        if output.has_terminal.is_none() {
            output.has_terminal = Some(self.setting().docker.has_terminal(&output.container).await?);
        }
        if output.written.is_some() {
            for messages in LAST_MESSAGES.map(Some).into_iter().chain([None]) {
                let progression = Progression::after(output.written.clone(), messages.is_some());
                if self.add_from(task, output, messages, progression).await? {
                    return Ok(());
                }
            }
        }
        // Nothing was written yet, or Docker has dropped even what was written last: all that it has comes after that.
        self.add_from(task, output, None, Progression::after(None, false)).await.map(|_| ())
    }

    /// Adds what of a log comes after a position; answers whether that is there at all.
    async fn add_from(
        &self,
        task: &TaskId,
        output: &mut Output,
        messages: Option<u32>,
        mut progression: Progression,
    ) -> Result<bool, NotWritten> {
        let (docker, has_terminal) = (&self.setting().docker, output.has_terminal.unwrap_or(false));
        let log = docker.container_log(&output.container, messages, has_terminal).await?;
        let (paths, resume) = (self.setting().sandboxes.outputs(task), output.written.is_some());
        let mut files = blocking(move || if resume { Files::resume(paths) } else { Files::begin(paths) }).await?;
        let mut pieces = std::pin::pin!(log.ready_chunks(BATCH));
        while let Some(batch) = tokio::time::timeout(PIECE_PATIENCE, pieces.next()).await? {
            let (mut batch, failure) = until_failure(batch);
            batch.retain(|piece| progression.is_new(piece));
            if !batch.is_empty() {
                // Until it is written whole, nobody knows how far the files are.
                output.written = None;
                files = blocking(move || files.write(&batch)).await?;
                output.written = progression.reached();
            }
            if let Some(error) = failure {
                return Err(error.into());
            }
        }
        Ok(progression.passed())
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
}

/// A file that begins anew when it is full; what it had until then is kept beside it.
#[derive(Debug)]
struct Bounded {
    path: PathBuf,
    file: File,
    /// Of the file, in bytes.
    size: u64,
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
        Ok(Self { path, file, size: 0 })
    }

    /// Goes on where an earlier writer ended.
    fn resume(path: PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
        let size = file.metadata()?.len();
        Ok(Self { path, file, size })
    }

    /// Where a file ends depends on the bytes alone, not on how they come: behind the first end of a line at which it
    /// is full.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (now, later, full) = split(rest, self.size);
            self.file.write_all(now)?;
            self.size += now.len() as u64;
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
        (std::fs::read(&path).unwrap(), std::fs::read(earlier_part(&path)).ok())
    }

    /// Each message of a log that comes after the position, and where that leads.
    fn after(position: Option<Position>, is_cut: bool, log: &[(&str, bool)]) -> (Vec<usize>, Progression) {
        let mut progression = Progression::after(position, is_cut);
        let new = log.iter().enumerate().filter(|(_, (stamp, ends))| {
            let stamp = (!stamp.is_empty()).then(|| (*stamp).to_owned());
            progression.is_new(&LogPiece { output: ContainerOutput::Out(bytes::Bytes::new()), stamp, ends: *ends })
        });
        (new.map(|(index, _)| index).collect(), progression)
    }

    fn position(stamp: &str, nth: u32) -> Position {
        Position { stamp: stamp.into(), nth }
    }

    const LOG: [(&str, bool); 6] = [("t1", true), ("t2", true), ("t2", false), ("", true), ("t1", true), ("t0", true)];

    #[test]
    fn what_was_written_is_not_written_again_also_when_the_clock_was_set_back() {
        let (new, all) = after(None, false, &LOG);
        assert_eq!((new, all.reached()), (vec![0, 1, 2, 3, 4, 5], Some(position("t0", 1))));
        assert_eq!(after(Some(position("t2", 1)), false, &LOG).0, [2, 3, 4, 5]);
        assert_eq!(after(Some(position("t2", 2)), false, &LOG).0, [4, 5]);
        let (new, none) = after(Some(position("t0", 1)), false, &LOG);
        assert_eq!((new, none.reached()), (vec![], Some(position("t0", 1))));
        // In the middle of a message nobody can go on.
        assert_eq!(after(None, false, &LOG[..3]).1.reached(), None);
        let (new, lost) = after(Some(position("t5", 1)), false, &LOG);
        assert_eq!((new, lost.passed(), lost.reached()), (vec![], false, Some(position("t5", 1))));
    }

    #[test]
    fn at_a_logs_end_messages_of_the_first_time_are_known_to_be_no_position() {
        // The first of them may be the second, or any.
        assert!(!after(Some(position("t2", 1)), true, &LOG[1..]).1.passed());
        assert!(!after(Some(position("t2", 2)), true, &LOG[1..]).1.passed());
        assert_eq!(after(Some(position("t2", 2)), true, &LOG).0, [4, 5]);
        assert_eq!(after(Some(position("t1", 1)), true, &LOG[1..]).0, [4]);
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
