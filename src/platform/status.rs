//! What of a platform serves now, as somebody sees who asks each part.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::presence;
use crate::accounts::tenants;
use crate::docker::{Docker, Socket};
use crate::marathon::Client;
use crate::settings::Settings;
use crate::store::Store;

/// A part that has not answered within this time does not serve.
const PATIENCE: Duration = Duration::from_secs(3);

/// Everything that was asked.
#[derive(Debug, Serialize)]
pub struct Status {
    /// All parts serve.
    pub serves: bool,
    /// The process of `paas up`.
    pub process: Option<i32>,
    pub parts: Vec<PartStatus>,
}

/// One part's answer.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct PartStatus {
    pub part: String,
    pub address: String,
    pub serves: bool,
    /// Why it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl PartStatus {
    fn new(part: impl Into<String>, address: impl Into<String>, answer: Result<(), String>) -> Self {
        Self { part: part.into(), address: address.into(), serves: answer.is_ok(), reason: answer.err() }
    }
}

impl Status {
    /// Asks all parts. `store` is none when there is no store yet, and so no tenants.
    pub async fn of(settings: &Settings, store: Option<&dyn Store>) -> Self {
        let mut parts = vec![docker(settings).await];
        let root = root(settings);
        parts.push(engine(settings, root.as_ref()).await);
        parts.push(sshd(SocketAddr::new(settings.ssh.listen, settings.ssh.port)).await);
        if let (Some(store), Ok(root)) = (store, &root) {
            parts.extend(each_tenant(store, root).await);
        }
        let process = presence::serving(&settings.home).ok().flatten().map(|process| process.pid);
        Self { serves: parts.iter().all(|part| part.serves), process, parts }
    }
}

/// What `work` answers in good time, as text if it is a failure: each link says one thing.
async fn answered<E: std::error::Error>(work: impl Future<Output = Result<(), E>>) -> Result<(), String> {
    match tokio::time::timeout(PATIENCE, work).await {
        Err(_) => Err("no answer".to_owned()),
        Ok(answer) => answer.map_err(|error| reason(&error)),
    }
}

/// The innermost cause says most.
fn reason(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}

async fn docker(settings: &Settings) -> PartStatus {
    let socket = Socket(settings.docker.socket.clone());
    let address = socket.0.display().to_string();
    let answer = answered(Docker::at(socket).ping()).await;
    PartStatus::new("docker", address, answer)
}

fn root(settings: &Settings) -> Result<Client, String> {
    let credentials = settings.root_credentials().map_err(|error| reason(&error))?;
    Client::new(&settings.marathon.url, Some(credentials)).map_err(|error| reason(&error))
}

async fn engine(settings: &Settings, root: Result<&Client, &String>) -> PartStatus {
    let answer = match root {
        Ok(root) => answered(root.ping()).await,
        Err(reason) => Err(reason.clone()),
    };
    PartStatus::new("root Marathon", &settings.marathon.url, answer)
}

/// It greets before anybody has said who they are.
async fn sshd(address: SocketAddr) -> PartStatus {
    const GREETING: [u8; 4] = *b"SSH-";
    let greeted = async {
        let mut found = [0; 4];
        TcpStream::connect(address).await?.read_exact(&mut found).await?;
        if found == GREETING { Ok(()) } else { Err(std::io::Error::other("something else than sshd answers there")) }
    };
    PartStatus::new("sshd", address.to_string(), answered(greeted).await)
}

async fn each_tenant(store: &dyn Store, root: &Client) -> Vec<PartStatus> {
    let all = match tenants::list(store).await {
        Ok(all) => all,
        Err(error) => return vec![PartStatus::new("tenants", "-", Err(reason(&error)))],
    };
    let mut parts = Vec::new();
    for tenant in all {
        let mut address = "-".to_owned();
        let found = async {
            address = tenants::marathon_of(store, root, &tenant.name).await?.url;
            Ok::<(), tenants::TenantError>(())
        };
        let answer = answered(found).await;
        parts.push(PartStatus::new(format!("tenant {}", tenant.name), address, answer));
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_platform_that_is_not_there_does_not_serve_and_each_part_says_why() {
        let directory = tempfile::tempdir().unwrap();
        let mut settings = Settings::load(Some(directory.path().to_owned()), std::iter::empty()).unwrap();
        settings.docker.socket = directory.path().join("docker.sock");
        // Nothing listens on a port that was just free.
        settings.ssh.port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let status = Status::of(&settings, None).await;
        assert!(!status.serves && status.process.is_none());
        assert_eq!(status.parts.len(), 3);
        assert!(status.parts.iter().all(|part| !part.serves && part.reason.is_some()), "{status:?}");
    }

    #[tokio::test]
    async fn only_an_sshd_is_taken_for_one() {
        use tokio::io::AsyncWriteExt as _;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let greet = async |greeting: &[u8]| {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(greeting).await.unwrap();
        };
        let (part, ()) = tokio::join!(sshd(address), greet(b"SSH-2.0-x\r\n"));
        assert!(part.serves);
        let (part, ()) = tokio::join!(sshd(address), greet(b"HTTP/1.0 400 no\r\n"));
        assert_eq!(part.reason.as_deref(), Some("something else than sshd answers there"));
    }
}
