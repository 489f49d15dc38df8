//! Figures that a run of the tests is to show: cargo keeps what passing tests print to itself, so they are also
//! written where `make test` reads them when all is done.

use std::fs::File;
use std::io::Write as _;

/// Where `.ci/test` looks.
const FIGURES: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/figures");

/// Shows a figure, one line or more.
pub fn figure(text: &str) {
    println!("{text}");
    let mut figures = File::options().create(true).append(true).open(FIGURES).unwrap();
    // One write, so that the figures of tests that run at the same time do not mix.
    figures.write_all(format!("{text}\n").as_bytes()).unwrap();
}
