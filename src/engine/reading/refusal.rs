//! Marathon's error answers, word for word.

use std::fmt::Display;
use std::ops::RangeInclusive;

use serde_json::{Value, json};

use super::shape::Details;
use crate::engine::Moment;
use crate::engine::group::InvalidTree;
use crate::marathon::{DeploymentId, PathId};

/// An answer that is no success: a status and Marathon's JSON body for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    pub status: u16,
    pub body: Value,
}

/// What a GET adds to its 404, and nothing else does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// A GET, and anything about tasks, the queue or deployments: the 404 has `"details": []`.
    ByLooking,
    /// A PUT, PATCH, POST or DELETE of an app or group: the message alone.
    ByChanging,
}

impl Refusal {
    /// An answer with a message and nothing else.
    pub fn message(status: u16, message: impl Into<String>) -> Self {
        Self { status, body: json!({ "message": message.into() }) }
    }
    /// 422 of a request that is well-formed and still makes no sense.
    pub fn unprocessable(message: impl Into<String>) -> Self {
        Self::message(422, message)
    }
    fn not_found(message: String, asked: Asked) -> Self {
        match asked {
            Asked::ByChanging => Self::message(404, message),
            Asked::ByLooking => Self { status: 404, body: json!({ "message": message, "details": [] }) },
        }
    }
    /// Of a text that is no id too: there is no such app.
    pub fn unknown_app(id: &impl Display, asked: Asked) -> Self {
        Self::not_found(format!("App '{id}' does not exist"), asked)
    }
    pub fn unknown_app_version(id: &PathId, version: Moment) -> Self {
        Self::not_found(format!("App '{id}' does not exist in version {version}"), Asked::ByLooking)
    }
    pub fn unknown_group(id: &impl Display, asked: Asked) -> Self {
        Self::not_found(format!("Group '{id}' does not exist"), asked)
    }
    pub fn unknown_group_version(id: &PathId, version: Moment) -> Self {
        Self::not_found(format!("Group '{id}' does not exist in version {version}"), Asked::ByLooking)
    }
    /// A PUT of `{"version": …}` to a group that never was in that version.
    pub fn group_version_unavailable(id: &PathId, version: Moment) -> Self {
        Self::unprocessable(format!("Group {id} not available in version {version}"))
    }
    pub fn unknown_path(id: &PathId, asked: Asked) -> Self {
        Self::not_found(format!("Path '{id}' does not exist"), asked)
    }
    pub fn unknown_task(id: &str) -> Self {
        Self::not_found(format!("Task '{id}' does not exist"), Asked::ByLooking)
    }
    pub fn unknown_deployment(id: &str) -> Self {
        Self::not_found(format!("DeploymentPlan {id} does not exist"), Asked::ByLooking)
    }
    pub fn not_queued(id: &PathId) -> Self {
        Self::not_found(format!("Application {id} not found in tasks queue."), Asked::ByLooking)
    }
    /// A URL that no resource matches. Marathon says 500; this is the client's mistake, so 404.
    pub fn unknown_url() -> Self {
        Self::message(404, "URI not found")
    }
    /// 405, 406 or 415 with the reason phrase as message.
    pub fn reason(status: u16, phrase: &str) -> Self {
        Self::message(status, phrase)
    }
    pub fn app_exists(id: &PathId) -> Self {
        Self::message(409, format!("An app with id [{id}] already exists."))
    }
    pub fn group_exists(id: &PathId) -> Self {
        Self::message(409, format!("Group {id} is already created. Use PUT to change this group."))
    }
    /// POST of a group where an app is.
    pub fn app_in_the_way(id: &PathId) -> Self {
        Self::message(409, format!("An app with the path {id} already exists."))
    }
    /// 409: an affected app is in one of these deployments. The `<DEPLOYMENT_ID>` is literal.
    pub fn locked(deployments: &[DeploymentId]) -> Self {
        let ids: Vec<Value> = deployments.iter().map(|id| json!({ "id": id })).collect();
        Self { status: 409, body: json!({ "message": LOCKED, "deployments": ids }) }
    }
    pub fn too_many_deployments(limit: usize) -> Self {
        let message = format!(
            "Max number ({limit}) of running deployments is achieved. Wait for existing deployments to complete or cancel \
             one. You can increase max deployment number by using --max_running_deployments parameter"
        );
        Self::message(403, message)
    }
    /// A time stamp in a URL that is none.
    pub fn bad_timestamp(text: &str) -> Self {
        Self::unprocessable(format!("Invalid timestamp provided '{text}'. Expecting ISO-8601 datetime string."))
    }
    pub fn bad_task_id(text: &str) -> Self {
        let message =
            format!("Invalid task id '{text}'. [taskId {text} no valid identifier (of class java.lang.String)]");
        Self::message(400, message)
    }
    pub fn scale_and_wipe() -> Self {
        Self::message(400, "You cannot use scale and wipe at the same time.")
    }
    pub(super) fn service_ports_exhausted(range: &RangeInclusive<u16>) -> Self {
        let message = format!(
            "All ports in the range [{}-{}] are already in use. Please either increase the port range or free ports",
            range.start(),
            range.end()
        );
        Self::message(500, message)
    }
    /// 422 of what a Marathon does only when it is started with the feature.
    pub fn feature(name: &str) -> Self {
        Details::rule("/", &super::rules::feature(name))
    }
    pub fn unknown_pod(id: &PathId) -> Self {
        Self::not_found(format!("Pod '{id}' does not exist"), Asked::ByLooking)
    }
    /// The same refusal of an object that stood at `path` in what was sent.
    #[must_use]
    pub(super) fn below(mut self, path: &str) -> Self {
        for detail in self.body["details"].as_array_mut().into_iter().flatten() {
            let place = detail["path"].as_str().unwrap_or_default();
            detail["path"] = if place == "/" { path.into() } else { format!("{path}{place}").into() };
        }
        self
    }
    /// The message of the body, for logs and for events such as `group_change_failed`.
    pub fn text(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }
}

impl From<InvalidTree> for Refusal {
    fn from(broken: InvalidTree) -> Self {
        Details::rule("/", &broken.to_string())
    }
}

/// The message of a 409, also the `reason` of the events that tell of it.
pub const LOCKED: &str = "App is locked by one or more deployments. Override with the option '?force=true'. \
                          View details at '/v2/deployments/<DEPLOYMENT_ID>'.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_looks_gets_details_with_a_404() {
        let id: PathId = "/a".parse().unwrap();
        assert_eq!(Refusal::unknown_app(&id, Asked::ByChanging).body, json!({"message": "App '/a' does not exist"}));
        assert_eq!(
            Refusal::unknown_app(&id, Asked::ByLooking).body,
            json!({"message": "App '/a' does not exist", "details": []})
        );
    }
}
