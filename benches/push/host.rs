//! A platform of ours with a trivial builder, and the trivial app that is pushed to it.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::support::builder::TestBuilder;
use crate::support::http;
use crate::support::platform::{TestKey, TestPlatform};
use crate::support::project::{Project, Pushed};

/// What the app runs: it serves its own files, and ends when it is told to.
const SERVE: &str = "#!/bin/sh\ntrap 'kill $!; exit 0' TERM\nhttpd -f -p \"$PORT\" -h /app &\nwait $!\n";

/// A platform with the tenants `dev` and `prod`, and a user who pushes to both.
pub struct Host {
    pub platform: TestPlatform,
    key: TestKey,
    builder: TestBuilder,
}

impl Host {
    /// `settings` are `PAAS_*` variables.
    pub fn start(settings: &[(&str, &str)]) -> Self {
        let builder = TestBuilder::make();
        let platform = TestPlatform::start_with(&[settings, &[("PAAS_BUILD_IMAGE", builder.name())]].concat());
        let key = platform.key_of("alice");
        for tenant in ["dev", "prod"] {
            let _ = platform.paas(["tenant", "create", tenant]).ok();
        }
        let host = Self { platform, key, builder };
        // A first push also learns the host's key and fills caches of the system's.
        for tenant in ["dev", "prod"] {
            host.push(&trivial_app(), tenant, "warm");
        }
        host
    }

    pub fn ssh(&self) -> String {
        self.platform.ssh_command(&self.key)
    }

    pub fn builder(&self) -> &str {
        self.builder.name()
    }

    /// From before `git push` starts until it has ended and the app has answered what was pushed.
    pub fn push(&self, app: &App, tenant: &str, name: &str) -> Duration {
        let begun = Instant::now();
        let pushed = self.pushed(app, tenant, name, "HEAD:main");
        let address = http::address_of(&pushed.live_at());
        let answer = http::get(address, "/version", None).expect("an app that is live answers");
        let took = begun.elapsed();
        assert_eq!((answer.status, answer.body.trim()), (200, app.version.to_string().as_str()));
        took
    }

    /// What `git push` says, however it ends.
    pub fn pushed(&self, app: &App, tenant: &str, name: &str, to: &str) -> Pushed {
        let remote = self.platform.remote(tenant, name);
        app.project.push(&self.ssh(), &["--force", &remote, to])
    }

    /// Begins a push and waits for the first line of ours.
    pub fn begin(&self, app: &App, tenant: &str, name: &str) -> Begun {
        let remote = self.platform.remote(tenant, name);
        let commit = app.project.git(["rev-parse", "HEAD"]);
        let mut git = app.project.command();
        git.env("GIT_SSH_COMMAND", self.ssh()).args([
            "push",
            "--force",
            &remote,
            &format!("{}:refs/heads/main", commit.trim()),
        ]);
        let begun = Instant::now();
        let mut process = git.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut said = Vec::new();
        while !said.last().is_some_and(|(_, line): &(Duration, String)| line.starts_with("remote: ")) {
            let line = output.next().unwrap_or_else(|| panic!("the push said nothing of ours: {said:?}")).unwrap();
            said.push((begun.elapsed(), line));
        }
        let first_line = begun.elapsed();
        // Read on beside us, so that the push never waits for its reader.
        let rest = std::thread::spawn(move || {
            said.extend(output.map(|line| (begun.elapsed(), line.unwrap())));
            said
        });
        Begun { process, rest, since: begun, first_line }
    }

    /// A push that succeeds: when what was pushed first answered, and when the push was over, which is when the version
    /// before it, if there was one, has ended.
    pub fn follow(&self, app: &App, tenant: &str, name: &str) -> Followed {
        let Ended { succeeded, said, took } = self.begin(app, tenant, name).end();
        // By that line its check, which is a request of the engine's, has been answered.
        let answered = said.iter().find(|(_, line)| line.contains(" healthy after ")).map(|(at, _)| *at);
        assert!(succeeded, "{said:?}");
        Followed { answered: answered.unwrap_or_else(|| panic!("nothing came up: {said:?}")), ended: took }
    }
}

/// From before git started.
pub struct Followed {
    pub answered: Duration,
    pub ended: Duration,
}

/// A push under way.
pub struct Begun {
    process: Child,
    rest: std::thread::JoinHandle<Vec<(Duration, String)>>,
    since: Instant,
    /// From before git started.
    pub first_line: Duration,
}

/// A push that is over.
pub struct Ended {
    pub succeeded: bool,
    /// Its lines, and when they came.
    pub said: Vec<(Duration, String)>,
    pub took: Duration,
}

impl Begun {
    pub fn end(mut self) -> Ended {
        let said = self.rest.join().unwrap();
        let succeeded = self.process.wait().unwrap().success();
        Ended { succeeded, said, took: self.since.elapsed() }
    }
}

/// A work tree whose next version is a commit away.
pub struct App {
    pub project: Project,
    pub version: u32,
}

pub fn trivial_app() -> App {
    let project = Project::empty();
    project.write("Procfile", "web: sh serve\n");
    project.write("serve", SERVE);
    let mut app = App { project, version: 0 };
    app.next();
    app
}

impl App {
    /// Another tree, a file of some bytes apart from the last.
    pub fn next(&mut self) {
        // Unlike those of other apps too, so that each is built.
        static VERSIONS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        self.version = VERSIONS.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        self.project.write("version", format!("{}\n", self.version));
        self.project.commit("next");
    }

    /// Another commit of the same tree.
    pub fn again(&self) {
        self.project.commit("again");
    }
}
