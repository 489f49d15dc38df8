//! Volumes: what stays between the builds of an app.

use std::collections::HashMap;

use bollard::models::VolumeCreateRequest;
use bollard::query_parameters::RemoveVolumeOptions;

use super::{Docker, DockerError};

impl Docker {
    /// Makes the volume unless it is there; one that is there keeps its content and labels.
    pub async fn ensure_volume(&self, name: &str, labels: HashMap<String, String>) -> Result<(), DockerError> {
        let request =
            VolumeCreateRequest { name: Some(name.to_owned()), labels: Some(labels), ..VolumeCreateRequest::default() };
        self.api()
            .await?
            .create_volume(request)
            .await
            .map(|_| ())
            .map_err(|cause| self.failure(format!("make the volume `{name}`"), cause))
    }

    /// Removes the volume and its content; one that is not there is as good as removed.
    pub async fn remove_volume(&self, name: &str) -> Result<(), DockerError> {
        match self.api().await?.remove_volume(name, None::<RemoveVolumeOptions>).await {
            Err(cause) if !super::is_missing(&cause) => Err(self.failure(format!("remove the volume `{name}`"), cause)),
            _ => Ok(()),
        }
    }
}
