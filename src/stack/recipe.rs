//! What an image is made of, as a value, so that one of the same recipe is made only once.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use super::content;
use crate::docker::Tag;
use crate::model::ImageId;

/// The text names no suite of Debian's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no suite: a suite is a name such as `bookworm`, in small letters")]
pub struct InvalidSuite(String);

/// A release of Debian, by its code name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suite(String);

impl Suite {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The release's number as it stands in image names; a suite that has none yet is called by its name.
    pub fn version(&self) -> &str {
        match self.0.as_str() {
            "bullseye" => "11",
            "bookworm" => "12",
            "trixie" => "13",
            "forky" => "14",
            name => name,
        }
    }
}
impl FromStr for Suite {
    type Err = InvalidSuite;
    fn from_str(text: &str) -> Result<Self, InvalidSuite> {
        let named = !text.is_empty() && text.len() <= 32 && text.bytes().all(|byte| byte.is_ascii_lowercase());
        if named { Ok(Self(text.to_owned())) } else { Err(InvalidSuite(text.to_owned())) }
    }
}
impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The text is no name that an image can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no image name: one is `name[:tag]`, of small letters, digits, `.`, `_`, `-` and `/`")]
pub struct InvalidName(String);

/// The name that the image gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackName(Tag);

impl StackName {
    pub fn of_suite(suite: &Suite) -> Self {
        Self(Tag { repository: "paas/stack".to_owned(), tag: suite.version().to_owned() })
    }
    pub fn tag(&self) -> &Tag {
        &self.0
    }
}
impl FromStr for StackName {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        // A colon before the last slash belongs to a registry's port.
        let (repository, tag) = match text.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => (repository, tag),
            _ => (text, "latest"),
        };
        let small = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let repository_fits = repository.split('/').all(|part| {
            part.bytes().next().is_some_and(small) && part.bytes().all(|byte| small(byte) || b"._-:".contains(&byte))
        });
        let tag_fits = (1..=128).contains(&tag.len())
            && !tag.starts_with(['.', '-'])
            && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if repository_fits && repository.len() <= 200 && tag_fits {
            Ok(Self(Tag { repository: repository.to_owned(), tag: tag.to_owned() }))
        } else {
            Err(InvalidName(text.to_owned()))
        }
    }
}
impl fmt::Display for StackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What the base of the image comes from. Where a suite's packages are fetched from makes no difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ingredient<'a> {
    Suite(&'a Suite),
    Image(&'a ImageId),
}

impl Ingredient<'_> {
    /// Names the base: the same text, the same base, but for the age of its packages.
    pub(super) fn base(&self) -> String {
        let from = match self {
            Self::Suite(suite) => format!("suite {suite} {}", std::env::consts::ARCH),
            Self::Image(id) => format!("image {id}"),
        };
        hex(content::hash(content::PROVISION).chain_update(from))
    }

    /// Names the whole image. It tells what is in `stack/`; who changes only what the program does with that, changes
    /// a comment there, too.
    pub(super) fn recipe(&self) -> String {
        hex(content::hash(content::IMAGE).chain_update(self.base()))
    }
}

/// The first 64 bits: it tells recipes of one machine apart, and is no proof of anything.
fn hex(hash: Sha256) -> String {
    let first = hash.finalize().iter().take(8).fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
    format!("{first:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_is_a_word() {
        assert_eq!("bookworm".parse::<Suite>().unwrap().version(), "12");
        assert_eq!("duke".parse::<Suite>().unwrap().version(), "duke");
        for bad in ["", "Bookworm", "--help", "../x", "a b", "stable-updates"] {
            assert!(bad.parse::<Suite>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_image_is_named_after_the_release() {
        assert_eq!(StackName::of_suite(&"bookworm".parse().unwrap()).to_string(), "paas/stack:12");
    }

    #[test]
    fn a_name_is_what_docker_takes_for_one() {
        for (text, repository, tag) in [
            ("paas/stack:12", "paas/stack", "12"),
            ("mine", "mine", "latest"),
            ("registry.example:5000/paas/stack", "registry.example:5000/paas/stack", "latest"),
        ] {
            let name: StackName = text.parse().unwrap();
            assert_eq!((name.tag().repository.as_str(), name.tag().tag.as_str()), (repository, tag));
        }
        for bad in ["", "Upper", "a b", "a:", "a:b:c ", "/a", "a//b", "-a", "a:-b"] {
            assert!(bad.parse::<StackName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn another_base_is_another_recipe() {
        let (old, new): (Suite, Suite) = ("bookworm".parse().unwrap(), "trixie".parse().unwrap());
        let image: ImageId = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
        let recipes = [Ingredient::Suite(&old), Ingredient::Suite(&new), Ingredient::Image(&image)].map(|i| i.recipe());
        assert!(recipes[0] != recipes[1] && recipes[1] != recipes[2]);
        assert_eq!(Ingredient::Suite(&old).recipe(), recipes[0]);
        assert_ne!(Ingredient::Suite(&old).base(), recipes[0]);
    }
}
