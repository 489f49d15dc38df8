//! Server-sent events as pure code: bytes in, events out, and the frames a server writes. It has never seen a socket.

use std::mem;

/// One event of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The `event:` line, else `message`.
    pub event: String,
    /// The `data:` lines, joined by newlines.
    pub data: String,
}

impl Frame {
    /// The frame as Marathon writes it: two lines and an empty one, each ended by CRLF.
    /// `data` of several lines becomes several `data:` lines; a line break in `event` is left out.
    pub fn encode(&self) -> String {
        let event: String = self.event.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
        let mut text = format!("event: {event}\r\n");
        for line in self.data.split('\n') {
            text.push_str("data: ");
            text.extend(line.chars().filter(|c| *c != '\r'));
            text.push_str("\r\n");
        }
        text + "\r\n"
    }
}

/// What a server sends when there is nothing to say, so that the line is known to be up.
pub const KEEP_ALIVE: &str = "\r\n";

/// Longest line or event, in bytes: 16 MiB holds some ten thousand app definitions; a stream beyond it is no event stream.
pub const MAX_EVENT_BYTES: usize = 16 << 20;

/// A line or an event is longer than `MAX_EVENT_BYTES`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event is longer than {MAX_EVENT_BYTES} bytes")]
pub struct TooLong;

/// Takes a stream's bytes in pieces of any size and gives the events that they complete.
/// Lines end with LF, CR or CRLF; comments, `id` and `retry` are skipped; keep-alives give nothing.
#[derive(Debug, Default)]
pub struct Decoder {
    line: Vec<u8>,
    event: String,
    data: Option<String>,
    /// The last byte ended a line as CR, so that a LF right after it ends none.
    after_cr: bool,
    /// Some line has been read, so that a byte order mark would be text.
    begun: bool,
}

impl Decoder {
    pub fn new() -> Self {
        Self::default()
    }
    /// The events that `bytes` complete, in order. After an error the stream is of no use.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Frame>, TooLong> {
        let mut frames = Vec::new();
        for &byte in bytes {
            let follows_cr = mem::replace(&mut self.after_cr, byte == b'\r');
            match byte {
                b'\n' if follows_cr => {}
                b'\n' | b'\r' => frames.extend(self.end_line()),
                _ if self.held() >= MAX_EVENT_BYTES => return Err(TooLong),
                _ => self.line.push(byte),
            }
        }
        Ok(frames)
    }
    fn held(&self) -> usize {
        self.line.len() + self.data.as_ref().map_or(0, String::len)
    }
    fn end_line(&mut self) -> Option<Frame> {
        let bytes = mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&bytes);
        let line = if mem::replace(&mut self.begun, true) { &text } else { text.trim_start_matches('\u{feff}') };
        if line.is_empty() {
            return self.end_event();
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event),
            "data" => self.add_data(value),
            _ => {}
        }
        None
    }
    fn add_data(&mut self, value: &str) {
        match &mut self.data {
            None => self.data = Some(value.to_owned()),
            Some(data) => {
                data.push('\n');
                data.push_str(value);
            }
        }
    }
    fn end_event(&mut self) -> Option<Frame> {
        let event = mem::take(&mut self.event);
        let data = self.data.take()?;
        Some(Frame { event: if event.is_empty() { "message".to_owned() } else { event }, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(event: &str, data: &str) -> Frame {
        Frame { event: event.to_owned(), data: data.to_owned() }
    }
    fn decode(text: &str) -> Vec<Frame> {
        Decoder::new().push(text.as_bytes()).unwrap()
    }

    #[test]
    fn marathons_frames_are_read() {
        let stream = "event: a\r\ndata: {\"x\":1}\r\n\r\nevent: b\r\ndata: {}\r\n\r\n";
        assert_eq!(decode(stream), [frame("a", "{\"x\":1}"), frame("b", "{}")]);
    }

    #[test]
    fn any_line_end_will_do() {
        for end in ["\n", "\r", "\r\n"] {
            let stream = ["event: a", "data: 1", "data: 2", "", ""].join(end);
            assert_eq!(decode(&stream), [frame("a", "1\n2")], "{end:?}");
        }
    }

    #[test]
    fn keep_alives_comments_and_unknown_fields_give_nothing() {
        assert_eq!(decode("\r\n\r\n:comment\n\nid: 3\nretry: 1\n\nevent: alone\n\n"), []);
        assert_eq!(decode("event: lost\n\ndata: x\n\n"), [frame("message", "x")], "a name without data is forgotten");
    }

    #[test]
    fn an_event_is_given_when_its_empty_line_comes_and_not_before() {
        let mut decoder = Decoder::new();
        assert_eq!(decoder.push(b"event: a\ndata: 1\n").unwrap(), []);
        assert_eq!(decoder.push(b"\n").unwrap(), [frame("a", "1")]);
    }

    #[test]
    fn a_line_without_end_is_refused_before_it_fills_the_memory() {
        let mut decoder = Decoder::new();
        let piece = vec![b'x'; MAX_EVENT_BYTES];
        assert!(decoder.push(&piece).is_ok());
        assert_eq!(decoder.push(b"x"), Err(TooLong));
    }

    #[test]
    fn frames_are_written_as_marathon_writes_them() {
        assert_eq!(frame("a", "{}").encode(), "event: a\r\ndata: {}\r\n\r\n");
        assert_eq!(frame("a\r\nevil", "1\n2").encode(), "event: aevil\r\ndata: 1\r\ndata: 2\r\n\r\n");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_however_it_is_cut(
            frames in prop::collection::vec(("[a-z_]{1,12}", "[^\r]{0,40}"), 0..6),
            cuts in prop::collection::vec(1usize..9, 1..60),
            keep_alive in any::<bool>(),
        ) {
            let frames: Vec<Frame> = frames.iter().map(|(event, data)| frame(event, data)).collect();
            let between = if keep_alive { KEEP_ALIVE } else { "" };
            let stream: String = frames.iter().map(|frame| frame.encode() + between).collect();
            let (mut rest, mut decoder, mut read) = (stream.as_bytes(), Decoder::new(), Vec::new());
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                read.extend(decoder.push(piece).unwrap());
                rest = after;
            }
            prop_assert_eq!(read, frames);
        }
    }
}
