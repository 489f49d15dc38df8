//! The real front door: pushes by git and ssh to a platform of processes.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use paas::model::AppName;
use paas::pipeline::FaultPoint;
use rustix::process::{Pid, Signal};

use super::{dockerfile_on, is_by_dockerfile};
use crate::support::builder::{TestBuilder, docker};
use crate::support::http::{address_of, get};
use crate::support::platform::{TestKey, TestPlatform};
use crate::support::project::{Project, Pushed};
use crate::support::registry::TestRegistry;
use crate::support::small_disk::SmallDisk;

/// Far longer than anything here takes that goes well.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What all lanes share.
pub struct Scene {
    // Ends before its disk goes.
    platform: TestPlatform,
    pub disk: Option<SmallDisk>,
    key: TestKey,
    builder: TestBuilder,
    _registry: TestRegistry,
    apps: AtomicU32,
}

impl Scene {
    /// With its home on a disk of so many KiB, or on the machine's own.
    pub fn start(kibibytes: Option<u32>) -> Self {
        let (builder, registry) = (TestBuilder::make(), TestRegistry::start());
        let host = registry.host();
        let platform = TestPlatform::prepare(&[
            ("PAAS_BUILD_IMAGE", builder.name()),
            ("PAAS_REGISTRY", &host),
            ("PAAS_DEPLOY_RETRIES", "1"),
            ("PAAS_KEEP_SLUGS", "100"),
            ("PAAS_LIMITS_FREE", "1MiB"),
        ]);
        // A platform wants a gibibyte when it starts.
        let disk = kibibytes.map(|_| SmallDisk::over(platform.home(), 2 << 20));
        let _ = platform.up().ok();
        if let (Some(disk), Some(kibibytes)) = (&disk, kibibytes) {
            disk.shrinks_to(kibibytes);
        }
        let key = platform.key_of("alice");
        let _ = platform.paas(["tenant", "create", "dev"]).ok();
        Self { platform, disk, key, builder, _registry: registry, apps: AtomicU32::new(0) }
    }

    /// After sweeping there is no container of a push, and no slug that no build has made.
    pub fn holds_only_what_is_known(&self) {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_paas-receive"));
        // A Dockerfile's slug is built on another image that is labelled like it, which is seen once that is gone.
        for _ in 0..2 {
            let mut sweep = std::process::Command::new(&program);
            let swept = sweep.arg("--home").arg(self.platform.home()).arg("sweep").output().unwrap();
            assert!(swept.status.success(), "{}", String::from_utf8_lossy(&swept.stderr));
        }
        assert!(self.platform.builds().is_empty(), "containers of pushes are left");
        let filter = format!("label=paas.home={}", self.platform.home().display());
        let listed = docker(&["images", "--quiet", "--no-trunc", "--filter", &filter]);
        let mut known = std::collections::BTreeSet::new();
        for number in 0..self.apps.load(Ordering::Relaxed) {
            for build in builds(self, &format!("k{number}")) {
                known.extend(build["image"].as_str().map(str::to_owned));
            }
        }
        for number in 0..self.apps.load(Ordering::Relaxed) {
            // What a Dockerfile's steps left, which the app's next build takes up.
            let step = format!("label=paas.step=dev/k{number}");
            let left = docker(&["images", "--quiet", "--no-trunc", "--filter", &filter, "--filter", &step]);
            known.extend(left.lines().map(str::to_owned));
        }
        let unknown: Vec<&str> = listed.lines().filter(|image| !known.contains(*image)).collect();
        assert!(unknown.is_empty(), "slugs of no build are left: {unknown:?}\nknown: {known:?}");
    }
}

fn builds(scene: &Scene, app: &str) -> Vec<serde_json::Value> {
    let words = ["builds", "list", "--json", "--tenant", "dev", "--app", app];
    scene.platform.paas(words).ok().json().as_array().unwrap().clone()
}

/// An app that serves.
pub struct App<'a> {
    scene: &'a Scene,
    pub name: AppName,
    project: Project,
    pages: u32,
    /// The page that serves, and where.
    pub page: String,
    address: Option<SocketAddr>,
}

impl<'a> App<'a> {
    /// What is pushed: something that comes to the step.
    pub fn prepare(&mut self, point: FaultPoint) {
        self.project.remove("Dockerfile");
        if is_by_dockerfile(point) {
            self.project.write("Dockerfile", dockerfile_on(&self.scene.builder));
        }
        self.next_page();
        match point {
            FaultPoint::ReleaseCommandBegun | FaultPoint::ReleaseCommandEnded => {
                self.project.write("paas.yml", "release: sleep 0.2\nprocesses: {web: {stop_timeout: 1s}}\n");
                self.project.commit("with a release command");
            }
            FaultPoint::RollingBack | FaultPoint::RolledBack => {
                self.project.write("Procfile", "web: false\n");
                self.project.commit("broken");
            }
            _ => {}
        }
    }

    pub fn home(&self) -> &std::path::Path {
        self.scene.platform.home()
    }

    pub fn start(scene: &'a Scene) -> Self {
        let name = format!("k{}", scene.apps.fetch_add(1, Ordering::Relaxed)).parse().unwrap();
        let mut app = Self { scene, name, project: Project::empty(), pages: 0, page: String::new(), address: None };
        app.next_page();
        let first = app.push();
        app.takes_over(&first);
        app
    }

    pub fn next_page(&mut self) {
        self.pages += 1;
        self.project.write("Procfile", "web: httpd -f -p $PORT -h /app\n");
        self.project.write("paas.yml", "processes: {web: {stop_timeout: 1s}}\n");
        self.project.write("page", format!("page {} of {}", self.pages, self.name));
        self.project.commit("another page");
    }

    fn command(&self) -> std::process::Command {
        let mut git = self.project.command();
        let remote = self.scene.platform.remote("dev", self.name.as_str());
        git.env("GIT_SSH_COMMAND", self.scene.platform.ssh_command(&self.scene.key));
        git.args(["push", "--porcelain", "--force", &remote, "HEAD:main"]);
        git
    }

    pub fn push(&self) -> Pushed {
        Pushed::from(&self.command().output().unwrap())
    }

    #[track_caller]
    pub fn takes_over(&mut self, pushed: &Pushed) {
        self.address = Some(address_of(&pushed.live_at()));
        self.page = format!("page {} of {}", self.pages, self.name);
        assert_eq!(self.answer().as_deref(), Some(self.page.as_str()), "{}", pushed.output);
    }

    pub fn answer(&self) -> Option<String> {
        get(self.address?, "/page", None).ok().map(|answer| answer.body)
    }

    fn repository(&self) -> PathBuf {
        self.scene.platform.home().join(format!("repositories/dev/{}.git", self.name))
    }

    /// What the branch is at on the platform.
    pub fn branch(&self) -> String {
        let repository = self.repository();
        let safe = format!("safe.directory={}", repository.display());
        let mut git = self.project.command();
        let git = git.args(["-c", &safe, "-C"]).arg(&repository).args(["rev-parse", "--verify", "--quiet", "main"]);
        String::from_utf8(git.output().unwrap().stdout).unwrap().trim().to_owned()
    }

    pub fn head(&self) -> String {
        self.project.git(["rev-parse", "HEAD"]).trim().to_owned()
    }

    /// What a push has left that it must not.
    pub fn leftovers(&self) -> Vec<String> {
        let label = |name: &str, value: &str| format!("label=paas.{name}={value}");
        let (home, app) =
            (label("home", &self.scene.platform.home().display().to_string()), label("app", self.name.as_str()));
        let format = "{{.ID}} {{.Label \"paas.push\"}}";
        let listed = docker(&["ps", "--all", "--filter", &home, "--filter", &app, "--format", format]);
        let of_pushes = listed.lines().filter_map(|line| line.trim().split_once(' '));
        let mut left: Vec<String> = of_pushes.map(|(id, _)| format!("container {id}")).collect();
        let step = label("step", &format!("dev/{}", self.name));
        let of_steps = docker(&["ps", "--all", "--quiet", "--filter", &home, "--filter", &step]);
        left.extend(of_steps.lines().map(|id| format!("container of a step {id}")));
        let logs = self.scene.platform.home().join(format!("logs/dev/{}", self.name));
        for entry in std::fs::read_dir(&logs).unwrap().flatten() {
            let name = entry.file_name().into_string().unwrap();
            if std::path::Path::new(&name).extension().is_none_or(|kind| kind != "log") {
                left.push(format!("file {name}"));
            }
        }
        for build in builds(self.scene, self.name.as_str()) {
            if ["queued", "running"].contains(&build["state"].as_str().unwrap_or_default()) {
                left.push(format!("build {build}"));
            }
        }
        left
    }
}

/// A push beside the test; all of its processes on this side end with it.
pub struct Beside(Option<Child>);

impl Beside {
    pub fn start(app: &App<'_>) -> Self {
        let mut git = app.command();
        git.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(Some(git.spawn().unwrap()))
    }

    pub fn is_over(&mut self) -> bool {
        self.0.as_mut().is_none_or(|child| child.try_wait().unwrap().is_some())
    }

    #[track_caller]
    pub fn end(mut self) -> Pushed {
        let began = Instant::now();
        while !self.is_over() {
            assert!(began.elapsed() < PATIENCE, "git does not end, though what it talked to is dead");
            std::thread::sleep(Duration::from_millis(10));
        }
        Pushed::from(&self.0.take().unwrap().wait_with_output().unwrap())
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let group = Pid::from_raw(child.id().cast_signed()).unwrap();
            // Both fail only when it has ended already.
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
            let _ = child.wait();
        }
    }
}
