//! How an image is named so that it can never come to mean another one.

use std::fmt;
use std::str::FromStr;

/// The text names no immutable image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no immutable image: an image id is `sha256:` and 64 hexadecimal digits, a published one is `host/name@sha256:…`"
)]
pub struct InvalidImage(String);

fn is_sha256(text: &str) -> bool {
    text.strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

macro_rules! sha256_id {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);
        impl $type {
            pub fn as_str(&self) -> &str {
                &self.0
            }
            /// The first twelve digits, which is what people read.
            pub fn short(&self) -> &str {
                &self.0["sha256:".len().."sha256:".len() + 12]
            }
        }
        impl TryFrom<String> for $type {
            type Error = InvalidImage;
            fn try_from(text: String) -> Result<Self, InvalidImage> {
                if is_sha256(&text) { Ok(Self(text)) } else { Err(InvalidImage(text)) }
            }
        }
        impl FromStr for $type {
            type Err = InvalidImage;
            fn from_str(text: &str) -> Result<Self, InvalidImage> {
                Self::try_from(text.to_owned())
            }
        }
        impl From<$type> for String {
            fn from(id: $type) -> Self {
                id.0
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}
sha256_id!(
    /// An image in the local Docker, by the hash of its configuration.
    ImageId
);
sha256_id!(
    /// An image in a registry, by the hash of its manifest.
    Digest
);

/// What a release runs: always one and the same image.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ImageRef {
    /// On one machine the slug is already where it runs.
    Local(ImageId),
    /// `host[:port]/path` and the digest that the registry answered.
    Published { repository: String, digest: Digest },
}
impl TryFrom<String> for ImageRef {
    type Error = InvalidImage;
    fn try_from(text: String) -> Result<Self, InvalidImage> {
        match text.split_once('@') {
            None => text.parse().map(Self::Local),
            Some((repository, digest)) if !repository.is_empty() => {
                Ok(Self::Published { repository: repository.to_owned(), digest: digest.parse()? })
            }
            Some(_) => Err(InvalidImage(text)),
        }
    }
}
impl FromStr for ImageRef {
    type Err = InvalidImage;
    fn from_str(text: &str) -> Result<Self, InvalidImage> {
        Self::try_from(text.to_owned())
    }
}
impl From<ImageRef> for String {
    fn from(image: ImageRef) -> Self {
        image.to_string()
    }
}
impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(id) => write!(f, "{id}"),
            Self::Published { repository, digest } => write!(f, "{repository}@{digest}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_named_by_a_hash_or_not_at_all() {
        let id = format!("sha256:{}", "0".repeat(64));
        for good in [id.clone(), format!("127.0.0.1:5000/dev/shop@{id}")] {
            assert_eq!(good.parse::<ImageRef>().unwrap().to_string(), good);
        }
        for bad in ["shop:latest", "sha256:12", &format!("@{id}"), ""] {
            assert!(bad.parse::<ImageRef>().is_err(), "{bad}");
        }
    }
}
