//! Reads what clients send to an engine, exactly as a real Marathon does: defaults, old spellings, refusals.
//!
//! Pure: bytes and the present state in, canonical values or a [`Refusal`] (status and body, word for word) out. No
//! clock, no store, no HTTP. What is read has no new version and no service ports yet; the way of a change is
//!
//! 1. `read_app`, `AppDraft`, `AppDrafts` or `read_group` (bodies), `read_id` (URLs);
//! 2. the new tree: `Group::put_app`, or `apply_group`; a roll back takes the definition or group from the past;
//! 3. `settle(old, new)`: service ports and the rules of the whole tree;
//! 4. `engine::group::settle_versions`.

mod app;
mod draft;
mod group;
mod normal;
mod parts;
#[cfg(test)]
mod recorded;
mod refusal;
mod rules;
mod service_ports;
mod shape;
#[cfg(test)]
mod tests;

pub use app::{AppDraft, AppDrafts, AppRequest, read_app, read_task_ids};
pub use group::{Contents, GroupChange, GroupRequest, apply_group, read_group, read_group_patch};
pub use refusal::{Asked, LOCKED, Refusal};
pub use rules::{Rules, read_id};
pub use service_ports::{SERVICE_PORTS, assign_service_ports};

use super::group::Group;

/// Makes `new` a tree that may be asked for: every service port assigned, no id of both an app and a group, no cycle of
/// dependencies.
pub fn settle(old: &Group, new: &mut Group) -> Result<(), Refusal> {
    new.check()?;
    assign_service_ports(old, new, SERVICE_PORTS)
}
