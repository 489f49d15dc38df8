//! A host as it stands in an `https://` address.

use std::fmt;
use std::str::FromStr;

/// The text is no host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a host is a name or an IPv4 address, perhaps with a port, such as `git.example.org` or `git.example.org:8443`"
)]
pub struct InvalidHttpsHost;

/// A host's name in lower case, and the port it is spoken to at. Two that are equal are the same place.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HttpsHost {
    name: String,
    port: u16,
}

impl HttpsHost {
    /// What `https://` means when it says no port.
    const PORT: u16 = 443;
}
impl FromStr for HttpsHost {
    type Err = InvalidHttpsHost;
    fn from_str(text: &str) -> Result<Self, InvalidHttpsHost> {
        let (name, port) = match text.split_once(':') {
            Some((name, port)) => (name, port_number(port).ok_or(InvalidHttpsHost)?),
            None => (text, Self::PORT),
        };
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if name.len() <= 253 && name.split('.').all(is_label) {
            Ok(Self { name: name.to_ascii_lowercase(), port })
        } else {
            Err(InvalidHttpsHost)
        }
    }
}

/// Digits alone: a sign is none.
fn port_number(text: &str) -> Option<u16> {
    let is_number = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|port| is_number && *port > 0)
}

impl fmt::Display for HttpsHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Self::PORT => f.write_str(&self.name),
            port => write!(f, "{}:{port}", self.name),
        }
    }
}
impl serde::Serialize for HttpsHost {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_place_is_the_same_host_however_it_is_written() {
        let host = |text: &str| text.parse::<HttpsHost>().unwrap();
        assert_eq!(host("Git.Example.org:443"), host("git.example.org"));
        assert_ne!(host("git.example.org:8443"), host("git.example.org"));
        assert_eq!(host("10.0.0.1:8443").to_string(), "10.0.0.1:8443");
        assert_eq!(host("git.example.org:443").to_string(), "git.example.org");
    }

    #[test]
    fn nothing_but_a_host_is_one() {
        for bad in [
            "",
            ".",
            "a..b",
            "-a",
            "a-",
            "a b",
            "a/b",
            "user@a",
            "https://a",
            "a:",
            "a:0",
            "a:+1",
            "a:70000",
            "a:1:2",
            "a\\b",
            "[::1]",
            "a%2e",
            "dürr",
            "a\n",
        ] {
            assert_eq!(bad.parse::<HttpsHost>(), Err(InvalidHttpsHost), "{bad:?}");
        }
    }
}
