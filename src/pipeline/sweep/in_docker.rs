//! Containers of pushes that are over, and build caches of apps that are gone: volumes, and what a Dockerfile's steps left.

use std::collections::HashMap;

use super::{Kind, Sweep, SweepError, Swept};
use crate::docker::labels;
use crate::model::{AppName, TenantName};
use crate::pipeline::places::Places;

/// What the volumes of build caches are called, as far as it is the same for all.
const CACHE: &str = "paas-cache-";

impl Sweep {
    /// A push holds its app as long as it lives. So whatever container was there before nobody held the app is nobody's.
    pub(super) async fn containers(&self, swept: &mut Swept) -> Result<(), SweepError> {
        for container in self.docker.containers_labelled(labels::HOME, &self.home_label).await? {
            let Some((tenant, app)) = of_push(&container.labels) else { continue };
            if self.push_since(&tenant, &app).await?.is_some() {
                continue;
            }
            let removed = if self.dry_run { Ok(()) } else { self.docker.remove_container(&container.id).await };
            swept.tried(Kind::Containers, removed.map(|()| true));
        }
        Ok(())
    }

    pub(super) async fn caches(&self, swept: &mut Swept) -> Result<(), SweepError> {
        for volume in self.docker.volumes_with(&[(labels::HOME, &self.home_label)]).await? {
            let Some((tenant, app)) = app_of(&volume.labels).filter(|_| volume.name.starts_with(CACHE)) else {
                continue;
            };
            // An app is in the store before it has a cache.
            if self.store.get(Places::of(&tenant, &app).app()).await?.is_some() {
                continue;
            }
            let removed = if self.dry_run { Ok(true) } else { self.docker.remove_unused_volume(&volume.name).await };
            swept.tried(Kind::Caches, removed);
        }
        for image in self.docker.images_with(&[(labels::HOME, &self.home_label)]).await? {
            let is_step = image.labels.get(labels::STEP).is_some_and(|step| !step.is_empty());
            let Some((tenant, app)) = app_of(&image.labels).filter(|_| is_step) else { continue };
            if self.store.get(Places::of(&tenant, &app).app()).await?.is_some() {
                continue;
            }
            let removed = if self.dry_run { Ok(()) } else { self.docker.remove_image(image.id.as_str()).await };
            swept.tried(Kind::Caches, removed.map(|()| true));
        }
        Ok(())
    }
}

/// The app whose push the container belongs to, if it belongs to any.
fn of_push(labels: &HashMap<String, String>) -> Option<(TenantName, AppName)> {
    let has = |label| labels.get(label).is_some_and(|value| !value.is_empty());
    let is_of_push = has(labels::PUSH) || has(labels::STEP);
    // An instance is an engine's to end, whatever its image says.
    if is_of_push && !labels.contains_key(labels::ENGINE) { app_of(labels) } else { None }
}

fn app_of(labels: &HashMap<String, String>) -> Option<(TenantName, AppName)> {
    Some((labels.get(labels::TENANT)?.parse().ok()?, labels.get(labels::APP)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_containers_that_name_a_push_and_an_app_are_of_a_push() {
        let all = [(labels::TENANT, "dev"), (labels::APP, "shop"), (labels::PUSH, "p1")];
        let with = |pairs: &[(&str, &str)]| {
            of_push(&pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
        };
        assert_eq!(with(&all), Some(("dev".parse().unwrap(), "shop".parse().unwrap())));
        assert_eq!(with(&[all[0], all[1], (labels::PUSH, ""), (labels::STEP, "")]), None, "a container of a slug");
        let step = with(&[all[0], all[1], (labels::PUSH, ""), (labels::STEP, "dev/shop")]);
        assert!(step.is_some(), "a container of a Dockerfile's step");
        assert_eq!(with(&[all[0], all[1], all[2], (labels::ENGINE, "e")]), None, "an instance");
        for missing in 0..all.len() {
            let rest: Vec<_> = all.iter().copied().filter(|pair| *pair != all[missing]).collect();
            assert_eq!(with(&rest), None, "without {}", all[missing].0);
        }
        assert_eq!(with(&[all[0], (labels::APP, "No/App"), all[2]]), None);
    }
}
