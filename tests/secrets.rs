//! What must not show: every secret that the platform handles is looked for wherever somebody might come upon it.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use paas::store::{SqliteStore, Store as _, StorePath};

use crate::support::builder::{TestBuilder, docker};
use crate::support::laptop::Laptop;
use crate::support::patience::eventually;
use crate::support::platform::TestPlatform;
use crate::support::project::{Project, Pushed};
use crate::support::registry::{self, TestRegistry};

/// Not secret, and in all that comes of the app: a search that does not find this there does not look.
const MARKER: &str = "canary-app";
/// Kept, and used by nobody, since a variable says otherwise.
const OVERRULED: &str = "robot:canary-in-the-configuration-4Hk8tB1z";
/// A build that shows whatever it is given, and goes on until the test lets it, or has failed.
const NOSY: &str = "env; cat paas.yml; head -c 4096 /tmp/env/* /proc/1/environ 2>/dev/null\n\
                    for i in $(seq 600); do [ -e /tmp/cache/go ] && break; sleep 0.1; done\n";

/// A place, and all that can be read there.
type Found = (String, Vec<u8>);

/// The secrets, by what they are.
struct Canaries(Vec<(&'static str, String)>);

impl Canaries {
    /// Those that are in the text, as they are or as HTTP carries them.
    fn within(&self, text: &[u8]) -> BTreeSet<&'static str> {
        let text = String::from_utf8_lossy(text);
        let carried = |secret: &str| base64::engine::general_purpose::STANDARD.encode(secret);
        let password = |secret: &str| secret.rsplit(':').next().unwrap_or(secret).to_owned();
        let shows = |secret: &str| text.contains(&password(secret)) || text.contains(&carried(secret));
        self.0.iter().filter(|(_, secret)| shows(secret)).map(|(name, _)| *name).collect()
    }

    /// The places that show one, with what they show.
    fn shown(&self, places: &[Found]) -> Vec<String> {
        let shown = places.iter().map(|(place, text)| (place, self.within(text)));
        shown.filter(|(_, which)| !which.is_empty()).map(|(place, which)| format!("{place}: {which:?}")).collect()
    }

    /// The files of the directory that hold one.
    fn held(&self, directory: &Path) -> Vec<PathBuf> {
        let holds = |path: &PathBuf| fs::read(path).is_ok_and(|text| !self.within(&text).is_empty());
        files(directory).into_iter().filter(holds).collect()
    }
}

/// A platform with a registry, and one app on it that somebody pushed by a deploy token alone.
struct Host {
    platform: TestPlatform,
    registry: TestRegistry,
    _builder: TestBuilder,
}

impl Host {
    fn start() -> Self {
        let (registry, builder) = (TestRegistry::guarded(), TestBuilder::make());
        let platform = TestPlatform::prepare(&[
            ("PAAS_BUILD_IMAGE", builder.name()),
            ("PAAS_REGISTRY", &registry.host()),
            ("PAAS_REGISTRY_CREDENTIALS", registry::CREDENTIALS),
        ]);
        // As an editor leaves it.
        let config = platform.home().join("config.yml");
        fs::write(&config, format!("registry_credentials: {OVERRULED}\n")).unwrap();
        fs::set_permissions(&config, fs::Permissions::from_mode(0o644)).unwrap();
        let _ = platform.up().ok();
        Self { platform, registry, _builder: builder }
    }

    /// Pushes, and gives what Docker tells of the build's container meanwhile.
    fn push(&self, project: &Project, robot: &Laptop<'_>) -> (Pushed, Found) {
        std::thread::scope(|scope| {
            let remote = self.platform.remote("dev", MARKER);
            let pushed = scope.spawn(move || project.push(&robot.ssh(), &[&remote, "HEAD:main"]));
            let build = eventually("something builds", || self.platform.builds().pop_first());
            let inspected = ("the build's container".to_owned(), docker(&["inspect", &build]).into_bytes());
            // It may not run yet.
            eventually("the build is let go", || {
                let touched = Command::new("docker").args(["exec", &build, "touch", "/tmp/cache/go"]).output();
                touched.unwrap().status.success().then_some(())
            });
            (pushed.join().unwrap(), inspected)
        })
    }

    fn images(&self) -> Vec<String> {
        let filter = format!("label=paas.home={}", self.platform.home().display());
        let listed = docker(&["images", "--quiet", "--no-trunc", "--filter", &filter]);
        listed.lines().map(str::to_owned).collect()
    }

    /// What Docker tells of images and containers, and what these say.
    fn in_docker(&self) -> Vec<Found> {
        let of = |what: &str, words: &[&str], id: &str| {
            (format!("{what} of {id}"), docker(&[words, &[id]].concat()).into_bytes())
        };
        let images = self.images();
        let images = images.iter().flat_map(|id| {
            [of("history", &["history", "--no-trunc"], id), of("image", &["image", "inspect"], id)].into_iter()
        });
        let containers = self.platform.in_docker("container");
        let containers = containers
            .iter()
            .flat_map(|id| [of("container", &["inspect"], id), ("output".to_owned(), output(id))].into_iter());
        images.chain(containers).collect()
    }

    /// Manifests, configurations and layers.
    fn in_registry(&self) -> Vec<Found> {
        let unpacked = |path: PathBuf| {
            let raw = fs::read(&path).unwrap();
            let mut text = Vec::new();
            let is_packed = flate2::read::MultiGzDecoder::new(&*raw).read_to_end(&mut text).is_ok();
            (path.display().to_string(), if is_packed { text } else { raw })
        };
        files(&self.registry.data()).into_iter().map(unpacked).collect()
    }

    /// All logs, whoever may read them, and the output of the commands that engines run.
    fn logs(&self) -> Vec<Found> {
        let home = self.platform.home();
        let logs = ["logs", "run", "ssh", "audit"].into_iter().flat_map(|name| files(&home.join(name)));
        let is_output = |path: &PathBuf| path.ends_with("stdout") || path.ends_with("stderr");
        let outputs = files(&home.join("engines")).into_iter().filter(is_output);
        logs.chain(outputs).map(|path| (path.display().to_string(), fs::read(path).unwrap_or_default())).collect()
    }

    /// What everybody on the machine sees of what runs.
    fn processes(&self) -> Found {
        ("the arguments of processes".to_owned(), self.platform.processes().join("\n").into_bytes())
    }
}

fn output(container: &str) -> Vec<u8> {
    let output = Command::new("docker").args(["logs", container]).output().unwrap();
    [output.stdout, output.stderr].concat()
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let below = entries.flat_map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => files(&entry.path()),
        Ok(kind) if kind.is_file() => vec![entry.path()],
        _ => Vec::new(),
    });
    below.collect()
}

/// Whether some other user of the machine gets to read the file.
fn is_open(path: &Path) -> bool {
    let others = |path: &Path, bit| fs::metadata(path).is_ok_and(|found| found.mode() & bit != 0);
    others(path, 0o004) && path.ancestors().skip(1).all(|above| others(above, 0o001))
}

#[tokio::test]
async fn no_secret_shows_where_somebody_might_come_upon_it() {
    let host = Host::start();
    let alice = Laptop::of("alice", host.platform.key_of("alice"), &host.platform);
    let robot = Laptop::of("robot", host.platform.key_of("robot"), &host.platform);
    let _ = alice.paas(["tenant", "create", "dev"]).ok();
    let token = |noun: &[&str], more: &[&str]| {
        let words = [noun, &["create", "--tenant", "dev", "--json"], more].concat();
        let made = alice.command().args(words).output().unwrap();
        let made: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
        made["token"].as_str().unwrap().to_owned()
    };
    let (deploy, join) = (token(&["apps", "token"], &["--app", MARKER]), token(&["tenant", "token"], &[]));
    let store = SqliteStore::open(&host.platform.home().join("store")).unwrap();
    let tenant = store.get(&StorePath::root().join("tenants").join("dev")).await.unwrap().unwrap();
    let tenant: serde_json::Value = serde_json::from_slice(&tenant.value).unwrap();
    let canaries = Canaries(vec![
        ("deploy token", deploy.clone()),
        ("join token", join.clone()),
        ("registry's password", registry::CREDENTIALS.to_owned()),
        ("configured password", OVERRULED.to_owned()),
        ("root engine's password", host.platform.root_credentials()),
        ("tenant's Marathon's password", tenant["credentials"].as_str().unwrap().to_owned()),
    ]);

    let project = Project::built_by(NOSY);
    project.write("Procfile", "web: sh -c 'env; cat paas.yml; exec httpd -f -p $PORT -h /app'\n");
    project.write("paas.yml", format!("app: {MARKER}\ntoken: {deploy}\n"));
    project.commit(MARKER);
    let (pushed, build) = host.push(&project, &robot);
    let _ = pushed.live_at();
    let joined = robot.paas_reading(["tenant", "join"], &join).ok();
    let told = [pushed.porcelain, pushed.output, joined.out, joined.err].concat();
    let (docker, registry, logs) = (host.in_docker(), host.in_registry(), host.logs());
    let rest = vec![build, ("the push's output".to_owned(), told.into_bytes()), host.processes()];
    for (what, places) in [("Docker", &docker), ("the registry", &registry), ("a log", &logs), ("the rest", &rest)] {
        assert_eq!(canaries.shown(places), Vec::<String>::new(), "a secret is in {what}");
    }

    // What holds them is for the platform alone.
    let home = host.platform.home();
    let held = canaries.held(home);
    for expected in ["config.yml", "started-with.yml", "engines/root.credentials", "store/"] {
        let path = home.join(expected);
        assert!(held.iter().any(|found| found.starts_with(&path)), "{expected} is not among {held:?}");
    }
    let open: Vec<_> = held.iter().filter(|path| is_open(path)).collect();
    assert!(open.is_empty(), "anybody reads {open:?}");
    let repositories = files(&home.join("repositories"));
    assert!(!repositories.is_empty() && !repositories.iter().any(|path| is_open(path)), "the token is in a commit");

    // The search looks where it says: what is no secret is found there.
    let marker = Canaries(vec![("marker", MARKER.to_owned())]);
    let crossed = Canaries(vec![("crossed out", format!("paas_dt_{}", "x".repeat(36)))]);
    let begins = |places: &[Found], text: &str| places.iter().any(|(place, _)| place.starts_with(text));
    for kind in ["history", "image", "container", "output"] {
        assert!(begins(&docker, kind), "no {kind} was looked at");
    }
    for kind in ["image", "container", "output"] {
        assert!(begins(&docker, kind) && !marker.shown(&docker).iter().all(|found| !found.starts_with(kind)), "{kind}");
    }
    let home = home.display();
    for (place, among) in [
        (host.registry.data().display().to_string(), crossed.shown(&registry)),
        (format!("{home}/logs/dev/{MARKER}/1.log"), crossed.shown(&logs)),
        (format!("{home}/audit"), marker.shown(&logs)),
        ("output".to_owned(), crossed.shown(&docker)),
        ("the build's container".to_owned(), marker.shown(&rest)),
        ("the push's output".to_owned(), crossed.shown(&rest)),
    ] {
        assert!(among.iter().any(|found| found.starts_with(&place)), "{place}: {among:?}");
    }
    assert!(begins(&logs, &format!("{home}/run/up.log")) && begins(&logs, &format!("{home}/ssh/")), "a log is missed");

    planted_secrets_are_found(&host, &canaries);
}

/// As one would be that somebody put there by mistake.
fn planted_secrets_are_found(host: &Host, canaries: &Canaries) {
    let (home, secret) = (host.platform.home(), &canaries.0[0].1);
    let label = format!("leak={secret}");
    let own = format!("paas.home={}", home.display());
    let container = docker(&["create", "--label", &own, "--env", &label, &host.images()[0]]);
    let change = format!("ENV {label}");
    let image = docker(&["commit", "--change", &change, &container]);
    let basic = base64::engine::general_purpose::STANDARD.encode(&canaries.0[2].1);
    let mut layer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut layer, secret.as_bytes()).unwrap();
    fs::write(host.registry.data().join("planted"), layer.finish().unwrap()).unwrap();
    fs::write(home.join("logs/planted.log"), format!("Authorization: Basic {basic}")).unwrap();
    fs::write(home.join("planted"), secret).unwrap();

    let found = |places: Vec<Found>, place: &str| canaries.shown(&places).iter().any(|found| found.starts_with(place));
    assert!(found(host.in_docker(), &format!("container of {}", &container[..12])));
    assert!(found(host.in_docker(), &format!("image of {image}")));
    docker(&["rm", &container]);
    docker(&["rmi", &image]);
    assert!(found(host.in_registry(), &host.registry.data().join("planted").display().to_string()));
    assert!(found(host.logs(), &home.join("logs/planted.log").display().to_string()));
    assert!(canaries.held(home).iter().any(|path| *path == home.join("planted") && is_open(path)));
}
