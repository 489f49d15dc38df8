//! `paas up`, `down`, `status` and `tenant`, with real sshd, real engines and the real system user.

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::platform::TestPlatform;

/// Waits until `true_now` is, which it must be within 20 s.
#[track_caller]
fn soon(what: &str, mut true_now: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !true_now() {
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn process_of(platform: &TestPlatform) -> i64 {
    platform.paas(["status", "--json"]).json()["process"].as_i64().expect("it is up")
}

fn kill(signal: &str, pid: i64) {
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

/// The process of this platform whose line of `ps` holds `text`.
fn part(platform: &TestPlatform, text: &str) -> Option<i64> {
    let processes = platform.processes();
    let line = processes.iter().find(|line| line.contains(text))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn a_platform_serves_refuses_a_second_start_and_ends() {
    let platform = TestPlatform::start();
    let status = platform.paas(["status", "--json"]).ok().json();
    let serving: Vec<_> = status["parts"].as_array().unwrap().iter().map(|part| part["serves"].as_bool()).collect();
    assert_eq!(serving, [Some(true); 3], "{status}");

    let _ = platform.up().fails(3, &["is up already", &process_of(&platform).to_string(), "paas down"]);
    let _ = platform.paas(["up"]).fails(3, &["is up already"]);
    let _ = platform.paas(["status"]).ok();

    let engine = part(&platform, "paas engine").unwrap();
    let owner = platform.processes().into_iter().find(|line| line.contains(&format!(" {engine} "))).unwrap();
    assert!(owner.trim_start().starts_with(platform.user()), "the engine is not root's: {owner}");

    let down = platform.paas(["down", "--json"]).ok().json();
    assert_eq!(down["platform"], true);
    assert_eq!(platform.processes(), Vec::<String>::new());
    let again = platform.paas(["down"]).ok();
    assert!(again.out.contains("was not running"), "{}", again.out);
    let _ = platform.paas(["status"]).fails(4, &["paas up"]);
}

#[test]
fn sshd_lets_nobody_in_whose_key_is_not_registered_and_nobody_by_password() {
    let platform = TestPlatform::start_with(&[("PAAS_SSH_NEWCOMERS", "false")]);
    let key = platform.unknown_key("mallory");
    let _ = platform.ssh(&key, "anything").fails(255, &["Permission denied (publickey)"]);
    let banner = platform.log();
    assert!(banner.contains("Server listening on"), "{banner}");
}

#[test]
fn a_killed_platform_leaves_no_process_and_starts_again() {
    let platform = TestPlatform::start();
    kill("-KILL", process_of(&platform));
    soon("no process is left", || platform.processes().is_empty());
    let _ = platform.up().ok();
    let _ = platform.paas(["status"]).ok();
}

#[test]
fn a_part_that_dies_is_started_again() {
    let platform = TestPlatform::start();
    for text in ["[listener]", "paas engine"] {
        let first = part(&platform, text).unwrap();
        kill("-KILL", first);
        soon(text, || part(&platform, text).is_some_and(|now| now != first));
        soon("the platform serves again", || platform.paas(["status"]).status == 0);
    }
    assert!(platform.log().contains("ended unasked"), "{}", platform.log());
}

#[test]
fn in_the_foreground_a_signal_ends_it_cleanly() {
    let platform = TestPlatform::prepare(&[]);
    let (ssh, engine) = (platform.ssh_port().to_string(), platform.engine_port().to_string());
    let mut up = platform.command();
    up.args(["up", "--ssh-port", &ssh, "--engine-port", &engine, "--user", platform.user()]).stderr(Stdio::piped());
    let up = up.spawn().unwrap();
    soon("the platform serves", || platform.paas(["status"]).status == 0);
    kill("-TERM", up.id().into());
    let ended = up.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{said}");
    assert!(said.contains("The platform serves: ssh on 127.0.0.1:"), "{said}");
    assert_eq!(platform.processes(), Vec::<String>::new());
}

#[test]
fn each_thing_in_the_way_is_said_with_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let own = std::process::id().to_string();

    let platform = TestPlatform::prepare(&[]);
    let start = |more: &[&str]| {
        let mut up = platform.command();
        up.args(["up", "--detach"]).args(more);
        crate::support::platform::Said::from(up.output().unwrap())
    };
    let engine = platform.engine_port().to_string();
    let _ = start(&["--engine-port", &engine, "--ssh-port", &port]).fails(1, &[&port, &own, "--ssh-port"]);
    let _ =
        start(&["--engine-port", &port, "--ssh-port", &port]).fails(1, &["2 things", "--ssh-port", "--engine-port"]);
    let _ = start(&["--user", "root"]).fails(1, &["`root`", "--user"]);
    let _ = start(&["--user", "nobody"]).fails(1, &["`nobody`", "belongs to something else"]);
    let _ = start(&["--user", "No One"]).fails(2, &["--user"]);
    assert!(platform.processes().is_empty() && !platform.home().join("config.yml").exists(), "nothing was begun");
}

#[test]
fn docker_that_is_missing_is_said() {
    let platform = TestPlatform::prepare(&[]);
    let mut up = platform.command();
    up.args(["up", "--detach"]).env("PAAS_DOCKER_SOCKET", "/nonexistent/docker.sock");
    let said = crate::support::platform::Said::from(up.output().unwrap());
    let _ = said.fails(1, &["/nonexistent/docker.sock", "docker.io"]);
}

#[test]
fn a_mistake_in_the_configuration_is_named_with_its_line() {
    let platform = TestPlatform::prepare(&[]);
    std::fs::write(platform.home().join("config.yml"), "ssh:\n  prot: 22\n").unwrap();
    for command in [vec!["up"], vec!["status"], vec!["tenant", "list"]] {
        let said: crate::support::platform::Said = platform.command().args(command).output().unwrap().into();
        let _ = said.fails(1, &["config.yml:2", "`prot`", "`port`"]);
    }
    std::fs::remove_file(platform.home().join("config.yml")).unwrap();
}

#[test]
fn a_tenant_is_made_shown_refused_twice_and_deleted() {
    let platform = TestPlatform::start();
    let _ = platform.paas(["tenant", "show", "dev"]).fails(3, &["no tenant `dev`", "paas tenant list"]);
    let _ = platform.paas(["tenant", "create", "Dev"]).fails(2, &["Dev"]);

    let made = platform.paas(["tenant", "create", "dev", "--json"]).ok().json();
    assert_eq!(made["remote"], platform.remote("dev", "APP"));
    let url = made["marathon"].as_str().unwrap().to_owned();
    let answer = crate::support::http::get(crate::support::http::address_of(&url), "/ping", None).unwrap();
    assert_eq!(answer.status, 401, "a tenant's Marathon has credentials of its own");

    let _ = platform.paas(["tenant", "create", "dev"]).fails(3, &["`dev` already"]);
    let listed = platform.paas(["tenant", "list"]).ok().out;
    assert!(listed.lines().any(|line| line.starts_with("dev ") && line.contains("serves")), "{listed}");
    let status = platform.paas(["status", "--json"]).ok().json();
    assert_eq!(status["parts"][3]["part"], "tenant dev");

    let _ = platform.paas(["tenant", "delete", "dev"]).fails(3, &["nobody can be asked", "--yes"]);
    let _ = platform.paas(["tenant", "delete", "dev", "--yes"]).ok();
    let _ = platform.paas(["tenant", "show", "dev"]).fails(3, &["no tenant `dev`"]);
    assert_eq!(platform.in_docker("network"), Vec::<String>::new());
    assert_eq!(part(&platform, "engines/tenants/dev"), None);
    let _ = platform.paas(["tenant", "create", "dev"]).ok();
}

/// Asks a tenant's Marathon for an app of an image that is nowhere: it is asked for, and never runs.
fn ask_for_an_app(platform: &TestPlatform, tenant: &str) {
    use paas::marathon::{App, Client, Container, ContainerKind, DockerContainer, Network, NetworkMode};
    let home = paas::settings::Home::new(platform.home());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = paas::store::SqliteStore::open(&home.store()).unwrap();
        let root = Client::new(&platform.root_url(), Some(paas::model::Secret::new(platform.root_credentials())));
        let marathon = paas::accounts::tenants::marathon_of(&store, &root.unwrap(), &tenant.parse().unwrap()).await;
        let docker = DockerContainer {
            image: format!("sha256:{}", "0".repeat(64)),
            force_pull_image: false,
            parameters: Vec::new(),
            privileged: false,
            pull_config: None,
        };
        let container = Container {
            kind: ContainerKind::Docker,
            docker: Some(docker),
            volumes: Vec::new(),
            port_mappings: Some(Vec::new()),
        };
        let bridge = Network { mode: NetworkMode::Bridge, name: None, labels: std::collections::BTreeMap::new() };
        let app = App { container: Some(container), networks: vec![bridge], ..App::new("/shop/web".parse().unwrap()) };
        marathon.unwrap().client().unwrap().put_app(&app, false).await.unwrap();
    });
}

#[test]
fn a_tenant_whose_apps_run_is_deleted_only_by_force() {
    let platform = TestPlatform::start();
    let _ = platform.paas(["tenant", "create", "dev"]).ok();
    ask_for_an_app(&platform, "dev");
    let shown = platform.paas(["tenant", "show", "dev"]).ok().out;
    assert!(shown.lines().any(|line| line == "apps:      shop"), "{shown}");
    let _ = platform.paas(["tenant", "delete", "dev", "--yes"]).fails(3, &["shop/web", "--force"]);
    let _ = platform.paas(["tenant", "show", "dev"]).ok();
    let _ = platform.paas(["tenant", "delete", "dev", "--yes", "--force"]).ok();
    assert_eq!(platform.paas(["tenant", "list", "--json"]).ok().json(), serde_json::json!([]));
}

#[test]
fn the_end_of_a_platform_ends_its_connections() {
    let platform = TestPlatform::start();
    let _ = platform.paas(["tenant", "create", "dev"]).ok();
    let key = platform.key_of("alice");
    // It greets, and then waits for what is to be pushed.
    let mut waiting = platform.ssh_process(&key, "git-receive-pack '/dev/shop'");
    waiting.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut waiting = waiting.spawn().unwrap();
    soon("the connection is served", || part(&platform, "paas-receive session").is_some());
    let _ = platform.paas(["down"]).ok();
    assert!(!waiting.wait().unwrap().success());
    soon("no process is left", || platform.processes().is_empty());
}

#[test]
fn a_store_of_a_newer_version_is_left_alone() {
    let platform = TestPlatform::start();
    let _ = platform.paas(["tenant", "create", "dev"]).ok();
    let _ = platform.paas(["down"]).ok();
    let files = std::fs::read_dir(platform.home().join("store")).unwrap().flatten().map(|file| file.path());
    let file = files.into_iter().find(|path| path.extension().is_some_and(|end| end == "sqlite" || end == "db"));
    let database = rusqlite::Connection::open(file.expect("the store is a SQLite file")).unwrap();
    let known: u32 = database.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    database.pragma_update(None, "user_version", known + 1).unwrap();
    let _ = platform.up().fails(1, &["newer version"]);
    database.pragma_update(None, "user_version", known).unwrap();
    let _ = platform.up().ok();
}

#[test]
fn tenants_end_with_the_platform_and_come_back_with_it() {
    let platform = TestPlatform::start();
    let _ = platform.paas(["tenant", "create", "dev"]).ok();
    let _ = platform.paas(["down"]).ok();
    assert_eq!(platform.processes(), Vec::<String>::new());
    let _ = platform.paas(["tenant", "create", "prod"]).fails(4, &["paas up"]);
    let _ = platform.up().ok();
    soon("the tenant serves again", || platform.paas(["status"]).status == 0);
    assert_eq!(platform.paas(["tenant", "list", "--json"]).ok().json().as_array().unwrap().len(), 1);
}

#[test]
fn an_ordinary_user_has_a_platform_too() {
    let platform = TestPlatform::prepare(&[]);
    let home = platform.home().display().to_string();
    let add = ["--system", "--no-create-home", "--home-dir", &home, "--shell", "/bin/sh", "--groups", "docker"];
    assert!(Command::new("useradd").args(add).arg(platform.user()).status().unwrap().success());
    assert!(Command::new("chown").args([platform.user(), &home]).status().unwrap().success());
    let as_user = |arguments: &[&str]| {
        let mut command = Command::new("runuser");
        command.args(["-u", platform.user(), "--", env!("CARGO_BIN_EXE_paas")]).args(arguments);
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("PAAS_HOME", platform.home())
            .stdin(Stdio::null());
        crate::support::platform::Said::from(command.output().unwrap())
    };
    let (ssh, engine) = (platform.ssh_port().to_string(), platform.engine_port().to_string());
    let _ = as_user(&["up", "--detach", "--ssh-port", &ssh, "--engine-port", &engine]).ok();
    let _ = as_user(&["tenant", "create", "dev"]).ok();
    let _ = as_user(&["status"]).ok();
    let theirs = |line: &String| line.trim_start().starts_with(platform.user());
    assert!(platform.processes().iter().all(theirs), "{:?}", platform.processes());
    let _ = as_user(&["down"]).ok();
    assert_eq!(platform.processes(), Vec::<String>::new());
}
