//! Paths of the machine that a container sees as its own.

use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use crate::docker::Bind;

/// A host volume of an app's definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostVolume {
    /// Absolute, or inside of the sandbox.
    host: PathBuf,
    /// Absolute, or below the place where the container sees its sandbox.
    container: PathBuf,
    read_only: bool,
}

/// The volume cannot be given to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidVolume {
    #[error("is no host volume, which has containerPath, hostPath and mode")]
    Shape,
    #[error("has a `:` in a path, which Docker takes for the end of it")]
    Colon,
    #[error("has `..` in a path, which may not lead out of the sandbox")]
    Climbs,
}

impl HostVolume {
    /// Reads a volume as a definition has it.
    pub fn read(volume: &Value) -> Result<Self, InvalidVolume> {
        let path = |field| volume.get(field).and_then(Value::as_str).ok_or(InvalidVolume::Shape);
        let (host, container) = (path("hostPath")?, path("containerPath")?);
        if host.contains(':') || container.contains(':') {
            return Err(InvalidVolume::Colon);
        }
        let climbs = |path: &str| Path::new(path).components().any(|part| part == Component::ParentDir);
        if climbs(host) || climbs(container) {
            return Err(InvalidVolume::Climbs);
        }
        let read_only = volume.get("mode").and_then(Value::as_str) == Some("RO");
        Ok(Self { host: host.into(), container: container.into(), read_only })
    }

    /// Whether it is said to be in the sandbox, and a link leads it elsewhere.
    pub fn leaves(&self, sandbox: &Path) -> bool {
        let found = self.host.is_relative().then(|| sandbox.join(&self.host).canonicalize().ok()).flatten();
        found.is_some_and(|found| !sandbox.canonicalize().is_ok_and(|sandbox| found.starts_with(sandbox)))
    }

    /// How a container is given it whose sandbox is at `sandbox`, and at `inside` for itself.
    pub fn bind(&self, sandbox: &Path, inside: &str) -> Bind {
        // Joining with an absolute path gives that.
        Bind {
            source: sandbox.join(&self.host).to_string_lossy().into_owned(),
            target: Path::new(inside).join(&self.container).to_string_lossy().into_owned(),
            mode: if self.read_only { "ro" } else { "rw" }.to_owned(),
        }
    }
}

impl std::fmt::Display for HostVolume {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}`", self.host.display())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn bound(container: &str, host: &str, mode: &str) -> String {
        let volume = json!({ "containerPath": container, "hostPath": host, "mode": mode });
        HostVolume::read(&volume).unwrap().bind(Path::new("/state/sandbox"), "/mnt/mesos/sandbox").to_string()
    }

    #[test]
    fn relative_paths_are_in_the_sandbox_on_either_side() {
        assert_eq!(bound("/data", "/srv/data", "RO"), "/srv/data:/data:ro");
        assert_eq!(bound("/opt/pinger.py", "pinger.py", "RW"), "/state/sandbox/pinger.py:/opt/pinger.py:rw");
        assert_eq!(bound("data", "/srv", "RW"), "/srv:/mnt/mesos/sandbox/data:rw");
    }

    #[test]
    fn a_link_out_of_the_sandbox_is_seen() {
        let (sandbox, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::os::unix::fs::symlink(outside.path(), sandbox.path().join("link")).unwrap();
        std::fs::create_dir(sandbox.path().join("dir")).unwrap();
        let leaves = |host: &str| {
            let volume = json!({ "containerPath": "/x", "hostPath": host, "mode": "RW" });
            HostVolume::read(&volume).unwrap().leaves(sandbox.path())
        };
        assert!(leaves("link"));
        assert!(!leaves("dir") && !leaves("not-there-yet") && !leaves("/etc"));
    }

    #[test]
    fn other_volumes_and_paths_that_climb_are_none() {
        let refused = |volume: Value| HostVolume::read(&volume).unwrap_err();
        assert_eq!(refused(json!({ "containerPath": "a", "persistent": {} })), InvalidVolume::Shape);
        assert_eq!(refused(json!({ "containerPath": "/a", "hostPath": "../b", "mode": "RW" })), InvalidVolume::Climbs);
        assert_eq!(refused(json!({ "containerPath": "/a:ro", "hostPath": "/b" })), InvalidVolume::Colon);
    }
}
