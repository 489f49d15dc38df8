//! How a push looks to the person who pushes: one line, one write. A hook's standard error is carried to the client by
//! git, which marks it with `remote:`.

use std::io::Write;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::pipeline::Progress;

/// Longest silence: routers and firewalls cut connections that say nothing for minutes.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The pusher's terminal, as seen from the hook. A client that is gone is no error here: whether it still matters is
/// the session's to decide.
#[derive(Debug)]
pub struct Terminal<W: Write> {
    out: Mutex<Screen<W>>,
    longest_silence: Duration,
}

#[derive(Debug)]
struct Screen<W> {
    out: W,
    began: Instant,
    last: Instant,
}

impl<W: Write> Terminal<W> {
    pub fn new(out: W) -> Self {
        let now = Instant::now();
        Self { out: Mutex::new(Screen { out, began: now, last: now }), longest_silence: KEEP_ALIVE }
    }

    pub fn show(&self, progress: &Progress) {
        if let Some(line) = progress.line() {
            self.line(&line);
        }
    }

    /// A refusal, with all that there is to say about it.
    pub fn refuse(&self, text: &str) {
        for line in text.lines() {
            self.line(&format!(" !     {line}"));
        }
    }

    /// One that is whole already.
    pub fn line(&self, text: &str) {
        let mut screen = self.out.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        screen.last = Instant::now();
        // One write a line, so that two writers never share one.
        let _ = screen.out.write_all(format!("{text}\n").as_bytes());
        let _ = screen.out.flush();
    }

    /// Says that work goes on whenever nothing else was said for a while; never returns.
    pub async fn keep_alive(&self) {
        loop {
            let (silence, since) = {
                let screen = self.out.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                (screen.last.elapsed(), screen.began.elapsed())
            };
            match self.longest_silence.checked_sub(silence) {
                Some(rest) if !rest.is_zero() => tokio::time::sleep(rest).await,
                _ => self.line(&format!("       … still at it after {} s", since.as_secs())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tells each line and when it came.
    struct Times(std::sync::mpsc::Sender<(Instant, String)>);

    impl Write for Times {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let text = String::from_utf8_lossy(bytes).into_owned();
            self.0.send((Instant::now(), text)).map(|()| bytes.len()).map_err(std::io::Error::other)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_silence_is_broken_when_it_is_over_and_not_before() {
        assert_eq!(KEEP_ALIVE, Duration::from_secs(15));
        let silence = Duration::from_millis(100);
        let (times, seen) = std::sync::mpsc::channel();
        let terminal = Terminal { longest_silence: silence, ..Terminal::new(Times(times)) };
        let mut lines = Vec::new();
        while lines.len() < 4 {
            // Its end is not awaited: it goes on for as long as it is asked.
            let _ = tokio::time::timeout(silence * 2, terminal.keep_alive()).await;
            if lines.len() == 1 {
                terminal.show(&Progress::Detail("something else".into()));
            }
            lines.extend(seen.try_iter());
        }
        assert!(lines.iter().filter(|(_, line)| line.contains("something else")).count() == 1, "{lines:?}");
        assert!(lines[0].1.starts_with("       … still at it after 0 s"), "{lines:?}");
        for pair in lines.windows(2).filter(|pair| pair[1].1.contains("still at it")) {
            // What is measured includes how long the writing of the first one took.
            assert!(pair[1].0 - pair[0].0 >= silence / 2, "{lines:?}");
        }
    }

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
