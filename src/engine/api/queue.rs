//! The launch queue as clients see it: what waits, since when, and why.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::super::core::{State, is_waiting};
use super::super::instance::{Instance, Phase};
use super::super::waiting::{REASONS, Waiting};
use crate::marathon::{
    DECLINE_REASONS, DeclinedOffers, NumberRange, Offer, OfferResource, OffersSummary, PathId, Queue, QueueDelay,
    QueueItem, UnusedOffer,
};

/// The apps of which instances wait to be launched, or for their launch to be confirmed.
pub(super) fn queue(state: &State, range: &RangeInclusive<u16>, with_offers: bool) -> Queue {
    let queued = |instance: &&Instance| is_waiting(instance) || matches!(instance.phase, Phase::Provisioned(_));
    let apps: BTreeSet<_> = state.all_instances().filter(queued).map(Instance::app).collect();
    let item = |id| {
        let waiting = state.instances(id).filter(queued).collect::<Vec<_>>();
        let first = waiting.first()?;
        let app = state.app(id).or_else(|| state.definition(first))?;
        let held = state.held_until(app);
        let since = waiting.iter().map(|instance| instance.waiting_since).min()?;
        Some(QueueItem {
            count: u32::try_from(waiting.len()).unwrap_or(u32::MAX),
            role: app.role.clone(),
            delay: QueueDelay {
                time_left_seconds: held.map_or(0, |until| until.since(state.now()).as_secs()),
                overdue: held.is_none(),
            },
            since: since.to_string(),
            processed_offers_summary: offers(state.waiting(id)),
            last_unused_offers: with_offers.then(|| unused(state, range, state.waiting(id)).into_iter().collect()),
            app: app.clone(),
        })
    };
    Queue { queue: apps.into_iter().filter_map(item).collect() }
}

/// Whether an app waits in the queue.
pub(super) fn is_queued(state: &State, app: &PathId) -> bool {
    state.instances(app).any(|instance| is_waiting(instance) || matches!(instance.phase, Phase::Provisioned(_)))
}

/// What Marathon tells of the offers it looked at: here, of the times that what is left of this machine was.
fn offers(waiting: Option<&Waiting>) -> OffersSummary {
    let nothing = Waiting::default();
    let waiting = waiting.unwrap_or(&nothing);
    let mut last = [0; REASONS];
    if let Some(reject) = waiting.last {
        last[reject.place()] = 1;
    }
    OffersSummary {
        processed_offers_count: waiting.processed,
        unused_offers_count: waiting.unused,
        last_unused_offer_at: waiting.last_unused_at.map(|at| at.to_string()),
        last_used_offer_at: waiting.last_used_at.map(|at| at.to_string()),
        reject_summary_last_offers: summary(last, waiting.processed.min(1)),
        reject_summary_launch_attempt: summary(waiting.declined, waiting.processed),
    }
}

/// Each reason is looked at for the offers that passed those before it.
fn summary(declined: [u32; REASONS], processed: u32) -> Vec<DeclinedOffers> {
    let mut left = processed;
    let counted = DECLINE_REASONS.iter().zip(declined).map(|(reason, declined)| {
        let processed = left;
        left = left.saturating_sub(declined);
        DeclinedOffers { reason: (*reason).to_owned(), declined, processed }
    });
    counted.collect()
}

/// What this machine had left when it was last declined, if it was.
fn unused(state: &State, range: &RangeInclusive<u16>, waiting: Option<&Waiting>) -> Option<UnusedOffer> {
    let (waiting, why) = waiting.and_then(|waiting| Some((waiting, waiting.last?)))?;
    let left = waiting.left?;
    let scalar = |name: &str, scalar: f64| OfferResource {
        name: name.to_owned(),
        role: "*".to_owned(),
        scalar: Some(scalar.max(0.0)),
        ranges: None,
    };
    let taken: BTreeSet<u16> = state.all_instances().flat_map(Instance::host_ports).copied().collect();
    let ports = OfferResource { scalar: None, ranges: Some(free(range, &taken)), ..scalar("ports", 0.0) };
    let offer = Offer {
        id: format!("{}-O{}", state.place.agent.trim_end_matches("-S0"), waiting.processed),
        hostname: state.place.host.clone(),
        agent_id: state.place.agent.clone(),
        resources: vec![ports, scalar("cpus", left.cpus), scalar("mem", left.mem), scalar("disk", left.disk)],
        attributes: Vec::new(),
    };
    let reason = vec![DECLINE_REASONS[why.place()].to_owned()];
    Some(UnusedOffer { offer, reason, timestamp: waiting.last_unused_at?.to_string() })
}

/// The numbers of `range` that are not `taken`, as ranges.
fn free(range: &RangeInclusive<u16>, taken: &BTreeSet<u16>) -> Vec<NumberRange> {
    let mut ranges: Vec<NumberRange> = Vec::new();
    for port in range.clone().filter(|port| !taken.contains(port)).map(u64::from) {
        match ranges.last_mut() {
            Some(last) if last.end + 1 == port => last.end = port,
            _ => ranges.push(NumberRange { begin: port, end: port }),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_are_told_in_ranges() {
        let ranges = |taken: &[u16]| {
            let free = free(&(31_000..=31_004), &taken.iter().copied().collect());
            free.into_iter().map(|range| (range.begin, range.end)).collect::<Vec<_>>()
        };
        assert_eq!(ranges(&[]), [(31_000, 31_004)]);
        assert_eq!(ranges(&[31_000, 31_002]), [(31_001, 31_001), (31_003, 31_004)]);
        assert_eq!(ranges(&[31_000, 31_001, 31_002, 31_003, 31_004]), []);
    }
}
