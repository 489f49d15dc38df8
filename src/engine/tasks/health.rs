//! Probing: asks tasks whether they serve.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::process::Child;

use super::super::Moment;
use super::super::health::{self, Outcome};
use super::super::instance::{Handle, Ports, TaskId};
use super::super::ports::{is_on_host_network, mappings};
use super::account::Account;
use super::commands::end_group;
use super::{Report, Tasks};
use crate::docker::Ran;
use crate::marathon::{App, HealthCheck, HealthProtocol, IpProtocol};
use crate::model::in_full;

/// A task to be asked.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    pub(super) task: TaskId,
    pub(super) app: Arc<App>,
    pub(super) started: Moment,
    /// What each of its ports listens on.
    pub(super) listen: Vec<u16>,
    pub(super) handle: Handle,
    /// A container's own: Docker's proxy takes connections on the host's port before the program listens.
    pub(super) address: IpAddr,
}

/// Redirects are an answer, certificates are not looked at, and no proxy is between the engine and its tasks.
pub(super) static CLIENT: LazyLock<Option<reqwest::Client>> = LazyLock::new(|| {
    // Another part of the program may have done it, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .tls_danger_accept_invalid_certs(true)
        .no_proxy()
        .pool_max_idle_per_host(0)
        .build();
    client.inspect_err(|error| tracing::error!(%error, "HTTP checks cannot be made")).ok()
});

impl Tasks {
    /// Asks until it is stopped: often until the task has served, then at the check's interval.
    pub(super) async fn check_health(&self, subject: &Subject, index: usize) {
        let Some(check) = subject.app.health_checks.get(index) else { return };
        let up_for = || self.setting().clock.now().since(subject.started);
        tokio::time::sleep(health::delay(check).saturating_sub(up_for())).await;
        let mut has_served = false;
        loop {
            let outcome = self.probe(subject, check).await;
            has_served |= outcome.is_ok();
            self.report(Report::Probed { task: subject.task.clone(), check: index, outcome });
            tokio::time::sleep(health::pause(check, has_served, up_for())).await;
        }
    }

    async fn probe(&self, subject: &Subject, check: &HealthCheck) -> Outcome {
        let patience = Duration::from_secs(check.timeout_seconds.max(1));
        if check.protocol == HealthProtocol::Command {
            return self.succeeds(subject, check, patience).await;
        }
        let asked = async {
            let target = SocketAddr::new(self.address(subject, check).await?, port(subject, check)?);
            match check.protocol {
                HealthProtocol::Http | HealthProtocol::MesosHttp => answers("http", target, check).await,
                HealthProtocol::Https | HealthProtocol::MesosHttps => answers("https", target, check).await,
                _ => connects(target).await,
            }
        };
        tokio::time::timeout(patience, asked).await.unwrap_or_else(|_| Err(too_late(patience)))
    }

    /// Where a task is asked: a container at its own address, all that is on the host's network there.
    async fn address(&self, subject: &Subject, check: &HealthCheck) -> Result<IpAddr, String> {
        let container = match &subject.handle {
            Handle::Container(id) if !is_on_host_network(&subject.app) => Some(id),
            _ => None,
        };
        match (check.ip_protocol, container) {
            (IpProtocol::V4, None) => Ok(Ipv4Addr::LOCALHOST.into()),
            (IpProtocol::V6, None) => Ok(Ipv6Addr::LOCALHOST.into()),
            (IpProtocol::V4, Some(_)) => Ok(subject.address),
            (IpProtocol::V6, Some(id)) => match self.setting().docker.container_address_v6(id).await {
                Ok(Some(address)) => Ok(address.into()),
                Ok(None) => Err("the container has no IPv6 address: its network must have IPv6 enabled".to_owned()),
                Err(error) => Err(in_full(&error)),
            },
        }
    }

    /// Runs the check's command where the task runs, with all that the task finds there.
    async fn succeeds(&self, subject: &Subject, check: &HealthCheck, patience: Duration) -> Outcome {
        let command = check.command.as_ref().map(|command| command.value.clone()).unwrap_or_default();
        let argv = vec!["/bin/sh".to_owned(), "-c".to_owned(), command];
        let status = self.run_with(subject, argv, patience).await?;
        if status == 0 { Ok(()) } else { Err(format!("the command exited with status {status}")) }
    }

    /// Runs a program where the task runs, and answers its status.
    pub(super) async fn run_with(
        &self,
        subject: &Subject,
        argv: Vec<String>,
        patience: Duration,
    ) -> Result<i64, String> {
        match &subject.handle {
            Handle::Container(id) => self.run_inside(id, argv, patience).await,
            Handle::Process { .. } => self.run_beside(subject, &argv, patience).await,
        }
    }

    async fn run_inside(&self, id: &str, argv: Vec<String>, patience: Duration) -> Result<i64, String> {
        match self.setting().docker.run_in_container(id, argv, patience).await.map_err(|error| in_full(&error))? {
            Ran::Exited(status) => Ok(status),
            Ran::Runs(pid) => {
                // Docker has no way to end it; the machine has, if the number is one of this machine's.
                if let Some(pid) = pid.filter(|pid| is_of_container(*pid, id)) {
                    end_group(pid);
                }
                Err(too_late(patience))
            }
        }
    }

    async fn run_beside(&self, subject: &Subject, argv: &[String], patience: Duration) -> Result<i64, String> {
        let ports = Ports { host: subject.listen.clone(), listen: subject.listen.clone() };
        let account = Account::of(&subject.app).map_err(|error| error.to_string())?;
        let mut command = self.command(ENV, argv, &subject.task, &subject.app, &ports, account);
        command.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let mut running = Group(Some(command.spawn().map_err(|error| error.to_string())?));
        match tokio::time::timeout(patience, running.ended()).await {
            Ok(ended) => Ok(i64::from(ended.map_err(|error| error.to_string())?.code().unwrap_or(-1))),
            Err(_) => Err(too_late(patience)),
        }
    }
}

/// Becomes the program that is named after it.
const ENV: &str = "/usr/bin/env";

/// A process that leads a group, which ends with its owner unless it has ended by itself.
struct Group(Option<Child>);

impl Group {
    async fn ended(&mut self) -> std::io::Result<ExitStatus> {
        let Some(child) = &mut self.0 else { return Err(std::io::ErrorKind::NotFound.into()) };
        let status = child.wait().await?;
        self.0 = None;
        Ok(status)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0.as_ref().and_then(Child::id).and_then(|pid| i32::try_from(pid).ok()) {
            end_group(pid);
        }
    }
}

fn too_late(patience: Duration) -> String {
    format!("no answer within {} s", patience.as_secs())
}

/// Whether a process runs in that container.
fn is_of_container(pid: i32, id: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|groups| groups.contains(id))
}

pub(super) async fn connects(target: SocketAddr) -> Outcome {
    TcpStream::connect(target).await.map(|_| ()).map_err(|error| error.to_string())
}

/// 200 to 399 is good.
async fn answers(scheme: &str, target: SocketAddr, check: &HealthCheck) -> Outcome {
    let path = check.path.as_deref().unwrap_or("/");
    let slash = if path.starts_with('/') { "" } else { "/" };
    let Some(client) = CLIENT.as_ref() else { return Err("HTTP checks cannot be made".to_owned()) };
    let answer = client.get(format!("{scheme}://{target}{slash}{path}")).send().await;
    let status = answer.map_err(|error| no_answer(&error))?.status();
    if (200..400).contains(&status.as_u16()) { Ok(()) } else { Err(format!("the answer was {status}")) }
}

/// Why there was no answer. What the client itself says holds the URL, which is known.
pub(super) fn no_answer(error: &reqwest::Error) -> String {
    std::error::Error::source(error)
        .map_or_else(|| "no answer".to_owned(), |cause| format!("no answer: {}", in_full(cause)))
}

/// The port a check asks at: its own, or the one of its index.
fn port(subject: &Subject, check: &HealthCheck) -> Result<u16, String> {
    if let Some(port) = check.port {
        return Ok(port_inside(subject, check, port));
    }
    let by_index = check.port_index.and_then(|index| subject.listen.get(usize::try_from(index).ok()?).copied());
    by_index.ok_or_else(|| "the check names no port of the app".to_owned())
}

/// Marathon's own checks name a port of the host; behind that one the container has perhaps another.
fn port_inside(subject: &Subject, check: &HealthCheck, port: u16) -> u16 {
    let mut mapped = mappings(&subject.app).iter().zip(&subject.listen);
    let behind = mapped.find(|(mapping, _)| mapping.host_port == Some(port) && health::is_marathons(check.protocol));
    behind.map_or(port, |(_, listen)| *listen)
}

#[cfg(test)]
mod tests {
    use super::super::super::samples::bridge;
    use super::*;

    fn subject(listen: Vec<u16>) -> Subject {
        Subject {
            task: "a.instance-0ec8a2b0-e722-11f1-aa61-0242189058f9._app.1".parse().unwrap(),
            app: Arc::new(bridge("/a", &[(0, Some(0)), (8080, Some(0))])),
            started: Moment::from_millis(0),
            listen,
            handle: Handle::Container("c".into()),
            address: [172, 17, 0, 2].into(),
        }
    }

    #[test]
    fn a_containers_own_port_is_asked() {
        let mut subject = subject(vec![31000, 8080]);
        let check = HealthCheck { port_index: Some(1), ..HealthCheck::new(HealthProtocol::MesosTcp) };
        assert_eq!(port(&subject, &check), Ok(8080));
        let check = HealthCheck { port: Some(9), ..check };
        assert_eq!(port(&subject, &check), Ok(9));
        assert!(port(&subject, &HealthCheck::new(HealthProtocol::Tcp)).is_err());

        subject.app = Arc::new(bridge("/a", &[(0, Some(0)), (8080, Some(80))]));
        let own = HealthCheck { port: Some(80), ..HealthCheck::new(HealthProtocol::Http) };
        assert_eq!(port(&subject, &own), Ok(8080));
        let agents = HealthCheck { port: Some(80), ..HealthCheck::new(HealthProtocol::MesosHttp) };
        assert_eq!(port(&subject, &agents), Ok(80));
    }

    #[tokio::test]
    async fn a_redirect_is_good_and_a_server_error_is_not() {
        for (status, good) in [("302 Found", true), ("204 No Content", true), ("500 Oops", false), ("404 No", false)] {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let answer = format!("HTTP/1.1 {status}\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n");
            let server = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut asked = [0; 1024];
                tokio::io::AsyncReadExt::read(&mut stream, &mut asked).await.unwrap();
                tokio::io::AsyncWriteExt::write_all(&mut stream, answer.as_bytes()).await.unwrap();
            });
            let check = HealthCheck::new(HealthProtocol::Http);
            let target = SocketAddr::from(([127, 0, 0, 1], port));
            assert_eq!(answers("http", target, &check).await.is_ok(), good, "{status}");
            server.await.unwrap();
        }
    }
}
