//! Tasks that are Docker's containers.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio_util::sync::CancellationToken;

use super::super::core::{Exit, NotLaunched, SeenTask};
use super::super::environment;
use super::super::instance::{Handle, Placed, TaskId};
use super::super::ports::{is_on_host_network, mappings};
use super::{Report, Tasks, sandbox};
use crate::docker::{
    ContainerOutput, ContainerState, DockerError, InstanceNetwork, InstanceSpec, PublishedPort, SeenContainer, labels,
};
use crate::marathon::App;

/// Processes and threads a container may have.
const MAX_PROCESSES: u32 = 4096;
/// Mesos gives no task less.
const MIN_MEMORY_MIB: f64 = 32.0;
/// How much of a container's output is kept when it is removed.
const KEPT_LINES: u32 = 5000;

impl Tasks {
    pub(super) async fn launch_container(&self, task: &TaskId, app: &App, placed: &Placed, token: &CancellationToken) {
        self.report(Report::Launching(task.clone()));
        let made = tokio::select! {
            made = self.make_container(task, app, placed) => made,
            () = token.cancelled() => Err(NotLaunched::Aborted),
        };
        let started = match made {
            Ok(id) if token.is_cancelled() => Err((Some(id), NotLaunched::Aborted)),
            Ok(id) => self
                .start_container(&id, placed)
                .await
                .map(|address| (id.clone(), address))
                .map_err(|why| (Some(id), why)),
            Err(why) => Err((None, why)),
        };
        let task = task.clone();
        match started {
            Ok((id, address)) => {
                let at = self.setting().clock.now();
                self.report(Report::Started { task, handle: Handle::Container(id), address, at });
            }
            Err((id, why)) => {
                // The name is wanted again for the next try. What was being made while it was given up has it too.
                self.remove_container(&id.unwrap_or_else(|| task.to_string())).await;
                self.report(Report::NotLaunched { task, why });
            }
        }
    }

    async fn make_container(&self, task: &TaskId, app: &App, placed: &Placed) -> Result<String, NotLaunched> {
        let docker = &self.setting().docker;
        let sandbox = self.setting().sandboxes.make(task);
        sandbox.map_err(|error| NotLaunched::Failed(format!("cannot make the sandbox: {error}")))?;
        let spec = self.spec(task, app, placed);
        let forced = app.container.as_ref().and_then(|container| container.docker.as_ref());
        if forced.is_some_and(|docker| docker.force_pull_image) {
            docker.pull_image(&spec.image).await.map_err(|error| not_launched(&error, placed))?;
        }
        match docker.create_instance(spec.clone()).await {
            Err(DockerError::NotFound { .. }) => {
                docker.pull_image(&spec.image).await.map_err(|error| not_launched(&error, placed))?;
                docker.create_instance(spec).await.map_err(|error| not_launched(&error, placed))
            }
            made => made.map_err(|error| not_launched(&error, placed)),
        }
    }

    async fn start_container(&self, id: &str, placed: &Placed) -> Result<Option<IpAddr>, NotLaunched> {
        let docker = &self.setting().docker;
        docker.start_container(id).await.map_err(|error| not_launched(&error, placed))?;
        match docker.container(id).await.map_err(|error| not_launched(&error, placed))? {
            Some(SeenContainer { state: ContainerState::Running { address }, .. }) => Ok(address),
            // It has ended already, which Docker's events tell.
            _ => Ok(None),
        }
    }

    fn spec(&self, task: &TaskId, app: &App, placed: &Placed) -> InstanceSpec {
        let setting = self.setting();
        let docker = app.container.as_ref().and_then(|container| container.docker.as_ref());
        let name = task.to_string();
        let mut env = environment::of_task(app, task, &placed.ports, &setting.host, sandbox::INSIDE);
        env.entry("MESOS_CONTAINER_NAME".to_owned()).or_insert_with(|| name.clone());
        let mut container_labels = setting.labels.clone();
        container_labels
            .extend([(labels::ENGINE.to_owned(), setting.engine.clone()), (labels::TASK.to_owned(), name.clone())]);
        let (entrypoint, command) = match &app.cmd {
            Some(cmd) => (Some(vec!["/bin/sh".to_owned()]), Some(vec!["-c".to_owned(), cmd.clone()])),
            None => (None, (!app.args.is_empty()).then(|| app.args.clone())),
        };
        InstanceSpec {
            name,
            image: docker.map(|docker| docker.image.clone()).unwrap_or_default(),
            entrypoint,
            command,
            env: env.into_iter().collect(),
            labels: container_labels,
            sandbox: Some((setting.sandboxes.sandbox(task), sandbox::INSIDE.to_owned())),
            network: if is_on_host_network(app) { InstanceNetwork::Host } else { setting.network.clone() },
            ports: published(app, placed, setting.address),
            memory_bytes: mebibytes(limit(app, "mem").unwrap_or(app.mem).max(MIN_MEMORY_MIB)),
            cpu_shares: shares(app.cpus),
            cpus: limit(app, "cpus"),
            processes: MAX_PROCESSES,
            user: app.user.clone(),
            tty: app.tty.unwrap_or(false),
            privileged: docker.is_some_and(|docker| docker.privileged),
        }
    }

    /// Ends a container, however long Docker does not answer.
    pub(super) async fn stop_container(&self, task: &TaskId, id: &str, grace: Duration) {
        const AGAIN: Duration = Duration::from_secs(1);
        while let Err(error) = self.setting().docker.stop_container(id, grace).await {
            tracing::warn!(%task, error = error.in_full(), "cannot stop a container, trying again");
            tokio::time::sleep(AGAIN).await;
        }
        // Docker's events say so too; this is for one that was gone before.
        if let Ok(None) = self.setting().docker.container(id).await {
            self.report(Report::Ended { task: task.clone(), exit: Exit::Unknown("the container was removed") });
        }
    }

    /// Keeps a container's output and removes it.
    pub(super) async fn bury_container(&self, task: &TaskId, id: &str) {
        match self.setting().docker.container_log(id, Some(KEPT_LINES)).await {
            Ok(written) => {
                if let Err(error) = self.setting().sandboxes.keep_output(task, &written) {
                    tracing::warn!(%task, %error, "cannot keep the output of a task");
                }
            }
            // Somebody else removed it.
            Err(DockerError::NotFound { .. }) => {}
            Err(error) => tracing::warn!(%task, error = error.in_full(), "cannot read the output of a task"),
        }
        self.remove_container(id).await;
    }

    /// One of the outputs of a container that is there: 0 is stdout, 1 stderr.
    pub(super) async fn container_output(&self, task: &TaskId, index: usize) -> Option<Vec<u8>> {
        let written = self.setting().docker.container_log(&task.to_string(), None).await.ok()?;
        let mut bytes = Vec::new();
        for output in &written {
            match output {
                ContainerOutput::Out(part) if index == 0 => bytes.extend_from_slice(part),
                ContainerOutput::Err(part) if index == 1 => bytes.extend_from_slice(part),
                _ => {}
            }
        }
        Some(bytes)
    }

    pub(super) async fn remove_container(&self, id: &str) {
        if let Err(error) = self.setting().docker.remove_container(id).await {
            // The next census finds it.
            tracing::warn!(id, error = error.in_full(), "cannot remove a container");
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
                Err(error) => tracing::warn!(error = error.in_full(), "Docker does not answer, trying again"),
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
        if let InstanceNetwork::Named(name) = &shared.setting.network {
            docker.ensure_network(name, shared.setting.labels.clone()).await?;
        }
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
        let mut deaths = std::pin::pin!(docker.container_deaths(labels::ENGINE, engine, since));
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
        NotLaunched::Failed(error.in_full())
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

/// What the app may use at most, where that differs from what it asks for.
fn limit(app: &App, resource: &str) -> Option<f64> {
    app.resource_limits.as_ref()?.get(resource)?.as_f64()
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "amounts are not negative, and `as` stops at the type's largest value"
)]
fn mebibytes(amount: f64) -> u64 {
    (amount * f64::from(1 << 20)) as u64
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
