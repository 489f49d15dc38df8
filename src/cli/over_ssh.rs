//! A command that runs on the receive host, through the system's `ssh`: its agents, jump hosts, known hosts and
//! configuration count, and so does what the user types into it.

use std::fs::DirBuilder;
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::client::Client;
use super::ssh_host::SshHost;
use crate::ui::{Exit, Failure, Viewer};

/// How long a connection is kept open for the next command, in seconds.
const KEPT_OPEN: u32 = 60;

/// The longest path of a socket is 108 bytes; ssh adds 17 of its own while it makes one, and `%C` stands for 40.
const MAX_SOCKET_DIRECTORY: usize = 108 - 17 - 40 - 2;

/// ssh's own status when there was no connection.
const NO_CONNECTION: i32 = 255;

/// What is sent.
#[derive(Debug)]
pub(super) struct Errand {
    /// The command line, without the program's name.
    pub(super) words: Vec<String>,
    /// What the command reads; without it, what this process reads.
    pub(super) input: Option<Vec<u8>>,
}

/// Runs it, and gives its exit status.
pub(super) fn run(host: &SshHost, errand: &Errand, user_home: Option<&Path>) -> anyhow::Result<u8> {
    let text = command_line(&errand.words)?;
    let mut command = Command::new("ssh");
    command.args(shared_connection(host, user_home)).arg("-T").args(host.arguments()).arg(text);
    command.stdin(if errand.input.is_some() { Stdio::piped() } else { Stdio::inherit() });
    let mut child = command.spawn().map_err(|cause| {
        let what = "`ssh` cannot be run, through which a command reaches its host";
        Failure::new(Exit::Unreachable, what).because(cause).advise("install OpenSSH's client")
    })?;
    if let (Some(mut pipe), Some(input)) = (child.stdin.take(), &errand.input) {
        // A host that refuses does not read; it says why.
        let _ = pipe.write_all(input);
    }
    match child.wait()?.code() {
        Some(NO_CONNECTION) => Err(Failure::new(Exit::Unreachable, format_args!("`{host}` cannot be reached by ssh"))
            .advise("what ssh said stands above")
            .advise(format_args!("`ssh {}` tries the connection alone", host.arguments().join(" ")))
            .into()),
        Some(status) => Ok(u8::try_from(status).unwrap_or(1)),
        None => {
            Err(Failure::new(Exit::Failed, "ssh was ended by a signal; what was begun on the host may be done").into())
        }
    }
}

/// The words as one text, quoted as `paas-receive` reads them. First what the host has to know of this side.
fn command_line(words: &[String]) -> anyhow::Result<String> {
    let client = Client::of_viewer(Viewer::of_process());
    let all = ["--client".to_owned(), client.to_string()].into_iter().chain(words.iter().cloned());
    all.map(|word| quoted(&word)).collect::<Result<Vec<_>, _>>().map(|words| words.join(" ")).map_err(Into::into)
}

fn quoted(word: &str) -> Result<String, Failure> {
    if word.chars().any(char::is_control) {
        let what = format_args!("an argument has a line break or a control character: {word:?}").to_string();
        return Err(Failure::new(Exit::Usage, what).advise("no command of paas needs one; leave it out"));
    }
    Ok(format!("'{}'", word.replace('\'', r"'\''")))
}

/// Consecutive commands share a connection, unless the user has arranged that otherwise.
fn shared_connection(host: &SshHost, user_home: Option<&Path>) -> Vec<String> {
    let Some(directory) = user_home.and_then(socket_directory).filter(|_| !is_arranged(host)) else {
        return Vec::new();
    };
    let path = directory.join("%C");
    let options = [
        "ControlMaster=auto".to_owned(),
        format!("ControlPath={}", path.display()),
        format!("ControlPersist={KEPT_OPEN}"),
    ];
    options.into_iter().flat_map(|option| ["-o".to_owned(), option]).collect()
}

/// A directory that nobody else can enter; none where a socket would have too long a path.
fn socket_directory(user_home: &Path) -> Option<PathBuf> {
    let directory = user_home.join(".cache/paas/ssh");
    if directory.as_os_str().len() > MAX_SOCKET_DIRECTORY || directory.to_str()?.contains(['%', '"', ' ']) {
        return None;
    }
    DirBuilder::new().recursive(true).mode(0o700).create(&directory).ok()?;
    Some(directory)
}

/// What ssh itself makes of its configuration for the host.
fn is_arranged(host: &SshHost) -> bool {
    let asked = Command::new("ssh").arg("-G").args(host.arguments()).stdin(Stdio::null()).output();
    let Ok(found) = asked else { return true };
    let text = String::from_utf8_lossy(&found.stdout).into_owned();
    let is_set = |line: &str| match line.split_once(' ') {
        Some(("controlpath", path)) => path != "none",
        Some(("controlmaster", master)) => !matches!(master, "false" | "no"),
        _ => false,
    };
    text.lines().any(is_set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_as_the_host_reads_them() {
        assert_eq!(quoted("it's $HOME").unwrap(), r"'it'\''s $HOME'");
        assert_eq!(quoted("").unwrap(), "''");
        assert!(quoted("a\nb").is_err());
    }

    #[test]
    fn a_socket_has_a_place_that_is_short_enough_and_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let home = tempfile::tempdir().unwrap();
        let directory = socket_directory(home.path()).unwrap();
        assert_eq!(directory.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        let deep = home.path().join("d".repeat(60));
        assert_eq!(socket_directory(&deep), None);
        assert!(!deep.exists());
    }
}
