//! What people and programs see: answers on stdout, narrative on stderr, one way to print a failure.
//!
//! The library below never prints; it reports through values and callbacks, which end here.

mod failure;
mod hang_up;
mod log;
mod progress;
mod table;
mod viewer;

use std::fmt;
use std::io::{self, IsTerminal, Write};

use serde::Serialize;

pub use failure::{Exit, Failure, explain};
pub use hang_up::hung_up;
pub use log::log_to_stderr;
pub use progress::Progress;
pub use table::{Table, printable};
pub use viewer::Viewer;

/// What a command answers: a document for programs, text for people.
pub trait Answer: Serialize {
    /// For people: whole lines, usually a [`Table`]'s; empty when there is nothing to show.
    fn text(&self) -> String;
}

/// In which form answers go to stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Text,
    Json,
}

/// What the command line asked of the output.
#[derive(Debug, Clone, Copy)]
pub struct Wishes {
    pub form: Form,
    /// Answers, warnings and failures alone.
    pub quiet: bool,
    pub colour: bool,
}

/// The reader of our output went away, so nobody can be told anything: the program ends quietly.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads the output any more")]
pub struct Closed;

/// The two streams and how to write to them.
pub struct Ui {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    wishes: Wishes,
    /// stderr is a terminal, so things may move and have colours.
    lively: bool,
    /// It is one on another machine, of that width.
    far: Option<u16>,
    /// Somebody sits at stdin and can be asked.
    can_ask: bool,
}

impl fmt::Debug for Ui {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ui").field("wishes", &self.wishes).field("lively", &self.lively).finish_non_exhaustive()
    }
}

impl Ui {
    /// The process' own streams.
    pub fn of_process(wishes: Wishes) -> Self {
        let lively = io::stderr().is_terminal();
        let can_ask = lively && io::stdin().is_terminal();
        let wishes = Wishes { colour: wishes.colour && lively, ..wishes };
        Self { out: Box::new(io::stdout()), err: Box::new(io::stderr()), wishes, lively, far: None, can_ask }
    }

    /// The process' own streams, which lead to somebody on another machine.
    pub fn for_viewer(wishes: Wishes, viewer: Viewer) -> Self {
        let lively = viewer.columns.is_some();
        let wishes = Wishes { colour: wishes.colour && lively, ..wishes };
        let (out, err) = (Box::new(io::stdout()), Box::new(io::stderr()));
        Self { out, err, wishes, lively, far: viewer.columns, can_ask: viewer.can_ask }
    }

    /// Any two streams, neither of which is a terminal.
    pub fn writing_to(out: impl Write + Send + 'static, err: impl Write + Send + 'static, form: Form) -> Self {
        let wishes = Wishes { form, quiet: false, colour: false };
        Self { out: Box::new(out), err: Box::new(err), wishes, lively: false, far: None, can_ask: false }
    }

    /// Gives the answer: one JSON document, or text.
    pub fn answer(&mut self, answer: &impl Answer) -> anyhow::Result<()> {
        let mut text = match self.wishes.form {
            Form::Json => serde_json::to_string_pretty(answer)?,
            Form::Text => answer.text(),
        };
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        Ok(written(self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush()))?)
    }

    /// Tells a line of what is going on; not with `--quiet`.
    pub fn note(&mut self, line: impl fmt::Display) -> Result<(), Closed> {
        if self.wishes.quiet { Ok(()) } else { self.line(&line.to_string()) }
    }

    /// Where what is going on is told by whoever writes its lines; with `--quiet` that is nowhere.
    pub fn narrative(&mut self) -> Box<dyn Write + Send + '_> {
        if self.wishes.quiet { Box::new(io::sink()) } else { Box::new(&mut self.err) }
    }

    pub fn wishes(&self) -> Wishes {
        self.wishes
    }

    /// Tells what may need somebody's attention, though the command goes on.
    pub fn warn(&mut self, line: impl fmt::Display) -> Result<(), Closed> {
        let label = if self.wishes.colour { "\u{1b}[33mwarning:\u{1b}[0m" } else { "warning:" };
        self.line(&format!("{label} {line}"))
    }

    /// Shows how far something is, for as long as the value lives: only on a terminal, and only when it takes a while.
    pub fn progress(&self, what: impl fmt::Display) -> Progress {
        if self.lively && !self.wishes.quiet {
            Progress::shown_later(&what.to_string(), self.far)
        } else {
            Progress::unseen()
        }
    }

    /// Asks a question on the terminal and gives the line that was typed; nothing when nobody can be asked.
    pub fn ask(&mut self, question: impl fmt::Display) -> anyhow::Result<Option<String>> {
        if !self.can_ask {
            return Ok(None);
        }
        written(write!(self.err, "{question} ").and_then(|()| self.err.flush()))?;
        let mut typed = String::new();
        io::stdin().read_line(&mut typed)?;
        Ok(Some(typed.trim().to_owned()))
    }

    /// Prints a failure as [`explain`] words it and gives the exit status that goes with it.
    pub fn fail(&mut self, error: &anyhow::Error, exit: Exit) -> u8 {
        if error.chain().any(<dyn std::error::Error>::is::<Closed>) {
            return Exit::CLOSED;
        }
        // When even stderr is gone the status is all that can be said.
        let _ = self.err.write_all(explain(error, self.wishes.colour).as_bytes()).and_then(|()| self.err.flush());
        exit.status()
    }

    /// One line, one write, so that lines of several processes never mix.
    fn line(&mut self, text: &str) -> Result<(), Closed> {
        written(self.err.write_all(format!("{text}\n").as_bytes()).and_then(|()| self.err.flush()))
    }
}

/// Any failure to write is the reader's end: there is nobody left to tell another reason to.
fn written(result: io::Result<()>) -> Result<(), Closed> {
    result.map_err(|_| Closed)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Page {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }
    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A pipe whose reader has left.
    struct Gone;
    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[derive(Serialize)]
    struct Greeting {
        name: &'static str,
    }
    impl Answer for Greeting {
        fn text(&self) -> String {
            format!("hello {}", self.name)
        }
    }

    #[test]
    fn answers_go_to_stdout_and_narrative_to_stderr() {
        let (out, err) = (Page::default(), Page::default());
        let mut ui = Ui::writing_to(out.clone(), err.clone(), Form::Text);
        ui.note("looking").unwrap();
        ui.warn("dusty").unwrap();
        ui.answer(&Greeting { name: "ada" }).unwrap();
        assert_eq!((out.text().as_str(), err.text().as_str()), ("hello ada\n", "looking\nwarning: dusty\n"));
    }

    #[test]
    fn a_program_gets_one_json_document() {
        let out = Page::default();
        Ui::writing_to(out.clone(), Page::default(), Form::Json).answer(&Greeting { name: "ada" }).unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&out.text()).unwrap(), serde_json::json!({"name": "ada"}));
    }

    #[test]
    fn a_closed_pipe_is_a_quiet_exit() {
        let err = Page::default();
        let mut ui = Ui::writing_to(Gone, err.clone(), Form::Text);
        let closed = ui.answer(&Greeting { name: "ada" }).unwrap_err();
        assert_eq!(ui.fail(&closed, Exit::Failed), Exit::CLOSED);
        assert_eq!(err.text(), "");
    }

    #[test]
    fn quiet_keeps_warnings_and_drops_notes() {
        let err = Page::default();
        let mut ui = Ui::writing_to(Page::default(), err.clone(), Form::Text);
        ui.wishes.quiet = true;
        ui.note("looking").unwrap();
        ui.warn("dusty").unwrap();
        assert_eq!(err.text(), "warning: dusty\n");
    }

    #[test]
    fn nobody_is_asked_where_nobody_sits() {
        let mut ui = Ui::writing_to(Page::default(), Page::default(), Form::Text);
        assert_eq!(ui.ask("Really?").unwrap(), None);
    }
}
