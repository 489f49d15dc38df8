//! A whole platform of its own for a test: real sshd, real engine, real Docker, its own home, ports and system user.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

/// Where homes of tests are made. sshd trusts nothing below /tmp, and the system user must be able to reach it.
const HOMES: &str = "/var/lib";

/// How many platforms this test run has made.
static MADE: AtomicU32 = AtomicU32::new(0);

/// A home, ports and a user for a platform, whether it runs or not. All of it goes when this is dropped, also when
/// the test has failed: processes, containers, networks, volumes, directory, user.
pub struct TestPlatform {
    home: TempDir,
    user: String,
    ssh_port: u16,
    engine_port: u16,
    environment: Vec<(String, String)>,
    clients: TempDir,
}

/// A key pair of somebody who pushes.
#[derive(Clone)]
pub struct TestKey {
    private: PathBuf,
}

impl TestKey {
    /// The public half, as one hands it to `paas keys add`.
    pub fn public(&self) -> PathBuf {
        self.private.with_extension("pub")
    }
    pub fn private(&self) -> &Path {
        &self.private
    }
}

/// How a command of `paas` ended, and what it said.
#[must_use]
#[derive(Debug)]
pub struct Said {
    pub status: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    /// It must have succeeded.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.status, 0, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }
    /// It must have failed with this status and named all of these.
    #[track_caller]
    pub fn fails(self, status: i32, naming: &[&str]) -> Self {
        assert_eq!(self.status, status, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        for text in naming {
            assert!(self.err.contains(text), "{text:?} is not in:\n{}", self.err);
        }
        self
    }
    /// The answer to a command with `--json`.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {:?}", self.out))
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { status: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl TestPlatform {
    /// A platform that serves.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// A platform that serves, with these `PAAS_*` variables at its start.
    pub fn start_with(environment: &[(&str, &str)]) -> Self {
        let platform = Self::prepare(environment);
        let _ = platform.up().ok();
        platform
    }

    /// A platform that could be started.
    pub fn prepare(environment: &[(&str, &str)]) -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let home = tempfile::Builder::new().prefix("paas-test-").tempdir_in(HOMES).unwrap();
        std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut environment: Vec<_> = environment.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        // Behind a proxy with a CA of its own, builds need that CA as much as we do.
        if let Some(bundle) = std::env::var("SSL_CERT_FILE").ok().filter(|path| Path::new(path).exists()) {
            environment.push(("PAAS_BUILD_CA_BUNDLE".to_owned(), bundle));
        }
        Self {
            home,
            user: format!("paas-t{}-{number}", std::process::id()),
            ssh_port: free_port(),
            engine_port: free_port(),
            environment,
            clients: tempfile::tempdir().unwrap(),
        }
    }

    /// `paas up --detach` on this home, these ports and this user.
    pub fn up(&self) -> Said {
        let (ssh, engine) = (self.ssh_port.to_string(), self.engine_port.to_string());
        self.paas(["up", "--detach", "--ssh-port", &ssh, "--engine-port", &engine, "--user", &self.user])
    }

    /// `paas` with this home, in an environment of nothing but PATH and what this platform was given.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_paas"));
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.env_clear().env("PATH", path).env("PAAS_HOME", self.home()).stdin(Stdio::null());
        command.envs(self.environment.iter().cloned());
        command
    }

    /// Runs `paas` to its end.
    pub fn paas<const N: usize>(&self, arguments: [&str; N]) -> Said {
        self.command().args(arguments).output().unwrap().into()
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }
    pub fn user(&self) -> &str {
        &self.user
    }
    pub fn ssh_port(&self) -> u16 {
        self.ssh_port
    }
    pub fn engine_port(&self) -> u16 {
        self.engine_port
    }

    /// `http://…` of the root engine.
    pub fn root_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.engine_port)
    }

    /// `user:password` of the root engine.
    pub fn root_credentials(&self) -> String {
        let path = self.home().join("engines/root.credentials");
        std::fs::read_to_string(path).unwrap().trim().to_owned()
    }

    /// A new key pair, registered to `name`.
    pub fn key_of(&self, name: &str) -> TestKey {
        let key = self.unknown_key(name);
        let _ = self.paas(["keys", "add", "--user", name, &key.public().display().to_string()]).ok();
        key
    }

    /// A new key pair that the platform does not know.
    pub fn unknown_key(&self, name: &str) -> TestKey {
        let private = self.clients.path().join(format!("{name}-{}", MADE.fetch_add(1, Ordering::Relaxed)));
        let mut make = Command::new("ssh-keygen");
        make.args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(&private);
        assert!(make.status().unwrap().success());
        TestKey { private }
    }

    /// What `GIT_SSH_COMMAND` takes: ssh with that key, and with nothing of this machine's user.
    pub fn ssh_command(&self, key: &TestKey) -> String {
        self.ssh_words(key).join(" ")
    }

    /// `ssh` to the platform with that key, running `command`.
    pub fn ssh(&self, key: &TestKey, command: &str) -> Said {
        self.ssh_process(key, command).stdin(Stdio::null()).output().unwrap().into()
    }

    /// The same, not started yet.
    pub fn ssh_process(&self, key: &TestKey, command: &str) -> Command {
        let words = self.ssh_words(key);
        let port = self.ssh_port.to_string();
        let place = format!("{}@127.0.0.1", self.user);
        let mut ssh = Command::new(&words[0]);
        ssh.args(&words[1..]).args(["-p", &port, &place, command]);
        ssh
    }

    fn ssh_words(&self, key: &TestKey) -> Vec<String> {
        let options = [
            "IdentitiesOnly=yes".to_owned(),
            "IdentityAgent=none".to_owned(),
            "BatchMode=yes".to_owned(),
            "StrictHostKeyChecking=accept-new".to_owned(),
            format!("UserKnownHostsFile={}", self.clients.path().join("known_hosts").display()),
            "LogLevel=ERROR".to_owned(),
        ];
        let mut words = vec!["ssh".to_owned(), "-F".to_owned(), "/dev/null".to_owned()];
        words.extend(["-i".to_owned(), key.private().display().to_string()]);
        words.extend(options.into_iter().flat_map(|option| ["-o".to_owned(), option]));
        words
    }

    /// Containers of builds, also those that ended.
    pub fn builds(&self) -> BTreeSet<String> {
        // Instances have the label from their image, but empty.
        let home = format!("label=paas.home={}", self.home().display());
        let format = "{{.ID}} {{.Label \"paas.push\"}}";
        let mut list = Command::new("docker");
        list.args(["ps", "--all", "--filter", &home, "--filter", "label=paas.push", "--format", format]);
        let listed = String::from_utf8_lossy(&list.output().unwrap().stdout).into_owned();
        listed.lines().filter_map(|line| line.trim().split_once(' ')).map(|(id, _)| id.to_owned()).collect()
    }

    /// The remote that `git push` takes.
    pub fn remote(&self, tenant: &str, app: &str) -> String {
        format!("ssh://{}@127.0.0.1:{}/{tenant}/{app}", self.user, self.ssh_port)
    }

    /// What the platform in the background has told, for a test that failed.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.home().join("run/up.log")).unwrap_or_default()
    }

    /// Running processes of this platform, by their arguments and by their user.
    pub fn processes(&self) -> Vec<String> {
        let listed = Command::new("ps").args(["-eo", "user:40=,pid=,args=", "-ww"]).output().unwrap();
        let home = self.home().display().to_string();
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        // An ended one that init has not yet asked how it ended is no process any more.
        let lives = |line: &str| !line.ends_with("<defunct>");
        let ours =
            |line: &&str| lives(line) && (line.contains(&home) || line.split_whitespace().next() == Some(self.user()));
        listed.lines().filter(ours).map(ToOwned::to_owned).collect()
    }

    /// Ids of what this platform has in Docker: `container`, `network` or `volume`.
    pub fn in_docker(&self, kind: &str) -> Vec<String> {
        let filter = format!("label=paas.home={}", self.home().display());
        let mut list = Command::new("docker");
        list.args([kind, "ls", "--quiet", "--filter", &filter]);
        if kind == "container" {
            list.arg("--all");
        }
        let listed = list.output().unwrap();
        String::from_utf8_lossy(&listed.stdout).lines().map(ToOwned::to_owned).collect()
    }
}

impl Drop for TestPlatform {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the platform's log:\n{}", self.log());
        }
        let down = self.paas(["down", "--apps"]);
        let volumes = self.in_docker("volume");
        if !volumes.is_empty() {
            let _ = Command::new("docker").args(["volume", "rm", "--force"]).args(&volumes).output();
        }
        // Slugs, by id: one may have several names.
        let filter = format!("label=paas.home={}", self.home().display());
        let listed = Command::new("docker").args(["images", "--quiet", "--filter", &filter]).output().unwrap();
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        let slugs: std::collections::BTreeSet<&str> = listed.lines().collect();
        if !slugs.is_empty() {
            let _ = Command::new("docker").args(["rmi", "--force"]).args(&slugs).output();
        }
        let _ = Command::new("userdel").arg(&self.user).output();
        assert!(down.status == 0 || std::thread::panicking(), "paas down failed: {}", down.err);
    }
}

/// A port that was free just now. The kernel gives the same one out again only after all others.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
