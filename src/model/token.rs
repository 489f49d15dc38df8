//! What everybody may know of tokens: their form, and the ids by which people tell them apart.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Each holds 5.95 bits, so that they are 178 bits together.
pub const TOKEN_RANDOM_CHARS: usize = 30;
/// They find all but one typing error in 56 800 235 584, which is 62⁶; they keep nobody from making up a token.
pub const TOKEN_CHECKSUM_CHARS: usize = 6;
/// Of the hash, and hex.
const ID_CHARS: usize = 8;

/// What a token is for, which its first letters say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenPurpose {
    /// To become a member of a tenant.
    Join,
    /// To deploy one app.
    Deploy,
}

impl TokenPurpose {
    pub const ALL: [Self; 2] = [Self::Join, Self::Deploy];

    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Join => "paas_jt_",
            Self::Deploy => "paas_dt_",
        }
    }
}

/// By which people tell a tenant's tokens apart: the first 8 hex digits of the token's hash.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenId(String);

/// The text is no id of a token. It is not repeated: somebody may have given the token itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no id of a token; one has 8 of 0-9 and a-f, as `paas tenant token list` shows it")]
pub struct InvalidTokenId;

impl TokenId {
    /// Of a token by its hash, 64 hex digits.
    pub(crate) fn of_hash(hash: &str) -> Self {
        Self(hash[..ID_CHARS].to_owned())
    }
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl TryFrom<String> for TokenId {
    type Error = InvalidTokenId;
    fn try_from(text: String) -> Result<Self, InvalidTokenId> {
        if text.len() == ID_CHARS && is_lower_hex(&text) { Ok(Self(text)) } else { Err(InvalidTokenId) }
    }
}
impl FromStr for TokenId {
    type Err = InvalidTokenId;
    fn from_str(text: &str) -> Result<Self, InvalidTokenId> {
        Self::try_from(text.to_owned())
    }
}
impl From<TokenId> for String {
    fn from(id: TokenId) -> Self {
        id.0
    }
}
impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The text with an `x` for every character of a token in it that is secret; it is as long as before. For logs,
/// terminals and images, which outlive whoever may see what is in them.
pub fn without_tokens(text: &str) -> Cow<'_, str> {
    let mut clean: Option<String> = None;
    for purpose in TokenPurpose::ALL {
        for (at, prefix) in text.match_indices(purpose.prefix()) {
            let secret = at + prefix.len();
            let length = text[secret..].bytes().take_while(u8::is_ascii_alphanumeric).count();
            if length >= TOKEN_RANDOM_CHARS + TOKEN_CHECKSUM_CHARS {
                let text = clean.get_or_insert_with(|| text.to_owned());
                text.replace_range(secret..secret + length, &"x".repeat(length));
            }
        }
    }
    clean.map_or(Cow::Borrowed(text), Cow::Owned)
}

pub(crate) fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_eight_hex_digits_and_no_token_is_repeated_as_one() {
        assert_eq!("0123abcd".parse::<TokenId>().unwrap().as_str(), "0123abcd");
        for bad in ["", "0123ABCD", "0123abc", "0123abcde", "../../ab", &format!("paas_jt_{}", "a1".repeat(18))] {
            let message = bad.parse::<TokenId>().unwrap_err().to_string();
            assert!(bad.is_empty() || !message.contains(bad), "{message}");
        }
    }

    #[test]
    fn tokens_in_a_text_are_made_unreadable_and_nothing_moves() {
        let (join, deploy) = (format!("paas_jt_{}", "aB3".repeat(12)), format!("paas_dt_{}", "0Zz".repeat(12)));
        let text = format!("a={join}\ntoken: \"{deploy}\" ä {join}");
        let clean = without_tokens(&text);
        let crossed = "x".repeat(36);
        assert_eq!(clean, format!("a=paas_jt_{crossed}\ntoken: \"paas_dt_{crossed}\" ä paas_jt_{crossed}"));
        for kept in ["paas_dt_", "paas_dt_short", "no token", ""] {
            assert!(matches!(without_tokens(kept), Cow::Borrowed(same) if same == kept));
        }
    }
}
