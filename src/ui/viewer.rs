//! Somebody who watches from another machine: the streams are pipes here, and a terminal there.

use std::io::{self, IsTerminal as _, Write as _};

use indicatif::TermLike;

/// How what is written is seen, where that is not on a terminal of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Viewer {
    /// Width of the terminal where stderr is shown; none when it is no terminal there either.
    pub columns: Option<u16>,
    /// Somebody sits there and can be asked.
    pub can_ask: bool,
}

impl Viewer {
    /// The one who watches this process.
    pub fn of_process() -> Self {
        /// Of a terminal that does not tell its width.
        const USUAL: u16 = 80;
        let stderr = io::stderr();
        let watches = stderr.is_terminal();
        let told =
            || rustix::termios::tcgetwinsize(&stderr).ok().map(|size| size.ws_col).filter(|columns| *columns > 0);
        let columns = watches.then(|| told().unwrap_or(USUAL));
        Self { columns, can_ask: watches && io::stdin().is_terminal() }
    }
}

/// stderr, drawn upon as the terminal that it leads to.
#[derive(Debug)]
pub(super) struct FarTerminal {
    pub(super) columns: u16,
}

impl FarTerminal {
    fn send(text: &str) -> io::Result<()> {
        let mut stderr = io::stderr();
        stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush())
    }
    /// Moves the cursor that far, in the direction of ANSI's letter.
    fn moved(distance: usize, direction: char) -> io::Result<()> {
        if distance == 0 { Ok(()) } else { Self::send(&format!("\u{1b}[{distance}{direction}")) }
    }
}

impl TermLike for FarTerminal {
    fn width(&self) -> u16 {
        self.columns
    }
    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        Self::moved(n, 'A')
    }
    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        Self::moved(n, 'B')
    }
    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        Self::moved(n, 'C')
    }
    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        Self::moved(n, 'D')
    }
    fn write_line(&self, text: &str) -> io::Result<()> {
        // There is no terminal on this side that would turn a line's end into the two characters it takes.
        Self::send(&format!("{text}\r\n"))
    }
    fn write_str(&self, text: &str) -> io::Result<()> {
        Self::send(text)
    }
    fn clear_line(&self) -> io::Result<()> {
        Self::send("\r\u{1b}[2K")
    }
    fn flush(&self) -> io::Result<()> {
        io::stderr().flush()
    }
}
