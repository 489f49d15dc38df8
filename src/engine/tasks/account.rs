//! Users of this machine that commands run as.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;

use super::super::instance::TaskId;
use super::Sandboxes;
use crate::marathon::App;

/// Becomes another user, with that user's groups, and then the program; part of every Debian.
const SETPRIV: &str = "/usr/bin/setpriv";

/// Why a command cannot run as the user it is to run as.
#[derive(Debug, thiserror::Error)]
pub(super) enum AccountError {
    #[error("this machine has no user `{0}` in /etc/passwd")]
    Unknown(String),
    #[error("cannot run as the user `{0}`: the engine is not root")]
    NotRoot(String),
    #[error("cannot look users up in /etc/passwd: {0}")]
    Unreadable(#[source] io::Error),
}

/// A line of `/etc/passwd`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Account {
    /// The user that an app's commands run as; none when that is the engine's own.
    pub(super) fn of(app: &App) -> Result<Option<Self>, AccountError> {
        let Some(name) = &app.user else { return Ok(None) };
        let passwd = std::fs::read_to_string("/etc/passwd").map_err(AccountError::Unreadable)?;
        let account = Self::find(name, &passwd).ok_or_else(|| AccountError::Unknown(name.clone()))?;
        let own = rustix::process::geteuid();
        if account.uid == own.as_raw() {
            Ok(None)
        } else if own.is_root() {
            Ok(Some(account))
        } else {
            Err(AccountError::NotRoot(name.clone()))
        }
    }

    fn find(name: &str, passwd: &str) -> Option<Self> {
        passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            if fields.next() != Some(name) {
                return None;
            }
            Some(Self { uid: fields.nth(1)?.parse().ok()?, gid: fields.next()?.parse().ok()? })
        })
    }

    /// What stands before a program's name so that it runs as this user.
    pub(super) fn prefix(self) -> Vec<String> {
        let (uid, gid) = (format!("--reuid={}", self.uid), format!("--regid={}", self.gid));
        vec![SETPRIV.to_owned(), uid, gid, "--init-groups".to_owned(), "--".to_owned()]
    }

    /// Lets the user get to the task's sandbox by its path, and see nothing on the way there.
    pub(super) fn let_in(self, sandboxes: &Sandboxes, task: &TaskId) -> io::Result<()> {
        let directory = sandboxes.directory(task);
        for above in directory.ancestors().skip(1).take(2) {
            let mode = above.metadata()?.permissions().mode();
            std::fs::set_permissions(above, Permissions::from_mode(mode & 0o7777 | 0o011))?;
        }
        std::os::unix::fs::chown(&directory, None, Some(self.gid))?;
        std::fs::set_permissions(&directory, Permissions::from_mode(0o710))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nweb:x:1001:1002:,,,:/home/web:/bin/sh\nbroken:x:a:b\n";
        assert_eq!(Account::find("web", passwd), Some(Account { uid: 1001, gid: 1002 }));
        for missing in ["we", "", "broken", "nobody"] {
            assert_eq!(Account::find(missing, passwd), None, "{missing}");
        }
    }
}
