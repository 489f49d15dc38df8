//! A request that passed the door: its query, its body.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Uri, header};
use http_body_util::BodyExt as _;

use super::super::listen::Connection;
use super::super::reading::Refusal;
use crate::marathon::PathId;

/// The largest body that is read, in bytes; the largest group of a real cluster has about one million.
const MAX_BODY: usize = 8 << 20;

/// Of a larger body, so many bytes are still taken in and dropped: a client that only sends reads no answer.
const MAX_DROPPED: usize = 64 << 20;

/// A body that does not come holds a connection, and nothing else.
const BODY_PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    pub(super) query: Vec<(String, String)>,
    pub(super) body: Bytes,
    pub(super) client: SocketAddr,
    pub(super) connection: Connection,
}

impl Asked {
    /// All values of a parameter, also in its form for lists.
    pub(super) fn all(&self, name: &str) -> Vec<String> {
        let of_list = |found: &str| found.strip_suffix("[]") == Some(name);
        self.query.iter().filter(|(found, _)| found == name || of_list(found)).map(|(_, value)| value.clone()).collect()
    }
    pub(super) fn one(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
    pub(super) fn flag(&self, name: &str, default: bool) -> bool {
        self.one(name).map_or(default, |value| value.eq_ignore_ascii_case("true"))
    }
    pub(super) fn client_ip(&self) -> IpAddr {
        self.client.ip()
    }
    /// Event streams are for who asks for them and nothing else.
    pub(super) fn wants_stream(&self) -> bool {
        self.headers.get_all(header::ACCEPT).iter().any(|kind| kind == "text/event-stream")
    }
    /// The address of a resource, as the client names this server.
    pub(super) fn location(&self, leader: &str, id: &PathId) -> String {
        let host = self.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or(leader);
        format!("http://{host}{id}")
    }
}

/// A body without a type is read as JSON.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("application/json");
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// The whole body; 413 when it is too large, 408 when it does not come.
pub(super) async fn read_body(headers: &HeaderMap, body: Body) -> Result<Bytes, Refusal> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    // A client that asks first sends nothing when it is told at once.
    if headers.contains_key(header::EXPECT) && length.is_some_and(|length| length > MAX_BODY) {
        return Err(too_large());
    }
    let mut length = 0;
    let whole = tokio::time::timeout(BODY_PATIENCE, collect(body, &mut length)).await;
    match whole {
        Ok(whole) => whole,
        // Of one that is too large already, the rest is not missed.
        Err(_) if length > MAX_BODY => Err(too_large()),
        Err(_) => Err(Refusal::reason(408, "Request Timeout")),
    }
}

async fn collect(mut body: Body, length: &mut usize) -> Result<Bytes, Refusal> {
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        // Whoever breaks off reads no answer.
        let frame = frame.map_err(|_| Refusal::message(400, "the body broke off"))?;
        let Ok(data) = frame.into_data() else { continue };
        *length = length.saturating_add(data.len());
        if *length <= MAX_BODY {
            read.extend_from_slice(&data);
        } else {
            read = Vec::new();
        }
        if *length > MAX_DROPPED {
            break;
        }
    }
    if *length > MAX_BODY { Err(too_large()) } else { Ok(read.into()) }
}

fn too_large() -> Refusal {
    Refusal::reason(413, "Request Entity Too Large")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(length: usize) -> Result<usize, u16> {
        let body = Body::from(vec![b' '; length]);
        read_body(&HeaderMap::new(), body).await.map(|bytes| bytes.len()).map_err(|refusal| refusal.status)
    }

    #[tokio::test]
    async fn a_body_has_its_limit() {
        assert_eq!(read(MAX_BODY).await, Ok(MAX_BODY));
        assert_eq!(read(MAX_BODY + 1).await, Err(413));
    }

    #[tokio::test]
    async fn who_asks_before_sending_too_much_is_told_at_once() {
        let mut headers = HeaderMap::new();
        headers.insert(header::EXPECT, "100-continue".parse().unwrap());
        headers.insert(header::CONTENT_LENGTH, (MAX_BODY + 1).into());
        let never = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::convert::Infallible>>());
        assert_eq!(read_body(&headers, never).await.unwrap_err().status, 413);
    }

    #[test]
    fn only_json_is_read() {
        let is = |kind: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, kind.parse().unwrap());
            is_json(&headers)
        };
        assert!(is_json(&HeaderMap::new()) && is("application/json") && is("Application/Json; charset=utf-8"));
        assert!(!is("text/plain") && !is("application/xml") && !is("application/jsonx"));
    }
}
