//! A dockerd of a test's own, which may be killed: with its own socket, data, network range and containerd. It writes
//! no firewall rules, and nothing of it is left when this is dropped, however the test ended.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::engine::{ProbeImage, run};
use super::small_disk::SmallDisk;

/// How many this test run has made.
static MADE: AtomicU32 = AtomicU32::new(0);

/// Docker's answer to a ping takes a millisecond; its start, with a full machine, some seconds.
const PATIENCE: Duration = Duration::from_mins(1);

pub struct OwnDocker {
    place: TempDir,
    /// Its containers are in `10.x.y.0/24`.
    range: String,
    /// Its default network, which is all it has. A dockerd that is given none, or a pool of addresses for more, removes
    /// the machine's own `docker0`.
    bridge: String,
    name: String,
    process: Option<Child>,
    /// The machine's own default network, which is nobody's to touch.
    docker0: String,
    _image: Option<Arc<ProbeImage>>,
    // Goes after what is on it has.
    _disk: Option<SmallDisk>,
}

impl OwnDocker {
    /// One that has the probe's image, and nothing else.
    pub fn start() -> Self {
        let docker = Self::begin(None, Some(ProbeImage::there()));
        docker.load(ProbeImage::NAME);
        docker
    }

    /// One that has nothing, and so many KiB for what it is given.
    pub fn on_a_disk_of(kibibytes: u32) -> Self {
        Self::begin(Some(kibibytes), None)
    }

    /// Gives it an image of the machine's own Docker.
    pub fn load(&self, image: &str) {
        let archive = self.place.path().join("image.tar");
        run("docker", &["save", "-o", &archive.to_string_lossy(), image]);
        self.docker(&["load", "-q", "-i", &archive.to_string_lossy()]);
        std::fs::remove_file(archive).unwrap();
    }

    fn begin(kibibytes: Option<u32>, image: Option<Arc<ProbeImage>>) -> Self {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let place = tempfile::Builder::new().prefix("paas-dockerd-").tempdir().unwrap();
        let data = place.path().join("data");
        let disk = kibibytes.map(|kibibytes| {
            std::fs::create_dir(&data).unwrap();
            SmallDisk::over(&data, kibibytes)
        });
        let mut docker = Self {
            place,
            // Far from what the machine's own Docker takes, and seldom that of another run.
            range: format!("10.{}.{}", 100 + std::process::id() % 100, number % 250),
            // The kernel takes 15 bytes.
            bridge: format!("pt{}-{number}", std::process::id()),
            name: format!("paas-test-{}-{number}", std::process::id()),
            process: None,
            docker0: docker0(),
            _image: image,
            _disk: disk,
        };
        docker.make_bridge();
        docker.launch();
        docker
    }

    fn make_bridge(&self) {
        let address = format!("{}.1/24", self.range);
        run("ip", &["link", "add", &self.bridge, "type", "bridge"]);
        run("ip", &["address", "add", &address, "dev", &self.bridge]);
        run("ip", &["link", "set", &self.bridge, "up"]);
        assert!(self.bridges().contains(&self.bridge), "no bridge was made");
    }

    pub fn socket(&self) -> PathBuf {
        self.place.path().join("docker.sock")
    }

    /// What its client printed.
    pub fn docker(&self, arguments: &[&str]) -> String {
        run("docker", &[&["-H", &format!("unix://{}", self.socket().display())][..], arguments].concat())
    }

    /// Starts it, again after it ended, and waits until it answers.
    #[track_caller]
    pub fn launch(&mut self) {
        let place = self.place.path();
        let below = |name: &str| place.join(name).display().to_string();
        // What daemons that were killed left says that they still run, which Docker believes of one that nobody reaped.
        for left in ["dockerd.pid", "run/containerd/containerd.pid"] {
            let _ = std::fs::remove_file(below(left));
        }
        let log = File::options().create(true).append(true).open(below("log")).unwrap();
        let process = Command::new("dockerd")
            .args(["--host", &format!("unix://{}", below("docker.sock")), "--pidfile", &below("dockerd.pid")])
            .args(["--data-root", &below("data"), "--exec-root", &below("run"), "--bridge", &self.bridge])
            .args(["--iptables=false", "--ip6tables=false", "--ip-masq=false"])
            .args(["--containerd-namespace", &self.name, "--containerd-plugins-namespace"])
            .arg(format!("{}-plugins", self.name))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.process = Some(process);
        let deadline = Instant::now() + PATIENCE;
        while self.docker(&["version", "--format", "{{.Server.Version}}"]).trim().is_empty() {
            assert!(Instant::now() < deadline, "dockerd does not start: {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// `kill -9`
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("dockerd runs");
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// SIGTERM, which ends its containers too.
    #[track_caller]
    pub fn stop(&mut self) {
        let mut process = self.process.take().expect("dockerd runs");
        run("kill", &["-TERM", &process.id().to_string()]);
        let deadline = Instant::now() + PATIENCE;
        while process.try_wait().unwrap().is_none() {
            if Instant::now() > deadline {
                process.kill().unwrap();
                process.wait().unwrap();
                panic!("dockerd does not end: {}", self.log());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.place.path().join("log")).unwrap_or_default()
    }

    /// Ids of all containers it has or had.
    fn containers(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.place.path().join("data/containers")).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    /// Processes of this daemon, which name its directory, and those in its containers.
    fn processes(&self) -> Vec<u32> {
        let mut marks = self.containers();
        marks.push(self.place.path().display().to_string());
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let ours = |pid: &u32| {
            let shown =
                ["cmdline", "cgroup"].map(|name| std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default());
            let shown = String::from_utf8_lossy(&shown.concat()).into_owned();
            marks.iter().any(|mark| shown.contains(mark))
        };
        pids.filter(ours).collect()
    }

    fn remove_containers(&self) {
        for id in self.docker(&["ps", "-aq"]).lines() {
            self.docker(&["rm", "-fv", id]);
        }
    }

    /// Mounts below its directory, the inner ones first.
    fn mounts(&self) -> Vec<PathBuf> {
        let table = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let places = table.lines().filter_map(|line| line.split(' ').nth(1)).map(PathBuf::from);
        let mut below: Vec<_> = places.filter(|place| place.starts_with(self.place.path())).collect();
        below.sort_by_key(|place| std::cmp::Reverse(place.components().count()));
        below
    }

    /// Bridges with an address of its range.
    fn bridges(&self) -> Vec<String> {
        let mine = format!(" {}.", self.range);
        let all = run("ip", &["-o", "-4", "address"]);
        let lines = all.lines().filter(|line| line.contains(&mine));
        lines.filter_map(|line| line.split_whitespace().nth(1).map(str::to_owned)).collect()
    }
}

impl Drop for OwnDocker {
    fn drop(&mut self) {
        let panicking = std::thread::panicking();
        if panicking {
            eprintln!("dockerd's log:\n{}", last_lines(&self.log(), 40));
        }
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            if self.process.is_none() {
                self.launch();
            }
            self.remove_containers();
            self.stop();
        }));
        // Whatever did not go by itself.
        for pid in self.processes() {
            run("kill", &["-9", &pid.to_string()]);
        }
        for bridge in self.bridges() {
            run("ip", &["link", "delete", &bridge]);
        }
        for container in self.containers() {
            run("find", &["/sys/fs/cgroup", "-depth", "-type", "d", "-name", &container, "-exec", "rmdir", "{}", ";"]);
        }
        for mount in self.mounts() {
            run("umount", &["-l", &mount.to_string_lossy()]);
        }
        assert!(caught.is_ok() || panicking, "dockerd had to be removed by force");
        assert!(self.docker0 == docker0() || panicking, "docker0 was {:?}, and is {:?}", self.docker0, docker0());
    }
}

/// The machine's `docker0` with its address, if there is one.
fn docker0() -> String {
    run("ip", &["-o", "-4", "address", "show", "dev", "docker0"])
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
