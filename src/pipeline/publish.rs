//! Publish: slug → registry, when there is one. What is released is then named by the digest that the registry answered.

use super::build::Built;
use super::{Platform, Progress, Push, Registry, Say, reached};
use crate::docker::{PushImageError, Tag};
use crate::model::ImageRef;

/// Sends the slug to the registry, or leaves it where it is. Sent again even when it was sent before: a layer that is
/// there already is not sent twice, and one that somebody removed comes back.
pub(super) async fn publish(
    built: &Built,
    push: &Push,
    platform: &Platform,
    say: Say<'_>,
) -> Result<ImageRef, PushImageError> {
    let Some(registry) = &platform.registry else { return Ok(ImageRef::Local(built.image.clone())) };
    let repository = registry.repository(&Registry::name_of(&push.tenant, &push.app));
    let tag = Tag { repository: repository.clone(), tag: built.slug.short().to_owned() };
    platform.docker.tag_image(&built.image, &tag).await?;
    reached!(Tagged, push.app, platform.home_label);
    let digest = platform.docker.push_image(&tag, registry.credentials.as_ref(), registry.patience).await?;
    reached!(Published, push.app, platform.home_label);
    say(Progress::Detail(format!("published as {repository}@sha256:{}…", digest.short())));
    Ok(ImageRef::Published { repository, digest })
}
