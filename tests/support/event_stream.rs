//! An event stream as Marathon frames it, read strictly: what a lenient client would take is still not what was sent.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::contract;

/// An event: its kind, and what it carries.
pub type Event = (String, Value);

/// Takes a stream's bytes as they come, and gives whole events.
#[derive(Debug, Default)]
pub struct Decoder {
    unread: Vec<u8>,
    kind: Option<String>,
    data: Option<Value>,
}

impl Decoder {
    /// The events that `bytes` end, each checked against the contract; an error says what is wrong with one.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Result<Event, String>> {
        self.unread.extend_from_slice(bytes);
        let mut found = Vec::new();
        while let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.unread.drain(..=end).collect();
            found.extend(self.line(&String::from_utf8_lossy(&line)));
        }
        found
    }

    fn line(&mut self, line: &str) -> Option<Result<Event, String>> {
        let Some(line) = line.strip_suffix("\r\n") else { return Some(Err(format!("a line without CRLF: {line:?}"))) };
        let waits = (self.kind.is_some(), self.data.is_some());
        match line.split_once(": ") {
            // Keeps the connection alive.
            None if line.is_empty() && waits == (false, false) => None,
            None if line.is_empty() && waits == (true, true) => {
                let (kind, data) = (self.kind.take()?, self.data.take()?);
                Some(contract::check_event(&kind, &data).map(|()| (kind, data)))
            }
            Some(("event", kind)) if waits == (false, false) => {
                self.kind = Some(kind.to_owned());
                None
            }
            Some(("data", json)) if waits == (true, false) => match serde_json::from_str(json) {
                Ok(data) => {
                    self.data = Some(data);
                    None
                }
                Err(error) => Some(Err(format!("data that is no JSON: {error}: {json}"))),
            },
            _ => Some(Err(format!("a line out of place: {line:?}"))),
        }
    }
}

/// A client of an engine's event stream, read in the background so that it never lags.
#[derive(Debug)]
pub struct EventStream {
    connection: TcpStream,
    arriving: Receiver<Result<Event, String>>,
    heard: Vec<Event>,
}

impl EventStream {
    /// Listens from now on; `query` is what stands behind the `?`, if anything.
    pub fn open(address: SocketAddr, query: &str) -> Self {
        let mut connection = TcpStream::connect(address).unwrap();
        // HTTP/1.0: the answer is not chunked.
        let head = format!("GET /v2/events?{query} HTTP/1.0\r\nHost: {address}\r\nAccept: text/event-stream\r\n\r\n");
        connection.write_all(head.as_bytes()).unwrap();
        let mut reader = BufReader::new(connection.try_clone().unwrap());
        let mut head = String::new();
        while reader.read_line(&mut head).unwrap() > 2 {}
        assert!(head.starts_with("HTTP/1.0 200") && head.contains("text/event-stream"), "{head}");
        let (sender, arriving) = mpsc::channel();
        std::thread::spawn(move || {
            let (mut decoder, mut bytes) = (Decoder::default(), [0; 4096]);
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                for event in decoder.feed(&bytes[..count]) {
                    let _ = sender.send(event);
                }
            }
        });
        Self { connection, arriving, heard: Vec::new() }
    }

    /// Waits for an event that is as wanted; those before it are heard too.
    #[track_caller]
    pub fn until(&mut self, kind: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            let patience = deadline.saturating_duration_since(Instant::now());
            let Ok(event) = self.arriving.recv_timeout(patience) else {
                panic!("no such {kind} came; heard: {:#?}", self.heard)
            };
            let event = event.unwrap_or_else(|wrong| panic!("{wrong}"));
            self.heard.push(event.clone());
            if event.0 == kind && holds(&event.1) {
                return event.1;
            }
        }
    }

    /// All events so far that `until` went past.
    pub fn heard(&self) -> &[Event] {
        &self.heard
    }

    /// Waits until the other side ends the stream.
    #[track_caller]
    pub fn ended(&mut self) {
        loop {
            match self.arriving.recv_timeout(Duration::from_secs(20)) {
                Ok(event) => self.heard.push(event.unwrap_or_else(|wrong| panic!("{wrong}"))),
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("the stream does not end"),
            }
        }
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        let _ = self.connection.shutdown(Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const FRAME: &str = "event: app_terminated_event\r\n\
        data: {\"appId\":\"/a\",\"eventType\":\"app_terminated_event\",\"timestamp\":\"2026-01-02T03:04:05.678Z\"}\r\n\r\n";

    #[test]
    fn events_come_out_whole_however_their_bytes_came_in() {
        let stream = format!("\r\n{FRAME}\r\n{FRAME}");
        for size in [1, 7, 1000] {
            let mut decoder = Decoder::default();
            let found: Vec<_> = stream.as_bytes().chunks(size).flat_map(|bytes| decoder.feed(bytes)).collect();
            assert_eq!(found.len(), 2);
            for event in found {
                let (kind, data) = event.unwrap();
                assert_eq!((&*kind, &data["appId"]), ("app_terminated_event", &json!("/a")));
            }
        }
    }

    #[test]
    fn what_marathon_would_not_send_is_an_error() {
        for wrong in [FRAME.replace("\r\n", "\n"), FRAME.replace("/a", "a"), FRAME.replace("data", "id")] {
            assert!(Decoder::default().feed(wrong.as_bytes()).iter().any(Result::is_err), "{wrong:?}");
        }
    }
}
