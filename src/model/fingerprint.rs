//! An SSH key's fingerprint, which is how people and the store name a key.

use std::fmt;
use std::str::FromStr;

/// `SHA256:` and 43 characters of unpadded base64, as OpenSSH prints it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(String);

/// The text is no fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no key fingerprint; one looks like `SHA256:` and 43 characters, as `ssh-keygen -l` and `paas keys list` print it"
)]
pub struct InvalidFingerprint(String);

impl Fingerprint {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl TryFrom<String> for Fingerprint {
    type Error = InvalidFingerprint;
    fn try_from(text: String) -> Result<Self, InvalidFingerprint> {
        let valid = text.strip_prefix("SHA256:").is_some_and(|digest| {
            digest.len() == 43 && digest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/')
        });
        if valid { Ok(Self(text)) } else { Err(InvalidFingerprint(text.chars().take(64).collect())) }
    }
}
impl FromStr for Fingerprint {
    type Err = InvalidFingerprint;
    fn from_str(text: &str) -> Result<Self, InvalidFingerprint> {
        Self::try_from(text.to_owned())
    }
}
impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.0
    }
}
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_sha256_fingerprint_is_taken() {
        let good = format!("SHA256:{}", "a".repeat(43));
        assert_eq!(good.parse::<Fingerprint>().unwrap().to_string(), good);
        for bad in [
            "",
            "SHA256:",
            "MD5:aa:bb",
            &format!("SHA256:{}=", "a".repeat(43)),
            &format!("SHA256:{}\n", "a".repeat(42)),
        ] {
            assert!(bad.parse::<Fingerprint>().is_err(), "{bad:?}");
        }
    }
}
