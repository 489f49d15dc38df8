//! Every example of Marathon's own documentation and system tests: taken and shown in its canonical form, or refused
//! with the words of a Marathon whose feature is off.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::support::engine::TestEngine;

const PLACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/marathon/examples");

/// What becomes of an example.
enum Fate {
    /// Posted as an app without instances, it is shown with the defaults and these fields; `null` marks one that is gone.
    App(Value),
    /// Refused: these paths with these errors, and no other.
    Refused(Vec<(&'static str, String)>),
    /// A definition of a pod, which is refused as such.
    Pod,
    /// Has a test of its own below.
    Elsewhere,
    /// What Marathon answers, not what it is asked.
    Answer,
}

fn feature(name: &str) -> String {
    format!("Feature {name} is not enabled. Enable with --enable_features {name})")
}

/// A Docker container as Marathon shows it.
fn docker(image: &str, mappings: Value) -> Value {
    let mut container = json!({
        "type": "DOCKER", "volumes": [],
        "docker": { "image": image, "forcePullImage": false, "privileged": false, "parameters": [] },
    });
    if !mappings.is_null() {
        container["portMappings"] = mappings;
    }
    container
}

fn mapping(container_port: u16, host_port: u16) -> Value {
    json!({ "containerPort": container_port, "hostPort": host_port, "protocol": "tcp", "servicePort": 0, "labels": {} })
}

fn named(mut mapping: Value, name: &str) -> Value {
    mapping["name"] = json!(name);
    mapping
}

/// An artifact as Marathon shows it.
fn fetched(uri: &str) -> Value {
    json!([{ "uri": uri, "extract": true, "executable": false, "cache": false }])
}

const PINGER: &str = "http://master.mesos:7777/pinger.py";

/// The two checks that several examples share, as Marathon shows them.
fn checked_and_ready() -> Value {
    json!({
        "healthChecks": [{
            "protocol": "HTTP", "path": "/", "portIndex": 0, "gracePeriodSeconds": 10, "intervalSeconds": 2,
            "timeoutSeconds": 2, "maxConsecutiveFailures": 0, "delaySeconds": 15, "ignoreHttp1xx": false,
            "ipProtocol": "IPv4"
        }],
        "readinessChecks": [{
            "name": "readiness", "protocol": "HTTP", "path": "/", "portName": "api", "intervalSeconds": 2,
            "timeoutSeconds": 1, "httpStatusCodesForReady": [200], "preserveLastResponse": false
        }],
    })
}

fn with_ssl() -> Value {
    let mappings = json!([named(mapping(80, 0), "http"), named(mapping(443, 0), "https")]);
    json!({
        "container": docker("mesosphere/simple-docker:with-ssl", mappings),
        "networks": [{ "mode": "container/bridge" }], "portDefinitions": null
    })
}

fn persistent(path: &'static str) -> Fate {
    Fate::Refused(vec![(path, "is not supported by this engine".to_owned())])
}

/// A Marathon with secrets in its definition.
fn with_secrets() -> Fate {
    let environment = "use of secret-references in the environment requires the secrets feature to be enabled";
    Fate::Refused(vec![
        ("/container/docker/pullConfig", feature("secrets")),
        ("/env", environment.to_owned()),
        ("/secrets", feature("secrets")),
    ])
}

fn fate(file: &str) -> Option<Fate> {
    Some(match file {
        "system-apps/app-with-https-readiness-checks.json" | "system-apps/docker-nginx-ssl.json" => {
            Fate::App(with_ssl())
        }
        "system-apps/docker-http-server.json" => Fate::App(json!({
            "container": docker("python:3.5-alpine", json!([mapping(8080, 0)])),
            "networks": [{ "mode": "container/bridge" }], "portDefinitions": null
        })),
        "system-apps/external-volume-mesos-app.json" => {
            Fate::Refused(vec![("/container/volumes(0)", feature("external_volumes"))])
        }
        "system-apps/fake-framework.json" | "system-apps/readiness-and-health-app.json" => {
            Fate::App(checked_and_ready())
        }
        "system-apps/http-server.json" | "system-apps/sleep-app.json" => Fate::App(json!({})),
        "system-apps/large-sleep.json" => Fate::App(json!({ "id": "/sleep" })),
        "system-apps/mesos-app.json" => Fate::App(json!({ "container": { "type": "MESOS", "volumes": [] } })),
        "system-apps/ucr-docker-http-server.json" => {
            let mut container = docker("python:3.5-alpine", Value::Null);
            container["type"] = json!("MESOS");
            Fate::App(json!({ "container": container }))
        }
        "system-apps/ipv6-healthcheck.json" => Fate::App(json!({
            "container": docker("alpine", json!([mapping(8080, 0)])), "portDefinitions": null,
            "healthChecks": [{
                "protocol": "MESOS_HTTP", "path": "/", "portIndex": 0, "ipProtocol": "IPv6", "gracePeriodSeconds": 300,
                "intervalSeconds": 60, "timeoutSeconds": 20, "maxConsecutiveFailures": 3, "delaySeconds": 15
            }],
        })),
        "system-apps/pinger-bridge-app.json" => {
            let mut container = docker("python:3.5-alpine", json!([named(mapping(80, 7777), "http")]));
            container["volumes"] =
                json!([{ "containerPath": "/opt/pinger.py", "hostPath": "pinger.py", "mode": "RO" }]);
            Fate::App(json!({
                "container": container, "networks": [{ "mode": "container/bridge" }], "portDefinitions": null,
                "fetch": fetched(PINGER)
            }))
        }
        "system-apps/pinger-localhost-app.json" => Fate::App(json!({ "fetch": fetched(PINGER) })),
        "system-apps/pinger-container-app.json" => Fate::App(json!({
            "container": { "type": "MESOS", "volumes": [], "portMappings": [
                { "containerPort": 7777, "protocol": "tcp", "servicePort": 0, "labels": {}, "name": "my-port" }
            ] },
            "networks": [{ "mode": "container", "name": "dcos" }], "ipAddress": null, "portDefinitions": null,
            "fetch": fetched(PINGER)
        })),
        "system-apps/private-docker-app.json" => Fate::App(json!({
            "container": docker("mesosphere/simple-docker-ee:latest", Value::Null),
            "fetch": fetched("file:///home/centos/docker.tar.gz")
        })),
        "system-apps/private-ucr-docker-app.json" => {
            Fate::Refused(vec![("/container/docker/pullConfig", feature("secrets")), ("/secrets", feature("secrets"))])
        }
        "system-apps/healthcheck-and-volume.json"
        | "system-apps/persistent-volume-app.json"
        | "system-apps/resident-docker-app.json" => persistent("/container/volumes(0)/persistent"),
        "system-fixtures/universe.json" => Fate::App(json!({
            "container": docker("mesosphere/universe-server:marathon-f0080a1a83256449", json!([mapping(80, 8085)])),
            "networks": [{ "mode": "container/bridge" }], "portDefinitions": null, "requirePorts": false,
            "healthChecks": [{
                "protocol": "HTTP", "path": "/repo-empty-v3.json", "portIndex": 0, "gracePeriodSeconds": 120,
                "intervalSeconds": 30, "timeoutSeconds": 5, "maxConsecutiveFailures": 3, "delaySeconds": 15,
                "ignoreHttp1xx": false, "ipProtocol": "IPv4"
            }],
        })),
        "app-check-http-example.json" => Fate::App(json!({
            "id": "/http-index-test", "env": null,
            "check": {
                "http": { "portIndex": 0, "path": "/", "scheme": "HTTP" },
                "intervalSeconds": 60, "timeoutSeconds": 20, "delaySeconds": 15
            },
        })),
        // Everything at once, which is too much.
        "app.json" => Fate::Refused(vec![
            ("/", "cannot specify both an IP address and port".to_owned()),
            ("/ipAddress", "ipAddress/discovery is not allowed for Docker containers".to_owned()),
        ]),
        _ if file.starts_with("system-fixtures/mom-ee-") => with_secrets(),
        _ if file.starts_with("system-pods/") || file == "pod.json" => Fate::Pod,
        "apps_create.json" | "apps_patch.json" | "app_patch.json" | "group.json" | "system-groups/sleep-group.json" => {
            Fate::Elsewhere
        }
        "app_list.json"
        | "app_task.json"
        | "app_tasks.json"
        | "deployment_steps.json"
        | "deployments.json"
        | "deployments_result.json"
        | "info.json"
        | "queue.json"
        | "tasks.json"
        | "events.txt" => Fate::Answer,
        _ => return None,
    })
}

/// The app of an example as it is to be shown.
fn canonical(sent: &Value, shown: &Value) -> Value {
    let mut app = json!({
        "instances": 0, "cpus": 1, "mem": 128, "disk": 0, "gpus": 0, "executor": "", "backoffSeconds": 1,
        "backoffFactor": 1.15, "maxLaunchDelaySeconds": 300, "requirePorts": false, "killSelection": "YOUNGEST_FIRST",
        "role": "*", "labels": {}, "networks": [{ "mode": "host" }],
        "portDefinitions": [{ "port": 0, "name": "default", "protocol": "tcp" }],
        "upgradeStrategy": { "minimumHealthCapacity": 1, "maximumOverCapacity": 1 },
        "unreachableStrategy": { "inactiveAfterSeconds": 0, "expungeAfterSeconds": 0 },
    });
    for (key, value) in [sent, shown].into_iter().flat_map(|object| object.as_object().unwrap()) {
        app[key] = value.clone();
    }
    app["instances"] = json!(0);
    app.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    with_equal_numbers(app)
}

/// The app as it is shown, without what differs from one to the next.
fn shown(mut app: Value) -> Value {
    for changing in [
        "version",
        "versionInfo",
        "tasks",
        "tasksStaged",
        "tasksRunning",
        "tasksHealthy",
        "tasksUnhealthy",
        "deployments",
    ] {
        assert!(app.as_object_mut().unwrap().remove(changing).is_some(), "{changing} is missing: {app:#}");
    }
    let mut unassigned = |pointer: &str| {
        if let Some(port) = app.pointer_mut(pointer).filter(|port| port.as_u64().is_some_and(|port| port >= 10_000)) {
            *port = json!(0);
        }
    };
    for index in 0..2 {
        unassigned(&format!("/portDefinitions/{index}/port"));
        unassigned(&format!("/container/portMappings/{index}/servicePort"));
    }
    with_equal_numbers(app)
}

/// `1` and `1.0` are one number.
fn with_equal_numbers(value: Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(items) => items.into_iter().map(with_equal_numbers).collect(),
        Value::Object(fields) => {
            fields.into_iter().map(|(key, value)| (key, with_equal_numbers(value))).collect::<Map<_, _>>().into()
        }
        other => other,
    }
}

fn read(file: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(format!("{PLACE}/{file}")).unwrap()).unwrap()
}

/// Every file below the examples, with its directory.
fn files(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let (dirs, files): (Vec<PathBuf>, Vec<PathBuf>) = entries.partition(|path| path.is_dir());
    let name = |path: PathBuf| path.strip_prefix(PLACE).unwrap().to_str().unwrap().to_owned();
    dirs.iter().flat_map(|dir| self::files(dir)).chain(files.into_iter().map(name)).collect()
}

/// The paths and errors of a refusal.
fn details(refusal: &Value) -> BTreeSet<(String, String)> {
    let details = refusal["details"].as_array().into_iter().flatten();
    let errors = details.flat_map(|detail| {
        let path = detail["path"].as_str().unwrap().to_owned();
        detail["errors"].as_array().unwrap().iter().map(move |error| (path.clone(), error.as_str().unwrap().to_owned()))
    });
    errors.collect()
}

/// Says what is not as it should be with an example, if anything.
fn try_out(engine: &TestEngine, file: &str, fate: &Fate) -> Option<String> {
    let mut example = read(file);
    let path = if matches!(fate, Fate::Pod) { "/v2/pods" } else { "/v2/apps" };
    if let Fate::App(_) = fate {
        example["instances"] = json!(0);
    }
    let reply = engine.post(path, &example);
    match fate {
        Fate::App(wanted) => {
            if reply.status != 201 {
                return Some(format!("refused: {} {}", reply.status, reply.body));
            }
            let id = reply.json()["id"].as_str().unwrap().to_owned();
            let found = shown(engine.get(&format!("/v2/apps{id}")).ok().json()["app"].clone());
            let wanted = canonical(&example, wanted);
            engine.delete(&format!("/v2/apps{id}")).ok();
            engine.settled();
            (found != wanted).then(|| format!("is shown as\n{found:#}\nnot as\n{wanted:#}"))
        }
        Fate::Refused(wanted) => {
            let wanted: BTreeSet<_> = wanted.iter().map(|(path, error)| ((*path).to_owned(), error.clone())).collect();
            let found = if reply.status == 422 { details(&reply.json()) } else { BTreeSet::new() };
            (found != wanted).then(|| format!("{} {}, not refused with {wanted:?}", reply.status, reply.body))
        }
        Fate::Pod => {
            let wanted = BTreeSet::from([("/".to_owned(), feature("pods"))]);
            let is_refused = reply.status == 422 && details(&reply.json()) == wanted;
            (!is_refused).then(|| format!("{} {}, not refused as a pod", reply.status, reply.body))
        }
        Fate::Elsewhere | Fate::Answer => None,
    }
}

#[test]
fn every_example_of_marathons_is_taken_or_refused_as_marathon_would() {
    let engine = TestEngine::start();
    let files = files(Path::new(PLACE));
    let expected = files.iter().map(|file| (file, fate(file).unwrap_or_else(|| panic!("{file} is not in the table"))));
    let asked = expected.filter(|(_, fate)| !matches!(fate, Fate::Elsewhere | Fate::Answer));
    let wrong: Vec<String> =
        asked.filter_map(|(file, fate)| Some(format!("{file} {}", try_out(&engine, file, &fate)?))).collect();
    assert!(files.len() > 50, "{files:?}");
    assert!(wrong.is_empty(), "{} of {} examples:\n{}", wrong.len(), files.len(), wrong.join("\n"));
}

/// The example with every field there is, without those that exclude each other and those of features that are off.
#[test]
fn the_example_of_all_fields_is_taken_when_it_asks_for_nothing_impossible() {
    let engine = TestEngine::start();
    let mut example = read("app.json");
    for impossible in ["cmd", "ipAddress", "secrets", "acceptedResourceRoles", "portDefinitions"] {
        example.as_object_mut().unwrap().remove(impossible);
    }
    example["env"].as_object_mut().unwrap().remove("PASSWORD");
    example["instances"] = json!(0);
    engine.post("/v2/apps", &example).ok();
    let mut port = named(mapping(80, 0), "http");
    port["labels"] = json!({ "vip": "192.168.0.1:80" });
    let mut container = docker("mesosphere:marathon/latest", json!([port]));
    container["docker"]["parameters"] = json!([{ "key": "name", "value": "kdc" }]);
    container["volumes"] =
        json!([{ "containerPath": "/docker_storage", "hostPath": "/hdd/tools/docker/registry", "mode": "RW" }]);
    let mut check = example["healthChecks"][0].clone();
    (check["delaySeconds"], check["ipProtocol"]) = (json!(15), json!("IPv4"));
    let wanted = json!({
        "container": container, "networks": [{ "mode": "container/bridge" }], "portDefinitions": null,
        "healthChecks": [check],
        "fetch": [
            { "uri": "https://foo.com/setup.py", "extract": true, "executable": false, "cache": false },
            {
                "uri": "https://foo.com/archive.zip", "extract": true, "executable": false, "cache": true,
                "destPath": "newname.zip"
            }
        ],
    });
    let found = engine.get("/v2/apps/foo").ok().json()["app"].clone();
    assert_eq!(shown(found), canonical(&example, &wanted));
}

#[test]
fn examples_of_lists_of_apps_are_taken() {
    let engine = TestEngine::start();
    let mut list = read("apps_create.json");
    for app in list.as_array_mut().unwrap() {
        app["instances"] = json!(0);
    }
    engine.put("/v2/apps", &list).ok();
    let app = |id: &str| engine.get(&format!("/v2/apps/test/{id}")).ok().json()["app"].clone();
    assert_eq!(app("sleep60")["dependencies"], json!(["/test/sleep120", "/other/namespace/or/app"]));
    engine.ask("PATCH", "/v2/apps", Some(&read("apps_patch.json"))).ok();
    engine.settled();
    let (first, second) = (app("sleep60"), app("sleep120"));
    assert_eq!((&first["cpus"], &first["mem"], &first["cmd"]), (&json!(0.3), &json!(9.0), &json!("sleep 60")));
    assert_eq!((&second["instances"], &second["tasksRunning"]), (&json!(2), &json!(2)));

    engine.post("/v2/apps", &json!({ "id": "/foo", "cmd": "exec sleep 1000", "cpus": 0.1, "instances": 0 })).ok();
    engine.ask("PATCH", "/v2/apps/foo", Some(&read("app_patch.json"))).ok();
    engine.settled();
    assert_eq!(engine.get("/v2/apps/foo").json()["app"]["tasksRunning"], 2);
}

#[test]
fn examples_of_groups_are_taken_whole() {
    let engine = TestEngine::start();
    engine.post("/v2/groups", &read("system-groups/sleep-group.json")).ok();
    engine.settled();
    let group = engine.get("/v2/groups/sleep-group/sleep").ok().json();
    let ids: Vec<_> = group["apps"].as_array().unwrap().iter().map(|app| app["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["/sleep-group/sleep/goodnight-1", "/sleep-group/sleep/goodnight-2"]);
    assert_eq!(engine.get("/v2/tasks").json()["tasks"].as_array().unwrap().len(), 2);

    // A whole root in old spellings, which takes the place of the group that was there.
    let mut root = read("group.json");
    without_instances(&mut root);
    // As somebody once got it, with versions, which are no contents.
    let refused = engine.put("/v2/groups", &root);
    assert_eq!((refused.status, &refused.json()["details"][0]["path"]), (422, &json!("/version")));
    without_versions(&mut root);
    engine.put("/v2/groups", &root).ok();
    engine.settled();
    let apps = engine.get("/v2/apps").json()["apps"].clone();
    let mut ids: Vec<_> = apps.as_array().unwrap().iter().map(|app| app["id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["/tools/datadog-agent", "/tools/docker/registry", "/tools/oauth-server"]);
    let app = |id: &str| engine.get(&format!("/v2/apps/tools/{id}")).ok().json()["app"].clone();
    let oauth = app("oauth-server");
    assert_eq!(oauth["portDefinitions"], json!([{ "port": 1980, "protocol": "tcp" }]));
    assert_eq!((&oauth["networks"], oauth.get("ports")), (&json!([{ "mode": "host" }]), None));
    let agent = app("datadog-agent");
    assert_eq!((&agent["container"]["docker"]["privileged"], agent.get("uris")), (&json!(true), None));
    assert_eq!(agent["container"]["volumes"], root["groups"][0]["apps"][1]["container"]["volumes"]);
    let mapping = &app("docker/registry")["container"]["portMappings"][0];
    assert_eq!((&mapping["containerPort"], &mapping["servicePort"]), (&json!(5000), &json!(5000)));
}

/// The group without the versions that groups are shown with: to ask for one is to roll back.
fn without_versions(group: &mut Value) {
    group.as_object_mut().map(|fields| fields.remove("version"));
    group["groups"].as_array_mut().into_iter().flatten().for_each(without_versions);
}

/// The group with all apps below it stopped.
fn without_instances(group: &mut Value) {
    for app in group["apps"].as_array_mut().into_iter().flatten() {
        app["instances"] = json!(0);
    }
    group["groups"].as_array_mut().into_iter().flatten().for_each(without_instances);
}
