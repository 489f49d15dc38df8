//! The engine: a Marathon for one machine.
//!
//! What is asked for is a tree of groups and apps; what is there are instances. `plan`, `deployment`, `upgrade`,
//! `health` and `backoff` decide what to do next and know nothing of Docker or time; `core` holds the state and applies
//! their decisions; `supervisor` owns it, writes every change to the `journal` before it acts, and lets `tasks` drive
//! Docker and processes. `api` speaks Marathon's REST API; what clients send is read by `reading`.

pub mod admission;
pub mod api;
pub mod backoff;
pub mod clock;
pub mod constraints;
pub mod core;
pub mod deployment;
pub mod environment;
pub mod event;
pub mod group;
pub mod health;
pub mod instance;
pub mod journal;
pub mod ledger;
mod listen;
pub mod moment;
pub mod plan;
pub mod ports;
pub mod reading;
pub mod record;
#[cfg(test)]
pub(crate) mod samples;
pub mod serve;
pub mod supervisor;
pub mod tally;
pub mod tasks;
pub mod upgrade;
pub mod volume;
pub mod waiting;

pub use moment::Moment;
pub use serve::{Engine, EngineError, Options, Share};
