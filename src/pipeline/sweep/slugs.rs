//! Slugs that no app keeps, in Docker and in the store's memory.
//!
//! Pushes go on meanwhile and must never be left without the slug they have just found. So one that is to go is struck
//! from the store's memory first, and is removed once no push is under way that could have found it before.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;

use super::history::Images;
use super::{Kind, Sweep, SweepError, Swept};
use crate::docker::{ListedImage, labels};
use crate::model::ImageId;
use crate::pipeline::keep::{is_out_of_reach, kept_slugs};
use crate::pipeline::places::Places;
use crate::pipeline::release::{ReleaseError, json};
use crate::pipeline::slug::{KnownSlug, KnownSlugs};
use crate::store::{StoreError, StorePath, Version};

/// The store has taken the note that a slug is struck at most this long after the time in the note.
const NOTED_WITHIN: Duration = Duration::from_mins(1);

/// What the store remembers of one key.
struct Memory {
    path: StorePath,
    known: KnownSlugs,
    version: Version,
}

impl Sweep {
    /// Leaves in `gone` what went, or would go.
    pub(super) async fn slugs(&self, gone: &mut Vec<ListedImage>, swept: &mut Swept) -> Result<(), SweepError> {
        // In this order: whatever is remembered was there before, so what is not listed is gone.
        let memories = self.memories().await?;
        let images = self.images().await?;
        let kept = self.kept(&images).await?;
        if self.dry_run {
            gone.extend(images.listed.into_iter().filter(|image| !kept.contains(&image.id)));
            for _ in gone {
                swept.tried(Kind::Slugs, Ok::<_, SweepError>(true));
            }
            return Ok(());
        }
        self.strike(&memories, &images, &kept, swept).await?;

        // And in this one: a push that has ended has left its release and its memory, one that has not is met here.
        let struck = Timestamp::now();
        let pushes = self.pushes().await?;
        let memories = self.memories().await?;
        let kept = self.kept(&images).await?;
        let last_known = last_known(&memories);
        let goes = |image: &&ListedImage| {
            let out_of_reach = match last_known.get(&image.id) {
                Some(LastKnown::Now) => false,
                Some(LastKnown::Until(at)) => is_out_of_reach((*at + NOTED_WITHIN).min(struck), &pushes),
                None => is_out_of_reach(struck, &pushes),
            };
            out_of_reach && !kept.contains(&image.id)
        };
        for image in images.listed.iter().filter(goes) {
            let outcome = self.docker.remove_unused_image(image).await;
            if matches!(outcome, Ok(true)) {
                gone.push(image.clone());
            }
            swept.tried(Kind::Slugs, outcome);
        }
        let removed: HashSet<&ImageId> = gone.iter().map(|image| &image.id).collect();
        for memory in &memories {
            let without = memory.known.changed(|slug| (!removed.contains(&slug.image)).then_some(slug));
            self.remember(memory, &without).await?;
        }
        Ok(())
    }

    /// What the apps' records say is kept of the images.
    async fn kept(&self, images: &Images) -> Result<HashSet<ImageId>, SweepError> {
        let apps: Vec<_> = self.histories().await?.iter().map(|history| history.slugs(images)).collect();
        Ok(kept_slugs(&apps, &self.keep))
    }

    /// Brings the memory in line with what is kept: what is not is struck, what is gone is forgotten.
    async fn strike(
        &self,
        memories: &[Memory],
        images: &Images,
        kept: &HashSet<ImageId>,
        swept: &mut Swept,
    ) -> Result<(), SweepError> {
        for memory in memories {
            let now = Timestamp::now();
            let known = memory.known.changed(|slug| {
                let struck = if kept.contains(&slug.image) { None } else { slug.struck.or(Some(now)) };
                images.has(&slug.image).then_some(KnownSlug { struck, ..slug })
            });
            let forgotten = memory.known.iter().count() - known.iter().count();
            if self.remember(memory, &known).await? {
                (0..forgotten).for_each(|_| swept.tried(Kind::Memories, Ok::<_, SweepError>(true)));
            }
        }
        Ok(())
    }

    /// Writes what is known now, unless a push has written meanwhile: then the next sweep comes back to it. True when
    /// it is written.
    async fn remember(&self, memory: &Memory, known: &KnownSlugs) -> Result<bool, StoreError> {
        if *known == memory.known {
            return Ok(true);
        }
        let written = if known.is_empty() {
            self.store.delete(&memory.path, Some(memory.version)).await
        } else {
            self.store.put(&memory.path, json(known), Some(memory.version)).await
        };
        match written {
            Ok(()) => Ok(true),
            Err(StoreError::Changed(_) | StoreError::NotFound(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn memories(&self) -> Result<Vec<Memory>, SweepError> {
        let mut all = Vec::new();
        for key in self.names_below(&Places::slugs()).await? {
            let path = Places::slugs().try_join(&key).map_err(|_| SweepError::StrangeName(key))?;
            let Some(record) = self.store.get(&path).await? else { continue };
            let cause = |cause| ReleaseError::Unreadable { path: path.to_string(), cause };
            let known = serde_json::from_slice(&record.value).map_err(cause)?;
            all.push(Memory { path, known, version: record.version });
        }
        Ok(all)
    }

    /// This platform's slugs in Docker.
    pub(super) async fn images(&self) -> Result<Images, SweepError> {
        let mut listed = self.docker.images_with(&[(labels::HOME, &self.home_label)]).await?;
        listed.retain(|image| image.labels.get(labels::SLUG).is_some_and(|slug| !slug.is_empty()));
        Ok(Images::of(listed))
    }

    /// When each push began that is under way now, whatever its app.
    async fn pushes(&self) -> Result<Vec<Timestamp>, SweepError> {
        let mut all = Vec::new();
        for (tenant, app) in self.apps().await? {
            all.extend(self.push_since(&tenant, &app).await?);
        }
        Ok(all)
    }
}

/// Until when a push could find the slug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LastKnown {
    Now,
    Until(Timestamp),
}

/// One slug may be remembered for several keys or tenants: the latest counts.
fn last_known(memories: &[Memory]) -> HashMap<ImageId, LastKnown> {
    let mut all = HashMap::new();
    for slug in memories.iter().flat_map(|memory| memory.known.iter()) {
        let one = slug.struck.map_or(LastKnown::Now, LastKnown::Until);
        let entry = all.entry(slug.image.clone()).or_insert(one);
        *entry = match (*entry, one) {
            (LastKnown::Until(a), LastKnown::Until(b)) => LastKnown::Until(a.max(b)),
            _ => LastKnown::Now,
        };
    }
    all
}
