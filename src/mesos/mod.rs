//! The part of Mesos' HTTP API through which a task's output is read: which agent, which sandbox, which bytes.
//!
//! `paas engine` answers the same requests, so that output is read in one way in both shapes.

use std::time::Duration;

use reqwest::{StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::model::Secret;

/// An agent's state may be large, and a busy agent slow.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);

/// A Mesos master, and through it its agents.
#[derive(Debug, Clone)]
pub struct Mesos {
    http: reqwest::Client,
    master: Url,
    /// `user:password`, sent to the master and to agents at the same address alone.
    credentials: Option<Secret>,
}

/// Where a task's files are: the agent, and the directory there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    agent: Url,
    directory: String,
}

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum MesosError {
    #[error("{0:?} is no URL of a Mesos master")]
    InvalidUrl(String),
    #[error("cannot reach Mesos at {url}")]
    Unreachable {
        url: String,
        #[source]
        cause: reqwest::Error,
    },
    #[error("Mesos at {url} answered {status}")]
    Refused { url: String, status: u16 },
    #[error("the answer of {url} is not Mesos'")]
    Malformed {
        url: String,
        #[source]
        cause: serde_json::Error,
    },
    #[error("Mesos knows no agent that ran `{0}`")]
    UnknownTask(String),
}

#[derive(Deserialize)]
struct Agents {
    slaves: Vec<Agent>,
}

#[derive(Deserialize)]
struct Agent {
    id: String,
    /// Such as `slave(1)@10.0.0.1:5051`.
    pid: String,
}

/// An agent's state, of which only executors matter; those of frameworks and tasks that have ended stand apart.
#[derive(Deserialize)]
struct AgentState {
    #[serde(default)]
    frameworks: Vec<Framework>,
    #[serde(default)]
    completed_frameworks: Vec<Framework>,
}

#[derive(Deserialize)]
struct Framework {
    #[serde(default)]
    executors: Vec<Executor>,
    #[serde(default)]
    completed_executors: Vec<Executor>,
}

#[derive(Deserialize)]
struct Executor {
    id: String,
    directory: String,
}

#[derive(Deserialize)]
struct Piece {
    data: String,
    offset: u64,
}

impl AgentState {
    /// A command task's executor has the task's id.
    fn directory(self, task: &str) -> Option<String> {
        let frameworks = self.frameworks.into_iter().chain(self.completed_frameworks);
        let mut executors =
            frameworks.flat_map(|framework| framework.executors.into_iter().chain(framework.completed_executors));
        executors.find(|executor| executor.id == task).map(|executor| executor.directory)
    }
}

impl Agent {
    /// `slave(1)@10.0.0.1:5051` listens at `http://10.0.0.1:5051` and answers below `/slave(1)`.
    fn urls(&self, scheme: &str) -> Option<(Url, Url)> {
        let (process, address) = self.pid.split_once('@')?;
        let agent = Url::parse(&format!("{scheme}://{address}/")).ok()?;
        let state = agent.join(&format!("{process}/state")).ok()?;
        Some((agent, state))
    }
}

impl Mesos {
    /// The master at `url`; proxies of the environment are not used.
    pub fn new(url: &str, credentials: Option<Secret>) -> Result<Self, MesosError> {
        let invalid = || MesosError::InvalidUrl(url.chars().take(200).collect());
        let master = Url::parse(url).map_err(|_| invalid())?;
        if !matches!(master.scheme(), "http" | "https") || !master.has_host() {
            return Err(invalid());
        }
        // The error says that another provider is installed already, which will do as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(ANSWER_PATIENCE)
            .build()
            .expect("a client without certificates of its own is always made");
        Ok(Self { http, master, credentials })
    }

    /// The sandbox of a task; on `agent` if that is known, else wherever it is found.
    pub async fn sandbox(&self, task: &str, agent: Option<&str>) -> Result<Sandbox, MesosError> {
        let slaves = join(&self.master, "/master/slaves")?;
        let agents: Agents = self.get(slaves).await?;
        let candidates = agents.slaves.into_iter().filter(|candidate| agent.is_none_or(|id| candidate.id == id));
        for candidate in candidates {
            let Some((agent, state)) = candidate.urls(self.master.scheme()) else { continue };
            if let Some(directory) = self.get::<AgentState>(state).await?.directory(task) {
                return Ok(Sandbox { agent, directory });
            }
        }
        Err(MesosError::UnknownTask(task.to_owned()))
    }

    /// At most the last `bytes` of a file of the sandbox; nothing when there is no such file.
    pub async fn tail(&self, sandbox: &Sandbox, file: &str, bytes: u64) -> Result<String, MesosError> {
        let path = format!("{}/{file}", sandbox.directory);
        let url = |query: &[(&str, &str)]| {
            let mut url = join(&sandbox.agent, "/files/read")?;
            url.query_pairs_mut().append_pair("path", &path).extend_pairs(query);
            Ok::<_, MesosError>(url)
        };
        // Offset -1 asks for the size.
        let size = match self.get::<Piece>(url(&[("offset", "-1")])?).await {
            Err(MesosError::Refused { status: 404, .. }) => return Ok(String::new()),
            answer => answer?.offset,
        };
        let (offset, length) = (size.saturating_sub(bytes).to_string(), bytes.to_string());
        Ok(self.get::<Piece>(url(&[("offset", &offset), ("length", &length)])?).await?.data)
    }

    async fn get<T: DeserializeOwned>(&self, url: Url) -> Result<T, MesosError> {
        let unreachable =
            |cause: reqwest::Error| MesosError::Unreachable { url: place(&url), cause: cause.without_url() };
        let mut request = self.http.get(url.clone());
        if url.origin() == self.master.origin()
            && let Some((user, password)) = self.credentials.as_ref().and_then(|both| both.reveal().split_once(':'))
        {
            request = request.basic_auth(user, Some(password));
        }
        let answer = request.send().await.map_err(unreachable)?;
        if answer.status() != StatusCode::OK {
            return Err(MesosError::Refused { url: place(&url), status: answer.status().as_u16() });
        }
        let body = answer.bytes().await.map_err(unreachable)?;
        serde_json::from_slice(&body).map_err(|cause| MesosError::Malformed { url: place(&url), cause })
    }
}

/// For messages: without the query, which is long.
fn place(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

fn join(base: &Url, path: &str) -> Result<Url, MesosError> {
    base.join(path).map_err(|_| MesosError::InvalidUrl(base.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agents_process_id_tells_its_addresses() {
        let agent = Agent { id: "S0".to_owned(), pid: "slave(1)@10.0.0.1:5051".to_owned() };
        let (agent, state) = agent.urls("http").unwrap();
        assert_eq!(agent.as_str(), "http://10.0.0.1:5051/");
        assert_eq!(state.as_str(), "http://10.0.0.1:5051/slave(1)/state");
        assert!(Agent { id: "S0".to_owned(), pid: "nonsense".to_owned() }.urls("http").is_none());
    }

    #[test]
    fn a_tasks_directory_is_found_also_when_it_has_ended() {
        let state = |place: &str| {
            let executor = serde_json::json!([{"id": "web1", "directory": "/sandbox/web1", "tasks": []}]);
            serde_json::from_value::<AgentState>(serde_json::json!({"frameworks": [{place: executor}]})).unwrap()
        };
        for place in ["executors", "completed_executors"] {
            assert_eq!(state(place).directory("web1").as_deref(), Some("/sandbox/web1"));
            assert_eq!(state(place).directory("web2"), None);
        }
    }

    #[test]
    fn a_master_has_an_http_address() {
        assert!(Mesos::new("http://10.0.0.1:5050", None).is_ok());
        for bad in ["", "zk://10.0.0.1:2181/mesos", "10.0.0.1:5050"] {
            assert!(Mesos::new(bad, None).is_err(), "{bad}");
        }
    }
}
