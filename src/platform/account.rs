//! The account that owns repositories and runs the engine: the system user under root, else the user who started us.

use std::path::{Path, PathBuf};

use super::tool::{self, ToolError};
use crate::settings::Settings;

/// A user of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    pub home: PathBuf,
}

/// Why there is no account to run as.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    #[error("the user `{name}` belongs to something else: its home is {found}, not {wanted}", found = .found.display(), wanted = .wanted.display())]
    Foreign { name: String, found: PathBuf, wanted: PathBuf },
    #[error("the platform cannot serve as `{0}`: that user may do anything on this machine")]
    TooMighty(String),
    #[error("the user `{name}` could not be set up")]
    NotSetUp {
        name: String,
        #[source]
        cause: ToolError,
    },
    #[error("this user has no name that this machine knows (number {0})")]
    Nameless(u32),
}

impl Account {
    /// A line of the user database: name, password's place, numbers, a comment, home, shell.
    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.trim_end().split(':').collect();
        let [name, _, uid, gid, _, home, _] = fields[..] else { return None };
        Some(Self { name: name.to_owned(), uid: uid.parse().ok()?, gid: gid.parse().ok()?, home: home.into() })
    }

    /// The account with that name or number; the tool fails when there is none.
    pub(super) async fn find(key: &str) -> Option<Self> {
        Self::parse(&tool::run("getent", ["passwd", "--", key]).await.ok()?)
    }

    /// Who runs this process.
    pub(super) async fn current() -> Result<Self, AccountError> {
        let uid = rustix::process::geteuid().as_raw();
        Self::find(&uid.to_string()).await.ok_or(AccountError::Nameless(uid))
    }

    /// The system user of the platform in `home`, if it is there and belongs to it.
    pub(super) async fn existing(name: &str, home: &Path) -> Result<Option<Self>, AccountError> {
        match Self::find(name).await {
            None => Ok(None),
            Some(account) if account.uid == 0 => Err(AccountError::TooMighty(account.name)),
            Some(account) if account.home == home => Ok(Some(account)),
            Some(account) => {
                Err(AccountError::Foreign { name: account.name, found: account.home, wanted: home.to_owned() })
            }
        }
    }

    /// Makes the system user unless it is there: for sshd not locked, though no password opens it, and in the group
    /// that may use Docker's socket.
    pub(super) async fn ensure(name: &str, home: &Path, docker_group: u32) -> Result<Self, AccountError> {
        if Self::existing(name, home).await?.is_none() {
            set_up(name, "useradd", &creation(name, home)).await?;
        }
        if is_locked(name).await {
            set_up(name, "usermod", &["--password", "*", "--shell", "/bin/sh", "--", name].map(str::to_owned)).await?;
        }
        if !groups(name).await?.contains(&docker_group) {
            let group = docker_group.to_string();
            let group = tool::run("getent", ["group", "--", &group]).await.map_err(|cause| not_set_up(name, cause))?;
            let group = group.split(':').next().unwrap_or_default();
            set_up(name, "usermod", &["--append", "--groups", group, "--", name].map(str::to_owned)).await?;
        }
        let made = Self::existing(name, home).await?;
        Ok(made.expect("useradd has just made it"))
    }
}

/// The name by which people's ssh asks for the platform of this home: its user's.
pub async fn account_name(settings: &Settings) -> String {
    use std::os::unix::fs::MetadataExt as _;
    let owner = std::fs::metadata(settings.home.path()).map_or(0, |home| home.uid());
    let found = if owner == 0 { None } else { Account::find(&owner.to_string()).await };
    found.map_or_else(|| settings.user.clone(), |account| account.name)
}

/// An account made by `useradd` has `!` in the password's place, which sshd without PAM takes for locked.
async fn is_locked(name: &str) -> bool {
    let entry = tool::run("getent", ["shadow", "--", name]).await.unwrap_or_default();
    entry.split(':').nth(1).is_none_or(|password| password.starts_with('!'))
}

async fn groups(name: &str) -> Result<Vec<u32>, AccountError> {
    let listed = tool::run("id", ["-G", "--", name]).await.map_err(|cause| not_set_up(name, cause))?;
    Ok(listed.split_whitespace().filter_map(|number| number.parse().ok()).collect())
}

/// What `useradd` is told.
fn creation(name: &str, home: &Path) -> Vec<String> {
    let home = home.display().to_string();
    ["--system", "--user-group", "--no-create-home", "--shell", "/bin/sh", "--home-dir", &home, "--", name]
        .map(str::to_owned)
        .to_vec()
}

async fn set_up(name: &str, program: &str, arguments: &[String]) -> Result<(), AccountError> {
    tool::run(program, arguments).await.map(|_| ()).map_err(|cause| not_set_up(name, cause))
}

fn not_set_up(name: &str, cause: ToolError) -> AccountError {
    AccountError::NotSetUp { name: name.to_owned(), cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_user_database_is_an_account() {
        let paas = Account::parse("paas:x:998:997::/var/lib/paas:/bin/sh\n").unwrap();
        assert_eq!((paas.name.as_str(), paas.uid, paas.gid), ("paas", 998, 997));
        assert_eq!(paas.home, Path::new("/var/lib/paas"));
        assert_eq!(Account::parse("paas:x:998"), None);
    }

    #[tokio::test]
    async fn root_and_other_peoples_accounts_are_never_taken() {
        let home = Path::new("/var/lib/paas");
        assert!(matches!(Account::existing("root", home).await, Err(AccountError::TooMighty(_))));
        assert!(matches!(Account::existing("nobody", home).await, Err(AccountError::Foreign { .. })));
        assert_eq!(Account::existing("no-such-user-here", home).await.unwrap(), None);
    }

    #[tokio::test]
    async fn this_process_runs_as_somebody() {
        assert_eq!(Account::current().await.unwrap().uid, rustix::process::geteuid().as_raw());
    }
}
