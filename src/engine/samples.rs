//! Definitions for the tests of this room.

use crate::marathon::{App, PathId, VersionInfo};

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
