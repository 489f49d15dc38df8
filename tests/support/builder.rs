//! A builder image of a few files, made without a network: busybox, and the scripts of `tests/fixtures/builder`, or of
//! `tests/fixtures/herokuish`.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};

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
        Self::of(&["CMD [\"/bin/sh\"]"], Self::buildstep)
    }

    /// One with herokuish's program under its names, which runs as a user of its own.
    pub fn like_herokuish() -> Self {
        Self::of(&["CMD [\"/bin/sh\"]", "USER herokuishuser"], Self::herokuish)
    }

    /// The buildstep one with this machine's git in it, and what git needs to speak https.
    pub fn with_git() -> Self {
        Self::of(&["CMD [\"/bin/sh\"]"], |tar| {
            Self::buildstep(tar);
            Self::git(tar);
        })
    }

    fn of(changes: &[&str], fill: fn(&mut Tar)) -> Self {
        let name = format!("paas-test/builder:{}", uuid::Uuid::new_v4());
        let mut import = Command::new("docker")
            .args(["import", "--change", "ENV STACK=test"])
            .args(changes.iter().flat_map(|change| ["--change", change]))
            .args(["-", &name])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("docker is installed (make test installs it)");
        Self::archive(import.stdin.take().unwrap(), fill);
        assert!(import.wait().unwrap().success(), "docker import");
        Self { name }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    fn archive(out: ChildStdin, fill: fn(&mut Tar)) {
        let mut tar = Tar(tar::Builder::new(out));
        let busybox = std::fs::read("/bin/busybox").expect("busybox-static is installed (make test installs it)");
        tar.add("bin/busybox", 0o755, &busybox);
        let applets = Command::new("/bin/busybox").arg("--list").output().unwrap().stdout;
        for applet in String::from_utf8(applets).unwrap().lines().filter(|applet| *applet != "busybox") {
            tar.link(&format!("bin/{applet}"), "busybox");
        }
        for (directory, mode) in [("tmp", 0o1777), ("etc", 0o755), ("app", 0o755)] {
            tar.directory(directory, mode);
        }
        fill(&mut tar);
        tar.0.into_inner().unwrap();
    }

    fn buildstep(tar: &mut Tar) {
        for (script, place) in [("builder", "build/builder"), ("start", "start"), ("exec", "exec")] {
            tar.add(place, 0o755, &fixture(&format!("builder/{script}")));
        }
    }

    fn git(tar: &mut Tar) {
        let programs = ["/usr/bin/git", "/usr/lib/git-core/git-remote-https"];
        let listed = Command::new("ldd").args(programs).output().unwrap().stdout;
        // `name => /path (address)`, or `/path (address)` of the loader.
        let listed = String::from_utf8(listed).unwrap();
        let libraries: BTreeSet<&str> =
            listed.split_whitespace().filter(|word| word.starts_with('/') && !word.ends_with(':')).collect();
        for file in programs.into_iter().chain(libraries) {
            tar.add(file.trim_start_matches('/'), 0o755, &std::fs::read(file).unwrap());
        }
    }

    fn herokuish(tar: &mut Tar) {
        tar.add("bin/herokuish", 0o755, &fixture("herokuish/herokuish"));
        for name in ["build", "start", "exec"] {
            tar.link(name, "/bin/herokuish");
        }
        tar.add("etc/passwd", 0o644, b"root:x:0:0::/:/bin/sh\nherokuishuser:x:32767:32767::/app:/bin/sh\n");
        tar.add("etc/group", 0o644, b"root:x:0:\nherokuishuser:x:32767:\n");
    }
}

fn fixture(path: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(path)).unwrap()
}

/// The image's files, as they are given to Docker.
struct Tar(tar::Builder<ChildStdin>);

impl Tar {
    fn add(&mut self, path: &str, mode: u32, content: &[u8]) {
        let mut header = tar::Header::new_gnu();
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        self.0.append_data(&mut header, path, content).unwrap();
    }

    fn link(&mut self, path: &str, target: &str) {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        self.0.append_link(&mut header, path, target).unwrap();
    }

    fn directory(&mut self, path: &str, mode: u32) {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(mode);
        header.set_size(0);
        self.0.append_data(&mut header, path, std::io::empty()).unwrap();
    }
}

impl Drop for TestBuilder {
    fn drop(&mut self) {
        // Fails only when it is gone already.
        let _ = Command::new("docker").args(["rmi", "--force", &self.name]).output();
    }
}
