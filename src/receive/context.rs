//! What the session tells the hooks that git starts: the `PAAS_PUSH_*` variables, written and read in one place.

use std::collections::BTreeMap;

use super::request::Repository;
use crate::accounts::access::Identity;
use crate::pipeline::PushId;

const USER: &str = "PAAS_PUSH_USER";
const KEY: &str = "PAAS_PUSH_KEY";
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
    pub(super) fn to_vars(&self) -> [(&'static str, String); 5] {
        [
            (USER, self.who.user.to_string()),
            (KEY, self.who.key.to_string()),
            (TENANT, self.repository.tenant.to_string()),
            (APP, self.repository.app.to_string()),
            (ID, self.id.to_string()),
        ]
    }

    pub(super) fn from_vars(vars: impl Iterator<Item = (String, String)>) -> Result<Self, NoSession> {
        let vars: BTreeMap<String, String> = vars.filter(|(name, _)| name.starts_with("PAAS_PUSH_")).collect();
        Ok(Self {
            who: Identity { user: read(&vars, USER)?, key: read(&vars, KEY)? },
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

    #[test]
    fn a_hook_reads_what_the_session_wrote() {
        let context = PushContext {
            who: Identity {
                user: "alice".parse().unwrap(),
                key: format!("SHA256:{}", "a".repeat(43)).parse().unwrap(),
            },
            repository: Repository { tenant: "dev".parse().unwrap(), app: "shop".parse().unwrap() },
            id: PushId::random(),
        };
        let vars = context.to_vars().map(|(name, value)| (name.to_owned(), value));
        assert_eq!(PushContext::from_vars(vars.iter().cloned()), Ok(context));
        assert_eq!(PushContext::from_vars(vars[1..].iter().cloned()), Err(NoSession(USER)));
    }
}
