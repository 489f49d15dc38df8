//! Reading the log from its beginning, and on from there.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::Event;
use super::segments::{self, Segment};

/// How far somebody has read.
#[derive(Debug)]
pub(super) struct Reader {
    dir: PathBuf,
    at: Option<(Segment, File)>,
    /// The beginning of a line whose end was not there yet.
    begun: Vec<u8>,
}

impl Reader {
    pub(super) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), at: None, begun: Vec::new() }
    }

    /// What was added since the last time, or is there at all.
    pub(super) fn read(&mut self) -> io::Result<Vec<Event>> {
        let mut events = Vec::new();
        loop {
            // Asked before the segment is read to its end: once there is a next one, nobody adds to this one.
            let next = self.next_segment()?;
            self.read_segment(&mut events)?;
            let Some(next) = next else { return Ok(events) };
            if !self.begun.is_empty() {
                tracing::warn!(dir = %self.dir.display(), "the audit log has an unfinished line, as a crash leaves it");
                self.begun.clear();
            }
            // One that was removed meanwhile is older than the next there is.
            self.at = segments::open(&self.dir, next)?.map(|file| (next, file)).or(self.at.take());
        }
    }

    fn next_segment(&self) -> io::Result<Option<Segment>> {
        let read = self.at.as_ref().map(|(segment, _)| *segment);
        Ok(segments::list(&self.dir)?.into_iter().find(|segment| Some(*segment) > read))
    }

    fn read_segment(&mut self, events: &mut Vec<Event>) -> io::Result<()> {
        let Some((_, file)) = &mut self.at else { return Ok(()) };
        file.read_to_end(&mut self.begun)?;
        let Some(end) = self.begun.iter().rposition(|byte| *byte == b'\n') else { return Ok(()) };
        let begun = self.begun.split_off(end + 1);
        let lines = std::mem::replace(&mut self.begun, begun);
        for line in lines[..end].split(|byte| *byte == b'\n') {
            // What is no event is not repeated: it may be anything.
            let event = serde_json::from_slice(line).inspect_err(|_| {
                tracing::warn!(dir = %self.dir.display(), "a line of the audit log is no event");
            });
            events.extend(event);
        }
        Ok(())
    }
}
