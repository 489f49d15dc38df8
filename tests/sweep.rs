//! Nothing left behind: `paas-receive sweep`, on a whole platform.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use paas::docker::{Docker, RegistryError, Socket};
use paas::git::{Claim, Rules};
use paas::store::{LeaseAttempt, SqliteStore, Store as _, StorePath};

use crate::support::builder::{TestBuilder, docker};
use crate::support::http::{address_of, get};
use crate::support::platform::{Said, TestKey, TestPlatform};
use crate::support::project::{Project, SERVES_ITS_FILES};
use crate::support::registry::{self, TestRegistry};

/// A platform with the tenant `dev`, whose builder is one of a few files.
struct Lab {
    platform: TestPlatform,
    key: TestKey,
    /// Gone last: its image is below the slugs'.
    builder: TestBuilder,
}

/// A container that no platform made; gone when this is dropped.
struct Made(String);

impl Drop for Made {
    fn drop(&mut self) {
        // Fails only when it is gone already, which is what some are made for.
        let _ = Command::new("docker").args(["rm", "--force", &self.0]).output();
    }
}

impl Made {
    fn is_there(&self) -> bool {
        docker(&["ps", "--all", "--quiet", "--no-trunc"]).lines().any(|id| id == self.0)
    }
}

impl Lab {
    fn start() -> Self {
        Self::start_with(&[])
    }

    fn start_with(environment: &[(&str, &str)]) -> Self {
        let builder = TestBuilder::make();
        let platform = TestPlatform::start_with(&[environment, &[("PAAS_BUILD_IMAGE", builder.name())]].concat());
        let key = platform.key_of("alice");
        let _ = platform.paas(["tenant", "create", "dev"]).ok();
        Self { platform, key, builder }
    }

    fn home(&self) -> &Path {
        self.platform.home()
    }

    fn push(&self, project: &Project, app: &str) -> String {
        let remote = self.platform.remote("dev", app);
        project.push(&self.platform.ssh_command(&self.key), &[&remote, "HEAD:main"]).live_at()
    }

    fn sweep(&self, arguments: &[&str]) -> Said {
        sweep(self.home(), arguments)
    }

    fn slugs(&self) -> BTreeSet<String> {
        let filter = format!("label=paas.home={}", self.home().display());
        let listed = docker(&["images", "--quiet", "--no-trunc", "--filter", &filter, "--filter", "label=paas.slug"]);
        listed.lines().map(str::to_owned).collect()
    }

    /// A container as a build has it.
    fn container(&self, home: &str, app: &str) -> Made {
        let labels = [format!("paas.home={home}"), format!("paas.app={app}")];
        let labels = [&labels[0], "paas.tenant=dev", &labels[1], "paas.push=p1"];
        let labels = labels.iter().flat_map(|label| ["--label", label]);
        let before = ["run", "--detach"].into_iter();
        let arguments: Vec<&str> = before.chain(labels).chain([self.builder.name(), "/bin/sleep", "600"]).collect();
        Made(docker(&arguments))
    }

    fn own_container(&self, app: &str) -> Made {
        self.container(&self.home().display().to_string(), app)
    }

    fn store(&self) -> SqliteStore {
        store(self.home())
    }
}

fn sweep(home: &Path, arguments: &[&str]) -> Said {
    let mut sweep = Command::new(env!("CARGO_BIN_EXE_paas-receive"));
    sweep.env_clear().env("PAAS_HOME", home).arg("sweep").args(arguments);
    sweep.output().unwrap().into()
}

fn store(home: &Path) -> SqliteStore {
    SqliteStore::open(&home.join("store")).unwrap()
}

/// As if it were so old.
fn age(path: &Path) {
    let touched = Command::new("touch").args(["--no-dereference", "--date", "2 days ago"]).arg(path).status();
    assert!(touched.unwrap().success());
}

/// A repository as pushes make them, with these refs.
fn repository(home: &Path, place: &str, refs: &[&str]) -> PathBuf {
    let path = home.join("repositories").join(place);
    drop(Claim::make(&path, &Rules { max_pack_bytes: 1 << 20, hooks: home.join("ssh/hooks") }).unwrap());
    let repository = git2::Repository::open(&path).unwrap();
    let tree = repository.find_tree(repository.treebuilder(None).unwrap().write().unwrap()).unwrap();
    let who = git2::Signature::now("Alice", "alice@example.org").unwrap();
    let commit = repository.commit(None, &who, &who, "first", &tree, &[]).unwrap();
    for name in refs {
        repository.reference(name, commit, false, "").unwrap();
    }
    path
}

/// A web app that serves the text, and ends when it is told to.
fn app(text: &str) -> Project {
    let project = Project::empty();
    project.write("Procfile", SERVES_ITS_FILES);
    change(&project, text);
    project
}

fn change(project: &Project, text: &str) {
    project.write("index.html", text);
    project.commit(text);
}

fn path_of(app: &str) -> StorePath {
    StorePath::root().join("tenants").join("dev").join("apps").join(app)
}

#[tokio::test]
async fn slugs_beyond_those_kept_go_and_what_serves_or_may_be_found_stays() {
    let lab = Lab::start_with(&[("PAAS_KEEP_SLUGS", "2")]);
    let project = app("version 1");
    let _ = lab.push(&project, "shop");
    let first = lab.slugs();
    // The first slug is the other app's too.
    let _ = lab.push(&project, "twin");
    change(&project, "version 2");
    let _ = lab.push(&project, "shop");
    let second = &lab.slugs() - &first;
    // This push began while the second was remembered.
    let store = lab.store();
    let LeaseAttempt::Held(living) = store.try_lease(&path_of("third"), "bob's push of 3f2c1ab").await.unwrap() else {
        panic!("nobody else pushes");
    };
    store.ensure(&path_of("third")).await.unwrap();
    change(&project, "version 3");
    let _ = lab.push(&project, "shop");
    change(&project, "version 4");
    let address = lab.push(&project, "shop");
    let all = lab.slugs();
    assert_eq!(all.len(), 4);

    assert_eq!(lab.sweep(&[]).ok().out, "nothing to sweep\n");
    assert_eq!(lab.slugs(), all, "the push under way may have found any of them");
    drop(living);
    assert_eq!(lab.sweep(&["--dry-run"]).ok().out, "would remove old slugs: 1\n");
    assert_eq!(lab.slugs(), all, "a dry run removes nothing");
    assert_eq!(lab.sweep(&[]).ok().out, "removed old slugs: 1\n");
    assert_eq!(&all - &lab.slugs(), second, "the first is kept by the other app, the two newest by their own");
    assert_eq!(get(address_of(&address), "/", None).unwrap().body, "version 4");
    assert_eq!(lab.sweep(&[]).ok().out, "nothing to sweep\n");

    // What is gone is built again, and what is kept is still found.
    project.git(["checkout", "--quiet", "HEAD~2", "--", "."]);
    project.commit("version 2 again");
    let again = project.push(&lab.platform.ssh_command(&lab.key), &[&lab.platform.remote("dev", "shop"), "HEAD:main"]);
    assert!(again.output.contains("Building with"), "{}", again.output);
    assert_eq!(get(address_of(&again.live_at()), "/", None).unwrap().body, "version 2");
    project.git(["checkout", "--quiet", "HEAD~1", "--", "."]);
    project.commit("version 4 again");
    let again = project.push(&lab.platform.ssh_command(&lab.key), &[&lab.platform.remote("dev", "shop"), "HEAD:main"]);
    assert!(again.accepted && again.output.contains("same tree again"), "{}", again.output);
}

#[tokio::test]
async fn what_dead_pushes_left_goes_and_what_others_use_stays() {
    let lab = Lab::start();
    let project = app("version 1");
    let address = lab.push(&project, "shop");
    let store = lab.store();
    let LeaseAttempt::Held(living) = store.try_lease(&path_of("busy"), "bob's push of 3f2c1ab").await.unwrap() else {
        panic!("nobody else pushes");
    };
    let (dead, of_living) = (lab.own_container("shop"), lab.own_container("busy"));
    let foreign = lab.container("/srv/another/home", "shop");

    let logs = lab.home().join("logs/dev");
    for loan in ["shop/9.loan/env", "busy/1.loan/env"] {
        fs::create_dir_all(logs.join(loan)).unwrap();
    }
    fs::write(logs.join("shop/9.log"), "of no build").unwrap();
    let repositories = lab.home().join("repositories/dev");
    for half_made in [".new-1", ".old-2"] {
        fs::create_dir_all(repositories.join(half_made).join("objects")).unwrap();
    }
    age(&repositories.join(".old-2"));
    let cache = format!("paas-cache-{}-dev-gone", uuid::Uuid::new_v4());
    let home = format!("paas.home={}", lab.home().display());
    let labels = ["--label", &home, "--label", "paas.tenant=dev", "--label", "paas.app=gone"];
    docker(&[&["volume", "create"][..], &labels, &[&cache]].concat());
    let volumes = lab.platform.in_docker("volume").len();

    let swept = lab.sweep(&[]).ok().out;
    let expected = [
        "removed containers of pushes that are over: 1",
        "removed build caches of apps that are gone: 1",
        "removed old builds and their logs: 1",
        "removed directories lent to builds that are over: 1",
        "removed half-made repositories: 1",
    ];
    assert_eq!(swept.lines().collect::<Vec<_>>(), expected);
    assert!(!dead.is_there() && of_living.is_there() && foreign.is_there());
    assert!(!logs.join("shop/9.loan").exists() && logs.join("busy/1.loan").exists());
    assert!(!logs.join("shop/9.log").exists() && logs.join("shop/1.log").exists());
    assert!(repositories.join(".new-1").exists() && !repositories.join(".old-2").exists());
    assert_eq!(lab.platform.in_docker("volume").len(), volumes - 1, "the cache of an app that is there stays");
    assert_eq!(get(address_of(&address), "/", None).unwrap().body, "version 1");

    drop(living);
    let swept = lab.sweep(&[]).ok().out;
    assert_eq!(swept.lines().collect::<Vec<_>>(), [expected[0], expected[3]], "that push is over now");
    assert!(!of_living.is_there() && foreign.is_there());
    assert_eq!(lab.sweep(&[]).ok().out, "nothing to sweep\n");
}

#[test]
fn a_published_slug_goes_by_all_of_its_names_and_out_of_the_registry_if_that_deletes() {
    let mut registry = TestRegistry::start();
    let lab = Lab::start_with(&[("PAAS_KEEP_SLUGS", "2"), ("PAAS_REGISTRY", &registry.host())]);
    let project = app("version 0");
    // What somebody else calls the first two.
    let by_hand = ["dev/shop:stable", "somebody/else:1"].map(|name| format!("{}/{name}", registry.host()));
    let mut address = String::new();
    for version in 1..=4 {
        let before = lab.slugs();
        change(&project, &format!("version {version}"));
        address = lab.push(&project, "shop");
        if let Some(name) = by_hand.get(version - 1) {
            docker(&["tag", (&lab.slugs() - &before).first().unwrap(), name]);
            docker(&["push", "--quiet", name]);
        }
    }
    assert_eq!(lab.slugs().len(), 4);
    let published = registry.tags("dev/shop");
    assert_eq!(published.len(), 5, "{published:?}");

    let swept = lab.sweep(&[]).ok().out;
    assert!(swept.starts_with("removed old slugs: 2\nnote: old slugs stay in the registry at 127.0.0.1:"), "{swept}");
    assert!(swept.contains("REGISTRY_STORAGE_DELETE_ENABLED=true") && swept.lines().count() == 2, "{swept}");
    assert_eq!((lab.slugs().len(), registry.tags("dev/shop")), (2, published.clone()));

    registry.deletes_from_now_on();
    let manifests = "manifests of old slugs in the registry: 1\n";
    assert_eq!(lab.sweep(&["--dry-run"]).ok().out, format!("would remove {manifests}"));
    assert_eq!(registry.tags("dev/shop"), published, "a dry run removes nothing");
    assert_eq!(lab.sweep(&[]).ok().out, format!("removed {manifests}"));
    let left = registry.tags("dev/shop");
    assert!(left.len() == 4 && left.is_subset(&published), "{left:?} of {published:?}");
    assert!(left.contains("stable"), "that name leads to the first, which stays by its own, too");
    assert_eq!(registry.tags("somebody/else").len(), 1);
    assert_eq!(lab.sweep(&[]).ok().out, "nothing to sweep\n");
    assert_eq!(get(address_of(&address), "/", None).unwrap().body, "version 4");
}

#[tokio::test]
async fn a_registry_is_asked_with_the_credentials_for_it_and_told_when_it_does_not_take_them() {
    let registry = TestRegistry::guarded();
    let docker = Docker::at(Socket("/var/run/docker.sock".into()));
    let ask = async |host: &str, credentials: Option<&str>| {
        let credentials = credentials.map(paas::model::Secret::new);
        let api = docker.registry(host, credentials.as_ref()).await?;
        api.repository("dev/shop").await?.tags().await
    };
    assert_eq!(ask(&registry.host(), Some(registry::CREDENTIALS)).await.unwrap(), Vec::<String>::new());
    for wrong in [Some("robot:wrong"), None] {
        let refused = ask(&registry.host(), wrong).await.unwrap_err();
        assert!(matches!(refused, RegistryError::Forbidden { .. }), "{refused}");
        assert!(refused.to_string().contains("registry_credentials"), "{refused}");
    }
    let away = ask("127.0.0.1:1", None).await.unwrap_err();
    assert!(matches!(away, RegistryError::Unreachable { .. }), "{away}");
}

#[tokio::test]
async fn builds_go_with_their_logs_and_what_is_remembered_of_slugs_goes_with_them() {
    let lab = Lab::start_with(&[("PAAS_KEEP_BUILDS", "1")]);
    let project = app("version 1");
    for version in 2..=4 {
        change(&project, &format!("version {version}"));
        let _ = lab.push(&project, "shop");
    }
    let store = lab.store();
    let numbers = async || store.children(&path_of("shop").join("builds")).await.unwrap();
    assert_eq!(numbers().await.len(), 3);
    assert_eq!(lab.sweep(&[]).ok().out, "removed old builds and their logs: 1\n");
    assert_eq!(numbers().await, ["0000000002", "0000000003"], "those of what serves and what did before");
    let logs = lab.home().join("logs/dev/shop");
    assert!(!logs.join("1.log").exists() && logs.join("2.log").exists() && logs.join("3.log").exists());
    assert_eq!(store.children(&path_of("shop").join("releases")).await.unwrap().len(), 3, "releases stay");

    let is_idle = |id: &&String| docker(&["ps", "--quiet", "--filter", &format!("ancestor={id}")]).is_empty();
    let slugs = lab.slugs();
    let idle: Vec<&String> = slugs.iter().filter(is_idle).collect();
    assert_eq!(idle.len(), 2);
    for id in idle {
        docker(&["rmi", id]);
    }
    let remembered = async || store.children(&StorePath::root().join("slugs")).await.unwrap().len();
    assert_eq!(remembered().await, 3);
    assert_eq!(lab.sweep(&[]).ok().out, "removed memories of slugs that are gone: 2\n");
    assert_eq!(remembered().await, 1);
}

#[test]
fn a_platform_that_is_up_sweeps_from_time_to_time() {
    let lab = Lab::start_with(&[("PAAS_KEEP_EVERY", "1s")]);
    let dead = lab.own_container("shop");
    let deadline = Instant::now() + Duration::from_secs(30);
    while dead.is_there() {
        assert!(Instant::now() < deadline, "not swept");
        std::thread::sleep(Duration::from_millis(100));
    }
    // It tells of it once all is done.
    while !lab.platform.log().contains("sweep: removed containers of pushes that are over: 1") {
        assert!(Instant::now() < deadline, "not told");
        std::thread::sleep(Duration::from_millis(100));
    }
    let _ = lab.platform.paas(["down"]).ok();
    let _ = lab.platform.up().ok();
}

#[tokio::test]
async fn a_repository_that_grew_is_tidied_unless_somebody_is_at_work_in_it() {
    let lab = Lab::start();
    let project = app("version 1");
    let _ = lab.push(&project, "shop");
    project.git(["checkout", "--quiet", "-b", "many"]);
    for file in 0..1000 {
        project.write(&format!("files/{file}"), format!("number {file}"));
    }
    project.commit("many");
    project.git(["checkout", "--quiet", "main"]);
    let repository = lab.home().join("repositories/dev/shop.git");
    // As many small pushes would leave it.
    let mut pack = project.command();
    let pack =
        pack.args(["pack-objects", "--all", "--stdout", "-q"]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut unpack = Command::new("git");
    unpack.args(["-c", "safe.directory=*", "--git-dir"]).arg(&repository).args(["unpack-objects", "-q"]);
    let unpacked = unpack.stdin(pack.unwrap().stdout.take().unwrap()).status().unwrap();
    assert!(unpacked.success());
    let reference = format!("--reference={}", repository.display());
    let owned = Command::new("chown").args(["--recursive", &reference]).arg(repository.join("objects")).status();
    assert!(owned.unwrap().success());

    let session = Claim::on(&repository).unwrap();
    assert_eq!(lab.sweep(&[]).ok().out, "nothing to sweep\n");
    drop(session);
    assert_eq!(lab.sweep(&["--dry-run"]).ok().out, "would tidy repositories that had grown: 1\n");
    assert_eq!(lab.sweep(&[]).ok().out, "tidied repositories that had grown: 1\n");
    assert_eq!(lab.sweep(&[]).ok().out, "nothing to sweep\n");
    // Its owner still pushes into it.
    change(&project, "version 2");
    assert_eq!(get(address_of(&lab.push(&project, "shop")), "/", None).unwrap().body, "version 2");
}

#[tokio::test]
async fn repositories_of_apps_that_are_gone_go_after_a_day_and_what_is_used_or_not_ours_stays() {
    let platform = TestPlatform::prepare(&[]);
    let (home, store) = (platform.home(), store(platform.home()));
    let tenant = StorePath::root().join("tenants").join("dev");
    store.ensure(&path_of("living")).await.unwrap();
    store.put(&tenant, b"{}".to_vec(), None).await.unwrap();
    let main = &["refs/heads/main"][..];
    let living = repository(home, "dev/living.git", main);
    let gone = repository(home, "dev/gone.git", main);
    let back = repository(home, "dev/back.git", &[]);
    let stored = repository(home, "dev/stored.git", &["refs/heads/topic"]);
    let of_gone_tenant = repository(home, "old/shop.git", &["refs/heads/topic"]);
    let foreign = home.join("repositories/dev/foreign.git");
    git2::Repository::init_bare(&foreign).unwrap();
    std::os::unix::fs::symlink(&gone, home.join("repositories/dev/link.git")).unwrap();

    assert_eq!(sweep(home, &[]).ok().out, "nothing to sweep\n");
    for path in [&gone, &back, &of_gone_tenant] {
        age(&path.join("paas-gone"));
    }
    store.ensure(&path_of("back")).await.unwrap();
    let session = Claim::on(&gone).unwrap();
    let one = "repositories of apps that are gone: 1\n";
    assert_eq!(sweep(home, &["--dry-run"]).ok().out, format!("would remove {one}"));
    assert!(of_gone_tenant.exists());
    assert_eq!(sweep(home, &[]).ok().out, format!("removed {one}"));
    assert!(!of_gone_tenant.exists() && gone.exists(), "somebody is at work in it");
    drop(session);
    assert_eq!(sweep(home, &[]).ok().out, format!("removed {one}"));
    assert!(!gone.exists());
    assert_eq!(sweep(home, &[]).ok().out, "nothing to sweep\n");
    for path in [&living, &stored, &back, &foreign] {
        assert!(path.exists() && !path.join("paas-gone").exists(), "{}", path.display());
    }
}

#[tokio::test]
async fn what_killed_pushes_left_is_marked_and_forgotten_and_living_ones_go_on() {
    let platform = TestPlatform::prepare(&[]);
    let (home, store) = (platform.home(), store(platform.home()));
    let LeaseAttempt::Held(living) = store.try_lease(&path_of("busy"), "bob's push of 3f2c1ab").await.unwrap() else {
        panic!("nobody else pushes");
    };
    let build = |app: &str| path_of(app).join("builds").join("0000000001");
    let record = serde_json::json!({
        "number": 1, "slug": "0".repeat(64), "commit": "3f2c1ab000000000000000000000000000000000", "user": "bob",
        "push": "0b5c9b0e-4a0d-4f0e-9d53-3a6f3b1f9c11", "started": jiff::Timestamp::now(), "state": {"state": "running"},
    });
    let refs = ["refs/heads/main", "refs/paas/detached/1"];
    for app in ["dead", "busy"] {
        store.ensure(&build(app)).await.unwrap();
        store.put(&build(app), record.to_string().into_bytes(), None).await.unwrap();
        repository(home, &format!("dev/{app}.git"), &refs);
    }
    store.put(&StorePath::root().join("tenants").join("dev"), b"{}".to_vec(), None).await.unwrap();
    let path = |app: &str| home.join(format!("repositories/dev/{app}.git"));
    let detached = Claim::on(&path("busy")).unwrap();
    let state = async |app: &str| {
        let record: serde_json::Value =
            serde_json::from_slice(&store.get(&build(app)).await.unwrap().unwrap().value).unwrap();
        record["state"]["state"].as_str().unwrap().to_owned()
    };
    let names = |app: &str| paas::git::ref_names(&path(app)).unwrap().into_iter().collect::<BTreeSet<_>>();

    let (builds, references) = ("builds of pushes that were killed: 1", "refs of detached pushes that were killed: 1");
    let would = format!("would mark as abandoned {builds}\nwould remove {references}\n");
    assert_eq!(sweep(home, &["--dry-run"]).ok().out, would);
    assert_eq!((state("dead").await, names("dead").len()), ("running".to_owned(), 2), "a dry run changes nothing");
    let did = format!("marked as abandoned {builds}\nremoved {references}\n");
    assert_eq!(sweep(home, &[]).ok().out, did);
    assert_eq!((state("dead").await, names("dead")), ("abandoned".to_owned(), BTreeSet::from([refs[0].to_owned()])));
    assert_eq!((state("busy").await, names("busy").len()), ("running".to_owned(), 2));
    drop((living, detached));
    assert_eq!(sweep(home, &[]).ok().out, did, "that push is over now");
    assert_eq!(sweep(home, &[]).ok().out, "nothing to sweep\n");
}
