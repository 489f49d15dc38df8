//! Debian's docker-registry on a free port of loopback, with its data in a temporary directory.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Who may use [`TestRegistry::guarded`].
pub const CREDENTIALS: &str = "robot:canary-of-the-registry-7Qm2xV9s";
/// The same as the registry keeps it.
const HASHED: &str = "robot:$2a$04$abcdefghijklmnopqrstuuEDclgd7nqNoDwe.VM3ZB.NchKYU0MT.\n";

#[derive(Default)]
struct Options {
    guarded: bool,
}

/// A running registry; it ends, and its data goes, when this is dropped.
pub struct TestRegistry {
    process: Child,
    address: SocketAddr,
    data: TempDir,
}

impl TestRegistry {
    /// One that anybody may push to, and that deletes nothing, as Docker's own does unless it is told to.
    pub fn start() -> Self {
        Self::start_with(&Options::default())
    }

    /// One for whoever has [`CREDENTIALS`].
    pub fn guarded() -> Self {
        Self::start_with(&Options { guarded: true })
    }

    fn start_with(options: &Options) -> Self {
        let data = tempfile::tempdir().unwrap();
        // The port is free again at once; nothing else on a test machine asks for this very one meanwhile.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = data.path().join("config.yml");
        let mut text = format!(
            "version: 0.1\nlog: {{level: warn}}\nhttp: {{addr: \"{address}\"}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}}}\n",
            data.path().join("data").display()
        );
        if options.guarded {
            let users = data.path().join("users");
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
        let registry = Self { process, address, data };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < deadline, "docker-registry did not listen on {address} within 20 s");
            std::thread::sleep(Duration::from_millis(20));
        }
        registry
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
        // Both fail only when it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
