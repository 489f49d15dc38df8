//! A developer's git work tree, and what a push from it says.

use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

/// A Procfile whose web process serves the app's files, and ends when it is told to; alone in its container `httpd` would
/// wait to be killed.
pub const SERVES_ITS_FILES: &str = "web: sh -c 'trap exit TERM; httpd -f -p $PORT -h /app & wait'\n";

/// A work tree with one commit, made from `tests/fixtures/apps/<fixture>` or from nothing.
pub struct Project {
    directory: TempDir,
}

/// How a push ended and what its user saw.
#[must_use]
#[derive(Debug)]
pub struct Pushed {
    pub accepted: bool,
    /// git's porcelain lines: `!<TAB>ref:ref<TAB>[remote rejected] (reason)`.
    pub porcelain: String,
    /// All that went by on the terminal.
    pub output: String,
}

impl Project {
    pub fn from_fixture(fixture: &str) -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/apps").join(fixture);
        let project = Self::empty();
        let copied = Command::new("cp").arg("-R").arg(source.join(".")).arg(project.path()).status().unwrap();
        assert!(copied.success(), "no fixture {fixture}");
        project.commit("first");
        project
    }

    /// An app that serves its own files; `script` is what builds it (`tests/fixtures/builder`).
    pub fn built_by(script: &str) -> Self {
        let project = Self::empty();
        project.write("Procfile", SERVES_ITS_FILES);
        project.write("build", script);
        project.commit("first");
        project
    }

    /// A work tree with nothing in it and no commit.
    pub fn empty() -> Self {
        let project = Self { directory: tempfile::tempdir().unwrap() };
        project.git(["init", "--quiet", "--initial-branch=main"]);
        project
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let file = self.path().join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, content).unwrap();
    }

    /// Of the work tree, if it is there.
    pub fn remove(&self, path: &str) {
        let _ = std::fs::remove_file(self.path().join(path));
    }

    pub fn commit(&self, message: &str) -> String {
        self.git(["add", "--all"]);
        self.git(["commit", "--quiet", "--allow-empty", "-m", message]);
        self.git(["rev-parse", "HEAD"]).trim().to_owned()
    }

    /// Runs git in the work tree; it must succeed.
    pub fn git<const N: usize>(&self, arguments: [&str; N]) -> String {
        let output = self.command().args(arguments).output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A git command that no configuration of this machine's user changes.
    pub fn command(&self) -> Command {
        let mut command = Command::new("git");
        command.current_dir(self.path()).env_remove("GIT_DIR").env("GIT_CONFIG_GLOBAL", "/dev/null");
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), "Alice").env(format!("GIT_{role}_EMAIL"), "alice@example.org");
        }
        command
    }

    /// `git push --porcelain <arguments>` over `ssh`.
    pub fn push(&self, ssh: &str, arguments: &[&str]) -> Pushed {
        let output = self.command().env("GIT_SSH_COMMAND", ssh).args(["push", "--porcelain"]).args(arguments).output();
        Pushed::from(&output.unwrap())
    }
}

impl From<&Output> for Pushed {
    fn from(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { accepted: output.status.success(), porcelain: text(&output.stdout), output: text(&output.stderr) }
    }
}

impl Pushed {
    /// The address in the last line of a good push.
    #[track_caller]
    pub fn live_at(&self) -> String {
        assert!(self.accepted, "the push failed:\n{}\n{}", self.porcelain, self.output);
        let line =
            self.output.lines().rev().find(|line| line.contains(" is live: ")).expect("a line that says it is live");
        line.split(" is live: ").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap().to_owned()
    }

    /// The reason stands in git's own ref line.
    #[track_caller]
    pub fn is_rejected_with(&self, reason: &str) {
        assert!(!self.accepted, "the push was accepted:\n{}", self.output);
        let line = self.porcelain.lines().find(|line| line.starts_with('!')).unwrap_or_default();
        assert!(line.contains(reason), "no {reason:?} in {line:?}\n{}", self.output);
    }
}
