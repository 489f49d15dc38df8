//! Ending a platform from outside.

use std::io;
use std::time::Duration;

use super::process::Process;
use super::{presence, root_engine, sshd, up};
use crate::docker::{Docker, DockerError, labels};
use crate::settings::Settings;

/// `paas up` ends sshd and then the engines, each with its own patience; this is longer than both together.
const PATIENCE: Duration = Duration::from_mins(1);

/// What was ended.
#[derive(Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Down {
    /// A `paas up` was running.
    pub platform: bool,
    /// Processes that an earlier, killed `paas up` had left.
    pub leftovers: usize,
    /// Containers removed; only where the apps were to end too.
    pub containers: usize,
    pub networks: usize,
}

/// Why something still runs.
#[derive(Debug, thiserror::Error)]
pub enum DownError {
    #[error("cannot tell which process serves this platform")]
    Presence(#[source] io::Error),
    #[error("process {pid} of the platform could not be ended")]
    Process {
        pid: i32,
        #[source]
        cause: io::Error,
    },
    #[error("what an earlier `paas up` left running could not be ended")]
    Leftovers(#[source] io::Error),
    #[error("the apps could not be ended")]
    Apps(#[from] DockerError),
}

impl Down {
    /// Ends the `paas up` of this home, and what a killed one has left; `apps` too, by the label of everything of ours.
    /// Apps that are ended so are still asked for: the next `paas up` starts them again.
    pub async fn of(settings: &Settings, apps: bool) -> Result<Self, DownError> {
        let mut down = Self::default();
        let home = &settings.home;
        if let Some(process) = presence::serving(home).map_err(DownError::Presence)? {
            let cannot = |cause| DownError::Process { pid: process.pid, cause };
            process.end(PATIENCE).await.map_err(cannot)?;
            down.platform = true;
        }
        down.leftovers = up::end_leftovers(settings).await.map_err(DownError::Leftovers)?;
        let left = |words: &[String]| root_engine::is_a_tenants(words, home) || sshd::is_a_session(words, home);
        for process in Process::with_arguments(left) {
            process.end(PATIENCE).await.map_err(DownError::Leftovers)?;
            down.leftovers += 1;
        }
        if apps {
            let docker = Docker::at(crate::docker::Socket(settings.docker.socket.clone()));
            let label = home.path().display().to_string();
            let removed = docker.sweep(&[(labels::HOME, label.as_str())]).await?;
            (down.containers, down.networks) = (removed.containers, removed.networks);
        }
        Ok(down)
    }
}
