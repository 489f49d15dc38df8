//! What the session tells the hooks that git starts: the `PAAS_PUSH_*` variables, written and read in one place.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::request::Repository;
use crate::accounts::access::Identity;
use crate::git::Rules;
use crate::pipeline::PushId;
use crate::settings::{Home, Settings};

const USER: &str = "PAAS_PUSH_USER";
const KEY: &str = "PAAS_PUSH_KEY";
/// Empty when the address is not known.
const FROM: &str = "PAAS_PUSH_FROM";
const TENANT: &str = "PAAS_PUSH_TENANT";
const APP: &str = "PAAS_PUSH_APP";
const ID: &str = "PAAS_PUSH_ID";
const WAY: &str = "PAAS_PUSH_WAY";
/// The program that the hooks in `hooks/` run.
pub(super) const RECEIVE: &str = "PAAS_RECEIVE";
/// The platform's home, as everywhere.
pub(super) const HOME: &str = "PAAS_HOME";

/// One push: who, to what, and its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PushContext {
    pub(super) who: Identity,
    pub(super) repository: Repository,
    pub(super) id: PushId,
    pub(super) way: Way,
}

/// How a push comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Into the app's repository, whose refs its pusher sees.
    Door,
    /// Into a repository of its own, since its pusher may see nothing of the app, which need not be there: it counts
    /// only if it brings a deploy token.
    Letterbox,
}

impl Way {
    fn as_str(self) -> &'static str {
        match self {
            Self::Door => "door",
            Self::Letterbox => "letterbox",
        }
    }
}
impl std::str::FromStr for Way {
    type Err = NoSession;
    fn from_str(text: &str) -> Result<Self, NoSession> {
        [Self::Door, Self::Letterbox].into_iter().find(|way| way.as_str() == text).ok_or(NoSession(WAY))
    }
}

/// The hook was not started by a session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is missing or wrong: hooks run within `paas-receive session`, not by hand")]
pub(super) struct NoSession(&'static str);

/// What every repository that git receives in is configured to.
pub(super) fn rules(settings: &Settings) -> Rules {
    Rules { max_pack_bytes: settings.limits.pack.get(), hooks: settings.home.hooks() }
}

impl PushContext {
    pub(super) fn to_vars(&self) -> [(&'static str, String); 7] {
        [
            (USER, self.who.user.to_string()),
            (KEY, self.who.key.to_string()),
            (FROM, self.who.from.map(|address| address.to_string()).unwrap_or_default()),
            (TENANT, self.repository.tenant.to_string()),
            (APP, self.repository.app.to_string()),
            (ID, self.id.to_string()),
            (WAY, self.way.as_str().to_owned()),
        ]
    }

    /// Where git receives it.
    pub(super) fn repository_path(&self, home: &Home) -> PathBuf {
        match self.way {
            Way::Door => home.repository(&self.repository.tenant, &self.repository.app),
            Way::Letterbox => home.letterboxes().join(format!("{}.git", self.id)),
        }
    }

    pub(super) fn from_vars(vars: impl Iterator<Item = (String, String)>) -> Result<Self, NoSession> {
        let vars: BTreeMap<String, String> = vars.filter(|(name, _)| name.starts_with("PAAS_PUSH_")).collect();
        let from = if vars.get(FROM).is_some_and(String::is_empty) { None } else { Some(read(&vars, FROM)?) };
        Ok(Self {
            who: Identity { user: read(&vars, USER)?, key: read(&vars, KEY)?, from },
            repository: Repository { tenant: read(&vars, TENANT)?, app: read(&vars, APP)? },
            id: read(&vars, ID)?,
            way: read(&vars, WAY)?,
        })
    }
}

fn read<T: std::str::FromStr>(vars: &BTreeMap<String, String>, name: &'static str) -> Result<T, NoSession> {
    vars.get(name).and_then(|text| text.parse().ok()).ok_or(NoSession(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(from: Option<&str>, way: Way) -> PushContext {
        PushContext {
            way,
            who: Identity {
                user: "alice".parse().unwrap(),
                key: format!("SHA256:{}", "a".repeat(43)).parse().unwrap(),
                from: from.map(|address| address.parse().unwrap()),
            },
            repository: Repository { tenant: "dev".parse().unwrap(), app: "shop".parse().unwrap() },
            id: PushId::random(),
        }
    }

    #[test]
    fn a_hook_reads_what_the_session_wrote() {
        for (from, way) in [(None, Way::Door), (Some("192.0.2.1"), Way::Letterbox), (Some("2001:db8::1"), Way::Door)] {
            let context = context(from, way);
            let vars = context.to_vars().map(|(name, value)| (name.to_owned(), value));
            assert_eq!(PushContext::from_vars(vars.iter().cloned()), Ok(context));
        }
    }

    #[test]
    fn a_hook_without_a_session_is_told_what_is_missing() {
        let vars = context(None, Way::Door).to_vars().map(|(name, value)| (name.to_owned(), value));
        for missing in 0..vars.len() {
            let rest = vars.iter().filter(|(name, _)| *name != vars[missing].0).cloned();
            let refused = PushContext::from_vars(rest).unwrap_err();
            assert_eq!(refused.0, vars[missing].0);
        }
    }
}
