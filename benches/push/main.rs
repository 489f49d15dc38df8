//! Measures pushes against the least that they could take on this machine, in turns, and fails when a limit is broken:
//! `make bench`. What the least is, `floor` does by itself: a plain push over a plain sshd, and the bare calls of
//! Docker's API.

#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on may stop here")]
#![allow(dead_code, unreachable_pub, reason = "the tests' support has more than is needed here")]

mod crowd;
mod docker_api;
mod floor;
mod host;
#[path = "../parts/report.rs"]
mod report;
mod single;
#[path = "../parts/sshd.rs"]
mod sshd;
mod stream;
#[path = "../../tests/support"]
mod support {
    pub mod builder;
    pub mod figures;
    pub mod http;
    pub mod memory;
    pub mod platform;
    pub mod project;
    pub mod registry;
    pub mod times;
}

use std::process::ExitCode;

use report::Part;

const PARTS: [(&str, Part); 8] = [
    ("local", single::without_registry),
    ("registry", single::with_registry),
    ("second_tenant", single::to_a_second_tenant),
    ("stored", single::that_deploys_nothing),
    ("stream", stream::of_a_gibibyte),
    ("crowd", crowd::of_twenty_apps),
    ("row", crowd::to_one_app),
    ("history", single::with_history),
];

/// All parts, or those that are named: `cargo bench --bench push -- local`.
fn main() -> ExitCode {
    report::measure(&PARTS)
}
