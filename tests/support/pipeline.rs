//! What a push works with where a test runs the pipeline itself, and how nothing of it stays.

use std::num::NonZeroU32;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use paas::docker::{Docker, Socket};
use paas::marathon::Client;
use paas::model::{ByteSize, Quota};
use paas::pipeline::{Builder, DeployRules, Platform, Readable, Tenancy};
use paas::store::SqliteStore;

use super::builder::TestBuilder;

/// With its store and logs in `home`, the local Docker, no registry, and room for as many builds as a test wants.
pub fn platform(home: &Path, builder: &TestBuilder, marathon: Client) -> Platform {
    Platform {
        store: Arc::new(SqliteStore::open(&home.join("store")).unwrap()),
        docker: Docker::at(Socket("/var/run/docker.sock".into())),
        home_label: home.display().to_string(),
        registry: None,
        tenancy: Tenancy { marathon, quota: Quota::default() },
        readable: Readable::nothing(),
        builder: Builder {
            image: builder.name().to_owned(),
            ca_bundle: None,
            timeout: Duration::from_mins(1),
            memory: ByteSize::mib(256),
            cpus: None,
            processes: 64,
            disk: ByteSize::mib(1024),
            submodule_hosts: Vec::new(),
            free: ByteSize::mib(1),
        },
        deploy: DeployRules { deadline: Duration::from_mins(1), settle: Duration::from_millis(500), retries: 1 },
        parallel: NonZeroU32::new(16).unwrap(),
        patience: Duration::from_mins(1),
        build_logs: home.join("logs"),
    }
}

/// Removes what is in Docker by that home's label, so that also what a failing test left goes. An engine that would
/// start it again has to be ended first.
pub fn remove_from_docker(home: &Path) {
    let filter = format!("label=paas.home={}", home.display());
    for (list, remove) in [
        (vec!["ps", "--all", "--quiet"], vec!["rm", "--force", "--volumes"]),
        (vec!["images", "--quiet"], vec!["rmi", "--force"]),
        (vec!["volume", "ls", "--quiet"], vec!["volume", "rm", "--force"]),
    ] {
        let listed = Command::new("docker").args(list).args(["--filter", &filter]).output();
        let ids = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        if !ids.trim().is_empty() {
            // Each fails only when it is gone already.
            let _ = Command::new("docker").args(remove).args(ids.split_whitespace()).output();
        }
    }
}
