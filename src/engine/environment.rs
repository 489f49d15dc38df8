//! The environment that a task finds, as Marathon makes it.

use std::collections::BTreeMap;

use super::instance::{Ports, TaskId};
use super::ports::{is_on_host_network, mappings};
use crate::marathon::{App, ContainerKind, EnvValue};

/// All variables of a task; the app's own win over Marathon's.
pub fn of_task(app: &App, task: &TaskId, ports: &Ports, host: &str, sandbox: &str) -> BTreeMap<String, String> {
    let mut env = about_app(app);
    env.insert("MESOS_TASK_ID".to_owned(), task.to_string());
    env.insert("MESOS_SANDBOX".to_owned(), sandbox.to_owned());
    env.insert("HOST".to_owned(), host.to_owned());
    env.extend(about_ports(app, ports));
    for (name, value) in &app.env {
        if let EnvValue::Text(text) = value {
            env.insert(name.clone(), text.clone());
        }
    }
    env
}

fn about_app(app: &App) -> BTreeMap<String, String> {
    let mut env = BTreeMap::from([
        ("MARATHON_APP_ID".to_owned(), app.id.to_string()),
        ("MARATHON_APP_VERSION".to_owned(), app.version.clone()),
        ("MARATHON_APP_RESOURCE_CPUS".to_owned(), format!("{:?}", app.cpus)),
        ("MARATHON_APP_RESOURCE_MEM".to_owned(), format!("{:?}", app.mem)),
        ("MARATHON_APP_RESOURCE_DISK".to_owned(), format!("{:?}", app.disk)),
        ("MARATHON_APP_RESOURCE_GPUS".to_owned(), app.gpus.to_string()),
        ("MARATHON_APP_ENFORCE_GROUP_ROLE".to_owned(), "FALSE".to_owned()),
    ]);
    let docker = app.container.as_ref().filter(|container| container.kind == ContainerKind::Docker);
    if let Some(docker) = docker.and_then(|container| container.docker.as_ref()) {
        env.insert("MARATHON_APP_DOCKER_IMAGE".to_owned(), docker.image.clone());
    }
    env.extend(about_labels(app));
    env
}

/// Labels that are not too long, under names a shell can use.
fn about_labels(app: &App) -> BTreeMap<String, String> {
    const KEY_LIMIT: usize = 493;
    const VALUE_LIMIT: usize = 512;
    let kept = app
        .labels
        .iter()
        .filter(|(key, value)| key.len() < KEY_LIMIT && value.len() < VALUE_LIMIT)
        .map(|(key, value)| (shell_name(key), value))
        .collect::<Vec<_>>();
    let names = kept.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(" ");
    let mut env: BTreeMap<String, String> =
        kept.iter().map(|(name, value)| (format!("MARATHON_APP_LABEL_{name}"), (*value).clone())).collect();
    env.insert("MARATHON_APP_LABELS".to_owned(), names);
    env
}

fn shell_name(key: &str) -> String {
    key.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

fn about_ports(app: &App, ports: &Ports) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    let numbers = numbers(app, ports);
    for (index, (port, (declared, name))) in numbers.iter().zip(declarations(app)).enumerate() {
        env.insert(format!("PORT{index}"), port.to_string());
        env.insert(format!("PORT_{}", if declared == 0 { *port } else { declared }), port.to_string());
        if let Some(name) = name {
            env.insert(format!("PORT_{}", name.to_uppercase()), port.to_string());
        }
    }
    if let Some(first) = numbers.first() {
        env.insert("PORT".to_owned(), first.to_string());
        env.insert("PORTS".to_owned(), numbers.iter().map(u16::to_string).collect::<Vec<_>>().join(","));
    }
    env
}

/// What `$PORT0…` say: the host's port, or the container's where the host has none.
fn numbers(app: &App, ports: &Ports) -> Vec<u16> {
    if is_on_host_network(app) {
        return ports.host.clone();
    }
    let mut host = ports.host.iter();
    let number = |(mapping, listen): (&crate::marathon::PortMapping, &u16)| {
        mapping.host_port.and_then(|_| host.next()).copied().unwrap_or(*listen)
    };
    mappings(app).iter().zip(&ports.listen).map(number).collect()
}

/// The number and the name under which each port was declared.
fn declarations(app: &App) -> Vec<(u16, Option<String>)> {
    if is_on_host_network(app) {
        let definitions = app.port_definitions.as_deref().unwrap_or_default();
        return definitions.iter().map(|definition| (definition.port, definition.name.clone())).collect();
    }
    mappings(app).iter().map(|mapping| (mapping.container_port, mapping.name.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::super::samples::{bridge, command};
    use super::*;
    use crate::marathon::PortDefinition;

    fn env(app: &App, host: &[u16], listen: &[u16]) -> BTreeMap<String, String> {
        let task = "t_dev.instance-1bbd9755-e722-11f1-aa61-0242189058f9._app.1".parse().unwrap();
        let ports = Ports { host: host.to_vec(), listen: listen.to_vec() };
        of_task(app, &task, &ports, "127.0.0.1", "/mnt/mesos/sandbox")
    }
    fn is(env: &BTreeMap<String, String>, pairs: &[(&str, &str)]) {
        for (name, value) in pairs {
            assert_eq!(env.get(*name).map(String::as_str), Some(*value), "{name}");
        }
    }

    #[test]
    fn a_command_task_finds_what_marathons_own_env_printed() {
        let port = |name: &str, port| PortDefinition {
            port,
            labels: BTreeMap::default(),
            name: Some(name.into()),
            protocol: "tcp".into(),
        };
        let app = App {
            port_definitions: Some(vec![port("http", 10000), port("scheduler", 10001)]),
            labels: BTreeMap::from([("paas.app".into(), "shop".into()), ("X".into(), "y z".into())]),
            cpus: 0.05,
            mem: 32.0,
            ..command("/env/cmd")
        };
        let env = env(&app, &[31532, 31533], &[31532, 31533]);
        is(
            &env,
            &[
                ("PORT", "31532"),
                ("PORT0", "31532"),
                ("PORT1", "31533"),
                ("PORTS", "31532,31533"),
                ("PORT_10000", "31532"),
                ("PORT_10001", "31533"),
                ("PORT_HTTP", "31532"),
                ("PORT_SCHEDULER", "31533"),
                ("MARATHON_APP_ID", "/env/cmd"),
                ("MARATHON_APP_LABEL_PAAS_APP", "shop"),
                ("MARATHON_APP_LABEL_X", "y z"),
                ("MARATHON_APP_RESOURCE_CPUS", "0.05"),
                ("MARATHON_APP_RESOURCE_MEM", "32.0"),
                ("MARATHON_APP_RESOURCE_DISK", "0.0"),
                ("MARATHON_APP_RESOURCE_GPUS", "0"),
                ("MARATHON_APP_ENFORCE_GROUP_ROLE", "FALSE"),
            ],
        );
        assert!(!env.contains_key("MARATHON_APP_DOCKER_IMAGE"));
    }

    #[test]
    fn on_a_bridge_the_number_is_the_hosts_and_the_name_the_containers() {
        let app = bridge("/shop/web", &[(0, Some(0)), (8080, Some(0)), (9000, None)]);
        let env = env(&app, &[31156, 31157], &[31156, 8080, 9000]);
        is(
            &env,
            &[
                ("PORT", "31156"),
                ("PORT0", "31156"),
                ("PORT_31156", "31156"),
                ("PORT1", "31157"),
                ("PORT_8080", "31157"),
                ("PORT2", "9000"),
                ("PORT_9000", "9000"),
                ("MARATHON_APP_DOCKER_IMAGE", "probe:1"),
            ],
        );
    }

    #[test]
    fn the_apps_own_variables_win() {
        let app = App { env: BTreeMap::from([("HOST".into(), EnvValue::Text("mine".into()))]), ..command("/a") };
        is(&env(&app, &[], &[]), &[("HOST", "mine")]);
        assert!(!env(&app, &[], &[]).contains_key("PORT"));
    }
}
