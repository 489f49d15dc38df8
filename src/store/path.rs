//! Where a record lives in the tree.

use std::fmt;

/// An absolute path such as `/tenants/dev/apps/shop`; `/` is the root.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StorePath(String);

/// The text cannot stand in a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} cannot be a segment of a store path: it is empty, `.`, `..`, or holds `/` or a control character")]
pub struct InvalidPath(String);

impl StorePath {
    pub fn root() -> Self {
        Self("/".to_owned())
    }

    /// The record `segment` below this one. Meant for segments that are names or numbers already: it
    /// panics on a segment that could leave its place.
    #[must_use]
    pub fn join(&self, segment: impl fmt::Display) -> Self {
        self.try_join(&segment.to_string()).expect("segments are validated names, numbers or constants")
    }

    /// The record `segment` below this one, for text that was not checked yet.
    pub fn try_join(&self, segment: &str) -> Result<Self, InvalidPath> {
        let hostile = segment.is_empty()
            || segment == "."
            || segment == ".."
            || segment.contains(|c: char| c == '/' || c.is_control());
        if hostile {
            return Err(InvalidPath(segment.chars().take(64).collect()));
        }
        Ok(if self.is_root() { Self(format!("/{segment}")) } else { Self(format!("{}/{segment}", self.0)) })
    }

    pub fn is_root(&self) -> bool {
        self.0 == "/"
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The record above; none above the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        let cut = self.0.rfind('/').expect("a path begins with a slash");
        Some(if cut == 0 { Self::root() } else { Self(self.0[..cut].to_owned()) })
    }

    /// From the first record below the root down to this one; nothing for the root.
    pub fn ancestors(&self) -> Vec<Self> {
        let mut all: Vec<Self> =
            std::iter::successors(Some(self.clone()), Self::parent).filter(|path| !path.is_root()).collect();
        all.reverse();
        all
    }

    pub fn last_segment(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }
}

impl fmt::Display for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_knows_what_is_above_it() {
        let path = StorePath::root().join("tenants").join("dev");
        assert_eq!(path.as_str(), "/tenants/dev");
        assert_eq!(path.parent().unwrap().as_str(), "/tenants");
        assert_eq!(path.ancestors().iter().map(StorePath::as_str).collect::<Vec<_>>(), ["/tenants", "/tenants/dev"]);
        assert_eq!(StorePath::root().parent(), None);
        assert_eq!(path.last_segment(), "dev");
    }

    #[test]
    fn a_segment_cannot_leave_its_place() {
        for bad in ["", ".", "..", "a/b", "a\n"] {
            assert!(StorePath::root().try_join(bad).is_err(), "{bad:?}");
        }
    }
}
