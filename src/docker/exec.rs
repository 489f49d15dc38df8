//! Commands run in containers that run.

use std::time::Duration;

use bollard::exec::StartExecResults;
use bollard::models::ExecConfig;
use futures_util::StreamExt as _;

use super::{Docker, DockerError};

/// How a command in a container came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ran {
    Exited(i64),
    /// It still does. Its number on the host, if that is known; Docker itself cannot end it.
    Runs(Option<i32>),
}

impl Docker {
    /// Runs a command in a running container, with the container's own environment, for `patience` at most. What it
    /// writes is passed over.
    pub async fn run_in_container(&self, id: &str, argv: Vec<String>, patience: Duration) -> Result<Ran, DockerError> {
        let failed = |cause| self.failure(format!("run a command in the container {id:.12}"), cause);
        let config = ExecConfig {
            cmd: Some(argv),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..ExecConfig::default()
        };
        let api = self.api().await?;
        let exec = api.create_exec(id, config).await.map_err(failed)?.id;
        let running = async {
            if let StartExecResults::Attached { mut output, .. } = api.start_exec(&exec, None).await? {
                // Its output ends when it does.
                while output.next().await.is_some() {}
            }
            Ok(())
        };
        let in_time = tokio::time::timeout(patience, running).await;
        in_time.unwrap_or(Ok(())).map_err(failed)?;
        let found = api.inspect_exec(&exec).await.map_err(failed)?;
        if found.running != Some(true) {
            return Ok(Ran::Exited(found.exit_code.unwrap_or(-1)));
        }
        Ok(Ran::Runs(found.pid.and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 0)))
    }
}
