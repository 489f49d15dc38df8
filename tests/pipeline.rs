//! The way of a push, from a commit to what serves: real git, Docker and SQLite, and a builder of a few files.

use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use paas::docker::{Docker, Socket};
use paas::marathon::Client;
use paas::model::ByteSize;
use paas::pipeline::{
    Builder, DeployRules, Platform, Progress, Push, PushError, PushId, PushOptions, Released, abandon, run,
};
use paas::store::SqliteStore;
use tempfile::TempDir;

use crate::support::builder::{TestBuilder, docker};
use crate::support::project::Project;

/// A platform of its own, with a builder of its own; nothing of it is left in Docker when it is dropped.
struct Lab {
    home: TempDir,
    platform: Platform,
    _builder: TestBuilder,
}

/// How a push ended and what it said.
struct Outcome {
    result: Result<Released, PushError>,
    said: Vec<Progress>,
}

impl Outcome {
    /// Everything that was said, line by line.
    fn text(&self) -> String {
        let text = |progress: &Progress| match progress {
            Progress::Step(text) => format!("-----> {text}"),
            Progress::Detail(text) | Progress::Output(text) => format!("       {text}"),
            Progress::Warning(text) => format!(" !     {text}"),
            Progress::Deploying(number) => format!("(deploying {number})"),
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

impl Lab {
    fn new() -> Self {
        // Nobody listens on port 1.
        Self::with("http://127.0.0.1:1", |_| {})
    }

    fn with(marathon: &str, change: impl FnOnce(&mut Platform)) -> Self {
        let home = tempfile::tempdir().unwrap();
        let builder = TestBuilder::make();
        let mut platform = Platform {
            store: Arc::new(SqliteStore::open(&home.path().join("store")).unwrap()),
            docker: Docker::at(Socket("/var/run/docker.sock".into())).unwrap(),
            home_label: home.path().display().to_string(),
            registry: None,
            marathon: Client::new(marathon, None).unwrap(),
            builder: Builder {
                image: builder.name().to_owned(),
                ca_bundle: None,
                timeout: Duration::from_mins(1),
                memory: ByteSize::mib(256),
                cpus: None,
                processes: 64,
            },
            deploy: DeployRules { deadline: Duration::from_mins(1), settle: Duration::from_millis(500), retries: 1 },
            patience: Duration::from_mins(1),
            build_logs: home.path().join("logs"),
        };
        change(&mut platform);
        Self { home, platform, _builder: builder }
    }

    fn push_of(project: &Project, options: PushOptions) -> Push {
        Push {
            tenant: "dev".parse().unwrap(),
            app: "shop".parse().unwrap(),
            user: "alice".parse().unwrap(),
            push: PushId::random(),
            commit: project.git(["rev-parse", "HEAD"]).trim().parse().unwrap(),
            previous: None,
            repository: project.path().join(".git"),
            options,
        }
    }

    async fn push(&self, project: &Project) -> Outcome {
        self.run(Self::push_of(project, PushOptions::default())).await
    }

    async fn run(&self, push: Push) -> Outcome {
        let said = Mutex::new(Vec::new());
        let result = run(push, &self.platform, &|progress| said.lock().unwrap().push(progress)).await;
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
    fn build_log(&self, number: u32) -> String {
        std::fs::read_to_string(self.home.path().join(format!("logs/{number}.log"))).unwrap()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // By label, so that also what a failing test left goes; each fails only when there is nothing.
        let filter = self.filter();
        for (list, remove) in [
            (vec!["ps", "--all", "--quiet"], vec!["rm", "--force", "--volumes"]),
            (vec!["images", "--quiet"], vec!["rmi", "--force"]),
            (vec!["volume", "ls", "--quiet"], vec!["volume", "rm", "--force"]),
        ] {
            let listed = Command::new("docker").args(list).args(["--filter", &filter]).output();
            let ids = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
            if !ids.trim().is_empty() {
                let _ = Command::new("docker").args(remove).args(ids.split_whitespace()).output();
            }
        }
    }
}

/// An app whose `build` script is `script`.
fn app(script: &str) -> Project {
    let project = Project::empty();
    project.write("Procfile", "web: httpd -f -p $PORT -h /app\n");
    project.write("build", script);
    project.commit("first");
    project
}

#[tokio::test]
async fn a_build_is_one_layer_on_the_builder_and_carries_nothing_of_the_build() {
    let lab = Lab::with("http://127.0.0.1:1", |platform| {
        platform.builder.ca_bundle = Some("/etc/ssl/certs/ca-certificates.crt".into());
    });
    let app =
        app("test -s \"$SSL_CERT_FILE\" && test \"$PIP_CERT\" = \"$SSL_CERT_FILE\" && echo certificates are there\n\
                   echo kept > /tmp/cache/kept; echo made > made");
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
    let app = app("cat /tmp/cache/kept 2>/dev/null || echo nothing kept; echo from the first > /tmp/cache/kept");
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
    let app = app("echo built anew");
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
    let outcome = lab.push(&app("printf 'red \\033[31mcolour\\033[0m\\033[2J\\n'; echo to stderr >&2; exit 7")).await;
    assert_eq!(outcome.reason(), "build failed: the build exited with status 7");
    outcome.says("red \u{1b}[31mcolour\u{1b}[0m\n");
    assert_eq!(lab.containers(), "");
    assert_eq!(lab.images(), Vec::<String>::new());
    let log = lab.build_log(1);
    assert!(log.contains("colour") && log.contains("to stderr") && log.contains("status 7"), "{log}");
    assert!(!lab.home.path().join("logs/1.loan").exists());
}

#[tokio::test]
async fn a_build_ends_when_its_time_is_over() {
    let lab = Lab::with("http://127.0.0.1:1", |platform| platform.builder.timeout = Duration::from_secs(1));
    let outcome = lab.push(&app("echo waiting; sleep 600")).await;
    assert_eq!(outcome.reason(), "build failed: the build was ended because it took longer than 1s");
    assert_eq!(lab.containers(), "");
}

#[tokio::test]
async fn a_build_that_needs_too_much_memory_is_told_so() {
    let lab = Lab::with("http://127.0.0.1:1", |platform| platform.builder.memory = ByteSize::mib(16));
    let outcome = lab.push(&app("head -c 100m /dev/zero | tail | wc -c; exit 1")).await;
    let reason = outcome.reason();
    assert!(reason.contains("16 MiB of memory"), "{reason}\n{}", outcome.text());
}

#[tokio::test]
async fn a_build_has_no_docker_no_privilege_and_cannot_gain_any() {
    let lab = Lab::new();
    let outcome = lab
        .push(&app("test ! -e /var/run/docker.sock && grep -E 'CapEff|NoNewPrivs' /proc/self/status; mount -t tmpfs x /mnt || true"))
        .await;
    outcome.says("NoNewPrivs:\t1");
    // CHOWN 0, DAC_OVERRIDE 1, FOWNER 3, KILL 5, SETGID 6, SETUID 7.
    outcome.says("CapEff:\t00000000000000eb");
}

#[tokio::test]
async fn abandoning_a_push_ends_its_build_and_frees_the_app() {
    let lab = Lab::new();
    let app = app("echo started; sleep 600");
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
        run(push, &platform, &say).await.map(drop).map_err(|error| error.reason())
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
    let app = app("echo started; sleep 600");
    let push = Lab::push_of(&app, PushOptions::default());
    let (started, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let say = move |progress: Progress| {
        if progress == Progress::Output("started".to_owned()) {
            let _ = started.send(());
        }
    };
    tokio::select! {
        ended = run(push, &lab.platform, &say) => panic!("it ended: {:?}", ended.map_err(|error| error.reason())),
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
