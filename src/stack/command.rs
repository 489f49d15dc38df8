//! Programs of the host, run one at a time: followed line by line, and ended with us.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::unix::pipe;

use super::{Progress, Say, StackError};

/// How much of a failed program's output its error shows.
pub(super) const SHOWN_LINES: usize = 15;

/// Runs the program to its end, as what people know as `name`. What it writes, on either stream, goes to `say`.
pub(super) async fn run(name: &str, program: &Path, arguments: &[OsString], say: Say<'_>) -> Result<(), StackError> {
    let name = || name.to_owned();
    let failed = |cause: io::Error| StackError::NotRun { program: name(), cause };
    let (reader, writer) = io::pipe().map_err(failed)?;
    let mut child = {
        // Our own ends of the pipe go with the command, or its end would never be seen.
        let mut command = tokio::process::Command::new(program);
        command.args(arguments).env("LC_ALL", "C.UTF-8").env("PATH", search_path()).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(writer.try_clone().map_err(failed)?).stderr(writer);
        command.spawn().map_err(failed)?
    };
    let mut lines = BufReader::new(pipe::Receiver::from_owned_fd(reader.into()).map_err(failed)?).split(b'\n');
    let mut last = VecDeque::new();
    while let Some(line) = lines.next_segment().await.map_err(failed)? {
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        say(Progress::Line(&line));
        if last.len() == SHOWN_LINES {
            last.pop_front();
        }
        last.push_back(line);
    }
    let status = child.wait().await.map_err(failed)?;
    if status.success() {
        return Ok(());
    }
    Err(StackError::Failed { program: name(), status, output: Vec::from(last).join("\n") })
}

/// Where the program is; administrators' programs are not on everybody's PATH.
pub(super) fn find(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&search_path()).map(|folder| folder.join(program)).find(|path| path.is_file())
}

fn search_path() -> OsString {
    OsString::from("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn shell(script: &str) -> [OsString; 2] {
        ["-c".into(), script.into()]
    }

    #[tokio::test]
    async fn both_streams_are_followed_line_by_line() {
        let seen = Mutex::new(Vec::new());
        let say = |progress: Progress<'_>| {
            if let Progress::Line(line) = progress {
                seen.lock().unwrap().push(line.to_owned());
            }
        };
        run("sh", Path::new("/bin/sh"), &shell("echo one; echo two >&2; printf three"), &say).await.unwrap();
        assert_eq!(*seen.lock().unwrap(), ["one", "two", "three"]);
    }

    #[tokio::test]
    async fn a_failure_shows_the_last_of_the_output() {
        let error = run("sh", Path::new("/bin/sh"), &shell("seq 100; exit 3"), &|_| {}).await.unwrap_err();
        let StackError::Failed { output, status, .. } = error else { panic!("{error}") };
        assert_eq!(status.code(), Some(3));
        assert!(output.starts_with("86\n") && output.ends_with("\n100"), "{output}");
    }

    #[test]
    fn programs_are_found_where_administrators_keep_theirs() {
        assert!(find("sh").is_some());
        assert_eq!(find("no-such-program"), None);
    }
}
