//! The names people give: each a DNS label, so that it may stand in a host name, a path and a container's name unescaped.

use std::fmt;
use std::str::FromStr;

/// Longest name, in bytes. A DNS label holds 63; `<app>-<process>-<instance>` shares one in container names,
/// so each part keeps to 30, which leaves room for the separators and an instance number.
pub const MAX_NAME_BYTES: usize = 30;

/// Why a text is no name; `Display` says what a name is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    #[error("a {kind} name is empty; give 1 to {MAX_NAME_BYTES} of a-z, 0-9 and `-`")]
    Empty { kind: &'static str },
    #[error("`{name}` is too long for a {kind} name: {bytes} bytes, at most {MAX_NAME_BYTES}")]
    TooLong { kind: &'static str, name: String, bytes: usize },
    #[error(
        "`{name}` is no {kind} name: {found:?} may not stand in it; use a-z, 0-9 and `-`, beginning and ending with a letter or digit"
    )]
    BadCharacter { kind: &'static str, name: String, found: char },
    #[error("`{name}` is no {kind} name: it begins or ends with `-`")]
    EdgeHyphen { kind: &'static str, name: String },
}

/// Checks the whole text, so that no newline, dot or slash can hide at its end.
fn dns_label(kind: &'static str, text: &str) -> Result<(), InvalidName> {
    // What is quoted back is cut and escaped: the text may be hostile and it goes to a terminal.
    let quoted = || text.chars().take(40).flat_map(char::escape_debug).collect::<String>();
    if text.is_empty() {
        return Err(InvalidName::Empty { kind });
    }
    if let Some(found) = text.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-')) {
        return Err(InvalidName::BadCharacter { kind, name: quoted(), found });
    }
    if text.len() > MAX_NAME_BYTES {
        return Err(InvalidName::TooLong { kind, name: quoted(), bytes: text.len() });
    }
    if text.starts_with('-') || text.ends_with('-') {
        return Err(InvalidName::EdgeHyphen { kind, name: quoted() });
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl TryFrom<String> for $type {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                dns_label($kind, &text)?;
                Ok(Self(text))
            }
        }
        impl FromStr for $type {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::try_from(text.to_owned())
            }
        }
        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name!(
    /// A tenant: a group of users, apps and quota with a Marathon of its own.
    TenantName, "tenant"
);
name!(
    /// An app: one repository's running thing inside one tenant.
    AppName, "app"
);
name!(
    /// A user: a person or a machine, known by SSH keys.
    UserName, "user"
);
name!(
    /// A process type of an app, such as `web`.
    ProcessType, "process type"
);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_dns_label_is_a_name() {
        for good in ["a", "shop", "shop-2", "0", &"x".repeat(MAX_NAME_BYTES)] {
            assert_eq!(good.parse::<AppName>().map(String::from).as_deref(), Ok(good));
        }
    }

    #[test]
    fn anything_else_is_refused_with_its_reason() {
        for bad in ["", "Shop", "shop_2", "-a", "a-", "a.b", "../x", "a/b", "a\n", "a\0", "ä", &"x".repeat(31)] {
            assert!(bad.parse::<AppName>().is_err(), "{bad:?}");
        }
        let message = "a\u{1b}[2J".parse::<AppName>().unwrap_err().to_string();
        assert!(!message.contains('\u{1b}'), "a terminal escape is quoted, not repeated: {message:?}");
    }

    proptest! {
        #[test]
        fn a_name_never_holds_anything_but_a_label(text in "\\PC{0,40}") {
            if let Ok(name) = text.parse::<TenantName>() {
                prop_assert!(name.as_str().bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
            }
        }
    }
}
