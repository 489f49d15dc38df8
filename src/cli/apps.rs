//! `paas apps`: what is done to one app.

use super::deed::Deed;
use super::subject::Subject;
use super::tokens;
use crate::accounts::access::Caller;
use crate::settings::Settings;
use crate::ui::Ui;

/// The apps of a tenant: the tokens by which others deploy them
#[derive(Debug, clap::Args)]
pub(super) struct Apps {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Token(tokens::DeployTokens),
}

impl Apps {
    pub(super) fn deed(&self) -> Deed {
        let Verb::Token(tokens) = &self.verb;
        tokens.deed()
    }

    pub(super) fn subject(&mut self) -> Subject<'_> {
        let Verb::Token(tokens) = &mut self.verb;
        Subject::of(&mut tokens.of).app(&mut tokens.app)
    }

    pub(super) async fn run(self, settings: &Settings, caller: &Caller, ui: &mut Ui) -> anyhow::Result<()> {
        let Verb::Token(tokens) = self.verb;
        tokens.run(settings, caller, ui).await
    }
}
