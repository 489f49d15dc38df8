//! A Marathon that plays back what a real one said (`tests/marathon/transcripts`), with a Mesos behind it
//! (`tests/mesos`): behind a real socket, under the ids and versions of the app that is posted to it.

mod recording;
mod stage;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::Response;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::broadcast;

pub use recording::Recording;
use recording::recorded_answer;
use stage::Stage;

/// What the real one took seconds for is played at this pace.
const PACE: Duration = Duration::from_millis(5);
/// Between two tries of an instance that fails; a real one waits a second, and longer each time.
const BACKOFF: Duration = Duration::from_millis(100);

/// What comes of a release that is posted.
#[derive(Debug, Clone)]
pub enum Act {
    /// It comes up, and takes the place of what there is.
    ComesUp(Recording),
    /// Its instance fails, and is tried again and again.
    Fails(Recording),
    /// There is no room for it; after so long, if ever, there is, and it comes up.
    Waits(Option<(Duration, Recording)>),
    /// Somebody else's deployment has the app.
    IsLocked,
}

/// A change that was asked for.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Such as `PUT /v2/groups/shop?force=false`.
    pub line: String,
    pub body: Value,
}

/// Listens until it is dropped.
pub struct ScriptedMarathon {
    address: SocketAddr,
    shared: Arc<Shared>,
    runtime: Option<tokio::runtime::Runtime>,
}

struct Shared {
    address: SocketAddr,
    stage: Mutex<Stage>,
    /// Acts that are still to come, the next one last.
    acts: Mutex<Vec<Act>>,
    asked: Mutex<Vec<Asked>>,
    events: broadcast::Sender<Value>,
    /// What every task has written: stdout and stderr.
    output: [&'static str; 2],
}

impl ScriptedMarathon {
    /// One that does these things one after the other, as releases are posted.
    pub fn playing(acts: Vec<Act>, output: [&'static str; 2]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            address,
            stage: Mutex::default(),
            acts: Mutex::new(acts.into_iter().rev().collect()),
            asked: Mutex::default(),
            events: broadcast::Sender::new(4096),
            output,
        });
        let router = axum::Router::new().fallback(answer).with_state(Arc::clone(&shared));
        runtime.spawn(async move { axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), router).await });
        Self { address, shared, runtime: Some(runtime) }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The changes that were asked for, in their order.
    pub fn asked(&self) -> Vec<Asked> {
        lock(&self.shared.asked).clone()
    }

    /// The ids of the tasks that run now.
    pub fn running(&self) -> Vec<String> {
        lock(&self.shared.stage).running()
    }
}

impl Drop for ScriptedMarathon {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap_or_default();
    let line = format!("{} {}", parts.method, parts.uri);
    if parts.method != Method::GET {
        let body = serde_json::from_slice(&body).unwrap_or_default();
        lock(&shared.asked).push(Asked { line, body });
    }
    match (&parts.method, parts.uri.path()) {
        (&Method::GET, "/v2/events") => shared.stream(),
        (&Method::PUT, "/v2/groups/shop") => {
            let body: Value = serde_json::from_slice(&body).expect("a group is posted as JSON");
            shared.post(&body["apps"][0])
        }
        (&Method::DELETE, "/v2/groups/shop") => answering(StatusCode::OK, &lock(&shared.stage).removed()),
        (&Method::GET, "/v2/deployments") => answering(StatusCode::OK, &lock(&shared.stage).deployments()),
        (&Method::GET, "/v2/queue") => answering(StatusCode::OK, &lock(&shared.stage).queue()),
        (&Method::GET, path) if path == format!("/v2/apps{}", lock(&shared.stage).id()) => {
            found(lock(&shared.stage).app().map(|app| json!({ "app": app })))
        }
        (&Method::GET, path) if path == format!("/v2/apps{}/tasks", lock(&shared.stage).id()) => {
            found(lock(&shared.stage).app().map(|app| json!({ "tasks": app["tasks"] })))
        }
        (&Method::GET, "/v2/info") => {
            let mut info = recorded_answer("system", "GET /v2/info", 200);
            info["marathon_config"]["mesos_leader_ui_url"] = format!("http://{}/", shared.address).into();
            answering(StatusCode::OK, &info)
        }
        (&Method::GET, "/master/slaves") => answering(StatusCode::OK, &recording::agents(shared.address)),
        (&Method::GET, "/slave(1)/state") => {
            answering(StatusCode::OK, &recording::agent_state(&lock(&shared.stage).all_tasks()))
        }
        (&Method::GET, "/files/read") => shared.file(parts.uri.query().unwrap_or_default()),
        _ => answering(StatusCode::NOT_IMPLEMENTED, &json!({ "message": "the script has no such request" })),
    }
}

fn answering(status: StatusCode, body: &Value) -> Response {
    let answer = Response::builder().status(status).header(header::CONTENT_TYPE, "application/json");
    answer.body(Body::from(body.to_string())).unwrap()
}

fn found(body: Option<Value>) -> Response {
    match body {
        Some(body) => answering(StatusCode::OK, &body),
        None => answering(StatusCode::NOT_FOUND, &recorded_answer("locked-app", "GET /v2/apps/l/one", 404)),
    }
}

impl Shared {
    /// The event stream from now on.
    fn stream(&self) -> Response {
        let first = json!({"eventType": "event_stream_attached", "remoteAddress": "127.0.0.1", "timestamp": "t"});
        let events = stream::unfold((Some(first), self.events.subscribe()), |(first, mut events)| async {
            let event = match first {
                Some(first) => first,
                None => events.recv().await.ok()?,
            };
            let kind = event["eventType"].as_str().unwrap_or_default();
            let frame = format!("event: {kind}\r\ndata: {event}\r\n\r\n");
            Some((Ok::<_, std::convert::Infallible>(frame), (None, events)))
        });
        let answer = Response::builder().header(header::CONTENT_TYPE, "text/event-stream");
        answer.body(Body::from_stream(events)).unwrap()
    }

    fn post(self: &Arc<Self>, definition: &Value) -> Response {
        let Some(act) = lock(&self.acts).pop() else {
            return answering(StatusCode::INTERNAL_SERVER_ERROR, &json!({ "message": "the script is over" }));
        };
        let waits = matches!(act, Act::Waits(_));
        let (wait, recording, tries) = match act {
            Act::IsLocked => {
                return answering(StatusCode::CONFLICT, &recorded_answer("locked-app", "PUT /v2/groups/l", 409));
            }
            Act::ComesUp(recording) => (Duration::ZERO, recording, 1),
            Act::Fails(recording) => (Duration::ZERO, recording, u32::MAX),
            Act::Waits(Some((wait, recording))) => (wait, recording, 1),
            Act::Waits(None) => return answering(StatusCode::OK, &lock(&self.stage).post(definition, waits).1),
        };
        let (posted, answer) = lock(&self.stage).post(definition, waits);
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            for attempt in 1..=tries {
                for event in recording.events(&posted, attempt) {
                    tokio::time::sleep(PACE).await;
                    // Another release may have taken its place.
                    if !lock(&shared.stage).comes(&posted, &event, &recording, attempt) {
                        return;
                    }
                    // Nobody listening is no failure.
                    let _ = shared.events.send(event);
                }
                tokio::time::sleep(BACKOFF).await;
            }
        });
        answering(StatusCode::OK, &answer)
    }

    /// As the agent reads a file: offset -1 asks for its size.
    fn file(&self, query: &str) -> Response {
        let field = |name: &str| {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).next()
        };
        let path = field("path").unwrap_or_default();
        let text = self.output[usize::from(path.ends_with("stderr"))];
        match field("offset").and_then(|offset| usize::try_from(offset.parse::<i64>().ok()?).ok()) {
            None => answering(StatusCode::OK, &json!({ "data": "", "offset": text.len() })),
            Some(offset) => answering(StatusCode::OK, &json!({ "data": &text[offset..], "offset": offset })),
        }
    }
}
