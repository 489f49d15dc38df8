//! Somebody's own machine: a home, a key, `paas` and git, and a platform that is elsewhere.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::platform::{Said, TestKey, TestPlatform};

pub struct Laptop<'a> {
    home: TempDir,
    name: &'static str,
    key: TestKey,
    platform: &'a TestPlatform,
}

impl<'a> Laptop<'a> {
    /// With a key that the platform does not know, or knows as another's.
    pub fn of(name: &'static str, key: TestKey, platform: &'a TestPlatform) -> Self {
        let home = tempfile::tempdir().unwrap();
        // ssh looks for its configuration where the machine's user lives, whatever HOME says.
        let program = home.path().join("bin/ssh");
        std::fs::create_dir_all(program.parent().unwrap()).unwrap();
        let words = platform.ssh_command(&key);
        std::fs::write(&program, format!("#!/bin/sh\nexec /usr/bin/{words} \"$@\"\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self { home, name, key, platform }
    }

    /// `paas` with nothing of the host's but its address.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_paas"));
        let path = format!("{}:/usr/bin:/bin", self.home.path().join("bin").display());
        let host = format!("{}@127.0.0.1:{}", self.platform.user(), self.platform.ssh_port());
        command
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.home.path())
            .env("USER", self.name)
            .env("PAAS_HOST", host);
        command.current_dir(self.home.path()).stdin(Stdio::null());
        command
    }

    /// Runs `paas` to its end.
    pub fn paas<const N: usize>(&self, arguments: [&str; N]) -> Said {
        self.command().args(arguments).output().unwrap().into()
    }

    /// The same, with something to read.
    pub fn paas_reading<const N: usize>(&self, arguments: [&str; N], input: &str) -> Said {
        let mut command = self.command();
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        // A host that refuses does not read.
        let _ = process.stdin.take().unwrap().write_all(input.as_bytes());
        process.wait_with_output().unwrap().into()
    }

    /// What `GIT_SSH_COMMAND` takes.
    pub fn ssh(&self) -> String {
        self.platform.ssh_command(&self.key)
    }

    /// The connections that are kept open for the next command.
    pub fn open_connections(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.home.path().join(".cache/paas/ssh")).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    }
}

impl Drop for Laptop<'_> {
    fn drop(&mut self) {
        for socket in self.open_connections() {
            let mut end = Command::new("/usr/bin/ssh");
            end.args(["-F", "/dev/null", "-O", "exit", "-S"]).arg(socket).arg("anywhere");
            let _ = end.stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
    }
}
