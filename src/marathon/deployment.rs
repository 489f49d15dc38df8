//! Deployments: Marathon's way from one tree of apps to the next.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{PathId, ReadinessResult};

/// The text is no deployment's id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no deployment id: a uuid is")]
pub struct InvalidDeploymentId(String);

/// The uuid of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeploymentId(Uuid);

impl DeploymentId {
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }
}
impl From<Uuid> for DeploymentId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}
impl FromStr for DeploymentId {
    type Err = InvalidDeploymentId;
    fn from_str(text: &str) -> Result<Self, InvalidDeploymentId> {
        text.parse().map(Self).map_err(|_| InvalidDeploymentId(text.chars().take(64).collect()))
    }
}
impl TryFrom<String> for DeploymentId {
    type Error = InvalidDeploymentId;
    fn try_from(text: String) -> Result<Self, InvalidDeploymentId> {
        text.parse()
    }
}
impl From<DeploymentId> for String {
    fn from(id: DeploymentId) -> Self {
        id.to_string()
    }
}
impl fmt::Display for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The answer to every request that starts a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentResult {
    pub deployment_id: DeploymentId,
    pub version: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ActionKind {
    StartApplication,
    StopApplication,
    ScaleApplication,
    RestartApplication,
    /// What is done to a pod.
    #[serde(other)]
    Other,
}

/// What a step does to one app.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Action {
    pub action: ActionKind,
    #[serde(alias = "pod")]
    pub app: PathId,
}

/// Actions that are done side by side.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub actions: Vec<Action>,
}

/// A plan as events and `dryRun` show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentPlan {
    pub id: DeploymentId,
    pub steps: Vec<Step>,
    pub version: String,
}

/// The answer to a PUT with `dryRun=true`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DryRun {
    pub steps: Vec<Step>,
}

/// A running deployment (`DeploymentStepInfo` in Marathon's API).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployment {
    pub id: DeploymentId,
    pub version: String,
    pub affected_apps: Vec<PathId>,
    #[serde(default)]
    pub affected_pods: Vec<PathId>,
    pub steps: Vec<Step>,
    pub current_actions: Vec<CurrentAction>,
    /// Counts from 1; 0 before the first.
    pub current_step: u32,
    pub total_steps: u32,
}

/// An action that is being carried out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CurrentAction {
    #[serde(flatten)]
    pub action: Action,
    #[serde(default)]
    pub readiness_check_results: Vec<ReadinessResult>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_running_deployment_reads_and_writes_as_marathon_has_it() {
        let recorded = json!({
            "id": "43b75419-729f-455d-a6ec-a72e09e32667", "version": "2026-11-23T09:42:00.702Z",
            "steps": [{"actions": [{"action": "StartApplication", "app": "/l/one"}]}, {"actions": [{"action": "ScaleApplication", "app": "/l/one"}]}],
            "affectedApps": ["/l/one"], "affectedPods": [], "currentStep": 2, "totalSteps": 2,
            "currentActions": [{"action": "ScaleApplication", "app": "/l/one", "readinessCheckResults": []}]
        });
        let deployment: Deployment = serde_json::from_value(recorded.clone()).unwrap();
        assert_eq!(serde_json::to_value(deployment).unwrap(), recorded);
    }

    #[test]
    fn a_deployment_id_is_a_uuid() {
        assert!("../apps".parse::<DeploymentId>().is_err());
        let id = DeploymentId::random();
        assert_eq!(id.to_string().parse(), Ok(id));
    }
}
