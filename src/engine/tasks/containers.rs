//! Tasks that are Docker's containers.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::super::core::{Exit, NotLaunched, SeenTask};
use super::super::environment;
use super::super::instance::{Handle, Placed, TaskId};
use super::super::ledger::mebibytes;
use super::super::ports::{is_on_host_network, mappings};
use super::super::volume::HostVolume;
use super::commands::overdue;
use super::fetch::Readers;
use super::{Report, Tasks, sandbox};
use crate::docker::{
    Bind, ContainerState, DockerError, InstanceNetwork, InstanceSpec, PublishedPort, RunOption, SeenContainer, labels,
};
use crate::marathon::{App, ContainerKind, NetworkMode};
use crate::model::in_full;

/// Processes and threads a container may have.
const MAX_PROCESSES: u32 = 4096;
/// Mesos gives no task less.
const MIN_MEMORY_MIB: f64 = 32.0;

impl Tasks {
    /// Starts a container; what came of it is reported.
    pub(super) async fn launch_container(&self, task: &TaskId, app: &App, placed: &Placed, token: &CancellationToken) {
        let limit = self.setting().launch_timeout;
        let started = tokio::select! {
            started = tokio::time::timeout(limit, self.bring_up(task, app, placed)) => {
                started.unwrap_or_else(|_| Err(overdue(task, limit)))
            }
            () = token.cancelled() => Err(NotLaunched::Aborted),
        };
        let name = task.to_string();
        match started {
            Ok((id, address)) => {
                let at = self.setting().clock.now();
                self.report(Report::Started { task: task.clone(), handle: Handle::Container(id), address, at });
            }
            Err(why) => {
                // The name is wanted again for the next try. What was being made while it was given up has it too.
                self.remove_container(&name).await;
                self.report(Report::NotLaunched { task: task.clone(), why });
            }
        }
    }

    async fn bring_up(
        &self,
        task: &TaskId,
        app: &App,
        placed: &Placed,
    ) -> Result<(String, Option<IpAddr>), NotLaunched> {
        let furnished = self.furnish(task, app, Readers::Everybody).await;
        furnished.map_err(|error| NotLaunched::Failed(error.to_string()))?;
        self.report(Report::Launching(task.clone()));
        let spec = self.spec(task, app, placed).map_err(NotLaunched::Failed)?;
        let started = match self.make_and_start(&spec, app).await {
            // Somebody removed it since the connection to Docker was made.
            Err(error) if error.is_network_missing() && spec.network == self.setting().network => {
                tracing::warn!(network = spec.network.name(), "the network is gone and made anew");
                self.remove_container(&spec.name).await;
                match self.ensure_network().await {
                    Ok(()) => self.make_and_start(&spec, app).await,
                    Err(error) => Err(error),
                }
            }
            started => started,
        };
        let id = started.map_err(|error| not_launched(&error, placed))?;
        match self.setting().docker.container(&id).await.map_err(|error| not_launched(&error, placed))? {
            Some(SeenContainer { state: ContainerState::Running { address }, .. }) => Ok((id, address)),
            // It has ended already, which Docker's events tell.
            _ => Ok((id, None)),
        }
    }

    async fn make_and_start(&self, spec: &InstanceSpec, app: &App) -> Result<String, DockerError> {
        let docker = &self.setting().docker;
        let container = app.container.as_ref();
        if container.and_then(|container| container.docker.as_ref()).is_some_and(|docker| docker.force_pull_image) {
            docker.pull_image(&spec.image).await?;
        }
        let mut spec = spec.clone();
        if container.is_some_and(|container| container.kind == ContainerKind::Mesos) {
            spec.working_dir = self.mesos_workdir(&spec.image).await?;
        }
        let id = match docker.create_instance(spec.clone()).await {
            Err(DockerError::NotFound { .. }) => {
                docker.pull_image(&spec.image).await?;
                docker.create_instance(spec).await?
            }
            // Of an earlier try, which Docker went on with after it had been given up.
            Err(error) if error.is_name_taken() => {
                docker.remove_container(&spec.name).await?;
                docker.create_instance(spec).await?
            }
            made => made?,
        };
        docker.start_container(&id).await?;
        Ok(id)
    }

    /// Where programs of Mesos' own containers begin: where the image says, or in the sandbox.
    async fn mesos_workdir(&self, image: &str) -> Result<Option<String>, DockerError> {
        let docker = &self.setting().docker;
        let said = match docker.image_workdir(image).await {
            Err(DockerError::NotFound { .. }) => {
                docker.pull_image(image).await?;
                docker.image_workdir(image).await?
            }
            said => said?,
        };
        Ok(said.is_none().then(|| sandbox::INSIDE.to_owned()))
    }

    fn spec(&self, task: &TaskId, app: &App, placed: &Placed) -> Result<InstanceSpec, String> {
        let setting = self.setting();
        let container = app.container.as_ref();
        let docker = container.and_then(|container| container.docker.as_ref());
        let name = task.to_string();
        let mut env = environment::of_task(app, task, &placed.ports, &setting.host, sandbox::INSIDE);
        if container.is_some_and(|container| container.kind == ContainerKind::Docker) {
            env.entry("MESOS_CONTAINER_NAME".to_owned()).or_insert_with(|| format!("mesos-{}", Uuid::new_v4()));
        }
        let mut container_labels = setting.labels.clone();
        container_labels
            .extend([(labels::ENGINE.to_owned(), setting.engine.clone()), (labels::TASK.to_owned(), name.clone())]);
        let (entrypoint, command) = match &app.cmd {
            Some(cmd) => (Some(vec!["/bin/sh".to_owned()]), Some(vec!["-c".to_owned(), cmd.clone()])),
            None => (None, (!app.args.is_empty()).then(|| app.args.clone())),
        };
        let own = setting.sandboxes.sandbox(task);
        let parameters = docker.map(|docker| docker.parameters.as_slice()).unwrap_or_default();
        let options = parameters.iter().map(|option| RunOption::parse(&option.key, &option.value));
        Ok(InstanceSpec {
            name,
            image: docker.map(|docker| docker.image.clone()).unwrap_or_default(),
            entrypoint,
            command,
            env: env.into_iter().collect(),
            labels: container_labels,
            network: self.network(app),
            ports: published(app, placed, setting.address),
            memory_bytes: mebibytes(limit(app, "mem").unwrap_or(app.mem).max(MIN_MEMORY_MIB)),
            cpu_shares: shares(app.cpus),
            cpus: limit(app, "cpus"),
            processes: MAX_PROCESSES,
            user: app.user.clone(),
            tty: app.tty.unwrap_or(false),
            privileged: docker.is_some_and(|docker| docker.privileged),
            working_dir: None,
            binds: binds(app, &own)?,
            options: options.collect::<Result<_, _>>().map_err(|error| error.to_string())?,
            sandbox: Some((own, sandbox::INSIDE.to_owned())),
        })
    }

    fn network(&self, app: &App) -> InstanceNetwork {
        let named = app.networks.iter().find(|network| network.mode == NetworkMode::Container);
        match named.and_then(|network| network.name.clone()) {
            Some(name) => InstanceNetwork::Named(name),
            None if is_on_host_network(app) => InstanceNetwork::Host,
            None => self.setting().network.clone(),
        }
    }

    /// Makes the engine's own network, if it has one and that is missing.
    async fn ensure_network(&self) -> Result<(), DockerError> {
        let setting = self.setting();
        match &setting.network {
            InstanceNetwork::Named(name) => setting.docker.ensure_network(name, setting.labels.clone()).await,
            _ => Ok(()),
        }
    }

    /// Ends a container, however long Docker does not answer.
    pub(super) async fn stop_container(&self, task: &TaskId, id: &str, grace: Duration) {
        const AGAIN: Duration = Duration::from_secs(1);
        while let Err(error) = self.setting().docker.stop_container(id, grace).await {
            tracing::warn!(%task, error = in_full(&error), "cannot stop a container, trying again");
            tokio::time::sleep(AGAIN).await;
        }
        // Docker's events say so too; this is for one that was gone before.
        if let Ok(None) = self.setting().docker.container(id).await {
            self.report(Report::Ended { task: task.clone(), exit: Exit::Unknown("the container was removed") });
        }
    }

    pub(super) async fn remove_container(&self, id: &str) {
        if let Err(error) = self.setting().docker.remove_container(id).await {
            // The next census finds it.
            tracing::warn!(id, error = in_full(&error), "cannot remove a container");
        }
    }

    /// Tells of the deaths of this engine's containers for as long as the engine lives, and of all its containers
    /// whenever a connection to Docker was made.
    pub async fn follow_docker(&self) {
        const FIRST_PAUSE: Duration = Duration::from_millis(100);
        const LONGEST_PAUSE: Duration = Duration::from_secs(5);
        let mut pause = FIRST_PAUSE;
        loop {
            match self.follow_connection().await {
                Ok(()) => pause = FIRST_PAUSE,
                Err(error) => tracing::warn!(error = in_full(&error), "Docker does not answer, trying again"),
            }
            self.report(Report::DockerDown);
            // Nothing tells when Docker is back.
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Until the connection ends.
    async fn follow_connection(&self) -> Result<(), DockerError> {
        let Self(shared) = self;
        let (docker, engine) = (&shared.setting.docker, &shared.setting.engine);
        self.ensure_network().await?;
        let asked = shared.setting.clock.now();
        // Docker's own seconds, begun one earlier.
        let since = jiff::Timestamp::now().as_second() - 1;
        let seen = docker.containers_labelled(labels::ENGINE, engine).await?;
        let seen = seen.into_iter().map(|container| SeenTask {
            task: task_of(&container.labels),
            container: container.id,
            state: container.state,
        });
        self.report(Report::Census { seen: seen.collect(), asked });
        let mut deaths = std::pin::pin!(docker.container_deaths(labels::ENGINE, engine, since).await?);
        while let Some(death) = deaths.next().await {
            let death = death?;
            let Some(task) = task_of(&death.labels) else { continue };
            let tasks = self.clone();
            self.spawn(async move { tasks.report_death(task, &death.id, death.status).await });
        }
        Ok(())
    }

    async fn report_death(&self, task: TaskId, id: &str, status: i64) {
        let seen = self.setting().docker.container(id).await;
        let exit = match seen {
            Ok(Some(SeenContainer { state: ContainerState::Ended(end), .. })) => {
                Exit::Container { status: end.status, out_of_memory: end.out_of_memory, error: end.error }
            }
            _ => Exit::Container { status, out_of_memory: false, error: String::new() },
        };
        self.report(Report::Ended { task, exit });
    }
}

fn task_of(found: &HashMap<String, String>) -> Option<TaskId> {
    found.get(labels::TASK)?.parse().ok()
}

fn not_launched(error: &DockerError, placed: &Placed) -> NotLaunched {
    if error.is_port_taken() {
        NotLaunched::PortsTaken(placed.ports.host.clone())
    } else if error.is_unreachable() {
        NotLaunched::NoDocker
    } else {
        NotLaunched::Failed(in_full(error))
    }
}

/// The ports that the host answers for.
fn published(app: &App, placed: &Placed, address: IpAddr) -> Vec<PublishedPort> {
    let mut host = placed.ports.host.iter();
    let mut published = Vec::new();
    for (mapping, listen) in mappings(app).iter().zip(&placed.ports.listen) {
        let Some(port) = mapping.host_port.and_then(|_| host.next()) else { continue };
        for protocol in ["tcp", "udp"].into_iter().filter(|protocol| mapping.protocol.contains(protocol)) {
            published.push(PublishedPort { container: *listen, host: *port, address, protocol });
        }
    }
    published
}

/// The app's host volumes, as Docker is asked for them.
fn binds(app: &App, own: &Path) -> Result<Vec<Bind>, String> {
    let volumes = app.container.iter().flat_map(|container| &container.volumes);
    let bind = |volume| {
        let volume = HostVolume::read(volume).map_err(|error| format!("a volume {error}"))?;
        if volume.leaves(own) {
            return Err(format!("the volume {volume} leads out of the sandbox by a link"));
        }
        Ok(volume.bind(own, sandbox::INSIDE))
    };
    volumes.map(bind).collect()
}

/// What the app may use at most, where that differs from what it asks for.
fn limit(app: &App, resource: &str) -> Option<f64> {
    app.resource_limits.as_ref()?.get(resource)?.as_f64()
}

/// Docker's weight of `cpus`, at least the smallest it takes.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "amounts are not negative, and `as` stops at the type's largest value"
)]
fn shares(cpus: f64) -> u64 {
    const SMALLEST: u64 = 2;
    ((cpus * 1024.0) as u64).max(SMALLEST)
}

#[cfg(test)]
mod tests {
    use super::super::super::Moment;
    use super::super::super::instance::Ports;
    use super::super::super::samples::bridge;
    use super::*;

    #[test]
    fn only_mappings_with_a_host_port_are_published() {
        let mut app = bridge("/a", &[(0, Some(0)), (9000, None), (8080, Some(0))]);
        app.container.as_mut().unwrap().port_mappings.as_mut().unwrap()[2].protocol = "udp,tcp".into();
        let ports = Ports { host: vec![31001, 31002], listen: vec![31001, 9000, 8080] };
        let placed = Placed { staged_at: Moment::from_millis(0), ports };
        let found = published(&app, &placed, [127, 0, 0, 1].into());
        let shown = found.iter().map(|port| format!("{}:{}/{}", port.host, port.container, port.protocol));
        assert_eq!(shown.collect::<Vec<_>>(), ["31001:31001/tcp", "31002:8080/tcp", "31002:8080/udp"]);
    }

    #[test]
    fn amounts_are_given_in_dockers_units() {
        assert_eq!(mebibytes(32.0), 32 << 20);
        assert_eq!((shares(0.5), shares(0.0)), (512, 2));
    }
}
