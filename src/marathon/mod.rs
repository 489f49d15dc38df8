//! Marathon's REST API: its wire types, as Marathon writes them, and a client.
//!
//! The engine speaks the same types from the other side; it never uses the client.

mod app;
mod path_id;

pub use app::{
    App, Artifact, CommandLine, Constraint, Container, ContainerKind, DockerContainer, EnvValue, HealthCheck,
    HealthProtocol, IpProtocol, Network, NetworkMode, Parameter, PortDefinition, PortMapping, UpgradeStrategy,
    VersionInfo,
};
pub use path_id::{InvalidPathId, PathId};
