//! Whether a push fits into its tenant's quota.
//!
//! A push is judged twice. Before it builds, by what its source says will run: nobody waits for a build that was never
//! to be deployed. And by what does run, once the slug is known; from then until Marathon has the release it holds the
//! quota, so that two pushes to two apps never take the same last cpu.

use super::definition::app_id;
use super::formation::{Formation, Process, expected};
use super::places::Places;
use super::post::{ELECTION, led};
use super::release::Release;
use super::source::Source;
use super::{Platform, Push, PushError, Tenancy, describe};
use crate::marathon::AppInfo;
use crate::model::{AppName, Cpus, Demand, InUse, Quota, Share};
use crate::store::{Lease, LeaseAttempt};

/// Refuses a push that its source alone shows to be over the quota.
pub(super) async fn foresee(
    source: &Source,
    previous: Option<&Release>,
    push: &Push,
    platform: &Platform,
) -> Result<(), PushError> {
    let formation = expected(&source.procfile, &source.wishes, previous.map(|release| &release.formation))?;
    admit(&formation, push, &platform.tenancy).await
}

/// Holds the tenant's quota, if it limits what runs, until the lease is dropped.
pub(super) async fn hold(quota: &Quota, push: &Push, platform: &Platform) -> Result<Option<Lease>, PushError> {
    if !limits_apps(quota) {
        return Ok(None);
    }
    let (place, who) = (Places::quota(&push.tenant), describe(push));
    match platform.store.lease(&place, &who, platform.patience).await? {
        LeaseAttempt::Held(lease) => Ok(Some(lease)),
        LeaseAttempt::Busy(holder) => Err(PushError::QuotaHeld { tenant: push.tenant.clone(), holder }),
    }
}

/// Refuses a push whose formation is over the quota.
pub(super) async fn admit(formation: &Formation, push: &Push, tenancy: &Tenancy) -> Result<(), PushError> {
    if !limits_apps(&tenancy.quota) {
        return Ok(());
    }
    let apps = led(ELECTION, || tenancy.marathon.apps()).await.map_err(PushError::InUse)?;
    let (others, demand) = figures(&apps, &push.app, formation);
    let admitted = tenancy.quota.admit(&others, &demand);
    admitted.map_err(|cause| PushError::OverQuota { tenant: push.tenant.clone(), cause })
}

/// Builds are no concern of Marathon's.
fn limits_apps(quota: &Quota) -> bool {
    *quota != Quota { builds: quota.builds, ..Quota::default() }
}

/// What the tenant's other apps have, and what this one asks for with that formation. `apps` is all that the tenant's
/// Marathon runs.
fn figures(apps: &[AppInfo], app: &AppName, formation: &Formation) -> (InUse, Demand) {
    let name = |found: &AppInfo| found.app.id.segments().first().cloned().unwrap_or_default();
    let named: Vec<(String, &AppInfo)> = apps.iter().map(|found| (name(found), found)).collect();
    let (ours, theirs): (Vec<_>, Vec<_>) = named.iter().partition(|(name, _)| name == app.as_str());
    let others = InUse::sum(theirs.iter().map(|(name, found)| (name.as_str(), found.app.instances, found.app.share())));
    let mut demand = Demand { is_new_app: ours.is_empty(), ..Demand::default() };
    for (process_type, process) in formation.iter().filter(|(_, process)| process.instances > 0) {
        let share = share(process);
        demand.share = demand.share.plus(share.times(process.instances));
        demand.largest = demand.largest.or_more(share);
        let id = app_id(app, process_type);
        // Of what ran before, more than are asked for now go at once.
        if let Some((_, before)) = ours.iter().find(|(_, found)| found.app.id == id) {
            let kept = before.app.instances.min(process.instances);
            demand.retained = demand.retained.plus(before.app.share().times(kept));
        }
    }
    (others, demand)
}

/// An instance's files count nothing: the pipeline asks Marathon for no disk.
fn share(process: &Process) -> Share {
    Share { cpus: Cpus::nearest(process.cpus), mem: process.mem, disk: 0 }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::num::NonZeroU32;

    use super::*;
    use crate::manifest::Process as Wish;
    use crate::marathon::App;

    fn running(id: &str, instances: u32, cpus: f64, mem: f64) -> AppInfo {
        AppInfo::new(App { instances, cpus, mem, disk: 1.0, ..App::new(id.parse().unwrap()) })
    }
    fn formation(of: &[(&str, u32, f64, u64)]) -> Formation {
        let wishes = of.iter().map(|(name, instances, cpus, mem)| {
            let command = Some("./run".to_owned());
            let wish =
                Wish { command, instances: Some(*instances), cpus: Some(*cpus), mem: Some(*mem), ..Wish::default() };
            (name.parse().unwrap(), wish)
        });
        super::super::formation::formation(&[], &wishes.collect::<BTreeMap<_, _>>(), None).unwrap()
    }
    fn share(cpus: f64, mem: u64, disk: u64) -> Share {
        Share { cpus: Cpus::nearest(cpus), mem, disk }
    }

    #[test]
    fn a_new_app_asks_for_all_its_instances_beside_everything_there_is() {
        let apps = [running("/wiki/web", 2, 0.5, 100.5), running("/wiki/worker", 0, 4.0, 9.0)];
        let asked = formation(&[("web", 3, 0.1, 256), ("worker", 1, 2.0, 64), ("idle", 0, 99.0, 9999)]);
        let (others, demand) = figures(&apps, &"shop".parse().unwrap(), &asked);
        assert_eq!(others, InUse { share: share(1.0, 202, 2), apps: 1 });
        let expected = Demand {
            share: share(2.3, 832, 0),
            is_new_app: true,
            retained: share(0.0, 0, 0),
            largest: share(2.0, 256, 0),
        };
        assert_eq!(demand, expected);
    }

    #[test]
    fn what_an_app_has_already_counts_only_as_far_as_it_stays_until_new_instances_serve() {
        let apps =
            [running("/shop/web", 4, 0.5, 100.0), running("/shop/gone", 9, 9.0, 900.0), running("/wiki", 1, 1.0, 1.0)];
        let (others, demand) = figures(&apps, &"shop".parse().unwrap(), &formation(&[("web", 3, 1.0, 200)]));
        assert_eq!(others, InUse { share: share(1.0, 1, 1), apps: 1 });
        let expected = Demand {
            share: share(3.0, 600, 0),
            is_new_app: false,
            retained: share(1.5, 300, 3),
            largest: share(1.0, 200, 0),
        };
        assert_eq!(demand, expected);
    }

    #[test]
    fn a_limit_of_builds_alone_asks_nobody_what_runs() {
        assert!(!limits_apps(&Quota { builds: NonZeroU32::new(1), ..Quota::default() }));
        assert!(limits_apps(&Quota { apps: Some(0), ..Quota::default() }));
    }
}
