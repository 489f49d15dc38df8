//! `/v2/pods` and `/v2/plugins`: there are none. Lists say so, and what would make one is refused as by a Marathon that
//! was not told to know them.

use axum::http::Method;

use super::super::reading::Refusal;
use super::answer::Answer;
use crate::marathon::PathId;

pub(super) fn list(method: &Method) -> Result<Answer, Refusal> {
    if method == Method::POST { Err(Refusal::feature("pods")) } else { Ok(statuses()) }
}

pub(super) fn statuses() -> Answer {
    Answer::json(&Vec::<()>::new())
}

pub(super) fn one(method: &Method, id: &PathId) -> Result<Answer, Refusal> {
    Err(if method == Method::PUT { Refusal::feature("pods") } else { Refusal::unknown_pod(id) })
}

pub(super) fn unknown_plugin(id: &str) -> Refusal {
    Refusal::message(404, format!("No plugin with id {id} found"))
}
