//! `paas tenant token` and `paas apps token`: what lets people join a tenant, and keys deploy an app.

use std::num::NonZeroU32;

use jiff::Timestamp;
use serde::Serialize;

use super::deed::{Deed, Right};
use super::subject::{OfApp, OfTenant, no_app_named, no_tenant_named};
use crate::accounts::access::Caller;
use crate::accounts::tokens::{self, IssuedToken, NewToken, TokenError, TokenKind};
use crate::model::{Period, Role, TokenId};
use crate::settings::Settings;
use crate::ui::{Answer, Exit, Failure, Table, Ui};

/// Create, list and revoke the tokens with which people join the tenant
#[derive(Debug, clap::Args)]
pub(super) struct Tokens {
    #[command(flatten)]
    pub(super) of: OfTenant,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make a token and show it, once: only its hash is kept
    Create {
        /// What its bearers become
        #[arg(long, value_name = "ROLE", default_value = "developer")]
        role: Role,
        /// How many may join with it
        #[arg(long, value_name = "N", default_value = "1")]
        uses: NonZeroU32,
        /// For how long it can be used, such as `30m`, `12h`
        #[arg(long, value_name = "TIME", default_value = "24h")]
        expires: Period,
    },
    /// List the tokens, which are known by their ids
    List,
    /// Revoke a token: from then on it opens nothing
    Revoke {
        /// As `list` shows it
        id: TokenId,
    },
}

/// Create, list and revoke the tokens by which keys that are no members deploy an app
///
/// Such a token stands in paas.yml, as `token:`. Whoever pushes with it needs a registered key, sees nothing of the app's
/// repository, and deploys whatever served before or after.
#[derive(Debug, clap::Args)]
pub(super) struct DeployTokens {
    #[command(flatten)]
    pub(super) of: OfTenant,
    #[command(flatten)]
    pub(super) app: OfApp,
    #[command(subcommand)]
    verb: DeployVerb,
}

#[derive(Debug, clap::Subcommand)]
enum DeployVerb {
    /// Make a token for the app and show it, once: only its hash is kept
    Create {
        /// For how long it can be used, such as `30m`, `12h` [default: until it is revoked]
        #[arg(long, value_name = "TIME")]
        expires: Option<Period>,
    },
    /// List the tokens of the app, or of all apps where none is named
    List,
    /// Revoke a token: nobody deploys by it any more, and what it deployed stays
    Revoke {
        /// As `list` shows it
        id: TokenId,
    },
}

/// A token that was just made; the only time that it is shown.
#[derive(Debug, Serialize)]
struct Made {
    token: String,
    #[serde(flatten)]
    issued: IssuedToken,
}

impl Answer for Made {
    fn text(&self) -> String {
        self.token.clone()
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Views(Vec<IssuedToken>);

impl Answer for Views {
    fn text(&self) -> String {
        let mut table = Table::headed(["ID", "FOR", "USES LEFT", "EXPIRES", "BY"]);
        for IssuedToken { id, kind, expires, by, .. } in &self.0 {
            let (purpose, uses) = match kind {
                TokenKind::Join { role, uses_left } => (format!("join as {role}"), uses_left.to_string()),
                TokenKind::Deploy { app } => (format!("deploy {app}"), "-".to_owned()),
            };
            let expires = expires.map_or_else(|| "-".to_owned(), |at| at.strftime("%Y-%m-%d %H:%M UTC").to_string());
            table.row([&id.to_string(), &purpose, &uses, &expires, by]);
        }
        table.to_string()
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Revoked(IssuedToken);

impl Answer for Revoked {
    fn text(&self) -> String {
        self.0.id.to_string()
    }
}

impl Tokens {
    pub(super) fn deed(&self) -> Deed {
        let deed = match &self.verb {
            Verb::Create { role, uses, .. } => {
                Deed::change(Right::Manage, "tenant token create").to(format_args!("{role}, {uses} uses"))
            }
            Verb::List => Deed::look(Right::Manage, "tenant token list"),
            Verb::Revoke { id } => Deed::change(Right::Manage, "tenant token revoke").to(id),
        };
        Deed { tenant: self.of.tenant.clone(), ..deed }
    }

    pub(super) async fn run(self, settings: &Settings, caller: &Caller, ui: &mut Ui) -> anyhow::Result<()> {
        let tenant = self.of.tenant.ok_or_else(no_tenant_named)?;
        let store = super::tenant::store_with(settings, &tenant).await?;
        match self.verb {
            Verb::Create { role, uses, expires } => {
                let until = from_now(expires)?;
                let made = tokens::create_join(&store, &tenant, role, uses, until, &caller.name()).await;
                let NewToken { token, issued } = made.map_err(explained)?;
                ui.note("this token is shown once; whoever has it joins by `paas tenant join`, which asks for it")?;
                ui.answer(&Made { token: token.expose().to_owned(), issued })
            }
            Verb::List => ui.answer(&Views(tokens::list(&store, &tenant).await?)),
            Verb::Revoke { id } => {
                let revoked = tokens::revoke(&store, &tenant, &id).await.map_err(explained)?;
                ui.note(format_args!("the token {id} opens nothing any more; who joined with it stays a member"))?;
                ui.answer(&Revoked(revoked))
            }
        }
    }
}

impl DeployTokens {
    pub(super) fn deed(&self) -> Deed {
        let deed = match &self.verb {
            DeployVerb::Create { .. } => Deed::change(Right::Manage, "apps token create"),
            DeployVerb::List => Deed::look(Right::Manage, "apps token list"),
            DeployVerb::Revoke { id } => Deed::change(Right::Manage, "apps token revoke").to(id),
        };
        let object = deed.object.clone().or_else(|| self.app.app.as_ref().map(ToString::to_string));
        Deed { tenant: self.of.tenant.clone(), object, ..deed }
    }

    pub(super) async fn run(self, settings: &Settings, caller: &Caller, ui: &mut Ui) -> anyhow::Result<()> {
        let tenant = self.of.tenant.ok_or_else(no_tenant_named)?;
        let store = super::tenant::store_with(settings, &tenant).await?;
        let of_app = |issued: &IssuedToken| match &issued.kind {
            TokenKind::Deploy { app } => self.app.app.as_ref().is_none_or(|wanted| wanted == app),
            TokenKind::Join { .. } => false,
        };
        match self.verb {
            DeployVerb::Create { expires } => {
                let app = self.app.app.ok_or_else(no_app_named)?;
                let until = expires.map(from_now).transpose()?;
                let made = tokens::create_deploy(&store, &tenant, &app, until, &caller.name()).await;
                let NewToken { token, issued } = made.map_err(explained)?;
                ui.note(format_args!(
                    "this token is shown once; as `token: …` in paas.yml it lets a registered key deploy `{app}` to `{tenant}`"
                ))?;
                ui.answer(&Made { token: token.expose().to_owned(), issued })
            }
            DeployVerb::List => {
                let all = tokens::list(&store, &tenant).await?;
                ui.answer(&Views(all.into_iter().filter(of_app).collect()))
            }
            DeployVerb::Revoke { id } => {
                let all = tokens::list(&store, &tenant).await?;
                if !all.iter().any(|issued| issued.id == id && of_app(issued)) {
                    return Err(explained(TokenError::Unknown { tenant, id }));
                }
                let revoked = tokens::revoke(&store, &tenant, &id).await.map_err(explained)?;
                ui.note(format_args!("nobody deploys by the token {id} any more; what it deployed stays"))?;
                ui.answer(&Revoked(revoked))
            }
        }
    }
}

fn from_now(expires: Period) -> anyhow::Result<Timestamp> {
    Ok(Timestamp::now().checked_add(expires.get()).map_err(|cause| {
        Failure::new(Exit::Usage, format_args!("`--expires {expires}` is beyond the calendar")).because(cause)
    })?)
}

pub(super) fn explained(error: TokenError) -> anyhow::Error {
    let advice = match &error {
        TokenError::NoTenant(tenant) => return super::tenant::not_there(tenant).into(),
        TokenError::Unknown { .. } => "`list` shows those there are",
        TokenError::Unusable => "ask an owner of the tenant for a new one",
        TokenError::NameNeeded(_) => "name yourself: `paas tenant join --name NAME`",
        TokenError::NameTaken(_) => "choose another: `paas tenant join --name NAME`",
        _ => return error.into(),
    };
    Failure::new(Exit::Refused, error.to_string()).advise(advice).into()
}
