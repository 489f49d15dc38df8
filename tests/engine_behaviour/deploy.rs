//! An app's deployment: what it begins with, when it is done, and what happens to one that cannot be done.

use serde_json::{Value, json};

use super::{Asking, Signs, check, deployments, fields, is_locked_by, sleeper, with};
use crate::support::engine::{TestEngine, probe_app};

#[test]
fn a_posted_app_answers_before_it_runs_and_is_deployed_in_two_steps() {
    let engine = TestEngine::start();
    let mut events = engine.listen();
    let reply = engine.post_app("/shop/web", with(sleeper(), json!({ "instances": 2 })));
    assert_eq!(reply.status, 201);
    assert!(reply.header("location").unwrap().ends_with("/shop/web"), "{}", reply.head);
    let posted = reply.json();
    let counts = ["tasksStaged", "tasksRunning", "tasksHealthy", "tasksUnhealthy"];
    assert_eq!(fields(&posted, &counts), counts.iter().map(|count| ((*count).to_owned(), json!(0))).collect::<Value>());
    assert_eq!((&posted["portDefinitions"][0]["port"], posted.get("versionInfo")), (&json!(0), None));
    let id = reply.header("marathon-deployment-id").unwrap().to_owned();
    assert_eq!(posted["deployments"], json!([{ "id": id }]));

    let done = events.until("deployment_success", |event| event["id"] == id);
    let step = |action: &str| json!({ "actions": [{ "action": action, "app": "/shop/web" }] });
    assert_eq!(done["plan"]["steps"], json!([step("StartApplication"), step("ScaleApplication")]));
    let app = engine.app("/shop/web");
    assert_eq!((&app["tasksRunning"], &app["deployments"]), (&json!(2), &json!([])));
    let version = &posted["version"];
    assert_eq!(&app["version"], version);
    assert_eq!(app["versionInfo"], json!({ "lastScalingAt": version, "lastConfigChangeAt": version }));
    assert!(app["portDefinitions"][0]["port"].as_u64().unwrap() >= 10_000);
}

#[test]
fn an_app_is_deployed_once_each_kind_of_its_health_checks_has_passed() {
    let engine = TestEngine::start();
    let signs = Signs::new();
    signs.put("ok");
    let tls = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/https/server.pem");
    let https = format!(
        "exec /usr/bin/python3 -c \"import http.server as h, os, ssl; \
         s = h.HTTPServer(('127.0.0.1', int(os.environ['PORT0'])), h.SimpleHTTPRequestHandler); \
         c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); c.load_cert_chain('{tls}'); \
         s.socket = c.wrap_socket(s.socket, server_side=True); s.serve_forever()\""
    );
    let at_first_port = json!({ "portIndex": 0 });
    let page = json!({ "portIndex": 0, "path": "/ok" });
    let file = json!({ "command": { "value": format!("test -e {}", signs.place("ok").display()) } });
    let secure = |protocol: &str| with(signs.server(&check(protocol, at_first_port.clone())), json!({ "cmd": https }));
    let in_docker = with(
        probe_app("1"),
        json!({ "healthChecks": [check("COMMAND", json!({ "command": { "value": "test -e /start" } }))] }),
    );
    let kinds = [
        ("http", signs.server(&check("HTTP", page.clone()))),
        ("tcp", signs.server(&check("TCP", at_first_port.clone()))),
        ("https", secure("HTTPS")),
        ("mesos-http", signs.server(&check("MESOS_HTTP", page))),
        ("mesos-tcp", signs.server(&check("MESOS_TCP", at_first_port.clone()))),
        ("mesos-https", secure("MESOS_HTTPS")),
        ("command", signs.server(&check("COMMAND", file))),
        ("command-in-docker", in_docker),
    ];
    let mut events = engine.listen();
    let reply = engine.put("/v2/groups/kinds", &json!({ "apps": super::apps(&kinds) }));
    engine.deployed(reply, &mut events);
    for (kind, _) in kinds {
        let app = engine.app(&format!("/kinds/{kind}"));
        assert_eq!((&app["tasksHealthy"], &app["tasksUnhealthy"]), (&json!(1), &json!(0)), "{kind}");
        let result = &app["tasks"][0]["healthCheckResults"][0];
        assert_eq!(
            fields(result, &["alive", "consecutiveFailures"]),
            json!({ "alive": true, "consecutiveFailures": 0 })
        );
        assert!(result["firstSuccess"].is_string() && result["lastSuccess"].is_string(), "{result:#}");
        let instance = super::instance_and_incarnation(app["tasks"][0]["id"].as_str().unwrap()).0;
        assert_eq!(result["instanceId"], format!("instance [{instance}]"));
    }
}

#[test]
fn an_app_that_fails_waits_longer_each_time_and_says_so_in_the_queue() {
    let engine = TestEngine::start();
    let mut events = engine.listen();
    let failing = with(sleeper(), json!({ "cmd": "exit 3", "backoffSeconds": 1, "backoffFactor": 2.5 }));
    let deployment = engine.post_app("/bad", failing).ok().json()["deployments"][0]["id"].clone();
    let mut gaps = Vec::new();
    let mut failed_at = None;
    let mut task = Value::Null;
    for _ in 0..3 {
        let launched = events.until("status_update_event", |event| event["taskStatus"] == "TASK_RUNNING");
        gaps.extend(
            failed_at.map(|failed: jiff::Timestamp| time(&launched["timestamp"]).duration_since(failed).as_secs_f64()),
        );
        let failed = events.until("status_update_event", |event| event["taskStatus"] == "TASK_FAILED");
        failed_at = Some(time(&failed["timestamp"]));
        task = failed["taskId"].clone();
    }
    assert!((1.0..2.0).contains(&gaps[0]) && (2.5..4.0).contains(&gaps[1]), "{gaps:?}");
    let waiting = engine.until("/v2/queue", "waiting", |queue| queue["queue"][0]["delay"]["overdue"] == false);
    let left = waiting["queue"][0]["delay"]["timeLeftSeconds"].as_u64().unwrap();
    assert!((4..=7).contains(&left), "6.25 seconds, not {left}");
    let failure = &engine.app("/bad")["lastTaskFailure"];
    assert_eq!((&failure["state"], &failure["taskId"]), (&json!("TASK_FAILED"), &task));
    assert_eq!(super::instance_and_incarnation(task.as_str().unwrap()).1, 3);
    // Failing tasks do not end a deployment... unless it was done when the first of them had run.
    let running = deployments(&engine);
    assert!(running.is_empty() || json!(running) == json!([deployment]));
}

fn time(stamp: &Value) -> jiff::Timestamp {
    stamp.as_str().unwrap().parse().unwrap()
}

#[test]
fn a_delay_is_never_longer_than_the_longest() {
    let engine = TestEngine::start();
    for (id, longest, bounds) in [("/usual", None, 297..=300), ("/short", Some(9), 7..=9)] {
        let mut app = with(sleeper(), json!({ "cmd": "exit 3", "backoffSeconds": 3600 }));
        if let Some(longest) = longest {
            app["maxLaunchDelaySeconds"] = json!(longest);
        }
        engine.post_app(id, app).ok();
        let delayed = |item: &&Value| item["app"]["id"] == id && item["delay"]["overdue"] == false;
        let find = |queue: &Value| queue["queue"].as_array().unwrap().iter().find(delayed).cloned();
        let queue = engine.until("/v2/queue", "waiting", |queue| find(queue).is_some());
        let left = find(&queue).unwrap()["delay"]["timeLeftSeconds"].as_u64().unwrap();
        assert!(bounds.contains(&left), "{id} waits {left} s");
    }
}

#[test]
fn an_app_that_waits_for_its_delay_is_changed_by_force_and_starts_at_once() {
    let engine = TestEngine::start();
    let mut events = engine.listen();
    // The check never passes before the command ends, so the deployment goes on.
    let checks = json!([check("COMMAND", json!({ "command": { "value": "false" } }))]);
    let bad = with(sleeper(), json!({ "cmd": "exit 3", "backoffSeconds": 3600, "healthChecks": checks }));
    let reply = engine.post_app("/bad", bad).ok();
    let deployment = reply.header("marathon-deployment-id").unwrap().to_owned();
    engine.until("/v2/queue", "waiting", |queue| queue["queue"][0]["delay"]["overdue"] == false);
    is_locked_by(&engine.put_app("/bad", json!({ "cmd": "exec sleep 1000" })), &deployment);
    is_locked_by(&engine.put_app("/bad", json!({ "instances": 2 })), &deployment);
    let forced = engine.put("/v2/apps/bad?force=true", &json!({ "cmd": "exec sleep 1000", "healthChecks": [] }));
    engine.deployed(forced, &mut events);
    assert_eq!(engine.app("/bad")["tasksRunning"], 1);
    assert_eq!(engine.get("/v2/queue").json(), json!({ "queue": [] }));
}

#[test]
fn deleting_an_app_in_mid_deployment_needs_no_force() {
    let engine = TestEngine::start();
    let signs = Signs::new();
    let mut events = engine.listen();
    let reply = engine.post_app("/slow", signs.server(&check("HTTP", json!({ "portIndex": 0, "path": "/ok" })))).ok();
    let deployment = reply.header("marathon-deployment-id").unwrap().to_owned();
    engine.running("/slow", 1);
    let refused = engine.delete("/v2/apps/slow?force=false");
    is_locked_by(&refused, &deployment);
    let reply = engine.delete("/v2/apps/slow");
    events.until("deployment_failed", |event| event["id"] == deployment);
    engine.deployed(reply, &mut events);
    assert_eq!(engine.get("/v2/apps/slow").status, 404);
    assert_eq!((deployments(&engine), engine.processes()), (vec![], vec![]));
}
