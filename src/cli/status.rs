//! `paas status`: what of the platform runs.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::Serialize;

use crate::docker::{Docker, Socket};
use crate::settings::Settings;
use crate::ui::{Answer, Exit, Failure, Table, Ui};

/// Show what runs: Docker, the root engine, sshd
#[derive(Debug, clap::Args)]
pub(super) struct Status {}

#[derive(Debug, Serialize)]
struct Part {
    name: &'static str,
    address: String,
    answers: bool,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Parts(Vec<Part>);

impl Answer for Parts {
    fn text(&self) -> String {
        let mut table = Table::headed(["PART", "ADDRESS", "STATE"]);
        for part in &self.0 {
            table.row([part.name, &part.address, if part.answers { "answers" } else { "does not answer" }]);
        }
        table.to_string()
    }
}

impl Status {
    pub(super) async fn run(self, settings: &Settings, ui: &mut Ui) -> anyhow::Result<()> {
        let socket = &settings.docker.socket;
        let docker = Docker::at(Socket(socket.clone()))?.ping().await.is_ok();
        let parts = Parts(vec![
            Part { name: "docker", address: socket.display().to_string(), answers: docker },
            accepting("root engine", settings.engine.listen, settings.engine.port).await,
            accepting("sshd", settings.ssh.listen, settings.ssh.port).await,
        ]);
        ui.answer(&parts)?;
        if parts.0.iter().all(|part| part.answers) {
            return Ok(());
        }
        Err(Failure::new(Exit::Unreachable, "not all of the platform answers").advise("`paas up` starts it").into())
    }
}

async fn accepting(name: &'static str, listen: IpAddr, port: u16) -> Part {
    let address = SocketAddr::new(listen, port);
    let connected = tokio::time::timeout(Duration::from_secs(2), tokio::net::TcpStream::connect(address)).await;
    Part { name, address: address.to_string(), answers: matches!(connected, Ok(Ok(_))) }
}
