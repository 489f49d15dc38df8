//! Images: what they are, and how they come into a registry.

use std::collections::HashMap;
use std::time::Duration;

use bollard::auth::DockerCredentials;
use bollard::models::{HealthConfig, ImageInspect, PushImageInfo};
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
    /// Empty: root.
    pub user: String,
    pub labels: HashMap<String, String>,
    /// TCP ports that it says it listens on, the lowest first.
    pub exposed: Vec<u16>,
    /// How it says it is to be found healthy.
    pub health: Option<ImageHealth>,
    /// What is done when a Dockerfile builds on it.
    pub triggers: Vec<String>,
}

/// An image's own health check. What it does not say is Docker's to choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageHealth {
    pub test: HealthTest,
    pub interval: Option<Duration>,
    pub timeout: Option<Duration>,
    /// Failures within it count nothing.
    pub start_period: Option<Duration>,
    /// Failures in a row that make it unhealthy.
    pub retries: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HealthTest {
    /// For the image's shell.
    Shell(String),
    /// A program and its arguments.
    Program(Vec<String>),
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
            user: config.user.unwrap_or_default(),
            labels: config.labels.unwrap_or_default(),
            exposed: tcp_ports(&config.exposed_ports.unwrap_or_default()),
            health: config.healthcheck.and_then(ImageHealth::read),
            triggers: config.on_build.unwrap_or_default(),
        })
    }
}

fn tcp_ports(exposed: &[String]) -> Vec<u16> {
    let port = |text: &String| text.strip_suffix("/tcp").unwrap_or(text).parse().ok();
    let mut ports: Vec<u16> = exposed.iter().filter_map(port).collect();
    ports.sort_unstable();
    ports
}

impl ImageHealth {
    /// None when the image has none, or says that what it is built on is not to count.
    fn read(found: HealthConfig) -> Option<Self> {
        let mut words = found.test.unwrap_or_default().into_iter();
        let test = match words.next()?.as_str() {
            "CMD-SHELL" => HealthTest::Shell(words.next()?),
            "CMD" => HealthTest::Program(words.collect()),
            _ => return None,
        };
        // Docker writes 0 for what was not said.
        let time = |nanos: Option<i64>| {
            nanos.and_then(|nanos| u64::try_from(nanos).ok()).filter(|nanos| *nanos > 0).map(Duration::from_nanos)
        };
        let retries = found.retries.and_then(|retries| u32::try_from(retries).ok()).filter(|retries| *retries > 0);
        let (interval, timeout, start_period) = (time(found.interval), time(found.timeout), time(found.start_period));
        Some(Self { test, interval, timeout, start_period, retries })
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
    fn what_an_image_says_of_itself_is_read() {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        assert_eq!(tcp_ports(&texts(&["8080/tcp", "53/udp", "80/tcp"])), [80, 8080]);
        let read = |test: &[&str]| {
            let retries = Some(0);
            let interval = Some(2_000_000_000);
            ImageHealth::read(HealthConfig { test: Some(texts(test)), interval, retries, ..HealthConfig::default() })
        };
        let health = read(&["CMD-SHELL", "curl -f localhost"]).unwrap();
        assert_eq!(health.test, HealthTest::Shell("curl -f localhost".to_owned()));
        assert_eq!((health.interval, health.retries, health.timeout), (Some(Duration::from_secs(2)), None, None));
        assert_eq!(read(&["CMD", "/check", "a b"]).unwrap().test, HealthTest::Program(texts(&["/check", "a b"])));
        assert_eq!((read(&["NONE"]), read(&[])), (None, None));
    }

    #[test]
    fn credentials_that_docker_would_misread_are_refused() {
        assert!(sendable(&Secret::new("alice:secret")).is_ok());
        let lost = (0..3).map(|n| format!("alice:{}~~~???", "x".repeat(n)));
        assert!(lost.map(Secret::new).all(|credentials| sendable(&credentials).is_err()));
    }
}
