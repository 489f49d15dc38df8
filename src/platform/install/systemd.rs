//! The services of this machine, where systemd runs them.

use std::path::Path;

use super::{InstallError, unit};
use crate::platform::tool;

/// systemd makes this directory when it is the first process; its own way to tell.
const RUNS: &str = "/run/systemd/system";

/// sshd's unit, as Debian and as others call it.
const SSHD: [&str; 2] = ["ssh.service", "sshd.service"];

/// Who starts services here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Services {
    Systemd,
    /// Something else, or they are not of this machine's own root directory: somebody's hand.
    ByHand,
}

impl Services {
    pub(super) fn of(root: &Path) -> Self {
        if root == Path::new("/") && Path::new(RUNS).is_dir() && tool::find("systemctl").is_some() {
            Self::Systemd
        } else {
            Self::ByHand
        }
    }
}

async fn systemctl<const N: usize>(arguments: [&str; N]) -> Result<(), InstallError> {
    tool::run("systemctl", arguments).await.map(|_| ()).map_err(InstallError::Systemd)
}

/// Of states that systemd tells by the exit status.
async fn is<const N: usize>(arguments: [&str; N]) -> bool {
    tool::run("systemctl", arguments).await.is_ok()
}

pub(super) async fn starts_at_boot() -> bool {
    is(["is-enabled", "--quiet", unit::NAME]).await
}

pub(super) async fn runs() -> bool {
    is(["is-active", "--quiet", unit::NAME]).await
}

/// Reads the unit, and lets it start at boot.
pub(super) async fn enable() -> Result<(), InstallError> {
    systemctl(["daemon-reload"]).await?;
    systemctl(["enable", "--quiet", unit::NAME]).await
}

pub(super) async fn start() -> Result<(), InstallError> {
    systemctl(["start", unit::NAME]).await
}

/// Ends it and lets it start no more.
pub(super) async fn disable() -> Result<(), InstallError> {
    systemctl(["disable", "--now", "--quiet", unit::NAME]).await
}

/// Forgets a unit that is gone.
pub(super) async fn forget() -> Result<(), InstallError> {
    systemctl(["daemon-reload"]).await
}

/// Lets the running sshd read its configuration again; connections go on. One that does not run needs nothing.
pub(super) async fn reload_sshd() -> Result<(), InstallError> {
    for unit in SSHD {
        if is(["is-active", "--quiet", unit]).await {
            return systemctl(["reload", unit]).await;
        }
    }
    Ok(())
}
