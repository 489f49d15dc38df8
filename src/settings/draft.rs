//! Settings as somebody wrote them: every one optional. A file, a variable and a flag become the same kind of draft,
//! and one laid over the other gives what counts.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use serde::de::{Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::model::{ByteSize, HttpsHost, Period, Secret};

/// A value read from any plain YAML scalar by its type's own reading of text, so that a file (`port: 2222`) and a
/// variable (`PAAS_SSH_PORT=2222`) meet the same check.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub(super) struct Scalar<T>(pub(super) T);

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Scalar<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text<T>(std::marker::PhantomData<T>);
        impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for Text<T> {
            type Value = Scalar<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a single value")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Scalar<T>, E> {
                text.parse().map(Scalar).map_err(|why| E::custom(Reason { text, why }))
            }
            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Scalar<T>, E> {
                self.visit_str(&number.to_string())
            }
            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Scalar<T>, E> {
                self.visit_str(&number.to_string())
            }
            fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Scalar<T>, E> {
                self.visit_str(&number.to_string())
            }
            fn visit_bool<E: serde::de::Error>(self, truth: bool) -> Result<Scalar<T>, E> {
                self.visit_str(&truth.to_string())
            }
        }
        deserializer.deserialize_any(Text(std::marker::PhantomData))
    }
}

/// Several values: a list of YAML, or one text, as a variable has it, with spaces or commas between them.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub(super) struct List<T>(pub(super) Vec<T>);

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<T>(std::marker::PhantomData<T>);
        impl<'de, T: FromStr<Err: fmt::Display>> Visitor<'de> for Items<T> {
            type Value = List<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of values")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<List<T>, E> {
                let words = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty());
                let read = |text: &str| text.parse().map_err(|why| E::custom(Reason { text, why }));
                words.map(read).collect::<Result<_, E>>().map(List)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<List<T>, A::Error> {
                let mut all = Vec::new();
                while let Some(Scalar(item)) = items.next_element()? {
                    all.push(item);
                }
                Ok(List(all))
            }
        }
        deserializer.deserialize_any(Items(std::marker::PhantomData))
    }
}

/// Why a text is no value of its type; names the text unless the reason does already.
struct Reason<'a, E> {
    text: &'a str,
    why: E,
}

impl<E: fmt::Display> fmt::Display for Reason<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = self.why.to_string();
        if why.contains(self.text) && !self.text.is_empty() {
            f.write_str(&why)
        } else {
            write!(f, "`{}`: {why}", self.text)
        }
    }
}

/// A section of the file: its struct, the names of its keys, and how one draft of it is laid over another. What is a list
/// stands in braces of its own.
macro_rules! section {
    ($name:ident { $($field:ident: $type:ty),* $(,)? } $({ $($list:ident: $item:ty),* $(,)? })?) => {
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub(super) struct $name {
            $(#[serde(skip_serializing_if = "Option::is_none")] pub(super) $field: Option<Scalar<$type>>,)*
            $($(#[serde(skip_serializing_if = "Option::is_none")] pub(super) $list: Option<List<$item>>,)*)?
        }
        impl $name {
            const KEYS: &[&str] = &[$(stringify!($field),)* $($(stringify!($list),)*)?];
            fn over(self, below: Self) -> Self {
                Self { $($field: self.$field.or(below.$field),)* $($($list: self.$list.or(below.$list),)*)? }
            }
        }
    };
}

section!(Docker { socket: PathBuf });
section!(Ssh { server: SshServer, config: PathBuf, listen: IpAddr, port: u16, host: Host, newcomers: bool });
section!(Engine { listen: IpAddr, port: u16, address: IpAddr, ports: PortRange });
section!(Marathon { url: String, credentials: Secret });
section!(Build {
    image: String,
    ca_bundle: PathBuf,
    timeout: Period,
    memory: ByteSize,
    cpus: Shares,
    processes: u32,
    disk: ByteSize,
} {
    submodule_hosts: HttpsHost,
});
section!(Builds { parallel: NonZeroU32 });
section!(Limits { pack: ByteSize, files: u64, unpacked: ByteSize, free: ByteSize });
section!(Deploy { deadline: Period, settle: Period, retries: u32, patience: Period });
section!(Keep { slugs: u32, builds: u32, build_age: Period, every: Period });

/// True for a section in which nothing is set.
fn is_unset<T: Default + PartialEq>(section: &T) -> bool {
    *section == T::default()
}

/// A whole draft: single settings and sections of them.
macro_rules! draft {
    (singles { $($single:ident: $type:ty),* $(,)? } sections { $($section:ident: $kind:ty),* $(,)? }) => {
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub(super) struct Draft {
            $(#[serde(skip_serializing_if = "Option::is_none")] pub(super) $single: Option<Scalar<$type>>,)*
            $(#[serde(skip_serializing_if = "is_unset")] pub(super) $section: $kind,)*
        }
        impl Draft {
            /// What is set here, and below it what only `below` sets.
            pub(super) fn over(self, below: Self) -> Self {
                Self { $($single: self.$single.or(below.$single),)* $($section: self.$section.over(below.$section),)* }
            }
            /// Every setting's place: the names that lead to it.
            pub(super) fn places() -> Vec<Place> {
                let mut places = vec![$(Place { section: None, key: stringify!($single) }),*];
                $(places.extend(<$kind>::KEYS.iter().map(|key| Place { section: Some(stringify!($section)), key }));)*
                places
            }
        }
    };
}

draft! {
    singles { user: AccountName, registry: Registry, registry_credentials: Secret }
    sections { docker: Docker, ssh: Ssh, engine: Engine, marathon: Marathon, build: Build, builds: Builds, limits: Limits, deploy: Deploy, keep: Keep }
}

impl Draft {
    /// Reads a file. An empty one, or one of comments alone, sets nothing.
    pub(super) fn read(text: &str) -> Result<Self, serde_yaml::Error> {
        if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
            return Ok(Self::default());
        }
        serde_yaml::from_str(text)
    }
}

/// Where a setting stands in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    section: Option<&'static str>,
    key: &'static str,
}

impl Place {
    #[cfg(test)]
    pub(super) fn key(&self) -> &'static str {
        self.key
    }

    /// The variable that overrides it: `ssh: {port}` is `PAAS_SSH_PORT`.
    pub(super) fn variable(&self) -> String {
        let words: Vec<String> =
            ["paas"].into_iter().chain(self.section).chain([self.key]).map(str::to_ascii_uppercase).collect();
        words.join("_")
    }

    /// A draft in which only this is set, to `text`.
    pub(super) fn draft(&self, text: &str) -> Result<Draft, serde_yaml::Error> {
        let single = |key: &str, value| serde_yaml::Value::Mapping([(key.into(), value)].into_iter().collect());
        let value = single(self.key, text.into());
        Draft::deserialize(match self.section {
            None => value,
            Some(section) => single(section, value),
        })
    }
}

/// A name of a Unix account, as `useradd` takes it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct AccountName(pub(super) String);

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for AccountName {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let first = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
        let rest = text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-'));
        // 32 bytes is Linux' own limit.
        if first && rest && text.len() <= 32 {
            Ok(Self(text.to_owned()))
        } else {
            Err("an account's name is at most 32 of a-z, 0-9, `_` and `-`, beginning with a letter")
        }
    }
}

/// Whose sshd people come in by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SshServer {
    /// One that `paas up` starts, with a configuration of its own.
    Own,
    /// The host's, with the drop-in of `paas install`.
    Host,
}

impl FromStr for SshServer {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "own" => Ok(Self::Own),
            "host" => Ok(Self::Host),
            _ => Err("it is `own`, an sshd that `paas up` starts, or `host`, the sshd that `paas install` set up"),
        }
    }
}

/// A host's name or address, as it stands in a URL.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub(super) struct Host(pub(super) String);

impl FromStr for Host {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '_');
        if !text.is_empty() && !text.starts_with('-') && text.chars().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err("a host is a name or an address, without scheme, user or path")
        }
    }
}

/// `host[:port]` of a registry; a scheme before it and a slash after it are forgiven, as people copy URLs.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub(super) struct Registry(pub(super) String);

impl FromStr for Registry {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bare = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
        match Host::from_str(bare.trim_end_matches('/')) {
            Ok(Host(host)) => Ok(Self(host)),
            Err(_) => Err("a registry is `host` or `host:port`; credentials go into `registry_credentials`"),
        }
    }
}

/// Ports, first and last, written `31000-32999`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PortRange(pub(super) RangeInclusive<u16>);

impl FromStr for PortRange {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (first, last) = text.split_once('-').ok_or("ports are written `first-last`, such as `31000-32999`")?;
        match (first.trim().parse::<u16>(), last.trim().parse::<u16>()) {
            (Ok(first), Ok(last)) if 0 < first && first <= last => Ok(Self(first..=last)),
            _ => Err("ports are two numbers from 1 to 65535, the smaller one first"),
        }
    }
}

impl Serialize for PortRange {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}-{}", self.0.start(), self.0.end()))
    }
}

/// Shares of CPUs: more than none.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(transparent)]
pub(super) struct Shares(pub(super) f64);

impl FromStr for Shares {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse::<f64>() {
            Ok(shares) if shares.is_finite() && shares > 0.0 => Ok(Self(shares)),
            _ => Err("shares of CPUs are a number above 0, such as 0.5"),
        }
    }
}
