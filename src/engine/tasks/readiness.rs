//! Asks new instances whether they are ready, while their deployment waits for it.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::super::instance::Handle;
use super::super::ports::{is_on_host_network, port_named};
use super::health::{CLIENT, Subject, no_answer};
use super::{Report, Tasks};
use crate::marathon::{ReadinessCheck, ReadinessResponse, ReadinessResult};

/// How much of an answer is kept, in bytes.
const KEPT_BODY: usize = 16 << 10;

/// What is told of a target that does not answer, as a proxy would put it.
const NO_ANSWER: u16 = 504;

impl Tasks {
    /// Asks at once, and then after each interval, until the answer is that it is ready.
    pub(super) async fn await_readiness(&self, subject: &Subject, check: &ReadinessCheck) {
        loop {
            let response = ask(subject, check).await;
            let ready = check.http_status_codes_for_ready.contains(&response.status);
            let result = ReadinessResult {
                name: check.name.clone(),
                task_id: subject.task.to_string(),
                ready,
                last_response: check.preserve_last_response.then_some(response),
            };
            self.report(Report::Readiness { task: subject.task.clone(), result });
            if ready {
                return;
            }
            tokio::time::sleep(Duration::from_secs(check.interval_seconds).max(Duration::from_millis(50))).await;
        }
    }
}

async fn ask(subject: &Subject, check: &ReadinessCheck) -> ReadinessResponse {
    let none = |reason: String| ReadinessResponse {
        status: NO_ANSWER,
        content_type: "text/plain".to_owned(),
        body: format!("Marathon could not query http status. Reason: {reason}"),
    };
    let Some(target) = target(subject, check) else {
        return none(format!("the app has no port {}", check.port_name));
    };
    let patience = Duration::from_secs(check.timeout_seconds.max(1));
    match tokio::time::timeout(patience, get(target, check)).await {
        Ok(Ok(response)) => response,
        Ok(Err(reason)) => none(reason),
        Err(_) => none(format!("no answer within {} s", patience.as_secs())),
    }
}

fn target(subject: &Subject, check: &ReadinessCheck) -> Option<SocketAddr> {
    let port = port_named(&subject.app, &check.port_name)?;
    subject.listen.get(port).map(|port| socket(subject, *port))
}

/// Where a task's port is asked: inside its network, if it has one of its own.
pub(super) fn socket(subject: &Subject, port: u16) -> SocketAddr {
    let on_host = matches!(subject.handle, Handle::Process { .. }) || is_on_host_network(&subject.app);
    SocketAddr::new(if on_host { Ipv4Addr::LOCALHOST.into() } else { subject.address }, port)
}

async fn get(target: SocketAddr, check: &ReadinessCheck) -> Result<ReadinessResponse, String> {
    let Some(client) = CLIENT.as_ref() else { return Err("HTTP checks cannot be made".to_owned()) };
    let slash = if check.path.starts_with('/') { "" } else { "/" };
    let url = format!("{}://{target}{slash}{}", check.protocol.in_url(), check.path);
    let mut answer = client.get(url).send().await.map_err(|error| no_answer(&error))?;
    let content_type = answer.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let (status, content_type) = (answer.status().as_u16(), content_type.to_owned());
    let mut body = Vec::new();
    while check.preserve_last_response
        && body.len() < KEPT_BODY
        && let Ok(Some(piece)) = answer.chunk().await
    {
        body.extend_from_slice(&piece);
    }
    body.truncate(KEPT_BODY);
    Ok(ReadinessResponse { status, content_type, body: String::from_utf8_lossy(&body).into_owned() })
}
