//! A client of Marathon's REST API; `paas engine` answers the same calls, so another address is all it takes.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use reqwest::{Method, StatusCode, Url, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{
    App, AppInfo, Deployment, DeploymentId, DeploymentResult, Event, GroupInfo, GroupUpdate, Info, PathId, Queue,
    QueueItem, Task,
};
use crate::model::Secret;
use crate::sse;

/// How long a connection may take to stand.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// How long one answer may take: a real Marathon with 1 000 apps needs 4.3 s for its slowest.
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);
/// How long the event stream may be silent: keep-alives come every 10 s, so this is six of them lost.
const STREAM_PATIENCE: Duration = Duration::from_mins(1);

/// What came of a request that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answered, or not in time, or the connection broke.
    #[error("cannot reach Marathon at {url}")]
    Unreachable {
        url: String,
        #[source]
        cause: Unreached,
    },
    #[error("Marathon at {url} does not accept these credentials")]
    Unauthorized { url: String },
    /// The app, group, deployment or version is not there.
    #[error("{message}")]
    NotFound { message: String },
    /// An affected app is in these deployments, and `force` was not given.
    #[error("locked by {}", list(deployments))]
    Locked { deployments: Vec<DeploymentId> },
    /// Any other answer that is no success.
    #[error("Marathon refused it with status {status}: {message}{}", details_text(details))]
    Refused { status: u16, message: String, details: Vec<Detail> },
    /// An answer that is not what Marathon answers, such as another server's page.
    #[error("the answer of {url} is not Marathon's")]
    Malformed {
        url: String,
        #[source]
        cause: Misread,
    },
}

/// Why nobody was reached.
#[derive(Debug, thiserror::Error)]
pub enum Unreached {
    #[error(transparent)]
    Http(reqwest::Error),
    #[error("the event stream was silent for {} s", .0.as_secs())]
    Silent(Duration),
}

/// Why an answer could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Misread {
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Stream(#[from] sse::TooLong),
    #[error("it is no event stream but {0:?}")]
    NoStream(String),
}

/// What is wrong at one place of what was sent.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Detail {
    /// Such as `/container/volumes(0)/mode`; `/` is the whole object.
    pub path: String,
    pub errors: Vec<String>,
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.errors.join(", "))
    }
}

impl ClientError {
    /// Marathon is there, and has nobody to decide anything just now: a standby answers so while a leader is elected.
    pub fn is_leaderless(&self) -> bool {
        matches!(self, Self::Refused { status: 502..=504, .. })
    }
    /// Asking again may help at once: there is no leader just now, or the connection broke, as it does when one goes.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { cause: Unreached::Http(cause), .. } => !cause.is_connect() && !cause.is_timeout(),
            _ => self.is_leaderless(),
        }
    }
    /// No answer came.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
    /// What was asked for may have been done all the same: the answer was lost, not the question.
    pub fn may_have_been_done(&self) -> bool {
        match self {
            Self::Unreachable { cause: Unreached::Http(cause), .. } => !cause.is_connect(),
            Self::Unreachable { cause: Unreached::Silent(_), .. } => true,
            _ => self.is_leaderless(),
        }
    }
}

fn list(deployments: &[DeploymentId]) -> String {
    match deployments {
        [] => "another deployment".to_owned(),
        [one] => format!("deployment {one}"),
        many => format!("deployments {}", many.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    }
}

fn details_text(details: &[Detail]) -> String {
    let texts: Vec<String> = details.iter().map(ToString::to_string).collect();
    if texts.is_empty() { String::new() } else { format!(" ({})", texts.join("; ")) }
}

/// The text is no address of a Marathon.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMarathonUrl {
    /// The text is not quoted: who knows which part of it was meant to be a password.
    #[error("this is no URL of a Marathon; one looks like `http://10.0.0.1:8080`")]
    NotHttp,
    #[error("a Marathon's URL holds no credentials; give them apart")]
    HoldsCredentials,
    #[error("Marathon's credentials are `user:password`")]
    BadCredentials,
}

/// A Marathon at an address. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    /// Without a slash at its end.
    base: String,
    credentials: Option<Secret>,
    /// How long one answer may take.
    patience: Duration,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("base", &self.base)
            .field("credentials", &self.credentials)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client of the Marathon at `url`, with `credentials` as `user:password`. Nothing is sent yet.
    /// Proxies of the environment are not used: a Marathon is inside, and its credentials stay there.
    pub fn new(url: &str, credentials: Option<Secret>) -> Result<Self, InvalidMarathonUrl> {
        let parsed = Url::parse(url).map_err(|_| InvalidMarathonUrl::NotHttp)?;
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(InvalidMarathonUrl::HoldsCredentials);
        }
        if !matches!(parsed.scheme(), "http" | "https") || !parsed.has_host() || parsed.query().is_some() {
            return Err(InvalidMarathonUrl::NotHttp);
        }
        if credentials.as_ref().is_some_and(|both| both.reveal().split_once(':').is_none()) {
            return Err(InvalidMarathonUrl::BadCredentials);
        }
        // The error says that another provider is installed already, which will do as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().connect_timeout(CONNECT_PATIENCE);
        // Reading the system's certificates takes longer than most answers, and only an address with TLS needs them.
        let http = if parsed.scheme() == "https" { http } else { http.tls_certs_only([]) };
        let http = http.build().expect("a client without certificates of its own is always made");
        Ok(Self {
            http,
            base: parsed.as_str().trim_end_matches('/').to_owned(),
            credentials,
            patience: ANSWER_PATIENCE,
        })
    }

    /// The same Marathon, of which each answer may take that long and no longer.
    #[must_use]
    pub fn patient(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The address, for messages.
    pub fn url(&self) -> &str {
        &self.base
    }

    /// The credentials, if `url` is at the same address: for what else is served there, and for nobody else.
    pub fn credentials_at(&self, url: &str) -> Option<Secret> {
        let origin = |text: &str| Url::parse(text).ok().map(|url| url.origin());
        let same = origin(url).is_some_and(|there| origin(&self.base) == Some(there));
        if same { self.credentials.clone() } else { None }
    }

    /// Whether it answers; through a standby, whether its leader does.
    pub async fn ping(&self) -> Result<(), ClientError> {
        self.ask(Method::GET, "/ping", None).await.map(drop)
    }
    pub async fn info(&self) -> Result<Info, ClientError> {
        self.get("/v2/info").await
    }
    /// An app with its counts, tasks, deployments and last failure; none if there is no such app.
    pub async fn app(&self, id: &PathId) -> Result<Option<AppInfo>, ClientError> {
        #[derive(serde::Deserialize)]
        struct Wrapped {
            app: AppInfo,
        }
        present(self.get::<Wrapped>(&below("/v2/apps", id)).await).map(|found| found.map(|wrapped| wrapped.app))
    }
    /// All apps of all groups, with their tasks.
    pub async fn apps(&self) -> Result<Vec<AppInfo>, ClientError> {
        #[derive(serde::Deserialize)]
        struct Wrapped {
            apps: Vec<AppInfo>,
        }
        Ok(self.get::<Wrapped>("/v2/apps?embed=apps.tasks").await?.apps)
    }
    /// A group and all below it; none if there is no such group.
    pub async fn group(&self, id: &PathId) -> Result<Option<GroupInfo>, ClientError> {
        present(self.get(&below("/v2/groups", id)).await)
    }
    /// Makes a group what `update` says; it is created if missing. Returns when the plan is stored, not when it is done.
    pub async fn put_group(
        &self,
        id: &PathId,
        update: &GroupUpdate,
        force: bool,
    ) -> Result<DeploymentResult, ClientError> {
        self.change(Method::PUT, &forced(&below("/v2/groups", id), force), Some(update)).await
    }
    /// Removes a group and all below it; of the root, all that it holds.
    pub async fn delete_group(&self, id: &PathId, force: bool) -> Result<DeploymentResult, ClientError> {
        self.change(Method::DELETE, &forced(&below("/v2/groups", id), force), None::<&()>).await
    }
    /// Makes an app exactly what `app` says; it is created if missing.
    pub async fn put_app(&self, app: &App, force: bool) -> Result<DeploymentResult, ClientError> {
        let path = format!("{}?partialUpdate=false&force={force}", below("/v2/apps", &app.id));
        self.change(Method::PUT, &path, Some(app)).await
    }
    /// Changes nothing but how many instances an app has.
    pub async fn scale_app(&self, id: &PathId, instances: u32, force: bool) -> Result<DeploymentResult, ClientError> {
        let update = json!({ "instances": instances });
        self.change(Method::PUT, &forced(&below("/v2/apps", id), force), Some(&update)).await
    }
    /// Replaces all instances by new ones of the same definition.
    pub async fn restart_app(&self, id: &PathId, force: bool) -> Result<DeploymentResult, ClientError> {
        let path = format!("{}/restart", below("/v2/apps", id));
        self.change(Method::POST, &forced(&path, force), None::<&()>).await
    }
    pub async fn delete_app(&self, id: &PathId, force: bool) -> Result<DeploymentResult, ClientError> {
        self.change(Method::DELETE, &forced(&below("/v2/apps", id), force), None::<&()>).await
    }
    /// The deployments that run now.
    pub async fn deployments(&self) -> Result<Vec<Deployment>, ClientError> {
        self.get("/v2/deployments").await
    }
    /// Ends a deployment. Without `force` a new deployment, which is answered, brings the old definitions back; with it
    /// everything stays as it stands, and there is none.
    pub async fn cancel_deployment(
        &self,
        id: &DeploymentId,
        force: bool,
    ) -> Result<Option<DeploymentResult>, ClientError> {
        let path = forced(&format!("/v2/deployments/{id}"), force);
        let body = self.ask(Method::DELETE, &path, None).await?;
        if body.is_empty() { Ok(None) } else { self.read(&path, &body).map(Some) }
    }
    /// The tasks of an app; none if there is no such app.
    pub async fn tasks(&self, id: &PathId) -> Result<Option<Vec<Task>>, ClientError> {
        let path = format!("{}/tasks", below("/v2/apps", id));
        present(self.get::<Tasks>(&path).await).map(|found| found.map(|wrapped| wrapped.tasks))
    }
    /// The tasks of all apps, with their service ports.
    pub async fn all_tasks(&self) -> Result<Vec<Task>, ClientError> {
        Ok(self.get::<Tasks>("/v2/tasks").await?.tasks)
    }
    /// The apps that wait to be launched, with the offers that were of no use to them; pods that do are left out.
    pub async fn queue(&self) -> Result<Vec<QueueItem>, ClientError> {
        const PATH: &str = "/v2/queue?embed=lastUnusedOffers";
        let mut answer: Value = self.get(PATH).await?;
        if let Some(items) = answer["queue"].as_array_mut() {
            items.retain(|item| item.get("pod").is_none());
        }
        let queue: Queue = serde_json::from_value(answer).map_err(|cause| self.malformed(PATH, cause.into()))?;
        Ok(queue.queue)
    }

    /// Follows the events of these kinds (`deployment_success`, …), or of all when none are given, from now on: what
    /// happens after this has returned is in the stream. It ends when the server closes it, and after its first error;
    /// dropping it closes the connection.
    pub async fn events(&self, kinds: &[&str]) -> Result<BoxStream<'static, Result<Event, ClientError>>, ClientError> {
        let filter: Vec<String> = kinds.iter().map(|kind| format!("event_type={kind}")).collect();
        let path = if filter.is_empty() { "/v2/events".to_owned() } else { format!("/v2/events?{}", filter.join("&")) };
        let request = self.request(Method::GET, &path).header(header::ACCEPT, "text/event-stream");
        let answer = tokio::time::timeout(self.patience, request.send())
            .await
            .map_err(|_| self.unreachable(Unreached::Silent(self.patience)))?
            .map_err(|cause| self.broken(cause))?;
        let answer = self.successful(answer).await?;
        let kind = answer.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if !kind.starts_with("text/event-stream") {
            return Err(self.malformed(&path, Misread::NoStream(kind.chars().take(100).collect())));
        }
        Ok(self.clone().follow(answer).boxed())
    }

    fn follow(self, answer: reqwest::Response) -> impl stream::Stream<Item = Result<Event, ClientError>> + Send {
        let pieces = stream::unfold(Some((self, answer, sse::Decoder::new())), |state| async {
            let (client, mut answer, mut decoder) = state?;
            match client.next_events(&mut answer, &mut decoder).await {
                Ok(None) => None,
                Ok(Some(events)) => Some((events.into_iter().map(Ok).collect(), Some((client, answer, decoder)))),
                Err(error) => Some((vec![Err(error)], None)),
            }
        });
        pieces.map(stream::iter).flatten()
    }

    /// The events that the next piece of the stream completes; none at its end.
    async fn next_events(
        &self,
        answer: &mut reqwest::Response,
        decoder: &mut sse::Decoder,
    ) -> Result<Option<Vec<Event>>, ClientError> {
        let piece = tokio::time::timeout(STREAM_PATIENCE, answer.chunk())
            .await
            .map_err(|_| self.unreachable(Unreached::Silent(STREAM_PATIENCE)))?
            .map_err(|cause| self.broken(cause))?;
        let Some(bytes) = piece else { return Ok(None) };
        let frames = decoder.push(&bytes).map_err(|cause| self.malformed("/v2/events", cause.into()))?;
        let events = frames.iter().map(|frame| self.read("/v2/events", frame.data.as_bytes()));
        events.collect::<Result<_, _>>().map(Some)
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match self.credentials.as_ref().and_then(|both| both.reveal().split_once(':')) {
            Some((user, password)) => request.basic_auth(user, Some(password)),
            None => request,
        }
    }
    async fn ask(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> Result<Bytes, ClientError> {
        let mut request = self.request(method, path).header(header::ACCEPT, "application/json").timeout(self.patience);
        if let Some(body) = body {
            request = request.header(header::CONTENT_TYPE, "application/json").body(body);
        }
        let answer = request.send().await.map_err(|cause| self.broken(cause))?;
        self.successful(answer).await?.bytes().await.map_err(|cause| self.broken(cause))
    }
    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.read(path, &self.ask(Method::GET, path, None).await?)
    }
    async fn change<B: Serialize + ?Sized>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
    ) -> Result<DeploymentResult, ClientError> {
        let body = body.map(|body| serde_json::to_vec(body).expect("wire types have text keys and finite numbers"));
        self.read(path, &self.ask(method, path, body).await?)
    }
    fn read<T: DeserializeOwned>(&self, path: &str, body: &[u8]) -> Result<T, ClientError> {
        serde_json::from_slice(body).map_err(|cause| self.malformed(path, cause.into()))
    }

    /// The answer, if it is a success; else what it says.
    async fn successful(&self, answer: reqwest::Response) -> Result<reqwest::Response, ClientError> {
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        if status == StatusCode::UNAUTHORIZED {
            return Err(ClientError::Unauthorized { url: self.base.clone() });
        }
        let body = tokio::time::timeout(self.patience, answer.bytes())
            .await
            .map_err(|_| self.unreachable(Unreached::Silent(self.patience)))?
            .map_err(|cause| self.broken(cause))?;
        Err(refusal(status, &body))
    }
    fn broken(&self, cause: reqwest::Error) -> ClientError {
        self.unreachable(Unreached::Http(cause.without_url()))
    }
    fn unreachable(&self, cause: Unreached) -> ClientError {
        ClientError::Unreachable { url: self.base.clone(), cause }
    }
    fn malformed(&self, path: &str, cause: Misread) -> ClientError {
        ClientError::Malformed { url: format!("{}{path}", self.base), cause }
    }
}

#[derive(serde::Deserialize)]
struct Tasks {
    tasks: Vec<Task>,
}

/// `/v2/apps/shop/web`; of the root, `/v2/groups`.
fn below(resource: &str, id: &PathId) -> String {
    if id.is_root() { resource.to_owned() } else { format!("{resource}{id}") }
}

fn forced(path: &str, force: bool) -> String {
    format!("{path}?force={force}")
}

/// "Not found" as the absence that it is.
fn present<T>(answer: Result<T, ClientError>) -> Result<Option<T>, ClientError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(ClientError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What an answer that is no success says. A body that is not Marathon's leaves the status to speak.
fn refusal(status: StatusCode, body: &[u8]) -> ClientError {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let reason = || status.canonical_reason().unwrap_or("no reason given").to_owned();
    let message = body["message"].as_str().map_or_else(reason, ToOwned::to_owned);
    match status {
        StatusCode::NOT_FOUND => ClientError::NotFound { message },
        StatusCode::CONFLICT if body["deployments"].is_array() => {
            ClientError::Locked { deployments: deployments(&body) }
        }
        _ => ClientError::Refused { status: status.as_u16(), message, details: details(&body["details"]) },
    }
}

fn deployments(body: &Value) -> Vec<DeploymentId> {
    let ids = body["deployments"].as_array().into_iter().flatten();
    ids.filter_map(|deployment| deployment["id"].as_str()?.parse().ok()).collect()
}

/// The details of a refusal: a list, or of a body that is not JSON the parser's text.
fn details(details: &Value) -> Vec<Detail> {
    match details {
        Value::String(text) => vec![Detail { path: "/".to_owned(), errors: vec![text.clone()] }],
        list => serde_json::from_value(list.clone()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests;
