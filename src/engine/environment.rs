//! The environment that a task finds, as Marathon makes it.

use std::collections::BTreeMap;

use super::instance::{Ports, TaskId};
use super::ports::{is_on_host_network, mappings};
use crate::marathon::{App, ContainerKind, EnvValue, PortDefinition, PortMapping};

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
        ("MARATHON_APP_RESOURCE_CPUS".to_owned(), decimal(app.cpus)),
        ("MARATHON_APP_RESOURCE_MEM".to_owned(), decimal(app.mem)),
        ("MARATHON_APP_RESOURCE_DISK".to_owned(), decimal(app.disk)),
        ("MARATHON_APP_RESOURCE_GPUS".to_owned(), app.gpus.to_string()),
        ("MARATHON_APP_ENFORCE_GROUP_ROLE".to_owned(), "FALSE".to_owned()),
    ]);
    let docker = app.container.as_ref().filter(|container| container.kind == ContainerKind::Docker);
    if let Some(docker) = docker.and_then(|container| container.docker.as_ref()) {
        env.insert("MARATHON_APP_DOCKER_IMAGE".to_owned(), docker.image.clone());
    }
    env.extend(about_labels(&app.labels));
    env
}

/// A number as Java writes it: always with a point, and by powers of ten when it is very large or small.
fn decimal(number: f64) -> String {
    const PLAIN: std::ops::Range<f64> = 1e-3..1e7;
    if number == 0.0 || PLAIN.contains(&number) {
        return format!("{number:?}");
    }
    let text = format!("{number:E}");
    match text.split_once('E') {
        Some((digits, power)) if !digits.contains('.') => format!("{digits}.0E{power}"),
        _ => text,
    }
}

/// Labels that are not too long, under names a shell can use. Of two with the same name the last counts.
fn about_labels(labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    const PREFIX: &str = "MARATHON_APP_LABEL_";
    /// A name with the prefix, and a value, are shorter than this.
    const LIMIT: usize = 512;
    let fits = |text: &str, limit| text.encode_utf16().count() < limit;
    let kept: BTreeMap<String, &String> = labels
        .iter()
        .filter(|(key, value)| fits(key, LIMIT - PREFIX.len()) && fits(value, LIMIT))
        .map(|(key, value)| (shell_name(key), value))
        .collect();
    let names = kept.keys().map(String::as_str).collect::<Vec<_>>().join(" ");
    let mut env: BTreeMap<String, String> =
        kept.iter().map(|(name, value)| (format!("{PREFIX}{name}"), (*value).clone())).collect();
    env.insert("MARATHON_APP_LABELS".to_owned(), names);
    env
}

/// Upper case, with one `_` in place of each run of what is no letter or digit.
fn shell_name(key: &str) -> String {
    let mut name = String::new();
    let mut in_run = false;
    for character in key.chars() {
        let kept = character.is_ascii_alphanumeric() || character == '_';
        if kept {
            name.push(character.to_ascii_uppercase());
        } else if !in_run {
            name.push('_');
        }
        in_run = !kept;
    }
    name
}

/// A port as the task is told of it.
struct Told {
    /// In the definition; 0 when it was left to the engine.
    declared: u16,
    name: Option<String>,
    /// The host's, or the container's where the host has none.
    number: u16,
    /// The engine found the number, or gave the host's port: those are in `$PORTS`.
    is_given: bool,
}

fn about_ports(app: &App, ports: &Ports) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    let told = told(app, ports);
    for (index, port) in told.iter().enumerate() {
        let number = port.number.to_string();
        env.insert(format!("PORT_{}", if port.declared == 0 { port.number } else { port.declared }), number.clone());
        if let Some(name) = &port.name {
            env.insert(format!("PORT_{}", name.to_uppercase()), number.clone());
        }
        env.insert(format!("PORT{index}"), number);
    }
    let given: Vec<String> = told.iter().filter(|port| port.is_given).map(|port| port.number.to_string()).collect();
    if let Some(first) = given.first() {
        env.insert("PORT".to_owned(), first.clone());
    }
    if !told.is_empty() {
        env.insert("PORTS".to_owned(), given.join(","));
    }
    env
}

fn told(app: &App, ports: &Ports) -> Vec<Told> {
    let mut host = ports.host.iter().copied();
    if is_on_host_network(app) {
        let definitions = app.port_definitions.iter().flatten();
        let tell = |(definition, number): (&PortDefinition, u16)| Told {
            declared: definition.port,
            name: definition.name.clone(),
            number,
            is_given: true,
        };
        return definitions.zip(host).map(tell).collect();
    }
    let tell = |(mapping, listen): (&PortMapping, &u16)| {
        let given = mapping.host_port.and_then(|_| host.next());
        Told {
            declared: mapping.container_port,
            name: mapping.name.clone(),
            number: given.unwrap_or(*listen),
            is_given: given.is_some() || mapping.container_port == 0,
        }
    };
    mappings(app).iter().zip(&ports.listen).map(tell).collect()
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
                ("HOST", "127.0.0.1"),
                ("MESOS_TASK_ID", "t_dev.instance-1bbd9755-e722-11f1-aa61-0242189058f9._app.1"),
                ("MESOS_SANDBOX", "/mnt/mesos/sandbox"),
                ("MARATHON_APP_ID", "/env/cmd"),
                ("MARATHON_APP_VERSION", super::super::samples::EARLY),
                ("MARATHON_APP_LABELS", "PAAS_APP X"),
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
        let mut app = bridge("/shop/web", &[(0, Some(0)), (8080, Some(0))]);
        let mappings = app.container.as_mut().unwrap().port_mappings.as_mut().unwrap();
        mappings[0].name = Some("http".into());
        mappings[1].name = Some("my-admin".into());
        let env = env(&app, &[31156, 31157], &[31156, 8080]);
        is(
            &env,
            &[
                ("PORT", "31156"),
                ("PORT0", "31156"),
                ("PORT_31156", "31156"),
                ("PORT_HTTP", "31156"),
                ("PORT1", "31157"),
                ("PORT_8080", "31157"),
                ("PORT_MY-ADMIN", "31157"),
                ("PORTS", "31156,31157"),
                ("MARATHON_APP_DOCKER_IMAGE", "probe:1"),
            ],
        );
    }

    #[test]
    fn a_port_that_the_host_does_not_have_is_told_by_the_containers_number() {
        let mut app = bridge("/shop/web", &[(9000, None), (8080, Some(0))]);
        app.container.as_mut().unwrap().port_mappings.as_mut().unwrap()[0].name = Some("inner".into());
        let pairs = [
            ("PORT0", "9000"),
            ("PORT_9000", "9000"),
            ("PORT_INNER", "9000"),
            ("PORT1", "31157"),
            ("PORT", "31157"),
            ("PORTS", "31157"),
        ];
        is(&env(&app, &[31157], &[9000, 8080]), &pairs);
        let inner = env(&bridge("/shop/web", &[(9000, None)]), &[], &[9000]);
        is(&inner, &[("PORT0", "9000"), ("PORTS", "")]);
        assert!(!inner.contains_key("PORT"));
    }

    #[test]
    fn a_container_port_that_the_engine_chose_is_one_of_the_ports() {
        let env = env(&bridge("/shop/web", &[(0, None)]), &[], &[1025]);
        is(&env, &[("PORT0", "1025"), ("PORT_1025", "1025"), ("PORT", "1025"), ("PORTS", "1025")]);
    }

    #[test]
    fn an_app_without_ports_is_told_of_none() {
        let env = env(&command("/a"), &[], &[]);
        assert!(!env.keys().any(|name| name.starts_with("PORT")), "{env:?}");
    }

    #[test]
    fn an_image_of_mesos_own_containers_is_not_named() {
        let mut app = bridge("/a", &[]);
        app.container.as_mut().unwrap().kind = ContainerKind::Mesos;
        assert!(!env(&app, &[], &[]).contains_key("MARATHON_APP_DOCKER_IMAGE"));
    }

    #[test]
    fn labels_have_names_for_shells_and_long_ones_are_left_out() {
        let labels = [
            ("a-.b_c", "1"),
            ("lower", "2"),
            ("LOWER", "3"),
            (&"k".repeat(492), "4"),
            (&"l".repeat(493), "5"),
            ("v", &"w".repeat(511)),
            ("x", &"y".repeat(512)),
        ];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let env = env(&App { labels, ..command("/a") }, &[], &[]);
        is(&env, &[("MARATHON_APP_LABEL_A_B_C", "1"), ("MARATHON_APP_LABEL_LOWER", "2")]);
        let long = "K".repeat(492);
        assert_eq!(env[&format!("MARATHON_APP_LABEL_{long}")], "4");
        assert_eq!(env["MARATHON_APP_LABELS"], format!("A_B_C {long} LOWER V"));
        is(&self::env(&command("/a"), &[], &[]), &[("MARATHON_APP_LABELS", "")]);
    }

    #[test]
    fn numbers_are_written_as_java_does() {
        for (number, text) in [
            (1.0, "1.0"),
            (0.05, "0.05"),
            (0.0, "0.0"),
            (0.001, "0.001"),
            (0.0005, "5.0E-4"),
            (9_999_999.0, "9999999.0"),
            (1e7, "1.0E7"),
            (12_345_678.0, "1.2345678E7"),
        ] {
            assert_eq!(decimal(number), text);
        }
    }

    #[test]
    fn the_apps_own_variables_win() {
        let app = App { env: BTreeMap::from([("HOST".into(), EnvValue::Text("mine".into()))]), ..command("/a") };
        is(&env(&app, &[], &[]), &[("HOST", "mine")]);
    }
}
