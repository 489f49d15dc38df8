//! From what a client spelled to the canonical definition: old spellings become new ones, gaps get their defaults.

use std::collections::BTreeMap;

use super::Refusal;
use super::draft::Draft;
use super::parts::{DraftContainer, OldNetwork};
use super::rules::{self, Rules};
use crate::marathon::{
    App, Artifact, Container, ContainerKind, HealthCheck, HealthProtocol, Network, NetworkMode, PathId, PortDefinition,
    PortMapping,
};

/// The app that `draft` asks for. Relative dependencies are below `base`; `id` is the app's own.
pub(super) fn complete(draft: Draft, id: &PathId, base: &PathId, rules: &Rules) -> Result<App, Refusal> {
    rules::old_spellings(&draft)?;
    let draft = rules::check_identity(&draft, id).and(migrated(draft))?;
    let app = defaults(draft, id, base)?;
    rules::check_app(&app, rules)?;
    Ok(finished(app))
}

/// What was sent as a change, in new spellings alone. Gaps stay gaps: they are for what is changed to fill.
pub(super) fn migrated_update(mut draft: Draft) -> Result<Draft, Refusal> {
    rules::old_spellings(&draft)?;
    translate(&mut draft)?;
    // A change's checks get their port at once, whether there are ports or not.
    draft.health_checks.iter_mut().flatten().for_each(fill_port_index);
    Ok(draft)
}

/// A definition in new spellings alone, with those defaults that depend on what was sent.
fn migrated(mut draft: Draft) -> Result<Draft, Refusal> {
    let sent_definitions = draft.port_definitions.as_ref().is_some_and(|ports| !ports.is_empty());
    translate(&mut draft)?;
    let networks = draft.networks.get_or_insert_default();
    let (on_host, asked) = (is_on_host(networks), draft.port_definitions.take());
    if let Some(draft) = &mut draft.container {
        default_mappings(&mut draft.container, on_host, asked.as_ref().map_or(0, Vec::len));
    }
    let mapped = draft.container.as_ref().is_some_and(|draft| draft.container.port_mappings.is_some());
    if sent_definitions || mapped {
        draft.health_checks.iter_mut().flatten().for_each(fill_port_index);
    }
    draft.port_definitions = on_host.then(|| asked.unwrap_or_else(|| vec![default_port()]));
    Ok(draft)
}

/// Old spellings become new ones, and nothing else.
fn translate(draft: &mut Draft) -> Result<(), Refusal> {
    migrate_fetch(draft);
    draft.networks = old_networks(draft)?.or(draft.networks.take());
    let old_ports = draft.ports.take().map(|ports| ports.into_iter().map(plain_port).collect());
    draft.port_definitions = draft.port_definitions.take().or(old_ports);
    let address = draft.ip_address.take();
    let container = draft.container.take().or_else(|| address.is_some().then(empty_container));
    let discovery = address.and_then(|address| address.discovery).filter(|ports| !ports.is_empty());
    draft.container = match container {
        None => None,
        Some(container) => Some(migrate_container(container, discovery)?),
    };
    Ok(())
}

/// Marathon takes no network for the host's.
fn is_on_host(networks: &[Network]) -> bool {
    networks.iter().all(|network| network.mode == NetworkMode::Host)
}

fn plain_port(port: u16) -> PortDefinition {
    PortDefinition { port, labels: BTreeMap::new(), name: None, protocol: "tcp".to_owned() }
}

fn default_port() -> PortDefinition {
    PortDefinition { name: Some("default".to_owned()), ..plain_port(0) }
}

fn plain_mapping() -> PortMapping {
    PortMapping {
        container_port: 0,
        host_port: None,
        labels: BTreeMap::new(),
        name: None,
        network_names: None,
        protocol: "tcp".to_owned(),
        service_port: 0,
    }
}

fn default_mapping() -> PortMapping {
    PortMapping { name: Some("default".to_owned()), ..plain_mapping() }
}

fn empty_container() -> DraftContainer {
    Container { kind: ContainerKind::Mesos, docker: None, volumes: Vec::new(), port_mappings: None }.into()
}

/// `uris` become `fetch`, unpacked when the name says it is an archive.
fn migrate_fetch(draft: &mut Draft) {
    const ARCHIVES: [&str; 7] = [".tar", ".gz", ".tgz", ".tbz2", ".txz", ".zip", ".tar.bz2"];
    let uris = draft.uris.take().unwrap_or_default();
    if uris.is_empty() || draft.fetch.as_ref().is_some_and(|fetch| !fetch.is_empty()) {
        return;
    }
    let artifact = |uri: String| Artifact {
        extract: ARCHIVES.iter().any(|ending| uri.ends_with(ending)),
        executable: false,
        cache: false,
        dest_path: None,
        uri,
    };
    draft.fetch = Some(uris.into_iter().map(artifact).collect());
}

/// The network that `ipAddress` and `container.docker.network` ask for; none if neither is there.
fn old_networks(draft: &Draft) -> Result<Option<Vec<Network>>, Refusal> {
    let old = draft.container.as_ref().and_then(|container| container.old_network);
    let network = |mode, name, labels| Ok(Some(vec![Network { mode, name, labels }]));
    let (name, labels) =
        draft.ip_address.clone().map(|address| (address.network_name, address.labels)).unwrap_or_default();
    match (old, draft.ip_address.is_some()) {
        (None, false) => Ok(None),
        (None, true) if name.as_deref() == Some("mesos-bridge") => network(NetworkMode::Bridge, None, labels),
        (None | Some(OldNetwork::User), _) => network(NetworkMode::Container, name, labels),
        (Some(OldNetwork::Host), _) => network(NetworkMode::Host, None, BTreeMap::new()),
        (Some(OldNetwork::Bridge), _) => network(NetworkMode::Bridge, None, labels),
        (Some(OldNetwork::None), _) => Err(Refusal::unprocessable("unsupported docker network type NONE")),
    }
}

/// The container with its port mappings where they belong.
fn migrate_container(
    mut draft: DraftContainer,
    discovery: Option<Vec<PortMapping>>,
) -> Result<DraftContainer, Refusal> {
    draft.old_network = None;
    let container = &mut draft.container;
    if let Some(old) = draft.old_mappings.take() {
        if container.port_mappings.is_some() && !old.is_empty() {
            return Err(Refusal::unprocessable("cannot specify both portMappings and docker.portMappings"));
        }
        container.port_mappings = container.port_mappings.take().or(Some(old));
    }
    if let Some(ports) = discovery {
        if container.kind == ContainerKind::Docker {
            return Err(Refusal::unprocessable("ipAddress.discovery.ports do not apply for container type DOCKER"));
        }
        if container.port_mappings.replace(ports).is_some() {
            let message = "container.portMappings and ipAddress.discovery.ports must not both be set";
            return Err(Refusal::unprocessable(message));
        }
    }
    Ok(draft)
}

/// None on the host's network; elsewhere at least one, and as many as ports were asked for.
fn default_mappings(container: &mut Container, on_host: bool, asked_ports: usize) {
    if on_host {
        container.port_mappings = None;
        return;
    }
    let mappings = container.port_mappings.get_or_insert_with(|| vec![default_mapping()]);
    while mappings.len() < asked_ports {
        mappings.push(plain_mapping());
    }
}

/// Checks over the network without port are on the first one.
fn fill_port_index(check: &mut HealthCheck) {
    if check.protocol != HealthProtocol::Command && check.port.is_none() && check.port_index.is_none() {
        check.port_index = Some(0);
    }
}

/// The draft as a definition, defaults in its gaps; networks may still be none.
fn defaults(draft: Draft, id: &PathId, base: &PathId) -> Result<App, Refusal> {
    let dependencies = rules::dependencies(draft.dependencies.as_deref().unwrap_or_default(), base)?;
    let defaults = App::new(id.clone());
    Ok(App {
        accepted_resource_roles: draft.accepted_resource_roles,
        args: draft.args.unwrap_or_default(),
        backoff_factor: draft.backoff_factor.unwrap_or(defaults.backoff_factor),
        backoff_seconds: draft.backoff_seconds.unwrap_or(defaults.backoff_seconds),
        check: draft.check,
        cmd: draft.cmd,
        constraints: draft.constraints.unwrap_or_default(),
        container: rules::check_container(draft.container)?,
        cpus: draft.cpus.unwrap_or(defaults.cpus),
        dependencies,
        disk: draft.disk.unwrap_or(defaults.disk),
        env: draft.env.unwrap_or_default(),
        executor: draft.executor.unwrap_or_default(),
        executor_resources: draft.executor_resources,
        fetch: draft.fetch.unwrap_or_default(),
        gpus: draft.gpus.unwrap_or(0),
        health_checks: draft.health_checks.unwrap_or_default(),
        instances: draft.instances.unwrap_or(defaults.instances),
        kill_selection: draft.kill_selection.map_or(defaults.kill_selection, ToOwned::to_owned),
        labels: draft.labels.unwrap_or_default(),
        max_launch_delay_seconds: draft.max_launch_delay_seconds.unwrap_or(defaults.max_launch_delay_seconds),
        mem: draft.mem.unwrap_or(defaults.mem),
        networks: draft.networks.unwrap_or_default(),
        port_definitions: draft.port_definitions,
        readiness_checks: draft.readiness_checks.unwrap_or_default(),
        require_ports: draft.require_ports.unwrap_or(false),
        resource_limits: draft.resource_limits,
        role: draft.role.unwrap_or(defaults.role),
        secrets: draft.secrets.into_iter().flatten().map(|(name, source)| (name, source.into())).collect(),
        task_kill_grace_period_seconds: draft.task_kill_grace_period_seconds,
        tty: draft.tty,
        unreachable_strategy: draft.unreachable_strategy.unwrap_or(defaults.unreachable_strategy),
        upgrade_strategy: draft.upgrade_strategy.unwrap_or(defaults.upgrade_strategy),
        user: draft.user,
        ..defaults
    })
}

/// What is settled after the rules have been checked.
fn finished(mut app: App) -> App {
    if app.networks.is_empty() {
        app.networks = App::new(app.id.clone()).networks;
    }
    if !is_on_host(&app.networks) {
        app.require_ports = false;
        let without = empty_container().container;
        let container = app.container.get_or_insert(without);
        container.port_mappings.get_or_insert_with(|| vec![default_mapping()]);
    }
    let bridged = app.networks.iter().any(|network| network.mode == NetworkMode::Bridge);
    for mapping in app.container.iter_mut().filter_map(|container| container.port_mappings.as_mut()).flatten() {
        if bridged {
            mapping.host_port.get_or_insert(0);
        }
    }
    app.health_checks.iter_mut().for_each(finish_check);
    app
}

/// A check keeps only what its protocol knows.
fn finish_check(check: &mut HealthCheck) {
    use HealthProtocol::{Command, Http, Https, MesosTcp, Tcp};
    if matches!(check.protocol, Tcp | MesosTcp | Command) {
        check.path = None;
    }
    check.ignore_http1xx = matches!(check.protocol, Http | Https).then_some(false);
}
