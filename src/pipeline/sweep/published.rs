//! Manifests in the registry of slugs that are gone: nobody pulls them any more.
//!
//! A registry removes a manifest by its digest, and with it whatever tags lead there. So one goes only when all of its
//! tags are of this platform's making and none is needed. The layers go by the registry's own garbage collection.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::history::{History, Images};
use super::{Kind, Sweep, SweepError, Swept};
use crate::docker::{ListedImage, Manifest, RegistryError, RegistryRepository, labels};
use crate::model::{Digest, ImageId};
use crate::pipeline::Registry;
use crate::pipeline::slug::SlugKey;

/// One repository of the registry, as far as this platform knows it.
struct Known<'a> {
    /// By which something may have been published there.
    tags: HashSet<String>,
    /// Tags of slugs that are in Docker.
    present_tags: HashSet<&'a str>,
    /// What releases say was published there.
    released: HashSet<Digest>,
    /// What of that is kept.
    kept: HashSet<Digest>,
}

/// Images, by what is known of them.
struct Slugs<'a> {
    /// In Docker, and so perhaps needed.
    present: HashSet<&'a ImageId>,
    /// Made by this platform.
    ours: HashSet<&'a ImageId>,
}

impl Known<'_> {
    /// Whether a tag of a push may lead to what is needed no more.
    fn may_be_old(&self, tag: &str) -> bool {
        !self.present_tags.contains(tag)
    }
}

impl Sweep {
    /// `gone` are the slugs that this sweep removed from Docker.
    pub(super) async fn published(&self, gone: &[ListedImage], swept: &mut Swept) -> Result<(), SweepError> {
        let Some(registry) = &self.registry else { return Ok(()) };
        // In this order: whatever a record tells of and is not in Docker was swept, and no push can come upon it any more.
        let histories = self.histories().await?;
        let mut images = self.images().await?;
        images.listed.retain(|image| !gone.iter().any(|gone| gone.id == image.id));
        let repositories = repositories(registry, &histories, gone);
        let known = repositories
            .iter()
            .map(|(name, history)| (name.as_str(), self.known(registry, name, *history, &images, gone)));
        // Where nothing was ever swept there is nothing to ask for.
        let known: Vec<_> = known.filter(|(_, known)| known.tags.iter().any(|tag| known.may_be_old(tag))).collect();
        if known.is_empty() {
            return Ok(());
        }
        let made = histories.iter().flat_map(History::made).chain(gone.iter().map(|image| &image.id));
        let slugs = Slugs { present: images.listed.iter().map(|image| &image.id).collect(), ours: made.collect() };
        match self.unpublish_all(registry, &known, &slugs, swept).await {
            // What its operator decided is no failure, and the same for every repository.
            Err(RegistryError::DeletingIsOff { host }) => swept.notes.insert(deleting_is_off(&host)),
            Err(error @ RegistryError::Forbidden { .. }) => swept.notes.insert(format!("old slugs stay: {error}")),
            done => return Ok(done?),
        };
        Ok(())
    }

    async fn unpublish_all(
        &self,
        registry: &Registry,
        known: &[(&str, Known<'_>)],
        slugs: &Slugs<'_>,
        swept: &mut Swept,
    ) -> Result<(), RegistryError> {
        let api = self.docker.registry(&registry.host, registry.credentials.as_ref()).await?;
        for (name, known) in known {
            let repository = api.repository(name).await?;
            self.unpublish(&repository, known, slugs, swept).await?;
        }
        Ok(())
    }

    fn known<'a>(
        &self,
        registry: &Registry,
        name: &str,
        history: Option<&History>,
        images: &'a Images,
        gone: &[ListedImage],
    ) -> Known<'a> {
        let repository = registry.repository(name);
        let published = history.map(|history| history.published_to(&repository));
        let tags_of_gone = gone.iter().filter_map(tag);
        Known {
            tags: history.into_iter().flat_map(History::tags).cloned().chain(tags_of_gone).collect(),
            present_tags: images.listed.iter().flat_map(|image| tags_in(&repository, image)).collect(),
            released: published.iter().flat_map(|slugs| &slugs.uses).map(|used| used.image.clone()).collect(),
            kept: published.map(|slugs| slugs.kept(self.keep.slugs)).unwrap_or_default(),
        }
    }

    async fn unpublish(
        &self,
        repository: &RegistryRepository<'_>,
        known: &Known<'_>,
        slugs: &Slugs<'_>,
        swept: &mut Swept,
    ) -> Result<(), RegistryError> {
        let tags = repository.tags().await?;
        if !tags.iter().any(|tag| known.tags.contains(tag) && known.may_be_old(tag)) {
            return Ok(());
        }
        let mut manifests = Vec::new();
        for tag in tags {
            manifests.extend(repository.manifest(&tag).await?.map(|manifest| (tag, manifest)));
        }
        for digest in superfluous(&manifests, known, slugs) {
            let removed = if self.dry_run { true } else { repository.delete(digest).await? };
            swept.tried(Kind::Published, Ok::<_, SweepError>(removed));
        }
        Ok(())
    }
}

/// The repositories to look at, by name: of every app, and of the slugs that have just gone.
fn repositories<'a>(
    registry: &Registry,
    histories: &'a [History],
    gone: &[ListedImage],
) -> BTreeMap<String, Option<&'a History>> {
    let here = registry.repository("");
    let names = gone.iter().flat_map(|image| &image.tags).filter_map(|tag| tag.strip_prefix(&here));
    let of_gone = names.filter_map(|name| name.rsplit_once(':')).map(|(name, _)| (name.to_owned(), None));
    let of_apps = histories.iter().map(|history| (Registry::name_of(&history.tenant, &history.app), Some(history)));
    of_gone.chain(of_apps).collect()
}

/// The image's tags in the repository.
fn tags_in<'a>(repository: &str, image: &'a ListedImage) -> Vec<&'a str> {
    let of = |name: &'a String| name.strip_prefix(repository)?.strip_prefix(':');
    image.tags.iter().filter_map(of).collect()
}

/// The tag by which pushes publish the image; others somebody else gave it.
fn tag(image: &ListedImage) -> Option<String> {
    Some(SlugKey::labelled(image.labels.get(labels::SLUG)?)?.short().to_owned())
}

/// The manifests that go: made here, needed by nobody, and reached by no tag that somebody else made.
fn superfluous<'a>(manifests: &'a [(String, Manifest)], known: &Known<'_>, slugs: &Slugs<'_>) -> HashSet<&'a Digest> {
    let mut tags: HashMap<&Digest, Vec<&str>> = HashMap::new();
    for (tag, manifest) in manifests {
        tags.entry(&manifest.digest).or_default().push(tag);
    }
    let goes = |manifest: &Manifest| {
        let is_ours = known.released.contains(&manifest.digest) || slugs.ours.contains(&manifest.image);
        let is_kept = known.kept.contains(&manifest.digest) || slugs.present.contains(&manifest.image);
        is_ours && !is_kept && tags[&manifest.digest].iter().all(|tag| known.tags.contains(*tag))
    };
    manifests.iter().map(|(_, manifest)| manifest).filter(|manifest| goes(manifest)).map(|one| &one.digest).collect()
}

fn deleting_is_off(host: &str) -> String {
    format!(
        "old slugs stay in the registry at {host}, where deleting is off: switch it on there (Docker's own registry: \
         REGISTRY_STORAGE_DELETE_ENABLED=true), and the next sweep removes them"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(digit: char) -> ImageId {
        format!("sha256:{}", digit.to_string().repeat(64)).parse().unwrap()
    }
    /// The digest of the image's manifest.
    fn digest(digit: char) -> Digest {
        format!("sha256:0{}", digit.to_string().repeat(63)).parse().unwrap()
    }

    /// Which of the images' manifests go. A tag is written with its image, `a1` for the tag `a` that leads to the image 1;
    /// `a` to `c` are tags that pushes made.
    fn goes(tags: &[&str], released: &str, made: &str, kept: &str, present: &str) -> String {
        let manifests: Vec<_> = tags
            .iter()
            .map(|tag| {
                let digit = tag.chars().last().unwrap();
                (tag[..1].to_owned(), Manifest { digest: digest(digit), image: image(digit) })
            })
            .collect();
        let known = Known {
            tags: ["a", "b", "c"].map(str::to_owned).into(),
            present_tags: HashSet::new(),
            released: released.chars().map(digest).collect(),
            kept: kept.chars().map(digest).collect(),
        };
        let (present, made): (Vec<_>, Vec<_>) =
            (present.chars().map(image).collect(), made.chars().map(image).collect());
        let slugs = Slugs { present: present.iter().collect(), ours: made.iter().collect() };
        let goes = superfluous(&manifests, &known, &slugs);
        ('1'..='9').filter(|digit| goes.contains(&digest(*digit))).collect()
    }

    #[test]
    fn a_manifest_goes_when_it_is_ours_and_needed_by_no_tag() {
        for (tags, released, made, kept, present, expected, why) in [
            (&["a1", "b2"][..], "12", "", "2", "", "1", "a release that is kept keeps its own"),
            (&["a1", "b2"], "", "12", "", "2", "1", "what is in Docker is needed"),
            (&["a1", "b2"], "", "", "", "", "", "nothing of this platform"),
            (&["a1", "b1"], "1", "", "", "", "1", "two tags of pushes"),
            (&["a1", "s1", "b2"], "12", "", "", "", "2", "somebody gave it a name of their own"),
            (&["s1"], "1", "1", "", "", "", "no push's tag leads there"),
            (&["a3", "b2"], "12", "12", "", "", "2", "somebody else moved the tag to what is theirs"),
        ] {
            assert_eq!(goes(tags, released, made, kept, present), expected, "{why}");
        }
    }

    #[test]
    fn the_repositories_are_those_of_apps_and_of_what_has_gone() {
        let registry = Registry { host: "r.example:5000".to_owned(), credentials: None, patience: Registry::PATIENCE };
        let tags = ["r.example:5000/dev/shop:0123", "other.example/dev/wiki:0123", "r.example:5000/dev/shop:4567"];
        let gone = ListedImage {
            id: image('1'),
            tags: tags.map(str::to_owned).to_vec(),
            digests: Vec::new(),
            labels: HashMap::new(),
        };
        let found = repositories(&registry, &[], std::slice::from_ref(&gone));
        assert_eq!(found.into_keys().collect::<Vec<_>>(), ["dev/shop"]);
        assert_eq!(tags_in("r.example:5000/dev/shop", &gone), ["0123", "4567"]);
    }
}
