//! What an engine says of itself: `/ping`, `/v2/info`, `/logging`, `/config`.

use serde_json::{Value, json};

use super::super::reading::{Refusal, SERVICE_PORTS};
use super::Api;
use super::accept::Accept;
use super::answer::Answer;
use super::request::Asked;
use crate::marathon::Info;

/// The version of Marathon whose API this is; clients ask for it to know what a server can do.
const MARATHON_VERSION: &str = "1.11.0";

pub(super) fn ping(asked: &Asked) -> Answer {
    match Accept::of(&asked.headers).best(&["text/plain", "application/json", "text/html"]) {
        Some("application/json") => Answer::json(&"pong"),
        Some("text/html") => Answer::text("text/html", "pong"),
        _ => Answer::text("text/plain", "pong"),
    }
}

impl Api {
    pub(super) fn info(&self) -> Answer {
        let shared = self.shared();
        Answer::json(&Info {
            name: "marathon".to_owned(),
            version: MARATHON_VERSION.to_owned(),
            buildref: format!("paas-{}", env!("CARGO_PKG_VERSION")),
            elected: Some(true),
            leader: Some(shared.leader.clone()),
            framework_id: Some(shared.framework.clone()),
            marathon_config: self.configuration(),
            // There is no ZooKeeper; what must be a text or a number is Marathon's default.
            zookeeper_config: json!({
                "zk": "", "zk_compression": null, "zk_compression_threshold": null, "zk_connection_timeout": 10_000,
                "zk_max_node_size": null, "zk_max_versions": 50, "zk_session_timeout": 10_000, "zk_timeout": 10_000
            }),
            http_config: json!({ "http_port": port_of(&shared.leader), "https_port": 0 }),
        })
    }

    /// Every setting that a Marathon shows; those that mean nothing here are what a Marathon has by default.
    fn configuration(&self) -> Value {
        let shared = self.shared();
        let own = format!("http://{}/", shared.leader);
        let origins = Some(&shared.origins).filter(|origins| !origins.is_empty());
        json!({
            "access_control_allow_origin": origins, "checkpoint": true, "decline_offer_duration": 120_000,
            "default_network_name": null, "env_vars_prefix": null, "executor": "//cmd", "failover_timeout": 604_800,
            "features": [], "framework_name": "marathon", "ha": false, "hostname": shared.place.host,
            "launch_token": 100, "launch_token_refresh_interval": 30_000, "leader_proxy_connection_timeout_ms": 5000,
            "leader_proxy_read_timeout_ms": 10_000, "local_port_max": SERVICE_PORTS.end(),
            "local_port_min": SERVICE_PORTS.start(), "master": own, "max_instances_per_offer": 5,
            "mesos_bridge_name": "mesos-bridge", "mesos_heartbeat_failure_threshold": 5,
            "mesos_heartbeat_interval": 15_000, "mesos_leader_ui_url": own, "mesos_role": "*", "mesos_user": null,
            "new_group_enforce_role": "Off", "min_revive_offers_interval": 5000, "offer_matching_timeout": 3000,
            "on_elected_prepare_timeout": 180_000, "reconciliation_initial_delay": 15_000,
            "reconciliation_interval": 600_000, "scale_apps_initial_delay": 15_000, "scale_apps_interval": 300_000,
            "store_cache": true, "task_launch_confirm_timeout": 300_000, "task_launch_timeout": 300_000,
            "task_lost_expunge_initial_delay": 300_000, "task_lost_expunge_interval": 30_000,
            "task_reservation_timeout": 20_000, "webui_url": null, "maintenance_mode": true
        })
    }

    /// What this engine was told when it was started; no secret is in it.
    pub(super) fn config(&self) -> Answer {
        let shared = self.shared();
        Answer::json(&json!({
            "access_control_allow_origin": shared.origins, "allow_commands": shared.rules.commands,
            "hostname": shared.place.host, "http_credentials": shared.credentials.is_some(),
            "http_max_concurrent_requests": shared.max_requests, "listen": shared.leader,
            "ports": format!("{}-{}", shared.ports.start(), shared.ports.end()), "users": shared.rules.users,
        }))
    }
}

/// The one logger there is.
pub(super) fn logging() -> Answer {
    Answer::json(&json!({ "ROOT": "INFO" }))
}

pub(super) fn fixed_levels() -> Refusal {
    Refusal::unprocessable("This engine logs at the level INFO, which cannot be changed while it runs.")
}

fn port_of(leader: &str) -> Option<u16> {
    leader.rsplit_once(':')?.1.parse().ok()
}
