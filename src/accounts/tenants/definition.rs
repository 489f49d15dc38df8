//! A tenant's Marathon as an app of the root Marathon: the only place that knows what kind of Marathon that is.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

use crate::docker::labels;
use crate::marathon::{
    App, EnvValue, HealthCheck, HealthProtocol, IpProtocol, PathId, PortDefinition, UpgradeStrategy,
};
use crate::model::{Quota, Secret, TenantName};

/// What tenants' Marathons are on this platform: engines of one machine, each of whose states and networks are its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantEngines {
    /// `paas` itself.
    pub program: PathBuf,
    /// The platform's home, which is the label on everything that the engines make.
    pub home: PathBuf,
    /// The directory with a directory of state for each tenant.
    pub states: PathBuf,
    pub docker: PathBuf,
    /// Where instances' ports are published, and what tasks name as their host.
    pub address: IpAddr,
    pub ports: RangeInclusive<u16>,
}

impl TenantEngines {
    /// The tenant's Docker network: no other tenant's, and no other platform's on this machine.
    pub fn network(&self, tenant: &TenantName) -> String {
        let digest = Sha256::digest(self.home.as_os_str().as_encoded_bytes());
        let short = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
        format!("paas-{tenant}-{short:08x}")
    }

    /// The app to post. The credentials are in its environment, never in its arguments, which everybody can see.
    pub(super) fn app(&self, tenant: &TenantName, credentials: &Secret, quota: &Quota) -> App {
        App {
            args: self.arguments(tenant, quota),
            env: BTreeMap::from([(
                "MESOSPHERE_HTTP_CREDENTIALS".to_owned(),
                EnvValue::Text(credentials.reveal().to_owned()),
            )]),
            labels: BTreeMap::from([(labels::TENANT.to_owned(), tenant.to_string())]),
            cpus: 0.1,
            mem: 64.0,
            port_definitions: Some(vec![PortDefinition {
                port: 0,
                labels: BTreeMap::new(),
                name: Some("http".to_owned()),
                protocol: "tcp".to_owned(),
            }]),
            health_checks: vec![accepts_connections()],
            task_kill_grace_period_seconds: Some(20),
            // Two engines must never share one state, so the old one ends before the new one begins.
            upgrade_strategy: UpgradeStrategy { maximum_over_capacity: 0.0, minimum_health_capacity: 0.0 },
            ..App::new(app_id(tenant))
        }
    }

    /// It listens on the port that the root Marathon gives it, which it finds in `$PORT0`. Where the quota sets no
    /// limit, the machine does.
    fn arguments(&self, tenant: &TenantName, quota: &Quota) -> Vec<String> {
        let home = self.home.display();
        let pairs = [
            ("--listen", "127.0.0.1".to_owned()),
            ("--state", self.states.join(tenant.as_str()).display().to_string()),
            ("--network", self.network(tenant)),
            ("--address", self.address.to_string()),
            ("--ports", format!("{}-{}", self.ports.start(), self.ports.end())),
            ("--docker", self.docker.display().to_string()),
            ("--label", format!("{}={home}", labels::HOME)),
            ("--label", format!("{}={tenant}", labels::TENANT)),
        ];
        let limits = [
            ("--cpus", quota.cpus.map(|cpus| cpus.to_string())),
            ("--mem", quota.mem.map(|mem| mem.to_string())),
            ("--disk", quota.disk.map(|disk| disk.to_string())),
        ];
        let limits = limits.into_iter().filter_map(|(name, limit)| Some((name, limit?)));
        let program = [self.program.display().to_string(), "engine".to_owned()];
        program
            .into_iter()
            .chain(pairs.into_iter().chain(limits).flat_map(|(name, value)| [name.to_owned(), value]))
            .collect()
    }
}

/// Where tenants' Marathons are among the root Marathon's apps.
pub(super) fn app_id(tenant: &TenantName) -> PathId {
    format!("/tenants/{tenant}").parse().expect("a tenant's name is a segment of an id")
}

fn accepts_connections() -> HealthCheck {
    HealthCheck {
        protocol: HealthProtocol::MesosTcp,
        command: None,
        grace_period_seconds: 60,
        ignore_http1xx: None,
        interval_seconds: 1,
        max_consecutive_failures: 5,
        path: None,
        port: None,
        port_index: Some(0),
        ip_protocol: IpProtocol::V4,
        timeout_seconds: 5,
        delay_seconds: 0,
    }
}

#[cfg(test)]
pub(super) mod samples {
    use super::*;

    pub(in crate::accounts::tenants) fn engines(home: &str) -> TenantEngines {
        TenantEngines {
            program: "/usr/local/bin/paas".into(),
            home: home.into(),
            states: PathBuf::from(home).join("engines/tenants"),
            docker: "/var/run/docker.sock".into(),
            address: "127.0.0.1".parse().unwrap(),
            ports: 31000..=31999,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::samples::engines;
    use super::*;

    #[test]
    fn a_tenants_engine_is_an_app_without_shell_with_one_port_and_a_check() {
        let app = engines("/srv/paas").app(&"dev".parse().unwrap(), &Secret::new("dev:hunter2"), &Quota::default());
        assert_eq!(app.id.to_string(), "/tenants/dev");
        assert_eq!(app.cmd, None);
        assert_eq!(
            app.args[..6],
            ["/usr/local/bin/paas", "engine", "--listen", "127.0.0.1", "--state", "/srv/paas/engines/tenants/dev"]
        );
        assert!(!app.args.iter().any(|argument| argument.contains("hunter2") || argument == "--allow-commands"));
        assert_eq!(app.env["MESOSPHERE_HTTP_CREDENTIALS"], EnvValue::Text("dev:hunter2".to_owned()));
        assert_eq!(app.port_definitions.as_ref().map(Vec::len), Some(1));
        assert_eq!(app.health_checks[0].port_index, Some(0));
    }

    #[test]
    fn an_engine_has_the_limits_of_its_tenants_quota_and_no_others() {
        let limits = |quota: Quota| {
            let app = engines("/srv/paas").app(&"dev".parse().unwrap(), &Secret::new("dev:hunter2"), &quota);
            let is_limit = |name: &String| ["--cpus", "--mem", "--disk"].contains(&name.as_str());
            let pairs = app.args.windows(2).filter(|pair| is_limit(&pair[0]));
            pairs.map(|pair| pair.join(" ")).collect::<Vec<_>>()
        };
        assert!(limits(Quota { apps: Some(3), ..Quota::default() }).is_empty());
        let quota = Quota { cpus: "0.5".parse().ok(), mem: Some(512), disk: Some(0), ..Quota::default() };
        assert_eq!(limits(quota), ["--cpus 0.5", "--mem 512", "--disk 0"]);
    }

    #[test]
    fn tenants_of_the_same_name_on_two_platforms_have_two_networks() {
        let dev = "dev".parse().unwrap();
        let (one, other) = (engines("/srv/one").network(&dev), engines("/srv/other").network(&dev));
        assert!(one.starts_with("paas-dev-") && one != other, "{one} {other}");
    }
}
