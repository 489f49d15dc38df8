//! An app definition in Marathon's canonical form: what it stores and what it answers.
//!
//! Every field that Marathon always emits is always here; the others are skipped when unset, so that serialising
//! gives Marathon's own JSON. Reading what clients send (defaults, old spellings, refusals) is the engine's work.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Check, PathId, ReadinessCheck};
use crate::model::{Cpus, Share};

/// An app definition (`App` in Marathon's API).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct App {
    pub id: PathId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_resource_roles: Option<Vec<String>>,
    /// Run without a shell; with a container, the arguments of the image's entrypoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Run through a shell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<String>,
    pub backoff_factor: f64,
    pub backoff_seconds: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<Check>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub constraints: Vec<Constraint>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
    /// Shares of a CPU.
    pub cpus: f64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<PathId>,
    /// MiB.
    pub disk: f64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, EnvValue>,
    pub executor: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor_resources: Option<serde_json::Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fetch: Vec<Artifact>,
    pub gpus: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub health_checks: Vec<HealthCheck>,
    pub instances: u32,
    pub kill_selection: String,
    pub labels: BTreeMap<String, String>,
    pub max_launch_delay_seconds: u64,
    /// MiB.
    pub mem: f64,
    pub networks: Vec<Network>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_definitions: Option<Vec<PortDefinition>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub readiness_checks: Vec<ReadinessCheck>,
    pub require_ports: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub residency: Option<serde_json::Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_limits: Option<serde_json::Value>,
    /// Empty, and then not sent, in what a client leaves to the server: a tenant's Marathon has a role of its own.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub role: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, serde_json::Value>,
    /// Between SIGTERM and SIGKILL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_kill_grace_period_seconds: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tty: Option<bool>,
    /// `"disabled"` or an object of two delays.
    pub unreachable_strategy: serde_json::Value,
    pub upgrade_strategy: UpgradeStrategy,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Marathon's timestamp text, which is the definition's identity. Empty, and then not sent, in what a client posts:
    /// the server gives it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Absent in the answer to a POST, before the version is settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_info: Option<VersionInfo>,
}

impl App {
    /// Marathon's defaults for an app: nothing to run yet, one instance, host networking. Unlike a definition that was
    /// read from a client it has no port; set what is needed with `App { cmd: …, ..App::new(id) }`.
    pub fn new(id: PathId) -> Self {
        Self {
            id,
            accepted_resource_roles: None,
            args: Vec::new(),
            cmd: None,
            backoff_factor: 1.15,
            backoff_seconds: 1,
            check: None,
            constraints: Vec::new(),
            container: None,
            cpus: 1.0,
            dependencies: Vec::new(),
            disk: 0.0,
            env: BTreeMap::new(),
            executor: String::new(),
            executor_resources: None,
            fetch: Vec::new(),
            gpus: 0,
            health_checks: Vec::new(),
            instances: 1,
            kill_selection: "YOUNGEST_FIRST".to_owned(),
            labels: BTreeMap::new(),
            max_launch_delay_seconds: 300,
            mem: 128.0,
            networks: vec![Network { mode: NetworkMode::Host, name: None, labels: BTreeMap::new() }],
            port_definitions: None,
            readiness_checks: Vec::new(),
            require_ports: false,
            residency: None,
            resource_limits: None,
            role: "*".to_owned(),
            secrets: BTreeMap::new(),
            task_kill_grace_period_seconds: None,
            tty: None,
            unreachable_strategy: serde_json::json!({"inactiveAfterSeconds": 0, "expungeAfterSeconds": 0}),
            upgrade_strategy: UpgradeStrategy::default(),
            user: None,
            version: String::new(),
            version_info: None,
        }
    }

    /// What one instance asks for.
    pub fn share(&self) -> Share {
        Share { cpus: Cpus::nearest(self.cpus), mem: mebibytes(self.mem), disk: mebibytes(self.disk) }
    }
}

/// Whole ones, and what is begun counts.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` keeps within the bounds of the type")]
fn mebibytes(amount: f64) -> u64 {
    amount.ceil() as u64
}

/// Field, operator and perhaps a value, such as `["hostname", "UNIQUE"]`.
pub type Constraint = Vec<String>;

/// A plain value, or a reference to a secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum EnvValue {
    Text(String),
    Secret { secret: String },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Artifact {
    pub uri: String,
    pub extract: bool,
    pub executable: bool,
    pub cache: bool,
    #[serde(default, rename = "destPath", skip_serializing_if = "Option::is_none")]
    pub dest_path: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    #[serde(rename = "type")]
    pub kind: ContainerKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub docker: Option<DockerContainer>,
    #[serde(default)]
    pub volumes: Vec<serde_json::Value>,
    /// Absent with host networking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_mappings: Option<Vec<PortMapping>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ContainerKind {
    Docker,
    Mesos,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DockerContainer {
    pub image: String,
    #[serde(default)]
    pub force_pull_image: bool,
    #[serde(default)]
    pub parameters: Vec<Parameter>,
    #[serde(default)]
    pub privileged: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_config: Option<serde_json::Value>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parameter {
    pub key: String,
    pub value: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortMapping {
    /// 0: the same as the host's port.
    pub container_port: u16,
    /// 0: any free one; absent: not reachable from the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_port: Option<u16>,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_names: Option<Vec<String>>,
    pub protocol: String,
    #[serde(default)]
    pub service_port: u16,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PortDefinition {
    pub port: u16,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub protocol: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Network {
    pub mode: NetworkMode,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkMode {
    #[serde(rename = "host")]
    Host,
    #[serde(rename = "container/bridge")]
    Bridge,
    #[serde(rename = "container")]
    Container,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpgradeStrategy {
    pub maximum_over_capacity: f64,
    pub minimum_health_capacity: f64,
}

impl Default for UpgradeStrategy {
    /// Old instances stay until as many new ones are healthy.
    fn default() -> Self {
        Self { maximum_over_capacity: 1.0, minimum_health_capacity: 1.0 }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionInfo {
    pub last_scaling_at: String,
    pub last_config_change_at: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheck {
    pub protocol: HealthProtocol,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandLine>,
    pub grace_period_seconds: u64,
    /// Marathon writes this for HTTP and HTTPS alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignore_http1xx: Option<bool>,
    pub interval_seconds: u64,
    /// 0: never kill.
    pub max_consecutive_failures: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_index: Option<u32>,
    pub ip_protocol: IpProtocol,
    pub timeout_seconds: u64,
    pub delay_seconds: u64,
}

impl HealthCheck {
    /// Marathon's defaults for a check by `protocol`, on no port yet.
    pub fn new(protocol: HealthProtocol) -> Self {
        let by_marathon = matches!(protocol, HealthProtocol::Http | HealthProtocol::Https);
        Self {
            protocol,
            command: None,
            grace_period_seconds: 300,
            ignore_http1xx: by_marathon.then_some(false),
            interval_seconds: 60,
            max_consecutive_failures: 3,
            path: None,
            port: None,
            port_index: None,
            ip_protocol: IpProtocol::V4,
            timeout_seconds: 20,
            delay_seconds: 15,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HealthProtocol {
    #[serde(rename = "HTTP")]
    Http,
    #[serde(rename = "HTTPS")]
    Https,
    #[serde(rename = "TCP")]
    Tcp,
    #[serde(rename = "COMMAND")]
    Command,
    #[serde(rename = "MESOS_TCP")]
    MesosTcp,
    #[serde(rename = "MESOS_HTTP")]
    MesosHttp,
    #[serde(rename = "MESOS_HTTPS")]
    MesosHttps,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum IpProtocol {
    #[serde(rename = "IPv4")]
    V4,
    #[serde(rename = "IPv6")]
    V6,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandLine {
    pub value: String,
}
