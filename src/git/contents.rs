//! `git cat-file` as a child process: object ids in, contents or sizes out, in the order they were asked for.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use git2::Oid;

use super::GitError;

/// The child; it ends when `asking` is dropped and what it answered was read.
pub(super) struct Contents {
    child: Child,
    answers: BufReader<ChildStdout>,
}

/// Where ids are asked for.
pub(super) struct Asking(ChildStdin);

impl Asking {
    pub(super) fn ask(&mut self, id: Oid) -> io::Result<()> {
        self.ask_all(&[id])
    }

    /// All at once: trees have more files than anybody wants to wait for one by one.
    pub(super) fn ask_all(&mut self, ids: &[Oid]) -> io::Result<()> {
        let lines: String = ids.iter().flat_map(|id| [id.to_string(), "\n".to_owned()]).collect();
        self.0.write_all(lines.as_bytes())
    }
}

impl Contents {
    /// Answers with `<id> <type> <size>\n<content>\n`.
    pub(super) fn whole(repository: &Path) -> Result<(Self, Asking), GitError> {
        Self::start(repository, "--batch")
    }

    /// Answers with `<id> <type> <size>\n`.
    pub(super) fn sizes(repository: &Path) -> Result<(Self, Asking), GitError> {
        Self::start(repository, "--batch-check")
    }

    fn start(repository: &Path, mode: &str) -> Result<(Self, Asking), GitError> {
        let mut child = Command::new("git")
            .arg("--git-dir")
            .arg(repository)
            .args(["cat-file", mode])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(GitError::Contents)?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (stdin, stdout) = stdin.zip(stdout).expect("both were asked to be pipes");
        Ok((Self { child, answers: BufReader::with_capacity(64 << 10, stdout) }, Asking(stdin)))
    }

    /// The size of the next object.
    pub(super) fn size(&mut self) -> io::Result<u64> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let size = line.trim_end().rsplit(' ').next().and_then(|text| text.parse().ok());
        size.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("git cat-file said {line:?}")))
    }

    /// The content of the object whose size was read just now; it must be read to its end.
    pub(super) fn content(&mut self, size: u64) -> impl Read + '_ {
        (&mut self.answers).take(size)
    }

    /// Passes over the newline after a content.
    pub(super) fn end_of_content(&mut self) -> io::Result<()> {
        self.answers.read_exact(&mut [0])
    }
}

impl Drop for Contents {
    fn drop(&mut self) {
        // Both fail only for a child that is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
