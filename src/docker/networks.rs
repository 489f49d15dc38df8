//! Bridge networks: one per tenant, so that tenants' containers do not see each other.

use std::collections::HashMap;

use bollard::models::NetworkCreateRequest;
use bollard::query_parameters::InspectNetworkOptions;

use super::{Docker, DockerError, is_conflict, is_missing};

impl Docker {
    /// Makes the bridge network if there is none of that name.
    pub async fn ensure_network(&self, name: &str, labels: HashMap<String, String>) -> Result<(), DockerError> {
        match self.api().await?.inspect_network(name, None::<InspectNetworkOptions>).await {
            Ok(_) => return Ok(()),
            Err(cause) if is_missing(&cause) => {}
            Err(cause) => return Err(self.failure(format!("inspect the network `{name}`"), cause)),
        }
        let request = NetworkCreateRequest {
            name: name.to_owned(),
            driver: Some("bridge".to_owned()),
            labels: Some(labels),
            ..NetworkCreateRequest::default()
        };
        match self.api().await?.create_network(request).await {
            // Somebody else was quicker, which is as good.
            Err(cause) if !is_conflict(&cause) => Err(self.failure(format!("make the network `{name}`"), cause)),
            _ => Ok(()),
        }
    }

    /// Removes a network; one that is gone is as good.
    pub async fn remove_network(&self, name: &str) -> Result<(), DockerError> {
        match self.api().await?.remove_network(name).await {
            Err(cause) if !is_missing(&cause) => Err(self.failure(format!("remove the network `{name}`"), cause)),
            _ => Ok(()),
        }
    }
}
