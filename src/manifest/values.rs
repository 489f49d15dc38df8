//! The values of `paas.yml`, and what each may be.

use std::fmt;
use std::str::FromStr;

use super::Builder;
use super::yaml::{none_of, quoted};
use crate::model::Period;

/// Longest command and longest value of a variable, in bytes: Linux gives one argument 128 KiB.
const MAX_TEXT_BYTES: usize = 128 << 10;
/// Longest text that a message quotes, in characters.
const MAX_QUOTED: usize = 60;

/// Why a text is no domain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no domain; one looks like `shop.example.org`")]
pub struct InvalidDomain(String);

/// The name of a host, in lower case: labels with dots between them. Load balancers read it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Domain(String);

impl Domain {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl FromStr for Domain {
    type Err = InvalidDomain;
    fn from_str(text: &str) -> Result<Self, InvalidDomain> {
        let name = text.to_ascii_lowercase();
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if name.len() <= 253 && name.split('.').all(is_label) {
            Ok(Self(name))
        } else {
            Err(InvalidDomain(quoted(text, MAX_QUOTED)))
        }
    }
}
impl From<Domain> for String {
    fn from(domain: Domain) -> Self {
        domain.0
    }
}
impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

const OPERATORS: &[&str] = &["UNIQUE", "CLUSTER", "GROUP_BY", "LIKE", "UNLIKE", "MAX_PER", "IS"];

/// Why a list is no constraint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConstraint {
    #[error("a constraint has two or three parts, such as [hostname, UNIQUE]; this one has {parts}")]
    Parts { parts: usize },
    #[error("{0}")]
    Operator(String),
}

/// Where instances may run: field, operator and perhaps a value, as Marathon reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constraint(Vec<String>);

impl TryFrom<Vec<String>> for Constraint {
    type Error = InvalidConstraint;
    fn try_from(parts: Vec<String>) -> Result<Self, InvalidConstraint> {
        match parts.as_slice() {
            [_, operator] | [_, operator, _] if OPERATORS.contains(&operator.as_str()) => Ok(Self(parts)),
            [_, operator] | [_, operator, _] => {
                Err(InvalidConstraint::Operator(none_of("unknown operator", operator, OPERATORS)))
            }
            _ => Err(InvalidConstraint::Parts { parts: parts.len() }),
        }
    }
}
impl From<Constraint> for Vec<String> {
    fn from(constraint: Constraint) -> Self {
        constraint.0
    }
}

/// A value that its own type reads.
pub(super) fn own<T: FromStr<Err: fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|why: T::Err| why.to_string())
}

/// A value of a variable: anything that a process can be given.
pub(super) fn variable_value(text: &str) -> Result<String, String> {
    if text.contains('\0') {
        return Err("a value may not hold a NUL".to_owned());
    }
    if text.len() > MAX_TEXT_BYTES {
        return Err(format!("the value is too long: {} bytes, at most {MAX_TEXT_BYTES}", text.len()));
    }
    Ok(text.to_owned())
}

/// A variable's name. It is a file's name in builds, so nothing else may stand in it.
pub(super) fn variable_name(text: &str) -> Result<String, String> {
    let good = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !text.is_empty()
        && text.len() <= 255
        && !text.starts_with(|c: char| c.is_ascii_digit());
    if good {
        Ok(text.to_owned())
    } else {
        let shown = quoted(text, MAX_QUOTED);
        Err(format!("`{shown}` is no variable's name; use A-Z, a-z, 0-9 and `_`, beginning with no digit"))
    }
}

/// A command for the shell in the app's own container.
pub(super) fn command(text: &str) -> Result<String, String> {
    let text = variable_value(text)?;
    if text.trim().is_empty() { Err("the command is empty".to_owned()) } else { Ok(text) }
}

pub(super) fn builder(text: &str) -> Result<Builder, String> {
    match text {
        "buildstep" => Ok(Builder::Buildstep),
        "dockerfile" => Ok(Builder::Dockerfile),
        _ => Err(none_of("there is no builder", text, &["buildstep", "dockerfile"])),
    }
}

/// One line, no option: the builder hands it to git.
pub(super) fn buildpack(text: &str) -> Result<String, String> {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme).unwrap_or_default();
    let plain = !text.contains(|c: char| c.is_whitespace() || c.is_control()) && text.len() <= 2048;
    if plain && !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+') {
        Ok(text.to_owned())
    } else {
        let shown = quoted(text, MAX_QUOTED);
        Err(format!("`{shown}` is no buildpack; one looks like `https://example.org/buildpack.git#v3`"))
    }
}

/// The path of a file of the tree, from its root.
pub(super) fn file_in_tree(text: &str) -> Result<String, String> {
    let is_name = |part: &str| !matches!(part, "" | "." | "..");
    let plain = text.len() <= 1024 && !text.contains(|c: char| c.is_control());
    if plain && text.split('/').all(is_name) {
        Ok(text.to_owned())
    } else {
        let shown = quoted(text, MAX_QUOTED);
        Err(format!("`{shown}` is no path in the repository; one looks like `docker/Dockerfile`"))
    }
}

/// The name of a Dockerfile's stage, or its number.
pub(super) fn stage(text: &str) -> Result<String, String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if (1..=255).contains(&text.len()) && text.bytes().all(plain) {
        Ok(text.to_owned())
    } else {
        Err(format!("`{}` is no name of a stage; one looks like `prod`", quoted(text, MAX_QUOTED)))
    }
}

pub(super) fn count(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("`{}` is no whole number from 0", quoted(text, MAX_QUOTED)))
}

pub(super) fn at_least_one(text: &str) -> Result<u32, String> {
    count(text)
        .ok()
        .filter(|number| *number > 0)
        .ok_or_else(|| format!("`{}` is no whole number from 1", quoted(text, MAX_QUOTED)))
}

/// The upper end keeps arithmetic on it exact; a quota is for others to set.
pub(super) fn cpus(text: &str) -> Result<f64, String> {
    let number: Option<f64> = text.parse().ok().filter(|number| *number > 0.0 && *number <= 10_000.0);
    number.ok_or_else(|| format!("`{}` is no number of CPUs; one looks like `0.5` or `2`", quoted(text, MAX_QUOTED)))
}

/// Docker gives no container less than 6 MiB; the upper end is 16 TiB.
pub(super) fn mebibytes(text: &str) -> Result<u64, String> {
    text.parse().ok().filter(|number| (6..=16 << 20).contains(number)).ok_or_else(|| {
        format!(
            "`{}` is no amount of memory; give a whole number of MiB from 6, such as `256`",
            quoted(text, MAX_QUOTED)
        )
    })
}

/// Marathon counts in whole seconds.
pub(super) fn seconds(text: &str) -> Result<Period, String> {
    let period: Period = own(text)?;
    if period.get().subsec_nanos() == 0 { Ok(period) } else { Err(format!("`{period}` is not in whole seconds")) }
}

pub(super) fn some_seconds(text: &str) -> Result<Period, String> {
    let period = seconds(text)?;
    if period.get().is_zero() { Err("it has to be at least `1s`".to_owned()) } else { Ok(period) }
}

/// A path for a request's first line.
pub(super) fn path(text: &str) -> Result<String, String> {
    let plain = text.bytes().all(|b| b.is_ascii_graphic()) && text.len() <= 2048;
    if plain && text.starts_with('/') {
        Ok(text.to_owned())
    } else {
        Err(format!("`{}` is no path; one looks like `/healthz`", quoted(text, MAX_QUOTED)))
    }
}
