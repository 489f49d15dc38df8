//! A build's turn: as one of its tenant's, by the tenant's quota, and as one of this host's, by `builds.parallel`.
//!
//! The host's slot is taken last, so that nobody has one who cannot use it yet.

use super::build::BuildError;
use super::places::Places;
use super::queue::{Queue, Step, Waiting};
use super::{Platform, Push};
use crate::model::{Period, TenantName};
use crate::store::{Holder, Lease, StoreError};

/// That a build may go on, until this is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    // Both held for their drop alone.
    _of_tenant: Option<Lease>,
    _of_host: Lease,
}

/// What a build that wants its turn is answered.
#[derive(Debug)]
pub(super) enum Asked {
    Now(Turn),
    Later(Queued),
}

/// A build that has to wait.
#[derive(Debug)]
pub(super) struct Queued {
    /// None: it waits for that one first.
    of_tenant: Option<Lease>,
}

/// Where what is told of waiting goes.
pub(super) type Tell<'a> = &'a mut (dyn FnMut(String) -> Result<(), BuildError> + Send);

/// Asks for the turn, and does not wait for it.
pub(super) async fn ask(push: &Push, platform: &Platform) -> Result<Asked, BuildError> {
    let who = describe(push);
    let later = |of_tenant, refusal: fn(&Push, &Platform) -> BuildError| {
        if push.options.no_wait { Err(refusal(push, platform)) } else { Ok(Asked::Later(Queued { of_tenant })) }
    };
    let of_tenant = match of_tenant(push, platform) {
        Some(queue) => match queue.try_slot(&who).await? {
            None => return later(None, no_turn),
            slot => slot,
        },
        None => None,
    };
    match of_host(platform).try_slot(&who).await? {
        Some(slot) => Ok(Asked::Now(Turn { _of_tenant: of_tenant, _of_host: slot })),
        None => later(of_tenant, no_slot),
    }
}

impl Queued {
    /// Waits for the turn, and tells its place in the queue whenever that is another.
    pub(super) async fn wait(self, push: &Push, platform: &Platform, tell: Tell<'_>) -> Result<Turn, BuildError> {
        let of_tenant = match (self.of_tenant, of_tenant(push, platform)) {
            (None, Some(queue)) => {
                let what = format!("slot of tenant `{}`, whose quota allows {} at once", push.tenant, queue.slots);
                Some(wait_in(queue, &what, push, platform, tell).await?.ok_or_else(|| no_turn(push, platform))?)
            }
            (held, _) => held,
        };
        // It may be free by now; whoever waits in vain for a place is told nothing.
        let queue = of_host(platform);
        let of_host = match queue.try_slot(&describe(push)).await? {
            Some(slot) => Some(slot),
            None => wait_in(queue, "slot", push, platform, tell).await?,
        };
        let of_host = of_host.ok_or_else(|| no_slot(push, platform))?;
        Ok(Turn { _of_tenant: of_tenant, _of_host: of_host })
    }
}

fn of_tenant<'a>(push: &Push, platform: &'a Platform) -> Option<Queue<'a>> {
    let slots = platform.tenancy.quota.builds?.get();
    Some(Queue { store: &*platform.store, places: Places::builds_of_tenant(&push.tenant), slots })
}

fn of_host(platform: &Platform) -> Queue<'_> {
    Queue { store: &*platform.store, places: Places::builds_of_host(), slots: platform.parallel.get() }
}

/// A slot, or none when the patience is at its end.
async fn wait_in(
    queue: Queue<'_>,
    what: &str,
    push: &Push,
    platform: &Platform,
    tell: Tell<'_>,
) -> Result<Option<Lease>, BuildError> {
    let mut waiting = queue.join(describe(push), platform.patience).await?;
    let (place, patience) = (waiting.place(), Period::from_secs(platform.patience.as_secs()));
    let under_way = under_way(&waiting, &push.tenant).await?;
    tell(format!("Waiting at most {patience} for a build {what}: place {place} of the queue, {under_way}"))?;
    loop {
        match waiting.next().await? {
            Step::MovedUp(place) => tell(format!("Place {place} of the queue"))?,
            Step::Served(slot) => return Ok(Some(slot)),
            Step::OutOfPatience => return Ok(None),
        }
    }
}

async fn under_way(waiting: &Waiting<'_>, tenant: &TenantName) -> Result<String, StoreError> {
    Ok(told(&waiting.queue().served().await?, tenant))
}

/// Whoever waits is told of their own tenant's builds; of others, that there are some.
fn told(served: &[Holder], tenant: &TenantName) -> String {
    /// More would be no line any more.
    const NAMED: usize = 3;
    let ours: Vec<String> = served.iter().filter_map(|holder| named(holder, tenant)).take(NAMED).collect();
    let count = match served.len() {
        1 => "1 build is under way".to_owned(),
        all => format!("{all} builds are under way"),
    };
    let others = served.len() - ours.len();
    if ours.is_empty() {
        return count;
    }
    let more = (others > 0).then(|| format!("{others} more"));
    format!("{count}: {}", ours.into_iter().chain(more).collect::<Vec<_>>().join("; "))
}

/// The holder of a slot, if it is one of that tenant's.
fn named(holder: &Holder, tenant: &TenantName) -> Option<String> {
    let (push, target) = holder.who.rsplit_once(" to ")?;
    let app = target.strip_prefix(tenant.as_str())?.strip_prefix('/')?;
    Some(format!("{push} to {app} since {}", holder.since.strftime("%H:%M:%S UTC")))
}

/// As the holder of a slot is kept; [`named`] reads it.
fn describe(push: &Push) -> String {
    format!("{} to {}/{}", super::describe(push), push.tenant, push.app)
}

fn no_turn(push: &Push, platform: &Platform) -> BuildError {
    let most = platform.tenancy.quota.builds.map_or(0, std::num::NonZero::get);
    BuildError::NoTurn { tenant: push.tenant.clone(), most }
}

fn no_slot(_: &Push, platform: &Platform) -> BuildError {
    BuildError::NoSlot { most: platform.parallel.get() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(who: &str) -> Holder {
        Holder { who: who.to_owned(), since: "2026-11-23T12:03:04Z".parse().unwrap() }
    }

    #[test]
    fn builds_of_other_tenants_are_counted_and_not_named() {
        let tenant = "dev".parse().unwrap();
        let ours = holder("alice's push of 3f2c1ab to dev/shop");
        let theirs = [holder("bob's push of 3f2c1ab to developers/shop"), holder("bob's push of 3f2c1ab to prod/wiki")];
        let told = |served: &[&Holder]| told(&served.iter().copied().cloned().collect::<Vec<_>>(), &tenant);
        assert_eq!(
            told(&[&theirs[0], &ours, &theirs[1]]),
            "3 builds are under way: alice's push of 3f2c1ab to shop since 12:03:04 UTC; 2 more"
        );
        assert_eq!(told(&[&ours]), "1 build is under way: alice's push of 3f2c1ab to shop since 12:03:04 UTC");
        assert_eq!(told(&[&theirs[0]]), "1 build is under way");
        assert_eq!(told(&[&theirs[0], &theirs[1]]), "2 builds are under way");
        assert_eq!(told(&[]), "0 builds are under way");
        let many = vec![&ours; 5];
        assert!(told(&many).ends_with("; 2 more"), "{}", told(&many));
    }
}
