//! Marathon's timestamps: whole milliseconds in UTC, which are also the identity of a version.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The text is no point in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no ISO-8601 time with an offset")]
pub struct InvalidMoment(String);

/// A point in time, in milliseconds since 1970; shown as Marathon shows it, `2026-11-23T09:41:28.791Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Moment(i64);

impl Moment {
    pub fn from_millis(milliseconds: i64) -> Self {
        Self(milliseconds)
    }
    /// What the machine's clock says.
    pub fn now() -> Self {
        Self(jiff::Timestamp::now().as_millisecond())
    }
    /// The smallest step of this clock later.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }
    /// How long after `earlier`; nothing when it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl TryFrom<String> for Moment {
    type Error = InvalidMoment;
    fn try_from(text: String) -> Result<Self, InvalidMoment> {
        text.parse()
    }
}
impl std::str::FromStr for Moment {
    type Err = InvalidMoment;
    fn from_str(text: &str) -> Result<Self, InvalidMoment> {
        text.parse::<jiff::Timestamp>()
            .map(|at| Self(at.as_millisecond()))
            .map_err(|_| InvalidMoment(text.chars().take(60).collect()))
    }
}
impl From<Moment> for String {
    fn from(moment: Moment) -> Self {
        moment.to_string()
    }
}
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Thousands stand in one answer: digits are put in their places here, which is quicker than any formatter.
        let at = jiff::Timestamp::from_millisecond(self.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let at = jiff::tz::Offset::UTC.to_datetime(at);
        let mut text = *b"0000-00-00T00:00:00.000Z";
        put_digits(&mut text[0..4], at.year().unsigned_abs());
        put_digits(&mut text[5..7], at.month().unsigned_abs().into());
        put_digits(&mut text[8..10], at.day().unsigned_abs().into());
        put_digits(&mut text[11..13], at.hour().unsigned_abs().into());
        put_digits(&mut text[14..16], at.minute().unsigned_abs().into());
        put_digits(&mut text[17..19], at.second().unsigned_abs().into());
        put_digits(&mut text[20..23], at.millisecond().unsigned_abs());
        f.write_str(str::from_utf8(&text).expect("digits and signs are text"))
    }
}

/// Fills a place with the last digits of a number.
fn put_digits(place: &mut [u8], mut number: u16) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).expect("a digit is small");
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_as_marathon_does() {
        for text in [
            "2026-11-23T09:41:28.791Z",
            "2026-11-23T09:41:28.000Z",
            "1970-01-01T00:00:00.001Z",
            "1969-12-31T23:59:59.999Z",
        ] {
            assert_eq!(text.parse::<Moment>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn any_offset_is_read() {
        assert_eq!("2026-11-23T10:41:28.5+01:00".parse::<Moment>().unwrap().to_string(), "2026-11-23T09:41:28.500Z");
        assert!("nope".parse::<Moment>().is_err());
    }

    #[test]
    fn time_that_has_not_come_is_no_time_ago() {
        let (early, late) = (Moment::from_millis(5), Moment::from_millis(1505));
        assert_eq!(late.since(early), Duration::from_millis(1500));
        assert_eq!(early.since(late), Duration::ZERO);
    }
}
