//! A token as its bearer has it: `paas_jt_` or `paas_dt_`, random letters and digits, a checksum.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use crate::model::{Secret, TOKEN_CHECKSUM_CHARS, TOKEN_RANDOM_CHARS, TokenId, TokenPurpose, is_lower_hex};

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A token's value. Neither `Debug` nor `Display` shows it, only the id that everybody may know.
#[derive(Clone)]
pub struct Token {
    purpose: TokenPurpose,
    text: Secret,
    hash: TokenHash,
}

/// Why a text is no token. None of them repeats the text, which may be nearly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidToken {
    #[error("there is no token: the text is empty")]
    Empty,
    #[error("this is no token: one begins with `paas_jt_` (to join a tenant) or `paas_dt_` (to deploy an app)")]
    Prefix,
    #[error("this token has {found} characters where it has to have {expected}; copy the whole of it again")]
    Length { found: usize, expected: usize },
    #[error("this token holds something that is no letter or digit at its {at}. character; copy it again")]
    Alphabet { at: usize },
    #[error("this token is mistyped or damaged: its checksum is wrong; copy it again")]
    Checksum,
}

impl Token {
    /// A new one, that nobody can guess.
    pub(super) fn random(purpose: TokenPurpose) -> Self {
        let text: String = purpose.prefix().chars().chain((0..TOKEN_RANDOM_CHARS).map(|_| random_char())).collect();
        let checksum = checksum(&text);
        Self::of(purpose, &(text + &checksum))
    }

    /// Reads a token as somebody gave it; white space around it does not matter.
    pub fn parse(text: &str) -> Result<Self, InvalidToken> {
        let text = text.trim();
        if text.is_empty() {
            return Err(InvalidToken::Empty);
        }
        let purpose = TokenPurpose::ALL.into_iter().find(|purpose| text.starts_with(purpose.prefix()));
        let purpose = purpose.ok_or(InvalidToken::Prefix)?;
        let prefix = purpose.prefix().len();
        if let Some(at) = text.chars().skip(prefix).position(|c| !c.is_ascii_alphanumeric()) {
            return Err(InvalidToken::Alphabet { at: prefix + at + 1 });
        }
        let expected = prefix + TOKEN_RANDOM_CHARS + TOKEN_CHECKSUM_CHARS;
        if text.len() != expected {
            return Err(InvalidToken::Length { found: text.len(), expected });
        }
        let (body, given) = text.split_at(prefix + TOKEN_RANDOM_CHARS);
        if checksum(body) == given { Ok(Self::of(purpose, text)) } else { Err(InvalidToken::Checksum) }
    }

    fn of(purpose: TokenPurpose, text: &str) -> Self {
        Self { purpose, text: Secret::new(text), hash: TokenHash::of(text) }
    }

    pub fn purpose(&self) -> TokenPurpose {
        self.purpose
    }

    /// By which people tell tokens apart; it opens nothing.
    pub fn id(&self) -> TokenId {
        self.hash.id()
    }

    pub(super) fn hash(&self) -> &TokenHash {
        &self.hash
    }

    /// The value itself, for the one place that hands it to its bearer.
    pub fn expose(&self) -> &str {
        self.text.reveal()
    }
}

impl FromStr for Token {
    type Err = InvalidToken;
    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        Self::parse(text)
    }
}
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.id())
    }
}
impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.id().as_str())
    }
}

fn random_char() -> char {
    // The largest multiple of the alphabet's size that a byte can hold: what is above would favour its beginning.
    const FAIR: u8 = 62 * 4;
    let mut byte = [0];
    loop {
        getrandom::fill(&mut byte).expect("Linux has random numbers");
        if byte[0] < FAIR {
            return char::from(ALPHABET[usize::from(byte[0]) % ALPHABET.len()]);
        }
    }
}

fn checksum(body: &str) -> String {
    let digest = Sha256::digest(body.as_bytes());
    let mut number = digest.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let mut text = String::with_capacity(TOKEN_CHECKSUM_CHARS);
    for _ in 0..TOKEN_CHECKSUM_CHARS {
        let digit = usize::try_from(number % 62).expect("it is below 62");
        text.push(char::from(ALPHABET[digit]));
        number /= 62;
    }
    text
}

/// What the store keeps of a token, and under which it is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct TokenHash(String);

impl TokenHash {
    fn of(text: &str) -> Self {
        let digest = Sha256::digest(text.as_bytes());
        Self(digest.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}")))
    }

    /// The hash that a record is named by.
    pub(super) fn from_name(name: String) -> Option<Self> {
        let is_hash = name.len() == 64 && is_lower_hex(&name);
        is_hash.then_some(Self(name))
    }

    pub(super) fn id(&self) -> TokenId {
        TokenId::of_hash(&self.0)
    }
}
impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_made() {
        for purpose in TokenPurpose::ALL {
            let made = Token::random(purpose);
            assert!(made.expose().starts_with(purpose.prefix()) && made.expose().len() == 44);
            let read = Token::parse(&format!(" {}\n", made.expose())).unwrap();
            assert_eq!((read.expose(), read.purpose(), read.id()), (made.expose(), purpose, made.id()));
            assert_ne!(Token::random(purpose).expose(), made.expose());
        }
    }

    #[test]
    fn one_wrong_character_anywhere_is_found() {
        let good = Token::random(TokenPurpose::Join);
        for at in 0..good.expose().len() {
            let mut text = good.expose().to_owned();
            let other = if text.as_bytes()[at] == b'x' { "y" } else { "x" };
            text.replace_range(at..=at, other);
            assert!(Token::parse(&text).is_err(), "at {at}");
        }
    }

    #[test]
    fn each_reason_is_told_and_none_repeats_the_text() {
        let good = Token::random(TokenPurpose::Deploy).expose().to_owned();
        let cases = [
            (String::new(), InvalidToken::Empty),
            (" \n".to_owned(), InvalidToken::Empty),
            (good.replace("_dt_", "_xt_"), InvalidToken::Prefix),
            (good[1..].to_owned(), InvalidToken::Prefix),
            (good[..43].to_owned(), InvalidToken::Length { found: 43, expected: 44 }),
            (format!("{good}0"), InvalidToken::Length { found: 45, expected: 44 }),
            (format!("{}-{}", &good[..20], &good[21..]), InvalidToken::Alphabet { at: 21 }),
            (format!("{}ä{}", &good[..20], &good[21..]), InvalidToken::Alphabet { at: 21 }),
            (good.replace("_dt_", "_jt_"), InvalidToken::Checksum),
        ];
        for (text, reason) in cases {
            let found = Token::parse(&text).unwrap_err();
            assert_eq!(found, reason);
            assert!(!found.to_string().contains(&good[10..20]), "{found}");
        }
    }

    #[test]
    fn neither_debug_nor_display_shows_the_value() {
        let token = Token::random(TokenPurpose::Join);
        for shown in [format!("{token:?}"), format!("{token:#?}"), token.to_string()] {
            assert!(!shown.contains(&token.expose()[8..14]), "{shown}");
            assert!(shown.contains(token.id().as_str()), "{shown}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(paas_[jd]t_)?\\PC{0,50}") {
            prop_assert!(Token::parse(&text).is_err(), "nobody guesses a token");
        }
    }
}
