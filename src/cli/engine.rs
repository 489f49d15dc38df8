//! `paas engine`: a Marathon for one machine, as a process.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use crate::docker::Socket;
use crate::engine::{self, EngineError};
use crate::model::{Period, Secret};
use crate::ui::{Answer, Exit, Failure, Ui, log_to_stderr};

/// Run apps in this machine's Docker and answer Marathon's REST API; runs until SIGTERM, tasks keep running then
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Credentials, as user:password, are taken from MESOSPHERE_HTTP_CREDENTIALS and then asked of every request.
Without a port in --listen, PORT0 of the environment is taken, else 8080.")]
pub(super) struct Engine {
    /// Where to listen
    #[arg(long, value_name = "ADDR[:PORT]", default_value = "127.0.0.1")]
    listen: Listen,
    /// Where the state and the sandboxes of tasks are kept
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    state: PathBuf,
    /// Let apps be processes of this machine, with this engine's user
    #[arg(long)]
    allow_commands: bool,
    /// End the processes of apps with the engine; its next start runs them again
    #[arg(long)]
    end_commands_on_exit: bool,
    /// The bridge network of the containers, made if missing [default: Docker's own]
    #[arg(long, value_name = "NAME")]
    network: Option<String>,
    /// The address at which ports of apps are published
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    address: IpAddr,
    /// The ports that apps may be given
    #[arg(long, value_name = "FIRST-LAST", default_value = "31000-32999")]
    ports: PortRange,
    /// The processors that apps may have in all [default: the machine's]
    #[arg(long, value_name = "NUMBER")]
    cpus: Option<Amount>,
    /// The memory that apps may have in all, in MiB [default: the machine's]
    #[arg(long, value_name = "MIB")]
    mem: Option<Amount>,
    /// The disk space that apps may ask for in all, in MiB [default: that of the file system of the state]
    #[arg(long, value_name = "MIB")]
    disk: Option<Amount>,
    /// Docker's socket
    #[arg(long, value_name = "SOCKET", default_value = "/var/run/docker.sock", value_hint = clap::ValueHint::FilePath)]
    docker: PathBuf,
    /// How many requests are answered at the same time; those above get 503 [default: any number]
    #[arg(long, value_name = "N")]
    max_concurrent_requests: Option<NonZeroU16>,
    /// Let web pages of that origin read answers; `*` is any
    #[arg(long, value_name = "ORIGIN", value_delimiter = ',')]
    access_control_allow_origin: Vec<String>,
    /// Give up launches of tasks that take longer, and try again
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = clap::value_parser!(u32).range(1..))]
    task_launch_timeout: u32,
    /// How long the files of a task are kept after it ended
    #[arg(long, value_name = "DURATION", default_value = "24h")]
    keep_sandboxes: Period,
    /// A label for every container and network that is made
    #[arg(long = "label", value_name = "K=V")]
    labels: Vec<Label>,
}

/// Where to listen; the port may come from elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Listen {
    ip: IpAddr,
    port: Option<u16>,
}

impl FromStr for Listen {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let address = text.parse::<SocketAddr>().map(|found| Self { ip: found.ip(), port: Some(found.port()) });
        let alone = |_| text.parse().map(|ip| Self { ip, port: None });
        address.or_else(alone).map_err(|_| "an IP address, perhaps with a port: 127.0.0.1:8080".to_owned())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct PortRange(RangeInclusive<u16>);

impl FromStr for PortRange {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bounds = text.split_once('-').and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
        match bounds {
            Some((first, last)) if 0 < first && first <= last => Ok(Self(first..=last)),
            _ => Err("two ports, the smaller first: 31000-32999".to_owned()),
        }
    }
}

/// An amount of something there is, or nothing of it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Amount(f64);

impl FromStr for Amount {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let amount = text.parse().ok().filter(|amount: &f64| amount.is_finite() && *amount >= 0.0);
        amount.map(Self).ok_or_else(|| "a number that is not negative: 2, 0.5, 4096".to_owned())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Label(String, String);

impl FromStr for Label {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('=').filter(|(key, _)| !key.is_empty());
        parts.map(|(key, value)| Self(key.to_owned(), value.to_owned())).ok_or_else(|| "a key=value pair".to_owned())
    }
}

/// Said once requests are answered.
#[derive(Debug, Serialize)]
struct Listening {
    url: String,
}

impl Answer for Listening {
    fn text(&self) -> String {
        format!("listening on {}", self.url)
    }
}

/// The error, with the status by which Marathon tells its like.
fn telling(error: EngineError) -> anyhow::Error {
    match &error {
        EngineError::Listen { cause, .. } if cause.kind() == io::ErrorKind::AddrInUse => {
            let failure = Failure::new(Exit::PortTaken, "another program listens there already").because(error);
            failure.advise("end that program, or choose another `--listen`").into()
        }
        _ => error.into(),
    }
}

impl Engine {
    pub(super) async fn run(self, vars: &[(String, String)], ui: &mut Ui) -> anyhow::Result<()> {
        log_to_stderr();
        let mut terminated = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
        let mut interrupted = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
        let engine = engine::Engine::open(self.options(vars)?).await.map_err(telling)?;
        ui.answer(&Listening { url: format!("http://{}", engine.address()) })?;
        let ended = async move {
            tokio::select! {
                _ = terminated.recv() => {}
                _ = interrupted.recv() => {}
            }
        };
        match engine.run(ended).await {
            Err(EngineError::Abdicated) => {
                let failure = Failure::new(Exit::Abdicated, EngineError::Abdicated);
                Err(failure.advise("start it again, or let whatever supervises it do that").into())
            }
            other => Ok(other?),
        }
    }

    fn options(self, vars: &[(String, String)]) -> anyhow::Result<engine::Options> {
        let var = |name: &str| vars.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
        let port = match (self.listen.port, var("PORT0")) {
            (Some(port), _) => port,
            (None, Some(text)) => text.parse().map_err(|_| usage(format!("PORT0 is {text:?}, which is no port")))?,
            (None, None) => DEFAULT_PORT,
        };
        Ok(engine::Options {
            listen: SocketAddr::new(self.listen.ip, port),
            state: self.state,
            allow_commands: self.allow_commands,
            end_commands_on_exit: self.end_commands_on_exit,
            network: self.network,
            address: self.address,
            ports: self.ports.0,
            share: engine::Share {
                cpus: self.cpus.map(|Amount(cpus)| cpus),
                mem: self.mem.map(|Amount(mem)| mem),
                disk: self.disk.map(|Amount(disk)| disk),
            },
            docker: Socket(self.docker),
            task_launch_timeout: Duration::from_secs(u64::from(self.task_launch_timeout)),
            labels: self.labels.into_iter().map(|Label(key, value)| (key, value)).collect::<HashMap<_, _>>(),
            credentials: credentials(var("MESOSPHERE_HTTP_CREDENTIALS"))?,
            max_concurrent_requests: self.max_concurrent_requests.map(|limit| limit.get().into()),
            access_control_allow_origin: self.access_control_allow_origin,
            keep_sandboxes: self.keep_sandboxes.get(),
            path: var("PATH").unwrap_or("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").to_owned(),
        })
    }
}

const DEFAULT_PORT: u16 = 8080;

/// What is asked of every request. A Marathon with malformed credentials is open to all; this one does not start.
fn credentials(text: Option<&str>) -> anyhow::Result<Option<Secret>> {
    match text {
        None | Some("") => Ok(None),
        Some(text) if text.split_once(':').is_some_and(|(user, password)| !user.is_empty() && !password.is_empty()) => {
            Ok(Some(Secret::new(text)))
        }
        Some(_) => Err(usage("MESOSPHERE_HTTP_CREDENTIALS is not of the form user:password")),
    }
}

fn usage(what: impl std::fmt::Display) -> anyhow::Error {
    Failure::new(Exit::Usage, what).into()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn an_address_may_come_with_a_port() {
        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert_eq!("127.0.0.1".parse(), Ok(Listen { ip: local, port: None }));
        assert_eq!("127.0.0.1:0".parse(), Ok(Listen { ip: local, port: Some(0) }));
        assert!("localhost".parse::<Listen>().is_err());
    }

    #[test]
    fn ports_and_labels_are_checked() {
        assert_eq!("31000-32999".parse(), Ok(PortRange(31000..=32999)));
        for bad in ["31000", "5-4", "0-9", "a-b", "1-70000"] {
            assert!(bad.parse::<PortRange>().is_err(), "{bad}");
        }
        assert_eq!("a=b=c".parse(), Ok(Label("a".into(), "b=c".into())));
        assert!("=b".parse::<Label>().is_err());
    }

    #[test]
    fn amounts_are_not_negative() {
        assert_eq!("0.5".parse(), Ok(Amount(0.5)));
        for bad in ["-1", "NaN", "inf", "2G", ""] {
            assert!(bad.parse::<Amount>().is_err(), "{bad}");
        }
    }

    #[test]
    fn malformed_credentials_leave_no_open_engine() {
        assert!(credentials(None).unwrap().is_none());
        assert!(credentials(Some("user:pass:word")).unwrap().is_some());
        for bad in ["user", ":password", "user:"] {
            assert!(credentials(Some(bad)).is_err(), "{bad}");
        }
    }
}
