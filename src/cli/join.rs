//! `paas tenant join`: a token makes its bearer's key a member.

use std::io::{self, BufRead as _, Read as _};
use std::net::IpAddr;

use serde::Serialize;

use super::deed::{Deed, Right};
use super::tokens::explained;
use crate::accounts::access::Caller;
use crate::accounts::audit::{AuditLog, Event, Outcome};
use crate::accounts::tokens::{self, Joined, Token};
use crate::accounts::{PublicKey, keys, newcomers};
use crate::model::UserName;
use crate::settings::Settings;
use crate::store::Store;
use crate::ui::{Answer, Exit, Failure, Ui};

/// As the audit log calls it.
const JOIN: &str = "tenant join";
/// Longer than any token, in bytes.
const MAX_TOKEN_BYTES: u64 = 4096;

/// Become a member of a tenant with a token, which is read from the terminal or standard input
#[derive(Debug, clap::Args)]
pub(super) struct Join {
    /// What you are called from now on, if your key is a new one [default: what you are called on your own machine]
    #[arg(long, value_name = "NAME")]
    pub(super) name: Option<UserName>,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct View(Joined);

impl Answer for View {
    fn text(&self) -> String {
        let Joined { user, tenant, role, .. } = &self.0;
        format!("{user} is {role} of tenant {tenant}")
    }
}

impl Join {
    #[allow(clippy::unused_self, reason = "as every command has it")]
    pub(super) fn deed(&self) -> Deed {
        // It tells the log itself what came of it, and in which tenant.
        Deed::look(Right::Own, JOIN)
    }

    pub(super) async fn run(self, settings: &Settings, caller: &Caller, ui: &mut Ui) -> anyhow::Result<()> {
        let Caller::Key(who) = caller else {
            let what = "a key joins a tenant, and none came with this command";
            return Err(Failure::new(Exit::Usage, what)
                .advise("over ssh one does: `paas --host HOST tenant join`")
                .into());
        };
        let store = super::store::open(settings)?;
        let key =
            keys::find(&store, &who.key).await?.ok_or_else(|| Failure::new(Exit::Refused, "this key is not known"))?;
        let key = PublicKey::parse(key.line.as_bytes())?;
        let joined = self.redeem(&store, &key, ui).await;
        note(settings, Event::by(caller, JOIN, Outcome::Refused), joined.as_ref().ok());
        tell(joined?, ui)
    }

    /// Joins with a key that nobody knows, which may be tried so often and no more.
    pub(super) async fn welcome(
        self,
        settings: &Settings,
        key: &PublicKey,
        from: Option<IpAddr>,
        ui: &mut Ui,
    ) -> anyhow::Result<()> {
        let store = super::store::open(settings)?;
        if !newcomers::begin(&store, from).await? {
            let what = "too many tokens were tried by keys that nobody knows";
            return Err(Failure::new(Exit::Refused, what).advise("try again in ten minutes").into());
        }
        let joined = self.redeem(&store, key, ui).await;
        let user = joined.as_ref().map_or_else(|_| "(newcomer)".to_owned(), |joined| joined.user.to_string());
        let by_host = Event::by(&Caller::Host, JOIN, Outcome::Refused);
        let event = Event { user, key: Some(key.fingerprint().clone()), from, ..by_host };
        note(settings, event, joined.as_ref().ok());
        let joined = joined?;
        newcomers::succeeded(&store, from).await?;
        super::store::tell_sshd(settings).await?;
        tell(joined, ui)
    }

    /// Joins with a key that need not be known yet.
    async fn redeem(self, store: &dyn Store, key: &PublicKey, ui: &mut Ui) -> anyhow::Result<Joined> {
        let text = match ui.ask("Token:")? {
            Some(typed) => typed,
            None => first_line()?,
        };
        let token = Token::parse(&text).map_err(|error| {
            Failure::new(Exit::Usage, error).advise("the token goes to standard input: `paas tenant join <FILE`")
        })?;
        tokens::redeem(store, &token, key, self.name).await.map_err(explained)
    }
}

/// The last thing of all: a bearer who does not stay for it is a member nevertheless.
fn tell(joined: Joined, ui: &mut Ui) -> anyhow::Result<()> {
    ui.note(format_args!("next, in a git work tree: `paas init --tenant {}`", joined.tenant))?;
    ui.answer(&View(joined))
}

/// Notes a try, in the tenant when it led to one.
fn note(settings: &Settings, refused: Event, joined: Option<&Joined>) {
    let event = match joined {
        Some(joined) => Event { outcome: Outcome::Done, ..refused.in_tenant(&joined.tenant).on(joined.role) },
        None => refused,
    };
    AuditLog::in_directory(&settings.home.audit()).note(&event);
}

/// What is said to a key that wants anything else.
pub(super) fn unknown_key(key: &PublicKey) -> anyhow::Error {
    Failure::new(Exit::Refused, format_args!("nobody knows the key {} here", key.fingerprint()))
        .advise("with a token it becomes known: `paas tenant join`")
        .into()
}

fn first_line() -> io::Result<String> {
    let mut line = String::new();
    io::stdin().lock().take(MAX_TOKEN_BYTES).read_line(&mut line)?;
    Ok(line.trim().to_owned())
}
