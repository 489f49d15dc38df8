//! `paas uninstall`: what `paas install` made is taken back.

use super::install::{Root, explained, left, told};
use crate::platform::{self, Uninstalled};
use crate::settings::Settings;
use crate::ui::{Answer, Exit, Failure, Ui};

/// Take back what `paas install` made; the data stays
///
/// Ends the systemd unit's `paas up` and removes the unit, sshd's drop-in and the file of keys. Apps keep running, and
/// the platform's home, its user and everything in the store stay, unless `--purge` is given.
#[derive(Debug, clap::Args)]
pub(super) struct Uninstall {
    /// Remove everything else too: the apps, their repositories and releases, users and keys, the system user
    #[arg(long)]
    purge: bool,
    /// With `--purge`, do not ask
    #[arg(long, short, requires = "purge")]
    yes: bool,
    #[command(flatten)]
    root: Root,
}

impl Answer for Uninstalled {
    fn text(&self) -> String {
        let steps = if self.changed { told(&self.steps, false) } else { String::new() };
        steps + &left(&self.by_hand)
    }
}

impl Uninstall {
    pub(super) async fn run(self, settings: &Settings, ui: &mut Ui) -> anyhow::Result<()> {
        self.confirm(settings, ui)?;
        let progress = ui.progress("Taking back what was installed");
        let undone = progress.during(platform::uninstall(settings, &self.root.root, self.purge)).await;
        drop(progress);
        let undone = undone.map_err(|error| explained("uninstall", error))?;
        if !undone.changed {
            ui.note("nothing of `paas install` was there")?;
        }
        ui.answer(&undone)
    }

    fn confirm(&self, settings: &Settings, ui: &mut Ui) -> anyhow::Result<()> {
        let home = settings.home.path();
        if self.yes || !self.purge || !home.exists() {
            return Ok(());
        }
        let home = home.display().to_string();
        match ui.ask(format_args!("This ends all apps and removes everything in {home}. Type `{home}` to do so:"))? {
            Some(typed) if typed == home => Ok(()),
            Some(_) => Err(Failure::new(Exit::Refused, "nothing was removed: that is not the platform's home").into()),
            None => Err(Failure::new(Exit::Refused, "nothing was removed, as nobody can be asked here")
                .advise("`--yes` does it without asking")
                .into()),
        }
    }
}
