//! Instances' containers: made, started, ended, found again by label, followed by Docker's events.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, ContainerSummary, ContainerSummaryStateEnum, EndpointSettings,
    EventMessage, HostConfig, HostConfigLogConfig, Mount, MountType, PortBinding,
};
use bollard::query_parameters::{
    CreateContainerOptions, CreateImageOptions, EventsOptionsBuilder, InspectContainerOptions, ListContainersOptions,
    RemoveContainerOptions, StopContainerOptionsBuilder,
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};

use super::{Bind, Docker, DockerError, RunOption, is_conflict, is_missing};

/// A container to be made for one task.
#[derive(Debug, Clone, Default)]
pub struct InstanceSpec {
    pub name: String,
    pub image: String,
    /// Replaces the image's entrypoint.
    pub entrypoint: Option<Vec<String>>,
    /// Arguments of the entrypoint; without them the image's own.
    pub command: Option<Vec<String>>,
    pub env: Vec<(String, String)>,
    pub labels: HashMap<String, String>,
    /// The task's directory on the host, and where the container sees it.
    pub sandbox: Option<(PathBuf, String)>,
    pub network: InstanceNetwork,
    pub ports: Vec<PublishedPort>,
    pub memory_bytes: u64,
    /// The share of the processors when they are contended; 1024 is one.
    pub cpu_shares: u64,
    /// The most it may use at any time.
    pub cpus: Option<f64>,
    pub processes: u32,
    pub user: Option<String>,
    pub tty: bool,
    pub privileged: bool,
    /// Instead of the image's.
    pub working_dir: Option<String>,
    pub binds: Vec<Bind>,
    /// They come last, but for the labels.
    pub options: Vec<RunOption>,
}

/// The network a container is on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum InstanceNetwork {
    /// Docker's own bridge.
    #[default]
    DefaultBridge,
    /// A bridge network made before.
    Named(String),
    /// The host's, without isolation.
    Host,
}

impl InstanceNetwork {
    /// What Docker calls it.
    pub fn name(&self) -> &str {
        match self {
            Self::DefaultBridge => "bridge",
            Self::Named(name) => name,
            Self::Host => "host",
        }
    }
}

/// A container's port that the host answers for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedPort {
    pub container: u16,
    pub host: u16,
    /// The host's address to bind.
    pub address: IpAddr,
    /// `tcp` or `udp`.
    pub protocol: &'static str,
}

/// What a container is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerState {
    /// Made and never started.
    Created,
    Running {
        /// Its address on its network; none on the host's.
        address: Option<IpAddr>,
    },
    Ended(ContainerEnd),
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContainerEnd {
    pub status: i64,
    /// The kernel ended it for want of memory.
    pub out_of_memory: bool,
    /// Docker's own words, when it could not run it.
    pub error: String,
}

/// A container as Docker shows it.
#[derive(Debug, Clone)]
pub struct SeenContainer {
    pub id: String,
    pub labels: HashMap<String, String>,
    pub state: ContainerState,
}

/// A container died; its labels say whose it was.
#[derive(Debug, Clone)]
pub struct ContainerDied {
    pub id: String,
    pub labels: HashMap<String, String>,
    pub status: i64,
}

/// One of a container's two outputs, as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerOutput {
    Out(Bytes),
    Err(Bytes),
}

/// Docker keeps this much of each container's output, in two files of half the size.
const LOG_FILE_SIZE: &str = "5m";
const LOG_FILES: &str = "2";

impl Docker {
    /// Makes a container and answers its id; it does not run yet.
    pub async fn create_instance(&self, spec: InstanceSpec) -> Result<String, DockerError> {
        let image = spec.image.clone();
        let options = CreateContainerOptions { name: Some(spec.name.clone()), platform: String::new() };
        match self.api().await?.create_container(Some(options), spec.into_body()).await {
            Ok(made) => Ok(made.id),
            Err(cause) if is_missing(&cause) && !cause.to_string().contains("network") => {
                Err(DockerError::NotFound { what: "image", name: image })
            }
            Err(cause) => Err(self.failure(format!("make a container of `{image}`"), cause)),
        }
    }

    pub async fn start_container(&self, id: &str) -> Result<(), DockerError> {
        let started = self.api().await?.start_container(id, None).await;
        started.map_err(|cause| self.failure(format!("start the container {id:.12}"), cause))
    }

    /// Fetches an image from its registry.
    pub async fn pull_image(&self, image: &str) -> Result<(), DockerError> {
        // Without a tag Docker would fetch every tag there is.
        let named = image.contains('@') || image.rsplit('/').next().is_some_and(|last| last.contains(':'));
        let from_image = if named { image.to_owned() } else { format!("{image}:latest") };
        let options = CreateImageOptions { from_image: Some(from_image), ..CreateImageOptions::default() };
        let mut progress = self.api().await?.create_image(Some(options), None, None);
        while let Some(step) = progress.next().await {
            step.map_err(|cause| self.failure(format!("pull the image `{image}`"), cause))?;
        }
        Ok(())
    }

    /// The directory in which an image's programs begin, if the image says one.
    pub async fn image_workdir(&self, image: &str) -> Result<Option<String>, DockerError> {
        match self.api().await?.inspect_image(image).await {
            Ok(found) => Ok(found.config.and_then(|config| config.working_dir).filter(|path| !path.is_empty())),
            Err(cause) if is_missing(&cause) => Err(DockerError::NotFound { what: "image", name: image.to_owned() }),
            Err(cause) => Err(self.failure(format!("look at the image `{image}`"), cause)),
        }
    }

    /// A container's address of the newer kind that others can reach; none when it has none.
    pub async fn container_address_v6(&self, id: &str) -> Result<Option<Ipv6Addr>, DockerError> {
        let found = self.api().await?.inspect_container(id, None::<InspectContainerOptions>).await;
        let found = found.map_err(|cause| self.failure(format!("inspect the container {id:.12}"), cause))?;
        let networks = found.network_settings.and_then(|settings| settings.networks);
        let mut endpoints = networks.iter().flat_map(HashMap::values);
        Ok(endpoints.find_map(|endpoint| endpoint.global_ipv6_address.as_ref()?.parse().ok()))
    }

    /// What a container is doing; none when there is no such container.
    pub async fn container(&self, id: &str) -> Result<Option<SeenContainer>, DockerError> {
        match self.api().await?.inspect_container(id, None::<InspectContainerOptions>).await {
            Ok(found) => Ok(Some(SeenContainer::read(found))),
            Err(cause) if is_missing(&cause) => Ok(None),
            Err(cause) => Err(self.failure(format!("inspect the container {id:.12}"), cause)),
        }
    }

    /// All containers with the label, whatever they are doing.
    pub async fn containers_labelled(&self, label: &str, value: &str) -> Result<Vec<SeenContainer>, DockerError> {
        /// How many containers are looked at at once.
        const AT_ONCE: usize = 16;
        let filters = HashMap::from([("label".to_owned(), vec![format!("{label}={value}")])]);
        let options = ListContainersOptions { all: true, filters: Some(filters), ..ListContainersOptions::default() };
        let found = self.api().await?.list_containers(Some(options)).await;
        let found = found.map_err(|cause| self.failure("list containers", cause))?;
        // The list says all there is to say of those that run. How the others ended only a closer look tells, and one
        // that is gone in the meantime is no container.
        let look = async |listed| match SeenContainer::listed(listed) {
            Ok(running) => Ok(Some(running)),
            Err(id) => self.container(&id).await,
        };
        let seen = futures_util::stream::iter(found).map(look).buffer_unordered(AT_ONCE);
        seen.try_filter_map(|seen| std::future::ready(Ok(seen))).try_collect().await
    }

    /// SIGTERM (or the image's stop signal), then SIGKILL after `grace`; waits until the container has ended.
    pub async fn stop_container(&self, id: &str, grace: Duration) -> Result<(), DockerError> {
        let seconds = i32::try_from(grace.as_secs()).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::new().t(seconds).build();
        let patient = self.patient(grace + Duration::from_secs(Self::TIMEOUT_SECONDS));
        match patient.api().await?.stop_container(id, Some(options)).await {
            Err(cause) if !is_missing(&cause) => Err(self.failure(format!("stop the container {id:.12}"), cause)),
            _ => Ok(()),
        }
    }

    /// Removes a container, also a running one; one that is gone, or going, is as good.
    pub async fn remove_container(&self, id: &str) -> Result<(), DockerError> {
        self.try_remove_container(id).await.map(drop)
    }

    /// The same, and whether it is gone now; if not, somebody else is at it.
    pub(super) async fn try_remove_container(&self, id: &str) -> Result<bool, DockerError> {
        let options = RemoveContainerOptions { force: true, v: true, link: false };
        match self.api().await?.remove_container(id, Some(options)).await {
            Ok(()) => Ok(true),
            Err(cause) if is_missing(&cause) => Ok(true),
            Err(cause) if is_conflict(&cause) => Ok(false),
            Err(cause) => Err(self.failure(format!("remove the container {id:.12}"), cause)),
        }
    }

    /// The deaths of containers with the label, from `since` on (seconds since 1970), until the connection ends. Docker
    /// remembers its last 256 events, so that none is missed between asking what there is and listening.
    pub async fn container_deaths(
        &self,
        label: &str,
        value: &str,
        since: i64,
    ) -> Result<impl Stream<Item = Result<ContainerDied, DockerError>> + Send + use<>, DockerError> {
        let filters = HashMap::from([
            ("type", vec!["container".to_owned()]),
            ("event", vec!["die".to_owned()]),
            ("label", vec![format!("{label}={value}")]),
        ]);
        let docker = self.clone();
        let options = EventsOptionsBuilder::new().since(&since.to_string()).filters(&filters).build();
        Ok(self.api().await?.events(Some(options)).filter_map(move |event| {
            let found = match event {
                Ok(message) => ContainerDied::read(message).map(Ok),
                Err(cause) => Some(Err(docker.failure("report what containers do", cause))),
            };
            std::future::ready(found)
        }))
    }
}

impl InstanceSpec {
    fn into_body(self) -> ContainerCreateBody {
        let host_config = self.host_config();
        let mut body = ContainerCreateBody {
            image: Some(self.image),
            entrypoint: self.entrypoint,
            cmd: self.command,
            env: Some(self.env.into_iter().map(|(name, value)| format!("{name}={value}")).collect()),
            exposed_ports: Some(self.ports.iter().map(PublishedPort::key).collect()),
            user: self.user,
            tty: Some(self.tty),
            working_dir: self.working_dir,
            host_config: Some(host_config),
            ..ContainerCreateBody::default()
        };
        for option in self.options {
            option.apply(&mut body, self.network.name());
        }
        body.labels.get_or_insert_default().extend(self.labels);
        body
    }

    fn host_config(&self) -> HostConfig {
        let memory = i64::try_from(self.memory_bytes).unwrap_or(i64::MAX);
        HostConfig {
            memory: Some(memory),
            // The same for memory and swap together: no swap.
            memory_swap: Some(memory),
            cpu_shares: Some(i64::try_from(self.cpu_shares).unwrap_or(i64::MAX)),
            nano_cpus: self.cpus.map(super::builds::nano),
            pids_limit: Some(i64::from(self.processes)),
            network_mode: Some(self.network.name().to_owned()),
            port_bindings: Some(self.bindings()),
            mounts: Some(self.mounts()),
            binds: Some(self.binds.iter().map(ToString::to_string).collect()),
            privileged: Some(self.privileged),
            log_config: Some(HostConfigLogConfig {
                // It keeps bytes as they are; a file of JSON only has those that are text.
                typ: Some("local".to_owned()),
                config: Some(HashMap::from([
                    ("max-size".to_owned(), LOG_FILE_SIZE.to_owned()),
                    ("max-file".to_owned(), LOG_FILES.to_owned()),
                    ("compress".to_owned(), "false".to_owned()),
                ])),
            }),
            ..HostConfig::default()
        }
    }

    fn bindings(&self) -> HashMap<String, Option<Vec<PortBinding>>> {
        let mut bindings: HashMap<_, Option<Vec<PortBinding>>> = HashMap::new();
        for port in &self.ports {
            let binding =
                PortBinding { host_ip: Some(port.address.to_string()), host_port: Some(port.host.to_string()) };
            bindings.entry(port.key()).or_default().get_or_insert_default().push(binding);
        }
        bindings
    }

    fn mounts(&self) -> Vec<Mount> {
        let bind = |(source, target): &(PathBuf, String)| Mount {
            typ: Some(MountType::BIND),
            source: Some(source.display().to_string()),
            target: Some(target.clone()),
            ..Mount::default()
        };
        self.sandbox.iter().map(bind).collect()
    }
}

impl PublishedPort {
    fn key(&self) -> String {
        format!("{}/{}", self.container, self.protocol)
    }
}

impl SeenContainer {
    /// A container of a list; its id alone when the list does not tell all of it.
    fn listed(found: ContainerSummary) -> Result<Self, String> {
        let id = found.id.unwrap_or_default();
        if found.state != Some(ContainerSummaryStateEnum::RUNNING) {
            return Err(id);
        }
        let networks = found.network_settings.and_then(|settings| settings.networks);
        let state = ContainerState::Running { address: address(networks.as_ref()) };
        Ok(Self { id, labels: found.labels.unwrap_or_default(), state })
    }
    fn read(found: ContainerInspectResponse) -> Self {
        let state = ContainerState::read(&found);
        let labels = found.config.and_then(|config| config.labels).unwrap_or_default();
        Self { id: found.id.unwrap_or_default(), labels, state }
    }
}

impl ContainerState {
    fn read(found: &ContainerInspectResponse) -> Self {
        let Some(state) = &found.state else { return Self::Created };
        if state.running == Some(true) {
            let networks = found.network_settings.as_ref().and_then(|settings| settings.networks.as_ref());
            return Self::Running { address: address(networks) };
        }
        let never_started = state.started_at.as_deref().is_none_or(|at| at.starts_with("0001-"));
        if never_started && state.error.as_deref().unwrap_or_default().is_empty() {
            return Self::Created;
        }
        Self::Ended(ContainerEnd {
            status: state.exit_code.unwrap_or(-1),
            out_of_memory: state.oom_killed == Some(true),
            error: state.error.clone().unwrap_or_default(),
        })
    }
}

/// A container's address on its network; none on the host's.
fn address(networks: Option<&HashMap<String, EndpointSettings>>) -> Option<IpAddr> {
    let mut endpoints = networks.into_iter().flat_map(HashMap::values);
    endpoints.find_map(|endpoint| endpoint.ip_address.as_ref()?.parse().ok())
}

impl ContainerDied {
    fn read(message: EventMessage) -> Option<Self> {
        let actor = message.actor?;
        let labels = actor.attributes.unwrap_or_default();
        let status = labels.get("exitCode").and_then(|code| code.parse().ok()).unwrap_or(-1);
        Some(Self { id: actor.id?, labels, status })
    }
}

impl From<LogOutput> for ContainerOutput {
    fn from(output: LogOutput) -> Self {
        match output {
            LogOutput::StdErr { message } => Self::Err(message),
            LogOutput::StdOut { message } | LogOutput::StdIn { message } | LogOutput::Console { message } => {
                Self::Out(message)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::ContainerSummaryNetworkSettings;

    use super::*;

    #[test]
    fn limits_ports_and_the_sandbox_are_in_what_docker_is_asked_for() {
        let spec = InstanceSpec {
            image: "shop:1".into(),
            memory_bytes: 64 << 20,
            cpu_shares: 51,
            processes: 100,
            ports: vec![PublishedPort {
                container: 31000,
                host: 31000,
                address: IpAddr::from([127, 0, 0, 1]),
                protocol: "tcp",
            }],
            sandbox: Some(("/state/tasks/x/sandbox".into(), "/mnt/mesos/sandbox".into())),
            network: InstanceNetwork::Named("paas-dev".into()),
            ..InstanceSpec::default()
        };
        let body = spec.into_body();
        let host = body.host_config.unwrap();
        assert_eq!((host.memory, host.memory_swap, host.cpu_shares), (Some(64 << 20), Some(64 << 20), Some(51)));
        assert_eq!(host.network_mode.as_deref(), Some("paas-dev"));
        let bindings = host.port_bindings.unwrap();
        let binding = &bindings["31000/tcp"].as_ref().unwrap()[0];
        assert_eq!((binding.host_ip.as_deref(), binding.host_port.as_deref()), (Some("127.0.0.1"), Some("31000")));
        assert_eq!(host.mounts.unwrap()[0].target.as_deref(), Some("/mnt/mesos/sandbox"));
        assert_eq!(body.exposed_ports, Some(vec!["31000/tcp".to_owned()]));
    }

    #[test]
    fn only_what_does_not_run_needs_more_than_the_list() {
        let networks = HashMap::from([(
            "paas-dev".to_owned(),
            EndpointSettings { ip_address: Some("172.18.0.2".into()), ..EndpointSettings::default() },
        )]);
        let listed = |state| ContainerSummary {
            id: Some("c".into()),
            labels: Some(HashMap::from([("k".into(), "v".into())])),
            state: Some(state),
            network_settings: Some(ContainerSummaryNetworkSettings { networks: Some(networks.clone()) }),
            ..ContainerSummary::default()
        };
        let running = SeenContainer::listed(listed(ContainerSummaryStateEnum::RUNNING)).unwrap();
        assert_eq!(running.state, ContainerState::Running { address: Some([172, 18, 0, 2].into()) });
        assert_eq!((running.id.as_str(), running.labels["k"].as_str()), ("c", "v"));
        for other in [ContainerSummaryStateEnum::CREATED, ContainerSummaryStateEnum::EXITED] {
            assert_eq!(SeenContainer::listed(listed(other)).unwrap_err(), "c");
        }
    }

    #[test]
    fn a_container_that_was_made_and_never_ran_is_created() {
        use bollard::models::ContainerState as State;
        let seen = |state: State| {
            ContainerState::read(&ContainerInspectResponse {
                state: Some(state),
                ..ContainerInspectResponse::default()
            })
        };
        let never = Some("0001-01-01T00:00:00Z".to_owned());
        assert_eq!(seen(State { started_at: never.clone(), ..State::default() }), ContainerState::Created);
        let ran = Some("2026-01-01T00:00:00Z".to_owned());
        let ended = State { started_at: ran, exit_code: Some(137), oom_killed: Some(true), ..State::default() };
        let end = ContainerEnd { status: 137, out_of_memory: true, error: String::new() };
        assert_eq!(seen(ended), ContainerState::Ended(end));
        let broken =
            State { started_at: never, exit_code: Some(127), error: Some("no such file".into()), ..State::default() };
        assert!(matches!(seen(broken), ContainerState::Ended(_)));
    }
}
