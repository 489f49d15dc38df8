//! An app's own record: the counters that number its builds and releases, and which release serves.

use serde::{Deserialize, Serialize};

use super::places::Places;
use super::release::{ReleaseError, json};
use crate::model::ReleaseNumber;
use crate::store::{Change, Store, Version};

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AppRecord {
    /// The newest build's number; 0 before the first.
    #[serde(default)]
    pub builds: u32,
    /// The newest release's number; 0 before the first.
    #[serde(default)]
    pub releases: u32,
    #[serde(default)]
    pub serving: Option<ReleaseNumber>,
    /// What other parts of the platform keep about the app.
    #[serde(flatten)]
    pub more: serde_json::Map<String, serde_json::Value>,
}

/// A record as it was read, to be replaced only if nobody else did meanwhile.
#[derive(Debug)]
pub(super) struct ReadAppRecord {
    pub value: AppRecord,
    version: Version,
}

impl AppRecord {
    /// Makes the record when the app is new.
    pub(super) async fn read(store: &dyn Store, places: &Places) -> Result<ReadAppRecord, ReleaseError> {
        let path = places.app();
        let Some(record) = store.get(path).await? else {
            store.ensure(path).await?;
            return Ok(ReadAppRecord { value: Self::default(), version: Version(0) });
        };
        if record.value.is_empty() {
            return Ok(ReadAppRecord { value: Self::default(), version: record.version });
        }
        let cause = |cause| ReleaseError::Unreadable { path: path.to_string(), cause };
        let value = serde_json::from_slice(&record.value).map_err(cause)?;
        Ok(ReadAppRecord { value, version: record.version })
    }
}

impl ReadAppRecord {
    pub(super) fn put(&self, places: &Places, value: &AppRecord) -> Change {
        Change::Put { path: places.app().clone(), value: json(value), expected: Some(self.version) }
    }
}
