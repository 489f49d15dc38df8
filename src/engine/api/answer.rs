//! Answers, with the headers that every answer of Marathon has.

use std::collections::BTreeMap;
use std::io::Write as _;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;

use super::super::core::Accepted;
use super::super::reading::Refusal;
use super::accept::takes_gzip;
use super::pieces::Pieces;
use crate::marathon::DeploymentResult;

/// An answer to be sent.
#[derive(Debug)]
pub(super) struct Answer {
    status: StatusCode,
    headers: Vec<(HeaderName, String)>,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Text(Pieces),
    /// Comes as it happens, and is never compressed: a compressor would keep it back.
    Stream(Body),
}

const JSON: &str = "application/json";
const DEPLOYMENT: HeaderName = HeaderName::from_static("marathon-deployment-id");

impl Answer {
    pub(super) fn json(value: &impl Serialize) -> Self {
        Self::empty(StatusCode::OK).with_json(value)
    }
    /// `{"<name>": <value>}`
    pub(super) fn named(name: &str, value: &impl Serialize) -> Self {
        Self::json(&BTreeMap::from([(name, value)]))
    }
    pub(super) fn text(kind: &str, text: impl Into<Bytes>) -> Self {
        Self { content: Content::Text(Pieces::from(text.into())), ..Self::empty(StatusCode::OK) }
            .with(header::CONTENT_TYPE, kind)
    }
    pub(super) fn stream(kind: &str, body: Body) -> Self {
        Self { content: Content::Stream(body), ..Self::empty(StatusCode::OK) }.with(header::CONTENT_TYPE, kind)
    }
    pub(super) fn empty(status: StatusCode) -> Self {
        Self { status, headers: Vec::new(), content: Content::Text(Pieces::default()) }
    }
    pub(super) fn redirect(to: &str) -> Self {
        Self::empty(StatusCode::FOUND).with(header::LOCATION, to)
    }
    /// What every request answers that starts a deployment.
    pub(super) fn deployment(accepted: Accepted) -> Self {
        Self::json(&DeploymentResult::from(accepted)).begun_by(accepted)
    }
    pub(super) fn begun_by(self, accepted: Accepted) -> Self {
        self.with(DEPLOYMENT, &accepted.deployment.to_string())
    }
    pub(super) fn created(mut self, location: &str) -> Self {
        self.status = StatusCode::CREATED;
        self.with(header::LOCATION, location)
    }
    pub(super) fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }
    pub(super) fn options(methods: &[Method]) -> Self {
        Self::empty(StatusCode::OK).with(header::ALLOW, &allowed(methods)).with(header::CONTENT_TYPE, JSON)
    }
    pub(super) fn method_not_allowed(methods: &[Method]) -> Self {
        Self::from(Refusal::reason(405, "Method Not Allowed")).with(header::ALLOW, &allowed(methods))
    }
    pub(super) fn unauthorized() -> Self {
        Self::error_page(StatusCode::UNAUTHORIZED, "Unauthorized")
            .with(header::WWW_AUTHENTICATE, "basic realm=\"Mesosphere\"")
    }
    pub(super) fn too_many_requests(limit: usize) -> Self {
        let reason = format!("Too many concurrent requests! Allowed: {limit}.");
        Self::error_page(StatusCode::SERVICE_UNAVAILABLE, &reason)
    }
    /// The page that Marathon's servlet container answers. `reason` is text of ours.
    fn error_page(status: StatusCode, reason: &str) -> Self {
        let title = format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or_default());
        let page = format!(
            "<html>\n<head>\n<meta http-equiv=\"Content-Type\" content=\"text/html;charset=utf-8\"/>\n\
             <title>Error {title}</title>\n</head>\n<body><h2>HTTP ERROR {}</h2>\n\
             <p>Problem accessing this resource. Reason:\n<pre>    {reason}</pre></p>\n</body>\n</html>\n",
            status.as_u16()
        );
        Self::text("text/html;charset=iso-8859-1", page).status(status)
    }
    pub(super) fn with(mut self, name: HeaderName, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
    fn with_json(mut self, value: &impl Serialize) -> Self {
        let mut text = Pieces::default();
        serde_json::to_writer(&mut text, value).expect("answers are text, numbers, lists and maps with text keys");
        self.content = Content::Text(text);
        self.with(header::CONTENT_TYPE, JSON)
    }

    /// Whether it tells of a deployment that was begun.
    pub(super) fn deploys(&self) -> bool {
        self.headers.iter().any(|(name, _)| name == DEPLOYMENT)
    }

    /// The answer as it is sent to a client with those headers, its length in bytes, and whether it is compressed.
    pub(super) async fn into_response(self, asked: &HeaderMap, leader: &str) -> Sent {
        let gzip = takes_gzip(asked);
        let varies = matches!(&self.content, Content::Text(text) if text.len() >= WORTH_GZIP);
        let (body, bytes, gzipped) = match self.content {
            Content::Stream(body) => (body, 0, false),
            Content::Text(text) => {
                let gzipped = varies && gzip;
                let text = if gzipped { compressed(text).await } else { text };
                let bytes = text.len();
                (text.into_body(), bytes, gzipped)
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        let leader = format!("http://{leader}");
        let always = [
            (HeaderName::from_static("x-marathon-leader"), leader.as_str()),
            (header::X_FRAME_OPTIONS, "DENY"),
            (header::X_XSS_PROTECTION, "1; mode=block"),
            (header::CACHE_CONTROL, "no-cache, no-store, must-revalidate"),
            (header::PRAGMA, "no-cache"),
            (header::EXPIRES, "0"),
        ];
        let vary = varies.then_some((header::VARY, "accept-encoding"));
        let coding = gzipped.then_some((header::CONTENT_ENCODING, "gzip"));
        // What was not read of a body that is refused is in the way of the next request.
        let unread = matches!(self.status, StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE);
        let close = unread.then_some((header::CONNECTION, "close"));
        let own = self.headers.iter().map(|(name, value)| (name.clone(), value.as_str()));
        for (name, value) in always.into_iter().chain(vary).chain(coding).chain(close).chain(own) {
            // Of what came from a client, only what may stand in a header does.
            if let Ok(value) = HeaderValue::from_str(value) {
                response.headers_mut().insert(name, value);
            }
        }
        Sent { response, bytes: bytes as u64, gzipped }
    }
}

/// An answer that is ready to go out.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) response: Response,
    pub(super) bytes: u64,
    pub(super) gzipped: bool,
}

/// Less than that, in bytes, fits into a packet or two as it is.
const WORTH_GZIP: usize = 1 << 10;

/// More than that, in bytes, is compressed where nobody waits for it.
const LONG_WORK: usize = 64 << 10;

async fn compressed(text: Pieces) -> Pieces {
    if text.len() < LONG_WORK {
        return gzip(&text);
    }
    let work = tokio::task::spawn_blocking(move || gzip(&text));
    work.await.expect("compressing what is in memory neither fails nor is aborted")
}

/// At the fastest level: it is the engine's CPU that apps run on.
fn gzip(text: &Pieces) -> Pieces {
    let mut encoder = GzEncoder::new(Pieces::default(), Compression::fast());
    let written = text.iter().try_for_each(|piece| encoder.write_all(piece)).and_then(|()| encoder.finish());
    written.expect("memory takes every byte")
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self::empty(status).with_json(&refusal.body)
    }
}

fn allowed(methods: &[Method]) -> String {
    let names = methods.iter().map(Method::as_str).chain(["OPTIONS"]);
    names.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    async fn sent(answer: Answer, coding: &str) -> Sent {
        let mut asked = HeaderMap::new();
        asked.insert(header::ACCEPT_ENCODING, coding.parse().unwrap());
        answer.into_response(&asked, "h:1").await
    }
    async fn bytes(sent: Sent) -> Bytes {
        axum::body::to_bytes(sent.response.into_body(), usize::MAX).await.unwrap()
    }

    #[tokio::test]
    async fn a_long_answer_is_compressed_for_who_takes_it() {
        for length in [WORTH_GZIP, LONG_WORK + 1] {
            let text = "paas ".repeat(length.div_ceil(5));
            let small = sent(Answer::text("text/plain", text.clone()), "gzip").await;
            assert_eq!(small.response.headers()[header::CONTENT_ENCODING], "gzip");
            let (told, small) = (small.bytes, bytes(small).await);
            assert_eq!(told, small.len() as u64);
            let mut again = String::new();
            flate2::read::GzDecoder::new(&small[..]).read_to_string(&mut again).unwrap();
            assert!(small.len() < text.len() && again == text);
            let plain = sent(Answer::text("text/plain", text.clone()), "identity").await;
            assert_eq!(
                (plain.response.headers().get(header::CONTENT_ENCODING), plain.bytes),
                (None, text.len() as u64)
            );
        }
    }

    #[tokio::test]
    async fn short_answers_and_streams_go_out_as_they_are() {
        let short = sent(Answer::named("leader", &"h:1"), "gzip").await;
        assert!(!short.gzipped && bytes(short).await == r#"{"leader":"h:1"}"#);
        let stream = Answer::stream("text/event-stream", Body::from("x".repeat(2 * WORTH_GZIP)));
        assert!(!sent(stream, "gzip").await.gzipped);
    }
}
