//! `paas engine` held to Marathon by what is Marathon's own: its recorded answers, its examples, its clients.

mod examples;

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use crate::support::checking_proxy::CheckingProxy;
use crate::support::contract::transcripts;
use crate::support::engine::TestEngine;
use crate::support::figures::figure;

/// Steps of the recordings that the engine answers differently on purpose, as `docs/marathon-api.md` lists them: the
/// recording, the number of the step in it, and why.
const DIFFERENT_ON_PURPOSE: [(&str, usize, &str); 0] = [];

const DOCS: &str = include_str!("../docs/marathon-api.md");

/// How many steps of a recording are compared.
fn steps_of(transcript: &std::path::Path) -> usize {
    let transcript: Value = serde_json::from_str(&std::fs::read_to_string(transcript).unwrap()).unwrap();
    let steps = transcript["steps"].as_array().unwrap();
    steps.iter().filter(|step| step.get("note").is_none() && step.get("listen").is_none()).count()
}

#[test]
fn the_docs_show_which_recorded_steps_are_different_on_purpose() {
    let section = DOCS.split("\n## ").find(|section| section.starts_with("Recorded answers that differ")).unwrap();
    assert_eq!(section.contains("\nNone"), DIFFERENT_ON_PURPOSE.is_empty(), "{section}");
    for (name, step, reason) in DIFFERENT_ON_PURPOSE {
        let row = format!("| {name} | {step} | {reason} |");
        assert!(section.contains(&row), "{row} is missing in:\n{section}");
    }
}

#[test]
fn every_step_of_a_recorded_marathon_is_matched() {
    let engine = TestEngine::start();
    let proxy = CheckingProxy::start(engine.address());
    let replayer = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/marathon/replay.py");
    let replay = Command::new("python3").arg(replayer).arg(proxy.url()).args(transcripts()).output().unwrap();
    let said = String::from_utf8_lossy(&replay.stdout).into_owned();
    let lines = || said.lines();
    let total = lines().last().unwrap_or_default();
    let counts = lines().filter(|line| line.contains(" match, ")).filter_map(|line| line.rsplit('/').next());
    let shown: Vec<&str> = counts.chain([total]).collect();
    figure(&format!("transcripts of a real Marathon, replayed:\n  {}", shown.join("\n  ")));
    // `  name step 3: PUT …`
    let differing: BTreeSet<(&str, usize)> = lines()
        .filter_map(|line| line.strip_prefix("  ")?.split_once(" step "))
        .filter_map(|(name, rest)| Some((name, rest.split_once(':')?.0.parse().ok()?)))
        .collect();
    let on_purpose: BTreeSet<(&str, usize)> =
        DIFFERENT_ON_PURPOSE.iter().map(|(name, step, _)| (*name, *step)).collect();
    assert_eq!(differing, on_purpose, "{said}\n{}", String::from_utf8_lossy(&replay.stderr));
    let compared: usize = transcripts().iter().map(|transcript| steps_of(transcript)).sum();
    let different = on_purpose.len();
    assert_eq!(total, format!("{} passed, {different} failed", compared - different), "{said}");
    let (answers, events) = proxy.found_nothing_wrong();
    assert!(answers > compared && events > 100, "{answers} answers and {events} events went past the check");
}

#[test]
fn debians_marathon_client_lives_a_whole_life() {
    let engine = TestEngine::start();
    let proxy = CheckingProxy::start(engine.address());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/marathon/client_life.py");
    // Debian's own, which has the package; another may come first on the PATH.
    let life = Command::new("/usr/bin/python3").arg(script).arg(proxy.url()).output().unwrap();
    let said = [life.stdout, life.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).join("\n");
    assert!(life.status.success(), "{said}");
    let (answers, events) = proxy.found_nothing_wrong();
    assert!(answers > 100 && events > 100, "{answers} answers and {events} events went past the check");
    // A container is removed after its task's end was told.
    engine.until_nothing_runs(&said);
}
