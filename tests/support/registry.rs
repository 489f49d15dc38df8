//! Debian's docker-registry on a free port of loopback, with its data in a temporary directory.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A running registry; it ends, and its data goes, when this is dropped.
pub struct TestRegistry {
    process: Child,
    address: SocketAddr,
    _data: TempDir,
}

impl TestRegistry {
    pub fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        // The port is free again at once; nothing else on a test machine asks for this very one meanwhile.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = data.path().join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"{address}\"}}\n",
            data.path().join("data").display()
        );
        std::fs::write(&config, text).unwrap();
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry is installed (make test installs it)");
        let registry = Self { process, address, _data: data };
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
}

impl Drop for TestRegistry {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
