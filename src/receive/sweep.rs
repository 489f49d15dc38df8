//! `paas-receive sweep`: the pipeline's sweep and the letterboxes', with the settings, and what is said of it.

use std::fmt;
use std::sync::Arc;

use super::letterbox;
use crate::delivery;
use crate::docker::{Docker, Socket};
use crate::pipeline::{Keep, Leftover, Sweep, SweepError};
use crate::settings::Settings;
use crate::store::SqliteStore;
use crate::ui::{Exit, Failure};

/// What went; its text has one line for each kind.
#[derive(Debug)]
pub(super) struct Swept {
    swept: crate::pipeline::Swept,
    dry_run: bool,
}

/// Sweeps once.
pub(super) async fn sweep(settings: &Settings, dry_run: bool) -> Result<Swept, SweepError> {
    let home = &settings.home;
    let sweep = Sweep {
        store: Arc::new(SqliteStore::open(&home.store())?),
        docker: Docker::at(Socket(settings.docker.socket.clone())),
        home_label: home.path().display().to_string(),
        registry: delivery::registry(settings),
        keep: Keep {
            slugs: settings.keep.slugs as usize,
            builds: settings.keep.builds as usize,
            build_age: settings.keep.build_age.get(),
        },
        logs: home.logs(),
        repositories: home.repositories(),
        letterboxes: home.letterboxes(),
        dry_run,
    };
    let mut swept = sweep.run().await?;
    let idle = letterbox::idle(&home.letterboxes());
    if !dry_run {
        letterbox::sweep(&home.letterboxes());
    }
    for letterbox in idle {
        swept.tried(Leftover::Letterboxes, Ok::<_, SweepError>(dry_run || !letterbox.exists()));
    }
    Ok(Swept { swept, dry_run })
}

impl Swept {
    /// Fails with what could not be swept, if anything could not.
    pub(super) fn ended(self) -> Result<(), Failure> {
        let mut troubles = self.swept.troubles.into_iter();
        let Some(first) = troubles.next() else { return Ok(()) };
        let what = match troubles.len() {
            0 => "something could not be swept".to_owned(),
            more => format!("{} things could not be swept; the first", more + 1),
        };
        let failure = Failure::new(Exit::Failed, what).because(first);
        Err(failure.advise("the next sweep tries again; the rest was swept"))
    }
}

impl fmt::Display for Swept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.swept.counts.is_empty() && self.swept.notes.is_empty() {
            return writeln!(f, "nothing to sweep");
        }
        for (kind, count) in &self.swept.counts {
            let verb = match (kind, self.dry_run) {
                (Leftover::Abandoned, false) => "marked as abandoned",
                (Leftover::Abandoned, true) => "would mark as abandoned",
                (Leftover::Repositories, false) => "tidied",
                (Leftover::Repositories, true) => "would tidy",
                (_, false) => "removed",
                (_, true) => "would remove",
            };
            writeln!(f, "{verb} {kind}: {count}")?;
        }
        self.swept.notes.iter().try_for_each(|note| writeln!(f, "note: {note}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn swept(counts: &[(Leftover, usize)], dry_run: bool) -> String {
        let counts = counts.iter().copied().collect();
        let swept = crate::pipeline::Swept { counts, ..crate::pipeline::Swept::default() };
        Swept { swept, dry_run }.to_string()
    }

    #[test]
    fn each_kind_has_its_line() {
        let counts = [(Leftover::Repositories, 1), (Leftover::Slugs, 2)];
        assert_eq!(swept(&counts, false), "removed old slugs: 2\ntidied repositories that had grown: 1\n");
        assert_eq!(swept(&counts, true), "would remove old slugs: 2\nwould tidy repositories that had grown: 1\n");
        assert_eq!(swept(&[], true), "nothing to sweep\n");
    }

    #[test]
    fn what_could_not_be_swept_is_said_and_fails() {
        let troubles = vec![SweepError::Busy(None), SweepError::Busy(None)];
        let swept = crate::pipeline::Swept { troubles, ..crate::pipeline::Swept::default() };
        let failure = Swept { swept, dry_run: false }.ended().unwrap_err();
        assert!(failure.to_string().contains("2 things could not be swept"), "{failure}");
    }
}
