//! What pushes that were killed left in the store and in repositories: builds that seem to go on, and refs that keep the
//! commits of detached ones. The next push of the app would mend both, but it may never come.

use std::path::Path;

use super::files::{directories, named_repository};
use super::{Kind, Sweep, SweepError, Swept};
use crate::git::{self, Claim};
use crate::pipeline::build_log::Builds;
use crate::pipeline::detached::REFS;
use crate::pipeline::places::Places;

impl Sweep {
    pub(super) async fn killed(&self, swept: &mut Swept) -> Result<(), SweepError> {
        for history in self.histories().await? {
            let builds = Builds { store: &*self.store, places: Places::of(&history.tenant, &history.app) };
            for build in history.builds.iter().filter(|build| !build.has_ended) {
                swept.tried(Kind::Abandoned, self.abandon(&builds, build.number).await);
            }
        }
        Ok(())
    }

    async fn abandon(&self, builds: &Builds<'_>, number: u32) -> Result<bool, SweepError> {
        match builds.dead(number).await? {
            None => Ok(false),
            Some(_) if self.dry_run => Ok(true),
            Some((build, version)) => Ok(builds.abandon(&build, version).await?),
        }
    }

    pub(super) fn refs_of_killed(&self, swept: &mut Swept) {
        for tenant in directories(&self.repositories) {
            for (_, path) in directories(&tenant.path()).filter_map(|entry| named_repository(&entry)) {
                match self.forget_refs(&path) {
                    Ok(count) => (0..count).for_each(|_| swept.tried(Kind::Refs, Ok::<_, SweepError>(true))),
                    Err(error) => swept.tried(Kind::Refs, Err(error)),
                }
            }
        }
    }

    /// Says how many it was. A detached push is at work in the repository as long as it lives.
    fn forget_refs(&self, path: &Path) -> Result<usize, SweepError> {
        let left = || git::ref_names(path).map(|names| names.into_iter().filter(|name| name.starts_with(REFS)));
        if left()?.next().is_none() || !git::is_ours(path)? {
            return Ok(0);
        }
        let Some(_claim) = Claim::on(path)?.alone()? else { return Ok(0) };
        // One may have begun and ended since.
        let names: std::collections::BTreeSet<String> = left()?.collect();
        if !self.dry_run {
            git::forget_refs(path, &names)?;
        }
        Ok(names.len())
    }
}
