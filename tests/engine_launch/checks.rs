//! How tasks are asked whether they serve, and what follows when they do not.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::containers::Network;
use super::{certificates, command, container, container_of, run, sandbox, shell, task, with};
use crate::support::engine::TestEngine;

fn check(protocol: &str, more: &[(&str, Value)]) -> Value {
    let mut check = json!({
        "protocol": protocol, "intervalSeconds": 1, "timeoutSeconds": 1, "gracePeriodSeconds": 30,
        "maxConsecutiveFailures": 1, "delaySeconds": 0
    });
    if protocol != "COMMAND" {
        check["portIndex"] = json!(0);
    }
    for (field, value) in more {
        check[*field] = value.clone();
    }
    check
}

/// A web server beside something that goes on without it.
fn server(check: &Value) -> Value {
    let mut app = with(container("/start & exec sleep 1000"), "healthChecks", json!([check]));
    app["container"]["portMappings"] = json!([{ "containerPort": 0, "hostPort": 0 }]);
    app
}

#[track_caller]
fn is_healthy(engine: &TestEngine, app: &str) {
    engine.until(&format!("/v2/apps/{app}"), "healthy", |found| found["app"]["tasksHealthy"] == 1);
}

/// Waits until the app has another task than that one, which serves.
#[track_caller]
fn is_replaced(engine: &TestEngine, app: &str, old: &str) {
    engine.until(&format!("/v2/apps/{app}"), "replaced", |found| {
        found["app"]["tasksHealthy"] == 1 && found["app"]["tasks"][0]["id"] != old
    });
}

#[test]
fn every_kind_of_check_finds_what_serves_and_what_does_no_more() {
    let engine = TestEngine::start();
    let keys = tempfile::tempdir().unwrap();
    certificates(keys.path());
    let secured = format!(
        "openssl s_server -quiet -www -accept $PORT0 -cert {0}/cert.pem -key {0}/key.pem & echo $! > server; exec sleep 1000",
        keys.path().display()
    );
    let secured = |protocol| {
        let app = with(command(&secured), "portDefinitions", json!([{ "port": 0 }]));
        with(app, "healthChecks", json!([check(protocol, &[])]))
    };
    let by_command = |app: Value, file: &str| {
        let check = check("COMMAND", &[("command", json!({ "value": format!("test ! -e {file}") }))]);
        with(app, "healthChecks", json!([check]))
    };
    let apps = [
        ("http", server(&check("HTTP", &[("path", json!("/index.html"))]))),
        ("tcp", server(&check("TCP", &[]))),
        ("mesos-http", server(&check("MESOS_HTTP", &[]))),
        ("mesos-tcp", server(&check("MESOS_TCP", &[]))),
        ("https", secured("HTTPS")),
        ("mesos-https", secured("MESOS_HTTPS")),
        ("inside", by_command(container("exec sleep 1000"), "/mnt/mesos/sandbox/broken")),
        // With the environment and in the directory of the task.
        ("beside", by_command(command("exec sleep 1000"), "broken -a -d $MESOS_SANDBOX -a ! -e $MARATHON_APP_ID")),
    ];
    for (name, app) in &apps {
        engine.put(&format!("/v2/apps/{name}"), app).ok();
    }
    let mut tasks = Vec::new();
    for (name, _) in &apps {
        is_healthy(&engine, name);
        tasks.push((*name, container_of(&engine, name)));
    }
    for (name, task) in &tasks {
        match *name {
            "https" | "mesos-https" => {
                let pid = std::fs::read_to_string(sandbox(&engine, name).join("server")).unwrap();
                shell("kill", &["-9", pid.trim()]);
            }
            "inside" | "beside" => std::fs::write(sandbox(&engine, name).join("broken"), "").unwrap(),
            _ => drop(shell("docker", &["exec", task, "/bin/busybox", "killall", "httpd"])),
        }
    }
    for (name, task) in &tasks {
        is_replaced(&engine, name, task);
    }
    // Marathon's own checks leave a word of it, the agent's do not.
    let failure = |name: &str| engine.get(&format!("/v2/apps/{name}")).json()["app"]["lastTaskFailure"].clone();
    for own in ["http", "tcp", "https"] {
        assert_eq!(failure(own)["state"], "TASK_KILLED", "{own}");
    }
    for agents in ["mesos-http", "mesos-tcp", "mesos-https"] {
        assert_eq!(failure(agents), Value::Null, "{agents}");
    }
}

#[test]
fn a_command_that_takes_too_long_is_ended_with_all_it_started() {
    let engine = TestEngine::start();
    let slow = check(
        "COMMAND",
        &[("command", json!({ "value": "sleep 4321 & sleep 4321; true" })), ("gracePeriodSeconds", json!(3600))],
    );
    run(&engine, "beside", &with(command("exec sleep 1000"), "healthChecks", json!([slow])));
    run(&engine, "inside", &with(container("exec sleep 1000"), "healthChecks", json!([slow])));
    let inside = container_of(&engine, "inside");
    let sleepers = || {
        let beside = engine.processes().iter().filter(|pid| command_line(**pid).contains("4321")).count();
        let processes = shell("docker", &["top", &inside, "-eo", "pid,args"]);
        (beside, processes.matches("sleep 4321").count())
    };
    // Both are seen at work, and then both are seen gone, which nothing but being ended makes them.
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut seen = [false; 4];
    while seen != [true; 4] {
        let (beside, within) = sleepers();
        seen[0] |= beside > 0;
        seen[1] |= within > 0;
        seen[2] |= seen[0] && beside == 0;
        seen[3] |= seen[1] && within == 0;
        assert!(beside <= 6 && within <= 6, "{beside} and {within} are left");
        assert!(Instant::now() < deadline, "{seen:?}");
    }
    assert_eq!(engine.get("/v2/apps/beside").json()["app"]["tasksRunning"], 1);
}

fn command_line(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default().replace('\0', " ")
}

#[test]
fn the_agents_checks_wait_for_their_delay_and_marathons_own_do_not() {
    let engine = TestEngine::start();
    let delayed = |protocol| server(&check(protocol, &[("delaySeconds", json!(3))]));
    run(&engine, "own", &delayed("TCP"));
    let begun = Instant::now();
    is_healthy(&engine, "own");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    run(&engine, "agents", &delayed("MESOS_TCP"));
    let begun = Instant::now();
    is_healthy(&engine, "agents");
    let took = begun.elapsed();
    // Seen to run a little after it did; asked often once the delay is over.
    assert!(took > Duration::from_millis(2500) && took < Duration::from_millis(4500), "{took:?}");
}

#[test]
fn a_check_by_ipv6_asks_there_or_says_that_it_cannot() {
    let engine = TestEngine::start();
    let v6 = || check("MESOS_TCP", &[("ipProtocol", json!("IPv6"))]);
    // Unique local addresses, so that no route is in the way.
    let network = Network::make("ipv6", &["--ipv6", "--subnet", "fd42:7061:6173::/64"]);
    let mut named = server(&v6());
    named["networks"] = json!([{ "mode": "container", "name": network.0 }]);
    named["container"]["portMappings"] = json!([{ "containerPort": 8000 }]);
    run(&engine, "named", &named);
    let mut host = server(&v6());
    host["networks"] = json!([{ "mode": "host" }]);
    host["portDefinitions"] = json!([{ "port": 0 }]);
    host["cmd"] = json!("PORT=[::1]:$PORT0 /start & exec sleep 1000");
    run(&engine, "host", &host);
    for name in ["named", "host"] {
        is_healthy(&engine, name);
    }
    let without = server(&check(
        "MESOS_TCP",
        &[("ipProtocol", json!("IPv6")), ("gracePeriodSeconds", json!(0)), ("maxConsecutiveFailures", json!(0))],
    ));
    run(&engine, "without", &without);
    engine.until("/v2/apps/without", "unhealthy", |found| found["app"]["tasksUnhealthy"] == 1);
    let cause = task(&engine, "without")["healthCheckResults"][0]["lastFailureCause"].clone();
    assert!(cause.as_str().unwrap().contains("no IPv6 address"), "{cause}");
    engine.delete("/v2/apps/named").ok();
    engine.until("/v2/tasks", "without it", |found| !found.to_string().contains("named.instance"));
    let deadline = Instant::now() + Duration::from_secs(10);
    while !Command::new("docker").args(["network", "rm", &network.0]).output().unwrap().status.success() {
        assert!(Instant::now() < deadline, "the network is still used");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_general_check_tells_what_it_sees_and_ends_nothing() {
    let engine = TestEngine::start();
    for (id, kind, before, after) in [
        (
            "/tells/exec",
            json!({ "exec": { "command": { "shell": "test -e here" } } }),
            json!({ "command": { "exitCode": 1 } }),
            json!({ "command": { "exitCode": 0 } }),
        ),
        (
            "/tells/http",
            json!({ "http": { "portIndex": 0, "path": "/here" } }),
            json!({ "http": { "statusCode": 404 } }),
            json!({ "http": { "statusCode": 200 } }),
        ),
        (
            "/tells/tcp",
            json!({ "tcp": { "port": 1 } }),
            json!({ "tcp": { "succeeded": false } }),
            json!({ "tcp": { "succeeded": false } }),
        ),
    ] {
        let mut check = json!({ "intervalSeconds": 0, "timeoutSeconds": 5, "delaySeconds": 0 });
        check.as_object_mut().unwrap().extend(kind.as_object().unwrap().clone());
        let app = json!({
            "cmd": "exec python3 -m http.server $PORT0 --bind 127.0.0.1", "cpus": 0.1, "mem": 32, "check": check
        });
        engine.put(&format!("/v2/apps{id}"), &app).ok();
        let path = format!("/v2/apps{id}/tasks");
        let first = engine.until(&path, "checked", |found| found["tasks"][0]["checkResult"] == before);
        let ran = first["tasks"][0]["id"].as_str().unwrap().to_owned();
        std::fs::write(format!("{}/tasks/{ran}/sandbox/here", engine.state().display()), "").unwrap();
        let last = engine.until(&path, "checked again", |found| found["tasks"][0]["checkResult"] == after);
        assert_eq!(last["tasks"][0]["id"], *ran, "{id}");
    }
    let two = json!({ "cmd": "sleep 1", "check": { "tcp": {}, "exec": { "command": { "shell": "true" } } } });
    assert_eq!(engine.put("/v2/apps/two", &two).status, 422);
}
