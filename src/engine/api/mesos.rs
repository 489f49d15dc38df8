//! The part of Mesos' HTTP API through which a task's output is read: the master's agents, the agent's state, and its
//! files. `/v2/info` names this engine as its own Mesos (`mesos_leader_ui_url`).

use axum::http::StatusCode;
use serde_json::json;

use super::super::instance::TaskId;
use super::super::tasks::Output;
use super::Api;
use super::answer::Answer;
use super::request::Asked;

/// Most that one read answers, in bytes.
const MAX_LENGTH: usize = 1 << 20;

impl Api {
    pub(super) fn agents(&self) -> Answer {
        let (shared, machine) = (self.shared(), self.look().books().share);
        let ports = format!("[{}-{}]", shared.ports.start(), shared.ports.end());
        let agent = json!({
            "id": shared.place.agent, "hostname": shared.place.host, "pid": format!("slave(1)@{}", shared.leader),
            "active": true, "deactivated": false, "attributes": {},
            "resources": { "cpus": machine.cpus, "mem": machine.mem, "disk": machine.disk, "gpus": 0.0, "ports": ports },
        });
        Answer::json(&json!({ "slaves": [agent] }))
    }

    pub(super) async fn agent_state(&self) -> Answer {
        let state = self.look();
        let alive = state.all_instances().filter(|instance| instance.is_alive());
        let present = alive.filter_map(super::super::instance::Instance::task).collect::<Vec<_>>();
        let known = self.shared().tasks.known().await;
        let executor =
            |task: &TaskId| json!({ "id": task, "directory": self.shared().tasks.directory(task), "tasks": [] });
        let ended = known.iter().filter(|task| !present.contains(task)).map(executor).collect::<Vec<_>>();
        let framework = json!({
            "id": self.shared().framework, "name": "marathon",
            "executors": present.iter().map(executor).collect::<Vec<_>>(), "completed_executors": ended,
        });
        let shown = json!({
            "id": self.shared().place.agent, "pid": format!("slave(1)@{}", self.shared().leader),
            "hostname": self.shared().place.host, "frameworks": [framework], "completed_frameworks": [],
        });
        Answer::json(&shown)
    }

    /// A part of what a task wrote. Without an offset, or with -1, only how much there is.
    pub(super) async fn read_file(&self, asked: Asked) -> Answer {
        let refused = |status, text: String| Answer::text("text/plain; charset=utf-8", text).status(status);
        let Some(path) = asked.one("path") else {
            return refused(StatusCode::BAD_REQUEST, "Expecting 'path=value' in query.\n".to_owned());
        };
        let number = |name: &str| {
            asked.one(name).map(|text| text.parse::<i64>().map_err(|_| (name.to_owned(), text.to_owned()))).transpose()
        };
        let (offset, length) = match (number("offset"), number("length")) {
            (Ok(offset), Ok(length)) => (offset.unwrap_or(-1), length),
            (Err((name, text)), _) | (_, Err((name, text))) => {
                let text = format!("Failed to parse {name}: Failed to convert '{text}' to number.\n");
                return refused(StatusCode::BAD_REQUEST, text);
            }
        };
        if offset < -1 {
            return refused(StatusCode::BAD_REQUEST, format!("Negative offset provided: {offset}.\n"));
        }
        let written = match self.shared().tasks.output(path).await {
            Output::Bytes(written) => written,
            Output::Directory => return refused(StatusCode::BAD_REQUEST, "Cannot read a directory.\n".to_owned()),
            Output::Nothing => return refused(StatusCode::NOT_FOUND, String::new()),
        };
        let Ok(start) = usize::try_from(offset) else {
            return Answer::json(&json!({ "data": "", "offset": written.len() }));
        };
        let length = length.map_or(MAX_LENGTH, |length| usize::try_from(length).unwrap_or(MAX_LENGTH)).min(MAX_LENGTH);
        let end = start.saturating_add(length).min(written.len());
        let piece = written.get(start..end).unwrap_or_default();
        Answer::json(&json!({ "data": String::from_utf8_lossy(piece), "offset": start }))
    }
}
