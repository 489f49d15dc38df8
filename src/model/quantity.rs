//! Amounts as people write them: `15m`, `512MiB`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The text is no amount of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no duration; one looks like `500ms`, `30s`, `15m` or `2h`")]
pub struct InvalidPeriod(String);

/// A length of time; never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Period(Duration);

impl Period {
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
    pub const fn get(self) -> Duration {
        self.0
    }
}
impl TryFrom<String> for Period {
    type Error = InvalidPeriod;
    fn try_from(text: String) -> Result<Self, InvalidPeriod> {
        let invalid = || InvalidPeriod(text.chars().take(40).collect());
        let span: jiff::SignedDuration = text.parse().map_err(|_| invalid())?;
        Duration::try_from(span).map(Self).map_err(|_| invalid())
    }
}
impl FromStr for Period {
    type Err = InvalidPeriod;
    fn from_str(text: &str) -> Result<Self, InvalidPeriod> {
        Self::try_from(text.to_owned())
    }
}
impl From<Period> for String {
    fn from(period: Period) -> Self {
        period.to_string()
    }
}
impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, milliseconds) = (self.0.as_secs(), self.0.subsec_millis());
        match (seconds, milliseconds) {
            (0, ms) => write!(f, "{ms}ms"),
            (s, 0) if s % 3600 == 0 => write!(f, "{}h", s / 3600),
            (s, 0) if s % 60 == 0 => write!(f, "{}m", s / 60),
            (s, 0) => write!(f, "{s}s"),
            (s, ms) => write!(f, "{s}s {ms}ms"),
        }
    }
}

/// The text is no amount of bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no size; one looks like `512MiB`, `2GiB` or a plain number of bytes")]
pub struct InvalidByteSize(String);

/// An amount of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ByteSize(u64);

/// Units, the largest first; K, M and G are read as their binary kin, as git and Docker do.
const UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

impl ByteSize {
    pub const fn mib(mebibytes: u64) -> Self {
        Self(mebibytes << 20)
    }
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }
    pub const fn get(self) -> u64 {
        self.0
    }
}
impl TryFrom<String> for ByteSize {
    type Error = InvalidByteSize;
    fn try_from(text: String) -> Result<Self, InvalidByteSize> {
        let invalid = || InvalidByteSize(text.chars().take(40).collect());
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, unit) = text.split_at(end);
        let factor = match unit.trim().to_ascii_uppercase().as_str() {
            "" | "B" => 1,
            "K" | "KIB" => 1 << 10,
            "M" | "MIB" => 1 << 20,
            "G" | "GIB" => 1 << 30,
            "T" | "TIB" => 1 << 40,
            _ => return Err(invalid()),
        };
        let number: u64 = digits.parse().map_err(|_| invalid())?;
        number.checked_mul(factor).map(Self).ok_or_else(invalid)
    }
}
impl FromStr for ByteSize {
    type Err = InvalidByteSize;
    fn from_str(text: &str) -> Result<Self, InvalidByteSize> {
        Self::try_from(text.to_owned())
    }
}
impl From<ByteSize> for String {
    fn from(size: ByteSize) -> Self {
        let exact = UNITS.iter().find(|(_, factor)| size.0 > 0 && size.0.is_multiple_of(*factor));
        exact.map_or_else(|| size.0.to_string(), |(unit, factor)| format!("{}{unit}", size.0 / factor))
    }
}
impl fmt::Display for ByteSize {
    /// For people: one decimal at most, such as `1.5 GiB`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().find(|(_, factor)| self.0 >= *factor) {
            None => write!(f, "{} B", self.0),
            Some((unit, factor)) => {
                let tenths = self.0 / (factor / 10).max(1);
                if tenths < 100 && !tenths.is_multiple_of(10) {
                    write!(f, "{}.{} {unit}", tenths / 10, tenths % 10)
                } else {
                    write!(f, "{} {unit}", self.0 / factor)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_reads_as_people_write_it() {
        for (text, seconds) in [("15m", 900), ("2s", 2), ("1h", 3600), ("1h 30m", 5400)] {
            assert_eq!(text.parse::<Period>().unwrap().get().as_secs(), seconds, "{text}");
        }
        for bad in ["", "15", "-1s", "soon"] {
            assert!(bad.parse::<Period>().is_err(), "{bad}");
        }
        assert_eq!(Period::from_secs(900).to_string(), "15m");
    }

    #[test]
    fn a_size_reads_as_people_write_it() {
        for (text, bytes) in [("512", 512), ("1KiB", 1024), ("2 MiB", 2 << 20), ("1g", 1 << 30)] {
            assert_eq!(text.parse::<ByteSize>().unwrap().get(), bytes, "{text}");
        }
        for bad in ["", "MiB", "-1", "1.5MiB", "99999999999999TiB"] {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad}");
        }
        assert_eq!(ByteSize::new(1536 << 20).to_string(), "1.5 GiB");
        assert_eq!(ByteSize::new(14 << 20).to_string(), "14 MiB");
        assert_eq!(String::from(ByteSize::mib(512)), "512MiB");
    }
}
