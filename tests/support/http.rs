//! A plain HTTP client on a real socket: one request, one connection, no retries that could hide a failure.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use base64::Engine as _;

pub struct Answer {
    pub status: u16,
    pub body: String,
}

/// GETs `path`; an error says why nothing was answered within two seconds.
pub fn get(address: SocketAddr, path: &str, credentials: Option<&str>) -> std::io::Result<Answer> {
    let patience = Duration::from_secs(2);
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    let authorization = credentials.map_or_else(String::new, |text| {
        format!("Authorization: Basic {}\r\n", base64::engine::general_purpose::STANDARD.encode(text))
    });
    // HTTP/1.0: the answer is not chunked and ends with the connection.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\nAccept: application/json\r\n{authorization}\r\n")?;
    let mut text = Vec::new();
    stream.read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| std::io::Error::other("no whole answer"))?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok(Answer { status: status.ok_or_else(|| std::io::Error::other("no status"))?, body: body.to_owned() })
}

/// The address in `http://address[/…]`.
pub fn address_of(url: &str) -> SocketAddr {
    let rest = url.strip_prefix("http://").expect("a plain HTTP address");
    rest.split('/').next().unwrap_or(rest).parse().expect("an IP address and a port")
}
