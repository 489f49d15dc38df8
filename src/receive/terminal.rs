//! How a push looks to the person who pushes: one line, one write, on the hook's standard error, which git carries to
//! the client and marks with `remote:`.

use std::io::Write;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::pipeline::Progress;

/// Longest silence: routers and firewalls cut connections that say nothing for minutes.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The pusher's terminal, as seen from the hook. A client that is gone is no error here: whether it still matters is
/// the session's to decide.
#[derive(Debug)]
pub(super) struct Terminal<W: Write> {
    out: Mutex<Screen<W>>,
}

#[derive(Debug)]
struct Screen<W> {
    out: W,
    began: Instant,
    last: Instant,
}

impl<W: Write> Terminal<W> {
    pub(super) fn new(out: W) -> Self {
        let now = Instant::now();
        Self { out: Mutex::new(Screen { out, began: now, last: now }) }
    }

    pub(super) fn show(&self, progress: &Progress) {
        self.line(&line(progress));
    }

    /// A refusal, with all that there is to say about it.
    pub(super) fn refuse(&self, text: &str) {
        for line in text.lines() {
            self.line(&format!(" !     {line}"));
        }
    }

    fn line(&self, text: &str) {
        let mut screen = self.out.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        screen.last = Instant::now();
        // One write a line, so that two writers never share one.
        let _ = screen.out.write_all(format!("{text}\n").as_bytes());
        let _ = screen.out.flush();
    }

    /// Says that work goes on whenever nothing else was said for a while; never returns.
    pub(super) async fn keep_alive(&self) {
        loop {
            let (silence, since) = {
                let screen = self.out.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                (screen.last.elapsed(), screen.began.elapsed())
            };
            match KEEP_ALIVE.checked_sub(silence) {
                Some(rest) if !rest.is_zero() => tokio::time::sleep(rest).await,
                _ => self.line(&format!("       … still at it after {} s", since.as_secs())),
            }
        }
    }
}

fn line(progress: &Progress) -> String {
    match progress {
        Progress::Step(text) => format!("-----> {text}"),
        Progress::Detail(text) => format!("       {text}"),
        // The stack's own steps come through as they are, so that a build reads like one with them.
        Progress::Output(text) if text.starts_with("----->") || text.starts_with(" !") => text.clone(),
        Progress::Output(text) => format!("       {}", text.strip_prefix("       ").unwrap_or(text)),
        Progress::Warning(text) => format!(" !     {text}"),
        Progress::Deploying(number) => format!("-----> Deploying {number}"),
        Progress::Milestone(text) => format!("=====> {text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_line_has_its_mark() {
        let mut bytes = Vec::new();
        let terminal = Terminal::new(&mut bytes);
        for progress in [
            Progress::Step("Source 3f2c1ab".into()),
            Progress::Output("-----> Python app detected".into()),
            Progress::Output("       Installing".into()),
            Progress::Detail("web.1 healthy".into()),
            Progress::Warning("slow".into()),
            Progress::Milestone("shop v1 is live".into()),
        ] {
            terminal.show(&progress);
        }
        terminal.refuse("what\nwhy");
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(
            text,
            "-----> Source 3f2c1ab\n-----> Python app detected\n       Installing\n       web.1 healthy\n !     slow\n\
             =====> shop v1 is live\n !     what\n !     why\n"
        );
    }
}
