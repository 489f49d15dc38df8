//! The builder image that all tests share, and apps built with it the way a push builds them.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::http;

/// Where the tests note which image they made, for `.ci/test` to remove it when all is done: the image outlives the
/// test binary, because a second run of it is quick then.
const MADE: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/stack-image");

/// The builder, told of the host's certificates in a way that leaves no trace in the image.
const BUILD: &str = "for name in SSL_CERT_FILE PIP_CERT NODE_EXTRA_CA_CERTS GIT_SSL_CAINFO; do \
                     export $name=/run/paas-ca/bundle.pem; done; exec /build/builder";

/// The name of the builder image, which is made if it is missing. One process at a time makes it.
pub fn stack_image() -> &'static str {
    static IMAGE: OnceLock<String> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let recipe = paas::stack::recipe(&"bookworm".parse().unwrap());
        let name = format!("paas-test/stack:{recipe}");
        let lock = File::create(format!("{MADE}.lock")).unwrap();
        lock.lock().unwrap();
        if !exists("image", &name) {
            let mut made = File::options().create(true).append(true).open(MADE).unwrap();
            writeln!(made, "{name}").unwrap();
            paas_stack_build(&["--tag", &name]).is_successful();
        }
        name
    })
}

/// Runs `paas stack build` with a home of its own.
pub fn paas_stack_build(arguments: &[&str]) -> Ran {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_paas"));
    command.arg("--home").arg(home.path()).args(["stack", "build"]).args(arguments);
    Ran::of(&mut command)
}

/// A program that ran to its end.
#[must_use]
#[derive(Debug)]
pub struct Ran {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Ran {
    pub fn of(command: &mut Command) -> Self {
        let began = Instant::now();
        let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { status: status.code(), stdout: text(&stdout), stderr: text(&stderr), took: began.elapsed() }
    }

    #[track_caller]
    pub fn is_successful(&self) -> &Self {
        assert_eq!(self.status, Some(0), "{}\n{}", self.stdout, self.stderr);
        self
    }

    #[track_caller]
    pub fn failed_with(&self, reason: &str) -> &Self {
        assert_ne!(self.status, Some(0), "{}\n{}", self.stdout, self.stderr);
        self.said(reason)
    }

    #[track_caller]
    pub fn said(&self, text: &str) -> &Self {
        let all = format!("{}\n{}", self.stdout, self.stderr);
        assert!(all.contains(text), "no {text:?} in:\n{all}");
        self
    }

    #[track_caller]
    pub fn did_not_say(&self, text: &str) -> &Self {
        let all = format!("{}\n{}", self.stdout, self.stderr);
        assert!(!all.contains(text), "{text:?} in:\n{all}");
        self
    }
}

pub fn docker(arguments: &[&str]) -> Ran {
    Ran::of(Command::new("docker").args(arguments))
}

fn exists(kind: &str, name: &str) -> bool {
    docker(&[kind, "inspect", name]).status == Some(0)
}

/// An app that is built and run; all of it is removed when this is dropped.
pub struct App {
    name: String,
    source: tempfile::TempDir,
    /// `NAME`, value: the build's settings, as the pipeline lends them.
    settings: Vec<(String, String)>,
    network: &'static str,
}

impl App {
    /// The fixture's files, or none.
    pub fn from_fixture(fixture: &str) -> Self {
        let app = Self::empty();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/apps").join(fixture);
        Ran::of(Command::new("cp").arg("-R").arg(source.join(".")).arg(app.source.path())).is_successful();
        app
    }

    pub fn empty() -> Self {
        let name = format!("paas-test-stack-{}", uuid::Uuid::new_v4());
        Self { name, source: tempfile::tempdir().unwrap(), settings: Vec::new(), network: "bridge" }
    }

    /// Where its source lies.
    pub fn path(&self) -> &Path {
        self.source.path()
    }

    /// What it was built to.
    pub fn image(&self) -> &str {
        &self.name
    }

    /// Its builds reach nothing.
    pub fn without_network(mut self) -> Self {
        self.network = "none";
        self
    }

    pub fn with_setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn with_file(self, path: &str, text: &str) -> Self {
        let file = self.source.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
        self
    }

    /// A file that can be run.
    pub fn with_program(self, path: &str, text: &str) -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let app = self.with_file(path, text);
        fs::set_permissions(app.source.path().join(path), fs::Permissions::from_mode(0o755)).unwrap();
        app
    }

    /// A container of the stack, limited as the pipeline limits it, with the source in it; then the builder.
    pub fn build(&self) -> Ran {
        let container = format!("{}-build", self.name);
        let lent = tempfile::tempdir().unwrap();
        for (name, value) in &self.settings {
            fs::write(lent.path().join(name), value).unwrap();
        }
        let settings = format!("{}:/tmp/env:ro", lent.path().display());
        let cache = format!("{}:/tmp/cache", self.name);
        let mut arguments = vec!["create", "--name", &container, "--network", self.network];
        arguments.extend(["--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--pids-limit", "1024"]);
        for capability in ["CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID"] {
            arguments.extend(["--cap-add", capability]);
        }
        arguments.extend(["--volume", &cache, "--volume", &settings, "--env", "CANARY=not-for-builds"]);
        arguments.extend(["--volume", "/etc/ssl/certs/ca-certificates.crt:/run/paas-ca/bundle.pem:ro"]);
        arguments.extend([stack_image(), "/bin/sh", "-c", BUILD]);
        docker(&arguments).is_successful();
        self.upload(&container);
        let built = docker(&["start", "--attach", &container]);
        if built.status == Some(0) {
            let _ = docker(&["image", "rm", "--force", &self.name]);
            docker(&["commit", &container, &self.name]).is_successful();
        }
        docker(&["rm", "--force", "--volumes", &container]).is_successful();
        built
    }

    /// Copies the source to /app, all root's, as an upload of a tree has it.
    fn upload(&self, container: &str) {
        let tar = Command::new("tar")
            .args(["--create", "--owner=0", "--group=0", "--directory"])
            .arg(self.source.path())
            .arg(".")
            .output()
            .unwrap();
        let mut copy = Command::new("docker")
            .args(["cp", "-", &format!("{container}:/app")])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        copy.stdin.take().unwrap().write_all(&tar.stdout).unwrap();
        assert!(copy.wait().unwrap().success());
    }

    /// Starts a process type of what was built, as Marathon would.
    pub fn start(&self, process: &str) -> Running {
        self.start_with(process, &[])
    }

    pub fn start_with(&self, process: &str, env: &[&str]) -> Running {
        let container = format!("{}-{process}", self.name);
        let mut arguments = vec!["run", "--detach", "--name", &container, "--env", "PORT=7000"];
        for variable in env {
            arguments.extend(["--env", variable]);
        }
        arguments.extend([&self.name, "/start", process]);
        docker(&arguments).is_successful();
        Running { container }
    }

    /// Runs a command in the built app's environment, to its end.
    pub fn exec(&self, command: &[&str]) -> Ran {
        docker(&[&["run", "--rm", "--network", "none", &self.name, "/exec"], command].concat())
    }

    /// The image's layers and configuration, as anybody who has the image sees them.
    pub fn history(&self) -> String {
        let history = docker(&["history", "--no-trunc", &self.name]).stdout;
        history + &docker(&["image", "inspect", &self.name]).stdout
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = docker(&["rm", "--force", "--volumes", &format!("{}-build", self.name)]);
        let _ = docker(&["image", "rm", "--force", &self.name]);
        let _ = docker(&["volume", "rm", "--force", &self.name]);
    }
}

/// A process type that runs.
pub struct Running {
    container: String,
}

impl Running {
    /// What it answers, as soon as it answers.
    #[track_caller]
    pub fn get(&self, path: &str) -> http::Answer {
        let address = self.address();
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            match http::get(address, path, None) {
                Ok(answer) => return answer,
                Err(error) => {
                    assert!(Instant::now() < deadline, "{error}\n{:?}", docker(&["logs", &self.container]));
                    // There is no event for a port that begins to listen.
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        }
    }

    fn address(&self) -> SocketAddr {
        let format = "{{.NetworkSettings.IPAddress}}";
        let ip = docker(&["inspect", "--format", format, &self.container]).stdout;
        SocketAddr::new(ip.trim().parse().expect("a container that runs has an address"), 7000)
    }

    /// Waits until it has written a line that has `text` in it.
    pub fn wait_for_line(&self, text: &str) {
        let mut logs = Command::new("docker")
            .args(["logs", "--follow", &self.container])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let found = BufReader::new(logs.stdout.take().unwrap()).lines().any(|line| line.unwrap().contains(text));
        let _ = logs.kill();
        let _ = logs.wait();
        assert!(found, "it ended without a line {text:?}");
    }

    /// Ends it with SIGTERM, and SIGKILL after five seconds; gives its exit status and all it wrote.
    pub fn stop(&self) -> (i32, Ran) {
        let stopped = docker(&["stop", "--time", "5", &self.container]);
        stopped.is_successful();
        assert!(stopped.took < Duration::from_secs(4), "it did not end on SIGTERM");
        let status = docker(&["inspect", "--format", "{{.State.ExitCode}}", &self.container]).stdout;
        (status.trim().parse().unwrap(), docker(&["logs", &self.container]))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = docker(&["rm", "--force", "--volumes", &self.container]);
    }
}
