//! Marathon's ids of apps and groups: absolute paths of lower-case segments.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// An absolute id such as `/shop/web`; `/` is the root group. Cheap to clone: it is the key of most that an engine holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct PathId(Arc<[String]>);

/// The text is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no Marathon id: segments of a-z, 0-9, `-` and `.` between slashes are")]
pub struct InvalidPathId(String);

impl PathId {
    pub fn root() -> Self {
        Self(Arc::default())
    }
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }
    pub fn segments(&self) -> &[String] {
        &self.0
    }
    /// The group this stands in; none for the root.
    pub fn parent(&self) -> Option<Self> {
        self.0.split_last().map(|(_, above)| Self(above.into()))
    }
    /// True for everything below `group`, not for `group` itself.
    pub fn is_below(&self, group: &Self) -> bool {
        self.0.len() > group.0.len() && self.0.starts_with(&group.0)
    }
    /// Reads `text` as Marathon does: absolute or below `base`, empty segments dropped, `.` and `..` resolved.
    pub fn resolve(text: &str, base: &Self) -> Result<Self, InvalidPathId> {
        let mut segments = if text.starts_with('/') { Vec::new() } else { base.0.to_vec() };
        for segment in text.split('/').filter(|s| !s.is_empty()) {
            match segment {
                "." => {}
                ".." => {
                    segments.pop();
                }
                _ if is_segment(segment) => segments.push(segment.to_owned()),
                _ => return Err(InvalidPathId(text.chars().take(200).collect())),
            }
        }
        Ok(Self(segments.into()))
    }
    /// The id of that segment directly below this; the segment comes from another id.
    #[must_use]
    pub fn child(&self, segment: &str) -> Self {
        Self(self.0.iter().cloned().chain([segment.to_owned()]).collect())
    }
}

/// DNS labels joined by dots.
fn is_segment(text: &str) -> bool {
    text.split('.').all(|label| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    })
}

/// A map keyed by ids is also asked by segments alone.
impl Borrow<[String]> for PathId {
    fn borrow(&self) -> &[String] {
        &self.0
    }
}
impl TryFrom<String> for PathId {
    type Error = InvalidPathId;
    fn try_from(text: String) -> Result<Self, InvalidPathId> {
        Self::resolve(&text, &Self::root())
    }
}
impl FromStr for PathId {
    type Err = InvalidPathId;
    fn from_str(text: &str) -> Result<Self, InvalidPathId> {
        Self::resolve(text, &Self::root())
    }
}
impl serde::Serialize for PathId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
impl fmt::Display for PathId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("/");
        }
        self.0.iter().try_for_each(|segment| write!(f, "/{segment}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_resolved_as_marathon_does() {
        let group: PathId = "/shop".parse().unwrap();
        for (text, id) in [("web", "/shop/web"), ("/a//b/", "/a/b"), ("../x", "/x"), ("/a/../b", "/b"), ("", "/shop")] {
            assert_eq!(PathId::resolve(text, &group).unwrap().to_string(), id, "{text}");
        }
        for bad in ["/UPPER", "/a_b", "/a..b", "a b", "/-a", "/a-"] {
            assert!(bad.parse::<PathId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_app_knows_its_group() {
        let web: PathId = "/shop/web".parse().unwrap();
        assert_eq!(web.parent().unwrap().to_string(), "/shop");
        assert!(web.is_below(&PathId::root()) && web.is_below(&web.parent().unwrap()) && !web.is_below(&web));
    }
}
