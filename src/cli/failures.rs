//! Which exit status a failure has: the one place that knows the library's errors by kind.

use std::error::Error;

use crate::docker::DockerError;
use crate::store::StoreError;
use crate::ui::{Exit, Failure};

/// The first link of the chain that tells decides.
pub(super) fn exit_of(error: &anyhow::Error) -> Exit {
    error.chain().find_map(known).unwrap_or(Exit::Failed)
}

fn known(link: &(dyn Error + 'static)) -> Option<Exit> {
    if let Some(failure) = link.downcast_ref::<Failure>() {
        return Some(failure.exit());
    }
    if let Some(store) = link.downcast_ref::<StoreError>() {
        return match store {
            StoreError::NotFound(_) | StoreError::Exists(_) | StoreError::Changed(_) | StoreError::NotEmpty(_) => {
                Some(Exit::Refused)
            }
            StoreError::TooNew { .. } | StoreError::Open { .. } | StoreError::Failed { .. } => None,
        };
    }
    match link.downcast_ref::<DockerError>()? {
        DockerError::Unreachable { .. } | DockerError::Silent { .. } => Some(Exit::Unreachable),
        DockerError::NotFound { .. } => Some(Exit::Refused),
        DockerError::Failed { .. } | DockerError::NoSpace { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;
    use crate::store::StorePath;

    #[test]
    fn the_kind_of_a_failure_decides_the_status() {
        let taken = StoreError::Exists(StorePath::root().join("tenants"));
        let error = Err::<(), _>(taken).context("no tenant was made").unwrap_err();
        assert_eq!(exit_of(&error), Exit::Refused);
        assert_eq!(exit_of(&anyhow::anyhow!("anything else")), Exit::Failed);
        let unreachable = Failure::new(Exit::Unreachable, "no platform").because(std::io::Error::other("x"));
        assert_eq!(exit_of(&unreachable.into()), Exit::Unreachable);
    }
}
