//! What the store's records say of an app's past.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use serde::de::DeserializeOwned;

use super::{Sweep, SweepError};
use crate::docker::ListedImage;
use crate::model::{AppName, Digest, ImageId, ImageRef, TenantName};
use crate::pipeline::app_record::AppRecord;
use crate::pipeline::build_log::{Build, BuildState};
use crate::pipeline::keep::{AppSlugs, PastBuild, Use};
use crate::pipeline::places::Places;
use crate::pipeline::release::{BuildOf, Release, ReleaseError, ReleaseState};
use crate::store::StorePath;

/// One app's past, as far as it decides what goes.
#[derive(Debug)]
pub(super) struct History {
    pub tenant: TenantName,
    pub app: AppName,
    releases: Vec<PastRelease>,
    /// The slugs that builds made.
    made: Vec<Use>,
    /// Of all slugs that were built or released.
    tags: BTreeSet<String>,
    pub builds: Vec<PastBuild>,
}

#[derive(Debug)]
struct PastRelease {
    image: ImageRef,
    build: BuildOf,
    created: Timestamp,
    /// It serves, did so before, or may come to.
    serves: bool,
}

impl History {
    /// The numbers of the builds of an app whose slugs serve here.
    pub(super) fn serving_builds_of(&self, tenant: &TenantName, app: &AppName) -> Vec<u32> {
        let is_of = |build: &BuildOf| build.tenant.as_ref().unwrap_or(&self.tenant) == tenant && build.app == *app;
        let serving = self.releases.iter().filter(|release| release.serves && is_of(&release.build));
        serving.map(|release| release.build.number).collect()
    }

    /// What releases call the slugs that were published to the repository.
    pub(super) fn published_to(&self, repository: &str) -> AppSlugs<Digest> {
        let digest = |release: &PastRelease| match &release.image {
            ImageRef::Published { repository: name, digest } if name == repository => Some(digest.clone()),
            _ => None,
        };
        let released = |release| Some(Use { image: digest(release)?, at: release.created });
        AppSlugs {
            serving: self.releases.iter().filter(|release| release.serves).filter_map(digest).collect(),
            uses: self.releases.iter().filter_map(released).collect(),
        }
    }

    /// By which pushes of the app may have published something.
    pub(super) fn tags(&self) -> impl Iterator<Item = &String> {
        self.tags.iter()
    }

    pub(super) fn made(&self) -> impl Iterator<Item = &ImageId> {
        self.made.iter().map(|made| &made.image)
    }

    /// The app's slugs that are among `images`.
    pub(super) fn slugs(&self, images: &Images) -> AppSlugs {
        let serving = self.releases.iter().filter(|release| release.serves);
        let released = self.releases.iter().filter_map(|release| {
            images.id(&release.image).map(|image| Use { image: image.clone(), at: release.created })
        });
        AppSlugs {
            serving: serving.filter_map(|release| images.id(&release.image).cloned()).collect(),
            uses: released.chain(self.made.iter().filter(|made| images.has(&made.image)).cloned()).collect(),
        }
    }
}

/// The slugs in Docker, by all that releases call them.
#[derive(Debug)]
pub(super) struct Images {
    pub listed: Vec<ListedImage>,
    by_name: HashMap<String, ImageId>,
}

impl Images {
    pub(super) fn of(listed: Vec<ListedImage>) -> Self {
        let names = |image: &ListedImage| {
            let all: Vec<_> = image.digests.iter().cloned().chain([image.id.to_string()]).collect();
            all.into_iter().map(|name| (name, image.id.clone())).collect::<Vec<_>>()
        };
        let by_name = listed.iter().flat_map(names).collect();
        Self { listed, by_name }
    }
    fn id(&self, image: &ImageRef) -> Option<&ImageId> {
        self.by_name.get(&image.to_string())
    }
    pub(super) fn has(&self, id: &ImageId) -> bool {
        self.by_name.contains_key(id.as_str())
    }
}

impl Sweep {
    /// The past of every app.
    pub(super) async fn histories(&self) -> Result<Vec<History>, SweepError> {
        let mut all = Vec::new();
        for (tenant, app) in self.apps().await? {
            all.push(self.history(tenant, app).await?);
        }
        Ok(all)
    }

    async fn history(&self, tenant: TenantName, app: AppName) -> Result<History, SweepError> {
        let places = Places::of(&tenant, &app);
        let record: AppRecord = self.record(places.app()).await?.unwrap_or_default();
        let releases: Vec<Release> = self.records(&places.releases()).await?;
        let before = record.serving.and_then(|serving| {
            releases.iter().find(|release| release.number == serving).and_then(|release| release.replaces)
        });
        let serves = |release: &Release| {
            let is_newest = release.number.get() == record.releases;
            // Its push may have been killed over its deployment, which goes on without it.
            let may_come_to = is_newest && matches!(release.state, ReleaseState::Pending { .. });
            may_come_to || [record.serving, before].contains(&Some(release.number))
        };
        let past = |release: &Release| PastRelease {
            image: release.image.clone(),
            build: release.build.clone(),
            created: release.created,
            serves: serves(release),
        };
        let builds: Vec<Build> = self.records(&places.builds()).await?;
        let slugs = releases.iter().map(|release| &release.slug).chain(builds.iter().map(|build| &build.slug));
        Ok(History {
            releases: releases.iter().map(past).collect(),
            made: builds.iter().filter_map(made).collect(),
            tags: slugs.map(|slug| slug.short().to_owned()).collect(),
            builds: builds.iter().map(past_build).collect(),
            tenant,
            app,
        })
    }

    async fn records<T: DeserializeOwned>(&self, place: &StorePath) -> Result<Vec<T>, SweepError> {
        let mut all = Vec::new();
        for name in self.names_below(place).await? {
            let path = place.try_join(&name).map_err(|_| SweepError::StrangeName(name))?;
            all.extend(self.record(&path).await?);
        }
        Ok(all)
    }

    /// A record that may be gone, or not yet written to.
    async fn record<T: DeserializeOwned>(&self, path: &StorePath) -> Result<Option<T>, SweepError> {
        let Some(record) = self.store.get(path).await?.filter(|record| !record.value.is_empty()) else {
            return Ok(None);
        };
        let cause = |cause| ReleaseError::Unreadable { path: path.to_string(), cause };
        Ok(serde_json::from_slice(&record.value).map(Some).map_err(cause)?)
    }
}

fn made(build: &Build) -> Option<Use> {
    match &build.state {
        BuildState::Succeeded { at, image, .. } => Some(Use { image: image.clone(), at: *at }),
        _ => None,
    }
}

fn past_build(build: &Build) -> PastBuild {
    PastBuild { number: build.number, began: build.started, has_ended: !build.state.is_under_way() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::release::tests::release;

    #[test]
    fn a_published_release_is_known_by_its_digest() {
        let id: ImageId = format!("sha256:{}", "1".repeat(64)).parse().unwrap();
        let published = format!("127.0.0.1:5000/dev/shop@sha256:{}", "2".repeat(64));
        let listed = ListedImage {
            id: id.clone(),
            tags: vec!["127.0.0.1:5000/dev/shop:0123".to_owned()],
            digests: vec![published.clone()],
            labels: HashMap::new(),
        };
        let past = |image: ImageRef, serves| {
            let Release { build, created, .. } = release();
            PastRelease { image, build, created, serves }
        };
        let gone = format!("sha256:{}", "3".repeat(64));
        let history = History {
            tenant: "dev".parse().unwrap(),
            app: "shop".parse().unwrap(),
            releases: vec![
                past(published.parse().unwrap(), true),
                past(ImageRef::Local(id.clone()), false),
                past(gone.parse().unwrap(), true),
            ],
            made: vec![Use { image: gone.parse().unwrap(), at: release().created }],
            tags: BTreeSet::new(),
            builds: Vec::new(),
        };
        let published_to = history.published_to("127.0.0.1:5000/dev/shop");
        let digest: Digest = format!("sha256:{}", "2".repeat(64)).parse().unwrap();
        assert_eq!((published_to.serving, published_to.uses.len()), (vec![digest], 1));
        assert!(history.published_to("127.0.0.1:5000/dev/twin").serving.is_empty(), "the same digest, elsewhere");
        let slugs = history.slugs(&Images::of(vec![listed]));
        let used = Use { image: id.clone(), at: release().created };
        assert_eq!(slugs, AppSlugs { serving: vec![id], uses: vec![used.clone(), used] });
    }

    #[test]
    fn a_build_whose_slug_serves_in_another_tenant_is_known_there() {
        let past = |tenant: Option<&str>, number, serves| {
            let Release { build, created, image, .. } = release();
            let build = BuildOf { tenant: tenant.map(|name| name.parse().unwrap()), number, ..build };
            PastRelease { image, build, created, serves }
        };
        let history = History {
            tenant: "prod".parse().unwrap(),
            app: "store".parse().unwrap(),
            releases: vec![past(Some("dev"), 1, true), past(Some("dev"), 2, false), past(None, 3, true)],
            made: Vec::new(),
            tags: BTreeSet::new(),
            builds: Vec::new(),
        };
        let of = |tenant: &str| history.serving_builds_of(&tenant.parse().unwrap(), &"shop".parse().unwrap());
        assert_eq!((of("dev"), of("prod"), of("test")), (vec![1], vec![3], vec![]));
    }
}
