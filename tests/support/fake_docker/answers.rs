//! What the double answers, request by request.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Query, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::Response;
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use tokio::sync::broadcast;

use super::containers::Refused;
use super::{Happening, Shared};

/// What a request asks for.
struct Asked {
    method: Method,
    query: HashMap<String, String>,
    body: Value,
}

pub(super) async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let query = Query::<HashMap<String, String>>::try_from_uri(request.uri());
    let query = query.map(|Query(query)| query).unwrap_or_default();
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap_or_default();
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let path = parts.uri.path().to_owned();
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let segments = match segments.as_slice() {
        [version, rest @ ..] if version.starts_with("v1.") => rest,
        all => all,
    };
    let asked = Asked { method: parts.method, query, body };
    route(&shared, segments, &asked).await.unwrap_or_else(|(status, text)| {
        respond(StatusCode::from_u16(status).unwrap(), json!({ "message": text }).to_string())
    })
}

async fn route(shared: &Arc<Shared>, segments: &[&str], asked: &Asked) -> Result<Response, Refused> {
    let post = asked.method == Method::POST;
    match segments {
        ["_ping"] => Ok(respond(StatusCode::OK, "OK")),
        ["version"] => Ok(ok(&json!({ "Version": "20.10.24", "ApiVersion": "1.41", "MinAPIVersion": "1.12" }))),
        ["info"] => Ok(ok(&json!({ "ID": "double", "NCPU": 2, "MemTotal": 8_u64 << 30, "ServerVersion": "20.10.24" }))),
        ["events"] => Ok(events(shared, asked)),
        ["containers", "json"] => {
            let all = asked.query.get("all").is_some_and(|all| all == "true" || all == "1");
            Ok(ok(&json!(shared.containers().list(&filter(asked, "label"), all))))
        }
        ["containers", "create"] if post => create(shared, asked).await,
        ["containers", id] if asked.method == Method::DELETE => remove(shared, id, asked),
        ["containers", id, "json"] => Ok(ok(&shared.containers().inspect(id)?)),
        ["containers", id, "start"] if post => start(shared, id).await,
        ["containers", id, "stop"] if post => stop(shared, id).await,
        ["containers", id, "kill"] if post => kill(shared, id),
        ["containers", id, "wait"] if post => wait(shared, id).await,
        ["containers", id, "logs"] => {
            shared.containers().runs(id)?;
            Ok(respond(StatusCode::OK, ""))
        }
        ["networks", "create"] if post => {
            let name = asked.body["Name"].as_str().unwrap_or_default().to_owned();
            let made = shared.containers().make_network(&name);
            let text = format!("network with name {name} already exists");
            if made { Ok(created(&json!({ "Id": name, "Warning": "" }))) } else { Err((409, text)) }
        }
        ["networks", name] => network(shared, name, asked),
        ["images", "create"] if post => Ok(respond(StatusCode::OK, "{\"status\":\"Image is up to date\"}\r\n")),
        ["images", .., "json"] => Ok(ok(&json!({ "Id": "sha256:0", "RepoTags": [], "Size": 1, "Config": {} }))),
        _ => Err((501, format!("the double does not do {} /{}", asked.method, segments.join("/")))),
    }
}

async fn create(shared: &Shared, asked: &Asked) -> Result<Response, Refused> {
    tokio::time::sleep(shared.delays.create).await;
    let name = asked.query.get("name").cloned().unwrap_or_default();
    let id = shared.containers().create(&name, &asked.body)?;
    Ok(created(&json!({ "Id": id, "Warnings": [] })))
}

async fn start(shared: &Shared, id: &str) -> Result<Response, Refused> {
    tokio::time::sleep(shared.delays.start).await;
    let happened = shared.containers().start(id)?;
    let status = if happened.is_some() { StatusCode::NO_CONTENT } else { StatusCode::NOT_MODIFIED };
    if let Some(happened) = happened {
        shared.tell(happened);
    }
    Ok(respond(status, ""))
}

async fn stop(shared: &Shared, id: &str) -> Result<Response, Refused> {
    if !shared.containers().runs(id)? {
        return Ok(respond(StatusCode::NOT_MODIFIED, ""));
    }
    tokio::time::sleep(shared.delays.stop).await;
    shared.die(id, 143);
    Ok(respond(StatusCode::NO_CONTENT, ""))
}

fn kill(shared: &Shared, id: &str) -> Result<Response, Refused> {
    if !shared.containers().runs(id)? {
        return Err((409, format!("Cannot kill container: {id}: Container {id} is not running")));
    }
    shared.die(id, 137);
    Ok(respond(StatusCode::NO_CONTENT, ""))
}

fn remove(shared: &Shared, id: &str, asked: &Asked) -> Result<Response, Refused> {
    let force = asked.query.get("force").is_some_and(|force| force == "true" || force == "1");
    if shared.containers().runs(id)? {
        if !force {
            return Err((409, format!("You cannot remove a running container {id}. Stop the container before")));
        }
        shared.die(id, 137);
    }
    let happened = shared.containers().remove(id)?;
    shared.tell(happened);
    Ok(respond(StatusCode::NO_CONTENT, ""))
}

/// Answers when the container has ended.
async fn wait(shared: &Shared, id: &str) -> Result<Response, Refused> {
    let mut events = shared.events.subscribe();
    loop {
        if let Some(status) = shared.containers().status(id)? {
            return Ok(ok(&json!({ "StatusCode": status, "Error": null })));
        }
        // Whatever happened, or was missed: it is looked at again.
        let _ = events.recv().await;
    }
}

fn network(shared: &Shared, name: &str, asked: &Asked) -> Result<Response, Refused> {
    let missing = || (404, format!("network {name} not found"));
    if asked.method == Method::DELETE {
        return shared
            .containers()
            .remove_network(name)
            .then(|| respond(StatusCode::NO_CONTENT, ""))
            .ok_or_else(missing);
    }
    let known = shared.containers().has_network(name);
    known.then(|| ok(&json!({ "Name": name, "Id": name, "Driver": "bridge", "Labels": {} }))).ok_or_else(missing)
}

/// Those that are remembered since then, and all that come, as lines of JSON.
fn events(shared: &Shared, asked: &Asked) -> Response {
    let (actions, labels) = (filter(asked, "event"), filter(asked, "label"));
    let wanted = move |happened: &Arc<Happening>| {
        (actions.is_empty() || actions.iter().any(|action| action == happened.action))
            && labels.iter().all(|label| happened.labels.contains(label))
    };
    let since = asked.query.get("since").and_then(|since| since.split('.').next()?.parse::<i64>().ok());
    let coming = shared.events.subscribe();
    let past = shared.containers().remembered();
    let past = past.into_iter().filter(move |happened| since.is_some_and(|since| happened.time >= since));
    let coming = stream::unfold(coming, |mut coming| async move {
        loop {
            match coming.recv().await {
                Ok(happened) => return Some((happened, coming)),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    });
    let all = stream::iter(past).chain(coming).filter(move |happened| std::future::ready(wanted(happened)));
    let lines = all.map(|happened| Ok::<_, std::convert::Infallible>(Bytes::from(happened.line.clone())));
    // Docker sends its head at once, before anything happens.
    respond(StatusCode::OK, Body::from_stream(lines))
}

/// The values of a filter, which clients write as a list or as a map to `true`.
fn filter(asked: &Asked, name: &str) -> Vec<String> {
    let filters = asked.query.get("filters").and_then(|text| serde_json::from_str::<Value>(text).ok());
    match filters.map(|filters| filters[name].clone()) {
        Some(Value::Array(values)) => values.iter().filter_map(|value| Some(value.as_str()?.to_owned())).collect(),
        Some(Value::Object(values)) => values.keys().cloned().collect(),
        _ => Vec::new(),
    }
}

fn ok(body: &Value) -> Response {
    respond(StatusCode::OK, body.to_string())
}
fn created(body: &Value) -> Response {
    respond(StatusCode::CREATED, body.to_string())
}
fn respond(status: StatusCode, body: impl Into<Body>) -> Response {
    Response::builder()
        .status(status)
        .header("Api-Version", "1.41")
        .header(header::CONTENT_TYPE, "application/json")
        .body(body.into())
        .unwrap()
}
