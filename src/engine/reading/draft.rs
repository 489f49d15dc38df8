//! An app as a client spells it: every field optional, the old spellings beside the new ones, the shape checked.

use std::collections::BTreeMap;

use serde_json::Value;

use super::parts;
use super::shape::{Object, Place};
use crate::engine::Moment;
use crate::marathon::{
    App, Artifact, Check, Constraint, EnvValue, HealthCheck, Network, NetworkMode, PortDefinition, ReadinessCheck,
    UpgradeStrategy,
};

/// What was sent of an app (`App` and `AppUpdate` of Marathon's API at once).
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Draft {
    /// Of the right pattern, not resolved.
    pub(super) id: Option<String>,
    pub(super) accepted_resource_roles: Option<Vec<String>>,
    pub(super) args: Option<Vec<String>>,
    pub(super) backoff_factor: Option<f64>,
    pub(super) backoff_seconds: Option<u64>,
    pub(super) check: Option<Check>,
    pub(super) cmd: Option<String>,
    pub(super) constraints: Option<Vec<Constraint>>,
    pub(super) container: Option<parts::DraftContainer>,
    pub(super) cpus: Option<f64>,
    /// Any text: a bad one is a broken rule, not a wrong shape.
    pub(super) dependencies: Option<Vec<String>>,
    pub(super) disk: Option<f64>,
    pub(super) env: Option<BTreeMap<String, EnvValue>>,
    pub(super) executor: Option<String>,
    pub(super) executor_resources: Option<Value>,
    pub(super) fetch: Option<Vec<Artifact>>,
    pub(super) gpus: Option<u32>,
    pub(super) health_checks: Option<Vec<HealthCheck>>,
    pub(super) instances: Option<u32>,
    /// The old way to ask for a network.
    pub(super) ip_address: Option<parts::OldAddress>,
    pub(super) kill_selection: Option<&'static str>,
    pub(super) labels: Option<BTreeMap<String, String>>,
    pub(super) max_launch_delay_seconds: Option<u64>,
    pub(super) mem: Option<f64>,
    pub(super) networks: Option<Vec<Network>>,
    /// The old way to ask for ports.
    pub(super) ports: Option<Vec<u16>>,
    pub(super) port_definitions: Option<Vec<PortDefinition>>,
    pub(super) readiness_checks: Option<Vec<ReadinessCheck>>,
    pub(super) require_ports: Option<bool>,
    /// Read and dropped: it has no effect.
    pub(super) residency: Option<()>,
    pub(super) resource_limits: Option<Value>,
    pub(super) role: Option<String>,
    pub(super) secrets: Option<BTreeMap<String, String>>,
    pub(super) task_kill_grace_period_seconds: Option<u64>,
    pub(super) tty: Option<bool>,
    pub(super) unreachable_strategy: Option<Value>,
    pub(super) upgrade_strategy: Option<UpgradeStrategy>,
    /// The old way to ask for artifacts.
    pub(super) uris: Option<Vec<String>>,
    pub(super) user: Option<String>,
    pub(super) version: Option<Moment>,
    /// Checked and dropped: the server decides it.
    pub(super) version_info: Option<()>,
}

impl Draft {
    /// Reads an app, whose id must be there.
    pub(super) fn of_app(place: &Place) -> Option<Self> {
        let object = place.object_with("id")?;
        let id = object.required("id", parts::id);
        Some(Self { id, ..Self::fields(&object) })
    }
    /// Reads a change of an app, or an app whose id the URL gives.
    pub(super) fn of_update(place: &Place) -> Option<Self> {
        let object = place.object()?;
        let id = object.optional("id", parts::id);
        Some(Self { id, ..Self::fields(&object) })
    }
    fn fields(object: &Object) -> Self {
        let any = f64::MAX;
        Self {
            id: None,
            accepted_resource_roles: object.optional("acceptedResourceRoles", |p| p.set(Place::text)),
            args: object.optional("args", |p| p.list(Place::text)),
            backoff_factor: object.optional("backoffFactor", |p| p.number(1.0, any)),
            backoff_seconds: object.optional("backoffSeconds", Place::count),
            check: object.optional("check", parts::check),
            cmd: object.optional("cmd", Place::filled),
            constraints: object.optional("constraints", |p| p.set(|c| c.list(Place::text))),
            container: object.optional("container", parts::container),
            cpus: object.optional("cpus", |p| p.number(0.0, any)),
            dependencies: object.optional("dependencies", |p| p.set(Place::text)),
            disk: object.optional("disk", |p| p.number(0.0, any)),
            env: object.optional("env", |p| p.map(parts::env_value)),
            executor: object.optional("executor", parts::executor),
            executor_resources: object.optional("executorResources", parts::executor_resources),
            fetch: object.optional("fetch", |p| p.list(parts::artifact)),
            gpus: object.optional("gpus", Place::count),
            health_checks: object.optional("healthChecks", |p| p.set(parts::health_check)),
            instances: object.optional("instances", Place::count),
            ip_address: object.optional("ipAddress", parts::old_address),
            kill_selection: object.optional("killSelection", |p| p.word(&["YOUNGEST_FIRST", "OLDEST_FIRST"])),
            labels: object.optional("labels", Place::labels),
            max_launch_delay_seconds: object.optional("maxLaunchDelaySeconds", Place::count),
            mem: object.optional("mem", |p| p.number(0.0, any)),
            networks: object.optional("networks", |p| p.list(parts::network)),
            ports: object.optional("ports", |p| p.list(Place::port)),
            port_definitions: object.optional("portDefinitions", |p| p.list(parts::port_definition)),
            readiness_checks: object.optional("readinessChecks", |p| p.list(parts::readiness_check)),
            require_ports: object.optional("requirePorts", Place::boolean),
            residency: object.optional("residency", parts::residency),
            resource_limits: object.optional("resourceLimits", parts::resource_limits),
            role: object.optional("role", Place::filled),
            secrets: object.optional("secrets", |p| p.map(parts::secret)),
            task_kill_grace_period_seconds: object.optional("taskKillGracePeriodSeconds", Place::count),
            tty: object.optional("tty", Place::boolean),
            unreachable_strategy: object.optional("unreachableStrategy", parts::unreachable_strategy),
            upgrade_strategy: object.optional("upgradeStrategy", parts::upgrade_strategy),
            uris: object.optional("uris", |p| p.list(Place::limited)),
            user: object.optional("user", Place::text),
            version: object.optional("version", parts::moment),
            version_info: object.optional("versionInfo", parts::version_info),
        }
    }

    /// The present definition as a client would have to spell it in full, without its version.
    /// As Marathon does, without `executorResources` and `resourceLimits`.
    pub(super) fn of_present(app: &App) -> Self {
        let on_host = app.networks.iter().all(|network| network.mode == NetworkMode::Host);
        Self {
            id: Some(app.id.to_string()),
            accepted_resource_roles: app.accepted_resource_roles.clone(),
            args: Some(app.args.clone()),
            backoff_factor: Some(app.backoff_factor),
            backoff_seconds: Some(app.backoff_seconds),
            check: app.check.clone(),
            cmd: app.cmd.clone(),
            constraints: Some(app.constraints.clone()),
            container: app.container.clone().map(parts::DraftContainer::from),
            cpus: Some(app.cpus),
            dependencies: Some(app.dependencies.iter().map(ToString::to_string).collect()),
            disk: Some(app.disk),
            env: Some(app.env.clone()),
            executor: Some(app.executor.clone()),
            fetch: Some(app.fetch.clone()),
            gpus: Some(app.gpus),
            health_checks: Some(app.health_checks.clone()),
            instances: Some(app.instances),
            kill_selection: if app.kill_selection == "OLDEST_FIRST" { Some("OLDEST_FIRST") } else { None },
            labels: Some(app.labels.clone()),
            max_launch_delay_seconds: Some(app.max_launch_delay_seconds),
            mem: Some(app.mem),
            networks: Some(app.networks.clone()),
            port_definitions: app.port_definitions.clone().or_else(|| on_host.then(Vec::new)),
            readiness_checks: Some(app.readiness_checks.clone()),
            require_ports: Some(app.require_ports),
            role: Some(app.role.clone()),
            task_kill_grace_period_seconds: app.task_kill_grace_period_seconds,
            tty: app.tty,
            unreachable_strategy: Some(app.unreachable_strategy.clone()),
            upgrade_strategy: Some(app.upgrade_strategy),
            user: app.user.clone(),
            ..Self::default()
        }
    }

    /// What stands in place of an app that a change of unknown apps creates: it has no port.
    pub(super) fn of_nothing() -> Self {
        Self { port_definitions: Some(Vec::new()), ..Self::default() }
    }

    /// This, with all that `update` has in its place. The id and the version stay.
    pub(super) fn changed_by(self, update: Self) -> Self {
        Self {
            id: self.id,
            accepted_resource_roles: update.accepted_resource_roles.or(self.accepted_resource_roles),
            args: update.args.or(self.args),
            backoff_factor: update.backoff_factor.or(self.backoff_factor),
            backoff_seconds: update.backoff_seconds.or(self.backoff_seconds),
            check: update.check.or(self.check),
            cmd: update.cmd.or(self.cmd),
            constraints: update.constraints.or(self.constraints),
            container: update.container.or(self.container),
            cpus: update.cpus.or(self.cpus),
            dependencies: update.dependencies.or(self.dependencies),
            disk: update.disk.or(self.disk),
            env: update.env.or(self.env),
            executor: update.executor.or(self.executor),
            executor_resources: update.executor_resources.or(self.executor_resources),
            fetch: update.fetch.or(self.fetch),
            gpus: update.gpus.or(self.gpus),
            health_checks: update.health_checks.or(self.health_checks),
            instances: update.instances.or(self.instances),
            ip_address: update.ip_address.or(self.ip_address),
            kill_selection: update.kill_selection.or(self.kill_selection),
            labels: update.labels.or(self.labels),
            max_launch_delay_seconds: update.max_launch_delay_seconds.or(self.max_launch_delay_seconds),
            mem: update.mem.or(self.mem),
            networks: update.networks.or(self.networks),
            ports: update.ports.or(self.ports),
            port_definitions: update.port_definitions.or(self.port_definitions),
            readiness_checks: update.readiness_checks.or(self.readiness_checks),
            require_ports: update.require_ports.or(self.require_ports),
            residency: update.residency.or(self.residency),
            resource_limits: update.resource_limits.or(self.resource_limits),
            role: update.role.or(self.role),
            secrets: update.secrets.or(self.secrets),
            task_kill_grace_period_seconds: update
                .task_kill_grace_period_seconds
                .or(self.task_kill_grace_period_seconds),
            tty: update.tty.or(self.tty),
            unreachable_strategy: update.unreachable_strategy.or(self.unreachable_strategy),
            upgrade_strategy: update.upgrade_strategy.or(self.upgrade_strategy),
            uris: update.uris.or(self.uris),
            user: update.user.or(self.user),
            version: self.version,
            version_info: self.version_info,
        }
    }

    /// Nothing but a version, perhaps with the id: a roll back.
    pub(super) fn is_only_a_version(&self) -> bool {
        self.version.is_some() && Self { id: None, version: None, ..self.clone() } == Self::default()
    }
}
