//! What the session tells the hooks that git starts: the `PAAS_PUSH_*` variables, written and read in one place.

use std::collections::BTreeMap;

use super::request::Repository;
use crate::accounts::access::Identity;
use crate::pipeline::PushId;

const USER: &str = "PAAS_PUSH_USER";
const KEY: &str = "PAAS_PUSH_KEY";
/// Empty when the address is not known.
const FROM: &str = "PAAS_PUSH_FROM";
const TENANT: &str = "PAAS_PUSH_TENANT";
const APP: &str = "PAAS_PUSH_APP";
const ID: &str = "PAAS_PUSH_ID";
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
}

/// The hook was not started by a session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is missing or wrong: hooks run within `paas-receive session`, not by hand")]
pub(super) struct NoSession(&'static str);

impl PushContext {
    pub(super) fn to_vars(&self) -> [(&'static str, String); 6] {
        [
            (USER, self.who.user.to_string()),
            (KEY, self.who.key.to_string()),
            (FROM, self.who.from.map(|address| address.to_string()).unwrap_or_default()),
            (TENANT, self.repository.tenant.to_string()),
            (APP, self.repository.app.to_string()),
            (ID, self.id.to_string()),
        ]
    }

    pub(super) fn from_vars(vars: impl Iterator<Item = (String, String)>) -> Result<Self, NoSession> {
        let vars: BTreeMap<String, String> = vars.filter(|(name, _)| name.starts_with("PAAS_PUSH_")).collect();
        let from = if vars.get(FROM).is_some_and(String::is_empty) { None } else { Some(read(&vars, FROM)?) };
        Ok(Self {
            who: Identity { user: read(&vars, USER)?, key: read(&vars, KEY)?, from },
            repository: Repository { tenant: read(&vars, TENANT)?, app: read(&vars, APP)? },
            id: read(&vars, ID)?,
        })
    }
}

fn read<T: std::str::FromStr>(vars: &BTreeMap<String, String>, name: &'static str) -> Result<T, NoSession> {
    vars.get(name).and_then(|text| text.parse().ok()).ok_or(NoSession(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(from: Option<&str>) -> PushContext {
        PushContext {
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
        for from in [None, Some("192.0.2.1"), Some("2001:db8::1")] {
            let context = context(from);
            let vars = context.to_vars().map(|(name, value)| (name.to_owned(), value));
            assert_eq!(PushContext::from_vars(vars.iter().cloned()), Ok(context));
        }
    }

    #[test]
    fn a_hook_without_a_session_is_told_what_is_missing() {
        let vars = context(None).to_vars().map(|(name, value)| (name.to_owned(), value));
        for missing in 0..vars.len() {
            let rest = vars.iter().filter(|(name, _)| *name != vars[missing].0).cloned();
            let refused = PushContext::from_vars(rest).unwrap_err();
            assert_eq!(refused.0, vars[missing].0);
        }
    }
}
