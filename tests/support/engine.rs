//! `paas engine` as a process, with a state, a network and containers of its own; all of it goes when this is dropped.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::contract;
use super::event_stream::EventStream;

/// How many engines this test run has made.
static MADE: AtomicU32 = AtomicU32::new(0);

/// The Docker that an engine is given.
#[derive(Debug, Clone)]
pub enum DockerAt {
    /// The machine's, in which the engine's network and containers are removed at the end.
    Machine,
    /// A real one of the test's own, which goes with all that is in it.
    Own(PathBuf),
    /// A double, which has nothing that would stay.
    Double(PathBuf),
}

/// An engine to be started; what is not said is as most tests want it.
#[derive(Debug, Clone)]
pub struct Setup {
    arguments: Vec<String>,
    credentials: Option<String>,
    docker: DockerAt,
    state: Option<PathBuf>,
    environment: Vec<(String, String)>,
    open_files: Option<u32>,
}

impl Setup {
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        self
    }
    pub fn credentials(mut self, credentials: Option<&str>) -> Self {
        self.credentials = credentials.map(str::to_owned);
        self
    }
    pub fn docker(mut self, docker: DockerAt) -> Self {
        self.docker = docker;
        self
    }
    /// A directory of the test's own for the state.
    pub fn state(mut self, directory: &Path) -> Self {
        self.state = Some(directory.to_owned());
        self
    }
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }
    /// The soft limit of open files that the engine begins with.
    pub fn open_files(mut self, limit: u32) -> Self {
        self.open_files = Some(limit);
        self
    }

    pub fn start(self) -> TestEngine {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let own = tempfile::Builder::new().prefix("paas-engine-").tempdir().unwrap();
        let image = matches!(self.docker, DockerAt::Machine).then(ProbeImage::there);
        let mut engine = TestEngine {
            state: self.state.clone().unwrap_or_else(|| own.path().join("state")),
            log: own.path().join("log"),
            network: format!("paas-engine-test-{}-{number}", std::process::id()),
            setup: self,
            process: None,
            address: None,
            _own: own,
            _image: image,
        };
        engine.launch();
        // Made once Docker was asked; nothing of it can come after the test has cleaned up.
        let deadline = Instant::now() + Duration::from_secs(20);
        while matches!(engine.setup.docker, DockerAt::Machine) && !engine.has_network() {
            assert!(Instant::now() < deadline, "the engine has no network");
            std::thread::sleep(Duration::from_millis(20));
        }
        engine
    }
}

pub struct TestEngine {
    setup: Setup,
    state: PathBuf,
    /// What it said on its standard error.
    log: PathBuf,
    network: String,
    process: Option<Child>,
    address: Option<SocketAddr>,
    _own: TempDir,
    _image: Option<Arc<ProbeImage>>,
}

/// What an engine answered.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Reply {
    /// The value of a header, in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| *found == name).map(|(_, value)| value)
    }
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }
    /// It must have been a success.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert!((200..300).contains(&self.status), "{} {}", self.status, self.body);
        self
    }
}

impl TestEngine {
    /// An engine that runs commands too, as the root's does. Its share is what the agent of the recordings had, whatever
    /// this machine has.
    const USUAL: [&str; 7] = ["--allow-commands", "--cpus", "4", "--mem", "4096", "--disk", "10000"];

    pub fn start() -> Self {
        Self::setup().start()
    }

    pub fn start_with(arguments: &[&str], credentials: Option<&str>) -> Self {
        Self::setup().arguments(arguments).credentials(credentials).start()
    }

    /// For an engine that is not like most.
    pub fn setup() -> Setup {
        Setup {
            arguments: Self::USUAL.map(str::to_owned).to_vec(),
            credentials: None,
            docker: DockerAt::Machine,
            state: None,
            environment: Vec::new(),
            open_files: None,
        }
    }

    /// The command line of this engine, on `listen`.
    pub fn command(&self, listen: &str) -> Command {
        let program = env!("CARGO_BIN_EXE_paas");
        let mut command = match self.setup.open_files {
            Some(limit) => {
                let mut command = Command::new("sh");
                command.args(["-c", &format!("ulimit -Sn {limit}; exec \"$0\" \"$@\""), program]);
                command
            }
            None => Command::new(program),
        };
        let path = std::env::var_os("PATH").unwrap_or_default();
        command
            .env_clear()
            .env("PATH", path)
            .env("RUST_BACKTRACE", "1")
            .args(["engine", "--listen", listen, "--state"])
            .arg(&self.state);
        command.args(["--label", &self.label()]).args(&self.setup.arguments);
        // One of a test's own has its default network to itself.
        if !matches!(self.setup.docker, DockerAt::Own(_)) {
            command.args(["--network", &self.network]);
        }
        if let DockerAt::Own(socket) | DockerAt::Double(socket) = &self.setup.docker {
            command.arg("--docker").arg(socket);
        }
        command.envs(self.setup.credentials.iter().map(|text| ("MESOSPHERE_HTTP_CREDENTIALS", text)));
        command.envs(self.setup.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null());
        command
    }

    /// Starts it, again at its old address if it had one, and waits until it answers.
    pub fn launch(&mut self) {
        let listen = self.address.map_or_else(|| "127.0.0.1:0".to_owned(), |address| address.to_string());
        let log = File::options().create(true).append(true).open(&self.log).unwrap();
        let mut process = self.command(&listen).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        self.process = Some(process);
        let url = line.trim().strip_prefix("listening on http://");
        self.address = Some(url.unwrap_or_else(|| panic!("the engine said {line:?}: {}", self.log())).parse().unwrap());
    }

    /// Starts it anew with one more variable in its own environment.
    pub fn set(&mut self, name: &str, value: &str) {
        self.setup.environment.push((name.to_owned(), value.to_owned()));
        self.terminate();
        self.launch();
    }

    /// `kill -9`
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("the engine runs");
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// SIGTERM; it must end by itself, well.
    #[track_caller]
    pub fn terminate(&mut self) {
        run("kill", &["-TERM", &self.pid().to_string()]);
        let status = self.ended(Duration::from_secs(20));
        assert!(status.success(), "{status}");
    }

    /// It must end by itself within that time; how it did.
    #[track_caller]
    pub fn ended(&mut self, patience: Duration) -> ExitStatus {
        let mut process = self.process.take().expect("the engine runs");
        let deadline = Instant::now() + patience;
        loop {
            match process.try_wait().unwrap() {
                Some(status) => return status,
                None if Instant::now() > deadline => {
                    self.process = Some(process);
                    panic!("the engine does not end");
                }
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Waits so long until it has ended by itself, however well.
    #[track_caller]
    pub fn ends(&mut self, patience: Duration) {
        let mut process = self.process.take().expect("the engine runs");
        let deadline = Instant::now() + patience;
        while process.try_wait().unwrap().is_none() {
            if Instant::now() > deadline {
                self.process = Some(process);
                panic!("the engine does not end");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address.expect("the engine was started")
    }
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }
    pub fn state(&self) -> &Path {
        &self.state
    }
    /// The engine's own process.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("the engine runs").id()
    }
    /// What it and those before it said on their standard error.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
    /// Its network in Docker.
    pub fn network(&self) -> &str {
        &self.network
    }
    /// On everything it makes in Docker.
    pub fn label(&self) -> String {
        format!("paas.home={}", self.state.display())
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, None)
    }
    #[track_caller]
    pub fn put(&self, path: &str, body: &Value) -> Reply {
        self.ask("PUT", path, Some(body))
    }
    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Reply {
        self.ask("POST", path, Some(body))
    }
    #[track_caller]
    pub fn delete(&self, path: &str) -> Reply {
        self.ask("DELETE", path, None)
    }
    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Reply {
        self.try_ask(method, path, body, self.setup.credentials.as_deref()).unwrap()
    }
    /// Asks, and holds the answer to the contract. An error is that of the connection.
    #[track_caller]
    pub fn try_ask(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        credentials: Option<&str>,
    ) -> std::io::Result<Reply> {
        let patience = Duration::from_secs(10);
        let address = self.address();
        let mut stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_read_timeout(Some(patience))?;
        let authorization = credentials.map_or_else(String::new, |text| {
            format!("Authorization: Basic {}\r\n", base64::engine::general_purpose::STANDARD.encode(text))
        });
        let body = body.map(Value::to_string).unwrap_or_default();
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: {address}\r\nAccept: application/json\r\n{authorization}\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut text = Vec::new();
        stream.read_to_end(&mut text)?;
        let text = String::from_utf8_lossy(&text);
        let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| std::io::Error::other("no whole answer"))?;
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| std::io::Error::other("no status"))?;
        let reply = Reply { status, head: head.to_lowercase(), body: body.to_owned() };
        // The engine was killed while it answered.
        let length = reply.header("content-length").and_then(|length| length.parse().ok());
        if method != "HEAD" && length.is_some_and(|length: usize| reply.body.len() < length) {
            return Err(std::io::Error::other("no whole answer"));
        }
        if let Err(violation) = contract::check_answer(method, path, status, &reply.body) {
            panic!("the contract is broken: {violation}");
        }
        Ok(reply)
    }

    /// Listens to its events from now on.
    pub fn listen(&self) -> EventStream {
        EventStream::open(self.address(), "")
    }

    /// Asks until the answer is as wanted, and gives it.
    #[track_caller]
    pub fn until(&self, path: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            let found = self.get(path).json();
            if holds(&found) {
                return found;
            }
            assert!(Instant::now() < deadline, "never {what}: {found:#}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    /// Waits until no deployment runs.
    #[track_caller]
    pub fn settled(&self) {
        self.until("/v2/deployments", "without deployments", |running| *running == json!([]));
    }

    fn has_network(&self) -> bool {
        let filter = format!("name=^{}$", self.network);
        !self.docker(&["network", "ls", "-q", "--filter", &filter]).trim().is_empty()
    }

    /// Asks the engine's Docker, and gives what was printed, whether it succeeded or not.
    pub fn docker(&self, arguments: &[&str]) -> String {
        match &self.setup.docker {
            DockerAt::Machine => run("docker", arguments),
            DockerAt::Own(socket) => {
                run("docker", &[&["-H", &format!("unix://{}", socket.display())][..], arguments].concat())
            }
            DockerAt::Double(_) => panic!("a double has no command line"),
        }
    }

    /// Waits until it has neither a container nor a process; `said` is shown when it keeps one.
    #[track_caller]
    pub fn until_nothing_runs(&self, said: &str) {
        let deadline = Instant::now() + Duration::from_mins(1);
        while !self.containers().is_empty() || !self.processes().is_empty() {
            assert!(Instant::now() < deadline, "{:?} and {:?} are left: {said}", self.containers(), self.processes());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ids of the containers it has, running or not.
    pub fn containers(&self) -> Vec<String> {
        let filter = format!("label={}", self.label());
        let mut ids: Vec<String> =
            self.docker(&["ps", "-aq", "--no-trunc", "--filter", &filter]).lines().map(str::to_owned).collect();
        ids.sort();
        ids
    }

    /// The processes of its command tasks.
    pub fn processes(&self) -> Vec<u32> {
        let mark = format!("MESOS_SANDBOX={}/", self.state.display());
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let ours = |pid: &u32| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(mark.as_bytes()))
        };
        pids.filter(ours).collect()
    }
}

impl Drop for TestEngine {
    fn drop(&mut self) {
        const ENOUGH_LOOKS: u32 = 12;
        if std::thread::panicking() {
            eprintln!("the engine's log:\n{}", self.log());
        }
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
        for pid in self.processes() {
            run("kill", &["-9", &pid.to_string()]);
        }
        if !matches!(self.setup.docker, DockerAt::Machine) {
            return;
        }
        // What Docker was doing for the engine when that was killed, it still does, so gone once is not gone. A busy one
        // takes a second to make a network.
        let mut looks_without = 0;
        for _ in 0..100 {
            for id in self.containers() {
                run("docker", &["rm", "-fv", &id]);
            }
            run("docker", &["network", "rm", &self.network]);
            looks_without = if self.containers().is_empty() && !self.has_network() { looks_without + 1 } else { 0 };
            if looks_without == ENOUGH_LOOKS {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// A group of one Docker app that serves a page with `release`, checked by whether it takes connections.
pub fn probe_app(release: &str) -> Value {
    json!({
        "id": "web", "args": ["/start", "web"], "cpus": 0.1, "mem": 32, "instances": 1,
        "container": {
            "type": "DOCKER", "docker": { "image": ProbeImage::NAME },
            "portMappings": [{ "containerPort": 0, "hostPort": 0, "protocol": "tcp", "name": "http" }]
        },
        "networks": [{ "mode": "container/bridge" }],
        "env": { "PAAS_RELEASE": release },
        "healthChecks": [{
            "protocol": "MESOS_TCP", "portIndex": 0, "gracePeriodSeconds": 30, "intervalSeconds": 1,
            "timeoutSeconds": 2, "maxConsecutiveFailures": 3, "delaySeconds": 0
        }],
        "taskKillGracePeriodSeconds": 1
    })
}

/// The image that the recorded tasks run; made when missing, and then removed with its last user.
pub struct ProbeImage {
    made_here: bool,
}

static IMAGE: Mutex<Weak<ProbeImage>> = Mutex::new(Weak::new());

impl ProbeImage {
    pub const NAME: &'static str = "marathon-probe:1";

    pub fn there() -> Arc<Self> {
        let mut shared = IMAGE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(image) = shared.upgrade() {
            return image;
        }
        let known = !run("docker", &["images", "-q", Self::NAME]).is_empty();
        if !known {
            let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/marathon/probe-image.sh");
            let made = Command::new("sh").arg(script).stdout(Stdio::null()).status().unwrap();
            assert!(made.success(), "the probe image was not made");
        }
        let image = Arc::new(Self { made_here: !known });
        *shared = Arc::downgrade(&image);
        image
    }
}

impl Drop for ProbeImage {
    fn drop(&mut self) {
        // Whoever wants it next makes it anew.
        let _shared = IMAGE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if self.made_here {
            run("docker", &["rmi", Self::NAME]);
        }
    }
}

/// What a program printed, whether it succeeded or not.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}
