//! The store, opened for a command.

use anyhow::Context as _;

use crate::accounts::authorized_keys::sync_authorized_keys;
use crate::settings::Settings;
use crate::store::{SqliteStore, StoreError};
use crate::ui::{Exit, Failure};

/// The platform's store, which is made if it is not there yet.
pub(super) fn open(settings: &Settings) -> anyhow::Result<SqliteStore> {
    SqliteStore::open(&settings.home.store()).map_err(explained)
}

/// The platform's store if there is one; for commands that ask and change nothing.
pub(super) fn open_existing(settings: &Settings) -> anyhow::Result<Option<SqliteStore>> {
    if SqliteStore::is_in(&settings.home.store()) { open(settings).map(Some) } else { Ok(None) }
}

/// Where sshd learns keys from a file, that file has what the store has now.
pub(super) async fn tell_sshd(settings: &Settings) -> anyhow::Result<()> {
    let Some(store) = open_existing(settings)? else { return Ok(()) };
    let told = sync_authorized_keys(&store, settings.home.path()).await;
    told.map(drop).context("it is done, but sshd's file of keys could not be brought up to date")
}

fn explained(error: StoreError) -> anyhow::Error {
    let advice = match &error {
        StoreError::TooNew { .. } => "install the newer `paas` again; this one changed nothing",
        StoreError::Open { cause, .. } if is_denied(&**cause) => {
            "run the command as the platform's user or as root, or name your own platform with `--home DIR`"
        }
        _ => return error.into(),
    };
    let what = error.to_string();
    let failure = Failure::new(Exit::Failed, what).advise(advice);
    match error {
        StoreError::Open { cause, .. } => failure.because(cause).into(),
        _ => failure.into(),
    }
}

fn is_denied(cause: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
}
