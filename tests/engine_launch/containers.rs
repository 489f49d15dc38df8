//! What Docker is asked for, and as whom commands run.

use std::os::unix::fs::MetadataExt as _;

use serde_json::{Value, json};

use super::{command, container, container_of, fails, refused, run, sandbox, shell, task, with, written};
use crate::support::engine::{ProbeImage, TestEngine};

fn set_docker(mut app: Value, field: &str, value: Value) -> Value {
    app["container"]["docker"][field] = value;
    app
}

fn inspected(engine: &TestEngine, app: &str, format: &str) -> String {
    shell("docker", &["inspect", "-f", format, &container_of(engine, app)])
}

/// A network of Docker that goes with the test.
pub(super) struct Network(pub(super) String);

impl Network {
    pub(super) fn make(name: &str, options: &[&str]) -> Self {
        let name = format!("paas-launch-test-{}-{name}", std::process::id());
        shell("docker", &[&["network", "create"][..], options, &[&name]].concat());
        Self(name)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = std::process::Command::new("docker").args(["network", "rm", &self.0]).output();
    }
}

#[test]
fn host_volumes_are_seen_inside() {
    let engine = TestEngine::start();
    let host = tempfile::tempdir().unwrap();
    std::fs::write(host.path().join("given"), "given\n").unwrap();
    let volume =
        |container: &str, host: &str, mode| json!({ "containerPath": container, "hostPath": host, "mode": mode });
    let path = host.path().to_str().unwrap();
    let mut app = container(
        "cat /data/given /mnt/mesos/sandbox/below/given > /data/seen; echo x > /kept/made; \
         touch /fixed/x || echo read-only > /data/fixed; exec sleep 1000",
    );
    app["container"]["volumes"] = json!([
        volume("/data", path, "RW"),
        volume("/fixed", path, "RO"),
        volume("below", path, "RO"),
        volume("/kept", "kept", "RW"),
    ]);
    run(&engine, "volumes", &app);
    assert_eq!(written(&host.path().join("fixed")), "read-only");
    assert_eq!(written(&host.path().join("seen")), "given\ngiven");
    assert_eq!(written(&sandbox(&engine, "volumes").join("kept/made")), "x");
    let no_command =
        json!({ "cmd": "sleep 1", "container": { "type": "MESOS", "volumes": app["container"]["volumes"] } });
    assert!(refused(&engine, &no_command).contains("volumes are for containers with an image"));

    let tenants = TestEngine::start_with(&[], None);
    assert!(refused(&tenants, &app).contains("/container/volumes(0)"));
}

#[test]
fn options_of_docker_run_are_what_the_container_gets() {
    let engine = TestEngine::start();
    let option = |key: &str, value: &str| json!({ "key": key, "value": value });
    let app =
        container("echo $(ulimit -n) $(hostname) $GIVEN $(pwd) $(id -u) > /mnt/mesos/sandbox/seen; exec sleep 1000");
    let app = set_docker(
        app,
        "parameters",
        json!([
            option("ulimit", "nofile=321:322"),
            option("hostname", "box"),
            option("env", "GIVEN=1"),
            option("workdir", "/tmp"),
            option("user", "4321"),
            option("label", "mine=yes"),
            option("shm-size", "8m"),
            option("cap-drop", "ALL"),
            option("tmpfs", "/scratch:size=1m"),
            option("init", "true"),
            option("stop-signal", "SIGINT"),
            option("add-host", "db:10.0.0.1"),
        ]),
    );
    run(&engine, "options", &app);
    assert_eq!(written(&sandbox(&engine, "options").join("seen")), "321 box 1 /tmp 4321");
    let format = "{{index .Config.Labels \"mine\"}} {{.HostConfig.ShmSize}} {{.HostConfig.CapDrop}} {{.HostConfig.Tmpfs}} \
                  {{.HostConfig.Init}} {{.Config.StopSignal}} {{.HostConfig.ExtraHosts}}";
    let expected = "yes 8388608 [ALL] map[/scratch:size=1m] true SIGINT [db:10.0.0.1]";
    assert_eq!(inspected(&engine, "options", format), expected);
    let unknown = set_docker(container("exec sleep 1"), "parameters", json!([option("userns", "host")]));
    let said = refused(&engine, &unknown);
    assert!(said.contains("/container/docker/parameters(0)") && said.contains("`userns`"), "{said}");

    let tenants = TestEngine::start_with(&[], None);
    let volume = set_docker(container("exec sleep 1"), "parameters", json!([option("volume", "/:/host")]));
    assert!(refused(&tenants, &volume).contains("`volume` is refused by this engine"));
    let own = format!("paas.engine={}", "x");
    let label = set_docker(container("exec sleep 1"), "parameters", json!([option("label", &own)]));
    assert!(refused(&tenants, &label).contains("`label` must be"));
    let harmless = json!([option("label", "a=b"), option("user", "1")]);
    run(&tenants, "harmless", &set_docker(container("exec sleep 1000"), "parameters", harmless));
}

#[test]
fn a_container_may_be_on_a_network_of_docker_by_name() {
    let engine = TestEngine::start();
    let network = Network::make("named", &[]);
    let mut app = container("PORT=$PORT0 exec /start");
    app["networks"] = json!([{ "mode": "container", "name": network.0 }]);
    app["container"]["portMappings"] = json!([{ "containerPort": 8099 }]);
    app["healthChecks"] =
        json!([{ "protocol": "HTTP", "portIndex": 0, "intervalSeconds": 1, "gracePeriodSeconds": 20 }]);
    run(&engine, "named", &app);
    engine.until("/v2/apps/named", "healthy", |found| found["app"]["tasksHealthy"] == 1);
    let task = task(&engine, "named");
    let address = inspected(&engine, "named", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}");
    assert_eq!(task["ipAddresses"], json!([{ "ipAddress": address, "protocol": "IPv4" }]));
    assert_eq!(task["ports"], json!([]));
    assert_eq!(inspected(&engine, "named", "{{.HostConfig.NetworkMode}}"), network.0);
    // The old spelling of the same.
    let mut old = container("exec sleep 1000");
    old.as_object_mut().unwrap().remove("networks");
    old["ipAddress"] = json!({ "networkName": network.0 });
    old["container"]["docker"]["network"] = json!("USER");
    old["container"].as_object_mut().unwrap().remove("portMappings");
    run(&engine, "old", &old);
    assert_eq!(inspected(&engine, "old", "{{.HostConfig.NetworkMode}}"), network.0);

    app["networks"][0]["name"] = json!("no-such-network");
    let message = fails(&engine, "missing", &app);
    assert!(message.contains("network no-such-network not found"), "{message}");
    let tenants = TestEngine::start_with(&[], None);
    assert!(refused(&tenants, &app).contains("/networks"));
    for name in ["named", "old", "missing"] {
        engine.delete(&format!("/v2/apps/{name}")).ok();
    }
    engine.settled();
    engine.until("/v2/tasks", "without tasks", |found| found["tasks"] == json!([]));
}

#[test]
fn the_engines_network_is_made_again_when_somebody_removed_it() {
    let engine = TestEngine::start();
    shell("docker", &["network", "rm", engine.network()]);
    run(&engine, "back", &container("exec sleep 1000"));
    assert_eq!(inspected(&engine, "back", "{{.HostConfig.NetworkMode}}"), engine.network());
}

#[test]
fn an_image_for_mesos_own_containers_is_run_by_docker() {
    let engine = TestEngine::start();
    let mut app = command("env > seen; exec sleep 1000");
    app["container"] = json!({ "type": "MESOS", "docker": { "image": ProbeImage::NAME } });
    run(&engine, "image", &app);
    assert_eq!(engine.containers().len(), 1);
    let env = written(&sandbox(&engine, "image").join("seen"));
    assert!(env.contains("MESOS_SANDBOX=/mnt/mesos/sandbox") && env.contains("PWD=/mnt/mesos/sandbox"), "{env}");
    assert!(!env.contains("MARATHON_APP_DOCKER_IMAGE") && !env.contains("MESOS_CONTAINER_NAME"), "{env}");
    assert_eq!(inspected(&engine, "image", "{{.HostConfig.NetworkMode}}"), "host");
    assert_eq!(task(&engine, "image")["state"], "TASK_RUNNING");

    let tenants = TestEngine::start_with(&[], None);
    assert!(refused(&tenants, &app).contains("/networks"));
    app["networks"] = json!([{ "mode": "container/bridge" }]);
    run(&tenants, "image", &app);
}

#[test]
fn a_docker_task_finds_what_marathons_own_env_printed() {
    let engine = TestEngine::start();
    run(&engine, "env", &container("env > /mnt/mesos/sandbox/seen; exec sleep 1000"));
    let env = written(&sandbox(&engine, "env").join("seen"));
    let value = |name: &str| {
        let found = env.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
        found.unwrap_or_else(|| panic!("no {name} in {env}"))
    };
    assert_eq!(value("MARATHON_APP_DOCKER_IMAGE"), ProbeImage::NAME);
    assert_eq!(value("MESOS_TASK_ID"), task(&engine, "env")["id"].as_str().unwrap());
    assert_eq!((value("MARATHON_APP_RESOURCE_MEM"), value("MARATHON_APP_LABELS")), ("32.0", ""));
    let name = value("MESOS_CONTAINER_NAME").strip_prefix("mesos-").unwrap();
    assert_eq!((name.len(), name.matches('-').count()), (36, 4));
    assert_eq!(inspected(&engine, "env", "{{index .Config.Labels \"MESOS_TASK_ID\"}}"), value("MESOS_TASK_ID"));
}

#[test]
fn a_command_runs_as_its_user() {
    let engine = TestEngine::start();
    let app = |user: &str| {
        with(command("id -u > $MESOS_SANDBOX/who; cat given > seen; exec sleep 1000"), "user", json!(user))
    };
    if shell("id", &["-u"]) != "0" {
        let said = refused(&engine, &app("nobody"));
        return assert!(said.contains("commands run as the engine's own user"), "{said}");
    }
    let given = tempfile::tempdir().unwrap();
    std::fs::write(given.path().join("given"), "given\n").unwrap();
    let fetch = json!([{ "uri": format!("file://{}/given", given.path().display()) }]);
    run(&engine, "nobody", &with(app("nobody"), "fetch", fetch));
    let sandbox = sandbox(&engine, "nobody");
    assert_eq!(written(&sandbox.join("seen")), "given");
    let nobody = shell("id", &["-u", "nobody"]);
    assert_eq!(written(&sandbox.join("who")), nobody);
    assert_eq!(std::fs::metadata(sandbox.join("given")).unwrap().uid().to_string(), nobody);
    // Others' directories stay closed, and a task's outputs are the engine's.
    run(&engine, "closed", &command("exec sleep 1000"));
    let closed = super::sandbox(&engine, "closed");
    let look = format!("cat {}/../stdout || ls {}", sandbox.display(), closed.display());
    let tried = std::process::Command::new("setpriv")
        .args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", "/bin/sh", "-c", &look])
        .output()
        .unwrap();
    assert!(!tried.status.success(), "{tried:?}");
    let message = fails(&engine, "unknown", &app("nosuchuser"));
    assert_eq!(message, "this machine has no user `nosuchuser` in /etc/passwd");
    let tty = with(command("sleep 1"), "tty", json!(true));
    assert!(refused(&engine, &tty).contains("/tty"));
}
