//! `kill -9` of a push, through the real front door: sshd, git, the session and its hooks.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use paas::model::AppName;
use paas::pipeline::FaultPoint;
use rustix::process::{Pid, Signal, kill_process};

use super::table::Fault;
use super::{Case, cases, run};
use crate::support::builder::{TestBuilder, docker};
use crate::support::fault_points::Hold;
use crate::support::http::{address_of, get};
use crate::support::platform::{TestKey, TestPlatform};
use crate::support::project::{Project, Pushed};
use crate::support::registry::TestRegistry;

/// Far longer than anything here takes that goes well.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_push_that_is_killed_at_any_step_leaves_what_serves_and_a_free_app() {
    let scene = Scene::start();
    run(cases(&[Fault::SessionKilled, Fault::HookKilled]), 6, || App::start(&scene), case);
    scene.holds_only_what_is_known();
}

/// What all lanes share.
struct Scene {
    platform: TestPlatform,
    key: TestKey,
    _builder: TestBuilder,
    _registry: TestRegistry,
    apps: AtomicU32,
}

impl Scene {
    fn start() -> Self {
        let (builder, registry) = (TestBuilder::make(), TestRegistry::start());
        let platform = TestPlatform::start_with(&[
            ("PAAS_BUILD_IMAGE", builder.name()),
            ("PAAS_REGISTRY", &registry.host()),
            ("PAAS_DEPLOY_RETRIES", "1"),
            ("PAAS_KEEP_SLUGS", "100"),
        ]);
        let key = platform.key_of("alice");
        let _ = platform.paas(["tenant", "create", "dev"]).ok();
        Self { platform, key, _builder: builder, _registry: registry, apps: AtomicU32::new(0) }
    }

    /// After a sweep there is no container of a push, and no slug that no build has made.
    fn holds_only_what_is_known(&self) {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_paas-receive"));
        let swept = std::process::Command::new(program).arg("--home").arg(self.platform.home()).arg("sweep").output();
        let swept = swept.unwrap();
        assert!(swept.status.success(), "{}", String::from_utf8_lossy(&swept.stderr));
        assert!(self.platform.builds().is_empty(), "containers of pushes are left");
        let filter = format!("label=paas.home={}", self.platform.home().display());
        let listed = docker(&["images", "--all", "--quiet", "--no-trunc", "--filter", &filter]);
        let mut known = std::collections::BTreeSet::new();
        for number in 0..self.apps.load(Ordering::Relaxed) {
            for build in builds(self, &format!("k{number}")) {
                known.extend(build["image"].as_str().map(str::to_owned));
            }
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
struct App<'a> {
    scene: &'a Scene,
    name: AppName,
    project: Project,
    pages: u32,
    /// The page that serves, and where.
    page: String,
    address: Option<SocketAddr>,
}

impl<'a> App<'a> {
    fn start(scene: &'a Scene) -> Self {
        let name = format!("k{}", scene.apps.fetch_add(1, Ordering::Relaxed)).parse().unwrap();
        let mut app = Self { scene, name, project: Project::empty(), pages: 0, page: String::new(), address: None };
        app.next_page();
        let first = app.push();
        app.takes_over(&first);
        app
    }

    fn next_page(&mut self) {
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

    fn push(&self) -> Pushed {
        Pushed::from(&self.command().output().unwrap())
    }

    #[track_caller]
    fn takes_over(&mut self, pushed: &Pushed) {
        self.address = Some(address_of(&pushed.live_at()));
        self.page = format!("page {} of {}", self.pages, self.name);
        assert_eq!(self.answer().as_deref(), Some(self.page.as_str()), "{}", pushed.output);
    }

    fn answer(&self) -> Option<String> {
        get(self.address?, "/page", None).ok().map(|answer| answer.body)
    }

    fn repository(&self) -> PathBuf {
        self.scene.platform.home().join(format!("repositories/dev/{}.git", self.name))
    }

    /// What the branch is at on the platform.
    fn branch(&self) -> String {
        let repository = self.repository();
        let safe = format!("safe.directory={}", repository.display());
        let mut git = self.project.command();
        let git = git.args(["-c", &safe, "-C"]).arg(&repository).args(["rev-parse", "--verify", "--quiet", "main"]);
        String::from_utf8(git.output().unwrap().stdout).unwrap().trim().to_owned()
    }

    fn head(&self) -> String {
        self.project.git(["rev-parse", "HEAD"]).trim().to_owned()
    }

    /// What a push has left that it must not.
    fn leftovers(&self) -> Vec<String> {
        let label = |name: &str, value: &str| format!("label=paas.{name}={value}");
        let (home, app) =
            (label("home", &self.scene.platform.home().display().to_string()), label("app", self.name.as_str()));
        let format = "{{.ID}} {{.Label \"paas.push\"}}";
        let listed = docker(&["ps", "--all", "--filter", &home, "--filter", &app, "--format", format]);
        let of_pushes = listed.lines().filter_map(|line| line.trim().split_once(' '));
        let mut left: Vec<String> = of_pushes.map(|(id, _)| format!("container {id}")).collect();
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
struct Beside(Option<Child>);

impl Beside {
    fn start(app: &App<'_>) -> Self {
        let mut git = app.command();
        git.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(Some(git.spawn().unwrap()))
    }

    fn is_over(&mut self) -> bool {
        self.0.as_mut().is_none_or(|child| child.try_wait().unwrap().is_some())
    }

    #[track_caller]
    fn end(mut self) -> Pushed {
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

fn case(app: &mut App<'_>, case: Case) {
    let Case { point, fault } = case;
    let (before, page) = (app.branch(), app.page.clone());
    prepare(app, point);
    let hold = Hold::at(point, app.scene.platform.home(), &app.name);
    let mut push = Beside::start(app);
    let Some(hook) = hold.reached(PATIENCE, || push.is_over()) else {
        panic!("it never came to {point:?}: {:?}", push.end());
    };
    if !is_replaced(point) {
        assert_eq!(app.answer().as_deref(), Some(page.as_str()), "when it came to {point:?}");
    }
    kill(hook, fault);
    drop(hold);
    let pushed = push.end();

    assert!(!pushed.accepted && !pushed.porcelain.contains("\tok"), "success was said: {pushed:?}");
    assert!(!pushed.output.contains("is live") || point == FaultPoint::RefMoved, "success was said: {pushed:?}");
    assert!(!pushed.output.trim().is_empty() || pushed.porcelain.contains('!'), "nothing was said");
    let branch = if point == FaultPoint::RefMoved { app.head() } else { before };
    assert_eq!(app.branch(), branch, "the branch");
    if !is_posted(point) {
        assert_eq!(app.answer().as_deref(), Some(page.as_str()), "after {point:?}");
    }

    app.next_page();
    let next = app.push();
    assert!(!next.output.contains("Waiting for"), "it had to wait\n{}", next.output);
    app.takes_over(&next);
    assert_eq!(app.branch(), app.head());
    assert_eq!(app.leftovers(), Vec::<String>::new(), "after the next push");
}

/// What is pushed: something that comes to the step.
fn prepare(app: &mut App<'_>, point: FaultPoint) {
    app.next_page();
    match point {
        FaultPoint::ReleaseCommandBegun | FaultPoint::ReleaseCommandEnded => {
            app.project.write("paas.yml", "release: sleep 0.2\nprocesses: {web: {stop_timeout: 1s}}\n");
            app.project.commit("with a release command");
        }
        FaultPoint::RollingBack | FaultPoint::RolledBack => {
            app.project.write("Procfile", "web: false\n");
            app.project.commit("broken");
        }
        _ => {}
    }
}

/// `kill -9` of the hook; or first of all that could notice: the session, git, and what stands between.
fn kill(hook: u32, fault: Fault) {
    let mut all = vec![hook];
    if fault == Fault::SessionKilled {
        let mut above = hook;
        // From the hook up to sshd's own process of the connection.
        while let Some((parent, name)) = parent_of(above).filter(|(_, name)| name != "sshd") {
            assert!(
                ["git", "paas-receive", "sh"].iter().any(|known| name.starts_with(known)),
                "{name} is above the hook"
            );
            all.push(parent);
            above = parent;
        }
        assert!(all.len() >= 3, "the hook has git and a session above it");
    }
    for process in all.into_iter().rev() {
        // One may be gone with the one above it.
        let _ = kill_process(Pid::from_raw(process.cast_signed()).unwrap(), Signal::KILL);
    }
}

/// The process above this one, and its name.
fn parent_of(process: u32) -> Option<(u32, String)> {
    let status = |process| std::fs::read_to_string(format!("/proc/{process}/status")).ok();
    let field = |text: &str, name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
    };
    let parent: u32 = field(&status(process)?, "PPid:")?.parse().ok()?;
    Some((parent, field(&status(parent)?, "Name:")?))
}

/// Marathon may have the new release when a push comes there.
fn is_posted(point: FaultPoint) -> bool {
    is_replaced(point) || matches!(point, FaultPoint::Posted | FaultPoint::DeploymentNoted)
}

/// The release before may be gone, or at another place, when a push comes there.
fn is_replaced(point: FaultPoint) -> bool {
    use FaultPoint::{RefMoved, RolledBack, RollingBack, Served, ServingMarked};
    matches!(point, Served | ServingMarked | RefMoved | RollingBack | RolledBack)
}
