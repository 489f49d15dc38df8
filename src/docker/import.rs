//! Images that are made here rather than pulled: a root file system as an image, and one more layer on an image.

use std::collections::HashMap;
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bollard::models::{ContainerConfig, ContainerCreateBody};
use bollard::query_parameters::{
    AttachContainerOptions, CommitContainerOptions, CreateContainerOptions, CreateImageOptions, ListContainersOptions,
    ListImagesOptions, RemoveContainerOptions, StartContainerOptions, UploadToContainerOptions, WaitContainerOptions,
};
use bytes::Bytes;
use futures_util::{Stream, TryStreamExt as _};

use super::{Docker, DockerError};
use crate::model::ImageId;

/// Docker answers only when it has written some hundred MiB to its disk, which may be slow.
const PATIENCE: Duration = Duration::from_mins(20);

/// How layers' containers are named, so that one left by a process that was killed is found. A label would not do: the
/// image, and each container made from it, would inherit it.
const LAYER_NAME: &str = "paas-layer-";

/// One more layer to be put on an image.
#[derive(Debug)]
pub struct Layer {
    pub base: ImageId,
    /// A tar archive, unpacked at the root.
    pub files: Vec<u8>,
    /// Run as root when the files are there; none: the files are all there is to it.
    pub command: Option<Vec<String>>,
    /// The command of the image that is made.
    pub start: Vec<String>,
    /// `NAME=value`, on top of what the base has.
    pub env: Vec<String>,
    pub labels: HashMap<String, String>,
}

/// Why a layer was not made.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    #[error(transparent)]
    Docker(#[from] DockerError),
    #[error("the command that makes the layer exited with status {status}")]
    CommandFailed { status: i64 },
}

impl Docker {
    /// Makes an image of one layer from a tar archive of a root file system. It has no name.
    pub async fn import_image(
        &self,
        tar: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
        labels: &[(&str, &str)],
    ) -> Result<ImageId, DockerError> {
        let options = CreateImageOptions {
            from_src: Some("-".to_owned()),
            changes: labels.iter().map(|(name, value)| format!("LABEL {name}={value}")).collect(),
            ..CreateImageOptions::default()
        };
        let api = self.patient(PATIENCE).api().await?;
        let mut answer = std::pin::pin!(api.create_image(Some(options), Some(bollard::body_try_stream(tar)), None));
        let mut id = None;
        while let Some(info) = answer.try_next().await.map_err(|cause| self.failure("import a file system", cause))? {
            id = info.status.and_then(|status| status.trim().parse().ok()).or(id);
        }
        id.ok_or_else(|| DockerError::NotFound { what: "id for the image", name: "imported".to_owned() })
    }

    /// Any image that has this label, of those that have not the other: labels are inherited, so an image on top of
    /// the one that is meant has it too.
    pub async fn image_labelled(&self, label: (&str, &str), without: &str) -> Result<Option<ImageId>, DockerError> {
        let filters = HashMap::from([("label".to_owned(), vec![format!("{}={}", label.0, label.1)])]);
        let options = ListImagesOptions { all: true, filters: Some(filters), ..ListImagesOptions::default() };
        let found =
            self.api().await?.list_images(Some(options)).await.map_err(|cause| self.failure("list images", cause))?;
        Ok(found
            .into_iter()
            .filter(|image| !image.labels.contains_key(without))
            .find_map(|image| image.id.parse().ok()))
    }

    /// Puts a layer on an image: one container, one commit. Lines that the layer's command writes go to `said`.
    /// When this is dropped half-way its container stays, until a call that comes much later.
    pub async fn add_layer(&self, layer: Layer, said: &(dyn Fn(&str) + Send + Sync)) -> Result<ImageId, LayerError> {
        self.remove_left_layers().await?;
        let docker = self.patient(PATIENCE);
        let container = docker.create_layer(&layer).await?;
        let made = docker.fill_layer(&container, layer, said).await;
        let removed = docker.remove_layer(&container).await;
        let id = made?;
        removed?;
        Ok(id)
    }

    async fn create_layer(&self, layer: &Layer) -> Result<String, DockerError> {
        let body = ContainerCreateBody {
            image: Some(layer.base.to_string()),
            user: Some("0:0".to_owned()),
            entrypoint: Some(Vec::new()),
            cmd: Some(layer.command.clone().unwrap_or_else(|| vec!["true".to_owned()])),
            ..ContainerCreateBody::default()
        };
        let options = CreateContainerOptions {
            name: Some(format!("{LAYER_NAME}{}", uuid::Uuid::new_v4())),
            ..CreateContainerOptions::default()
        };
        let created = self
            .api()
            .await?
            .create_container(Some(options), body)
            .await
            .map_err(|cause| self.failure("make a container for a layer", cause))?;
        Ok(created.id)
    }

    async fn fill_layer(
        &self,
        container: &str,
        layer: Layer,
        said: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<ImageId, LayerError> {
        let options = UploadToContainerOptions { path: "/".to_owned(), ..UploadToContainerOptions::default() };
        self.api()
            .await?
            .upload_to_container(container, Some(options), bollard::body_full(Bytes::from(layer.files)))
            .await
            .map_err(|cause| self.failure("take files into a layer", cause))?;
        if layer.command.is_some() {
            self.run_layer(container, said).await?;
        }
        let config = ContainerConfig {
            cmd: Some(layer.start),
            env: Some(layer.env),
            labels: Some(layer.labels),
            ..ContainerConfig::default()
        };
        Ok(self.commit_layer(container, config).await?)
    }

    async fn run_layer(&self, container: &str, said: &(dyn Fn(&str) + Send + Sync)) -> Result<(), LayerError> {
        let options =
            AttachContainerOptions { stream: true, stdout: true, stderr: true, ..AttachContainerOptions::default() };
        let failed = |cause| self.failure("run a layer's command", cause);
        let mut attached = self.api().await?.attach_container(container, Some(options)).await.map_err(failed)?;
        self.api().await?.start_container(container, None::<StartContainerOptions>).await.map_err(failed)?;
        let mut lines = Lines::default();
        while let Some(output) = attached.output.try_next().await.map_err(failed)? {
            lines.take(&output.into_bytes(), said);
        }
        lines.finish(said);
        let options = WaitContainerOptions { condition: "not-running".to_owned() };
        match std::pin::pin!(self.api().await?.wait_container(container, Some(options))).try_next().await {
            Ok(Some(end)) if end.status_code != 0 => Err(LayerError::CommandFailed { status: end.status_code }),
            Ok(_) => Ok(()),
            Err(bollard::errors::Error::DockerContainerWaitError { code, .. }) => {
                Err(LayerError::CommandFailed { status: code })
            }
            Err(cause) => Err(failed(cause).into()),
        }
    }

    async fn commit_layer(&self, container: &str, config: ContainerConfig) -> Result<ImageId, DockerError> {
        let options = CommitContainerOptions {
            container: Some(container.to_owned()),
            pause: false,
            // Whatever the base was meant for, the layer's image starts what it is told to, as root, at the root.
            changes: Some("ENTRYPOINT []\nUSER 0\nWORKDIR /".to_owned()),
            ..CommitContainerOptions::default()
        };
        let committed = self
            .api()
            .await?
            .commit_container(options, config)
            .await
            .map_err(|cause| self.failure("make an image of a layer", cause))?;
        let unread = |_| DockerError::NotFound { what: "id for the image", name: committed.id.clone() };
        committed.id.parse().map_err(unread)
    }

    /// A layer that is older than anyone's patience has nobody left who waits for it.
    async fn remove_left_layers(&self) -> Result<(), DockerError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let filters = HashMap::from([("name".to_owned(), vec![format!("^/{LAYER_NAME}")])]);
        let options = ListContainersOptions { all: true, filters: Some(filters), ..ListContainersOptions::default() };
        let found = self
            .api()
            .await?
            .list_containers(Some(options))
            .await
            .map_err(|cause| self.failure("list containers", cause))?;
        for container in found {
            let made = container.created.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
            let left = made.is_some_and(|made| now.saturating_sub(made) > PATIENCE);
            if let Some(id) = container.id.filter(|_| left) {
                self.remove_layer(&id).await?;
            }
        }
        Ok(())
    }

    async fn remove_layer(&self, container: &str) -> Result<(), DockerError> {
        let options = RemoveContainerOptions { force: true, v: true, ..RemoveContainerOptions::default() };
        match self.api().await?.remove_container(container, Some(options)).await {
            Err(cause) if !super::is_missing(&cause) && !super::is_conflict(&cause) => {
                Err(self.failure(format!("remove the container `{container}`"), cause))
            }
            _ => Ok(()),
        }
    }
}

/// Output comes in pieces of any length; people read lines.
#[derive(Debug, Default)]
struct Lines(Vec<u8>);

impl Lines {
    fn take(&mut self, bytes: &[u8], said: &(dyn Fn(&str) + Send + Sync)) {
        self.0.extend_from_slice(bytes);
        while let Some(end) = self.0.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.0.drain(..=end).collect();
            said(String::from_utf8_lossy(&line).trim_end());
        }
    }

    fn finish(self, said: &(dyn Fn(&str) + Send + Sync)) {
        if !self.0.is_empty() {
            said(String::from_utf8_lossy(&self.0).trim_end());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn output_is_passed_on_in_whole_lines() {
        let seen = Mutex::new(Vec::new());
        let said = |line: &str| seen.lock().unwrap().push(line.to_owned());
        let mut lines = Lines::default();
        for piece in ["fir", "st\r\nsecond\nth", "ird"] {
            lines.take(piece.as_bytes(), &said);
        }
        assert_eq!(*seen.lock().unwrap(), ["first", "second"]);
        lines.finish(&said);
        assert_eq!(seen.lock().unwrap().last().unwrap(), "third");
    }
}
