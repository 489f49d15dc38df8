//! Debian's docker-registry on a free port of loopback, with its data in a temporary directory.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::http::get;

/// Who may use [`TestRegistry::guarded`].
pub const CREDENTIALS: &str = "robot:canary-of-the-registry-7Qm2xV9s";
/// The same as the registry keeps it.
const HASHED: &str = "robot:$2a$04$abcdefghijklmnopqrstuuEDclgd7nqNoDwe.VM3ZB.NchKYU0MT.\n";

#[derive(Clone, Copy, Default)]
struct Options {
    deletes: bool,
    guarded: bool,
}

/// A running registry; it ends, and its data goes, when this is dropped.
pub struct TestRegistry {
    process: Child,
    address: SocketAddr,
    data: TempDir,
    options: Options,
}

impl TestRegistry {
    /// One that anybody may push to, and that deletes nothing, as Docker's own does unless it is told to.
    pub fn start() -> Self {
        Self::start_with(Options::default())
    }

    /// One for whoever has [`CREDENTIALS`].
    pub fn guarded() -> Self {
        Self::start_with(Options { guarded: true, ..Options::default() })
    }

    fn start_with(options: Options) -> Self {
        let data = tempfile::tempdir().unwrap();
        // The port is free again at once; nothing else on a test machine asks for this very one meanwhile.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let process = serve(address, data.path(), options);
        Self { process, address, data, options }
    }

    /// The same one, started anew so that it deletes what it is asked to.
    pub fn deletes_from_now_on(&mut self) {
        self.end();
        self.options.deletes = true;
        self.process = serve(self.address, self.data.path(), self.options);
    }

    fn end(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// The tags of a repository.
    pub fn tags(&self, repository: &str) -> BTreeSet<String> {
        let answer = get(self.address, &format!("/v2/{repository}/tags/list"), None).unwrap();
        let answer: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        let tags = answer["tags"].as_array().into_iter().flatten();
        tags.map(|tag| tag.as_str().unwrap().to_owned()).collect()
    }

    /// `host:port`, as it stands in image names. Docker takes loopback without TLS.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// The directory of all that it keeps.
    pub fn data(&self) -> PathBuf {
        self.data.path().join("data")
    }
}

impl Drop for TestRegistry {
    fn drop(&mut self) {
        self.end();
    }
}

/// Starts one, and waits until it answers.
fn serve(address: SocketAddr, directory: &Path, options: Options) -> Child {
    let config = directory.join("config.yml");
    let mut text = format!(
        "version: 0.1\nlog: {{level: warn}}\nhttp: {{addr: \"{address}\"}}\n\
         storage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: {}}}}}\n",
        directory.join("data").display(),
        options.deletes
    );
    if options.guarded {
        let users = directory.join("users");
        std::fs::write(&users, HASHED).unwrap();
        writeln!(text, "auth: {{htpasswd: {{realm: test, path: {}}}}}", users.display()).unwrap();
    }
    std::fs::write(&config, text).unwrap();
    let process = Command::new("docker-registry")
        .arg("serve")
        .arg(&config)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("docker-registry is installed (make test installs it)");
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < deadline, "docker-registry did not listen on {address} within 20 s");
        std::thread::sleep(Duration::from_millis(20));
    }
    process
}
