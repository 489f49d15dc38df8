//! What a container uses, and what it has written, asked once.

use std::time::Duration;

use bollard::models::ContainerStatsResponse;
use bollard::query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder, StatsOptionsBuilder};
use futures_util::StreamExt as _;

use super::{BuildContainer, Docker, DockerError, Labels, is_missing};
use crate::model::ByteSize;

/// What a container has used, and may.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// Time of processors in its own programs, and for them in the kernel.
    pub user: Duration,
    pub system: Duration,
    /// In memory, without files that are only cached.
    pub memory_bytes: u64,
    /// The most it may use; none when Docker does not say.
    pub memory_limit_bytes: Option<u64>,
}

impl Docker {
    /// What a container that runs uses; none when there is no such.
    pub async fn container_usage(&self, id: &str) -> Result<Option<Usage>, DockerError> {
        // One shot: Docker does not wait to compare two looks.
        let options = StatsOptionsBuilder::new().stream(false).one_shot(true).build();
        match self.api().await?.stats(id, Some(options)).next().await {
            Some(Ok(found)) => Ok(usage(&found)),
            Some(Err(cause)) if !is_missing(&cause) => {
                Err(self.failure(format!("tell what the container {id:.12} uses"), cause))
            }
            _ => Ok(None),
        }
    }

    /// What containers with all of these labels have written over their images, all together. Docker walks all of it to say
    /// so, which may take a while.
    pub async fn written_by(&self, labels: Labels<'_>) -> Result<ByteSize, DockerError> {
        let filters = super::labelled::filter(labels);
        let options = ListContainersOptionsBuilder::new().size(true).filters(&filters).build();
        let found = self.api().await?.list_containers(Some(options)).await;
        let found = found.map_err(|cause| self.failure("tell what containers have written", cause))?;
        Ok(found.into_iter().map(|container| size(container.size_rw)).fold(ByteSize::new(0), plus))
    }
}

impl BuildContainer {
    /// What was put into it and what it wrote itself, over its image; its volumes are not counted. Docker walks all of it to
    /// say so, which may take a while.
    pub async fn written(&self) -> Result<ByteSize, DockerError> {
        let options = InspectContainerOptions { size: true };
        let found = self.docker().api().await?.inspect_container(self.id(), Some(options)).await;
        let found = found.map_err(|cause| self.docker().failure("tell what the build has written", cause))?;
        Ok(size(found.size_rw))
    }
}

fn size(bytes: Option<i64>) -> ByteSize {
    ByteSize::new(bytes.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or_default())
}

fn plus(a: ByteSize, b: ByteSize) -> ByteSize {
    ByteSize::new(a.get().saturating_add(b.get()))
}

fn usage(found: &ContainerStatsResponse) -> Option<Usage> {
    let cpu = found.cpu_stats.as_ref()?.cpu_usage.as_ref()?;
    let memory = found.memory_stats.as_ref()?;
    let detail = |name: &str| memory.stats.as_ref()?.get(name).copied();
    Some(Usage {
        user: Duration::from_nanos(cpu.usage_in_usermode.unwrap_or_default()),
        system: Duration::from_nanos(cpu.usage_in_kernelmode.unwrap_or_default()),
        // The first or the second version of control groups. One that does not run has nothing at all.
        memory_bytes: detail("rss").or_else(|| detail("anon")).or(memory.usage)?,
        memory_limit_bytes: memory.limit,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_control_groups_are_understood() {
        let read = |memory: serde_json::Value| {
            let answer = serde_json::json!({
                "cpu_stats": { "cpu_usage": { "usage_in_usermode": 20_000_000, "usage_in_kernelmode": 5_000_000 } },
                "memory_stats": memory,
            });
            usage(&serde_json::from_value(answer).unwrap())
        };
        let expected = Usage {
            user: Duration::from_millis(20),
            system: Duration::from_millis(5),
            memory_bytes: 4096,
            memory_limit_bytes: Some(1 << 26),
        };
        for name in ["rss", "anon"] {
            let memory = serde_json::json!({ "usage": 9999, "limit": 1 << 26, "stats": { name: 4096 } });
            assert_eq!(read(memory), Some(expected));
        }
        assert_eq!(read(serde_json::json!({})), None);
    }
}
