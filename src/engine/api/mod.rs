//! Marathon's REST API over the engine's state.
//!
//! One function takes every request: who asks, which resource, which method, what is accepted and sent, and only then
//! the resource itself. Marathon's answers to what does not fit, and its headers, are part of the contract.

mod accept;
mod answer;
mod apps;
mod cors;
mod deployments;
mod events;
mod groups;
mod labels;
mod leader;
mod mesos;
mod metrics;
mod pages;
mod pieces;
mod pods;
mod queue;
mod rendered;
mod request;
mod route;
mod system;
mod tasks;
mod traffic;
mod views;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Bytes;
use axum::extract::{ConnectInfo, Query, Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::response::Response;
use base64::Engine as _;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::Moment;
use super::core::{How, Refused};
use super::event::{Hub, Place};
use super::group::InvalidTree;
use super::journal::Past;
use super::listen::Connection;
use super::reading::{Refusal, Rules, read_id};
use super::supervisor::{Asker, Board, Unanswered};
use super::tasks::Tasks;
use crate::marathon::PathId;
use crate::model::Secret;
use accept::Accept;
use answer::Answer;
use rendered::Rendered;
use request::Asked;
use route::Resource;
use traffic::{Answered, Traffic};

/// What every request needs.
#[derive(Debug, Clone)]
pub struct Api(Arc<Inside>);

#[derive(Debug)]
struct Inside {
    shared: Shared,
    traffic: Traffic,
    rendered: Rendered,
    /// A permit for each request that may be answered at the same time, if there is a limit.
    permits: Option<Semaphore>,
}

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
    /// Whose processes the engine's commands are, by name.
    pub user: String,
    /// When the engine began.
    pub since: Moment,
    pub ports: std::ops::RangeInclusive<u16>,
    /// How many requests may be answered at the same time; event streams do not count once they have begun.
    pub max_requests: Option<usize>,
    /// Pages of these origins may read answers; `*` stands for all.
    pub origins: Vec<String>,
    /// Ends the event streams.
    pub shutdown: CancellationToken,
    /// A client wants this engine to give up its leadership, which is to end.
    pub abdication: CancellationToken,
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
        let permits = shared.max_requests.map(Semaphore::new);
        Self(Arc::new(Inside { shared, traffic: Traffic::new(), rendered: Rendered::default(), permits }))
    }

    /// What answers every request; whoever takes in a connection says with [`ConnectInfo`] whose it is.
    pub fn router(self) -> axum::Router {
        axum::Router::new().fallback(handle).with_state(self)
    }

    fn shared(&self) -> &Shared {
        &self.0.shared
    }
    /// The state as it was last written.
    fn look(&self) -> super::core::State {
        self.shared().board.look()
    }
    fn traffic(&self) -> &Traffic {
        &self.0.traffic
    }

    /// The answer, unless too many are being made.
    async fn admit(&self, client: SocketAddr, request: Request) -> Answer {
        let Some(permits) = &self.0.permits else { return self.answer(client, request).await };
        match permits.try_acquire() {
            Ok(_permit) => self.answer(client, request).await,
            Err(_) => Answer::too_many_requests(self.shared().max_requests.unwrap_or_default()),
        }
    }

    async fn answer(&self, client: SocketAddr, request: Request) -> Answer {
        if !self.admits(request.headers()) {
            return Answer::unauthorized();
        }
        let Some(resource) = Resource::of(request.uri().path()) else { return Refusal::unknown_url().into() };
        let method = request.method().clone();
        let resource = resource.asked_by(&method);
        let methods = resource.methods();
        if let Resource::Mesos(page) = resource
            && let Some(refusal) = page.refusal(&method)
        {
            return refusal;
        }
        if method == Method::OPTIONS {
            return Answer::options(methods);
        }
        if !methods.contains(&method) {
            return Answer::method_not_allowed(methods);
        }
        let (parts, body) = request.into_parts();
        let has_body = matches!(method, Method::POST | Method::PUT | Method::PATCH);
        if has_body && !request::is_json(&parts.headers) {
            return Refusal::reason(415, "Unsupported Media Type").into();
        }
        if !resource.gives().is_none_or(|kind| Accept::of(&parts.headers).takes(kind)) {
            return Refusal::reason(406, "Not Acceptable").into();
        }
        let body = if has_body { request::read_body(&parts.headers, body).await } else { Ok(Bytes::new()) };
        let body = match body {
            Ok(body) => body,
            Err(refusal) => return refusal.into(),
        };
        let query = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
        let query = query.map(|Query(pairs)| pairs).unwrap_or_default();
        let connection = parts.extensions.get::<Connection>().cloned().unwrap_or_default();
        let asked = Asked { method, uri: parts.uri, headers: parts.headers, query, body, client, connection };
        self.dispatch(resource, asked).await.unwrap_or_else(Answer::from)
    }

    async fn dispatch(&self, resource: Resource, asked: Asked) -> Result<Answer, Refusal> {
        let method = asked.method.clone();
        match resource {
            Resource::Root => Ok(Answer::redirect(&format!("http://{}/ui/", self.shared().leader))),
            Resource::Ping => Ok(system::ping(&asked)),
            Resource::Metrics => Ok(self.metrics()),
            Resource::Prometheus => Ok(self.prometheus()),
            Resource::Logging if method == Method::POST => Err(system::fixed_levels()),
            Resource::Logging => Ok(system::logging()),
            Resource::Config => Ok(self.config()),
            Resource::Ui => Ok(pages::ui()),
            Resource::Help => Ok(pages::help()),
            Resource::Public => Err(Refusal::message(404, "This engine has no files to give")),
            Resource::Info => Ok(self.info()),
            Resource::Leader if method == Method::DELETE => self.abdicate(&asked),
            Resource::Leader => Ok(Answer::named("leader", &self.shared().leader)),
            Resource::Pods => pods::list(&method),
            Resource::PodStatuses => Ok(pods::statuses()),
            Resource::Pod(id) => pods::one(&method, &read_id(&id)?),
            Resource::Plugins => Ok(Answer::named("plugins", &Vec::<()>::new())),
            Resource::Plugin(id) => Err(pods::unknown_plugin(&id)),
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
            Resource::Mesos(page) => self.mesos(page, &asked).await,
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
    let (traffic, begun) = (api.traffic(), Instant::now());
    let _active = traffic.begin();
    let (method, headers) = (request.method().clone(), request.headers().clone());
    let answer = api.admit(client, request).await;
    let deploys = answer.deploys();
    let mut sent = answer.into_response(&headers, &api.shared().leader).await;
    cors::allow(&api.shared().origins, &headers, sent.response.headers_mut());
    let (status, took) = (sent.response.status(), begun.elapsed());
    traffic.note(&Answered { method: &method, status, took, bytes: sent.bytes, gzipped: sent.gzipped, deploys });
    sent.response
}
