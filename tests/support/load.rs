//! Clients that put load on an engine: one connection each, kept open, and times taken from the first byte that is sent
//! to the last that is received.

use std::io::{BufRead as _, BufReader, Error, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

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

/// How long things took.
#[derive(Debug, Default, Clone)]
pub struct Times(Vec<Duration>);

impl Times {
    /// Does something so many times.
    pub fn of(count: usize, mut work: impl FnMut(usize)) -> Self {
        let mut times = Self::default();
        (0..count).for_each(|turn| times.take(|| work(turn)));
        times
    }
    pub fn take<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let result = work();
        self.0.push(begun.elapsed());
        result
    }
    pub fn push(&mut self, time: Duration) {
        self.0.push(time);
    }
    pub fn count(&self) -> usize {
        self.0.len()
    }
    /// The time within which so many hundredths of all were done.
    pub fn percentile(&self, percent: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort();
        sorted[((sorted.len() * percent).div_ceil(100)).clamp(1, sorted.len()) - 1]
    }
    pub fn median(&self) -> Duration {
        self.percentile(50)
    }
}

/// In milliseconds, as people read it.
pub fn ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}
