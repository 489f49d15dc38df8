//! The store's memory of slugs: what was built for a key, and which of it a push may take instead of building it again.
//!
//! A tenant's own is its own. One that another tenant built is taken when whoever pushes may read that tenant; who may not
//! hears nothing of it, and it is built anew. What is taken is given an image of the tenant's own, with the same layers:
//! the other tenant may be deleted with all its images.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use futures_util::future::BoxFuture;

use super::build::{BuildError, Built, labels_with};
use super::places::Places;
use super::release::{BuildOf, ReleaseError, json};
use super::slug::{KnownSlug, KnownSlugs, SlugKey};
use super::{Platform, Push};
use crate::docker::{BuildPiece, DockerfileBuild, archive_of, labels};
use crate::model::{ImageId, TenantName};
use crate::store::{StoreError, Version};

type Answer = BoxFuture<'static, bool>;

/// Which other tenants whoever pushes may read; asked when it matters, as it may change at any time.
#[derive(Clone)]
pub struct Readable(Arc<dyn Fn(TenantName) -> Answer + Send + Sync>);

impl fmt::Debug for Readable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Readable")
    }
}

impl Readable {
    /// Those that `may_read` says.
    pub fn by<Asked: Future<Output = bool> + Send + 'static>(
        may_read: impl Fn(TenantName) -> Asked + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(move |tenant| Box::pin(may_read(tenant))))
    }
    /// None.
    pub fn nothing() -> Self {
        Self::by(|_| std::future::ready(false))
    }
}

/// A slug for the key that the push may take, if Docker still has it; the tenant's own before others.
pub(super) async fn find(slug: &SlugKey, push: &Push, platform: &Platform) -> Result<Option<KnownSlug>, BuildError> {
    let (known, _) = read(slug, platform).await?;
    for slug in known.for_tenant(&push.tenant) {
        let is_open = slug.tenant == push.tenant || (platform.readable.0)(slug.tenant.clone()).await;
        if is_open && platform.docker.image(slug.image.as_str()).await?.is_some() {
            return Ok(Some(slug.clone()));
        }
    }
    Ok(None)
}

/// What the push makes its release of.
pub(super) async fn take(
    known: KnownSlug,
    slug: SlugKey,
    push: &Push,
    platform: &Platform,
) -> Result<Built, BuildError> {
    if known.tenant == push.tenant {
        return Ok(known.into_built(slug, &push.tenant));
    }
    let image = own_copy(&known.image, &slug, push, platform).await?;
    Ok(KnownSlug { image, ..known }.into_built(slug, &push.tenant))
}

/// The same layers under labels that say whose it is.
async fn own_copy(image: &ImageId, slug: &SlugKey, push: &Push, platform: &Platform) -> Result<ImageId, BuildError> {
    let more = [(labels::SLUG, slug.to_string()), (labels::PUSH, String::new()), (labels::STEP, String::new())];
    let labels = labels_with(push, platform, more);
    match platform.docker.copy_image(image, labels.clone()).await? {
        Some(copy) => Ok(copy),
        None => built_copy(image, labels, platform).await,
    }
}

/// By a build, which any Docker can do, and which takes some tenths of a second.
async fn built_copy(
    image: &ImageId,
    labels: HashMap<String, String>,
    platform: &Platform,
) -> Result<ImageId, BuildError> {
    let build = DockerfileBuild {
        dockerfile: "Dockerfile",
        target: None,
        arguments: BTreeMap::new(),
        labels,
        memory_bytes: platform.builder.memory.get(),
        cpus: None,
        no_cache: false,
    };
    let text = format!("FROM {image}\n");
    let tar = futures_util::stream::iter([Ok(Bytes::from(archive_of(&[("Dockerfile", &text)])))]);
    let pieces = platform.docker.build_dockerfile(build, tar).await?;
    let (mut made, mut pieces) = (None, std::pin::pin!(pieces));
    while let Some(piece) = pieces.try_next().await? {
        match piece {
            BuildPiece::Image(id) => made = Some(id),
            BuildPiece::Failed { message, .. } => return Err(BuildError::Refused { message }),
            BuildPiece::Text(_) => {}
        }
    }
    made.ok_or_else(|| BuildError::Refused { message: "Docker made no copy of the slug".to_owned() })
}

impl KnownSlug {
    /// Where it came from, as people of that tenant are told.
    pub(super) fn source(&self, tenant: &TenantName) -> String {
        let place = if self.tenant == *tenant { String::new() } else { format!(" in {}", self.tenant) };
        format!("build {} of {}{place}", self.build, self.app)
    }

    pub(super) fn into_built(self, slug: SlugKey, tenant: &TenantName) -> Built {
        let elsewhere = (self.tenant != *tenant).then_some(self.tenant);
        let build = BuildOf { tenant: elsewhere, app: self.app, number: self.build };
        Built { image: self.image, slug, build, default_processes: self.default_processes, own_image: None }
    }
}

async fn read(slug: &SlugKey, platform: &Platform) -> Result<(KnownSlugs, Option<Version>), BuildError> {
    let path = Places::slug(slug);
    let Some(record) = platform.store.get(&path).await? else { return Ok((KnownSlugs::default(), None)) };
    let cause = |cause| ReleaseError::Unreadable { path: path.to_string(), cause };
    Ok((serde_json::from_slice(&record.value).map_err(cause)?, Some(record.version)))
}

/// Notes what was built for the key. Another app's push may note the same key at the same time.
pub(super) async fn remember(slug: &SlugKey, known: KnownSlug, platform: &Platform) -> Result<(), BuildError> {
    let path = Places::slug(slug);
    loop {
        let (all, version) = read(slug, platform).await?;
        let value = json(&all.with(known.clone()));
        let written = if version.is_some() {
            platform.store.put(&path, value, version).await
        } else {
            if let Some(above) = path.parent() {
                platform.store.ensure(&above).await?;
            }
            platform.store.create(&path, value).await
        };
        match written {
            Err(StoreError::Exists(_) | StoreError::Changed(_)) => {}
            done => return done.map_err(BuildError::from),
        }
    }
}
