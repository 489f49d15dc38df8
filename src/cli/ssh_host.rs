//! A receive host as people name it, and the git remotes that lead to one.

use std::fmt;
use std::str::FromStr;

use crate::model::{AppName, TenantName};
use crate::settings::Settings;

/// Who the platform's account is when nobody says otherwise.
const ACCOUNT: &str = "paas";

const SSH_PORT: u16 = 22;

/// Where `ssh` connects to: a name that it may know from its own configuration, a port if that is another than ssh's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SshHost {
    user: String,
    host: String,
    port: Option<u16>,
}

/// The text names no host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no host; one is `[USER@]HOST[:PORT]` or `ssh://[USER@]HOST[:PORT]`, such as `paas.example.org:2222`")]
pub(super) struct InvalidHost(String);

impl SshHost {
    /// What stands before the command on ssh's command line.
    pub(super) fn arguments(&self) -> Vec<String> {
        let port = self.port.map(|port| ["-p".to_owned(), port.to_string()]);
        let user = ["-l".to_owned(), self.user.clone()];
        // Behind `--` nothing is an option, whatever it begins with.
        port.into_iter().flatten().chain(user).chain(["--".to_owned(), self.host.clone()]).collect()
    }

    /// As this machine's own platform is reached.
    pub(super) fn of_settings(settings: &Settings) -> Self {
        Self { user: ACCOUNT.to_owned(), host: settings.ssh.host.clone(), port: Some(settings.ssh.port) }
    }
    /// Whoever connects: the same program answers.
    pub(super) fn is_same_place(&self, other: &Self) -> bool {
        (&self.host, self.port.unwrap_or(SSH_PORT)) == (&other.host, other.port.unwrap_or(SSH_PORT))
    }

    /// The git remote of an app, or of a word that stands for one.
    pub(super) fn url(&self, tenant: &TenantName, app: &str) -> String {
        format!("ssh://{self}/{tenant}/{app}")
    }
}

impl FromStr for SshHost {
    type Err = InvalidHost;
    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        let invalid = || InvalidHost(text.chars().take(100).flat_map(char::escape_debug).collect());
        let rest = text.strip_prefix("ssh://").unwrap_or(text);
        let (user, place) = rest.rsplit_once('@').map_or((ACCOUNT, rest), |(user, place)| (user, place));
        let (host, port) = match place.strip_prefix('[') {
            Some(bracketed) => {
                let (host, after) = bracketed.split_once(']').ok_or_else(invalid)?;
                (host, after.strip_prefix(':').or_else(|| (!after.is_empty()).then_some(after)))
            }
            // More than one colon is an address of the newer kind.
            None if place.matches(':').count() > 1 => (place, None),
            None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
        };
        let port = port.map(str::parse).transpose().map_err(|_| invalid())?;
        let fits = |text: &str, more: &str| {
            !text.is_empty()
                && !text.starts_with('-')
                && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
        };
        if !fits(user, "._-") || !fits(host, "._-:%") || port == Some(0) {
            return Err(invalid());
        }
        Ok(Self { user: user.to_owned(), host: host.to_owned(), port })
    }
}

impl fmt::Display for SshHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, host, port } = self;
        if host.contains(':') {
            write!(f, "{user}@[{host}]")?;
        } else {
            write!(f, "{user}@{host}")?;
        }
        port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// A git remote that leads to an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AppRemote {
    pub(super) host: SshHost,
    pub(super) tenant: TenantName,
    pub(super) app: AppName,
}

impl AppRemote {
    /// Reads a URL such as `ssh://paas@host:2222/dev/shop`, or git's short form `paas@host:dev/shop`; none for one that
    /// leads to no app.
    pub(super) fn read(url: &str) -> Option<Self> {
        let (host, path) = match url.strip_prefix("ssh://") {
            Some(rest) => rest.split_once('/')?,
            None if url.contains("://") => return None,
            None => url.split_once(':')?,
        };
        let path = path.trim_matches('/');
        let (tenant, app) = path.strip_suffix(".git").unwrap_or(path).split_once('/')?;
        Some(Self { host: host.parse().ok()?, tenant: tenant.parse().ok()?, app: app.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_named_with_or_without_user_and_port() {
        for (text, read) in [
            ("example.org", "paas@example.org"),
            ("deploy@example.org:2222", "deploy@example.org:2222"),
            ("ssh://example.org:22", "paas@example.org:22"),
            ("[::1]:2222", "paas@[::1]:2222"),
            ("fe80::1%eth0", "paas@[fe80::1%eth0]"),
            ("127.0.0.1:2222", "paas@127.0.0.1:2222"),
        ] {
            assert_eq!(text.parse::<SshHost>().unwrap().to_string(), read, "{text}");
        }
        for bad in
            ["", "-oProxyCommand=x", "a b", "x:port", "x:0", "x:99999", "@x", "-x@y", "x/y", "[::1", "a\nb", "$(x)"]
        {
            assert!(bad.parse::<SshHost>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn no_host_is_an_option_of_ssh() {
        let host: SshHost = "example.org:2222".parse().unwrap();
        assert_eq!(host.arguments(), ["-p", "2222", "-l", "paas", "--", "example.org"]);
    }

    #[test]
    fn a_remote_names_host_tenant_and_app() {
        let remote = AppRemote::read("ssh://paas@[::1]:22/dev/shop").unwrap();
        assert_eq!(remote.host.url(&remote.tenant, remote.app.as_str()), "ssh://paas@[::1]:22/dev/shop");
        assert_eq!(AppRemote::read("paas@example.org:dev/shop.git").unwrap().host.to_string(), "paas@example.org");
        for other in ["https://example.org/dev/shop", "/srv/git/shop", "ssh://example.org/shop", "file:///dev/shop"] {
            assert_eq!(AppRemote::read(other), None, "{other}");
        }
    }
}
