//! The way of a push, from a commit to what serves: real git, Docker and SQLite, and a builder of a few files.

mod disk;
#[cfg(feature = "fault-points")]
mod docker_hangs;
mod dockerfile;
mod dockers_disk;
mod herokuish;
mod no_room;
mod queue;
mod rehearsal;
mod release_command;
mod reuse;
mod source;
mod submodules;

use std::collections::BTreeMap;
use std::future::{Ready, ready};
use std::io::{BufRead as _, BufReader};
use std::num::NonZeroU32;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use paas::docker::{Docker, Socket};
use paas::git::Repository;
use paas::marathon::{
    App, Client, Container, ContainerKind, DockerContainer, GroupUpdate, HealthCheck, HealthProtocol, Network,
    NetworkMode, PortMapping,
};
use paas::model::{ByteSize, ImageRef, Quota, ReleaseNumber};
use paas::pipeline::{
    BuildHistory, Permission, Platform, Progress, Push, PushError, PushId, PushOptions, Readable, Registry, Release,
    ReleaseState, Released, Tenancy, abandon, run,
};
use paas::store::{BoxedCause, LeaseAttempt, StorePath};
use tempfile::TempDir;

use crate::support::builder::{TestBuilder, docker};
use crate::support::checking_proxy::CheckingProxy;
use crate::support::http::{address_of, get};
use crate::support::patience::eventually;
use crate::support::pipeline::{platform, remove_from_docker};
use crate::support::project::{Project, SERVES_ITS_FILES};
use crate::support::registry::TestRegistry;

/// A platform of its own, with a builder of its own; nothing of it is left in Docker when it is dropped.
struct Lab {
    home: TempDir,
    platform: Platform,
    builder: TestBuilder,
    engine: Option<Engine>,
    /// Between the pipeline and the engine: every answer and event has to be as the contract says.
    proxy: Option<CheckingProxy>,
}

/// The engine's program; it ends when this is dropped, and its containers go with the lab.
struct Engine {
    process: Child,
    url: String,
}

impl Engine {
    fn start(state: &std::path::Path, label: &str) -> Self {
        Self::start_in("/var/run/docker.sock".as_ref(), state, label)
    }

    /// One that runs its instances in the Docker at that socket.
    fn start_in(docker: &std::path::Path, state: &std::path::Path, label: &str) -> Self {
        /// Each engine has host ports of its own, since tests run side by side.
        const PORTS_EACH: u16 = 20;
        static NEXT: AtomicU16 = AtomicU16::new(24_000);
        let first = NEXT.fetch_add(PORTS_EACH, Ordering::Relaxed);
        let mut process = Command::new(env!("CARGO_BIN_EXE_paas"))
            .args(["engine", "--listen", "127.0.0.1:0", "--state"])
            .arg(state)
            .arg("--docker")
            .arg(docker)
            .args(["--ports", &format!("{first}-{}", first + PORTS_EACH - 1)])
            .args(["--label", &format!("paas.home={label}")])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("the engine said {line:?}"));
        Self { url: url.to_owned(), process }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// How a push ended and what it said.
struct Outcome {
    result: Result<Live, PushError>,
    said: Vec<Progress>,
}

/// What is known of a release when its push has ended.
#[derive(Debug)]
struct Live {
    image: ImageRef,
    address: Option<String>,
}

impl Outcome {
    /// Everything that was said, line by line.
    fn text(&self) -> String {
        let text = |progress: &Progress| match progress {
            Progress::Step(text) => format!("-----> {text}"),
            Progress::Detail(text) | Progress::Output(text) => format!("       {text}"),
            Progress::Warning(text) => format!(" !     {text}"),
            Progress::Deploying(number) => format!("(deploying {number})"),
            Progress::Building(number) => format!("(building {number})"),
            Progress::Milestone(text) => format!("=====> {text}"),
        };
        self.said.iter().map(text).collect::<Vec<_>>().join("\n")
    }
    #[track_caller]
    fn reason(&self) -> String {
        match &self.result {
            Ok(released) => panic!("released as {released:?}:\n{}", self.text()),
            Err(error) => error.reason(),
        }
    }
    #[track_caller]
    fn says(&self, part: &str) {
        assert!(self.text().contains(part), "no {part:?} in\n{}", self.text());
    }
}

/// Whoever pushes may, and nothing is another than when they began.
fn permission(platform: &Platform) -> impl Fn() -> Ready<Result<Option<Permission>, BoxedCause>> + Send + use<> {
    let permission = Permission { by_token: None, tenancy: platform.tenancy.clone() };
    move || ready(Ok(Some(permission.clone())))
}

impl Lab {
    fn new() -> Self {
        Self::building(|_| {})
    }

    /// Without a Marathon: nobody listens on port 1.
    fn building(change: impl FnOnce(&mut Platform)) -> Self {
        Self::with(tempfile::tempdir().unwrap(), "http://127.0.0.1:1", None, change)
    }

    /// With an engine that runs what is deployed.
    fn serving(change: impl FnOnce(&mut Platform)) -> Self {
        let home = tempfile::tempdir().unwrap();
        let engine = Engine::start(&home.path().join("engine"), &home.path().display().to_string());
        let proxy = CheckingProxy::start(address_of(&engine.url));
        let mut lab = Self::with(home, &proxy.url(), Some(engine), change);
        lab.proxy = Some(proxy);
        lab
    }

    fn with(home: TempDir, marathon: &str, engine: Option<Engine>, change: impl FnOnce(&mut Platform)) -> Self {
        let builder = TestBuilder::make();
        let mut platform = platform(home.path(), &builder, Client::new(marathon, None).unwrap());
        change(&mut platform);
        Self { home, platform, builder, engine, proxy: None }
    }

    fn push_of(project: &Project, options: PushOptions) -> Push {
        let branch = "refs/heads/deployed".to_owned();
        let repository = project.path().join(".git");
        let previous = Repository::open(&repository).unwrap().reference(&branch).unwrap();
        Push {
            tenant: "dev".parse().unwrap(),
            app: "shop".parse().unwrap(),
            user: "alice".parse().unwrap(),
            push: PushId::random(),
            commit: project.git(["rev-parse", "HEAD"]).trim().parse().unwrap(),
            branch,
            previous,
            repository,
            options,
        }
    }

    async fn push(&self, project: &Project) -> Outcome {
        self.run(Self::push_of(project, PushOptions::default())).await
    }

    /// Runs the push and, as the hook does, moves its branch while it is still its turn.
    async fn run(&self, push: Push) -> Outcome {
        let (repository, branch, commit) = (push.repository.clone(), push.branch.clone(), push.commit.clone());
        let said = Mutex::new(Vec::new());
        let result =
            run(push, &self.platform, permission(&self.platform), &|progress| said.lock().unwrap().push(progress))
                .await;
        let result = result.map(|released| {
            let repository = Repository::open(&repository).unwrap();
            repository.move_reference(&branch, released.branch_at.as_ref(), &commit, "pushed").unwrap();
            let Released { ref image, ref address, .. } = released;
            Live { image: image.clone(), address: address.clone() }
        });
        Outcome { result, said: said.into_inner().unwrap() }
    }

    fn filter(&self) -> String {
        format!("label=paas.home={}", self.platform.home_label)
    }
    fn containers(&self) -> String {
        docker(&["ps", "--all", "--quiet", "--filter", &self.filter()])
    }
    fn images(&self) -> Vec<String> {
        let ids = docker(&["images", "--all", "--quiet", "--no-trunc", "--filter", &self.filter()]);
        let mut ids: Vec<String> = ids.lines().map(str::to_owned).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }
    fn app_path() -> StorePath {
        StorePath::root().join("tenants").join("dev").join("apps").join("shop")
    }
    async fn release(&self, number: u32) -> Release {
        let path = Self::app_path().join("releases").join(format!("{number:010}"));
        serde_json::from_slice(&self.platform.store.get(&path).await.unwrap().unwrap().value).unwrap()
    }
    fn build_log(&self, number: u32) -> String {
        std::fs::read_to_string(self.home.path().join(format!("logs/{number}.log"))).unwrap()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // First the engine, which would start again what goes.
        drop(self.engine.take());
        remove_from_docker(self.home.path());
        if let Some(proxy) = self.proxy.take()
            && !std::thread::panicking()
        {
            proxy.found_nothing_wrong();
        }
    }
}

#[tokio::test]
async fn a_build_is_one_layer_on_the_builder_and_carries_nothing_of_the_build() {
    let lab = Lab::building(|platform| {
        platform.builder.ca_bundle = Some("/etc/ssl/certs/ca-certificates.crt".into());
    });
    let app = Project::built_by(
        "test -s \"$SSL_CERT_FILE\" && test \"$PIP_CERT\" = \"$SSL_CERT_FILE\" && echo certificates are there\n\
                   echo kept > /tmp/cache/kept; echo made > made",
    );
    let outcome = lab.push(&app).await;
    outcome.says("certificates are there");
    let images = lab.images();
    assert_eq!(images.len(), 1, "{}", outcome.text());
    let config = docker(&["inspect", "--format", "{{json .Config}}", &images[0]]);
    for absent in ["SSL_CERT_FILE", "PIP_CERT", "/run/paas-ca", "build/builder"] {
        assert!(!config.contains(absent), "{absent} in {config}");
    }
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config["Cmd"], serde_json::json!(["/bin/sh"]));
    assert_eq!(config["Entrypoint"], serde_json::Value::Null);
    assert!(config["Env"].as_array().unwrap().contains(&serde_json::json!("STACK=test")));
    assert_eq!((&config["Labels"]["paas.tenant"], &config["Labels"]["paas.app"]), (&"dev".into(), &"shop".into()));
    assert_eq!(config["Labels"]["paas.slug"].as_str().map(str::len), Some(64));
    assert_eq!(docker(&["inspect", "--format", "{{len .RootFS.Layers}}", &images[0]]), "2");
    let files =
        docker(&["run", "--rm", &images[0], "/bin/sh", "-c", "cat /app/made; ls /tmp/cache /tmp/env /run/paas-ca"]);
    assert!(files.starts_with("made") && !files.contains("kept") && !files.contains("bundle"), "{files}");
    assert_eq!(lab.containers(), "");
}

#[tokio::test]
async fn the_cache_is_kept_between_the_builds_of_an_app() {
    let lab = Lab::new();
    let app = Project::built_by(
        "cat /tmp/cache/kept 2>/dev/null || echo nothing kept; echo from the first > /tmp/cache/kept",
    );
    lab.push(&app).await.says("nothing kept");
    app.write("more", "x");
    app.commit("second");
    lab.push(&app).await.says("from the first");
    let options = PushOptions { no_cache: true, ..PushOptions::default() };
    lab.run(Lab::push_of(&app, options)).await.says("nothing kept");
}

#[tokio::test]
async fn the_same_tree_again_builds_nothing() {
    let lab = Lab::new();
    let app = Project::built_by("echo built anew");
    lab.push(&app).await.says("built anew");
    app.commit("the same tree, another commit");
    let again = lab.push(&app).await;
    again.says("from build 1 of shop: same tree again");
    assert!(!again.text().contains("built anew"), "{}", again.text());
    docker(&["rmi", "--force", &lab.images()[0]]);
    lab.push(&app).await.says("built anew");
}

#[tokio::test]
async fn a_failed_build_leaves_its_log_and_nothing_else() {
    let lab = Lab::new();
    let outcome = lab
        .push(&Project::built_by("printf 'red \\033[31mcolour\\033[0m\\033[2J\\n'; echo to stderr >&2; exit 7"))
        .await;
    assert_eq!(outcome.reason(), "build failed: the build exited with status 7; paas builds log 1");
    outcome.says("red \u{1b}[31mcolour\u{1b}[0m\n");
    assert_eq!(lab.containers(), "");
    assert_eq!(lab.images(), Vec::<String>::new());
    let log = lab.build_log(1);
    assert!(log.contains("colour") && log.contains("to stderr") && log.contains("status 7"), "{log}");
    assert!(!lab.home.path().join("logs/1.loan").exists());
}

#[tokio::test]
async fn no_build_begins_on_a_disk_that_is_nearly_full() {
    let lab = Lab::building(|platform| platform.builder.free = ByteSize::mib(1 << 40));
    let outcome = lab.push(&Project::built_by("true")).await;
    let reason = outcome.reason();
    assert!(reason.starts_with("build failed: only ") && reason.contains(" are free on the disk of /"), "{reason}");
    assert!(!outcome.text().contains("Building"), "{}", outcome.text());
    assert!(!lab.home.path().join("logs").exists(), "it has no number and no log");
}

#[tokio::test]
async fn a_build_ends_when_its_time_is_over() {
    let lab = Lab::building(|platform| platform.builder.timeout = Duration::from_secs(1));
    let outcome = lab.push(&Project::built_by("echo waiting; sleep 600")).await;
    assert_eq!(outcome.reason(), "build failed: the build was ended because it took longer than 1s; paas builds log 1");
    assert_eq!(lab.containers(), "");
}

#[tokio::test]
async fn a_build_that_is_cancelled_when_its_slug_is_there_already_leaves_none() {
    let lab = Lab::new();
    let project = Project::built_by("true");
    let push = Lab::push_of(&project, PushOptions::default());
    let (store, logs) = (Arc::clone(&lab.platform.store), lab.platform.build_logs.clone());
    let (tenant, app) = (push.tenant.clone(), push.app.clone());
    // The pipeline waits for what it tells, so this comes between the slug and the record of it.
    let cancel = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let history = BuildHistory::of(&*store, &tenant, &app, logs.clone());
        // Not the pipeline's, whose connections stand still meanwhile.
        let docker = Docker::at(Socket("/var/run/docker.sock".into()));
        runtime.block_on(history.cancel(1, "bob", Timestamp::now(), &docker)).unwrap();
    };
    let say = |progress| {
        if matches!(&progress, Progress::Step(text) if text.starts_with("Slug ")) {
            std::thread::scope(|scope| scope.spawn(&cancel).join().unwrap());
        }
    };
    let refused = run(push, &lab.platform, permission(&lab.platform), &say).await.unwrap_err();
    assert_eq!(refused.reason(), "build cancelled by bob");
    assert_eq!(lab.images(), Vec::<String>::new());
    assert_eq!(lab.containers(), "");
    assert!(lab.build_log(1).ends_with("build cancelled by bob\n"));
}

#[tokio::test]
async fn a_build_that_needs_too_much_memory_is_told_so() {
    let lab = Lab::building(|platform| platform.builder.memory = ByteSize::mib(16));
    let outcome = lab.push(&Project::built_by("head -c 100m /dev/zero | tail | wc -c; exit 1")).await;
    let reason = outcome.reason();
    assert!(reason.contains("16 MiB of memory"), "{reason}\n{}", outcome.text());
}

#[tokio::test]
async fn a_build_has_no_docker_no_privilege_and_cannot_gain_any() {
    let lab = Lab::new();
    let outcome = lab
        .push(&Project::built_by("test ! -e /var/run/docker.sock && grep -E 'CapEff|NoNewPrivs' /proc/self/status; mount -t tmpfs x /mnt || true"))
        .await;
    outcome.says("NoNewPrivs:\t1");
    // CHOWN 0, DAC_OVERRIDE 1, FOWNER 3, KILL 5, SETGID 6, SETUID 7.
    outcome.says("CapEff:\t00000000000000eb");
}

#[tokio::test]
async fn abandoning_a_push_ends_its_build_and_frees_the_app() {
    let lab = Lab::new();
    let app = Project::built_by("echo started; sleep 600");
    let push = Lab::push_of(&app, PushOptions::default());
    let id = push.push.clone();
    let (started, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let platform = lab.platform.clone();
    let building = tokio::spawn(async move {
        let say = |progress: Progress| {
            if progress == Progress::Output("started".to_owned()) {
                let _ = started.send(());
            }
        };
        run(push, &platform, permission(&platform), &say).await.map(drop).map_err(|error| error.reason())
    });
    seen.recv().await.unwrap();
    let waiting = lab.run(Lab::push_of(&app, PushOptions { no_wait: true, ..PushOptions::default() })).await;
    let reason = waiting.reason();
    assert!(reason.starts_with("another push to this app is under way: alice's push of "), "{reason}");
    abandon(&lab.platform.docker, &id).await.unwrap();
    assert_eq!(lab.containers(), "");
    assert!(building.await.unwrap().unwrap_err().starts_with("build failed"));
}

#[tokio::test]
async fn a_push_that_is_dropped_leaves_no_container() {
    let lab = Lab::new();
    let app = Project::built_by("echo started; sleep 600");
    let push = Lab::push_of(&app, PushOptions::default());
    let (started, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let say = move |progress: Progress| {
        if progress == Progress::Output("started".to_owned()) {
            let _ = started.send(());
        }
    };
    tokio::select! {
        ended = run(push, &lab.platform, permission(&lab.platform), &say) => panic!("it ended: {:?}", ended.map_err(|error| error.reason())),
        _ = seen.recv() => {}
    }
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while !lab.containers().is_empty() {
        assert!(std::time::Instant::now() < deadline, "the container is still there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // The lease is free and the build is known to be over.
    app.write("build", "echo another");
    app.commit("second");
    lab.push(&app).await.says("another");
}

/// The address that the good push said.
#[track_caller]
fn live_at(outcome: &Outcome) -> std::net::SocketAddr {
    match &outcome.result {
        Ok(released) => address_of(released.address.as_ref().expect("a web process has an address")),
        Err(error) => panic!("{}\n{}", error.reason(), outcome.text()),
    }
}

/// What somebody else might have posted: it listens nowhere, so its deployment does not end.
fn never_ready(image: &str) -> App {
    let docker = DockerContainer {
        image: image.to_owned(),
        force_pull_image: false,
        parameters: Vec::new(),
        privileged: false,
        pull_config: None,
    };
    let port = PortMapping {
        container_port: 0,
        host_port: Some(0),
        labels: BTreeMap::new(),
        name: None,
        network_names: None,
        protocol: "tcp".to_owned(),
        service_port: 0,
    };
    App {
        args: ["/bin/sleep", "600"].map(str::to_owned).to_vec(),
        cpus: 0.1,
        container: Some(Container {
            kind: ContainerKind::Docker,
            docker: Some(docker),
            volumes: Vec::new(),
            port_mappings: Some(vec![port]),
        }),
        networks: vec![Network { mode: NetworkMode::Bridge, name: None, labels: BTreeMap::new() }],
        health_checks: vec![HealthCheck { port_index: Some(0), ..HealthCheck::new(HealthProtocol::MesosTcp) }],
        task_kill_grace_period_seconds: Some(1),
        ..App::new("/shop/web".parse().unwrap())
    }
}

/// A web process that serves `/app/page` as `/page`.
fn site(page: &str) -> Project {
    let project = Project::empty();
    project.write("Procfile", SERVES_ITS_FILES);
    project.write("page", page);
    project.commit("first");
    project
}

#[tokio::test]
async fn a_release_serves_when_its_push_says_so() {
    let lab = Lab::serving(|_| {});
    let app = site("first");
    app.write("paas.yml", "domains: [shop.example.org]\nenv: {LOG_LEVEL: info}\nprocesses: {web: {instances: 2}}\n");
    app.commit("two of them");
    let outcome = lab.push(&app).await;
    let released = outcome.result.as_ref().unwrap_or_else(|error| panic!("{}\n{}", error.reason(), outcome.text()));
    assert_eq!(released.address.as_deref(), Some("http://shop.example.org"));
    outcome.says("-----> Source ");
    outcome.says("-----> Release v1: web=2\n");
    outcome.says("       web.1 healthy after ");
    outcome.says("       web.2 healthy after ");
    outcome.says("=====> shop v1 is live: http://shop.example.org (");
    let release = lab.release(1).await;
    assert!(matches!(release.state, ReleaseState::Succeeded { .. }), "{:?}", release.state);
    assert_eq!(release.image, released.image);
    let definition = lab.platform.tenancy.marathon.app(&"/shop/web".parse().unwrap()).await.unwrap().unwrap().app;
    assert_eq!(definition.labels["HAPROXY_0_VHOST"], "shop.example.org");
    assert_eq!(serde_json::to_value(&definition.env["PAAS_RELEASE"]).unwrap(), "v1");
}

#[tokio::test]
async fn abandoning_a_push_whose_release_serves_ends_no_instance() {
    let lab = Lab::serving(|_| {});
    let app = site("still here");
    let push = Lab::push_of(&app, PushOptions::default());
    let id = push.push.clone();
    let address = live_at(&lab.run(push).await);
    let instances = lab.containers();
    abandon(&lab.platform.docker, &id).await.unwrap();
    assert_eq!(lab.containers(), instances);
    assert_eq!(get(address, "/page", None).unwrap().body, "still here");
}

#[tokio::test]
async fn the_next_release_takes_the_place_of_the_last() {
    let lab = Lab::serving(|_| {});
    let app = site("first");
    let first = live_at(&lab.push(&app).await);
    assert_eq!(get(first, "/page", None).unwrap().body, "first");
    app.write("page", "second");
    app.commit("second");
    let second = live_at(&lab.push(&app).await);
    assert_eq!(get(second, "/page", None).unwrap().body, "second");
    assert!(get(first, "/page", None).is_err(), "the old instance is gone");
    assert_eq!(lab.release(2).await.replaces, Some(ReleaseNumber::new(1)));
}

#[tokio::test]
async fn a_release_that_fails_is_undone_and_its_last_words_are_shown() {
    let lab = Lab::serving(|_| {});
    let app = site("first");
    live_at(&lab.push(&app).await);
    app.write("Procfile", "web: sh ./broken\n");
    app.write("broken", "echo about to fail\necho no such table: users >&2\nexit 1\n");
    app.commit("broken");
    let outcome = lab.push(&app).await;
    assert_eq!(outcome.reason(), "deploy failed: web exited with status 1; v1 is still serving", "{}", outcome.text());
    outcome.says("       about to fail\n");
    outcome.says("       no such table: users\n");
    assert!(matches!(lab.release(2).await.state, ReleaseState::Failed { .. }));

    let tasks = lab.platform.tenancy.marathon.tasks(&"/shop/web".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(tasks.len(), 1, "{tasks:?}");
    let serving = format!("http://{}:{}", tasks[0].host, tasks[0].ports[0]);
    assert_eq!(get(address_of(&serving), "/page", None).unwrap().body, "first");

    app.write("Procfile", SERVES_ITS_FILES);
    app.write("page", "mended");
    app.commit("mended");
    let third = lab.push(&app).await;
    assert_eq!(get(live_at(&third), "/page", None).unwrap().body, "mended");
    assert_eq!(lab.release(3).await.replaces, Some(ReleaseNumber::new(1)), "a failed release never served");
}

#[tokio::test]
async fn a_first_release_that_fails_leaves_nothing() {
    let lab = Lab::serving(|_| {});
    let app = site("never");
    app.write("Procfile", "web: false\n");
    app.commit("broken");
    let outcome = lab.push(&app).await;
    assert_eq!(outcome.reason(), "deploy failed: web exited with status 1; nothing serves");
    assert_eq!(lab.platform.tenancy.marathon.group(&"/shop".parse().unwrap()).await.unwrap(), None);
    // The engine takes it away as soon as it has read what it said last.
    eventually("no container is left", || lab.containers().is_empty().then_some(()));
}

#[tokio::test]
async fn an_app_that_never_listens_does_not_pass_its_check() {
    let lab = Lab::serving(|platform| platform.deploy.retries = 0);
    let app = site("unseen");
    app.write("Procfile", "web: sleep 600\n");
    let health = "{interval: 1s, grace: 1s, failures: 1}";
    app.write("paas.yml", format!("processes: {{web: {{health: {health}, stop_timeout: 1s}}}}\n"));
    app.commit("deaf");
    let reason = lab.push(&app).await.reason();
    assert_eq!(reason, "deploy failed: web did not pass its health check (once); nothing serves");
}

#[tokio::test]
async fn a_worker_that_exits_at_once_has_failed_whatever_marathon_says() {
    // On a busy machine a container takes its time even to exit.
    let lab = Lab::serving(|platform| platform.deploy.settle = Duration::from_secs(10));
    let app = site("fine");
    app.write("Procfile", format!("{SERVES_ITS_FILES}worker: true\n"));
    app.write("paas.yml", "processes: {worker: {instances: 1}}\n");
    app.commit("a worker that does not stay");
    let reason = lab.push(&app).await.reason();
    assert_eq!(reason, "deploy failed: worker exited with status 0; nothing serves");
}

#[tokio::test]
async fn paas_yml_may_name_the_command() {
    let lab = Lab::serving(|_| {});
    let app = Project::empty();
    app.write("page", "by paas.yml");
    app.write("paas.yml", "processes: {web: {command: 'test -n \"$PORT\" && exec httpd -f -p \"$PORT\" -h /app'}}\n");
    app.commit("no Procfile");
    assert_eq!(get(live_at(&lab.push(&app).await), "/page", None).unwrap().body, "by paas.yml");
}

#[tokio::test]
async fn with_a_registry_a_release_runs_by_digest() {
    let registry = TestRegistry::start();
    let host = registry.host();
    let lab = Lab::serving(|platform| {
        platform.registry = Some(Registry { host: host.clone(), credentials: None, patience: Registry::PATIENCE });
    });
    let app = site("published");
    let outcome = lab.push(&app).await;
    assert_eq!(get(live_at(&outcome), "/page", None).unwrap().body, "published");
    let image = outcome.result.unwrap().image.to_string();
    assert!(image.starts_with(&format!("{host}/dev/shop@sha256:")), "{image}");
    let definition = lab.platform.tenancy.marathon.app(&"/shop/web".parse().unwrap()).await.unwrap().unwrap().app;
    assert_eq!(definition.container.as_ref().unwrap().docker.as_ref().unwrap().image, image);
}

#[tokio::test]
async fn a_registry_that_is_away_fails_the_push_before_anything_is_deployed() {
    let registry = Registry { host: "127.0.0.1:1".to_owned(), credentials: None, patience: Registry::PATIENCE };
    let lab = Lab::serving(|platform| platform.registry = Some(registry));
    let app = site("unpublished");
    let outcome = lab.push(&app).await;
    assert!(outcome.reason().starts_with("publishing failed: "), "{}", outcome.reason());
    assert_eq!(lab.platform.tenancy.marathon.group(&"/shop".parse().unwrap()).await.unwrap(), None);
    assert_eq!(lab.images().len(), 1, "the slug is kept for the next try");
}

#[tokio::test]
async fn a_marathon_that_is_away_is_named() {
    let lab = Lab::new();
    let reason = lab.push(&site("nowhere to go")).await.reason();
    let expected = "deploy failed: Marathon did not take the release: cannot reach Marathon at http://127.0.0.1:1";
    assert_eq!(reason, expected);
}

#[tokio::test]
async fn somebody_elses_deployment_is_named_and_taken_over_only_when_asked() {
    let lab = Lab::serving(|_| {});
    let group = "/shop".parse().unwrap();
    let stuck = GroupUpdate::of_apps(vec![never_ready(lab.builder.name())]);
    let held = lab.platform.tenancy.marathon.put_group(&group, &stuck, false).await.unwrap();
    let app = site("waiting");
    let reason = lab.push(&app).await.reason();
    assert!(reason.contains(&format!("deployment {} holds the app", held.deployment_id)), "{reason}");
    let forced = lab.run(Lab::push_of(&app, PushOptions { force: true, ..PushOptions::default() })).await;
    assert_eq!(get(live_at(&forced), "/page", None).unwrap().body, "waiting");
}

#[tokio::test]
async fn the_deployment_of_a_push_that_was_killed_is_taken_over_unasked() {
    let lab = Lab::serving(|_| {});
    let app = site("at last");
    app.write("Procfile", "web: sleep 600\n");
    app.commit("deaf");
    let push = Lab::push_of(&app, PushOptions::default());
    let (released, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let say = move |progress: Progress| {
        if matches!(progress, Progress::Deploying(_)) {
            let _ = released.send(());
        }
    };
    {
        let mut killed = std::pin::pin!(run(push, &lab.platform, permission(&lab.platform), &say));
        tokio::select! {
            ended = &mut killed => panic!("it ended: {:?}", ended.map_err(|error| error.reason())),
            _ = seen.recv() => {}
        }
        // On until Marathon has it and the store knows.
        while !matches!(lab.release(1).await.state, ReleaseState::Pending { deployment: Some(_) }) {
            let step = tokio::time::timeout(Duration::from_millis(20), &mut killed).await;
            assert!(step.is_err(), "it ended: {:?}", step.map(|ended| ended.map_err(|error| error.reason())));
        }
    }
    app.write("Procfile", SERVES_ITS_FILES);
    app.commit("listens");
    assert_eq!(get(live_at(&lab.push(&app).await), "/page", None).unwrap().body, "at last");
    assert!(matches!(lab.release(1).await.state, ReleaseState::Failed { .. }));
}

/// Runs the first push, and as soon as it has the app the second.
async fn one_after_the_other(lab: &Lab, first: Push, second: Push) -> (Outcome, Outcome) {
    tokio::join!(lab.run(first), async {
        while lab.platform.store.lease_holder(&Lab::app_path()).await.unwrap().is_none() {
            tokio::task::yield_now().await;
        }
        lab.run(second).await
    })
}

#[tokio::test]
async fn the_second_push_waits_its_turn_and_says_for_whom() {
    let lab = Lab::serving(|_| {});
    let app = Project::built_by("sleep 1");
    let first = Lab::push_of(&app, PushOptions::default());
    app.write("more", "x");
    app.commit("on top of the first");
    let second = Lab::push_of(&app, PushOptions::default());
    let (first, second) = Box::pin(one_after_the_other(&lab, first, second)).await;
    live_at(&first);
    second.says("-----> Waiting for alice's push of ");
    live_at(&second);
    assert_eq!(lab.release(2).await.previous_commit, Some(lab.release(1).await.commit));
}

#[tokio::test]
async fn pushes_to_one_app_have_their_turn_in_the_order_in_which_they_came() {
    let lab = Lab::serving(|_| {});
    let app = Project::built_by("true");
    let held = lab.platform.store.try_lease(&Lab::app_path(), "bob's push of 3f2c1ab").await.unwrap();
    let LeaseAttempt::Held(held) = held else { panic!("{held:?}") };
    let (says, mut said) = tokio::sync::mpsc::unbounded_channel();
    let mut pushes = Vec::new();
    for number in 1..=4 {
        app.write("number", number.to_string());
        app.commit("on top of the last");
        let (platform, says) = (lab.platform.clone(), says.clone());
        let push = Lab::push_of(&app, PushOptions::default());
        pushes.push(tokio::spawn(async move {
            let say = |progress: Progress| {
                if let Progress::Step(text) = progress {
                    let _ = says.send(text);
                }
            };
            let released = run(push.clone(), &platform, permission(&platform), &say).await;
            let released = released.map_err(|error| error.reason())?;
            let repository = Repository::open(&push.repository).unwrap();
            repository.move_reference(&push.branch, released.branch_at.as_ref(), &push.commit, "pushed").unwrap();
            Ok::<_, String>(released.number.get())
        }));
        // The next one comes when this one waits.
        let text = said.recv().await.unwrap();
        assert!(text.starts_with("Waiting for bob's push of 3f2c1ab"), "{text}");
        assert_eq!(text.ends_with(&format!("; place {number} of the queue")), number > 1, "{text}");
    }
    drop(held);
    let mut numbers = Vec::new();
    for push in pushes {
        numbers.push(push.await.unwrap());
    }
    assert_eq!(numbers, [Ok(1), Ok(2), Ok(3), Ok(4)]);
}

#[tokio::test]
async fn a_push_that_would_undo_the_one_it_waited_for_is_refused_before_it_builds() {
    let lab = Lab::serving(|_| {});
    let app = Project::built_by("sleep 1");
    let first = Lab::push_of(&app, PushOptions::default());
    app.git(["commit", "--quiet", "--amend", "-m", "instead of the first"]);
    let second = Lab::push_of(&app, PushOptions::default());
    let (first, second) = Box::pin(one_after_the_other(&lab, first, second)).await;
    live_at(&first);
    let reason = second.reason();
    assert!(reason.starts_with("another push moved deployed meanwhile: fetch it"), "{reason}");
    assert!(!second.text().contains("Building"), "{}", second.text());
}

#[tokio::test]
async fn a_build_over_the_tenants_quota_waits_until_another_one_has_ended() {
    let lab = Lab::serving(|platform| platform.tenancy.quota.builds = NonZeroU32::new(1));
    let (shop, wiki) = (Project::built_by("sleep 1"), Project::built_by("true"));
    let first = Lab::push_of(&shop, PushOptions::default());
    let second = Push { app: "wiki".parse().unwrap(), ..Lab::push_of(&wiki, PushOptions::default()) };
    let impatient = PushOptions { no_wait: true, ..PushOptions::default() };
    let third = Push { push: PushId::random(), options: impatient, ..second.clone() };
    let slot = StorePath::root().join("tenants").join("dev").join("builds").join(1);
    let platform = Platform { build_logs: lab.home.path().join("logs-of-wiki"), ..lab.platform.clone() };
    let said = Mutex::new(Vec::new());
    let (first, second) = tokio::join!(lab.run(first), async {
        while platform.store.lease_holder(&slot).await.unwrap().is_none() {
            tokio::task::yield_now().await;
        }
        let reason = run(third, &platform, permission(&platform), &|_| {}).await.unwrap_err().reason();
        assert!(
            reason.starts_with(
                "build failed: as many builds of tenant `dev` are under way as its quota allows at once (1)"
            ),
            "{reason}"
        );
        run(second, &platform, permission(&platform), &|progress| said.lock().unwrap().push(progress)).await.map(drop)
    });
    live_at(&first);
    second.unwrap();
    let waits = "Waiting at most 1m for a build slot of tenant `dev`, whose quota allows 1 at once: place 1 of the queue, \
                 1 build is under way: alice's push of ";
    let is_told = |progress: &Progress| matches!(progress, Progress::Step(text) if text.starts_with(waits));
    assert!(said.lock().unwrap().iter().any(is_told), "{said:?}");
    assert!(platform.store.lease_holder(&slot).await.unwrap().is_none());
}

/// As when somebody changed the quota during a long build, which starts the tenant's Marathon anew elsewhere.
#[tokio::test]
async fn a_push_deploys_by_what_the_tenant_has_when_its_build_has_ended() {
    let lab = Lab::serving(|_| {});
    let project = Project::built_by("true");
    let elsewhere = Tenancy { marathon: Client::new("http://127.0.0.1:1", None).unwrap(), quota: Quota::default() };
    let platform = Platform { tenancy: elsewhere, ..lab.platform.clone() };
    let push = || Lab::push_of(&project, PushOptions::default());
    let small = Quota { apps: Some(0), ..Quota::default() };
    let lowered = Platform { tenancy: Tenancy { quota: small, ..lab.platform.tenancy.clone() }, ..platform.clone() };
    let refused = run(push(), &platform, permission(&lowered), &|_| {}).await.unwrap_err();
    assert!(matches!(refused, PushError::OverQuota { .. }), "{}", refused.reason());
    let released = run(push(), &platform, permission(&lab.platform), &|_| {}).await;
    assert_eq!(released.map(|released| released.number.get()).map_err(|error| error.reason()), Ok(1));
    let gone = run(push(), &platform, || ready(Ok(None)), &|_| {}).await.unwrap_err();
    assert!(matches!(gone, PushError::NotAllowed), "{}", gone.reason());
}
