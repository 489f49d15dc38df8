//! A proxy that holds every answer and event to the contract on its way to a client that is not ours.

use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::response::Response;
use futures_util::StreamExt as _;

use super::contract;
use super::event_stream::Decoder;

/// The longest body that passes, in bytes.
const MAX_BODY: usize = 16 << 20;

/// Listens until it is dropped.
pub struct CheckingProxy {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    runtime: Option<tokio::runtime::Runtime>,
}

/// What passed.
#[derive(Debug, Default)]
struct Seen {
    answers: usize,
    events: usize,
    violations: Vec<String>,
}

#[derive(Clone)]
struct Passage {
    upstream: SocketAddr,
    client: reqwest::Client,
    seen: Arc<Mutex<Seen>>,
}

impl CheckingProxy {
    /// In front of the engine at `upstream`.
    pub fn start(upstream: SocketAddr) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        // Bound here, since it may be started within a runtime, where none can be waited for.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let passage = Passage { upstream, client, seen: Arc::clone(&seen) };
        let router = axum::Router::new().fallback(pass).with_state(passage);
        runtime.spawn(async move { axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), router).await });
        Self { address, seen, runtime: Some(runtime) }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many answers and events passed; all of them must have been as the contract says.
    #[track_caller]
    pub fn found_nothing_wrong(&self) -> (usize, usize) {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let violations = &seen.violations;
        assert!(violations.is_empty(), "{} answers break the contract:\n{}", violations.len(), violations.join("\n"));
        (seen.answers, seen.events)
    }
}

/// The body as it was before it was compressed, if it was.
fn unpacked(headers: &HeaderMap, body: &[u8]) -> Vec<u8> {
    if headers.get(header::CONTENT_ENCODING).is_none_or(|encoding| encoding != "gzip") {
        return body.to_vec();
    }
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(body).read_to_end(&mut plain).unwrap();
    plain
}

impl Drop for CheckingProxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Passage {
    fn note(&self, note: impl FnOnce(&mut Seen)) {
        note(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
    }

    async fn forward(&self, request: Request) -> Result<Response, Box<dyn std::error::Error + Send + Sync>> {
        let (parts, body) = request.into_parts();
        let target = parts.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        let body = axum::body::to_bytes(body, MAX_BODY).await?;
        let url = format!("http://{}{target}", self.upstream);
        let request = self.client.request(parts.method.clone(), url).headers(passing(&parts.headers)).body(body);
        let answer = request.send().await?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let kind = headers.get(header::CONTENT_TYPE).map(axum::http::HeaderValue::as_bytes);
        let is_stream = kind.is_some_and(|kind| kind.starts_with(b"text/event-stream"));
        let body = if is_stream {
            self.note(|seen| seen.answers += 1);
            self.events(answer)
        } else {
            let body = answer.bytes().await?;
            let plain = unpacked(&headers, &body);
            let text = String::from_utf8_lossy(&plain);
            let checked = contract::check_answer(parts.method.as_str(), &target, status.as_u16(), &text);
            self.note(|seen| {
                seen.answers += 1;
                seen.violations.extend(checked.err());
            });
            Body::from(body)
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = passing(&headers);
        // Nothing else says how long the body is that a HEAD did not ask for.
        if let Some(length) = headers.get(header::CONTENT_LENGTH).filter(|_| parts.method == Method::HEAD) {
            response.headers_mut().insert(header::CONTENT_LENGTH, length.clone());
        }
        Ok(response)
    }

    /// The stream as it is, checked as it passes.
    fn events(&self, answer: reqwest::Response) -> Body {
        let (passage, mut decoder) = (self.clone(), Decoder::default());
        Body::from_stream(answer.bytes_stream().inspect(move |bytes| {
            for event in bytes.iter().flat_map(|bytes| decoder.feed(bytes)) {
                passage.note(|seen| {
                    seen.events += 1;
                    seen.violations.extend(event.err());
                });
            }
        }))
    }
}

async fn pass(State(passage): State<Passage>, request: Request) -> Response {
    passage.forward(request).await.unwrap_or_else(|error| {
        let mut response = Response::new(Body::from(error.to_string()));
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        response
    })
}

/// The headers that concern more than one connection.
fn passing(headers: &HeaderMap) -> HeaderMap {
    const HOP: [HeaderName; 4] =
        [header::CONNECTION, header::TRANSFER_ENCODING, header::CONTENT_LENGTH, HeaderName::from_static("keep-alive")];
    let passes = |name: &HeaderName| !HOP.contains(name);
    headers.iter().filter(|(name, _)| passes(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}
