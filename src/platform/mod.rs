//! The one-machine platform as processes: the system user, directories, the root engine and sshd, and who watches them.
//!
//! A cluster needs none of this: there the store, Marathon and sshd are somebody else's processes.

mod account;
mod down;
mod install;
mod layout;
mod port;
mod preflight;
mod presence;
mod process;
mod remains;
mod root_engine;
mod service;
mod sessions;
mod sshd;
mod status;
mod tool;
mod up;

use std::path::{Path, PathBuf};

pub use account::{Account, AccountError, account_name};
pub use down::{Down, DownError};
pub use install::{Did, Idle, InstallError, Installation, Installed, KeysBy, Step, Uninstalled, WhyClosed, uninstall};
pub use layout::{LayoutError, log_file};
pub use preflight::{GitVersion, Part, Problem};
pub use process::Process;
pub use remains::{RemainsError, remove_remains};
pub use service::{Happening, ServiceError};
pub use sessions::end_sessions;
pub use sshd::SshdError;
pub use status::{PartStatus, Status};
pub use tool::ToolError;
pub use up::{News, UpError, run};

use crate::settings::Home;

/// Our two programs, which the platform starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    pub paas: PathBuf,
    pub receive: PathBuf,
}

impl Programs {
    pub fn in_directory(directory: &Path) -> Self {
        Self { paas: directory.join("paas"), receive: directory.join("paas-receive") }
    }

    /// This program, whichever of the two it is, and the other one beside it.
    pub fn of_process() -> std::io::Result<Self> {
        let this = std::env::current_exe()?;
        Ok(Self { paas: this.with_file_name("paas"), receive: this.with_file_name("paas-receive") })
    }
}

/// The `paas up` that serves this home now, if one does.
pub fn serving(home: &Home) -> std::io::Result<Option<Process>> {
    presence::serving(home)
}
