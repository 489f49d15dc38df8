//! `paas engine` as HTTP sees it: what the documented tables say, limits, compression, and what no recording asks.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::engine::{Reply, TestEngine};

const DOCS: &str = include_str!("../docs/marathon-api.md");

/// A row of the table of endpoints.
#[derive(Debug)]
struct Row {
    method: &'static str,
    path: &'static str,
    here: &'static str,
}

fn rows() -> Vec<Row> {
    let rows = DOCS.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| ")?.split(" | ");
        let (method, path, here) = (cells.next()?, cells.next()?.trim_matches('`'), cells.next()?);
        path.starts_with('/').then_some(Row { method, path, here })
    });
    rows.collect()
}

/// An app that runs, and one that waits in a deployment and in the queue.
struct Samples {
    task: String,
    version: String,
    deployment: String,
}

impl Samples {
    /// For the `number`th time; each time another definition waits, in a deployment of its own.
    fn there(engine: &TestEngine, number: usize) -> Self {
        let web = json!({ "id": "web", "cmd": "exec sleep 1000", "cpus": 0.01, "mem": 8, "instances": 1 });
        let big = json!({ "id": "big", "cmd": "exec sleep 1000", "cpus": 1000, "mem": 8 + number });
        engine.put("/v2/groups/docs?force=true", &json!({ "apps": [web] })).ok();
        engine.put("/v2/groups/wait?force=true", &json!({ "apps": [big] })).ok();
        let found = engine.until("/v2/apps/docs/web", "running", |found| {
            found["app"]["tasksRunning"] == 1 && found["app"]["deployments"] == json!([])
        });
        let waiting = engine.until("/v2/queue", "waiting", |found| found["queue"][0]["app"]["id"] == "/wait/big");
        let deployments = engine.get("/v2/deployments").json();
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{waiting} {deployments}")).to_owned();
        Self {
            task: text(&found["app"]["tasks"][0]["id"]),
            version: text(&engine.get("/v2/apps/docs/web").json()["app"]["version"]),
            deployment: text(&deployments[0]["id"]),
        }
    }

    fn path(&self, row: &Row) -> String {
        let group = if row.method == "POST" { "docs/below" } else { "docs" };
        let app = if row.path.contains("/queue/") { "wait/big" } else { "docs/web" };
        let fill = [("{app}", app), ("{group}", group), ("{task}", &self.task), ("{version}", &self.version)];
        let fill = fill.into_iter().chain([("{deployment}", self.deployment.as_str()), ("{file}", "index.html")]);
        let path = fill.fold(row.path.to_owned(), |path, (gap, value)| path.replace(gap, value));
        path.replace(['{', '}'], "")
    }

    fn body(row: &Row) -> Option<Value> {
        match (row.method, row.path) {
            ("GET" | "DELETE", _) => None,
            ("PUT" | "PATCH", "/v2/apps") => Some(json!([{ "id": "/docs/web", "mem": 9 }])),
            ("POST", "/v2/apps") => Some(json!({ "id": "/docs/new", "cmd": "sleep 1", "instances": 0 })),
            ("POST", "/v2/groups") => Some(json!({ "id": "/docs/more" })),
            ("POST", "/v2/tasks/delete") => Some(json!({ "ids": [] })),
            ("PATCH", "/v2/groups/{group}") => Some(json!({ "enforceRole": false })),
            _ => Some(json!({})),
        }
    }
}

#[test]
fn every_row_of_the_documented_endpoints_is_true() {
    let engine = TestEngine::start();
    let mut rows = rows();
    assert!(rows.len() > 50, "{rows:?}");
    // It ends the engine.
    rows.sort_by_key(|row| (row.method, row.path) == ("DELETE", "/v2/leader"));
    let mut samples = Samples::there(&engine, 0);
    for (number, row) in rows.iter().enumerate() {
        let (path, body) = (samples.path(row), Samples::body(row));
        let reply = match row.path {
            "/v2/events" => ask(&engine, "GET", &path, &["Accept: text/event-stream"], b"\r\n"),
            "/metrics/prometheus" => ask(&engine, "GET", &path, &["Accept: text/plain"], b""),
            _ if row.method == "GET" => engine.get(&path),
            // What waits is in a deployment, which is in the way of some.
            _ => engine.ask(row.method, &format!("{path}?force=true"), body.as_ref()),
        };
        let status = reply.status;
        match row.here.split_once(' ') {
            Some(("refused", wanted)) => assert_eq!(status.to_string(), wanted, "{row:?} {}", reply.body),
            None => assert!(status < 400, "{row:?} {path}: {status} {}", reply.body),
            Some(_) => panic!("{row:?} says neither"),
        }
        if row.method != "GET" && (row.method, row.path) != ("DELETE", "/v2/leader") {
            samples = Samples::there(&engine, number + 1);
        }
    }
}

/// A request as it is written here, over HTTP/1.1. With a body that is not empty, only the head of the answer is read.
fn ask(engine: &TestEngine, method: &str, path: &str, headers: &[&str], until: &[u8]) -> Reply {
    let bytes = exchange(engine, method, path, headers, &[], until);
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").expect("an answer has a head");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("an answer has a status");
    Reply { status, head: head.to_lowercase(), body: body.to_owned() }
}

/// The answer's bytes: all of them, or as many as end with `until`.
fn exchange(engine: &TestEngine, method: &str, path: &str, headers: &[&str], body: &[u8], until: &[u8]) -> Vec<u8> {
    let mut stream = connect(engine);
    let headers = headers.iter().flat_map(|header| [*header, "\r\n"]).collect::<String>();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{headers}\r\n", engine.address())
        .unwrap();
    stream.write_all(body).unwrap();
    read(&mut stream, until)
}

fn connect(engine: &TestEngine) -> TcpStream {
    let stream = TcpStream::connect(engine.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

fn read(stream: &mut TcpStream, until: &[u8]) -> Vec<u8> {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    while until.is_empty() || !bytes.ends_with(until) {
        match stream.read(&mut piece).unwrap() {
            0 => break,
            length => bytes.extend_from_slice(&piece[..length]),
        }
    }
    bytes
}

/// The fields of a table of refusals that begins after `heading`.
fn refused_fields(heading: &str) -> Vec<&'static str> {
    let lines = DOCS[DOCS.find(heading).expect("the heading is there")..].lines();
    let table = lines.skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|')).skip(2);
    table.map(|line| line[2..].split(" | ").next().unwrap_or_default()).collect()
}

fn refused_definition(field: &str) -> Value {
    let command = |more: Value| {
        let mut app = sleeper("/x", 1);
        app.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        app
    };
    let image = |more: Value| {
        let mut container = json!({ "type": "DOCKER", "docker": { "image": "marathon-probe:1" } });
        container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "id": "/x", "container": container, "cpus": 0.01, "mem": 8, "instances": 1 })
    };
    let volume = |more: Value| image(json!({ "volumes": [more] }));
    let networks = |names: &[&str]| {
        let mut app = image(json!({}));
        app["networks"] = names.iter().map(|name| json!({ "mode": "container", "name": name })).collect();
        app
    };
    match field {
        "`secrets`" => command(json!({ "secrets": { "s": { "source": "x" } } })),
        "`env.X.secret`" => command(json!({ "env": { "X": { "secret": "s" } } })),
        "`container.volumes` with `secret`" => volume(json!({ "containerPath": "a", "secret": "s" })),
        "`container.docker.pullConfig`" => {
            image(json!({ "docker": { "image": "marathon-probe:1", "pullConfig": { "secret": "s" } } }))
        }
        "`gpus`" => command(json!({ "gpus": 1 })),
        "`container.volumes` with `external`" => {
            volume(json!({ "containerPath": "a", "mode": "RW", "external": { "name": "n", "provider": "dvdi" } }))
        }
        "`container.volumes` with `persistent`" => {
            volume(json!({ "containerPath": "a", "mode": "RW", "persistent": { "size": 10 } }))
        }
        "`container.appc`" => image(json!({ "type": "MESOS", "docker": null, "appc": { "image": "b" } })),
        "an id of more than 32 segments" => sleeper(&"/a".repeat(33), 0),
        "`networks` of a command other than `host`" => command(json!({ "networks": [{ "mode": "container/bridge" }] })),
        "several `networks` of a container" => {
            let mut app = networks(&["a", "b"]);
            app["container"]["type"] = json!("MESOS");
            app
        }
        "`container.volumes` of a command" => command(json!({
            "container": { "type": "MESOS", "volumes": [{ "containerPath": "a", "hostPath": "/tmp", "mode": "RO" }] }
        })),
        "`tty` of a command" => command(json!({ "tty": true })),
        "`user` of a command" => command(json!({ "user": "nobody" })),
        _ if field.starts_with("`container.docker.parameters`") => {
            let parameters = json!([{ "key": "nope", "value": "1" }]);
            image(json!({ "docker": { "image": "marathon-probe:1", "parameters": parameters } }))
        }
        _ if field.starts_with("`fetch`") => command(json!({ "fetch": [{ "uri": "ftp://h/x" }] })),
        _ if field.starts_with("`constraints`") => command(json!({ "constraints": [["hostname", "LIKE", "(?=a).*"]] })),
        _ => panic!("no definition has {field}"),
    }
}

#[test]
fn every_field_that_is_documented_as_refused_is_refused() {
    let engine = TestEngine::start();
    let always = refused_fields("## Fields and features that are refused");
    let to_run = refused_fields("Some definitions are taken with `instances: 0`");
    assert!(always.len() > 10 && to_run.len() > 7, "{always:?} {to_run:?}");
    for field in always {
        let refused = match field {
            "a group's `pods`" => engine.put("/v2/groups/x", &json!({ "pods": [{ "id": "p" }] })),
            "a group's `enforceRole: true`" => engine.put("/v2/groups/x", &json!({ "enforceRole": true })),
            field => {
                let mut app = refused_definition(field);
                app["instances"] = json!(0);
                engine.ask("POST", "/v2/apps", Some(&app))
            }
        };
        assert_eq!(refused.status, 422, "{field}: {}", refused.body);
    }
    let may_become_others = engine.get("/config").json()["users"] == true;
    for field in to_run.into_iter().filter(|field| !may_become_others || !field.starts_with("`user`")) {
        let mut app = refused_definition(field);
        let refused = engine.ask("POST", "/v2/apps", Some(&app));
        assert_eq!(refused.status, 422, "{field}: {}", refused.body);
        app["instances"] = json!(0);
        let kept = engine.ask("POST", "/v2/apps?force=true", Some(&app));
        assert_eq!(kept.status, 201, "{field}: {}", kept.body);
        engine.delete("/v2/apps/x").ok();
        engine.settled();
    }
    assert_eq!(engine.get("/v2/apps").json(), json!({ "apps": [] }));
}

fn sleeper(id: &str, instances: u32) -> Value {
    json!({ "id": id, "cmd": "exec sleep 1000", "cpus": 0.01, "mem": 8, "instances": instances })
}

#[test]
fn an_engine_that_abdicates_is_started_again_with_everything_it_had() {
    let mut engine = TestEngine::start();
    engine.put("/v2/apps/a", &sleeper("/a", 1)).ok();
    let before = engine.until("/v2/apps/a", "running", |found| found["app"]["tasksRunning"] == 1);
    engine.settled();
    assert_eq!(engine.delete("/v2/leader?restore=file:///x").status, 422);
    let asked = Instant::now();
    assert_eq!(engine.delete("/v2/leader").ok().json(), json!({ "message": "Leadership abdicated" }));
    assert_eq!(engine.get("/ping").status, 200);
    assert_eq!(engine.ended(std::time::Duration::from_secs(20)).code(), Some(103));
    assert!(asked.elapsed() >= Duration::from_millis(500), "the answer had no time");
    engine.launch();
    let after = engine.get("/v2/apps/a").json();
    assert_eq!(after["app"]["tasks"][0]["id"], before["app"]["tasks"][0]["id"]);
}

#[test]
fn more_requests_than_allowed_are_told_so_and_pages_of_a_named_origin_may_read() {
    let arguments = ["--allow-commands", "--max-concurrent-requests", "1"];
    let cors = ["--access-control-allow-origin", "http://a.example,http://b.example"];
    let engine = TestEngine::start_with(&[&arguments[..], &cors].concat(), None);
    let page = ask(&engine, "GET", "/ping", &["Origin: http://b.example"], b"");
    assert!(page.head.contains("access-control-allow-origin: http://b.example"), "{}", page.head);
    let stranger = ask(&engine, "GET", "/ping", &["Origin: http://c.example"], b"");
    assert!(!stranger.head.contains("access-control"), "{}", stranger.head);

    // One that does not come to an end holds the one place; a stream that has begun holds none.
    let _events = ask(&engine, "GET", "/v2/events", &["Accept: text/event-stream"], b"\r\n\r\n");
    let deadline = Instant::now() + Duration::from_secs(20);
    let (mut slow, refused) = loop {
        let mut slow = connect(&engine);
        write!(slow, "POST /v2/apps HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n").unwrap();
        // Nothing tells when it has the place. It is refused itself when it meets another in it, and then tries anew.
        std::thread::sleep(Duration::from_millis(100));
        let reply = engine.get("/ping");
        if reply.status == 503 {
            break (slow, reply);
        }
        assert!(Instant::now() < deadline, "{reply:?}");
    };
    assert!(refused.body.contains("Too many concurrent requests! Allowed: 1."), "{}", refused.body);
    assert!(refused.head.contains("text/html"), "{}", refused.head);
    slow.write_all(b"{\"id\": 1 }").unwrap();
    read(&mut slow, b"\"}");
    assert_eq!(engine.get("/ping").status, 200);
}

#[test]
fn bodies_that_are_too_large_or_do_not_come_are_refused_and_nobody_else_waits() {
    let engine = TestEngine::start();
    let mut slow = connect(&engine);
    write!(slow, "POST /v2/apps HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{{\"id\"").unwrap();

    let large = vec![b' '; 9 << 20];
    let length = format!("Content-Length: {}", large.len());
    let answer = exchange(&engine, "PUT", "/v2/groups", &[&length], &large, b"");
    let answer = String::from_utf8_lossy(&answer).to_lowercase();
    assert!(answer.starts_with("http/1.1 413 ") && answer.contains("connection: close"), "{answer}");

    let deep = vec![b'['; 1 << 20];
    let length = format!("Content-Length: {}", deep.len());
    let answer = exchange(&engine, "POST", "/v2/apps", &[&length], &deep, b"");
    assert!(answer.starts_with(b"HTTP/1.1 400 "), "{}", String::from_utf8_lossy(&answer));

    let asked = Instant::now();
    assert_eq!(engine.get("/v2/apps").ok().json(), json!({ "apps": [] }));
    assert!(asked.elapsed() < Duration::from_secs(5));
    // All there is, and then the end of the connection.
    let answer = read(&mut slow, b"");
    let answer = String::from_utf8_lossy(&answer).to_lowercase();
    assert!(answer.starts_with("http/1.1 408 ") && answer.contains("connection: close"), "{answer}");
}

#[test]
fn long_answers_are_compressed_and_event_streams_never() {
    let engine = TestEngine::start();
    let apps: Vec<_> = (0..20).map(|n| sleeper(&format!("app{n}"), 0)).collect();
    engine.put("/v2/groups/many", &json!({ "apps": apps })).ok();
    let plain = engine.get("/v2/apps");
    let gzip = "Accept-Encoding: gzip";
    let small = exchange(&engine, "GET", "/v2/apps", &[gzip], &[], b"");
    let at = small.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let (head, body) = (String::from_utf8_lossy(&small[..at]).to_lowercase(), &small[at + 4..]);
    assert!(head.contains("content-encoding: gzip") && head.contains("vary: accept-encoding"), "{head}");
    let mut again = String::new();
    flate2::read::GzDecoder::new(body).read_to_string(&mut again).unwrap();
    assert_eq!(again, plain.body);
    assert!(body.len() * 5 < plain.body.len(), "{} of {}", body.len(), plain.body.len());

    let looked = ask(&engine, "HEAD", "/v2/apps", &[gzip], b"");
    assert!(looked.head.contains(&format!("content-length: {}", body.len())) && looked.body.is_empty(), "{looked:?}");
    let events = ask(&engine, "GET", "/v2/events", &[gzip, "Accept: text/event-stream"], b"\r\n\r\n");
    assert!(!events.head.contains("content-encoding"), "{}", events.head);
}

#[test]
fn figures_are_told_in_json_and_to_prometheus() {
    let engine = TestEngine::start();
    engine.put("/v2/apps/a", &sleeper("/a", 2)).ok();
    engine.settled();
    let figures = engine.get("/metrics").json();
    let counter = |name: &str| figures["counters"][format!("marathon.{name}.counter")]["count"].clone();
    let gauge = |name: &str| figures["gauges"][format!("marathon.{name}")]["value"].clone();
    assert_eq!([counter("tasks.launched"), counter("mesos.task-updates.task-running")], [2, 2]);
    assert_eq!([counter("deployments"), counter("deployments.succeeded")], [1, 1]);
    assert_eq!([gauge("apps.active.gauge"), gauge("instances.running.gauge")], [1.0, 2.0]);
    assert!(gauge("uptime.gauge.seconds").as_f64().unwrap() > 0.0);
    assert!(figures["meters"]["marathon.http.responses.2xx.rate"]["count"].as_u64().unwrap() >= 2);
    assert!(figures["timers"]["marathon.http.requests.duration.timer.seconds"]["p99"].as_f64().unwrap() > 0.0);

    let wanted = "Accept: application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    let scraped = ask(&engine, "GET", "/metrics/prometheus", &[wanted], b"");
    assert!(scraped.head.contains("content-type: text/plain; version=0.0.4"), "{}", scraped.head);
    assert!(scraped.body.contains("\nmarathon_tasks_launched_counter 2\n"), "{}", scraped.body);
    assert_eq!(engine.get("/metrics/prometheus").status, 406);
}

#[test]
fn what_waits_is_shown_with_the_offer_that_it_declined() {
    let engine = TestEngine::start();
    let app = json!({ "cmd": "sleep 1000", "cpus": 0.01, "mem": 1e9, "instances": 1 });
    engine.put("/v2/apps/big", &app).ok();
    let waits = |found: &Value| found["queue"][0]["lastUnusedOffers"][0]["reason"] == json!(["InsufficientMemory"]);
    let queue = engine.until("/v2/queue?embed=lastUnusedOffers", "declined", waits);
    let offer = &queue["queue"][0]["lastUnusedOffers"][0]["offer"];
    let names: Vec<_> = offer["resources"].as_array().unwrap().iter().map(|resource| &resource["name"]).collect();
    assert_eq!(names, ["ports", "cpus", "mem", "disk"]);
    assert!(offer["resources"][2]["scalar"].as_f64().unwrap() < 1e9);
    assert!(engine.get("/v2/queue").json()["queue"][0].get("lastUnusedOffers").is_none());
    engine.delete("/v2/apps/big").ok();
    engine.settled();

    // This host has no racks: what wants one waits, and is not refused.
    let app = json!({ "cmd": "sleep 1000", "cpus": 0.01, "mem": 8, "constraints": [["rack", "UNIQUE"]] });
    engine.put("/v2/apps/racked", &app).ok();
    let waits = |found: &Value| found["queue"][0]["lastUnusedOffers"][0]["reason"] == json!(["UnfulfilledConstraint"]);
    engine.until("/v2/queue?embed=lastUnusedOffers", "declined", waits);
}

#[test]
fn what_is_embedded_is_what_the_query_names() {
    let engine = TestEngine::start();
    engine.put("/v2/groups/g", &json!({ "apps": [sleeper("a", 1)], "groups": [{ "id": "n" }] })).ok();
    engine.settled();
    let has = |shown: &Value, field: &str| shown.get(field).is_some();
    let listed = |query: &str| engine.get(&format!("/v2/apps{query}")).ok().json()["apps"][0].clone();
    let plain = listed("");
    assert!(has(&plain, "tasksRunning") && has(&plain, "deployments") && !has(&plain, "tasks"));
    assert!(has(&listed("?embed=tasks"), "tasks") && has(&listed("?embed=apps.failures"), "tasks"));
    assert!(has(&listed("?embed=app.taskStats"), "tasksStats") && !has(&listed("?embed=app.taskStats"), "tasks"));

    let group = |query: &str| engine.get(&format!("/v2/groups/g{query}")).ok().json();
    let bare = group("");
    assert!(!has(&bare["apps"][0], "tasksRunning") && bare["groups"][0]["id"] == "/g/n");
    let groups = group("?embed=group.groups");
    assert_eq!((&groups["apps"], &groups["groups"][0]["id"]), (&json!([]), &json!("/g/n")));
    let alone = group("?embed=group.apps.tasks");
    assert_eq!((&alone["apps"], &alone["groups"]), (&json!([]), &json!([])));
    let both = group("?embed=group.apps&embed=group.apps.tasks&embed=group.apps.counts");
    assert_eq!(
        (&both["apps"][0]["tasks"][0]["state"], &both["apps"][0]["tasksRunning"]),
        (&json!("TASK_RUNNING"), &json!(1))
    );
    assert_eq!(engine.get("/v2/apps?cmd=").json()["apps"].as_array().unwrap().len(), 1);
    assert_eq!(engine.get("/v2/apps?label=").json()["apps"].as_array().unwrap().len(), 1);
}

#[test]
fn an_id_without_end_is_refused_and_what_was_accepted_is_read_again() {
    let mut engine = TestEngine::start();
    let deep = |segments: usize| "/a".repeat(segments);
    let refused = engine.ask("POST", "/v2/apps", Some(&sleeper(&deep(100_000), 0)));
    assert_eq!(refused.status, 422, "{}", refused.body);
    assert_eq!(engine.put(&format!("/v2/groups{}", deep(1000)), &json!({})).status, 422);
    engine.put(&format!("/v2/apps{}", deep(32)), &sleeper(&deep(32), 0)).ok();
    engine.settled();
    engine.kill();
    engine.launch();
    assert_eq!(engine.get("/v2/apps").json()["apps"][0]["id"], json!(deep(32)));
}

#[test]
fn groups_may_be_named_as_the_words_of_urls_are() {
    let engine = TestEngine::start();
    engine.put("/v2/groups/apps", &json!({ "apps": [sleeper("x", 0)] })).ok();
    engine.settled();
    assert_eq!(engine.get("/v2/groups").json()["groups"][0]["id"], "/apps");
    assert_eq!(engine.get("/v2/groups/apps").json()[0]["id"], "/apps/x");
    engine.delete("/v2/groups/apps").ok();
    engine.settled();
    assert_eq!(engine.get("/v2/groups").json()["groups"], json!([]));
}
