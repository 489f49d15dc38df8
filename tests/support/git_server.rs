//! A git server that build containers reach, over https with a certificate of its own.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use paas::model::HttpsHost;
use tempfile::TempDir;

use super::builder::docker;
use super::project::Project;

/// The server; it ends when this is dropped, and with the process that started it.
pub struct GitServer {
    directory: TempDir,
    process: Child,
    address: String,
}

impl GitServer {
    /// At the address of the bridge that containers are on.
    pub fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let gateway = bridge_address();
        let (key, certificate) = (directory.path().join("key.pem"), directory.path().join("certificate.pem"));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
            .args(["-subj", "/CN=git", "-addext", &format!("subjectAltName=IP:{gateway}")])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .output()
            .expect("openssl is installed (make test installs it)");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let both = directory.path().join("both.pem");
        std::fs::write(&both, [std::fs::read(&key).unwrap(), std::fs::read(&certificate).unwrap()].concat()).unwrap();
        let mut process = Command::new("/usr/bin/python3")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/git-server/serve.py"))
            .arg(directory.path())
            .arg(&gateway)
            .arg(&both)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is installed (make test installs it)");
        let mut port = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut port).unwrap();
        let address = format!("{gateway}:{}", port.trim());
        Self { directory, process, address }
    }

    /// What a CA bundle has to hold for it to be trusted.
    pub fn certificate(&self) -> PathBuf {
        self.directory.path().join("certificate.pem")
    }

    /// As it stands in settings.
    pub fn host(&self) -> HttpsHost {
        self.address.parse().unwrap()
    }

    /// Serves what the project has committed under that name.
    pub fn publish(&self, name: &str, project: &Project) {
        let bare = self.directory.path().join(name);
        let _ = project.git(["clone", "--quiet", "--bare", ".", bare.to_str().unwrap()]);
        let _ = project.git(["--git-dir", bare.to_str().unwrap(), "update-server-info"]);
    }

    /// The address of what was published; `way` is one of `serve.py`'s.
    pub fn url(&self, way: &str, name: &str) -> String {
        format!("https://{}/{way}/{name}", self.address)
    }
}

/// This machine's own on Docker's default bridge.
fn bridge_address() -> String {
    let format = "{{index .Options \"com.docker.network.bridge.name\"}}";
    let bridge = docker(&["network", "inspect", "--format", format, "bridge"]);
    let listed = Command::new("ip").args(["-4", "-brief", "address", "show", &bridge]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    // `docker0 UP 172.17.0.1/16`
    let address = listed.split_whitespace().nth(2).and_then(|text| text.split('/').next());
    address.unwrap_or_else(|| panic!("no address of {bridge} in {listed:?}")).to_owned()
}

impl Drop for GitServer {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
