//! What a tenant leaves on this machine when its Marathon is gone.

use std::io;
use std::path::PathBuf;

use crate::docker::{Docker, DockerError, Removed, Socket, labels};
use crate::model::TenantName;
use crate::settings::Settings;

/// Something of the tenant is still there.
#[derive(Debug, thiserror::Error)]
pub enum RemainsError {
    #[error("cannot remove {path}", path = .path.display())]
    Directory {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("cannot remove what the tenant has in Docker")]
    Docker(#[from] DockerError),
}

/// Removes a tenant's containers, network, volumes and slugs, repositories, build logs and engine's state. What is gone
/// already is as good.
pub async fn remove_remains(settings: &Settings, tenant: &TenantName) -> Result<Removed, RemainsError> {
    let home = &settings.home;
    let docker = Docker::at(Socket(settings.docker.socket.clone()));
    let platform = home.path().display().to_string();
    let labels = [(labels::HOME, platform.as_str()), (labels::TENANT, tenant.as_str())];
    let swept = docker.sweep(&labels).await?;
    let volumes = docker.remove_volumes_with(&labels).await?;
    let removed = Removed { volumes, images: docker.remove_images_with(&labels).await?, ..swept };
    let name = tenant.as_str();
    for path in [home.repositories().join(name), home.logs().join(name), home.tenant_engine(tenant)] {
        // May be large, but nothing else is to be done meanwhile.
        match std::fs::remove_dir_all(&path) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                return Err(RemainsError::Directory { path, cause });
            }
            _ => {}
        }
    }
    Ok(removed)
}
