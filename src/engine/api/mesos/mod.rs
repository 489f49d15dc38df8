//! The part of Mesos' HTTP API that is read: who runs what where, with what, and what it wrote.
//!
//! Master and agent are one process at one address here. `/master/…` answers as the one, `/slave(1)/…` as the other,
//! and the bare `/state` as both. `/v2/info` names this engine as its own Mesos (`mesos_leader_ui_url`). What is answered,
//! and how it is refused, is as Mesos 1.12 does it.

#![allow(clippy::struct_field_names, reason = "the names are Mesos'")]

mod agent;
mod files;
mod master;
mod snapshot;
mod task;

use axum::http::{Method, StatusCode, header};
use serde::Serialize;

use super::super::reading::Refusal;
use super::answer::Answer;
use super::{Api, Asked};

/// The version of Mesos whose API this is.
const MESOS_VERSION: &str = "1.12.0";

const TEXT: &str = "text/plain; charset=utf-8";

/// Something that Mesos shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Page {
    Slaves,
    /// Of the master; the agent's too.
    State,
    StateSummary,
    Tasks,
    Frameworks,
    Roles,
    Version,
    Health,
    Redirect,
    AgentState,
    Containers,
    Statistics,
    Browse,
    Read,
    Download,
    Debug,
    /// Below a name of Mesos', and nothing there.
    Unknown,
}

impl Page {
    /// What a path names; none when it is nothing of Mesos'.
    pub(super) fn of(first: &str, rest: &[&str]) -> Option<Self> {
        let page = match (first, rest) {
            ("files", [name]) => Self::of_files(name),
            ("monitor", ["statistics"]) | ("slave(1)", ["monitor", "statistics"]) => Self::Statistics,
            ("containers", []) | ("slave(1)", ["containers"]) => Self::Containers,
            ("slave(1)", ["state"]) => Self::AgentState,
            ("slave(1)", ["health"]) => Self::Health,
            ("master", [name]) => Self::of_master(name).unwrap_or(Self::Unknown),
            ("slave(1)", ["version"]) | ("version", []) => Self::Version,
            ("master" | "slave(1)" | "files" | "monitor", _) => Self::Unknown,
            (name, []) => return Self::of_master(name),
            _ => return None,
        };
        Some(page)
    }

    fn of_master(name: &str) -> Option<Self> {
        Some(match name {
            "slaves" => Self::Slaves,
            "state" => Self::State,
            "state-summary" => Self::StateSummary,
            "tasks" => Self::Tasks,
            "frameworks" => Self::Frameworks,
            "roles" => Self::Roles,
            "health" => Self::Health,
            "redirect" => Self::Redirect,
            _ => return None,
        })
    }

    fn of_files(name: &str) -> Self {
        match name {
            "browse" => Self::Browse,
            "read" => Self::Read,
            "download" => Self::Download,
            "debug" => Self::Debug,
            _ => Self::Unknown,
        }
    }

    /// The methods it takes. Load balancers ask for health without wanting a body.
    pub(super) fn methods(self) -> &'static [Method] {
        match self {
            Self::Health | Self::Redirect => &[Method::GET, Method::HEAD],
            _ => &[Method::GET],
        }
    }

    /// The refusal of a method; none when it is taken.
    pub(super) fn refusal(self, method: &Method) -> Option<Answer> {
        if self == Self::Unknown {
            return Some(refused(StatusCode::NOT_FOUND, "404 Not Found."));
        }
        if self.methods().contains(method) {
            return None;
        }
        let text = format!("405 Method Not Allowed. Expecting one of {{ 'GET' }}, but received '{method}'.");
        Some(refused(StatusCode::METHOD_NOT_ALLOWED, text).with(header::ALLOW, "GET"))
    }
}

impl Api {
    pub(super) async fn mesos(&self, page: Page, asked: &Asked) -> Result<Answer, Refusal> {
        match page {
            Page::Slaves => self.slaves(asked).await,
            Page::State => self.master_state().await,
            Page::StateSummary => self.state_summary().await,
            Page::Tasks => self.mesos_tasks(asked).await,
            Page::Frameworks => self.frameworks(asked).await,
            Page::Roles => self.roles().await,
            Page::Version => Ok(Answer::json(&serde_json::json!({ "version": MESOS_VERSION }))),
            Page::Health => Ok(Answer::empty(StatusCode::OK)),
            Page::Redirect => {
                let location = format!("//{}/", self.shared().leader);
                Ok(Answer::empty(StatusCode::TEMPORARY_REDIRECT).with(header::LOCATION, &location))
            }
            Page::AgentState => self.agent_state().await,
            Page::Containers => self.containers(asked).await,
            Page::Statistics => self.statistics().await,
            Page::Browse => Ok(self.browse_files(asked).await),
            Page::Read => Ok(self.read_file(asked).await),
            Page::Download => Ok(self.download_file(asked).await),
            Page::Debug => self.debug_files().await,
            Page::Unknown => Ok(refused(StatusCode::NOT_FOUND, "404 Not Found.")),
        }
    }
}

fn refused(status: StatusCode, text: impl Into<String>) -> Answer {
    Answer::text(TEXT, text.into()).status(status)
}

/// Keeps what is asked for by its id, or all when none is.
fn is_asked_for(asked: &Asked, parameter: &str, id: &str) -> bool {
    asked.one(parameter).is_none_or(|wanted| wanted == id)
}

/// A document of one list.
fn document(name: &str, content: &impl Serialize) -> Answer {
    struct Named<'a, T>(&'a str, &'a T);
    impl<T: Serialize> Serialize for Named<'_, T> {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_map([(self.0, self.1)])
        }
    }
    Answer::json(&Named(name, content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_master_and_agent_name_pages() {
        for (path, page) in [
            ("slaves", Page::Slaves),
            ("master/slaves", Page::Slaves),
            ("state", Page::State),
            ("master/state", Page::State),
            ("slave(1)/state", Page::AgentState),
            ("master/state-summary", Page::StateSummary),
            ("containers", Page::Containers),
            ("slave(1)/monitor/statistics", Page::Statistics),
            ("files/read", Page::Read),
            ("files/read.json", Page::Unknown),
            ("slave(1)/files/read", Page::Unknown),
            ("master/nope", Page::Unknown),
        ] {
            let segments: Vec<&str> = path.split('/').collect();
            assert_eq!(Page::of(segments[0], &segments[1..]), Some(page), "{path}");
        }
        assert_eq!(Page::of("nope", &[]), None);
        assert_eq!(Page::of("state", &["x"]), None);
    }
}
