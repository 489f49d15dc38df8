//! What a `paas` on a laptop tells the host of itself, with each command: its version, and how its user watches.

use std::fmt;
use std::str::FromStr;

use crate::ui::Viewer;

/// The two numbers of which a change means that commands or answers may not be understood any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    major: u32,
    minor: u32,
}

/// This program's.
const OURS: &str = env!("CARGO_PKG_VERSION");

impl Version {
    pub(super) fn ours() -> Self {
        OURS.parse().expect("the version of this package is one")
    }
    /// Whether one side's commands are the other's: before 1.0 each minor version may change them, and a host a version
    /// ahead is what an upgrade looks like.
    fn understands(self, host: Self) -> bool {
        let near = |one: u32, other: u32| one.abs_diff(other) <= 1;
        self.major == host.major && (self.major > 0 || near(self.minor, host.minor))
    }
}

impl FromStr for Version {
    type Err = InvalidClient;
    fn from_str(text: &str) -> Result<Self, InvalidClient> {
        let mut numbers = text.split(['.', '-']);
        let mut next = || numbers.next().and_then(|number| number.parse().ok()).ok_or(InvalidClient);
        Ok(Self { major: next()?, minor: next()? })
    }
}
impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The text is not what a client tells of itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`--client` is what `paas` tells of itself to its host: VERSION[,columns=N][,ask]")]
pub(super) struct InvalidClient;

/// The other side's version is too far from ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this host runs paas {host}, and the command came from paas {client}: they do not understand each other")]
pub(super) struct TooFarApart {
    host: Version,
    client: Version,
}

impl TooFarApart {
    pub(super) fn advice(&self) -> String {
        let (older, where_it_is) =
            if self.client < self.host { (self.client, "here") } else { (self.host, "on the host") };
        format!("bring the older one up to date: {older}, {where_it_is}; `ssh … COMMAND` works without any")
    }
}

/// The one who sent a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Client {
    version: Version,
    /// Width of the terminal where the narrative goes; none when that is no terminal.
    columns: Option<u16>,
    /// Somebody can be asked.
    asks: bool,
}

impl Client {
    pub(super) fn of_viewer(viewer: Viewer) -> Self {
        Self { version: Version::ours(), columns: viewer.columns, asks: viewer.can_ask }
    }

    /// How its user watches this.
    pub(super) fn viewer(self) -> Viewer {
        Viewer { columns: self.columns, can_ask: self.asks }
    }

    /// A refusal when it would not understand what is answered.
    pub(super) fn check(self) -> Result<(), TooFarApart> {
        let (host, client) = (Version::ours(), self.version);
        if client.understands(host) { Ok(()) } else { Err(TooFarApart { host, client }) }
    }
}

impl FromStr for Client {
    type Err = InvalidClient;
    fn from_str(text: &str) -> Result<Self, InvalidClient> {
        let mut parts = text.split(',');
        let version = parts.next().unwrap_or_default().parse()?;
        let mut client = Self { version, columns: None, asks: false };
        for part in parts {
            match part.split_once('=') {
                Some(("columns", number)) => client.columns = Some(number.parse().map_err(|_| InvalidClient)?),
                None if part == "ask" => client.asks = true,
                // What a newer client tells besides is for newer hosts.
                _ => {}
            }
        }
        Ok(client)
    }
}
impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.version)?;
        self.columns.map_or(Ok(()), |columns| write!(f, ",columns={columns}"))?;
        if self.asks { f.write_str(",ask") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn what_a_client_tells_is_read_as_it_was_meant() {
        for client in [
            Client { version: version("0.1.0"), columns: Some(120), asks: true },
            Client { version: version("12.3"), columns: None, asks: false },
        ] {
            assert_eq!(client.to_string().parse(), Ok(client));
        }
        assert!("0.1,colour=yes,ask".parse::<Client>().unwrap().viewer().can_ask);
        for bad in ["", "x", "1", "0.1,columns=x", "0.1,columns=-1"] {
            assert!(bad.parse::<Client>().is_err(), "{bad}");
        }
    }

    #[test]
    fn neighbours_understand_each_other_and_strangers_do_not() {
        let understands = |client: &str, host: &str| version(client).understands(version(host));
        assert!(understands("0.1", "0.1") && understands("0.1", "0.2") && understands("0.2", "0.1"));
        assert!(!understands("0.1", "0.3") && !understands("0.9", "1.0") && !understands("2.0", "1.9"));
        assert!(understands("1.0", "1.9"));
    }
}
