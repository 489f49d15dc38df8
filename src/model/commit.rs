//! A commit's id.

use std::fmt;
use std::str::FromStr;

/// A git object id, 40 lower-case hexadecimal digits (SHA-1).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommitId(String);

/// The text is no 40-digit hexadecimal id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no commit id: 40 hexadecimal digits are")]
pub struct InvalidCommitId(String);

impl CommitId {
    /// Bytes of the short form that people read.
    const SHORT: usize = 7;

    pub fn as_str(&self) -> &str {
        &self.0
    }
    pub fn short(&self) -> &str {
        &self.0[..Self::SHORT]
    }
    /// Git's way to say "no such ref": all zeros.
    pub fn is_null(&self) -> bool {
        self.0.bytes().all(|b| b == b'0')
    }
}
impl TryFrom<String> for CommitId {
    type Error = InvalidCommitId;
    fn try_from(text: String) -> Result<Self, InvalidCommitId> {
        let hex = text.len() == 40 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if hex { Ok(Self(text)) } else { Err(InvalidCommitId(text.chars().take(64).collect())) }
    }
}
impl FromStr for CommitId {
    type Err = InvalidCommitId;
    fn from_str(text: &str) -> Result<Self, InvalidCommitId> {
        Self::try_from(text.to_owned())
    }
}
impl From<CommitId> for String {
    fn from(id: CommitId) -> Self {
        id.0
    }
}
impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_forty_hexadecimal_digits_are_an_id() {
        let id: CommitId = "3f2c1ab000000000000000000000000000000000".parse().unwrap();
        assert_eq!(id.short(), "3f2c1ab");
        assert!("0".repeat(40).parse::<CommitId>().unwrap().is_null());
        for bad in ["", "HEAD", "3F2C1AB000000000000000000000000000000000", &"a".repeat(41), "--upload-pack=x"] {
            assert!(bad.parse::<CommitId>().is_err(), "{bad}");
        }
    }
}
