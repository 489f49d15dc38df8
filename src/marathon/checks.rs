//! Readiness checks, which hold a deployment up until an instance says that it is ready, and general checks, which only
//! tell what they saw. Health checks, which end instances, are part of the app's definition.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum HttpScheme {
    #[default]
    Http,
    Https,
}

impl HttpScheme {
    /// As it stands in a URL.
    pub fn in_url(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Asks a new instance of a deployment whether it is ready, until it says so once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadinessCheck {
    pub name: String,
    pub protocol: HttpScheme,
    pub path: String,
    /// The name of one of the app's ports.
    pub port_name: String,
    pub interval_seconds: u64,
    pub timeout_seconds: u64,
    pub http_status_codes_for_ready: Vec<u16>,
    /// The last answer is to be shown.
    pub preserve_last_response: bool,
}

/// What a readiness check last found (`TaskReadinessCheckResult` in Marathon's API).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadinessResult {
    pub name: String,
    pub task_id: String,
    pub ready: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_response: Option<ReadinessResponse>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadinessResponse {
    pub status: u16,
    pub content_type: String,
    pub body: String,
}

/// A general check of a command task, as Mesos' agents do it (`AppCheck` in Marathon's API).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    #[serde(flatten)]
    pub kind: CheckKind,
    pub interval_seconds: u64,
    pub timeout_seconds: u64,
    pub delay_seconds: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckKind {
    Http(HttpCheck),
    Tcp(CheckPort),
    Exec(CommandCheck),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpCheck {
    #[serde(flatten)]
    pub port: CheckPort,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    pub scheme: HttpScheme,
}

/// Which port is asked: one by number, or one of the app's by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckPort {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_index: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandCheck {
    pub command: CheckCommand,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckCommand {
    Shell(String),
    Argv(Vec<String>),
}

/// What a general check last saw (`CheckStatus` in Marathon's API).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", rename_all_fields = "camelCase")]
pub enum CheckResult {
    Http { status_code: u16 },
    Tcp { succeeded: bool },
    Command { exit_code: i32 },
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn checks_read_and_write_as_marathon_has_them() {
        let common = json!({ "intervalSeconds": 1, "timeoutSeconds": 2, "delaySeconds": 3 });
        for kind in [
            json!({ "http": { "portIndex": 0, "path": "/a", "scheme": "HTTPS" } }),
            json!({ "tcp": { "port": 80 } }),
            json!({ "exec": { "command": { "shell": "true" } } }),
            json!({ "exec": { "command": { "argv": ["a", "b"] } } }),
        ] {
            let mut whole = common.clone();
            whole.as_object_mut().unwrap().extend(kind.as_object().unwrap().clone());
            let check: Check = serde_json::from_value(whole.clone()).unwrap();
            assert_eq!(serde_json::to_value(check).unwrap(), whole);
        }
    }

    #[test]
    fn results_are_named_by_their_kind() {
        for (result, shown) in [
            (CheckResult::Http { status_code: 404 }, json!({ "http": { "statusCode": 404 } })),
            (CheckResult::Tcp { succeeded: true }, json!({ "tcp": { "succeeded": true } })),
            (CheckResult::Command { exit_code: 1 }, json!({ "command": { "exitCode": 1 } })),
        ] {
            assert_eq!(serde_json::to_value(result).unwrap(), shown);
        }
    }
}
