//! The shapes of an app's parts, as Marathon's API description has them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::shape::{Object, Place};
use crate::engine::Moment;
use crate::marathon::{
    Artifact, Check, CheckCommand, CheckKind, CheckPort, CommandCheck, CommandLine, Container, ContainerKind,
    DockerContainer, EnvValue, HealthCheck, HealthProtocol, HttpCheck, HttpScheme, IpProtocol, Network, NetworkMode,
    Parameter, PortDefinition, PortMapping, ReadinessCheck, UpgradeStrategy,
};

/// An app's or group's id, absolute or relative: segments of a-z, 0-9, `-` and `.`, or `..`.
pub(super) fn id(place: &Place) -> Option<String> {
    place.matching(|text| text.split('/').all(|part| part.is_empty() || part == ".." || is_segment(part)))
}

/// A segment of an id: DNS labels joined by dots.
pub(super) fn is_segment(text: &str) -> bool {
    text.split('.').all(is_label)
}

fn is_label(text: &str) -> bool {
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    edge(text.bytes().next())
        && edge(text.bytes().last())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// The name of a port.
fn port_name(place: &Place) -> Option<String> {
    place.matching(is_label)
}

fn network_name(place: &Place) -> Option<String> {
    let name =
        place.matching(|text| is_label(&text.replace('_', "-")) && !text.starts_with('_') && !text.ends_with('_'))?;
    if name.len() > 63 { place.fail("error.maxLength") } else { Some(name) }
}

fn protocol(place: &Place) -> Option<&'static str> {
    place.word(&["tcp", "udp", "udp,tcp"])
}

pub(super) fn moment(place: &Place) -> Option<Moment> {
    let text = place.text()?;
    text.parse().ok().or_else(|| place.fail("error.expected.date.isoformat"))
}

pub(super) fn version_info(place: &Place) -> Option<()> {
    let object = place.object()?;
    let scaling = object.required_or("lastScalingAt", "error.path.missing", moment);
    let change = object.required_or("lastConfigChangeAt", "error.path.missing", moment);
    scaling.and(change).map(drop)
}

pub(super) fn env_value(place: &Place) -> Option<EnvValue> {
    if let Value::String(text) = place.value() {
        return Some(EnvValue::Text(text.clone()));
    }
    let secret = place.object()?.required("secret", Place::text)?;
    Some(EnvValue::Secret { secret })
}

/// A secret's source.
pub(super) fn secret(place: &Place) -> Option<String> {
    place.object_with("source")?.required("source", Place::filled)
}

/// `//cmd`, a path of non-empty parts, or nothing.
pub(super) fn executor(place: &Place) -> Option<String> {
    let text = place.text()?;
    let path = text.strip_prefix('/').unwrap_or(&text);
    let fits = text.is_empty() || text == "//cmd" || path.split('/').all(|part| !part.is_empty());
    if fits { Some(text) } else { place.fail("error.pattern") }
}

pub(super) fn executor_resources(place: &Place) -> Option<Value> {
    let object = place.object()?;
    let number = |field, min| object.optional(field, |p| p.number(min, f64::MAX)).unwrap_or(min);
    Some(json!({ "cpus": number("cpus", 0.1), "mem": number("mem", 32.0), "disk": number("disk", 10.0) }))
}

/// `unlimited` or a number, for the CPU and for memory.
pub(super) fn resource_limits(place: &Place) -> Option<Value> {
    fn limit(place: &Place) -> Option<Value> {
        match place.value() {
            Value::String(_) => place.word(&["unlimited"]).map(Value::from),
            _ => place.number(0.0, f64::MAX).map(Value::from),
        }
    }
    let object = place.object()?;
    let limits = ["cpus", "mem"].map(|field| Some((field.to_owned(), object.optional(field, limit)?)));
    Some(Value::Object(limits.into_iter().flatten().collect()))
}

/// Any text is `disabled`, as in Marathon.
pub(super) fn unreachable_strategy(place: &Place) -> Option<Value> {
    if place.value().is_string() {
        return Some(Value::from("disabled"));
    }
    let object = place.object()?;
    let seconds = |field| object.optional(field, |p| p.whole::<u64>(0, i64::MAX)).unwrap_or(0);
    let (inactive, expunge) = (seconds("inactiveAfterSeconds"), seconds("expungeAfterSeconds"));
    Some(json!({ "inactiveAfterSeconds": inactive, "expungeAfterSeconds": expunge }))
}

pub(super) fn upgrade_strategy(place: &Place) -> Option<UpgradeStrategy> {
    let object = place.object()?;
    let over = object.required("maximumOverCapacity", |p| p.number(0.0, 1.0));
    let health = object.required("minimumHealthCapacity", |p| p.number(0.0, 1.0));
    Some(UpgradeStrategy { maximum_over_capacity: over?, minimum_health_capacity: health? })
}

pub(super) fn residency(place: &Place) -> Option<()> {
    let object = place.object()?;
    object.optional("relaunchEscalationTimeoutSeconds", |p| p.whole::<u64>(0, i64::MAX));
    object.optional("taskLostBehavior", |p| p.word(&["WAIT_FOREVER", "RELAUNCH_AFTER_TIMEOUT"]));
    Some(())
}

pub(super) fn artifact(place: &Place) -> Option<Artifact> {
    let object = place.object_with("uri")?;
    let flag = |field, default| object.optional(field, Place::boolean).unwrap_or(default);
    let artifact = Artifact {
        extract: flag("extract", true),
        executable: flag("executable", false),
        cache: flag("cache", false),
        dest_path: object.optional("destPath", Place::limited),
        uri: object.required("uri", Place::limited)?,
    };
    Some(artifact)
}

pub(super) fn network(place: &Place) -> Option<Network> {
    let object = place.object()?;
    let mode = object.optional("mode", |p| p.word(&["container", "container/bridge", "host"]));
    Some(Network {
        mode: match mode {
            Some("host") => NetworkMode::Host,
            Some("container/bridge") => NetworkMode::Bridge,
            _ => NetworkMode::Container,
        },
        name: object.optional("name", network_name),
        labels: object.optional("labels", Place::labels).unwrap_or_default(),
    })
}

pub(super) fn port_definition(place: &Place) -> Option<PortDefinition> {
    let object = place.object()?;
    Some(PortDefinition {
        port: object.optional("port", Place::port).unwrap_or(0),
        labels: object.optional("labels", Place::labels).unwrap_or_default(),
        name: object.optional("name", port_name),
        protocol: object.optional("protocol", protocol).unwrap_or("tcp").to_owned(),
    })
}

fn port_mapping(place: &Place) -> Option<PortMapping> {
    let object = place.object()?;
    Some(PortMapping {
        container_port: object.optional("containerPort", Place::port).unwrap_or(0),
        host_port: object.optional("hostPort", Place::port),
        labels: object.optional("labels", Place::labels).unwrap_or_default(),
        name: object.optional("name", port_name),
        network_names: object
            .optional("networkNames", |p| p.list(network_name))
            .filter(|names: &Vec<String>| !names.is_empty()),
        protocol: object.optional("protocol", protocol).unwrap_or("tcp").to_owned(),
        service_port: object.optional("servicePort", Place::port).unwrap_or(0),
    })
}

const PROTOCOLS: [(&str, HealthProtocol); 7] = [
    ("HTTP", HealthProtocol::Http),
    ("HTTPS", HealthProtocol::Https),
    ("TCP", HealthProtocol::Tcp),
    ("COMMAND", HealthProtocol::Command),
    ("MESOS_TCP", HealthProtocol::MesosTcp),
    ("MESOS_HTTP", HealthProtocol::MesosHttp),
    ("MESOS_HTTPS", HealthProtocol::MesosHttps),
];

pub(super) fn health_check(place: &Place) -> Option<HealthCheck> {
    let object = place.object()?;
    let word = object.optional("protocol", |p| p.word(&PROTOCOLS.map(|(word, _)| word))).unwrap_or("HTTP");
    let protocol = PROTOCOLS.iter().find(|(known, _)| *known == word).expect("the word is one of these").1;
    let defaults = HealthCheck::new(protocol);
    let seconds = |field, default| object.optional(field, Place::count).unwrap_or(default);
    object.optional("ignoreHttp1xx", Place::boolean);
    Some(HealthCheck {
        command: object.optional("command", |p| {
            Some(CommandLine { value: p.object_with("value")?.required("value", Place::text)? })
        }),
        grace_period_seconds: seconds("gracePeriodSeconds", defaults.grace_period_seconds),
        interval_seconds: seconds("intervalSeconds", defaults.interval_seconds),
        timeout_seconds: seconds("timeoutSeconds", defaults.timeout_seconds),
        delay_seconds: seconds("delaySeconds", defaults.delay_seconds),
        max_consecutive_failures: object
            .optional("maxConsecutiveFailures", Place::count)
            .unwrap_or(defaults.max_consecutive_failures),
        path: object.optional("path", Place::text),
        port: object.optional("port", Place::port),
        port_index: object.optional("portIndex", Place::port).map(u32::from),
        ip_protocol: match object.optional("ipProtocol", |p| p.word(&["IPv4", "IPv6"])) {
            Some("IPv6") => IpProtocol::V6,
            _ => IpProtocol::V4,
        },
        ..defaults
    })
}

pub(super) fn readiness_check(place: &Place) -> Option<ReadinessCheck> {
    let object = place.object()?;
    let codes = object.optional("httpStatusCodesForReady", |p| p.set(|code| code.whole::<u16>(100, 999)));
    Some(ReadinessCheck {
        name: object.optional("name", Place::filled).unwrap_or_else(|| "readinessCheck".to_owned()),
        protocol: object.optional("protocol", scheme).unwrap_or_default(),
        path: object.optional("path", Place::limited).unwrap_or_else(|| "/".to_owned()),
        port_name: object.optional("portName", port_name).unwrap_or_else(|| "http-api".to_owned()),
        interval_seconds: object.optional("intervalSeconds", Place::count).unwrap_or(30),
        timeout_seconds: object.optional("timeoutSeconds", |p| p.whole(1, i64::from(i32::MAX))).unwrap_or(10),
        http_status_codes_for_ready: codes.filter(|codes| !codes.is_empty()).unwrap_or_else(|| vec![200]),
        preserve_last_response: object.optional("preserveLastResponse", Place::boolean).unwrap_or(false),
    })
}

fn scheme(place: &Place) -> Option<HttpScheme> {
    place.word(&["HTTP", "HTTPS"]).map(|word| if word == "HTTPS" { HttpScheme::Https } else { HttpScheme::Http })
}

/// A general check, of exactly one kind.
pub(super) fn check(place: &Place) -> Option<Check> {
    fn port(object: &Object) -> CheckPort {
        CheckPort { port_index: object.optional("portIndex", Place::port), port: object.optional("port", Place::port) }
    }
    fn http(place: &Place) -> Option<HttpCheck> {
        let object = place.object()?;
        Some(HttpCheck {
            port: port(&object),
            path: object.optional("path", Place::limited),
            scheme: object.optional("scheme", scheme).unwrap_or_default(),
        })
    }
    fn command(place: &Place) -> Option<CheckCommand> {
        let object = place.object()?;
        if object.has("argv") {
            return object.required("argv", |p| p.list(Place::text)).map(CheckCommand::Argv);
        }
        object.required("shell", Place::filled).map(CheckCommand::Shell)
    }
    let object = place.object()?;
    let kinds = [
        object.optional("http", http).map(CheckKind::Http),
        object.optional("tcp", |p| Some(port(&p.object()?))).map(CheckKind::Tcp),
        object
            .optional("exec", |p| p.object()?.required("command", command))
            .map(|command| CheckKind::Exec(CommandCheck { command })),
    ];
    let mut kinds = kinds.into_iter().flatten();
    let seconds = |field, default| object.optional(field, Place::count).unwrap_or(default);
    let (interval_seconds, timeout_seconds, delay_seconds) =
        (seconds("intervalSeconds", 60), seconds("timeoutSeconds", 20), seconds("delaySeconds", 15));
    match (kinds.next(), kinds.next()) {
        (Some(kind), None) => Some(Check { kind, interval_seconds, timeout_seconds, delay_seconds }),
        _ => place.fail("must be exactly one of http, tcp and exec"),
    }
}

/// `ipAddress`, the old way to ask for a network.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct OldAddress {
    /// Absent: it says nothing of ports.
    pub(super) discovery: Option<Vec<PortMapping>>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) network_name: Option<String>,
}

pub(super) fn old_address(place: &Place) -> Option<OldAddress> {
    fn port(place: &Place) -> Option<PortMapping> {
        let object = place.object_with("name")?;
        Some(PortMapping {
            container_port: object.optional("number", Place::port).unwrap_or(0),
            host_port: None,
            labels: object.optional("labels", Place::labels).unwrap_or_default(),
            name: Some(object.required("name", port_name)?),
            network_names: None,
            protocol: object.optional("protocol", protocol).unwrap_or("tcp").to_owned(),
            service_port: 0,
        })
    }
    let object = place.object()?;
    object.optional("groups", |p| p.set(Place::text));
    let discovery = |p: &Place| Some(p.object()?.optional("ports", |p| p.list(port)).unwrap_or_default());
    Some(OldAddress {
        discovery: object.optional("discovery", discovery),
        labels: object.optional("labels", Place::labels).unwrap_or_default(),
        network_name: object.optional("networkName", Place::filled),
    })
}

/// A container with what the old spellings put into its `docker`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct DraftContainer {
    pub(super) container: Container,
    pub(super) old_network: Option<OldNetwork>,
    pub(super) old_mappings: Option<Vec<PortMapping>>,
    /// An image of a kind that only Mesos runs; with a Docker image beside it Marathon forgets it.
    pub(super) appc: bool,
    /// Credentials in `docker`, which no Marathon takes any more.
    pub(super) credential: bool,
}

impl From<Container> for DraftContainer {
    fn from(container: Container) -> Self {
        Self { container, old_network: None, old_mappings: None, appc: false, credential: false }
    }
}

/// `docker.network`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OldNetwork {
    Bridge,
    Host,
    None,
    User,
}

pub(super) fn container(place: &Place) -> Option<DraftContainer> {
    let object = place.object()?;
    let kind = object.optional("type", |p| p.word(&["MESOS", "DOCKER"]));
    let docker = object.optional("docker", docker);
    let mut draft = DraftContainer::from(Container {
        kind: if kind == Some("MESOS") { ContainerKind::Mesos } else { ContainerKind::Docker },
        docker: None,
        volumes: object.optional("volumes", |p| p.list(volume)).unwrap_or_default(),
        port_mappings: object.optional("portMappings", |p| p.list(port_mapping)),
    });
    draft.appc = docker.is_none() && object.has("appc");
    if let Some(docker) = docker {
        draft.container.docker = Some(docker.container);
        draft.old_network = docker.old_network;
        draft.old_mappings = docker.old_mappings;
        draft.credential = docker.credential;
    }
    Some(draft)
}

struct DraftDocker {
    container: DockerContainer,
    old_network: Option<OldNetwork>,
    old_mappings: Option<Vec<PortMapping>>,
    credential: bool,
}

fn docker(place: &Place) -> Option<DraftDocker> {
    fn parameter(place: &Place) -> Option<Parameter> {
        let object = place.object_with("key")?;
        let (key, value) = (object.required("key", Place::filled), object.required("value", Place::text));
        Some(Parameter { key: key?, value: value? })
    }
    fn pull_config(place: &Place) -> Option<Value> {
        place.object_with("secret")?.required("secret", Place::filled)?;
        Some(place.value().clone())
    }
    let object = place.object_with("image")?;
    let flag = |field| object.optional(field, Place::boolean).unwrap_or(false);
    let network = object.optional("network", |p| p.word(&["BRIDGE", "HOST", "NONE", "USER"]));
    let (parameters, pull_config) = (
        object.optional("parameters", |p| p.list(parameter)).unwrap_or_default(),
        object.optional("pullConfig", pull_config),
    );
    let old_mappings = object.optional("portMappings", |p| p.list(port_mapping));
    let (force_pull_image, privileged) = (flag("forcePullImage"), flag("privileged"));
    let image = object.required("image", Place::filled)?;
    Some(DraftDocker {
        container: DockerContainer { image, force_pull_image, parameters, privileged, pull_config },
        old_network: network.map(|word| match word {
            "BRIDGE" => OldNetwork::Bridge,
            "HOST" => OldNetwork::Host,
            "USER" => OldNetwork::User,
            _ => OldNetwork::None,
        }),
        old_mappings,
        credential: object.has("credential"),
    })
}

/// A volume. The kinds that Marathon knows are told apart by the field that only they have.
fn volume(place: &Place) -> Option<Value> {
    let object = place.object()?;
    let path = object.required("containerPath", Place::filled);
    if object.has("secret") {
        object.optional("secret", Place::filled)?;
        return path.map(|_| place.value().clone());
    }
    let mode = object.required("mode", |p| p.word(&["RO", "RW"]));
    for kind in ["persistent", "external"] {
        if object.has(kind) {
            object.optional(kind, Place::object)?;
            return path.and(mode).map(|_| place.value().clone());
        }
    }
    let host = object.required("hostPath", Place::filled);
    Some(json!({ "containerPath": path?, "hostPath": host?, "mode": mode? }))
}
