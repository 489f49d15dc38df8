//! What people call their keys.

use std::fmt;
use std::str::FromStr;

use super::super::public_key::is_unprintable;
use crate::model::Fingerprint;

/// Longest name of a key: a column of a table.
pub const MAX_KEY_NAME_CHARS: usize = 64;
/// Room for what tells two keys with one comment apart, such as `-2`.
const MAX_ENDING_CHARS: usize = 8;

/// A key's name, such as `alice@laptop`: one line of printable text without spaces at its ends.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyName(String);

/// Why a text is no name for a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeyName {
    #[error("a key's name is empty; give 1 to {MAX_KEY_NAME_CHARS} characters, such as `work laptop`")]
    Empty,
    #[error("the key's name has {chars} characters, at most {MAX_KEY_NAME_CHARS} are kept")]
    TooLong { chars: usize },
    #[error("a key's name is one line of printable text without spaces at its ends; {name:?} is not")]
    Unprintable { name: String },
}

impl KeyName {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A name for a key with this comment that is none of those taken: the comment, else `key-N`.
    pub(super) fn from_comment(comment: &str, taken: &[&Self]) -> Self {
        let base = fit(comment);
        let endings = 1_u32..;
        let mut names = endings.map(|n| match (base.is_empty(), n) {
            (true, n) => Self(format!("key-{n}")),
            (false, 1) => Self(base.clone()),
            (false, n) => Self(format!("{base}-{n}")),
        });
        names.find(|name| !taken.contains(&name)).expect("there are more numbers than keys")
    }

    /// The name of a key whose record has none: the same each time it is read.
    pub(super) fn unrecorded(comment: &str, fingerprint: &Fingerprint) -> Self {
        let base = fit(comment);
        if !base.is_empty() {
            return Self(base);
        }
        let digest = fingerprint.as_str().trim_start_matches("SHA256:");
        Self(format!("key-{}", digest.chars().take(MAX_ENDING_CHARS).collect::<String>()))
    }
}

/// As much of a comment as a name may be.
fn fit(comment: &str) -> String {
    let printable = comment.trim().chars().filter(|c| !is_unprintable(*c));
    let cut: String = printable.take(MAX_KEY_NAME_CHARS - MAX_ENDING_CHARS).collect();
    cut.trim().to_owned()
}

impl TryFrom<String> for KeyName {
    type Error = InvalidKeyName;
    fn try_from(text: String) -> Result<Self, InvalidKeyName> {
        let chars = text.chars().count();
        if chars > MAX_KEY_NAME_CHARS {
            return Err(InvalidKeyName::TooLong { chars });
        }
        if text.trim().is_empty() {
            return Err(InvalidKeyName::Empty);
        }
        if text.trim() != text || text.contains(is_unprintable) {
            return Err(InvalidKeyName::Unprintable { name: text });
        }
        Ok(Self(text))
    }
}
impl FromStr for KeyName {
    type Err = InvalidKeyName;
    fn from_str(text: &str) -> Result<Self, InvalidKeyName> {
        Self::try_from(text.to_owned())
    }
}
impl From<KeyName> for String {
    fn from(name: KeyName) -> Self {
        name.0
    }
}
impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> KeyName {
        text.parse().unwrap()
    }

    #[test]
    fn a_name_is_one_printable_line() {
        for good in ["alice@laptop", "work laptop", "ü", &"x".repeat(MAX_KEY_NAME_CHARS)] {
            assert_eq!(name(good).as_str(), good);
        }
        for bad in ["", " ", " a", "a\n", "a\u{1b}[2J", "\u{202e}a", &"x".repeat(MAX_KEY_NAME_CHARS + 1)] {
            let message = bad.parse::<KeyName>().unwrap_err().to_string();
            assert!(!message.contains(is_unprintable), "{message:?}");
        }
    }

    #[test]
    fn the_comment_names_a_key_and_a_number_tells_it_from_others() {
        assert_eq!(KeyName::from_comment(" alice@laptop ", &[]).as_str(), "alice@laptop");
        let taken = [name("alice@laptop"), name("alice@laptop-2")];
        assert_eq!(KeyName::from_comment("alice@laptop", &taken.each_ref()).as_str(), "alice@laptop-3");
        assert_eq!(KeyName::from_comment("", &[&name("key-1")]).as_str(), "key-2");
    }

    #[test]
    fn every_comment_makes_a_name() {
        for comment in ["\u{7}", "a \u{1b} ", &"x ".repeat(128)] {
            let made = KeyName::from_comment(comment, &[]);
            assert_eq!(name(made.as_str()), made, "{comment:?}");
        }
    }
}
