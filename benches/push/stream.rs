//! A large tree on its way into a build: how fast, and in how much memory.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use paas::docker::{BuildContainer, BuildContainerSpec, Docker, Job, Socket};
use paas::git::{Repository, TarShape};

use crate::host::{Host, trivial_app};
use crate::report::Report;
use crate::support::builder::{TestBuilder, docker};
use crate::support::memory::{MemoryWatch, incompressible};
use crate::support::project::Project;
use crate::support::times::{Times, ms};

const GIBIBYTE: u64 = 1 << 30;
const MEBIBYTE: u64 = 1 << 20;
/// How often each way is measured, in turns.
const ROUNDS: usize = 3;
const MEMORY_KIB: u64 = 64 << 10;
/// What memory may differ by between a small tree and a large one, for it to be called flat.
const FLAT_KIB: u64 = 8 << 10;

pub fn of_a_gibibyte(report: &mut Report) {
    for files in [1, 256, 65536] {
        speed(report, files);
    }
    memory(report);
}

/// `bytes` in so many files of one size, committed.
fn tree(project: &Project, bytes: u64, files: u64) {
    let size = usize::try_from(bytes / files).unwrap();
    for number in 0..files {
        project.write(&format!("data/{:03}/{number:05}", number / 256), incompressible(number, size));
    }
    // The client's own work, which is not what is measured here, is kept short.
    project.git(["config", "core.compression", "0"]);
    project.git(["config", "pack.window", "0"]);
    project.commit("data");
}

/// Our stream into a container beside git's and Docker's own commands.
fn speed(report: &mut Report, files: u64) {
    let (project, builder) = (Project::empty(), TestBuilder::make());
    tree(&project, GIBIBYTE, files);
    // As it comes in a push: in one pack.
    project.git(["repack", "-q", "-a", "-d"]);
    let (mut ours, mut commands) = (Times::default(), Times::default());
    for _ in 0..ROUNDS {
        commands.push(by_commands(&project, builder.name()));
        ours.push(by_us(&project, builder.name()));
    }
    let (ours, commands) = (ours.median(), commands.median());
    let what = format!("1 GiB in {files} files into a container (`git archive | docker cp -`: {})", ms(commands));
    // Nine tenths of their speed is ten ninths of their time.
    report.time(&what, ours, commands * 10 / 9);
}

fn by_commands(project: &Project, builder: &str) -> Duration {
    let container = docker(&["create", builder]);
    let begun = Instant::now();
    let mut archive = project.command();
    archive.args(["archive", "--format=tar", "--prefix=app/", "HEAD"]).stdout(Stdio::piped());
    let mut archive = archive.spawn().unwrap();
    let copied = Command::new("docker")
        .args(["cp", "-", &format!("{container}:/")])
        .stdin(archive.stdout.take().unwrap())
        .status()
        .unwrap();
    let took = begun.elapsed();
    assert!(copied.success() && archive.wait().unwrap().success());
    docker(&["rm", "--force", &container]);
    took
}

fn by_us(project: &Project, builder: &str) -> Duration {
    let commit = project.git(["rev-parse", "HEAD"]).trim().parse().unwrap();
    let repository = Repository::open(&project.path().join(".git")).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let container = created(builder).await;
        let begun = Instant::now();
        let shape = TarShape { prefix: Path::new("app").to_owned(), ..TarShape::default() };
        container.upload("/", repository.tar(&commit, shape).unwrap()).await.unwrap();
        let took = begun.elapsed();
        container.remove().await.unwrap();
        took
    })
}

async fn created(builder: &str) -> BuildContainer {
    let docker = Docker::at(Socket("/var/run/docker.sock".into()));
    let image = docker.image(builder).await.unwrap().unwrap().id;
    let spec = BuildContainerSpec {
        image,
        labels: HashMap::new(),
        job: Job::Script("exec /build/builder"),
        as_root: false,
        env: std::collections::BTreeMap::new(),
        cache: None,
        read_only: Vec::new(),
        memory_bytes: GIBIBYTE,
        cpus: None,
        processes: 64,
        patience: Duration::from_mins(10),
    };
    docker.create_build(spec).await.unwrap()
}

/// Whole pushes: of little, of a gibibyte in one file, and in many.
fn memory(report: &mut Report) {
    let host = Host::start(&[]);
    let mut small = 0;
    for (bytes, files) in [(10 * MEBIBYTE, 256), (GIBIBYTE, 1), (GIBIBYTE, 256), (GIBIBYTE, 65536)] {
        let app = trivial_app();
        tree(&app.project, bytes, files);
        let watch = MemoryWatch::start(host.platform.home());
        let took = host.push(&app, "dev", &format!("tree-{bytes}-{files}"));
        let peaks = watch.stop();
        let (process, peak) = peaks.into_iter().max_by_key(|(_, peak)| *peak).expect("a process of ours was seen");
        let what = format!(
            "push of {} MiB in {files} files ({}): peak memory of any process of ours, `{process}`",
            bytes / MEBIBYTE,
            ms(took)
        );
        let limit = if small == 0 { MEMORY_KIB } else { MEMORY_KIB.min(small + FLAT_KIB) };
        report.memory(&what, peak, limit);
        small = if small == 0 { peak } else { small };
    }
}
