//! Docker, as this project uses it. The only room that names bollard's types.

mod builds;
mod containers;
mod copies;
mod dockerfile_builds;
mod exec;
mod images;
mod import;
mod labelled;
pub mod labels;
mod logs;
mod networks;
mod registry;
mod run_options;
mod transport;
mod usage;
mod version;
mod vigil;
mod volumes;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OnceCell;

pub use builds::{BuildContainer, BuildContainerSpec, Job};
pub use containers::{
    ContainerDied, ContainerEnd, ContainerOutput, ContainerState, InstanceNetwork, InstanceSpec, PublishedPort,
    SeenContainer,
};
pub use copies::archive_of;
pub use dockerfile_builds::{BuildPiece, DockerfileBuild};
pub use exec::Ran;
pub use images::{HealthTest, Image, ImageHealth, PushImageError, Tag};
pub use import::{Layer, LayerError};
pub use labelled::{Labels, ListedImage, ListedVolume, Removed};
pub use logs::LogPiece;
pub use registry::{Manifest, RegistryApi, RegistryError, RegistryRepository};
pub use run_options::{Bind, InvalidBind, InvalidRunOption, RunOption};
pub use usage::Usage;
use vigil::{Silent, Vigil};

/// Where Docker's API is: a unix socket's path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket(pub PathBuf);

/// A connection to one Docker; cheap to clone.
#[derive(Debug, Clone)]
pub struct Docker {
    api: Arc<OnceCell<bollard::Docker>>,
    patience: Duration,
    socket: Socket,
    vigil: Vigil,
    raw: Arc<logs::RawClient>,
}

/// Why Docker did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    #[error("cannot reach Docker at {socket}", socket = .socket.0.display())]
    Unreachable {
        socket: Socket,
        #[source]
        cause: bollard::errors::Error,
    },
    /// It takes connections, and what it was asked may or may not be done.
    #[error("cannot reach Docker at {socket}: it gave no sign of life for {} s", .after.as_secs(), socket = .socket.0.display())]
    Silent { socket: Socket, after: Duration },
    #[error("Docker has no {what} `{name}`")]
    NotFound { what: &'static str, name: String },
    #[error("Docker could not {attempt}: no space is left on its disk")]
    NoSpace {
        attempt: String,
        #[source]
        cause: bollard::errors::Error,
    },
    #[error("Docker could not {attempt}")]
    Failed {
        attempt: String,
        #[source]
        cause: bollard::errors::Error,
    },
}

impl DockerError {
    /// Another program, or another container, has the host's port.
    pub fn is_port_taken(&self) -> bool {
        let Self::Failed { cause, .. } = self else { return false };
        let text = cause.to_string();
        text.contains("port is already allocated") || text.contains("address already in use")
    }
    /// The network that the container was to be on is not there.
    pub fn is_network_missing(&self) -> bool {
        let Self::Failed { cause, .. } = self else { return false };
        let text = cause.to_string();
        is_missing(cause) && text.contains("network") && text.contains("not found")
    }
    /// Another container has the name.
    pub fn is_name_taken(&self) -> bool {
        let Self::Failed { cause, .. } = self else { return false };
        is_conflict(cause) && cause.to_string().contains("name")
    }
    /// Docker itself does not answer, so that nothing is known about what was asked.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Silent { .. })
    }
}

impl Docker {
    /// Longest wait for an answer of a Docker that lives, in seconds; streams (logs, events, waits) are not bound by it.
    const TIMEOUT_SECONDS: u64 = 120;
    /// Longest time without a sign of life; a machine that is busy with all it has may leave Docker without a turn for
    /// some seconds.
    const SILENCE: Duration = Duration::from_secs(30);

    /// A Docker that is not there is told of by the first call, and found by the first after it has come.
    pub fn at(socket: Socket) -> Self {
        let (patience, vigil) =
            (Duration::from_secs(Self::TIMEOUT_SECONDS), Vigil::over(socket.clone(), Self::SILENCE));
        Self { api: Arc::default(), patience, socket, vigil, raw: Arc::default() }
    }

    /// The same Docker, given up when it gives no sign of life for that long.
    #[must_use]
    pub fn given_up_after(self, silence: Duration) -> Self {
        // What was made watches as it was told then.
        Self { api: Arc::default(), vigil: Vigil::over(self.socket.clone(), silence), ..self }
    }

    /// The same Docker, whose answers may take that long.
    fn patient(&self, patience: Duration) -> Self {
        Self { patience, ..self.clone() }
    }

    /// The client, which is made when Docker answers first: only then is known which version it speaks.
    async fn api(&self) -> Result<bollard::Docker, DockerError> {
        let unreachable = |cause| DockerError::Unreachable { socket: self.socket.clone(), cause };
        let made = self.api.get_or_try_init(async || {
            let version = version::common(&self.socket).await?;
            let (socket, vigil) = (self.socket.clone(), self.vigil.clone());
            let send = move |request| transport::request(socket.clone(), vigil.clone(), request);
            let address = Some(transport::ADDRESS);
            bollard::Docker::connect_with_custom_transport(send, address, Self::TIMEOUT_SECONDS, &version)
        });
        Ok(made.await.map_err(unreachable)?.clone().with_timeout(self.patience))
    }

    /// Asks whether Docker answers at all.
    pub async fn ping(&self) -> Result<(), DockerError> {
        let answer = self.api().await?.ping().await;
        answer.map(drop).map_err(|cause| match Silent::beneath(&cause) {
            Some(silent) => self.silent(*silent),
            None => DockerError::Unreachable { socket: self.socket.clone(), cause },
        })
    }

    /// The directory in which Docker keeps images and volumes; none when it does not say.
    pub async fn root_directory(&self) -> Result<Option<PathBuf>, DockerError> {
        let info = self.api().await?.info().await.map_err(|cause| self.failure("say where it keeps things", cause))?;
        Ok(info.docker_root_dir.map(PathBuf::from))
    }

    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    fn silent(&self, silent: Silent) -> DockerError {
        DockerError::Silent { socket: self.socket.clone(), after: silent.after }
    }

    /// Docker's own refusal is one thing, a Docker that does not answer another.
    fn failure(&self, attempt: impl Into<String>, cause: bollard::errors::Error) -> DockerError {
        use bollard::errors::Error;
        if let Some(silent) = Silent::beneath(&cause) {
            return self.silent(*silent);
        }
        match cause {
            Error::HyperResponseError { .. } | Error::SocketNotFoundError(_) => {
                DockerError::Unreachable { socket: self.socket.clone(), cause }
            }
            _ if says_no_space(&cause.to_string()) => DockerError::NoSpace { attempt: attempt.into(), cause },
            _ => DockerError::Failed { attempt: attempt.into(), cause },
        }
    }
}

/// Whether a program's or Docker's words are those of a system that has no room for what is written.
pub fn says_no_space(text: &str) -> bool {
    text.to_ascii_lowercase().contains("no space left on device")
}

/// Docker has no such thing.
fn is_missing(error: &bollard::errors::Error) -> bool {
    matches!(error, bollard::errors::Error::DockerResponseServerError { status_code: 404, .. })
}

/// The thing is in a state that does not allow it, such as being removed already.
fn is_conflict(error: &bollard::errors::Error) -> bool {
    matches!(error, bollard::errors::Error::DockerResponseServerError { status_code: 409, .. })
}
