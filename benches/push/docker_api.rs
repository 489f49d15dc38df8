//! Docker's API with nothing around it: one connection that stays open, and HTTP written by hand.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;

use serde_json::Value;

pub struct DockerApi {
    stream: BufReader<UnixStream>,
}

impl DockerApi {
    pub fn connect() -> Self {
        let stream = UnixStream::connect("/var/run/docker.sock").expect("Docker runs (make bench starts it)");
        Self { stream: BufReader::new(stream) }
    }

    /// Sends JSON and reads JSON.
    pub fn post(&mut self, path: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.ask("POST", path, "Content-Type: application/json\r\n", body.as_bytes());
        serde_json::from_slice(&answer).unwrap_or(Value::Null)
    }

    /// Unpacks an archive below the container's root.
    pub fn upload(&mut self, container: &str, tar: &[u8]) {
        let path = format!("/containers/{container}/archive?path=/");
        self.ask("PUT", &path, "Content-Type: application/x-tar\r\n", tar);
    }

    /// Sends an image to the registry in its name; gives what Docker tells while it does.
    pub fn push(&mut self, name: &str, tag: &str) -> String {
        let path = format!("/images/{name}/push?tag={tag}");
        let told = self.ask("POST", &path, "X-Registry-Auth: e30=\r\n", b"");
        let told = String::from_utf8(told).unwrap();
        assert!(!told.contains("\"error\""), "{told}");
        told
    }

    pub fn delete(&mut self, path: &str) {
        self.ask("DELETE", path, "", b"");
    }

    fn ask(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: docker\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
        let stream = self.stream.get_mut();
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let (status, answer) = self.answer();
        assert!(status < 300, "{method} {path}: {status} {}", String::from_utf8_lossy(&answer));
        answer
    }

    fn answer(&mut self) -> (u16, Vec<u8>) {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(self.stream.read_line(&mut head).unwrap(), 0, "Docker hung up after {head:?}");
        }
        let head = head.to_ascii_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        if head.contains("transfer-encoding: chunked") {
            return (status, self.chunks());
        }
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length:")).map_or(0, |n| n.trim().parse().unwrap());
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).unwrap();
        (status, body)
    }

    fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let mut size = String::new();
            self.stream.read_line(&mut size).unwrap();
            let size = usize::from_str_radix(size.trim(), 16).unwrap();
            let mut chunk = vec![0; size + 2];
            self.stream.read_exact(&mut chunk).unwrap();
            if size == 0 {
                return body;
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }
}
