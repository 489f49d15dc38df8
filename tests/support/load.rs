//! Clients that put load on an engine: one connection each, kept open.

use std::io::{BufRead as _, BufReader, Error, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::engine::Reply;

/// A connection that stays open between requests, as the pools of real clients do.
pub struct Client {
    stream: BufReader<TcpStream>,
    address: SocketAddr,
}

impl Client {
    pub fn to(address: SocketAddr) -> Self {
        Self::try_to(address, Duration::from_secs(30)).unwrap()
    }
    /// With so much patience for each answer.
    pub fn try_to(address: SocketAddr, patience: Duration) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::with_capacity(64 << 10, stream), address })
    }

    #[track_caller]
    pub fn get(&mut self, path: &str) -> Reply {
        self.ask("GET", path, "").unwrap()
    }
    #[track_caller]
    pub fn put(&mut self, path: &str, body: &str) -> Reply {
        self.ask("PUT", path, body).unwrap()
    }

    /// Asks and reads the whole answer.
    pub fn ask(&mut self, method: &str, path: &str, body: &str) -> std::io::Result<Reply> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAccept: application/json\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        self.answer()
    }

    fn answer(&mut self) -> std::io::Result<Reply> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.stream.read_line(&mut head)? == 0 {
                return Err(Error::other(format!("the connection ended after {head:?}")));
            }
        }
        let head = head.to_lowercase();
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| Error::other(format!("no status in {head:?}")))?;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
        let body = match length {
            Some(length) => {
                // Neither filled twice nor copied: that would be taken for time of the engine's.
                let mut body = Vec::with_capacity(length);
                if (&mut self.stream).take(length as u64).read_to_end(&mut body)? < length {
                    return Err(Error::other("the connection ended within an answer"));
                }
                body
            }
            None => self.chunks()?,
        };
        Ok(Reply { status, head, body: String::from_utf8(body).map_err(Error::other)? })
    }

    fn chunks(&mut self) -> std::io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let mut size = String::new();
            self.stream.read_line(&mut size)?;
            let size = usize::from_str_radix(size.trim(), 16).map_err(Error::other)?;
            let mut chunk = vec![0; size + 2];
            self.stream.read_exact(&mut chunk)?;
            if size == 0 {
                return Ok(body);
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }
}
