//! A release as Marathon runs it: one group per app, in it one Marathon app per process type.

use std::collections::BTreeMap;

use super::formation::{Check, CheckTimes, Command, Process, WEB};
use super::release::Release;
use crate::marathon::{
    App, CommandLine, Container, ContainerKind, DockerContainer, EnvValue, HealthCheck, HealthProtocol, Network,
    NetworkMode, PathId, PortMapping, UpgradeStrategy,
};
use crate::model::{AppName, ProcessType};

/// Whose release it is; with [`RELEASE_LABEL`], nobody else's apps have it.
pub(super) const APP_LABEL: &str = "paas.app";
pub(super) const RELEASE_LABEL: &str = "paas.release";

/// The group of an app.
pub(super) fn group_id(app: &AppName) -> PathId {
    PathId::resolve(app.as_str(), &PathId::root()).expect("an app's name is a DNS label")
}

/// The Marathon app of a process type.
pub(super) fn app_id(app: &AppName, process: &ProcessType) -> PathId {
    PathId::resolve(process.as_str(), &group_id(app)).expect("a process type is a DNS label")
}

/// Every app of the release's group. What is not in it is stopped by Marathon, so a process type that is gone ends.
pub(super) fn definitions(release: &Release) -> Vec<App> {
    release.formation.iter().map(|(name, process)| definition(release, name, process)).collect()
}

fn definition(release: &Release, name: &ProcessType, process: &Process) -> App {
    let has_port = process.check != Check::None || name.as_str() == WEB;
    App {
        cmd: shell_command(&process.command),
        args: arguments(name, &process.command),
        instances: process.instances,
        cpus: process.cpus,
        #[allow(clippy::cast_precision_loss, reason = "mebibytes of memory are far below 2^53")]
        mem: process.mem as f64,
        container: Some(container(release, has_port.then_some(process.port.unwrap_or(0)))),
        networks: vec![Network { mode: NetworkMode::Bridge, name: None, labels: BTreeMap::new() }],
        env: environment(release, name).into_iter().map(|(name, value)| (name, EnvValue::Text(value))).collect(),
        labels: labels(release, name),
        health_checks: health_check(&process.check).into_iter().collect(),
        constraints: process.constraints.clone(),
        task_kill_grace_period_seconds: process.stop_timeout,
        // Old instances stay until as many new ones are healthy.
        // The tenant's Marathon knows which role it has.
        role: String::new(),
        upgrade_strategy: UpgradeStrategy { maximum_over_capacity: 1.0, minimum_health_capacity: 1.0 },
        ..App::new(app_id(&release.app, name))
    }
}

/// No shell of the host ever sees these: they are the arguments of programs in the image.
pub(super) fn arguments(name: &ProcessType, command: &Command) -> Vec<String> {
    match command {
        Command::Start => vec!["/start".to_owned(), name.to_string()],
        Command::Exec(command) => ["/exec", "/bin/sh", "-c", command].map(str::to_owned).to_vec(),
        Command::Image | Command::Shell(_) => Vec::new(),
    }
}

/// What runs through the shell of the image, whatever its entrypoint is.
fn shell_command(command: &Command) -> Option<String> {
    if let Command::Shell(command) = command { Some(command.clone()) } else { None }
}

/// `containerPort: 0` is what makes `$PORT` right on both sides; any other is that of an image which has its own.
fn container(release: &Release, container_port: Option<u16>) -> Container {
    let port = |container_port| PortMapping {
        container_port,
        host_port: Some(0),
        labels: BTreeMap::new(),
        name: Some("http".to_owned()),
        network_names: None,
        protocol: "tcp".to_owned(),
        service_port: 0,
    };
    Container {
        kind: ContainerKind::Docker,
        docker: Some(DockerContainer {
            image: release.image.to_string(),
            force_pull_image: false,
            parameters: Vec::new(),
            privileged: false,
            pull_config: None,
        }),
        volumes: Vec::new(),
        port_mappings: Some(container_port.map(port).into_iter().collect()),
    }
}

/// The manifest's variables, over them the config vars, over them what only the platform knows.
pub(super) fn environment(release: &Release, name: &ProcessType) -> BTreeMap<String, String> {
    let given = release.env.iter().map(|(name, value)| (name.clone(), value.clone()));
    let config = release.config.iter().map(|(name, value)| (name.clone(), value.reveal().to_owned()));
    let ours = [
        ("PAAS_TENANT", release.tenant.to_string()),
        ("PAAS_APP", release.app.to_string()),
        ("PAAS_PROCESS", name.to_string()),
        ("PAAS_RELEASE", release.number.to_string()),
        ("PAAS_COMMIT", release.commit.to_string()),
    ];
    // Marathon's own would be the host's port, on which nobody listens inside.
    let port = release.formation.get(name).and_then(|process| process.port).map(|port| ("PORT", port.to_string()));
    let ours = ours.into_iter().chain(port).map(|(name, value)| (name.to_owned(), value));
    given.chain(config).chain(ours).collect()
}

fn labels(release: &Release, name: &ProcessType) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([
        ("paas.tenant".to_owned(), release.tenant.to_string()),
        (APP_LABEL.to_owned(), release.app.to_string()),
        ("paas.process".to_owned(), name.to_string()),
        (RELEASE_LABEL.to_owned(), release.number.to_string()),
        ("paas.commit".to_owned(), release.commit.to_string()),
    ]);
    if name.as_str() == WEB {
        labels.insert("HAPROXY_GROUP".to_owned(), "external".to_owned());
        if !release.domains.is_empty() {
            labels.insert("HAPROXY_0_VHOST".to_owned(), release.domains.join(","));
        }
    }
    labels
}

fn health_check(check: &Check) -> Option<HealthCheck> {
    let (protocol, path, command, times) = match check {
        Check::None => return None,
        Check::Tcp(times) => (HealthProtocol::MesosTcp, None, None, times),
        Check::Http { path, times } => (HealthProtocol::MesosHttp, Some(path.clone()), None, times),
        Check::Command { command, times } => {
            (HealthProtocol::Command, None, Some(CommandLine { value: command.clone() }), times)
        }
    };
    let has_port = command.is_none();
    let CheckTimes { interval, grace, timeout, failures } = *times;
    Some(HealthCheck {
        path,
        command,
        grace_period_seconds: grace,
        interval_seconds: interval,
        timeout_seconds: timeout,
        max_consecutive_failures: failures,
        delay_seconds: 0,
        // Marathon fills it in only sometimes; always sent, it is always right.
        port_index: has_port.then_some(0),
        ..HealthCheck::new(protocol)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::release::tests::release;

    fn posted(release: &Release) -> serde_json::Value {
        serde_json::to_value(definitions(release)).unwrap()
    }

    #[test]
    fn a_web_process_is_a_container_on_a_bridge_with_a_port_and_a_check() {
        let posted = posted(&release());
        let web = &posted[0];
        let picked = serde_json::json!({
            "id": web["id"], "args": web["args"], "instances": web["instances"], "cpus": web["cpus"],
            "mem": web["mem"], "container": web["container"], "networks": web["networks"],
            "healthChecks": web["healthChecks"], "upgradeStrategy": web["upgradeStrategy"],
        });
        assert_eq!(
            picked,
            serde_json::json!({
                "id": "/shop/web",
                "args": ["/start", "web"],
                "instances": 2,
                "cpus": 0.1,
                "mem": 256.0,
                "container": {
                    "type": "DOCKER",
                    "docker": {
                        "image": format!("sha256:{}", "a".repeat(64)),
                        "forcePullImage": false, "parameters": [], "privileged": false
                    },
                    "volumes": [],
                    "portMappings": [
                        {"containerPort": 0, "hostPort": 0, "labels": {}, "name": "http", "protocol": "tcp", "servicePort": 0}
                    ]
                },
                "networks": [{"mode": "container/bridge"}],
                "healthChecks": [{
                    "protocol": "MESOS_TCP", "portIndex": 0, "gracePeriodSeconds": 60, "intervalSeconds": 1,
                    "timeoutSeconds": 5, "maxConsecutiveFailures": 3, "delaySeconds": 0, "ipProtocol": "IPv4"
                }],
                "upgradeStrategy": {"maximumOverCapacity": 1.0, "minimumHealthCapacity": 1.0},
            })
        );
    }

    #[test]
    fn its_environment_and_labels_say_whose_it_is_and_config_vars_win() {
        let posted = posted(&release());
        assert_eq!(
            posted[0]["env"],
            serde_json::json!({
                "LOG_LEVEL": "debug", "TITLE": "Shop", "PAAS_TENANT": "dev", "PAAS_APP": "shop",
                "PAAS_PROCESS": "web", "PAAS_RELEASE": "v12",
                "PAAS_COMMIT": "3f2c1ab000000000000000000000000000000000"
            })
        );
        assert_eq!(
            posted[0]["labels"],
            serde_json::json!({
                "paas.tenant": "dev", "paas.app": "shop", "paas.process": "web", "paas.release": "v12",
                "paas.commit": "3f2c1ab000000000000000000000000000000000",
                "HAPROXY_GROUP": "external", "HAPROXY_0_VHOST": "shop.example.org,www.example.org"
            })
        );
    }

    #[test]
    fn an_image_with_a_port_and_a_check_of_its_own_is_reached_and_checked_there() {
        let mut release = release();
        let web = release.formation.get_mut(&"web".parse().unwrap()).unwrap();
        (web.command, web.port) = (Command::Image, Some(8080));
        web.check = Check::Command { command: "./check".to_owned(), times: CheckTimes::default() };
        let posted = posted(&release);
        let web = &posted[0];
        assert!(web.get("cmd").is_none() && web["args"].as_array().is_none_or(Vec::is_empty), "{web}");
        assert_eq!(web["container"]["portMappings"][0]["containerPort"], 8080);
        assert_eq!(web["env"]["PORT"], "8080");
        let check = &web["healthChecks"][0];
        assert_eq!((&check["protocol"], &check["command"]["value"]), (&"COMMAND".into(), &"./check".into()));
        assert!(check.get("portIndex").is_none() && check.get("path").is_none(), "{check}");

        let worker = release.formation.get_mut(&"worker".parse().unwrap()).unwrap();
        worker.command = Command::Shell("./work".to_owned());
        let worker = &self::posted(&release)[1];
        assert_eq!(worker["cmd"], "./work");
        assert!(worker["env"].get("PORT").is_none());
    }

    #[test]
    fn a_worker_has_no_port_no_check_and_no_place_in_a_load_balancer() {
        let posted = posted(&release());
        let worker = &posted[1];
        assert_eq!(worker["id"], "/shop/worker");
        assert_eq!(worker["container"]["portMappings"], serde_json::json!([]));
        assert!(worker.get("healthChecks").is_none() && worker["labels"].get("HAPROXY_GROUP").is_none());
        assert_eq!(worker["args"], serde_json::json!(["/exec", "/bin/sh", "-c", "./work; $(hostile)"]));
        for absent in ["cmd", "role", "version"] {
            assert!(worker.get(absent).is_none(), "{absent}: {worker}");
        }
    }
}
