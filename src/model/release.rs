//! A release's number.

use std::fmt;
use std::str::FromStr;

/// `v1`, `v2` …: counted per app, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct ReleaseNumber(u32);

/// The text is no release number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no release number; one looks like `v12` or `12`")]
pub struct InvalidReleaseNumber(String);

impl ReleaseNumber {
    pub const FIRST: Self = Self(1);

    pub const fn new(number: u32) -> Self {
        Self(number)
    }
    pub const fn get(self) -> u32 {
        self.0
    }
    /// The number after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}
impl FromStr for ReleaseNumber {
    type Err = InvalidReleaseNumber;
    fn from_str(text: &str) -> Result<Self, InvalidReleaseNumber> {
        let digits = text.strip_prefix('v').unwrap_or(text);
        match digits.parse() {
            Ok(number) if number > 0 && digits.bytes().all(|b| b.is_ascii_digit()) => Ok(Self(number)),
            _ => Err(InvalidReleaseNumber(text.chars().take(40).collect())),
        }
    }
}
impl fmt::Display for ReleaseNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_reads_with_or_without_its_v() {
        assert_eq!("v12".parse(), Ok(ReleaseNumber::new(12)));
        assert_eq!("12".parse(), Ok(ReleaseNumber::new(12)));
        for bad in ["", "v", "0", "-1", "+1", "v1.0"] {
            assert!(bad.parse::<ReleaseNumber>().is_err(), "{bad}");
        }
    }
}
