//! Repositories of apps that are gone. What people pushed is removed late: an app counts as gone when it was so for a day.
//!
//! An app that never deployed is not gone: its repository may hold branches that were stored.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::files::{directories, named_repository};
use super::{Kind, Sweep, SweepError, Swept};
use crate::git::{self, Claim};
use crate::model::{AppName, TenantName};
use crate::pipeline::detached::REFS;
use crate::pipeline::places::Places;

/// Whoever lost the store, or took back an old one, has this long to notice.
const GRACE: Duration = Duration::from_hours(24);
/// In the repository, since when its app is gone: by the time at which it was made.
const NOTE: &str = "paas-gone";
/// The branches that deploy: one is there only when a release served.
const DEPLOYED: [&str; 2] = ["refs/heads/main", "refs/heads/master"];

impl Sweep {
    pub(super) async fn gone(&self, swept: &mut Swept) {
        for tenant in directories(&self.repositories) {
            let Some(tenant_name) = tenant.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            for entry in directories(&tenant.path()) {
                if let Some((app, path)) = named_repository(&entry) {
                    swept.tried(Kind::Gone, self.remove_gone(&tenant_name, &app, &path).await);
                }
            }
        }
    }

    async fn remove_gone(&self, tenant: &TenantName, app: &AppName, path: &Path) -> Result<bool, SweepError> {
        if !self.is_gone(tenant, app, path).await? || !git::is_ours(path)? {
            self.forget_note(path)?;
            return Ok(false);
        }
        if !self.is_gone_for_long(path)? {
            return Ok(false);
        }
        // Whoever pushes now waits, or is met here; and whoever has just pushed has left a record.
        let Some(claim) = Claim::on(path)?.alone()? else { return Ok(false) };
        if !self.is_gone(tenant, app, path).await? {
            return Ok(false);
        }
        if !self.dry_run {
            claim.remove()?;
        }
        Ok(true)
    }

    async fn is_gone(&self, tenant: &TenantName, app: &AppName, path: &Path) -> Result<bool, SweepError> {
        let tenant_record = self.store.get(&Places::tenants().join(tenant)).await?;
        // A record without a value only stands above others.
        if tenant_record.is_none_or(|record| record.value.is_empty()) {
            return Ok(true);
        }
        if self.store.get(Places::of(tenant, app).app()).await?.is_some() {
            return Ok(false);
        }
        let names = git::ref_names(path)?;
        let is_stored = |name: &String| !name.starts_with(REFS);
        Ok(!names.iter().any(is_stored) || names.iter().any(|name| DEPLOYED.contains(&name.as_str())))
    }

    /// Whether that was noted long enough ago; notes it, when it was not.
    fn is_gone_for_long(&self, path: &Path) -> Result<bool, SweepError> {
        let note = path.join(NOTE);
        let noted = match fs::symlink_metadata(&note).and_then(|found| found.modified()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            found => Some(found.map_err(failed(&note))?),
        };
        let Some(noted) = noted else {
            if !self.dry_run {
                OpenOptions::new().write(true).create_new(true).open(&note).map_err(failed(&note))?;
            }
            return Ok(false);
        };
        Ok(SystemTime::now().duration_since(noted).is_ok_and(|age| age > GRACE))
    }

    fn forget_note(&self, path: &Path) -> Result<(), SweepError> {
        let note = path.join(NOTE);
        if self.dry_run || !note.exists() {
            return Ok(());
        }
        fs::remove_file(&note).map_err(failed(&note))
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> SweepError {
    let path: PathBuf = path.to_owned();
    move |cause| SweepError::Note { path, cause }
}
