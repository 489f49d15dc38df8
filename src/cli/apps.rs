//! `paas apps`: what is done to one app.

use super::deed::Deed;
use super::redeploy::Redeploy;
use super::subject::Subject;
use super::tokens;
use crate::accounts::access::Caller;
use crate::settings::Settings;
use crate::ui::Ui;

/// The apps of a tenant: deployed again, and the tokens by which others deploy them
#[derive(Debug, clap::Args)]
pub(super) struct Apps {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Redeploy(Redeploy),
    Token(tokens::DeployTokens),
}

impl Apps {
    pub(super) fn deed(&self) -> Deed {
        match &self.verb {
            Verb::Redeploy(redeploy) => redeploy.deed(),
            Verb::Token(tokens) => tokens.deed(),
        }
    }

    pub(super) fn subject(&mut self) -> Subject<'_> {
        match &mut self.verb {
            Verb::Redeploy(redeploy) => Subject::of(&mut redeploy.of).app(&mut redeploy.app),
            Verb::Token(tokens) => Subject::of(&mut tokens.of).app(&mut tokens.app),
        }
    }

    pub(super) async fn run(self, settings: &Settings, caller: &Caller, ui: &mut Ui) -> anyhow::Result<()> {
        match self.verb {
            Verb::Redeploy(redeploy) => redeploy.run(settings, caller, ui).await,
            Verb::Token(tokens) => tokens.run(settings, caller, ui).await,
        }
    }
}
