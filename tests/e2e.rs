//! The main job from end to end: a real `git push` through a real sshd to a real Docker, and what the push promises.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::contract;
use crate::support::figures::figure;
use crate::support::http;
use crate::support::memory::{MemoryWatch, incompressible};
use crate::support::platform::{TestKey, TestPlatform};
use crate::support::project::{Project, Pushed};
use crate::support::registry::TestRegistry;
use crate::support::stack::stack_image;

/// A platform with the tenant `dev`, and the key of a user who pushes to it.
struct Paas {
    platform: TestPlatform,
    key: TestKey,
}

impl Paas {
    fn start() -> Self {
        Self::start_with(&[])
    }

    fn start_with(environment: &[(&str, &str)]) -> Self {
        let image = ("PAAS_BUILD_IMAGE", stack_image());
        let platform = TestPlatform::start_with(&[environment, &[image]].concat());
        let key = platform.key_of("alice");
        let _ = platform.paas(["tenant", "create", "dev"]).ok();
        Self { platform, key }
    }

    fn ssh(&self) -> String {
        self.platform.ssh_command(&self.key)
    }

    /// Pushes the work tree's commit to the app's `main`, whatever stood there.
    fn push(&self, project: &Project, app: &str) -> Pushed {
        self.push_with(project, app, &["--force", "HEAD:main"])
    }

    fn push_with(&self, project: &Project, app: &str, arguments: &[&str]) -> Pushed {
        let remote = self.platform.remote("dev", app);
        let all: Vec<&str> = std::iter::once(remote.as_str()).chain(arguments.iter().copied()).collect();
        project.push(&self.ssh(), &all)
    }

    /// Address and credentials of the tenant's Marathon, as the root Marathon and the store know them.
    fn marathon(&self) -> (SocketAddr, String) {
        let root = http::address_of(&self.platform.root_url());
        let credentials = self.platform.root_credentials();
        let tasks = json(root, "/v2/apps/tenants/dev/tasks", &credentials);
        let task = &tasks["tasks"][0];
        let address = format!("{}:{}", task["host"].as_str().unwrap(), task["ports"][0]).parse().unwrap();
        let app = json(root, "/v2/apps/tenants/dev", &credentials);
        let own = app["app"]["env"]["MESOSPHERE_HTTP_CREDENTIALS"].as_str().unwrap();
        (address, own.to_owned())
    }

    /// What the tenant's Marathon answers.
    fn ask(&self, path: &str) -> Value {
        let (address, credentials) = self.marathon();
        json(address, path, &credentials)
    }

    /// Containers of `app`'s instances that run.
    fn instances(&self, app: &str) -> BTreeSet<String> {
        self.containers(&["--filter", &format!("label=paas.app={app}"), "--filter", "label=MESOS_TASK_ID"])
    }

    /// Containers of builds, also those that ended.
    fn builds(&self) -> BTreeSet<String> {
        self.platform.builds()
    }

    fn containers(&self, filters: &[&str]) -> BTreeSet<String> {
        let home = format!("label=paas.home={}", self.platform.home().display());
        let listed = docker(&[&["ps", "--no-trunc", "--quiet", "--filter", &home], filters].concat());
        listed.lines().map(str::to_owned).collect()
    }

    /// The process that is the engine of `dev`.
    fn engine(&self) -> Option<rustix::process::Pid> {
        let state = self.platform.home().join("engines/tenants/dev");
        let state = state.to_str().unwrap();
        let found =
            self.platform.processes().into_iter().find(|line| line.contains(" engine ") && line.contains(state));
        rustix::process::Pid::from_raw(found?.split_whitespace().nth(1)?.parse().ok()?)
    }

    /// Whether the tenant's Marathon serves, wherever it is now.
    fn answers(&self) -> bool {
        let root = http::address_of(&self.platform.root_url());
        let tasks = json(root, "/v2/apps/tenants/dev/tasks", &self.platform.root_credentials());
        healthy(&tasks).first().is_some_and(|&address| http::get(address, "/ping", None).is_ok_and(|a| a.status == 401))
    }

    /// Where the app's web process answers, by Marathon's word.
    fn address_of(&self, app: &str) -> SocketAddr {
        let tasks = self.ask(&format!("/v2/apps/{app}/web/tasks"));
        healthy(&tasks).first().copied().unwrap_or_else(|| panic!("no healthy instance in {tasks}"))
    }
}

fn json(address: SocketAddr, path: &str, credentials: &str) -> Value {
    let answer = http::get(address, path, Some(credentials)).unwrap_or_else(|error| panic!("{path}: {error}"));
    contract::check_answer("GET", path, answer.status, &answer.body).unwrap_or_else(|violation| panic!("{violation}"));
    serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{path}: {error}: {}", answer.body))
}

/// Waits until `holds`, and says whether it came to that.
fn within(patience: Duration, holds: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    while !holds() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}

fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().expect("docker's client is installed");
    assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What the live app answers on `/`.
fn answer(url: &str) -> String {
    let answer = http::get(http::address_of(url), "/", None).unwrap_or_else(|error| panic!("{url}: {error}"));
    assert_eq!(answer.status, 200, "{url}: {}", answer.body);
    answer.body
}

#[test]
fn every_kind_of_app_is_pushed_and_answers() {
    let paas = Paas::start();
    for (fixture, says) in [("python", "python"), ("node", "node"), ("static", "static"), ("procfile", "procfile")] {
        let pushed = paas.push(&Project::from_fixture(fixture), fixture);
        let url = pushed.live_at();
        let body = answer(&url).to_lowercase();
        assert!(body.contains(says), "{fixture} answered {body:?}");
        let last = pushed.output.lines().rev().find(|line| line.contains("is live")).unwrap_or_default();
        figure(last.trim_start_matches("remote: =====> ").trim_end());
    }
}

/// As CI systems push.
#[test]
fn a_shallow_clone_pushes_and_what_it_pushed_is_cloned_back() {
    let paas = Paas::start();
    let remote = paas.platform.remote("dev", "shop");
    let project = Project::from_fixture("static");
    for message in ["first", "second", "third"] {
        project.write("index.html", message);
        project.commit(message);
    }
    let clone = Project::empty();
    let from = format!("file://{}", project.path().display());
    let _ = clone.git(["fetch", "--quiet", "--depth", "2", &from, "HEAD"]);
    let tip = clone.git(["rev-parse", "FETCH_HEAD"]);
    let pushed = clone.push(&paas.ssh(), &[&remote, "FETCH_HEAD:refs/heads/main"]);
    assert_eq!(answer(&pushed.live_at()), "third");
    let back = tempfile::tempdir().unwrap();
    let mut git = project.command();
    git.env("GIT_SSH_COMMAND", paas.ssh()).args(["clone", "--quiet", "--bare", &remote]).arg(back.path().join("b"));
    let cloned = git.output().unwrap();
    assert!(cloned.status.success(), "{}", String::from_utf8_lossy(&cloned.stderr));
    let log = project.command().current_dir(back.path().join("b")).args(["log", "--format=%H"]).output().unwrap();
    let log = String::from_utf8_lossy(&log.stdout).into_owned();
    assert!(log.starts_with(&tip) && log.lines().count() == 2, "{log}");
    // With the whole history afterwards.
    project.write("index.html", "fourth");
    project.commit("fourth");
    assert_eq!(answer(&project.push(&paas.ssh(), &[&remote, "HEAD:main"]).live_at()), "fourth");
}

#[test]
fn the_same_tree_again_builds_nothing_and_a_changed_one_replaces_the_release() {
    let paas = Paas::start();
    let project = Project::from_fixture("procfile");
    paas.push(&project, "shop").live_at();
    project.commit("the same tree");
    let again = paas.push(&project, "shop");
    again.live_at();
    assert!(!again.output.contains("Building with"), "an unchanged tree was built again:\n{}", again.output);
    project.write("more", "more");
    project.commit("another tree");
    let changed = paas.push(&project, "shop");
    assert!(changed.output.contains("v3 is live"), "{}", changed.output);
}

/// "A second push of a changed app: probed every 20 ms through `/v2/tasks`, at every moment at least one healthy
/// instance answers, and no old one is left at the end."
#[test]
fn a_second_push_never_leaves_the_app_without_a_healthy_instance() {
    let paas = Paas::start();
    let project = Project::from_fixture("procfile");
    paas.push(&project, "shop").live_at();
    let old = paas.instances("shop");
    assert_eq!(old.len(), 1);

    let (address, credentials) = paas.marathon();
    let prober = Prober::start(Duration::from_millis(20), move || healthy_instance_answers(address, &credentials));
    project.write("version", "2");
    project.commit("second");
    paas.push(&project, "shop").live_at();
    let (asked, failures) = prober.stop();

    figure(&format!("{asked} probes during a second push, {} failed", failures.len()));
    assert!(asked > 20, "only {asked} probes were made");
    assert!(failures.is_empty(), "{} of {asked} probes failed: {:?}", failures.len(), failures.first());
    let new = paas.instances("shop");
    assert!(new.is_disjoint(&old) && new.len() == 1, "old {old:?}, at the end {new:?}");
}

/// Ok when at least one of the tasks that Marathon calls healthy answers. A refused connection is tried on the next one,
/// as load balancers do.
fn healthy_instance_answers(marathon: SocketAddr, credentials: &str) -> Result<(), String> {
    let tasks = http::get(marathon, "/v2/tasks", Some(credentials)).map_err(|error| format!("/v2/tasks: {error}"))?;
    contract::check_answer("GET", "/v2/tasks", tasks.status, &tasks.body)?;
    let tasks: Value = serde_json::from_str(&tasks.body).map_err(|error| format!("/v2/tasks: {error}"))?;
    let mut last = format!("no healthy task in {tasks}");
    for address in healthy(&tasks) {
        match http::get(address, "/", None) {
            Ok(answer) if answer.status == 200 => return Ok(()),
            Ok(answer) => last = format!("{address} answered {}", answer.status),
            Err(error) => last = format!("{address}: {error}"),
        }
    }
    Err(last)
}

/// Addresses of the tasks that run and are healthy.
fn healthy(tasks: &Value) -> Vec<SocketAddr> {
    let is_alive = |task: &&Value| {
        let results = task["healthCheckResults"].as_array();
        results.is_some_and(|results| !results.is_empty() && results.iter().all(|result| result["alive"] == true))
    };
    let address = |task: &Value| format!("{}:{}", task["host"].as_str()?, task["ports"][0].as_u64()?).parse().ok();
    let tasks = tasks["tasks"].as_array().into_iter().flatten();
    tasks.filter(|task| task["state"] == "TASK_RUNNING").filter(is_alive).filter_map(address).collect()
}

/// Asks the same question at a fixed pace from a thread of its own.
struct Prober {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<(u32, Vec<String>)>,
}

impl Prober {
    fn start(every: Duration, probe: impl Fn() -> Result<(), String> + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let asked_to_stop = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (mut probes, mut failures) = (0, Vec::new());
            while !asked_to_stop.load(Ordering::Relaxed) {
                let began = Instant::now();
                probes += 1;
                failures.extend(probe().err());
                std::thread::sleep(every.saturating_sub(began.elapsed()));
            }
            (probes, failures)
        });
        Self { stop, thread }
    }

    fn stop(self) -> (u32, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the prober does not panic")
    }
}

/// "Engine killed with -9 while an app serves: no request lost, container id unchanged after its restart, `/v2/apps` the same."
#[test]
fn an_engine_killed_while_an_app_serves_loses_no_request_and_keeps_the_container() {
    let paas = Paas::start();
    let project = Project::from_fixture("procfile");
    let address = http::address_of(&paas.push(&project, "shop").live_at());
    let (containers, apps) = (paas.instances("shop"), paas.ask("/v2/apps"));

    let prober = Prober::start(Duration::from_millis(5), move || match http::get(address, "/", None) {
        Ok(answer) if answer.status == 200 => Ok(()),
        Ok(answer) => Err(answer.status.to_string()),
        Err(error) => Err(error.to_string()),
    });
    let engine = paas.engine().expect("the tenant's engine runs");
    rustix::process::kill_process(engine, rustix::process::Signal::KILL).unwrap();
    let back = within(Duration::from_secs(20), || paas.engine().is_some_and(|new| new != engine) && paas.answers());
    assert!(back, "the engine did not come back");
    let (requests, lost) = prober.stop();

    figure(&format!("{requests} requests while a tenant's engine was killed and came back, {} lost", lost.len()));
    assert!(lost.is_empty(), "{} of {requests} requests lost: {:?}", lost.len(), lost.first());
    assert_eq!(paas.instances("shop"), containers);
    assert_eq!(paas.ask("/v2/apps"), apps);
}

/// "A push of a 1 GiB tree (256 incompressible files of 4 MiB): peak resident memory of every process of ours under 64 MiB."
#[test]
fn a_push_of_one_gibibyte_keeps_every_process_of_ours_under_64_mib() {
    const LIMIT_KIB: u64 = 64 * 1024;
    let paas = Paas::start();
    let project = Project::from_fixture("procfile");
    for number in 0..256 {
        project.write(&format!("data/{number:03}"), incompressible(number, 4 << 20));
    }
    // The client's own work, which is not what is measured here, is kept short.
    project.git(["config", "core.compression", "0"]);
    project.git(["config", "pack.window", "0"]);
    project.commit("a gibibyte");

    let watch = MemoryWatch::start(paas.platform.home());
    let began = Instant::now();
    answer(&paas.push(&project, "big").live_at());
    let took = began.elapsed();
    let peaks = watch.stop();
    let title = format!("pushed 1 GiB in {:.1} s; peak resident memory of each process of ours:", took.as_secs_f32());
    let row =
        |(process, peak): (&String, &u64)| format!("  {:3}.{} MiB  {process}", peak / 1024, peak % 1024 * 10 / 1024);
    let shown: Vec<String> = std::iter::once(title).chain(peaks.iter().map(row)).collect();
    figure(&shown.join("\n"));
    assert!(peaks.keys().any(|process| process.contains("paas-receive hook")), "the hook was not seen: {peaks:?}");
    for (process, peak) in peaks {
        assert!(peak < LIMIT_KIB, "{process} took {peak} KiB");
    }
}

#[test]
fn what_cannot_be_deployed_is_refused_in_gits_own_line_and_leaves_nothing() {
    let paas = Paas::start();
    let good = Project::from_fixture("procfile");
    let url = paas.push(&good, "shop").live_at();
    let before = answer(&url);
    good.write("new", "");
    good.commit("more");
    let dry = paas.push_with(&good, "shop", &["-o", "dry-run", "HEAD:main"]);
    dry.is_rejected_with("dry run: nothing was changed");
    assert!(dry.output.contains("Would release v2: web=1"), "{}", dry.output);

    let broken_yaml = |text: &str| {
        let project = Project::from_fixture("procfile");
        project.write("paas.yml", text);
        project.commit("paas.yml");
        project
    };
    let bad_procfile = Project::from_fixture("procfile");
    bad_procfile.write("Procfile", "web run the server\n");
    bad_procfile.commit("no colon");
    let cases = [
        ("nothing buildable", Project::from_fixture("unknown"), "no buildpack recognised this app"),
        ("a build that fails", Project::from_fixture("failing-build"), "build"),
        ("broken YAML", broken_yaml("processes: ["), "paas.yml"),
        ("an unknown key", broken_yaml("proceses: {}\n"), "processes"),
        ("a wrong type", broken_yaml("processes: {web: {instances: many}}\n"), "instances"),
        ("a Procfile line without colon", bad_procfile, "Procfile"),
    ];
    for (name, project, reason) in cases {
        let pushed = paas.push(&project, "shop");
        println!("{name}: {}", pushed.porcelain.lines().find(|line| line.starts_with('!')).unwrap_or_default());
        pushed.is_rejected_with(reason);
        assert_eq!(answer(&url), before, "{name}: the previous release no longer serves");
        assert_eq!(paas.instances("shop").len(), 1, "{name}: a container is left");
        assert!(paas.builds().is_empty(), "{name}: a build container is left");
    }
    // The same on an app that never was: not even a repository is left.
    paas.push(&Project::from_fixture("unknown"), "never").is_rejected_with("no buildpack");
    assert!(!paas.platform.home().join("repositories/dev/never.git").exists());
}

#[test]
fn an_app_that_never_listens_is_rolled_back_and_its_output_is_shown() {
    let paas = Paas::start_with(&[("PAAS_DEPLOY_DEADLINE", "15s")]);
    let project = Project::from_fixture("procfile");
    let url = paas.push(&project, "shop").live_at();
    let before = answer(&url);

    let deaf = Project::from_fixture("never-listens");
    let pushed = paas.push(&deaf, "shop");
    println!("{}", pushed.output);
    pushed.is_rejected_with("deploy failed");
    let address = format!("http://{}", paas.address_of("shop"));
    assert_eq!(answer(&address), before, "the previous release does not serve");
    assert_eq!(paas.instances("shop").len(), 1, "a failed instance is left");
}

#[test]
fn a_tenant_that_is_not_there_and_commands_that_are_not_ours_are_refused() {
    let paas = Paas::start();
    let project = Project::from_fixture("procfile");
    let pushed = project.push(&paas.ssh(), &[&paas.platform.remote("nowhere", "shop"), "HEAD:main"]);
    assert!(!pushed.accepted && pushed.output.contains("nowhere"), "{}", pushed.output);

    let hostile = [
        ("anything", 2),
        ("git-upload-pack '../../etc'", 1),
        ("git-receive-pack '/etc/passwd'", 1),
        ("sh -c id", 2),
        ("git-shell --help", 1),
    ];
    for (command, status) in hostile {
        let said = paas.platform.ssh(&paas.key, command).fails(status, &["error"]);
        assert!(!said.out.contains("uid="), "`{command}`: {}", said.out);
    }
    let stranger = paas.platform.unknown_key("mallory");
    let _ = paas.platform.ssh(&stranger, "git-receive-pack '/dev/shop'").fails(1, &["nobody knows the key"]);
    let _ = paas.platform.ssh(&stranger, "tenant list").fails(3, &["nobody knows the key"]);
    assert!(paas.platform.ssh(&paas.key, "help").ok().out.contains("git push"));
}

#[test]
fn a_vanished_client_leaves_no_build_no_lock_and_no_ref() {
    let paas = Paas::start();
    let slow = Project::from_fixture("slow-build");
    let remote = paas.platform.remote("dev", "slow");
    let mut push = slow.command();
    push.env("GIT_SSH_COMMAND", paas.ssh()).args(["push", "--quiet", &remote, "HEAD:main"]).process_group(0);
    let mut push = push.spawn().unwrap();
    assert!(within(Duration::from_secs(30), || !paas.builds().is_empty()), "the build never began");

    let group = rustix::process::Pid::from_raw(push.id().cast_signed()).unwrap();
    rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
    push.wait().unwrap();
    let began = Instant::now();
    assert!(within(Duration::from_secs(10), || paas.builds().is_empty()), "the build outlived its client");
    figure(&format!("a build was gone {:.2} s after its client", began.elapsed().as_secs_f32()));
    // The lock is free and the ref did not move: another push goes straight through.
    let gone = within(Duration::from_secs(5), || !paas.platform.home().join("repositories/dev/slow.git").exists());
    assert!(gone, "a repository that holds nothing is left");
    let next = paas.push(&Project::from_fixture("procfile"), "slow");
    next.live_at();
    assert!(!next.output.contains("Waiting for"), "{}", next.output);
}

#[test]
fn a_deleted_tenant_leaves_nothing() {
    let paas = Paas::start();
    paas.push(&Project::from_fixture("procfile"), "shop").live_at();
    let home = paas.platform.home().display().to_string();
    let slugs = || docker(&["images", "--quiet", "--filter", &format!("label=paas.home={home}")]);
    assert!(!slugs().is_empty() && !paas.platform.in_docker("volume").is_empty());

    let _ = paas.platform.paas(["tenant", "delete", "dev", "--yes", "--force"]).ok();
    assert_eq!(slugs(), "");
    for kind in ["container", "network", "volume"] {
        assert_eq!(paas.platform.in_docker(kind), Vec::<String>::new(), "a {kind} is left");
    }
    assert!(!paas.platform.home().join("repositories/dev").exists());
}

/// With a registry the slug is pushed and released by digest.
#[test]
fn with_a_registry_a_release_runs_by_digest() {
    let registry = TestRegistry::start();
    let paas = Paas::start_with(&[("PAAS_REGISTRY", &registry.host())]);
    let url = paas.push(&Project::from_fixture("procfile"), "shop").live_at();
    answer(&url);
    let app = paas.ask("/v2/apps/shop/web");
    let image = app["app"]["container"]["docker"]["image"].as_str().unwrap_or_default().to_owned();
    assert!(image.starts_with(&registry.host()) && image.contains("@sha256:"), "released as {image}");
}
