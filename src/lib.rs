//! `paas`: one `git push` turns a repository into running, health-checked processes.
//!
//! Who may import whom (arrows point down, nothing imports upward or sideways unless drawn;
//! `tests/house.rs` checks it):
//!
//! ```text
//! bin/ paas, paas-receive
//!   cli/        one file per noun, thin             receive/    forced command, access, session, hooks
//!         \                                           /
//!          delivery/   what a push works with, from accounts and settings, and how it is told
//!                                   |
//!          pipeline/   source build publish release deploy      engine/   api, plan, supervisor, health
//!          accounts/   users keys tenants members tokens audit     stack/    the builder image
//!               |          |          |         |
//!          manifest/   docker/   git/   marathon/   mesos/   store/   sse
//!                                  |
//!                                model/    names, ids, states; no I/O, no async
//! ui/, settings/   used by bin, cli and receive alone, the settings by delivery too
//! platform/        the one-machine platform as processes: above accounts, with the settings, used by cli alone
//! ```
//!
//! Within a row one arrow is drawn: Marathon's client reads an event stream (`sse`).
//! `engine` uses `marathon`'s wire types, never its client, and only `docker` names bollard's types.

pub mod accounts;
pub mod cli;
pub mod delivery;
pub mod docker;
pub mod engine;
pub mod git;
pub mod manifest;
pub mod marathon;
pub mod mesos;
pub mod model;
pub mod pipeline;
pub mod platform;
pub mod receive;
pub mod settings;
pub mod sse;
pub mod stack;
pub mod store;
pub mod ui;
