//! Measures the engine against the limits it was made for, and fails when one is broken: `make bench`. The load runs in
//! a double's containers, the behaviour in real ones.

#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on may stop here")]
#![allow(dead_code, unreachable_pub, unused_imports, reason = "the tests' support has more than is needed here")]

#[path = "parts/report.rs"]
mod report;
#[path = "../tests/support"]
mod support {
    pub mod contract;
    pub mod crowd;
    pub mod engine;
    pub mod event_stream;
    pub mod events;
    pub mod fake_docker;
    pub mod figures;
    pub mod fleet;
    pub mod load;
    pub mod times;
    pub mod usage;
}

use std::io::{Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use report::{Part, Report};
use support::crowd::fill_with_events;
use support::engine::{TestEngine, probe_app};
use support::events::Events;
use support::figures::figure;
use support::fleet::Fleet;
use support::times::{Times, ms};
use support::usage::Usage;

/// What the engine may take, whatever it is given to do.
const MEMORY_KIB: u64 = 64 << 10;

const PARTS: [(&str, Part); 4] =
    [("load", load), ("checked", checked), ("deaf_client", deaf_client), ("real_containers", real_containers)];

/// All parts, or those that are named: `cargo bench --bench engine -- load`.
fn main() -> ExitCode {
    report::measure(&PARTS)
}

const MS: Duration = Duration::from_millis(1);

/// 1 000 apps with 2 000 instances.
fn load(report: &mut Report) {
    let mut fleet = Fleet::new(40, 25, 2);
    let created = fleet.create();
    let begun = Instant::now();
    fleet.settled();
    figure(&format!(
        "1 000 apps with 2 000 instances created in 40 groups: {} to be accepted, {} more until all ran",
        ms(created),
        ms(begun.elapsed())
    ));
    idle(report, &fleet, "1 000 apps with 2 000 instances", Duration::from_secs(10), 10 * MS);
    reads(report, &fleet);
    changes(report, &fleet);
    reads_beside_changes(report, &fleet);
    let used = Usage::of(fleet.engine.pid());
    report.memory("memory after all that", used.resident, MEMORY_KIB);
    report.memory("memory at its peak", used.peak, MEMORY_KIB);
    restart(&mut fleet);
}

/// Memory, and what is done while nothing happens.
fn idle(report: &mut Report, fleet: &Fleet, what: &str, time: Duration, limit: Duration) {
    // What is cleaned up after the launches is over.
    std::thread::sleep(Duration::from_secs(5));
    let before = Usage::of(fleet.engine.pid());
    std::thread::sleep(time);
    let after = Usage::of(fleet.engine.pid());
    report.memory(&format!("{what}: memory"), after.resident, MEMORY_KIB);
    let (busy, switches) = (after.busy.saturating_sub(before.busy), after.switches_since(&before));
    let shown = format!("{} of processor time in {} s, {switches} switches", ms(busy), time.as_secs());
    report.note(&format!("{what}: idle"), &shown, &ms(limit), busy <= limit);
}

fn reads(report: &mut Report, fleet: &Fleet) {
    let mut client = fleet.client();
    let one = Times::of(3000, |n| assert_eq!(client.get(&fleet.app(n)).status, 200));
    report.time("one app, median", one.median(), 7 * MS / 10);
    for (what, path) in [("all apps", "/v2/apps"), ("all tasks", "/v2/tasks")] {
        let mut bytes = 0;
        let all = Times::of(100, |_| bytes = client.get(path).ok().body.len());
        report.time(&format!("{what} ({bytes} bytes), median"), all.median(), 10 * MS);
    }
}

/// One change after another, each answered when it is on the disk.
fn changes(report: &mut Report, fleet: &Fleet) {
    const COUNT: usize = 200;
    let mut client = fleet.client();
    let mut times = Times::default();
    for n in 0..COUNT {
        times.take(|| fleet.put(&mut client, n * 5, "2"));
        // No more than a hundred deployments may run.
        if n % 50 == 49 {
            fleet.settled();
        }
    }
    let beside = format!("fsync alone: {}", ms(fsync(fleet).median()));
    report.time(&format!("PUT of one app, median (of which {beside})"), times.median(), 5 * MS);
}

/// What the disk takes to keep a page.
fn fsync(fleet: &Fleet) -> Times {
    let path = fleet.engine.state().join("measured");
    let file = std::fs::File::create(&path).unwrap();
    let times = Times::of(200, |n| {
        file.write_at(&[7; 4096], u64::try_from(n).unwrap() * 4096).unwrap();
        file.sync_data().unwrap();
    });
    std::fs::remove_file(path).unwrap();
    times
}

/// Everything that clients look at, while 100 apps are changed as quickly as one client can.
fn reads_beside_changes(report: &mut Report, fleet: &Fleet) {
    const CHANGED: usize = 100;
    let paths = ["one app", "/v2/apps", "/v2/groups", "/v2/tasks", "/v2/queue", "/v2/deployments"];
    let mut all: Vec<Times> = Vec::new();
    // One kind of read at a time: what is measured is the engine, not two busy clients on as many processors.
    for path in paths {
        let done = std::sync::atomic::AtomicBool::new(false);
        let release = format!("beside {path}");
        let times = std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let (mut client, mut times, mut n) = (fleet.client(), Times::default(), 0);
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    n += 1;
                    let path = if path == "one app" { fleet.app(n * 7) } else { path.to_owned() };
                    times.take(|| assert_eq!(client.get(&path).status, 200));
                    std::thread::sleep(MS);
                }
                times
            });
            let mut client = fleet.client();
            for n in 0..CHANGED {
                fleet.put(&mut client, n * 3 + 1, &release);
            }
            fleet.settled();
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            reader.join().unwrap()
        });
        all.push(times);
    }
    for (path, times) in paths.into_iter().zip(all) {
        let what = format!("{path} while 100 apps are changed, p99 of {}", times.count());
        report.time(&what, times.percentile(99), 10 * MS);
    }
}

fn restart(fleet: &mut Fleet) {
    fleet.engine.kill();
    let begun = Instant::now();
    fleet.engine.launch();
    assert_eq!(fleet.client().get(&fleet.app(0)).status, 200);
    let answered = begun.elapsed();
    // It launches again what it looks after once it has found all that runs.
    fleet.put(&mut fleet.client(), 0, "after");
    fleet.settled();
    figure(&format!(
        "started again with 2 000 containers: answers after {}, acts within {}",
        ms(answered),
        ms(begun.elapsed())
    ));
}

/// The same with a health check a minute for each.
fn checked(report: &mut Report) {
    let fleet = Fleet::new(40, 25, 2).with_checks();
    fleet.create();
    fleet.settled();
    // As long as it takes for each to be checked once.
    let what = "1 000 apps with 2 000 instances, each checked once a minute";
    idle(report, &fleet, what, Duration::from_mins(1), 600 * MS);
}

/// One that never reads its events, while 100 000 happen.
fn deaf_client(report: &mut Report) {
    const EVENTS: u64 = 100_000;
    let fleet = Fleet::new(1, 1, 1);
    fleet.create();
    fleet.settled();
    let before = Usage::of(fleet.engine.pid()).resident;
    let mut deaf = Events::of(fleet.address(), "").unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    let times = std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            let (mut client, mut times) = (fleet.client(), Times::default());
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                times.take(|| client.get("/v2/apps").ok());
                std::thread::sleep(MS);
            }
            times
        });
        fill_with_events(fleet.address(), EVENTS, 4);
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        other.join().unwrap()
    });
    let cut = if deaf.ends(Duration::from_secs(30)) { "cut off" } else { "still there" };
    let grown = Usage::of(fleet.engine.pid()).peak.saturating_sub(before);
    report.note("a client that never reads, after 100 000 events", cut, "cut off", cut == "cut off");
    report.note("memory it cost", &format!("{grown} KiB"), "16 MiB", grown < 16 << 10);
    report.time("another client beside it, p99", times.percentile(99), 50 * MS);
}

/// How long one real instance takes, and Docker alone for the same.
fn real_containers(report: &mut Report) {
    const TRIES: usize = 7;
    const OVER_DOCKERS_OWN: Duration = Duration::from_millis(400);
    let engine = TestEngine::start();
    let (mut docker, mut stop, mut new, mut upgrade) =
        (Times::default(), Times::default(), Times::default(), Times::default());
    for n in 0..TRIES {
        let id = docker.take(|| dockers_create_and_start(&engine));
        stop.take(|| ask_docker("POST", &format!("/containers/{id}/stop?t=1"), None));
        ask_docker("DELETE", &format!("/containers/{id}?force=true"), None);
        let (group, app) = (format!("/v2/groups/fast{n}"), format!("/v2/apps/fast{n}/web"));
        new.take(|| {
            engine.put(&group, &json!({ "apps": [probe_app("1")] })).ok();
            engine.until(&app, "healthy", |found| found["app"]["tasksHealthy"] == 1);
        });
        engine.settled();
        upgrade.take(|| {
            engine.put(&group, &json!({ "apps": [probe_app("2")] })).ok();
            engine.settled();
        });
        engine.delete(&format!("{group}?force=true")).ok();
        engine.settled();
    }
    let (own, stop) = (docker.median(), stop.median());
    let healthy = format!("PUT to healthy, median (of which Docker's own create and start: {})", ms(own));
    report.time(&healthy, new.median(), own + OVER_DOCKERS_OWN);
    let upgraded = format!("upgrade of one instance, median (of which the old one's stop: {})", ms(stop));
    report.time(&upgraded, upgrade.median(), 2 * (own + OVER_DOCKERS_OWN) + stop);
}

/// A container like an instance's, and its id.
fn dockers_create_and_start(engine: &TestEngine) -> String {
    let (key, value) = engine.label().split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())).unwrap();
    let body = json!({
        "Image": "marathon-probe:1", "Cmd": ["/start"], "Env": ["PORT=8000"], "Labels": { key: value },
        "ExposedPorts": { "8000/tcp": {} },
        "HostConfig": {
            "NetworkMode": engine.network(), "Memory": 32 << 20, "CpuShares": 102,
            "PortBindings": { "8000/tcp": [{ "HostIp": "127.0.0.1", "HostPort": "" }] }
        }
    });
    let made: Value = serde_json::from_str(&ask_docker("POST", "/containers/create", Some(&body))).unwrap();
    let id = made["Id"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
    ask_docker("POST", &format!("/containers/{id}/start"), None);
    id
}

/// Asks the machine's Docker without a client program in between, whose start would count.
fn ask_docker(method: &str, path: &str, body: Option<&Value>) -> String {
    let mut stream = UnixStream::connect("/var/run/docker.sock").unwrap();
    let body = body.map(Value::to_string).unwrap_or_default();
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: docker\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap()
}
