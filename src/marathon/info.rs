//! What a Marathon says of itself.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The answer to `GET /v2/info`. The configurations are open objects: which keys they have depends on the version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Info {
    pub name: String,
    pub version: String,
    #[serde(default)]
    pub buildref: String,
    #[serde(default)]
    pub elected: Option<bool>,
    #[serde(default)]
    pub leader: Option<String>,
    #[serde(default, rename = "frameworkId")]
    pub framework_id: Option<String>,
    #[serde(default)]
    pub marathon_config: Value,
    #[serde(default)]
    pub zookeeper_config: Value,
    #[serde(default)]
    pub http_config: Value,
}
