//! State that an older program wrote, or a newer one.

use std::path::Path;

use rusqlite::Connection;
use serde_json::json;

use crate::support::engine::TestEngine;

/// What the first format's programs wrote: two apps of a group, one of them in two versions, an app that failed, and
/// one that waits in a deployment since the machine has too little for it.
const FIRST: &str = include_str!("../fixtures/engine/state-v1.sql");

fn write(directory: &Path, sql: &str) {
    Connection::open(directory.join("engine.db")).unwrap().execute_batch(sql).unwrap();
}

#[test]
fn state_of_the_first_format_is_opened_with_all_that_is_in_it() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), FIRST);
    let mut engine = TestEngine::setup().state(directory.path()).start();
    // Again, from what it was brought to.
    for _ in 0..2 {
        let apps = engine.get("/v2/apps").ok().json();
        let mut ids: Vec<_> = apps["apps"].as_array().unwrap().iter().map(|app| app["id"].as_str().unwrap()).collect();
        ids.sort_unstable();
        assert_eq!(ids, ["/big", "/jobs/failing", "/shop/db", "/shop/web"]);
        let web = engine.get("/v2/apps/shop/web").ok().json();
        assert_eq!(web["app"]["env"], json!({ "PAAS_RELEASE": "2" }));
        assert_eq!(web["app"]["dependencies"], json!(["/shop/db"]));
        assert_eq!(web["app"]["version"], "2026-11-24T05:55:48.204Z");
        let mut versions = engine.get("/v2/apps/shop/web/versions").ok().json()["versions"].as_array().unwrap().clone();
        versions.sort_by_key(ToString::to_string);
        assert_eq!(versions, [json!("2026-11-24T05:55:47.865Z"), json!("2026-11-24T05:55:48.204Z")]);
        let first = engine.get("/v2/apps/shop/web/versions/2026-11-24T05:55:47.865Z").ok().json();
        assert_eq!(first["env"], json!({ "PAAS_RELEASE": "1" }));
        let failing = engine.get("/v2/apps/jobs/failing").ok().json();
        assert_eq!(failing["app"]["lastTaskFailure"]["message"], "Command exited with status 3");
        let deployments = engine.get("/v2/deployments").ok().json();
        assert_eq!(deployments[0]["id"], "a2e05000-abf2-4b07-a3ff-b2779d0f7506");
        assert_eq!(deployments[0]["affectedApps"], json!(["/big"]));
        let queue = engine.get("/v2/queue").ok().json();
        assert!(queue["queue"].as_array().unwrap().iter().any(|item| item["app"]["id"] == "/big"), "{queue:#}");
        let framework = engine.get("/v2/info").ok().json()["frameworkId"].as_str().unwrap().to_owned();
        assert!(framework.starts_with("b8e81438-dc08-45ec-be76-be96aecaad99"), "{framework}");
        engine.kill();
        engine.launch();
    }
    // And it is lived with as any other.
    engine.put("/v2/apps/shop/web?force=true", &json!({ "version": "2026-11-24T05:55:47.865Z" })).ok();
    assert_eq!(engine.get("/v2/apps/shop/web").json()["app"]["env"], json!({ "PAAS_RELEASE": "1" }));
}

#[test]
fn state_of_a_newer_format_is_refused_and_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), FIRST);
    write(directory.path(), "PRAGMA user_version = 9999; CREATE TABLE unheard_of (x); ");
    let file = directory.path().join("engine.db");
    let before = std::fs::read(&file).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_paas"))
        .args(["engine", "--listen", "127.0.0.1:0", "--state"])
        .arg(directory.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("newer version (9999") && said.contains("use a newer paas"), "{said}");
    assert!(std::fs::read(&file).unwrap() == before, "the file has changed");
}
