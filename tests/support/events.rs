//! `/v2/events` as a client sees it.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

/// One event stream, from its first event on.
pub struct Events(BufReader<TcpStream>);

impl Events {
    /// Listens; the engine has taken the client in when this returns. `query` is empty, or begins with `?`.
    pub fn of(address: SocketAddr, query: &str) -> std::io::Result<Self> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(10))?;
        stream.set_read_timeout(Some(Duration::from_mins(1)))?;
        write!(stream, "GET /v2/events{query} HTTP/1.0\r\nHost: {address}\r\nAccept: text/event-stream\r\n\r\n")?;
        let mut events = Self(BufReader::new(stream));
        let mut line = String::new();
        events.0.read_line(&mut line)?;
        if !line.contains(" 200 ") {
            return Err(std::io::Error::other(format!("the engine said {line:?}")));
        }
        while line.trim() != "" {
            line.clear();
            events.0.read_line(&mut line)?;
        }
        Ok(events)
    }

    /// Another hand on the stream, by which it can be ended from elsewhere.
    pub fn ender(&self) -> Ender {
        Ender(self.0.get_ref().try_clone().unwrap())
    }

    /// The next event's kind and its data; none when the stream has ended or nothing came in time.
    pub fn next(&mut self) -> Option<(String, Value)> {
        let mut kind = String::new();
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if let Some(name) = line.strip_prefix("event:") {
                name.trim().clone_into(&mut kind);
            } else if let Some(data) = line.strip_prefix("data:") {
                return Some((kind, serde_json::from_str(data.trim()).unwrap()));
            }
        }
    }

    /// Whether the engine ends the stream within that time, once what was on its way has been read. A stream that goes on
    /// is silent for ten seconds at most.
    pub fn ends(&mut self, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        let mut buffer = vec![0; 64 << 10];
        while Instant::now() < deadline {
            match self.0.read(&mut buffer) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == ErrorKind::ConnectionReset,
            }
        }
        false
    }
}

/// Ends a stream.
pub struct Ender(TcpStream);

impl Ender {
    pub fn end(&self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }
}
