//! The launch queue: instances that wait for room or for their backoff to pass.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::App;

/// The answer to `GET /v2/queue`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Queue {
    pub queue: Vec<QueueItem>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueItem {
    /// How many instances wait.
    pub count: u32,
    pub role: String,
    pub delay: QueueDelay,
    pub since: String,
    pub processed_offers_summary: OffersSummary,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_unused_offers: Option<Vec<UnusedOffer>>,
    pub app: Arc<App>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueDelay {
    pub time_left_seconds: u64,
    /// No backoff is left: it waits for room.
    pub overdue: bool,
}

/// Why offers were not used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OffersSummary {
    pub processed_offers_count: u32,
    pub unused_offers_count: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_unused_offer_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_offer_at: Option<String>,
    #[serde(default)]
    pub reject_summary_last_offers: Vec<DeclinedOffers>,
    #[serde(default)]
    pub reject_summary_launch_attempt: Vec<DeclinedOffers>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeclinedOffers {
    pub reason: String,
    pub declined: u32,
    pub processed: u32,
}

/// An offer that was declined, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnusedOffer {
    pub offer: Offer,
    pub reason: Vec<String>,
    pub timestamp: String,
}

/// What an agent had to give.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Offer {
    pub id: String,
    pub hostname: String,
    pub agent_id: String,
    pub resources: Vec<OfferResource>,
    #[serde(default)]
    pub attributes: Vec<serde_json::Value>,
}

/// One kind of resource: an amount, or ranges of numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OfferResource {
    pub name: String,
    pub role: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scalar: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ranges: Option<Vec<NumberRange>>,
}

/// Both ends belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NumberRange {
    pub begin: u64,
    pub end: u64,
}

/// The reasons of both reject lists, in their order.
pub const DECLINE_REASONS: [&str; 10] = [
    "UnfulfilledRole",
    "UnfulfilledConstraint",
    "NoCorrespondingReservationFound",
    "AgentMaintenance",
    "InsufficientCpus",
    "InsufficientMemory",
    "InsufficientDisk",
    "InsufficientGpus",
    "InsufficientPorts",
    "DeclinedScarceResources",
];
