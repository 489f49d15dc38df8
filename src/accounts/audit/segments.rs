//! The log's files: numbered segments, of which the last is written to.
//!
//! Rotation loses no line while others append, since nothing is ever renamed or shortened: whoever has the directory
//! locked and finds the last segment full makes the next one and writes there. A segment that is not the last is never
//! written to again, so a reader who finds a later one and then comes to the end of an earlier one has all of it. What
//! is removed is whole segments, the oldest, and never the last.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};

use super::Bounds;

/// So many segments hold all that is kept.
const PIECES: u8 = 16;
/// What lies in the directory is the system user's to change, so root follows no links in it.
const NO_FOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();

/// One file of the log. Its number and the time it was begun are its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Segment {
    number: u64,
    /// In seconds since 1970.
    began: i64,
}

impl Segment {
    fn file_name(self) -> String {
        format!("{:010}-{}.jsonl", self.number, self.began)
    }

    fn parse(name: &str) -> Option<Self> {
        let (number, began) = name.strip_suffix(".jsonl")?.split_once('-')?;
        let segment = Self { number: number.parse().ok()?, began: began.parse().ok()? };
        (segment.file_name() == name).then_some(segment)
    }

    pub(super) fn path(self, dir: &Path) -> PathBuf {
        dir.join(self.file_name())
    }

    fn after(last: Option<Self>, now: Timestamp) -> Self {
        Self { number: last.map_or(1, |last| last.number + 1), began: now.as_second() }
    }
}

/// The segments in the directory, oldest first; none where there is no directory.
pub(super) fn list(dir: &Path) -> io::Result<Vec<Segment>> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut segments = Vec::new();
    for entry in entries {
        segments.extend(entry?.file_name().to_str().and_then(Segment::parse));
    }
    segments.sort_unstable();
    Ok(segments)
}

/// Opens a segment to be read; nothing when it was removed meanwhile.
pub(super) fn open(dir: &Path, segment: Segment) -> io::Result<Option<File>> {
    match OpenOptions::new().read(true).custom_flags(NO_FOLLOW).open(segment.path(dir)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    }
}

/// Adds the line, which ends with a newline, to the last segment, and makes the next one first if that one is full.
pub(super) fn append(dir: &Path, line: &[u8], bounds: Bounds, now: Timestamp) -> io::Result<()> {
    make_directory(dir)?;
    let directory = File::open(dir)?;
    directory.lock()?;
    let segments = list(dir)?;
    let written = last_or_next(dir, &directory, &segments, line.len(), bounds, now).and_then(|mut file| {
        write(&mut file, line)?;
        Ok(file)
    });
    // Closing would unlock it too, but not while a child between fork and exec shares it.
    directory.unlock()?;
    written?.sync_data()
}

fn last_or_next(
    dir: &Path,
    directory: &File,
    segments: &[Segment],
    more: usize,
    bounds: Bounds,
    now: Timestamp,
) -> io::Result<File> {
    let last = segments.last().copied();
    if let Some(last) = last {
        let file = writable(&last.path(dir), false)?;
        if !is_full(last, file.metadata()?.len(), more, bounds, now) {
            return Ok(file);
        }
    }
    let next = Segment::after(last, now);
    let file = writable(&next.path(dir), true)?;
    give_to_owner_of(directory, &file)?;
    remove_oldest(dir, segments, next, bounds, now)?;
    // The name has to be on disk as well as the line.
    directory.sync_all()?;
    Ok(file)
}

fn is_full(segment: Segment, bytes: u64, more: usize, bounds: Bounds, now: Timestamp) -> bool {
    let age = SignedDuration::from_secs(now.as_second().saturating_sub(segment.began));
    let oldest = SignedDuration::try_from(bounds.age / u32::from(PIECES)).unwrap_or(SignedDuration::MAX);
    bytes > 0 && (bytes + more as u64 > bounds.bytes / u64::from(PIECES) || age > oldest)
}

fn remove_oldest(dir: &Path, segments: &[Segment], next: Segment, bounds: Bounds, now: Timestamp) -> io::Result<()> {
    let mut sizes = Vec::with_capacity(segments.len());
    for segment in segments {
        sizes.push(std::fs::symlink_metadata(segment.path(dir))?.len());
    }
    for segment in superfluous(segments, &sizes, next, bounds, now) {
        std::fs::remove_file(segment.path(dir))?;
    }
    Ok(())
}

/// Which of the segments before `next` have to go: those that ended too long ago, and the oldest of those that are too
/// much together, with room left for `next` to become full.
fn superfluous(segments: &[Segment], sizes: &[u64], next: Segment, bounds: Bounds, now: Timestamp) -> Vec<Segment> {
    let room = bounds.bytes - bounds.bytes / u64::from(PIECES);
    let oldest = now.as_second().saturating_sub_unsigned(bounds.age.as_secs());
    let mut left: u64 = sizes.iter().sum();
    let mut superfluous = Vec::new();
    // A segment ended when the one after it began.
    let ends = segments.iter().skip(1).chain([&next]).map(|following| following.began);
    for ((segment, size), ended) in segments.iter().zip(sizes).zip(ends) {
        if left <= room && ended >= oldest {
            break;
        }
        left -= size;
        superfluous.push(*segment);
    }
    superfluous
}

fn writable(path: &Path, is_new: bool) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).create_new(is_new).mode(0o600).custom_flags(NO_FOLLOW).open(path)
}

/// Writes the line at once. A line before it that a crash left unfinished is ended, so that it spoils no other.
fn write(file: &mut File, line: &[u8]) -> io::Result<()> {
    let end = file.seek(SeekFrom::End(0))?;
    let mut whole = Vec::with_capacity(line.len() + 1);
    if end > 0 && last_byte(file, end)? != b'\n' {
        whole.push(b'\n');
    }
    whole.extend_from_slice(line);
    file.write_all(&whole).inspect_err(|_| {
        // A disk that is full takes a part; nobody else writes meanwhile. If it cannot be taken back, the next line
        // ends it.
        let _ = file.set_len(end);
    })
}

fn last_byte(file: &mut File, end: u64) -> io::Result<u8> {
    let mut byte = [0];
    file.seek(SeekFrom::Start(end - 1))?;
    file.read_exact(&mut byte)?;
    Ok(byte[0])
}

/// With mode 0700, and what is missing above it with the usual mode.
pub(super) fn make_directory(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let above = dir.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(above)?;
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.and_then(|()| give_to_owner_of(&File::open(above)?, &File::open(dir)?)),
    }
}

/// What root makes in somebody's directory becomes theirs, so that root and the system user share one log.
fn give_to_owner_of(directory: &File, made: &File) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let owner = directory.metadata()?;
    std::os::unix::fs::fchown(made, Some(owner.uid()), Some(owner.gid()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const BOUNDS: Bounds = Bounds { bytes: 1600, age: Duration::from_secs(1600) };

    fn segment(number: u64, began: i64) -> Segment {
        Segment { number, began }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_segment_is_known_by_its_name_and_nothing_else_is_one() {
        let one = segment(7, 1_700_000_000);
        assert_eq!(one.file_name(), "0000000007-1700000000.jsonl");
        assert_eq!(Segment::parse(&one.file_name()), Some(one));
        for other in ["7-1.jsonl", "0000000007-1700000000.jsonl~", "0000000007.jsonl", "x", "0000000007-+1.jsonl"] {
            assert_eq!(Segment::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_segment_is_full_by_its_size_or_its_age_but_never_empty() {
        let full = |bytes, more, now| is_full(segment(1, 1000), bytes, more, BOUNDS, at(now));
        assert!(!full(50, 50, 1000) && full(50, 51, 1000), "a sixteenth of the bytes");
        assert!(!full(50, 50, 1100) && full(50, 50, 1101), "a sixteenth of the age");
        assert!(!full(0, 500, 1000), "a long line has to stand somewhere");
    }

    #[test]
    fn the_oldest_go_first_and_no_more_than_have_to() {
        let segments = [segment(1, 100), segment(2, 200), segment(3, 300)];
        let gone = |sizes: [u64; 3], now| superfluous(&segments, &sizes, segment(4, now), BOUNDS, at(now));
        assert_eq!(gone([500, 500, 500], 400), []);
        assert_eq!(gone([500, 501, 500], 400), segments[..1]);
        assert_eq!(gone([100, 100, 2000], 400), segments);
        assert_eq!(gone([1, 1, 1], 1800), [], "the first ended at 200");
        assert_eq!(gone([1, 1, 1], 1801), segments[..1]);
        assert_eq!(gone([1, 1, 1], 1901), segments[..2]);
    }
}
