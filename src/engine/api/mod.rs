//! Marathon's REST API over the engine's state.
//!
//! One function takes every request: who asks, which resource, which method, what is accepted and sent, and only then
//! the resource itself. Marathon's answers to what does not fit, and its headers, are part of the contract.

mod answer;
mod apps;
mod deployments;
mod events;
mod groups;
mod labels;
mod mesos;
mod route;
mod system;
mod tasks;
mod views;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Query, Request, State};
use axum::http::{HeaderMap, Method, Uri, header};
use axum::response::Response;
use base64::Engine as _;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use super::Moment;
use super::core::{How, Refused};
use super::event::{Hub, Place};
use super::group::InvalidTree;
use super::journal::Past;
use super::reading::{Refusal, Rules, read_id};
use super::supervisor::{Asker, Board, Unanswered};
use super::tasks::Tasks;
use crate::marathon::PathId;
use crate::model::Secret;
use answer::Answer;
use route::Resource;

/// The largest body that is read, in bytes; the largest group of a real cluster has about one.
const MAX_BODY: usize = 8 << 20;

/// A body that does not come holds a connection, and nothing else.
const BODY_PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// What every request needs.
#[derive(Debug, Clone)]
pub struct Api(Arc<Shared>);

#[derive(Debug)]
pub struct Shared {
    /// Whom to ask for changes.
    pub asker: Asker,
    /// Where to read what is.
    pub board: Board,
    /// Where to read what was.
    pub past: Past,
    pub tasks: Tasks,
    pub hub: Hub,
    pub rules: Rules,
    pub place: Place,
    /// `host:port`, as this engine calls itself.
    pub leader: String,
    /// `user:password`, asked of every request.
    pub credentials: Option<Secret>,
    pub framework: String,
    pub ports: std::ops::RangeInclusive<u16>,
    /// Ends the event streams.
    pub shutdown: CancellationToken,
}

/// A request that passed the door.
#[derive(Debug)]
struct Asked {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    query: Vec<(String, String)>,
    body: Bytes,
    client: SocketAddr,
}

impl Asked {
    /// All values of a parameter, also in its form for lists.
    fn all(&self, name: &str) -> Vec<String> {
        let of_list = |found: &str| found.strip_suffix("[]") == Some(name);
        self.query.iter().filter(|(found, _)| found == name || of_list(found)).map(|(_, value)| value.clone()).collect()
    }
    fn one(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
    fn flag(&self, name: &str, default: bool) -> bool {
        self.one(name).map_or(default, |value| value.eq_ignore_ascii_case("true"))
    }
    fn client_ip(&self) -> IpAddr {
        self.client.ip()
    }
    fn wants_stream(&self) -> bool {
        accepted(&self.headers).iter().any(|kind| kind == "text/event-stream")
    }
    /// The address of a resource, as the client names this server.
    fn location(&self, leader: &str, id: &PathId) -> String {
        let host = self.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or(leader);
        format!("http://{host}{id}")
    }
}

impl From<Unanswered> for Refusal {
    fn from(unanswered: Unanswered) -> Self {
        Self::message(503, unanswered.to_string())
    }
}
impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Locked(deployments) => Self::locked(&deployments),
            Refused::TooManyDeployments => Self::too_many_deployments(super::core::MAX_DEPLOYMENTS),
            Refused::Tree(invalid) => InvalidTree::into(invalid),
        }
    }
}
impl From<super::journal::JournalError> for Refusal {
    fn from(error: super::journal::JournalError) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "cannot read the state");
        Self::message(500, error.to_string())
    }
}

impl Api {
    pub fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }

    /// What answers every request; whoever takes in a connection says with [`ConnectInfo`] whose it is.
    pub fn router(self) -> axum::Router {
        axum::Router::new().fallback(handle).with_state(self)
    }

    fn shared(&self) -> &Shared {
        &self.0
    }

    /// The state as it was last written.
    fn look(&self) -> super::core::State {
        self.0.board.look()
    }

    async fn answer(&self, client: SocketAddr, request: Request) -> Answer {
        if !self.admits(request.headers()) {
            return Answer::unauthorized();
        }
        let Some(resource) = Resource::of(request.uri().path()) else { return Refusal::unknown_url().into() };
        let (method, methods) = (request.method().clone(), resource.methods());
        if method == Method::OPTIONS {
            return Answer::options(methods);
        }
        if !methods.contains(&method) {
            return Answer::method_not_allowed(methods);
        }
        if !accepts(request.headers(), &resource) {
            return Refusal::reason(406, "Not Acceptable").into();
        }
        let (parts, body) = request.into_parts();
        let has_body = matches!(method, Method::POST | Method::PUT | Method::PATCH);
        if has_body && !is_json(&parts.headers) {
            return Refusal::reason(415, "Unsupported Media Type").into();
        }
        let body = match read_body(body, has_body).await {
            Ok(body) => body,
            Err(refusal) => return refusal.into(),
        };
        let query = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
        let query = query.map(|Query(pairs)| pairs).unwrap_or_default();
        let asked = Asked { method, uri: parts.uri, headers: parts.headers, query, body, client };
        self.dispatch(resource, asked).await.unwrap_or_else(Answer::from)
    }

    async fn dispatch(&self, resource: Resource, asked: Asked) -> Result<Answer, Refusal> {
        let method = asked.method.clone();
        match resource {
            Resource::Root => Ok(Answer::redirect(&format!("http://{}/ui/", self.shared().leader))),
            Resource::Ping => Ok(system::ping(&asked)),
            Resource::Metrics => Ok(self.metrics()),
            Resource::Prometheus => Err(Refusal::message(404, "The Prometheus reporter is disabled")),
            Resource::Info => Ok(self.info()),
            Resource::Leader => Ok(Answer::json(&serde_json::json!({ "leader": self.shared().leader }))),
            Resource::Events => self.events(&asked),
            Resource::Apps => match method {
                Method::POST => self.create_app(asked).await,
                Method::PUT | Method::PATCH => self.change_apps(asked).await,
                _ => self.list_apps(&asked),
            },
            Resource::App(id) => {
                let id = read_id(&id)?;
                match method {
                    Method::PUT => self.put_app(id, asked).await,
                    Method::PATCH => self.patch_app(id, asked).await,
                    Method::DELETE => self.delete_app(id, asked).await,
                    _ => self.show_app(&id, &asked),
                }
            }
            Resource::AppsBelow(group) => self.apps_below(&read_id(&group)?, &asked),
            Resource::Restart(id) => self.restart_app(read_id(&id)?, asked).await,
            Resource::AppVersions(id) => self.app_versions(read_id(&id)?).await,
            Resource::AppVersion(id, version) => self.app_version(read_id(&id)?, version).await,
            Resource::AppTasks(id) if method == Method::DELETE => self.kill_tasks_of(read_id(&id)?, asked).await,
            Resource::AppTasks(id) => self.tasks_of(&read_id(&id)?),
            Resource::AppTask(id, task) => self.kill_task_of(read_id(&id)?, task, asked).await,
            Resource::TasksBelow(group) => self.tasks_below(&read_id(&group)?),
            Resource::Group(id) => {
                let id = read_id(&id)?;
                match method {
                    Method::POST => self.create_group(id, asked).await,
                    Method::PUT => self.put_group(id, asked).await,
                    Method::PATCH => self.patch_group(id, asked).await,
                    Method::DELETE => self.delete_group(id, asked).await,
                    _ => self.show_group(&id, &asked),
                }
            }
            Resource::GroupApps(id) => self.apps_of_group(&read_id(&id)?, &asked),
            Resource::GroupVersions(id) => self.group_versions(read_id(&id)?).await,
            Resource::GroupVersion(id, version) => self.group_version(read_id(&id)?, version, asked).await,
            Resource::Tasks => Ok(self.all_tasks(&asked)),
            Resource::TasksDelete => self.delete_tasks(asked).await,
            Resource::Deployments => Ok(self.deployments()),
            Resource::Deployment(id) => self.delete_deployment(id, asked).await,
            Resource::Queue => Ok(self.queue(&asked)),
            Resource::QueueDelay(id) => self.forget_delay(read_id(&id)?).await,
            Resource::Agents => Ok(self.agents()),
            Resource::AgentState => Ok(self.agent_state().await),
            Resource::FilesRead => Ok(self.read_file(asked).await),
        }
    }

    /// The right credentials, or none are asked for. Compared by their digests, so that the time tells nothing.
    fn admits(&self, headers: &HeaderMap) -> bool {
        let Some(wanted) = &self.shared().credentials else { return true };
        let sent = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some((scheme, encoded)) = sent.and_then(|text| text.split_once(' ')) else { return false };
        let decoded = base64::engine::general_purpose::STANDARD.decode(encoded.trim());
        scheme.eq_ignore_ascii_case("basic")
            && decoded.is_ok_and(|decoded| Sha256::digest(decoded) == Sha256::digest(wanted.reveal()))
    }

    /// A version in a URL.
    fn version(text: &str) -> Result<Moment, Refusal> {
        text.parse().map_err(|_| Refusal::bad_timestamp(text))
    }
}

/// How a change is made that events ascribe to `group`.
fn how(asked: &Asked, force_by_default: bool, group: PathId) -> How {
    How { force: asked.flag("force", force_by_default), group, chosen: std::collections::BTreeSet::new() }
}

/// The group that events name for a change of `id`.
fn parent(id: &PathId) -> PathId {
    id.parent().unwrap_or_else(PathId::root)
}

async fn handle(State(api): State<Api>, ConnectInfo(client): ConnectInfo<SocketAddr>, request: Request) -> Response {
    let answer = api.answer(client, request).await;
    answer.into_response(&api.shared().leader)
}

async fn read_body(body: Body, wanted: bool) -> Result<Bytes, Refusal> {
    if !wanted {
        return Ok(Bytes::new());
    }
    match tokio::time::timeout(BODY_PATIENCE, axum::body::to_bytes(body, MAX_BODY)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => Err(Refusal::reason(413, "Request Entity Too Large")),
        Err(_) => Err(Refusal::reason(408, "Request Timeout")),
    }
}

/// The media types of `Accept`, in lower case and without parameters; those with `q=0` are left out.
fn accepted(headers: &HeaderMap) -> Vec<String> {
    let sent = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let kinds = sent.flat_map(|value| value.split(',')).filter_map(|kind| {
        let mut parts = kind.split(';').map(str::trim);
        let name = parts.next()?.to_ascii_lowercase();
        let refused = parts.any(|parameter| matches!(parameter, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
        (!name.is_empty() && !refused).then_some(name)
    });
    kinds.collect()
}

/// Whether the client takes what the resource gives.
fn accepts(headers: &HeaderMap, resource: &Resource) -> bool {
    let gives = match resource {
        // Whatever is wanted; the event stream has a rule of its own.
        Resource::Root
        | Resource::Ping
        | Resource::Events
        | Resource::Agents
        | Resource::AgentState
        | Resource::FilesRead => return true,
        Resource::Prometheus => "text/plain",
        _ => "application/json",
    };
    let kinds = accepted(headers);
    let family = gives.split_once('/').map(|(family, _)| format!("{family}/*")).unwrap_or_default();
    kinds.is_empty() || kinds.iter().any(|kind| kind == gives || kind == "*/*" || *kind == family)
}

/// A body without a type is read as JSON.
fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("application/json");
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}
