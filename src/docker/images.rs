//! Images: what they are, and how they come into a registry.

use std::collections::HashMap;
use std::time::Duration;

use bollard::auth::DockerCredentials;
use bollard::models::{ImageInspect, PushImageInfo};
use bollard::query_parameters::{PushImageOptions, RemoveImageOptions, TagImageOptions};
use futures_util::TryStreamExt as _;

use super::{Docker, DockerError};
use crate::model::{Digest, ImageId, Secret};

/// What of an image's configuration matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    pub id: ImageId,
    /// All layers together.
    pub bytes: u64,
    pub command: Vec<String>,
    pub entrypoint: Vec<String>,
    pub env: Vec<String>,
    pub labels: HashMap<String, String>,
}

/// An image's name in a registry: `host[:port]/path` and a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    pub repository: String,
    pub tag: String,
}
impl std::fmt::Display for Tag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.repository, self.tag)
    }
}

/// Why an image did not get into its registry.
#[derive(Debug, thiserror::Error)]
pub enum PushImageError {
    #[error(transparent)]
    Docker(#[from] DockerError),
    #[error("the registry refused `{tag}`: {message}")]
    Refused { tag: Tag, message: String },
    #[error("the registry did not go on with `{tag}` for {} s, and was given up", .patience.as_secs())]
    Silent { tag: Tag, patience: Duration },
    #[error("Docker did not say under which digest the registry keeps `{tag}`")]
    NoDigest { tag: Tag },
    #[error("Docker pushed `{tag}` as {digest}, but does not list that among the image's digests")]
    UnknownDigest { tag: Tag, digest: Digest },
    #[error(
        "the registry's credentials cannot be given to Docker as they are: `?`, `~`, `>` or a letter beyond ASCII in them gets lost on the way; choose others"
    )]
    Credentials,
}

impl Docker {
    /// The image by id, digest or name; `None` when Docker has none such.
    pub async fn image(&self, name: &str) -> Result<Option<Image>, DockerError> {
        match self.api().await?.inspect_image(name).await {
            Ok(found) => Image::read(found)
                .map(Some)
                .ok_or_else(|| DockerError::NotFound { what: "id for the image", name: name.to_owned() }),
            Err(cause) if super::is_missing(&cause) => Ok(None),
            Err(cause) => Err(self.failure(format!("look at the image `{name}`"), cause)),
        }
    }

    /// Gives the image one more name.
    pub async fn tag_image(&self, id: &ImageId, tag: &Tag) -> Result<(), DockerError> {
        let options = TagImageOptions { repo: Some(tag.repository.clone()), tag: Some(tag.tag.clone()) };
        self.api()
            .await?
            .tag_image(id.as_str(), Some(options))
            .await
            .map_err(|cause| self.failure(format!("name the image `{tag}`"), cause))
    }

    /// Sends the image to the registry that its name tells, and gives the digest under which it is kept there.
    /// `credentials` are `user:password`. Without any progress for `patience` it is given up: Docker waits for a registry
    /// that never answers as long as somebody waits for Docker.
    pub async fn push_image(
        &self,
        tag: &Tag,
        credentials: Option<&Secret>,
        patience: Duration,
    ) -> Result<Digest, PushImageError> {
        let options = PushImageOptions { tag: Some(tag.tag.clone()), platform: None };
        let credentials = credentials.map(sendable).transpose()?;
        let mut answer = std::pin::pin!(self.api().await?.push_image(&tag.repository, Some(options), credentials));
        let mut digest = None;
        loop {
            let told = tokio::time::timeout(patience, answer.try_next()).await;
            match told.map_err(|_| PushImageError::Silent { tag: tag.clone(), patience })? {
                Ok(Some(info)) => digest = announced_digest(&info).or(digest),
                Ok(None) => break,
                Err(bollard::errors::Error::DockerStreamError { error }) => {
                    return Err(PushImageError::Refused { tag: tag.clone(), message: error });
                }
                Err(cause) => return Err(self.failure(format!("push `{tag}`"), cause).into()),
            }
        }
        let digest = digest.ok_or_else(|| PushImageError::NoDigest { tag: tag.clone() })?;
        self.check_digest(tag, digest).await
    }

    /// Docker notes the digests of what it pushed: the one it announced must be there.
    async fn check_digest(&self, tag: &Tag, digest: Digest) -> Result<Digest, PushImageError> {
        let found = self
            .api()
            .await?
            .inspect_image(&tag.to_string())
            .await
            .map_err(|cause| self.failure(format!("look at the image `{tag}`"), cause))?;
        let expected = format!("{}@{digest}", tag.repository);
        if found.repo_digests.unwrap_or_default().contains(&expected) {
            Ok(digest)
        } else {
            Err(PushImageError::UnknownDigest { tag: tag.clone(), digest })
        }
    }

    /// Removes the image's name, and the image with its last one. One that is not there is as good as removed.
    pub async fn remove_image(&self, name: &str) -> Result<(), DockerError> {
        match self.api().await?.remove_image(name, None::<RemoveImageOptions>, None).await {
            Err(cause) if !super::is_missing(&cause) => Err(self.failure(format!("remove the image `{name}`"), cause)),
            _ => Ok(()),
        }
    }
}

impl Image {
    fn read(found: ImageInspect) -> Option<Self> {
        let config = found.config.unwrap_or_default();
        Some(Self {
            id: found.id?.parse().ok()?,
            bytes: found.size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
            command: config.cmd.unwrap_or_default(),
            entrypoint: config.entrypoint.unwrap_or_default(),
            env: config.env.unwrap_or_default(),
            labels: config.labels.unwrap_or_default(),
        })
    }
}

/// The last line of a push reads `<tag>: digest: sha256:… size: 1234`.
fn announced_digest(info: &PushImageInfo) -> Option<Digest> {
    let (_, rest) = info.status.as_deref()?.split_once("digest: ")?;
    rest.split_whitespace().next()?.parse().ok()
}

/// Docker reads the header as URL-safe base64 and takes what it cannot read for no credentials at all, while the
/// client writes the plain kind. Where the two differ, nothing is sent.
fn sendable(credentials: &Secret) -> Result<DockerCredentials, PushImageError> {
    use base64::Engine as _;
    let (user, password) = credentials.reveal().split_once(':').unwrap_or((credentials.reveal(), ""));
    let credentials = DockerCredentials {
        username: Some(user.to_owned()),
        password: Some(password.to_owned()),
        ..DockerCredentials::default()
    };
    let json = serde_json::to_vec(&credentials).map_err(|_| PushImageError::Credentials)?;
    let header = base64::engine::general_purpose::STANDARD.encode(json);
    if header.contains(['+', '/']) { Err(PushImageError::Credentials) } else { Ok(credentials) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_read_from_the_last_line_of_a_push() {
        let digest = format!("sha256:{}", "1".repeat(64));
        let line = |status: &str| PushImageInfo { status: Some(status.to_owned()), ..PushImageInfo::default() };
        assert_eq!(announced_digest(&line(&format!("9c1e: digest: {digest} size: 528"))).unwrap().as_str(), digest);
        for other in ["Pushed", "Layer already exists", "9c1e: digest: sha256:12 size: 1"] {
            assert_eq!(announced_digest(&line(other)), None, "{other}");
        }
    }

    #[test]
    fn credentials_that_docker_would_misread_are_refused() {
        assert!(sendable(&Secret::new("alice:secret")).is_ok());
        let lost = (0..3).map(|n| format!("alice:{}~~~???", "x".repeat(n)));
        assert!(lost.map(Secret::new).all(|credentials| sendable(&credentials).is_err()));
    }
}
