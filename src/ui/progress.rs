//! How far something is, shown where somebody watches.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::viewer::FarTerminal;

/// What is done within this time needs no bar.
const PATIENCE: Duration = Duration::from_millis(250);
/// Ten pictures a second look alive and cost nothing.
const TICK: Duration = Duration::from_millis(100);

/// A spinner, or a bar once an amount is known. Gone from the terminal when it is dropped; the plain line that
/// remains is the caller's next note.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    seen: bool,
    /// Width of the terminal on another machine that shows it.
    far: Option<u16>,
}

impl Progress {
    pub(super) fn unseen() -> Self {
        Self { bar: ProgressBar::hidden(), seen: false, far: None }
    }

    pub(super) fn shown_later(what: &str, far: Option<u16>) -> Self {
        let bar = ProgressBar::hidden();
        bar.set_style(style("{spinner} {prefix} {msg} [{elapsed}]"));
        bar.set_prefix(what.to_owned());
        Self { bar, seen: true, far }
    }

    /// Waits for `work`, showing this meanwhile when that takes longer than 250 ms. Dropping the future drops `work`.
    pub async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = tokio::time::sleep(PATIENCE), if self.seen => {}
        }
        self.bar.set_draw_target(match self.far {
            Some(columns) => ProgressDrawTarget::term_like(Box::new(FarTerminal { columns })),
            None => ProgressDrawTarget::stderr(),
        });
        self.bar.enable_steady_tick(TICK);
        work.await
    }

    /// Says what is being done now.
    pub fn say(&self, message: impl Into<String>) {
        self.bar.set_message(super::printable(&message.into()));
    }

    /// Says how much is done; from the first time on this is a bar.
    pub fn reached(&self, done: u64, of: u64) {
        if self.bar.length() != Some(of) {
            self.bar.set_style(style("{prefix} {bar:30} {pos}/{len} {msg} [{elapsed}]"));
            self.bar.set_length(of);
        }
        self.bar.set_position(done);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates are constants, and tested")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_goes_on_with_and_without_a_watcher() {
        for progress in [Progress::unseen(), Progress::shown_later("Building", None)] {
            progress.say("step");
            progress.reached(1, 2);
            assert_eq!(progress.during(async { 7 }).await, 7);
        }
    }
}
