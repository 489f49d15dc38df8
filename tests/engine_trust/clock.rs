//! A machine's clock that is set an hour ahead, or back.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{healthy, task};
use crate::support::engine::{TestEngine, probe_app};

/// A clock that an engine looks at in place of the machine's.
struct FakeClock {
    place: TempDir,
    /// Engines that were started with it.
    engines: RefCell<Vec<u32>>,
}

impl Drop for FakeClock {
    /// A process that is killed leaves the library's shared memory behind.
    fn drop(&mut self) {
        for pid in self.engines.borrow().iter() {
            let _ = std::fs::remove_file(format!("/dev/shm/faketime_shm_{pid}"));
            let _ = std::fs::remove_file(format!("/dev/shm/sem.faketime_sem_{pid}"));
        }
    }
}

impl FakeClock {
    /// Of Debian's package `faketime`.
    fn library() -> PathBuf {
        let tuple = Path::new("/usr/lib").join(format!("{}-linux-gnu", std::env::consts::ARCH));
        tuple.join("faketime/libfaketimeMT.so.1")
    }
    fn new() -> Self {
        let clock = Self { place: tempfile::tempdir().unwrap(), engines: RefCell::default() };
        clock.set("+0");
        clock
    }
    fn file(&self) -> PathBuf {
        self.place.path().join("offset")
    }
    /// So far from the right time: `+1h`, `-1h`.
    fn set(&self, offset: &str) {
        // Renamed, so that nobody reads half of it.
        let new = self.place.path().join("new");
        std::fs::write(&new, format!("{offset}\n")).unwrap();
        std::fs::rename(&new, self.file()).unwrap();
    }
    fn engine(&self) -> TestEngine {
        let library = Self::library();
        assert!(library.exists(), "there is no {}: install faketime", library.display());
        let engine = TestEngine::setup()
            .variable("LD_PRELOAD", &library.to_string_lossy())
            .variable("FAKETIME_TIMESTAMP_FILE", &self.file().to_string_lossy())
            .variable("FAKETIME_NO_CACHE", "1")
            .variable("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .start();
        self.engines.borrow_mut().push(engine.pid());
        engine
    }
    fn launch_again(&self, engine: &mut TestEngine) {
        engine.launch();
        self.engines.borrow_mut().push(engine.pid());
    }
}

/// The app's version, which is the time at which it was changed.
fn version(engine: &TestEngine, app: &str) -> jiff::Timestamp {
    let found = engine.get(&format!("/v2/apps{app}")).ok().json();
    found["app"]["version"].as_str().unwrap().parse().unwrap()
}

fn seconds_off(engine: &TestEngine, app: &str) -> i64 {
    version(engine, app).as_second() - jiff::Timestamp::now().as_second()
}

#[test]
fn apps_run_are_replaced_and_fail_with_backoff_whatever_the_clock_is_set_to() {
    let clock = FakeClock::new();
    let engine = clock.engine();
    engine.put("/v2/groups/shop", &json!({ "apps": [probe_app("1")] })).ok();
    let failing = json!({ "cmd": "exit 3", "cpus": 0.1, "mem": 32, "backoffSeconds": 1, "backoffFactor": 1.0 });
    engine.put("/v2/apps/failing", &failing).ok();
    healthy(&engine, "/shop/web");
    for (number, offset) in ["+1h", "-1h", "+0"].into_iter().enumerate() {
        let before = task(&engine, "/shop/web");
        clock.set(offset);
        let failures = incarnation(&engine);
        // It fails, waits and is tried again as before: soon, and not at once.
        let begun = std::time::Instant::now();
        engine.until("/v2/apps/failing", "tried again", |found| incarnation_in(found) >= failures + 3);
        let took = begun.elapsed();
        assert!((1..30).contains(&took.as_secs()), "{offset}: three tries took {took:?}");
        assert_eq!(task(&engine, "/shop/web"), before, "{offset}: what runs is left alone");
        engine.put("/v2/groups/shop", &json!({ "apps": [probe_app(&format!("{number}-{offset}"))] })).ok();
        engine.until("/v2/apps/shop/web", "replaced", |found| {
            let tasks = found["app"]["tasks"].as_array().unwrap();
            tasks.len() == 1 && tasks[0]["id"] != *before && found["app"]["tasksHealthy"] == 1
        });
    }
}

#[test]
fn time_goes_ahead_with_the_clock_and_never_back() {
    let clock = FakeClock::new();
    let engine = clock.engine();
    let app = |n: u32| json!({ "cmd": "exec sleep 1000", "cpus": 0.1, "mem": 32, "instances": 0, "env": { "N": n.to_string() } });
    engine.put("/v2/apps/a", &app(1)).ok();
    assert!(seconds_off(&engine, "/a").abs() < 30);
    clock.set("+1h");
    engine.put("/v2/apps/a", &app(2)).ok();
    let ahead = version(&engine, "/a");
    assert!((seconds_off(&engine, "/a") - 3600).abs() < 30, "the clock was set, and that is the time");
    clock.set("+0");
    engine.put("/v2/apps/a", &app(3)).ok();
    assert!(version(&engine, "/a") > ahead, "a version is newer than those before it");
}

#[test]
fn an_engine_started_again_after_the_clock_was_set_back_knows_all_and_goes_on() {
    let clock = FakeClock::new();
    clock.set("+1h");
    let mut engine = clock.engine();
    engine.put("/v2/groups/shop", &json!({ "apps": [probe_app("1")] })).ok();
    let held = json!({ "cmd": "exit 3", "cpus": 0.1, "mem": 32, "backoffSeconds": 2, "backoffFactor": 1.0 });
    engine.put("/v2/apps/failing", &held).ok();
    healthy(&engine, "/shop/web");
    engine.until("/v2/apps/failing", "failed", |found| found["app"]["lastTaskFailure"].is_object());
    let (before, old) = (task(&engine, "/shop/web"), version(&engine, "/shop/web"));
    engine.kill();
    clock.set("-1h");
    clock.launch_again(&mut engine);
    healthy(&engine, "/shop/web");
    assert_eq!(task(&engine, "/shop/web"), before);
    let failures = incarnation(&engine);
    engine.until("/v2/apps/failing", "tried again", |found| incarnation_in(found) > failures);
    engine.put("/v2/groups/shop", &json!({ "apps": [probe_app("2")] })).ok();
    engine.settled();
    healthy(&engine, "/shop/web");
    assert!(version(&engine, "/shop/web") > old, "a version is newer than those before it");
    assert_ne!(task(&engine, "/shop/web"), before);
}

/// How often the failing app was tried.
fn incarnation(engine: &TestEngine) -> u64 {
    incarnation_in(&engine.get("/v2/apps/failing").ok().json())
}
fn incarnation_in(found: &Value) -> u64 {
    let id = found["app"]["tasks"][0]["id"].as_str().or(found["app"]["lastTaskFailure"]["taskId"].as_str());
    id.and_then(|id| id.rsplit_once("._app.")?.1.parse().ok()).unwrap_or(0)
}
