//! Programs of the operating system that are run for what they do or print.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// A program did not do what it was run for.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    #[error("`{program}` could not be started")]
    NotStarted {
        program: String,
        #[source]
        cause: std::io::Error,
    },
    #[error("`{program}` ended with {status}: {said}")]
    Failed { program: String, status: std::process::ExitStatus, said: String },
}

/// Where programs are looked for. The last ones are not in every user's PATH, and sshd is there.
const DIRECTORIES: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// PATH of everything the platform starts.
pub(super) fn path() -> String {
    DIRECTORIES.join(":")
}

/// The absolute path of a program.
pub(super) fn find(program: &str) -> Option<PathBuf> {
    DIRECTORIES.iter().map(|directory| Path::new(directory).join(program)).find(|path| path.is_file())
}

/// Runs a program with an environment of nothing but PATH and gives what it printed.
pub(super) async fn run<S: AsRef<OsStr>>(
    program: &str,
    arguments: impl IntoIterator<Item = S>,
) -> Result<String, ToolError> {
    let place = find(program).unwrap_or_else(|| program.into());
    let mut command = tokio::process::Command::new(place);
    command.args(arguments).env_clear().env("PATH", path()).stdin(Stdio::null()).kill_on_drop(true);
    let output =
        command.output().await.map_err(|cause| ToolError::NotStarted { program: program.to_owned(), cause })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = [&output.stderr, &output.stdout].map(|bytes| String::from_utf8_lossy(bytes).trim().to_owned());
    let said = said.into_iter().find(|text| !text.is_empty()).unwrap_or_else(|| "nothing said".to_owned());
    Err(ToolError::Failed { program: program.to_owned(), status: output.status, said })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failing_program_is_quoted() {
        assert_eq!(run("echo", ["a b"]).await.unwrap(), "a b\n");
        let error = run("sh", ["-c", "echo broken >&2; exit 3"]).await.unwrap_err().to_string();
        assert!(error.contains("`sh`") && error.contains('3') && error.ends_with(": broken"), "{error}");
        assert!(matches!(run("no-such-program", [""; 0]).await, Err(ToolError::NotStarted { .. })));
    }
}
