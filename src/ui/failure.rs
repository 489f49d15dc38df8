//! What went wrong, in the words and with the exit status that every command shares.

use std::error::Error;
use std::fmt;

use super::printable;

/// How a command ended, as its caller's script tells one end from another. Documented in `paas --help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It was tried and failed.
    Failed = 1,
    /// It cannot be meant: an unknown flag, a name that is none.
    Usage = 2,
    /// What is asked for is not there, is there already, or its state forbids it.
    Refused = 3,
    /// The platform, or a part that the command needs, cannot be reached.
    Unreachable = 4,
    /// An engine gave up its leadership, as a client wanted: Marathon's status for it, on which it is started again.
    Abdicated = 103,
    /// Another program listens where an engine was to: Marathon's status for it.
    PortTaken = 111,
}

impl Exit {
    /// Of a command whose output nobody reads any more: what it did is done, so that is no failure.
    pub const CLOSED: u8 = 0;

    pub fn status(self) -> u8 {
        self as u8
    }
}

/// A failure that knows its exit status and what to do about it; its causes are its source.
///
/// ```
/// # use paas::ui::{Exit, Failure};
/// let failure = Failure::new(Exit::Refused, "there is no tenant `dev`").advise("`paas tenant list` shows them");
/// assert_eq!(failure.exit(), Exit::Refused);
/// ```
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    what: String,
    advice: Vec<String>,
    cause: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    pub fn new(exit: Exit, what: impl fmt::Display) -> Self {
        Self { exit, what: what.to_string(), advice: Vec::new(), cause: None }
    }

    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Adds something to try; each is a line of its own.
    #[must_use]
    pub fn advise(mut self, advice: impl fmt::Display) -> Self {
        self.advice.push(advice.to_string());
        self
    }

    /// What to try, one line each.
    pub fn advice(&self) -> impl Iterator<Item = &str> {
        self.advice.iter().map(String::as_str)
    }

    pub fn exit(&self) -> Exit {
        self.exit
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as &(dyn Error + 'static))
    }
}

/// What happened, because of what, and what to try: the text of every failure of every command, whole lines.
pub fn explain(error: &anyhow::Error, colour: bool) -> String {
    let (open, close) = if colour { ("\u{1b}[1;31m", "\u{1b}[0m") } else { ("", "") };
    let mut chain = error.chain().map(|link| indented(&printable(&link.to_string())));
    let what = chain.next().unwrap_or_default();
    let mut lines = vec![format!("{open}error:{close} {what}")];
    let mut last = what;
    for because in chain {
        // A library that prints its cause in its own message would say it twice.
        if !last.contains(&because) {
            lines.push(format!("  because {because}"));
            last = because;
        }
    }
    let advice = error.chain().filter_map(|link| link.downcast_ref::<Failure>()).flat_map(Failure::advice);
    lines.extend(advice.map(|advice| format!("  try: {}", indented(&printable(advice)))));
    lines.push(String::new());
    lines.join("\n")
}

/// Further lines of a message stand below its first.
fn indented(text: &str) -> String {
    text.trim_end().replace('\n', "\n    ")
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn a_failure_says_what_why_and_what_to_do() {
        let full = std::io::Error::other("no space left");
        let error = anyhow::Error::from(
            Failure::new(Exit::Failed, "app `shop` was not deployed").because(full).advise("free some space"),
        );
        assert_eq!(
            explain(&error, false),
            "error: app `shop` was not deployed\n  because no space left\n  try: free some space\n"
        );
    }

    #[test]
    fn advice_from_any_depth_is_shown_and_a_cause_is_said_once() {
        let deep = Failure::new(Exit::Refused, "it is taken").advise("take another");
        let error = Err::<(), _>(deep).context("no tenant: it is taken").unwrap_err();
        assert_eq!(explain(&error, false), "error: no tenant: it is taken\n  try: take another\n");
    }

    #[test]
    fn hostile_text_does_not_reach_the_terminal() {
        let error = anyhow::anyhow!("bad name \u{1b}[2Jx");
        assert!(!explain(&error, false).contains('\u{1b}'));
    }
}
