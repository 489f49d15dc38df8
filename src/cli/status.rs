//! `paas status`: what of the platform serves.

use crate::platform::Status as Found;
use crate::settings::Settings;
use crate::store::Store;
use crate::ui::{Answer, Exit, Failure, Table, Ui};

/// Show what serves: Docker, the root Marathon, sshd, the tenants' Marathons
///
/// Exit status 0 when all of it does, else 4.
#[derive(Debug, clap::Args)]
pub(super) struct Status {}

impl Answer for Found {
    fn text(&self) -> String {
        let mut table = Table::headed(["PART", "ADDRESS", "STATE"]);
        for part in &self.parts {
            let state =
                part.reason.as_ref().map_or_else(|| "serves".to_owned(), |reason| format!("does not serve: {reason}"));
            table.row([&part.part, &part.address, &state]);
        }
        table.to_string()
    }
}

impl Status {
    pub(super) async fn run(self, settings: &Settings, ui: &mut Ui) -> anyhow::Result<()> {
        let store = super::store::open_existing(settings)?;
        let progress = ui.progress("Asking each part");
        let asked = Found::of(settings, store.as_ref().map(|store| store as &dyn Store));
        let found = progress.during(asked).await;
        drop(progress);
        ui.answer(&found)?;
        let advice = match (found.serves, found.process) {
            (true, _) => return Ok(()),
            (false, None) => "`paas up` starts the platform".to_owned(),
            (false, Some(_)) => format!("the log may say more: {}", settings.home.log().display()),
        };
        Err(Failure::new(Exit::Unreachable, "not all of the platform serves").advise(advice).into())
    }
}
