//! Answers, with the headers that every answer of Marathon has.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use serde::Serialize;

use super::super::core::Accepted;
use super::super::reading::Refusal;
use crate::marathon::DeploymentResult;

/// An answer to be sent.
#[derive(Debug)]
pub(super) struct Answer {
    status: StatusCode,
    headers: Vec<(HeaderName, String)>,
    body: Body,
}

const JSON: &str = "application/json";

impl Answer {
    pub(super) fn json(value: &impl Serialize) -> Self {
        Self::empty(StatusCode::OK).with_json(value)
    }
    pub(super) fn text(kind: &str, text: impl Into<Body>) -> Self {
        Self { body: text.into(), ..Self::empty(StatusCode::OK) }.with(header::CONTENT_TYPE, kind)
    }
    pub(super) fn empty(status: StatusCode) -> Self {
        Self { status, headers: Vec::new(), body: Body::empty() }
    }
    pub(super) fn redirect(to: &str) -> Self {
        Self::empty(StatusCode::FOUND).with(header::LOCATION, to)
    }
    /// What every request answers that starts a deployment.
    pub(super) fn deployment(accepted: Accepted) -> Self {
        Self::json(&DeploymentResult::from(accepted)).begun_by(accepted)
    }
    pub(super) fn begun_by(self, accepted: Accepted) -> Self {
        self.with(HeaderName::from_static("marathon-deployment-id"), &accepted.deployment.to_string())
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
    /// The page that Marathon's servlet container answers.
    pub(super) fn unauthorized() -> Self {
        const PAGE: &str = "<html>\n<head>\n<meta http-equiv=\"Content-Type\" content=\"text/html;charset=utf-8\"/>\n\
            <title>Error 401 Unauthorized</title>\n</head>\n<body><h2>HTTP ERROR 401</h2>\n\
            <p>Problem accessing this resource. Reason:\n<pre>    Unauthorized</pre></p>\n</body>\n</html>\n";
        Self::text("text/html;charset=iso-8859-1", PAGE)
            .status(StatusCode::UNAUTHORIZED)
            .with(header::WWW_AUTHENTICATE, "basic realm=\"Mesosphere\"")
    }
    pub(super) fn with(mut self, name: HeaderName, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
    fn with_json(mut self, value: &impl Serialize) -> Self {
        let bytes = serde_json::to_vec(value).expect("answers are text, numbers, lists and maps with text keys");
        self.body = bytes.into();
        self.with(header::CONTENT_TYPE, JSON)
    }

    pub(super) fn into_response(self, leader: &str) -> Response {
        let mut response = Response::new(self.body);
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
        let own = self.headers.iter().map(|(name, value)| (name.clone(), value.as_str()));
        for (name, value) in always.into_iter().chain(own) {
            // Of what came from a client, only what may stand in a header does.
            if let Ok(value) = HeaderValue::from_str(value) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
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
