//! Random changes, deaths and kills for a while, and then a comparison of what is asked for with what runs.

use std::time::Duration;

use crate::support::engine::TestEngine;
use crate::support::figures::figure;
use crate::support::soak::Soak;

/// In seconds; `make soak` has ten minutes.
const USUALLY: u64 = 20;

#[test]
fn after_a_soak_what_is_asked_for_runs_and_nothing_else() {
    let given = std::env::var("SOAK_SECONDS").ok();
    let seconds = given.map_or(USUALLY, |text| text.parse().expect("SOAK_SECONDS is a number"));
    let mut soak = Soak::of(TestEngine::start());
    soak.run(Duration::from_secs(seconds));
    let quiet_after = soak.until_quiet();
    soak.compare();
    figure(&format!("a soak of {seconds} s: {}; quiet {} s after it", soak.figures(), quiet_after.as_secs()));
}
