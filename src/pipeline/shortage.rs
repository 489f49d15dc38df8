//! What a release waits for: read out of Marathon's launch queue, where an instance stays until an offer fits.
//!
//! Marathon never gives up on it, and whether there will ever be room cannot be known; so a shortage is no verdict. It is
//! told when it is seen, and once more as the reason when the deadline has passed.

use std::fmt;
use std::time::Duration;

use crate::marathon::{DeclinedOffers, OfferResource, OffersSummary, QueueItem, UnusedOffer};

/// How long no offer at all is nothing odd: a Marathon gets them every few seconds.
const OFFERS_COME_WITHIN: Duration = Duration::from_secs(10);

/// Why instances of an app are not launched though no backoff holds them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shortage {
    /// How many of them.
    pub waiting: u32,
    /// How many offers were looked at last.
    offers: u32,
    /// In Marathon's order; empty when there was no offer at all.
    lacks: Vec<Lack>,
}

/// One reason for which offers were refused.
#[derive(Debug, Clone, PartialEq)]
struct Lack {
    /// As Marathon calls it.
    reason: String,
    what: What,
    refused: u32,
}

#[derive(Debug, Clone, PartialEq)]
enum What {
    Amount {
        name: &'static str,
        unit: &'static str,
        needed: f64,
        /// The most that one of the refused offers had, if Marathon says.
        offered: Option<f64>,
    },
    Ports,
    Role(String),
    /// As one text.
    Constraints(String),
    Reservation,
    Maintenance,
    ScarceAlone,
    /// A reason of a Marathon that is newer than this.
    Unknown(String),
}

impl Shortage {
    /// What an item of the queue lacks, so long after its release was posted; nothing while it backs off from a failure
    /// or offers are still being looked at.
    pub(super) fn of(item: &QueueItem, waited: Duration) -> Option<Self> {
        if !item.delay.overdue {
            return None;
        }
        let summary = &item.processed_offers_summary;
        // What an earlier release of the same name was refused is still told until there is an offer for this one.
        let since = |at: &Option<String>| at.as_ref().is_some_and(|at| *at >= item.since);
        let (refused, used) = (since(&summary.last_unused_offer_at), since(&summary.last_used_offer_at));
        let lacks = if refused { lacks(item, summary) } else { Vec::new() };
        if lacks.is_empty() && (refused || used || waited < OFFERS_COME_WITHIN) {
            return None;
        }
        let offers = summary.reject_summary_last_offers.first().map_or(0, |first| first.processed);
        Some(Self { waiting: item.count, offers, lacks })
    }

    /// What makes it the same shortage as another one: not the figures, which change with each offer.
    pub(super) fn reasons(&self) -> Vec<String> {
        self.lacks.iter().map(|lack| lack.reason.clone()).collect()
    }
}

fn lacks(item: &QueueItem, summary: &OffersSummary) -> Vec<Lack> {
    let refused = summary.reject_summary_last_offers.iter().filter(|step| step.declined > 0);
    let lack = |step: &DeclinedOffers| Lack {
        reason: step.reason.clone(),
        what: what(&step.reason, item),
        refused: step.declined,
    };
    refused.map(lack).collect()
}

fn what(reason: &str, item: &QueueItem) -> What {
    let offers = item.last_unused_offers.as_deref().unwrap_or_default();
    let amount =
        |name, resource, unit, needed| What::Amount { name, unit, needed, offered: most(offers, reason, resource) };
    match reason {
        "InsufficientCpus" => amount("cpus", "cpus", "", item.app.cpus),
        "InsufficientMemory" => amount("memory", "mem", " MiB", item.app.mem),
        "InsufficientDisk" => amount("disk", "disk", " MiB", item.app.disk),
        "InsufficientGpus" => amount("GPUs", "gpus", "", f64::from(item.app.gpus)),
        "InsufficientPorts" => What::Ports,
        "UnfulfilledRole" => What::Role(plain(&item.role)),
        "UnfulfilledConstraint" => {
            let texts: Vec<String> = item.app.constraints.iter().map(|constraint| constraint.join(" ")).collect();
            What::Constraints(plain(&texts.join(" and ")))
        }
        "NoCorrespondingReservationFound" => What::Reservation,
        "AgentMaintenance" => What::Maintenance,
        "DeclinedScarceResources" => What::ScarceAlone,
        unknown => What::Unknown(plain(unknown)),
    }
}

/// Text from elsewhere, for the middle of a line: short and without terminal control.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}

/// The most that one offer had of those refused for this reason; of all its roles, since a task may use several.
fn most(offers: &[UnusedOffer], reason: &str, resource: &str) -> Option<f64> {
    let of_it = |offer: &&UnusedOffer| offer.reason.iter().any(|why| why == reason);
    let amount = |found: &OfferResource| if found.name == resource { found.scalar } else { None };
    let sums = offers.iter().filter(of_it).map(|unused| unused.offer.resources.iter().filter_map(amount).sum::<f64>());
    sums.reduce(f64::max)
}

impl What {
    /// What is lacking, and what there is to say about it.
    fn told(&self) -> (String, Option<String>) {
        let alone = |text: &str| (text.to_owned(), None);
        match self {
            Self::Amount { name, unit, needed, offered } => {
                let offered = offered.map(|offered| format!(", offered at most {offered}{unit}"));
                ((*name).to_owned(), Some(format!("needs {needed}{unit}{}", offered.unwrap_or_default())))
            }
            Self::Ports => alone("host ports"),
            Self::Role(role) => (format!("resources of role `{role}`"), None),
            Self::Constraints(text) => (format!("a host that fits the constraints {text}"), None),
            Self::Reservation => alone("a reservation"),
            Self::Maintenance => alone("a host that is not in maintenance"),
            Self::ScarceAlone => alone("a host without scarce resources"),
            Self::Unknown(reason) => (format!("`{reason}`"), None),
        }
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.lacks.is_empty() {
            return f.write_str("none at all are offered to it");
        }
        let told = self.lacks.iter().map(|Lack { what, refused, .. }| {
            let (what, more) = what.told();
            let more = more.map_or_else(String::new, |more| format!("{more}; "));
            format!("{what} ({more}{refused} of {} offers refused for it)", self.offers)
        });
        f.write_str(&told.collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::marathon::{Queue, transcripts};

    const WAITED: Duration = Duration::from_secs(4);

    /// What a real Marathon answered the `nth` time that something waited, with the offers if it was asked for them.
    fn recorded(path: &str, nth: usize) -> QueueItem {
        let answers = transcripts::steps("waiting-app").into_iter().filter(|step| step["request"]["path"] == path);
        let queues = answers.map(|step| serde_json::from_value::<Queue>(step["response"]["json"].clone()).unwrap());
        queues.flat_map(|queue| queue.queue).nth(nth).unwrap()
    }
    fn too_big() -> QueueItem {
        let item = recorded("/v2/queue?embed=lastUnusedOffers", 0);
        let offered_since =
            OffersSummary { last_unused_offer_at: Some(item.since.clone()), ..item.processed_offers_summary.clone() };
        QueueItem { processed_offers_summary: offered_since, ..item }
    }

    #[test]
    fn what_is_short_is_told_with_what_is_needed_and_offered() {
        let shortage = Shortage::of(&too_big(), WAITED).unwrap();
        assert_eq!(shortage.waiting, 1);
        assert_eq!(shortage.to_string(), "cpus (needs 1000, offered at most 7.95; 1 of 1 offers refused for it)");
        assert_eq!(shortage.reasons(), ["InsufficientCpus"]);
    }

    #[test]
    fn a_host_that_fits_no_constraint_is_told_so() {
        let shortage = Shortage::of(&recorded("/v2/queue", 1), WAITED).unwrap();
        assert_eq!(
            shortage.to_string(),
            "a host that fits the constraints hostname UNIQUE (1 of 1 offers refused for it)"
        );
    }

    #[test]
    fn offers_from_before_it_waited_say_nothing_of_it() {
        // That Marathon had refused offers for an app of the same name four minutes earlier.
        let stale = recorded("/v2/queue", 0);
        assert_eq!(Shortage::of(&stale, WAITED), None);
        let shortage = Shortage::of(&stale, OFFERS_COME_WITHIN).unwrap();
        assert_eq!(shortage.to_string(), "none at all are offered to it");
        assert_eq!(shortage.reasons(), [""; 0]);
    }

    #[test]
    fn what_backs_off_from_a_failure_waits_for_no_resources() {
        let mut item = too_big();
        item.delay.overdue = false;
        assert_eq!(Shortage::of(&item, OFFERS_COME_WITHIN), None);
    }

    #[test]
    fn each_reason_is_told_with_its_share_of_the_offers() {
        let mut item = too_big();
        let steps = &mut item.processed_offers_summary.reject_summary_last_offers;
        for (step, (declined, processed)) in
            steps.iter_mut().zip([(1, 7), (0, 6), (1, 6), (1, 5), (1, 4), (1, 3), (1, 2)])
        {
            (step.declined, step.processed) = (declined, processed);
        }
        steps[8].declined = 1;
        item.role = "dev".to_owned();
        let offers = item.last_unused_offers.as_mut().unwrap();
        offers[0].reason = vec!["InsufficientMemory".to_owned()];
        let mut other = offers[0].clone();
        other.offer.resources.iter_mut().filter(|found| found.name == "mem").for_each(|mem| mem.scalar = Some(8.5));
        offers.push(other);
        assert_eq!(
            Shortage::of(&item, WAITED).unwrap().to_string(),
            "resources of role `dev` (1 of 7 offers refused for it), a reservation (1 of 7 offers refused for it), a host \
             that is not in maintenance (1 of 7 offers refused for it), cpus (needs 1000; 1 of 7 offers refused for it), \
             memory (needs 32 MiB, offered at most 8160 MiB; 1 of 7 offers refused for it), disk (needs 0 MiB; 1 of 7 \
             offers refused for it), host ports (1 of 7 offers refused for it)"
        );
    }
}
