//! What programs write, as lines that may go to a person's terminal: colours stay, all other terminal control goes, and
//! so does what is secret in tokens.

use futures_util::TryStreamExt as _;

use crate::docker::{BuildContainer, ContainerOutput, DockerError};
use crate::model::without_tokens;

/// Longest line; a longer one is cut into several, so that a build cannot fill our memory with one.
const LONGEST: usize = 4096;
/// The end of colour, put where a line would leave it on for the next one.
const RESET: &str = "\u{1b}[0m";

/// Collects bytes of one output into lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pending: Vec<u8>,
    /// A carriage return was last: with a line feed after it, it ends the line; else the line is written anew.
    returned: bool,
}

impl Lines {
    /// Takes what came, and gives each line that is complete, cleaned.
    pub(super) fn feed(&mut self, bytes: &[u8], mut line: impl FnMut(String)) {
        for &byte in bytes {
            match byte {
                b'\n' => line(self.take()),
                b'\r' => self.returned = true,
                _ => {
                    if std::mem::take(&mut self.returned) {
                        self.pending.clear();
                    }
                    self.pending.push(byte);
                    if self.pending.len() >= LONGEST {
                        line(self.take());
                    }
                }
            }
        }
    }

    /// The line that had no end, if there is one.
    pub(super) fn rest(&mut self) -> Option<String> {
        (!self.pending.is_empty()).then(|| self.take())
    }

    fn take(&mut self) -> String {
        self.returned = false;
        let line = clean(&without_tokens(&String::from_utf8_lossy(&self.pending)));
        self.pending.clear();
        line
    }
}

/// Starts the container and gives each line of its two outputs as it comes, cleaned; until it writes no more.
pub(super) async fn follow<E: From<DockerError>>(
    container: &BuildContainer,
    mut line: impl FnMut(String) -> Result<(), E>,
) -> Result<(), E> {
    let mut output = std::pin::pin!(container.start().await?);
    let (mut out, mut err, mut fresh) = (Lines::default(), Lines::default(), Vec::new());
    while let Some(piece) = output.try_next().await? {
        match piece {
            ContainerOutput::Out(bytes) => out.feed(&bytes, |line| fresh.push(line)),
            ContainerOutput::Err(bytes) => err.feed(&bytes, |line| fresh.push(line)),
        }
        fresh.drain(..).try_for_each(&mut line)?;
    }
    out.rest().into_iter().chain(err.rest()).try_for_each(line)
}

/// Removes every control sequence and control character but colours and tabs; colour is closed at the end.
pub(super) fn clean(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut coloured = false;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => {
                if let Some(colour) = escape_sequence(&mut rest) {
                    coloured = !matches!(colour.as_str(), "\u{1b}[m" | "\u{1b}[0m");
                    kept.push_str(&colour);
                }
            }
            '\t' => kept.push(c),
            _ if c.is_control() || turns_text_around(c) => {}
            _ => kept.push(c),
        }
    }
    if coloured {
        kept.push_str(RESET);
    }
    kept
}

/// Takes the rest of the sequence that an escape character began; gives it back if it only sets colours.
fn escape_sequence(rest: &mut std::str::Chars<'_>) -> Option<String> {
    match rest.next()? {
        '[' => {
            let mut parameters = String::new();
            for c in rest.by_ref() {
                match c {
                    '0'..='9' | ';' | ':' => parameters.push(c),
                    'm' => return Some(format!("\u{1b}[{parameters}m")),
                    '\u{20}'..='\u{3f}' => {}
                    _ => return None,
                }
            }
            None
        }
        // Titles, links and other strings reach up to BEL or ESC \.
        ']' | 'P' | '_' | '^' | 'X' => {
            while let Some(c) = rest.next() {
                match c {
                    '\u{7}' => break,
                    '\u{1b}' => {
                        rest.next();
                        break;
                    }
                    _ => {}
                }
            }
            None
        }
        _ => None,
    }
}

/// Marks of writing direction can make a line read as what it is not.
fn turns_text_around(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(chunks: &[&str]) -> Vec<String> {
        let (mut lines, mut all) = (Lines::default(), Vec::new());
        for chunk in chunks {
            lines.feed(chunk.as_bytes(), |line| all.push(line));
        }
        all.extend(lines.rest());
        all
    }

    #[test]
    fn lines_come_whole_however_they_were_cut() {
        assert_eq!(lines(&["one\ntw", "o\n", "\nthr", "ee"]), ["one", "two", "", "three"]);
        assert_eq!(lines(&["a\r", "\nb\r\n"]), ["a", "b"]);
    }

    #[test]
    fn of_a_progress_bar_the_last_state_stays() {
        assert_eq!(lines(&["10 %\r50 %\r100 %\n"]), ["100 %"]);
    }

    #[test]
    fn an_endless_line_is_cut() {
        let long = "x".repeat(LONGEST * 2 + 1);
        assert_eq!(lines(&[&long]).iter().map(String::len).collect::<Vec<_>>(), [LONGEST, LONGEST, 1]);
    }

    #[test]
    fn no_token_is_repeated() {
        let token = format!("paas_dt_{}", "aB3".repeat(12));
        assert_eq!(lines(&[&format!("token: {token}\n")]), [format!("token: paas_dt_{}", "x".repeat(36))]);
    }

    #[test]
    fn colours_stay_and_are_closed_and_all_else_goes() {
        for (raw, clean_text) in [
            ("\u{1b}[31mred\u{1b}[0m", "\u{1b}[31mred\u{1b}[0m"),
            ("\u{1b}[1;32mleft on", "\u{1b}[1;32mleft on\u{1b}[0m"),
            ("\u{1b}[2J\u{1b}[Hcleared", "cleared"),
            ("\u{1b}]0;title\u{7}text", "text"),
            ("\u{1b}]8;;http://x\u{1b}\\link", "link"),
            ("bell\u{7} back\u{8} nul\0", "bell back nul"),
            ("\u{9b}31mc1", "31mc1"),
            ("tab\tstays", "tab\tstays"),
            ("\u{1b}[", ""),
            ("\u{202e}txt.exe", "txt.exe"),
        ] {
            assert_eq!(clean(raw), clean_text, "{raw:?}");
        }
    }

    proptest! {
        #[test]
        fn no_control_survives_but_tabs_and_colours(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut all = Vec::new();
            let mut lines = Lines::default();
            lines.feed(&bytes, |line| all.push(line));
            all.extend(lines.rest());
            for line in all {
                for (place, c) in line.char_indices().filter(|(_, c)| c.is_control() && *c != '\t') {
                    prop_assert_eq!(c, '\u{1b}');
                    let end = line[place..].find(|c: char| c.is_ascii_alphabetic()).map(|end| place + end);
                    prop_assert!(end.is_some_and(|end| line.as_bytes()[end] == b'm'));
                }
            }
        }
    }
}
