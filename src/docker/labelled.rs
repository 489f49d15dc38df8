//! Removing what is ours by its labels, and nothing else.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::ImageSummary;
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListImagesOptionsBuilder, ListNetworksOptionsBuilder, ListVolumesOptionsBuilder,
    RemoveContainerOptionsBuilder, RemoveImageOptionsBuilder, RemoveVolumeOptions,
};

use super::{Docker, DockerError, is_conflict, is_missing};
use crate::model::ImageId;

/// Labels that all must be there.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

/// How many of each were removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Removed {
    pub containers: usize,
    pub networks: usize,
    pub volumes: usize,
    /// Slugs.
    pub images: usize,
}

/// A volume, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedVolume {
    pub name: String,
    pub labels: HashMap<String, String>,
}

/// An image as Docker lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedImage {
    pub id: ImageId,
    /// `repository:tag`, all of them.
    pub tags: Vec<String>,
    /// `repository@digest`, of each registry it was pushed to.
    pub digests: Vec<String>,
    pub labels: HashMap<String, String>,
}

/// What somebody asked Docker for just before they ended may appear this much later: Docker carries a request out
/// though nobody waits for the answer any more, and says nothing of it before it is done.
const LATE: Duration = Duration::from_millis(250);
/// Ten seconds' worth.
const ROUNDS: u32 = 40;

impl Docker {
    /// Removes the containers and networks with all of these labels, also those that are only just being made by
    /// somebody who has ended.
    pub async fn sweep(&self, labels: Labels<'_>) -> Result<Removed, DockerError> {
        let mut all = Removed::default();
        // Docker may take some seconds for what it is removing already; after that it is stuck, and not by us.
        for _ in 0..ROUNDS {
            let containers = self.remove_containers_with(labels).await?;
            let networks = self.remove_networks_with(labels).await?;
            all.containers += containers;
            all.networks += networks;
            tokio::time::sleep(LATE).await;
            if !self.has_with(labels).await? {
                break;
            }
        }
        Ok(all)
    }

    /// Whether there is a container or network with all of these labels.
    async fn has_with(&self, labels: Labels<'_>) -> Result<bool, DockerError> {
        Ok(!self.container_ids_with(labels).await?.is_empty() || !self.network_ids_with(labels).await?.is_empty())
    }

    async fn container_ids_with(&self, labels: Labels<'_>) -> Result<Vec<String>, DockerError> {
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filter(labels)).build();
        let found = self.api().await?.list_containers(Some(options)).await;
        let found = found.map_err(|cause| self.failure("list containers", cause))?;
        Ok(found.into_iter().filter_map(|container| container.id).collect())
    }

    async fn network_ids_with(&self, labels: Labels<'_>) -> Result<Vec<String>, DockerError> {
        let options = ListNetworksOptionsBuilder::new().filters(&filter(labels)).build();
        let found = self.api().await?.list_networks(Some(options)).await;
        let found = found.map_err(|cause| self.failure("list networks", cause))?;
        Ok(found.into_iter().filter_map(|network| network.id).collect())
    }

    /// Ends and removes the containers with all of these labels, running or not; says how many.
    pub async fn remove_containers_with(&self, labels: Labels<'_>) -> Result<usize, DockerError> {
        let mut removed = 0;
        for id in self.container_ids_with(labels).await? {
            let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
            let answer = self.api().await?.remove_container(&id, Some(options)).await;
            removed += gone(answer).map_err(|cause| self.failure(format!("remove the container `{id}`"), cause))?;
        }
        Ok(removed)
    }

    /// Removes the networks with all of these labels; says how many.
    async fn remove_networks_with(&self, labels: Labels<'_>) -> Result<usize, DockerError> {
        let mut removed = 0;
        for id in self.network_ids_with(labels).await? {
            let answer = self.api().await?.remove_network(&id).await;
            removed += gone(answer).map_err(|cause| self.failure(format!("remove the network `{id}`"), cause))?;
        }
        Ok(removed)
    }

    /// The volumes with all of these labels.
    pub async fn volumes_with(&self, labels: Labels<'_>) -> Result<Vec<ListedVolume>, DockerError> {
        let options = ListVolumesOptionsBuilder::new().filters(&filter(labels)).build();
        let found = self.api().await?.list_volumes(Some(options)).await;
        let found = found.map_err(|cause| self.failure("list volumes", cause))?;
        let volumes = found.volumes.unwrap_or_default().into_iter();
        Ok(volumes.map(|volume| ListedVolume { name: volume.name, labels: volume.labels }).collect())
    }

    /// Removes the volumes with all of these labels, and their content; says how many.
    pub async fn remove_volumes_with(&self, labels: Labels<'_>) -> Result<usize, DockerError> {
        let mut removed = 0;
        for volume in self.volumes_with(labels).await? {
            removed += usize::from(self.remove_unused_volume(&volume.name).await?);
        }
        Ok(removed)
    }

    /// Removes the volume and its content, unless a container has it; says whether this removed it.
    pub async fn remove_unused_volume(&self, name: &str) -> Result<bool, DockerError> {
        let answer = self.api().await?.remove_volume(name, None::<RemoveVolumeOptions>).await;
        let removed = gone(answer).map_err(|cause| self.failure(format!("remove the volume `{name}`"), cause))?;
        Ok(removed > 0)
    }

    /// The images with all of these labels.
    pub async fn images_with(&self, labels: Labels<'_>) -> Result<Vec<ListedImage>, DockerError> {
        let options = ListImagesOptionsBuilder::new().filters(&filter(labels)).build();
        let found = self.api().await?.list_images(Some(options)).await;
        let found = found.map_err(|cause| self.failure("list images", cause))?;
        Ok(found.into_iter().filter_map(ListedImage::read).collect())
    }

    /// Removes the image by all of its names, unless a container has it; says whether it is gone. Images below it
    /// stay, also those without a name.
    pub async fn remove_unused_image(&self, image: &ListedImage) -> Result<bool, DockerError> {
        for name in image.tags.iter().chain(&image.digests).map(String::as_str).chain([image.id.as_str()]) {
            let options = RemoveImageOptionsBuilder::new().noprune(true).build();
            match self.api().await?.remove_image(name, Some(options), None).await {
                Ok(_) => {}
                Err(cause) if is_missing(&cause) => {}
                Err(cause) if is_conflict(&cause) => return Ok(false),
                Err(cause) => return Err(self.failure(format!("remove the image `{name}`"), cause)),
            }
        }
        Ok(true)
    }

    /// Removes the images with all of these labels, by whatever names they go; says how many. One that a container
    /// still uses stays.
    pub async fn remove_images_with(&self, labels: Labels<'_>) -> Result<usize, DockerError> {
        let options = ListImagesOptionsBuilder::new().filters(&filter(labels)).build();
        let found = self.api().await?.list_images(Some(options)).await;
        let found = found.map_err(|cause| self.failure("list images", cause))?;
        let mut removed = 0;
        for image in found {
            // Forced, since one that was published has a name for each registry.
            let options = RemoveImageOptionsBuilder::new().force(true).build();
            let answer = self.api().await?.remove_image(&image.id, Some(options), None).await.map(drop);
            let failed = |cause| self.failure(format!("remove the image `{}`", image.id), cause);
            removed += gone(answer).map_err(failed)?;
        }
        Ok(removed)
    }
}

impl ListedImage {
    pub(super) fn read(found: ImageSummary) -> Option<Self> {
        // Docker writes these where there is no name.
        let named = |names: Vec<String>| names.into_iter().filter(|name| !name.contains("<none>")).collect();
        Some(Self {
            id: found.id.parse().ok()?,
            tags: named(found.repo_tags),
            digests: named(found.repo_digests),
            labels: found.labels,
        })
    }
}

pub(super) fn filter(labels: Labels<'_>) -> HashMap<String, Vec<String>> {
    HashMap::from([("label".to_owned(), labels.iter().map(|(name, value)| format!("{name}={value}")).collect())])
}

/// How many this removed: one, or none when it was gone already or somebody else is just removing it.
fn gone(answer: Result<(), bollard::errors::Error>) -> Result<usize, bollard::errors::Error> {
    match answer {
        Ok(()) => Ok(1),
        Err(cause) if is_missing(&cause) || is_conflict(&cause) => Ok(0),
        Err(cause) => Err(cause),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_labels_must_be_there() {
        let filter = filter(&[("paas.home", "/srv/paas"), ("paas.tenant", "dev")]);
        assert_eq!(filter["label"], ["paas.home=/srv/paas", "paas.tenant=dev"]);
    }
}
