//! Marathon's REST API: its wire types, as Marathon writes them, and a client.
//!
//! The engine speaks the same types from the other side; it never uses the client.

mod app;
mod checks;
mod client;
mod deployment;
mod event;
mod group;
mod info;
mod path_id;
mod queue;
mod task;
#[cfg(test)]
pub(crate) mod transcripts;

pub use app::{
    App, Artifact, CommandLine, Constraint, Container, ContainerKind, DockerContainer, EnvValue, HealthCheck,
    HealthProtocol, IpProtocol, Network, NetworkMode, Parameter, PortDefinition, PortMapping, UpgradeStrategy,
    VersionInfo,
};
pub use checks::{
    Check, CheckCommand, CheckKind, CheckPort, CheckResult, CommandCheck, HttpCheck, HttpScheme, ReadinessCheck,
    ReadinessResponse, ReadinessResult,
};
pub use client::{Client, ClientError, Detail, InvalidMarathonUrl, Misread, Unreached};
pub use deployment::{
    Action, ActionKind, CurrentAction, Deployment, DeploymentId, DeploymentPlan, DeploymentResult, DryRun,
    InvalidDeploymentId, Step,
};
pub use event::{Condition, Event, EventKind};
pub use group::{Group, GroupInfo, GroupUpdate};
pub use info::Info;
pub use path_id::{InvalidPathId, PathId};
pub use queue::{
    DECLINE_REASONS, DeclinedOffers, NumberRange, Offer, OfferResource, OffersSummary, Queue, QueueDelay, QueueItem,
    UnusedOffer,
};
pub use task::{AppInfo, HealthCheckResult, Identifiable, IpAddress, LastTaskFailure, Task, TaskCounts, TaskState};
