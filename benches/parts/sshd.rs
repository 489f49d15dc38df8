//! An sshd of root's on loopback, as plain as can be, to put ours beside.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// It ends when this is dropped.
pub struct Sshd {
    process: Child,
    port: u16,
    directory: TempDir,
}

/// A key pair with no password.
pub fn make_key(private: &Path) {
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(private).status();
    assert!(made.unwrap().success());
}

impl Sshd {
    /// `rules` are further lines of its configuration: whom it lets in, and what for.
    pub fn start(rules: &str) -> Self {
        std::fs::create_dir_all("/run/sshd").unwrap();
        let directory = tempfile::tempdir().unwrap();
        let host_key = directory.path().join("host_key");
        make_key(&host_key);
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {}\nPidFile none\nUsePAM no\nUseDNS no\nStrictModes no\n\
             AllowUsers root\nPermitRootLogin yes\nAuthenticationMethods publickey\n{rules}\n",
            host_key.display()
        );
        let file = directory.path().join("sshd_config");
        std::fs::write(&file, config).unwrap();
        let mut sshd = Command::new("/usr/sbin/sshd");
        let mut process = sshd.args(["-D", "-e", "-f"]).arg(file).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap());
        let mut said = String::new();
        while !said.contains("Server listening on ") {
            assert_ne!(lines.read_line(&mut said).unwrap(), 0, "sshd ended: {said}");
        }
        std::thread::spawn(move || lines.read_to_end(&mut Vec::new()));
        Self { process, port, directory }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    fn known_hosts(&self) -> PathBuf {
        self.directory.path().join("known_hosts")
    }

    /// ssh and its options: with that key, and with nothing of this machine's user.
    pub fn ssh(&self, key: &Path) -> Vec<String> {
        let known = format!("UserKnownHostsFile={}", self.known_hosts().display());
        let options = [
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
            "BatchMode=yes",
            "StrictHostKeyChecking=accept-new",
            "LogLevel=ERROR",
            &known,
        ];
        let mut words = vec!["ssh".to_owned(), "-F".to_owned(), "/dev/null".to_owned()];
        words.extend(options.iter().flat_map(|option| ["-o".to_owned(), (*option).to_owned()]));
        words.extend(["-i".to_owned(), key.display().to_string()]);
        words
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
