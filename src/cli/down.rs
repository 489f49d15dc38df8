//! `paas down`: the end of a running platform.

use crate::platform::Down as Ended;
use crate::settings::Settings;
use crate::ui::{Answer, Ui};

/// End the running platform; apps keep running
///
/// Ends the `paas up` of this home: sshd, the root engine and the tenants' engines. Works, and says so, when none runs.
#[derive(Debug, clap::Args)]
pub(super) struct Down {
    /// End the apps too: remove all containers and networks of this platform. They are still asked for, so the next
    /// `paas up` starts them again
    #[arg(long)]
    apps: bool,
}

impl Answer for Ended {
    fn text(&self) -> String {
        let mut lines = vec![if self.platform {
            "The platform was ended.".to_owned()
        } else {
            "The platform was not running.".to_owned()
        }];
        if self.leftovers > 0 {
            lines.push(format!("{} processes that an earlier `paas up` had left were ended.", self.leftovers));
        }
        if self.containers + self.networks > 0 {
            lines.push(format!("Removed: {} containers, {} networks.", self.containers, self.networks));
        }
        lines.join("\n")
    }
}

impl Down {
    pub(super) async fn run(self, settings: &Settings, ui: &mut Ui) -> anyhow::Result<()> {
        let progress = ui.progress("Ending the platform");
        let ended = progress.during(Ended::of(settings, self.apps)).await?;
        drop(progress);
        ui.answer(&ended)
    }
}
