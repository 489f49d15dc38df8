//! Build containers: one per push, limited, followed, committed once and always removed.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bollard::models::{ContainerConfig, ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount, MountType};
use bollard::query_parameters::{
    AttachContainerOptions, CommitContainerOptions, CreateContainerOptions, DownloadFromContainerOptions,
    UploadToContainerOptions, WaitContainerOptions,
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};

use super::{ContainerEnd, ContainerOutput, ContainerState, Docker, DockerError, Image, labels};
use crate::model::ImageId;

/// More than Docker takes to remove a container that it has been told to.
const REMOVAL: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// What root inside a build needs to install files as other users and to step down to one; all else is dropped.
const CAPABILITIES: [&str; 6] = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID"];

/// A build container to be made.
#[derive(Debug, Clone)]
pub struct BuildContainerSpec {
    pub image: ImageId,
    /// Whatever user the image says; a builder has to install files as others.
    pub as_root: bool,
    pub labels: HashMap<String, String>,
    pub job: Job,
    /// What is set here gets into an image that is made of the container.
    pub env: BTreeMap<String, String>,
    /// Volume name and the place it is mounted at.
    pub cache: Option<(String, &'static str)>,
    /// Directories of the host, and where they can be read.
    pub read_only: Vec<(PathBuf, &'static str)>,
    pub memory_bytes: u64,
    pub cpus: Option<f64>,
    pub processes: u32,
    /// For the calls that take as long as the build's content is large: upload and commit.
    pub patience: Duration,
}

/// What a build container runs.
#[derive(Debug, Clone)]
pub enum Job {
    /// Text for `/bin/sh -c`: a constant, never made from what was pushed.
    Script(&'static str),
    /// A command of the source's own, for `/bin/sh -c` of its own image.
    Shell(String),
    /// What the image's own entrypoint is given, as an instance gives it.
    Arguments(Vec<String>),
}

/// A build's container. Dropped without `remove`, it is removed in the background, as far as there still is a runtime;
/// the label `paas.push` is for what escapes even that.
#[derive(Debug)]
pub struct BuildContainer {
    docker: Docker,
    id: String,
    removed: bool,
}

impl Docker {
    /// Makes the container; nothing runs yet.
    pub async fn create_build(&self, spec: BuildContainerSpec) -> Result<BuildContainer, DockerError> {
        let docker = self.patient(spec.patience);
        let created = docker
            .api()
            .await?
            .create_container(None::<CreateContainerOptions>, spec.into_body())
            .await
            .map_err(|cause| docker.failure("make the build container", cause))?;
        Ok(BuildContainer { docker, id: created.id, removed: false })
    }

    /// Ends and removes every container with that label and value, running or not, and waits until they are gone.
    pub async fn remove_containers_labelled(&self, label: &str, value: &str) -> Result<(), DockerError> {
        for container in self.containers_labelled(label, value).await? {
            self.remove_wholly(&container.id).await?;
        }
        Ok(())
    }

    /// Removes it and waits until it is gone, also when somebody else is at it already.
    async fn remove_wholly(&self, id: &str) -> Result<(), DockerError> {
        // Docker answers when it is gone, unless it was told before.
        if self.try_remove_container(id).await? {
            return Ok(());
        }
        // The wait's answer is an exit status, or that there is no such container: gone it is. One that went just as it was
        // asked for is waited for in vain, so it is looked for in between.
        let gone = async {
            while self.container(id).await?.is_some() {
                let options = WaitContainerOptions { condition: "removed".to_owned() };
                let mut gone = self.api().await?.wait_container(id, Some(options));
                let _ = tokio::time::timeout(LOOK_AGAIN, gone.next()).await;
            }
            Ok(())
        };
        tokio::time::timeout(REMOVAL, gone).await.unwrap_or(Ok(()))
    }
}

impl BuildContainerSpec {
    fn into_body(self) -> ContainerCreateBody {
        let memory = i64::try_from(self.memory_bytes).unwrap_or(i64::MAX);
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let host = HostConfig {
            memory: Some(memory),
            // Swap included: none on top.
            memory_swap: Some(memory),
            nano_cpus: self.cpus.map(nano),
            pids_limit: Some(i64::from(self.processes)),
            mounts: Some(self.mounts()),
            privileged: Some(false),
            cap_drop: Some(texts(&["ALL"])),
            cap_add: Some(texts(&CAPABILITIES)),
            security_opt: Some(texts(&["no-new-privileges"])),
            // The output is followed and kept by us; Docker need not keep it once more.
            log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
            ..HostConfig::default()
        };
        let (entrypoint, cmd) = match self.job {
            Job::Script(text) => (Some(texts(&["/bin/sh", "-c"])), texts(&[text])),
            Job::Shell(text) => (Some(texts(&["/bin/sh", "-c"])), vec![text]),
            Job::Arguments(arguments) => (None, arguments),
        };
        ContainerCreateBody {
            image: Some(self.image.into()),
            user: self.as_root.then(|| "0:0".to_owned()),
            labels: Some(self.labels),
            env: (!self.env.is_empty())
                .then(|| self.env.into_iter().map(|(name, value)| format!("{name}={value}")).collect()),
            entrypoint,
            cmd: Some(cmd),
            host_config: Some(host),
            ..ContainerCreateBody::default()
        }
    }

    fn mounts(&self) -> Vec<Mount> {
        let mount = |kind, source: String, target: &str, read_only| Mount {
            typ: Some(kind),
            source: Some(source),
            target: Some(target.to_owned()),
            read_only: Some(read_only),
            ..Mount::default()
        };
        let cache = self.cache.iter().map(|(volume, place)| mount(MountType::VOLUME, volume.clone(), place, false));
        cache
            .chain(
                self.read_only
                    .iter()
                    .map(|(from, to)| mount(MountType::BIND, from.to_string_lossy().into_owned(), to, true)),
            )
            .collect()
    }
}

/// Docker counts CPUs in billionths.
pub(super) fn nano(cpus: f64) -> i64 {
    #[allow(clippy::cast_possible_truncation, reason = "a count of CPUs times 10^9 is far below 2^53")]
    let nano = (cpus * 1e9).round() as i64;
    nano
}

impl BuildContainer {
    pub fn id(&self) -> &str {
        &self.id
    }
    pub(super) fn docker(&self) -> &Docker {
        &self.docker
    }

    /// Unpacks a tar stream below `directory` of the container, which Docker makes when it is missing.
    /// The stream is read as fast as Docker takes it, so memory does not grow with it.
    pub async fn upload(
        &self,
        directory: &str,
        tar: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> Result<(), DockerError> {
        let options = UploadToContainerOptions { path: directory.to_owned(), ..UploadToContainerOptions::default() };
        self.docker
            .api()
            .await?
            .upload_to_container(&self.id, Some(options), bollard::body_try_stream(tar))
            .await
            .map_err(|cause| self.docker.failure("take the source into the build container", cause))
    }

    /// Starts it and gives what it writes, from its first byte to its end.
    pub async fn start(
        &self,
    ) -> Result<impl Stream<Item = Result<ContainerOutput, DockerError>> + Send + use<'_>, DockerError> {
        // Attached before it runs, so that nothing is missed.
        let options =
            AttachContainerOptions { stream: true, stdout: true, stderr: true, ..AttachContainerOptions::default() };
        let attached = self
            .docker
            .api()
            .await?
            .attach_container(&self.id, Some(options))
            .await
            .map_err(|cause| self.docker.failure("attach to the build container", cause))?;
        self.docker.start_container(&self.id).await?;
        Ok(attached.output.map(|output| {
            output.map(ContainerOutput::from).map_err(|cause| self.docker.failure("follow the build's output", cause))
        }))
    }

    /// Waits until it has ended.
    pub async fn ended(&self) -> Result<ContainerEnd, DockerError> {
        let options = WaitContainerOptions { condition: "not-running".to_owned() };
        let answer = self.docker.api().await?.wait_container(&self.id, Some(options)).next().await;
        if let Some(Err(cause)) = answer
            && !matches!(cause, bollard::errors::Error::DockerContainerWaitError { .. })
        {
            return Err(self.docker.failure("wait for the build", cause));
        }
        match self.docker.container(&self.id).await?.map(|container| container.state) {
            Some(ContainerState::Ended(end)) => Ok(end),
            _ => Err(DockerError::NotFound { what: "end of the build container", name: self.id.clone() }),
        }
    }

    /// A small file of the container; `None` when there is none, or one of more than `limit` bytes.
    pub async fn file(&self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, DockerError> {
        // A tar of one file: a header, the content, and the padding to two empty blocks and a record.
        const TAR_OVERHEAD: usize = 16 << 10;
        let options = DownloadFromContainerOptions { path: path.to_owned() };
        let mut stream = std::pin::pin!(self.docker.api().await?.download_from_container(&self.id, Some(options)));
        let mut tar = Vec::new();
        loop {
            match stream.try_next().await {
                Ok(Some(chunk)) if tar.len() + chunk.len() <= limit + TAR_OVERHEAD => tar.extend_from_slice(&chunk),
                Ok(Some(_)) => return Ok(None),
                Ok(None) => return Ok(only_file(&tar)),
                Err(cause) if super::is_missing(&cause) => return Ok(None),
                Err(cause) => return Err(self.docker.failure(format!("read `{path}` of the build"), cause)),
            }
        }
    }

    /// Makes an image of it: one layer on the builder's, and nothing of the build's own command in it.
    pub async fn commit(&self, builder: &Image, labels: HashMap<String, String>) -> Result<ImageId, DockerError> {
        let config = ContainerConfig {
            // An absent command would be filled in from the container, so it is always given.
            cmd: Some(if builder.command.is_empty() && builder.entrypoint.is_empty() {
                vec!["/start".to_owned(), "web".to_owned()]
            } else {
                builder.command.clone()
            }),
            entrypoint: Some(builder.entrypoint.clone()),
            // Of a builder that says none the container has none either.
            user: Some(builder.user.clone()).filter(|user| !user.is_empty()),
            labels: Some(labels),
            ..ContainerConfig::default()
        };
        let options = CommitContainerOptions {
            container: Some(self.id.clone()),
            pause: false,
            ..CommitContainerOptions::default()
        };
        let committed = self
            .docker
            .api()
            .await?
            .commit_container(options, config)
            .await
            .map_err(|cause| self.docker.failure("commit the build container", cause))?;
        committed
            .id
            .parse()
            .map_err(|_| DockerError::NotFound { what: "id for the committed image", name: committed.id })
    }

    /// Ends it, if it still runs, and removes it.
    pub async fn remove(mut self) -> Result<(), DockerError> {
        self.removed = true;
        self.docker.remove_wholly(&self.id).await
    }
}

impl Drop for BuildContainer {
    fn drop(&mut self) {
        if self.removed {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (docker, id) = (self.docker.clone(), std::mem::take(&mut self.id));
            runtime.spawn(async move {
                if let Err(error) = docker.remove_wholly(&id).await {
                    tracing::warn!(%id, %error, label = labels::PUSH, "a build container is left");
                }
            });
        }
    }
}

fn only_file(tar: &[u8]) -> Option<Vec<u8>> {
    let mut archive = tar::Archive::new(tar);
    let mut entry = archive.entries().ok()?.next()?.ok()?;
    let mut content = Vec::new();
    let regular = entry.header().entry_type().is_file();
    (regular && io::Read::read_to_end(&mut entry, &mut content).is_ok()).then_some(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> BuildContainerSpec {
        BuildContainerSpec {
            image: format!("sha256:{}", "a".repeat(64)).parse().unwrap(),
            as_root: true,
            labels: HashMap::new(),
            job: Job::Script("exec /build"),
            env: BTreeMap::new(),
            cache: Some(("cache-shop".to_owned(), "/tmp/cache")),
            read_only: vec![(PathBuf::from("/var/x"), "/tmp/env")],
            memory_bytes: 1 << 30,
            cpus: Some(1.5),
            processes: 64,
            patience: Duration::from_secs(1),
        }
    }

    #[test]
    fn a_build_has_no_privilege_and_has_limits() {
        let host = spec().into_body().host_config.unwrap();
        assert_eq!(host.privileged, Some(false));
        assert_eq!(host.cap_drop.unwrap(), ["ALL"]);
        assert!(!host.cap_add.unwrap().contains(&"SYS_ADMIN".to_owned()));
        assert_eq!(host.security_opt.unwrap(), ["no-new-privileges"]);
        assert_eq!((host.memory, host.memory_swap), (Some(1 << 30), Some(1 << 30)));
        assert_eq!((host.nano_cpus, host.pids_limit), (Some(1_500_000_000), Some(64)));
    }

    #[test]
    fn what_the_host_lends_is_read_only() {
        let mounts = spec().into_body().host_config.unwrap().mounts.unwrap();
        assert!(mounts.iter().filter(|m| m.typ == Some(MountType::BIND)).all(|m| m.read_only == Some(true)));
        assert!(mounts.iter().all(|m| m.source.as_deref() != Some("/var/run/docker.sock")));
    }

    #[test]
    fn the_environment_of_a_build_is_no_part_of_its_container() {
        assert_eq!(spec().into_body().env, None);
    }

    #[test]
    fn a_file_comes_out_of_the_tar_that_docker_answers() {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_size(2);
        tar.append_data(&mut header, ".release", &b"hi"[..]).unwrap();
        assert_eq!(only_file(&tar.into_inner().unwrap()).as_deref(), Some(&b"hi"[..]));
        assert_eq!(only_file(b"no tar"), None);
    }
}
