//! One lane of the matrix within the test's own process: an engine, an app, and a door before everything a push needs.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use paas::docker::{Docker, Socket};
use paas::git::Repository;
use paas::marathon::Client;
use paas::model::{AppName, CommitId, Quota};
use paas::pipeline::{
    BuildHistory, DeployRules, Keep, Permission, Platform, Progress, Push, PushId, PushOptions, Registry, Sweep,
    Tenancy,
};
use paas::store::{SqliteStore, Store as _, StorePath};
use tempfile::TempDir;

use crate::support::builder::{TestBuilder, docker};
use crate::support::door::Door;
use crate::support::http::{address_of, get};
use crate::support::pipeline::{platform, remove_from_docker};
use crate::support::project::Project;
use crate::support::small_disk::SmallDisk;

const DOCKER: &str = "/var/run/docker.sock";
/// How long a release may take in a lane, on a machine that is busy with more than this.
pub const DEADLINE: Duration = Duration::from_mins(1);
/// How long Marathon, and a registry in silence, may take for an answer in a lane.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// The same for Docker where it does not hang: on a busy machine it has to be far longer than a ping takes.
pub const SILENCE: Duration = Duration::from_secs(30);

/// All of it goes when this is dropped.
pub struct Lane {
    /// The store, the logs and the files of fault points are on it.
    pub disk: SmallDisk,
    pub docker: Door,
    pub marathon: Door,
    pub registry: Door,
    pub app: AppName,
    pub project: Project,
    /// How long the next release may take.
    pub deadline: Duration,
    /// How long Docker may give no sign of life to the next push.
    pub docker_silence: Duration,
    pub builder: Arc<TestBuilder>,
    engine: Engine,
    /// What serves, and where.
    pub serving: Serving,
    /// How many pages were made.
    pages: u32,
}

/// A release that serves.
#[derive(Debug, Clone)]
pub struct Serving {
    pub page: String,
    pub address: SocketAddr,
    pub commit: String,
}

/// The engine's program, and its state; its containers go with the lane.
struct Engine {
    process: Child,
    address: SocketAddr,
    _state: TempDir,
}

impl Engine {
    fn start(label: &str) -> Self {
        /// Each engine has host ports of its own, since lanes run side by side; beyond those of other tests.
        const PORTS_EACH: u16 = 40;
        static NEXT: AtomicU16 = AtomicU16::new(27_000);
        let first = NEXT.fetch_add(PORTS_EACH, Ordering::Relaxed);
        let state = tempfile::tempdir().unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_paas"))
            .args(["engine", "--listen", "127.0.0.1:0", "--state"])
            .arg(state.path())
            .args(["--ports", &format!("{first}-{}", first + PORTS_EACH - 1)])
            .args(["--label", &format!("paas.home={label}")])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("the engine said {line:?}"));
        Self { address: address_of(url), process, _state: state }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// How a push ended, and what it said.
pub struct Outcome {
    pub result: Result<Option<String>, String>,
    pub said: String,
}

/// The branch that is moved when a release serves.
const BRANCH: &str = "refs/heads/deployed";

impl Lane {
    /// With a first release that serves.
    pub fn start(builder: &Arc<TestBuilder>, registry: SocketAddr) -> Self {
        let disk = SmallDisk::of(24 << 10);
        let engine = Engine::start(&disk.path().display().to_string());
        let nowhere = Serving { page: String::new(), address: engine.address, commit: String::new() };
        let mut lane = Self {
            docker: Door::before_socket(Path::new(DOCKER)),
            marathon: Door::before(engine.address),
            registry: Door::before(registry),
            app: "shop".parse().unwrap(),
            project: Project::empty(),
            deadline: DEADLINE,
            docker_silence: SILENCE,
            builder: Arc::clone(builder),
            disk,
            engine,
            serving: nowhere,
            pages: 0,
        };
        // A layer that is larger than what passes before a connection is cut.
        let mut noise = vec![0; 512 << 10];
        getrandom::fill(&mut noise).unwrap();
        lane.project.write("noise", noise);
        lane.project.git(["init", "--quiet", "--bare", &lane.repository().to_string_lossy()]);
        lane.next_page();
        let first = lane.push();
        lane.takes_over(&first);
        lane
    }

    /// A commit that serves another page than those before.
    pub fn next_page(&mut self) -> String {
        self.pages += 1;
        let page = format!("page {}", self.pages);
        self.project.write("Procfile", "web: httpd -f -p $PORT -h /app\n");
        self.project.write("paas.yml", "processes: {web: {stop_timeout: 1s}}\n");
        self.project.write("page", &page);
        self.project.commit(&page);
        page
    }

    /// What is committed serves now.
    #[track_caller]
    pub fn takes_over(&mut self, outcome: &Outcome) {
        let page = format!("page {}", self.pages);
        let address = match &outcome.result {
            Ok(address) => address_of(address.as_ref().expect("a web process has an address")),
            Err(reason) => panic!("the push did not succeed: {reason}\n{}", outcome.said),
        };
        let commit = self.project.git(["rev-parse", "HEAD"]).trim().to_owned();
        self.serving = Serving { page, address, commit };
        assert_eq!(self.answer().as_deref(), Some(self.serving.page.as_str()), "{}", outcome.said);
    }

    /// What answers where the last release that was seen to serve does.
    pub fn answer(&self) -> Option<String> {
        get(self.serving.address, "/page", None).ok().map(|answer| answer.body)
    }

    /// What any instance of the app answers, by the engine's own word.
    pub fn any_answer(&self) -> Option<String> {
        let tasks = get(self.engine.address, "/v2/tasks", None).ok()?;
        let tasks: serde_json::Value = serde_json::from_str(&tasks.body).ok()?;
        let addresses = tasks["tasks"].as_array()?.iter().filter_map(|task| {
            format!("{}:{}", task["host"].as_str()?, task["ports"][0].as_u64()?).parse::<SocketAddr>().ok()
        });
        addresses.filter_map(|address| get(address, "/page", None).ok()).map(|answer| answer.body).next()
    }

    pub fn home(&self) -> &Path {
        self.disk.path()
    }

    fn repository(&self) -> PathBuf {
        self.home().join("repositories/dev").join(format!("{}.git", self.app))
    }

    fn logs(&self) -> PathBuf {
        self.home().join("logs/dev").join(self.app.as_str())
    }

    /// As a new process of the platform opens it.
    pub fn store(&self) -> SqliteStore {
        SqliteStore::open(&self.home().join("store")).unwrap()
    }

    fn platform(&self) -> Platform {
        // Room for anything, so that Marathon is asked what runs, and refuses nothing.
        let quota = Quota { apps: Some(50), ..Quota::default() };
        let marathon = Client::new(&format!("http://{}", self.marathon.address()), None).unwrap().patient(PATIENCE);
        let ours = platform(self.home(), &self.builder, marathon.clone());
        Platform {
            docker: Docker::at(Socket(self.docker.socket().to_owned())).given_up_after(self.docker_silence),
            registry: Some(Registry {
                host: self.registry.address().to_string(),
                credentials: None,
                patience: PATIENCE,
            }),
            tenancy: Tenancy { marathon, quota },
            deploy: DeployRules { deadline: self.deadline, ..ours.deploy },
            patience: Duration::ZERO,
            build_logs: self.logs(),
            ..ours
        }
    }

    fn next_push(&self) -> Push {
        let repository = self.repository();
        // As git brings it before its hooks are asked.
        self.project.git(["push", "--quiet", "--force", &repository.to_string_lossy(), "HEAD:refs/heads/received"]);
        let previous = Repository::open(&repository).unwrap().reference(BRANCH).unwrap();
        Push {
            tenant: "dev".parse().unwrap(),
            app: self.app.clone(),
            user: "alice".parse().unwrap(),
            push: PushId::random(),
            commit: self.project.git(["rev-parse", "HEAD"]).trim().parse().unwrap(),
            branch: BRANCH.to_owned(),
            previous,
            repository,
            options: PushOptions::default(),
        }
    }

    /// Pushes what is committed, to its end.
    pub fn push(&self) -> Outcome {
        self.begin().join().unwrap()
    }

    /// A push in a thread and a runtime of its own, as it is in its process.
    pub fn begin(&self) -> std::thread::JoinHandle<Outcome> {
        let (push, platform) = (self.next_push(), self.platform());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let outcome = runtime.block_on(pushed(push, &platform));
            runtime.shutdown_background();
            outcome
        })
    }

    /// Where the branch is.
    pub fn branch(&self) -> Option<CommitId> {
        Repository::open(&self.repository()).unwrap().reference(BRANCH).unwrap()
    }

    pub fn is_locked(&self) -> bool {
        let place = StorePath::root().join("tenants").join("dev").join("apps").join(&self.app);
        runtime().block_on(self.store().lease_holder(&place)).unwrap().is_some()
    }

    /// Sweeps, as the platform does from time to time.
    pub fn sweep(&self) {
        let sweep = Sweep {
            store: Arc::new(self.store()),
            docker: Docker::at(Socket(DOCKER.into())),
            home_label: self.home().display().to_string(),
            registry: None,
            keep: Keep { slugs: 100, builds: 100, build_age: Duration::from_hours(1) },
            logs: self.home().join("logs"),
            repositories: self.home().join("repositories"),
            letterboxes: self.home().join("letterboxes"),
            dry_run: false,
        };
        let swept = runtime().block_on(sweep.run()).unwrap();
        assert!(swept.troubles.is_empty(), "{:?}", swept.troubles);
    }

    /// Whatever a push has left that it must not: containers of pushes, loans, builds that never end.
    pub fn leftovers(&self) -> Vec<String> {
        let mut left: Vec<String> =
            self.containers_of_pushes().into_iter().map(|id| format!("container {id}")).collect();
        for entry in std::fs::read_dir(self.logs()).unwrap().flatten() {
            let name = entry.file_name().into_string().unwrap();
            if name.strip_suffix(".log").is_none_or(|number| number.parse::<u32>().is_err()) {
                left.push(format!("file {name}"));
            }
        }
        let store = self.store();
        let history = BuildHistory::of(&store, &"dev".parse().unwrap(), &self.app, self.logs());
        let builds = runtime().block_on(history.list()).unwrap();
        let under_way = builds.iter().filter(|build| build.state.is_under_way());
        left.extend(under_way.map(|build| format!("build {} {}", build.number, build.state.name())));
        left
    }

    fn containers_of_pushes(&self) -> Vec<String> {
        let filter = self.filter();
        let format = "{{.ID}} {{.Label \"paas.push\"}}";
        let listed = docker(&["ps", "--all", "--filter", &filter, "--filter", "label=paas.push", "--format", format]);
        // Instances have the label from their image, but empty; and so have the steps of a Dockerfile.
        let mut all: Vec<String> =
            listed.lines().filter_map(|line| line.trim().split_once(' ')).map(|(id, _)| id.to_owned()).collect();
        let steps = docker(&["ps", "--all", "--quiet", "--filter", &filter, "--filter", &self.step()]);
        all.extend(steps.lines().map(str::to_owned));
        all
    }

    /// Ids of this lane's slugs; without what they are built on, and what a Dockerfile's steps left for the next build.
    pub fn slugs(&self) -> std::collections::BTreeSet<String> {
        let listed = |more: &[&str]| {
            let filter = self.filter();
            let listed = docker(&[&["images", "--quiet", "--no-trunc", "--filter", &filter], more].concat());
            listed.lines().map(str::to_owned).collect::<std::collections::BTreeSet<_>>()
        };
        &listed(&[]) - &listed(&["--filter", &self.step()])
    }

    /// What the steps of the app's Dockerfile have.
    fn step(&self) -> String {
        format!("label=paas.step=dev/{}", self.app)
    }

    /// Slugs that some record of a build names.
    pub fn known_slugs(&self) -> std::collections::BTreeSet<String> {
        let store = self.store();
        let history = BuildHistory::of(&store, &"dev".parse().unwrap(), &self.app, self.logs());
        let builds = runtime().block_on(history.list()).unwrap();
        let image = |build: paas::pipeline::Build| match build.state {
            paas::pipeline::BuildState::Succeeded { image, .. } => Some(image.to_string()),
            _ => None,
        };
        builds.into_iter().filter_map(image).collect()
    }

    fn filter(&self) -> String {
        format!("label=paas.home={}", self.home().display())
    }
}

async fn pushed(push: Push, platform: &Platform) -> Outcome {
    let (repository, branch, commit) = (push.repository.clone(), push.branch.clone(), push.commit.clone());
    let said = Mutex::new(String::new());
    let say = |progress: Progress| {
        let _ = writeln!(said.lock().unwrap(), "{progress:?}");
    };
    let permission = Permission { by_token: None, tenancy: platform.tenancy.clone() };
    let result = paas::pipeline::run(push, platform, || std::future::ready(Ok(Some(permission.clone()))), &say).await;
    let result = result.map(|released| {
        // As the hook does while it is still this push's turn.
        let repository = Repository::open(&repository).unwrap();
        repository.move_reference(&branch, released.branch_at.as_ref(), &commit, "pushed").unwrap();
        released.address.clone()
    });
    let said = said.into_inner().unwrap();
    Outcome { result: result.map_err(|error| error.reason()), said }
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

impl Drop for Lane {
    fn drop(&mut self) {
        // First the engine, which would start again what goes.
        let _ = self.engine.process.kill();
        let _ = self.engine.process.wait();
        remove_from_docker(self.home());
    }
}
