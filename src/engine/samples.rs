//! Definitions for the tests of this room.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use super::Moment;
use super::core::{Core, How, Saved};
use super::event::Place;
use super::group::Group;
use super::ledger::Machine;
use super::ports::HostPorts;
use crate::marathon::{App, PathId, VersionInfo};

/// Where everything runs.
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Nothing is asked for, and nothing is there.
pub(crate) fn nothing() -> Saved {
    Saved {
        root: Group::empty(PathId::root()),
        root_version: Moment::from_millis(0),
        definitions: Vec::new(),
        instances: Vec::new(),
        deployments: Vec::new(),
        failures: Vec::new(),
    }
}

/// A core on a machine of 4 CPUs and 4 GiB.
pub(crate) fn core(saved: Saved, now: i64) -> Core {
    let place = Place { address: LOCAL, host: "127.0.0.1".into(), agent: "x-S0".into() };
    let machine = Machine { cpus: 4.0, mem: 4096.0, disk: 1e6 };
    Core::new(saved, place, machine, HostPorts::new(22000..=22999, LOCAL), Moment::from_millis(now))
}

/// Asks for a tree that is another after `edit`.
pub(crate) fn change(core: &mut Core, edit: impl FnOnce(&mut Group)) {
    let mut tree = core.root().clone();
    edit(&mut tree);
    let how = How { force: true, group: PathId::root(), chosen: BTreeSet::new() };
    core.change(tree, core.fresh_version(), &how).unwrap();
    core.settle();
}

/// A time that all samples share.
pub(crate) const EARLY: &str = "2026-01-01T00:00:00.000Z";

/// `sleep 1000`, one instance, without ports or checks.
pub(crate) fn command(id: &str) -> App {
    App {
        cmd: Some("sleep 1000".into()),
        cpus: 0.1,
        mem: 32.0,
        networks: Vec::new(),
        port_definitions: Some(Vec::new()),
        version: EARLY.into(),
        version_info: Some(VersionInfo { last_scaling_at: EARLY.into(), last_config_change_at: EARLY.into() }),
        ..App::new(id.parse().unwrap())
    }
}

pub(crate) fn id(text: &str) -> PathId {
    text.parse().unwrap()
}

/// A Docker app on a bridge network with these container and host ports.
pub(crate) fn bridge(id: &str, ports: &[(u16, Option<u16>)]) -> App {
    use crate::marathon::{Container, ContainerKind, DockerContainer, Network, NetworkMode, PortMapping};
    let mapping = |(container_port, host_port): &(u16, Option<u16>)| PortMapping {
        container_port: *container_port,
        host_port: *host_port,
        labels: std::collections::BTreeMap::default(),
        name: None,
        network_names: None,
        protocol: "tcp".into(),
        service_port: 0,
    };
    let docker = DockerContainer {
        image: "probe:1".into(),
        force_pull_image: false,
        parameters: Vec::new(),
        privileged: false,
        pull_config: None,
    };
    App {
        cmd: None,
        networks: vec![Network {
            mode: NetworkMode::Bridge,
            name: None,
            labels: std::collections::BTreeMap::default(),
        }],
        port_definitions: None,
        container: Some(Container {
            kind: ContainerKind::Docker,
            docker: Some(docker),
            volumes: Vec::new(),
            port_mappings: Some(ports.iter().map(mapping).collect()),
        }),
        ..command(id)
    }
}
