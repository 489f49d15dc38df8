//! A builder image of a few files, made without a network: busybox, and the scripts of `tests/fixtures/builder`.

use std::path::Path;
use std::process::{Command, Stdio};

/// An image in the local Docker; gone when this is dropped.
pub struct TestBuilder {
    name: String,
}

/// A call of the docker command that must succeed; what it prints.
#[track_caller]
pub fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().expect("docker is installed (make test installs it)");
    assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

impl TestBuilder {
    pub fn make() -> Self {
        let name = format!("paas-test/builder:{}", uuid::Uuid::new_v4());
        let mut import = Command::new("docker")
            .args(["import", "--change", "ENV STACK=test", "--change", "CMD [\"/bin/sh\"]", "-", &name])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("docker is installed (make test installs it)");
        Self::archive(import.stdin.take().unwrap());
        assert!(import.wait().unwrap().success(), "docker import");
        Self { name }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    fn archive(out: impl std::io::Write) {
        let mut tar = tar::Builder::new(out);
        let busybox = std::fs::read("/bin/busybox").expect("busybox-static is installed (make test installs it)");
        let mut add = |path: &str, mode: u32, content: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_mode(mode);
            header.set_size(content.len() as u64);
            tar.append_data(&mut header, path, content).unwrap();
        };
        add("bin/busybox", 0o755, &busybox);
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/builder");
        for (script, place) in [("builder", "build/builder"), ("start", "start"), ("exec", "exec")] {
            add(place, 0o755, &std::fs::read(fixtures.join(script)).unwrap());
        }
        let applets = Command::new("/bin/busybox").arg("--list").output().unwrap().stdout;
        for applet in String::from_utf8(applets).unwrap().lines().filter(|applet| *applet != "busybox") {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            tar.append_link(&mut header, format!("bin/{applet}"), "busybox").unwrap();
        }
        for (directory, mode) in [("tmp", 0o1777), ("etc", 0o755), ("app", 0o755)] {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Directory);
            header.set_mode(mode);
            header.set_size(0);
            tar.append_data(&mut header, directory, std::io::empty()).unwrap();
        }
        tar.into_inner().unwrap();
    }
}

impl Drop for TestBuilder {
    fn drop(&mut self) {
        // Fails only when it is gone already.
        let _ = Command::new("docker").args(["rmi", "--force", &self.name]).output();
    }
}
