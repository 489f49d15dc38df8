//! Probing: asks tasks whether they serve.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::process::Command;

use super::super::Moment;
use super::super::health::{self, Outcome};
use super::super::instance::{Handle, TaskId};
use super::super::ports::is_on_host_network;
use super::{Report, Tasks};
use crate::marathon::{App, HealthCheck, HealthProtocol};

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
    /// Asks until it is stopped: at once, often until the task has served, then at the check's interval.
    pub(super) async fn check_health(&self, subject: &Subject, index: usize) {
        let Some(check) = subject.app.health_checks.get(index) else { return };
        let mut has_served = false;
        loop {
            let outcome = self.probe(subject, check).await;
            has_served |= outcome.is_ok();
            self.report(Report::Probed { task: subject.task.clone(), check: index, outcome });
            let up_for = self.setting().clock.now().since(subject.started);
            tokio::time::sleep(health::pause(check, has_served, up_for)).await;
        }
    }

    async fn probe(&self, subject: &Subject, check: &HealthCheck) -> Outcome {
        let patience = Duration::from_secs(check.timeout_seconds.max(1));
        let asked = async {
            match check.protocol {
                HealthProtocol::Tcp | HealthProtocol::MesosTcp => connects(target(subject, check)?).await,
                HealthProtocol::Http | HealthProtocol::MesosHttp => answers("http", subject, check).await,
                HealthProtocol::Https | HealthProtocol::MesosHttps => answers("https", subject, check).await,
                HealthProtocol::Command => self.succeeds(subject, check).await,
            }
        };
        let in_time = tokio::time::timeout(patience, asked).await;
        in_time.unwrap_or_else(|_| Err(format!("no answer within {} s", patience.as_secs())))
    }

    /// Runs the check's command where the task runs.
    async fn succeeds(&self, subject: &Subject, check: &HealthCheck) -> Outcome {
        let command = check.command.as_ref().map(|command| command.value.clone()).unwrap_or_default();
        let status = match &subject.handle {
            Handle::Container(id) => {
                let argv = ["/bin/sh", "-c", &command].map(str::to_owned).to_vec();
                let ran = self.setting().docker.run_in_container(id, argv).await;
                ran.map_err(|error| error.in_full())?
            }
            Handle::Process { .. } => {
                let sandbox = self.setting().sandboxes.sandbox(&subject.task);
                let ran = Command::new("/bin/sh")
                    .args(["-c", &command])
                    .env_clear()
                    .env("PATH", &self.setting().path)
                    .envs(self.check_environment(subject))
                    .current_dir(sandbox)
                    .stdin(std::process::Stdio::null())
                    .stdout(std::process::Stdio::null())
                    .stderr(std::process::Stdio::null())
                    .kill_on_drop(true)
                    .status()
                    .await;
                i64::from(ran.map_err(|error| error.to_string())?.code().unwrap_or(-1))
            }
        };
        if status == 0 { Ok(()) } else { Err(format!("the command exited with status {status}")) }
    }

    fn check_environment(&self, subject: &Subject) -> std::collections::BTreeMap<String, String> {
        let ports = super::super::instance::Ports { host: subject.listen.clone(), listen: subject.listen.clone() };
        let sandbox = self.setting().sandboxes.sandbox(&subject.task);
        let host = &self.setting().host;
        super::super::environment::of_task(&subject.app, &subject.task, &ports, host, &sandbox.to_string_lossy())
    }
}

async fn connects(target: SocketAddr) -> Outcome {
    TcpStream::connect(target).await.map(|_| ()).map_err(|error| error.to_string())
}

/// 200 to 399 is good.
async fn answers(scheme: &str, subject: &Subject, check: &HealthCheck) -> Outcome {
    let target = target(subject, check)?;
    let path = check.path.as_deref().unwrap_or("/");
    let slash = if path.starts_with('/') { "" } else { "/" };
    let Some(client) = CLIENT.as_ref() else { return Err("HTTP checks cannot be made".to_owned()) };
    let answer = client.get(format!("{scheme}://{target}{slash}{path}")).send().await;
    let status = answer.map_err(|error| in_full(&error))?.status();
    if (200..400).contains(&status.as_u16()) { Ok(()) } else { Err(format!("the answer was {status}")) }
}

pub(super) fn in_full(error: &reqwest::Error) -> String {
    let mut text = "no answer".to_owned();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Where a check asks: its own port, or the one of its index.
fn target(subject: &Subject, check: &HealthCheck) -> Result<SocketAddr, String> {
    let by_index = check.port_index.and_then(|index| subject.listen.get(usize::try_from(index).ok()?).copied());
    let port = check.port.or(by_index).ok_or("the check names no port of the app")?;
    let on_host = matches!(subject.handle, Handle::Process { .. }) || is_on_host_network(&subject.app);
    Ok(SocketAddr::new(if on_host { IpAddr::from([127, 0, 0, 1]) } else { subject.address }, port))
}

#[cfg(test)]
mod tests {
    use super::super::super::samples::bridge;
    use super::*;

    fn subject(listen: Vec<u16>, handle: Handle) -> Subject {
        Subject {
            task: "a.instance-0ec8a2b0-e722-11f1-aa61-0242189058f9._app.1".parse().unwrap(),
            app: Arc::new(bridge("/a", &[(0, Some(0)), (8080, Some(0))])),
            started: Moment::from_millis(0),
            listen,
            handle,
            address: [172, 17, 0, 2].into(),
        }
    }

    #[test]
    fn a_containers_own_address_is_asked() {
        let subject = subject(vec![31000, 8080], Handle::Container("c".into()));
        let check = HealthCheck { port_index: Some(1), ..HealthCheck::new(HealthProtocol::MesosTcp) };
        assert_eq!(target(&subject, &check).unwrap().to_string(), "172.17.0.2:8080");
        let check = HealthCheck { port: Some(9), ..check };
        assert_eq!(target(&subject, &check).unwrap().to_string(), "172.17.0.2:9");
        assert!(target(&subject, &HealthCheck::new(HealthProtocol::Tcp)).is_err());
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
            let mut subject = subject(vec![port], Handle::Process { pid: 1, started: 1 });
            subject.address = [127, 0, 0, 1].into();
            let check = HealthCheck { port_index: Some(0), ..HealthCheck::new(HealthProtocol::Http) };
            assert_eq!(answers("http", &subject, &check).await.is_ok(), good, "{status}");
            server.await.unwrap();
        }
    }
}
