//! What a member of a tenant may do there.

use std::fmt;
use std::str::FromStr;

/// A role in a tenant; each may do what the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Role {
    /// Reads: apps, builds, releases, logs.
    Viewer,
    /// Also pushes, and changes config and formation.
    Developer,
    /// Also changes members, tokens and quota, and deletes the tenant.
    Owner,
}

/// The text is no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no role; there are `viewer`, `developer` and `owner`")]
pub struct InvalidRole(String);

impl Role {
    /// All of them, the least first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Developer, Self::Owner];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Developer => "developer",
            Self::Owner => "owner",
        }
    }
}
impl FromStr for Role {
    type Err = InvalidRole;
    fn from_str(text: &str) -> Result<Self, InvalidRole> {
        let role = Self::ALL.into_iter().find(|role| role.as_str() == text);
        role.ok_or_else(|| InvalidRole(text.chars().take(40).collect()))
    }
}
impl TryFrom<String> for Role {
    type Error = InvalidRole;
    fn try_from(text: String) -> Result<Self, InvalidRole> {
        text.parse()
    }
}
impl From<Role> for String {
    fn from(role: Role) -> Self {
        role.as_str().to_owned()
    }
}
impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_read_as_it_is_written() {
        for role in Role::ALL {
            assert_eq!(role.to_string().parse(), Ok(role));
            assert_eq!(serde_json::to_string(&role).unwrap(), format!("\"{role}\""));
            assert_eq!(serde_json::from_str::<Role>(&format!("\"{role}\"")).unwrap(), role);
        }
    }

    #[test]
    fn roles_are_ordered_by_what_they_may() {
        assert!(Role::ALL.is_sorted() && Role::Viewer < Role::Developer && Role::Developer < Role::Owner);
    }

    #[test]
    fn what_is_no_role_is_told_the_three() {
        for bad in ["", "Owner", "admin", "owner\n", "\u{1b}[2J"] {
            let message = bad.parse::<Role>().unwrap_err().to_string();
            assert!(Role::ALL.iter().all(|role| message.contains(role.as_str())), "{message}");
            assert!(!message.contains('\u{1b}'), "{message:?}");
        }
    }
}
