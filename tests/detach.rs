//! `git push -o detach`: it is accepted, and goes on without its client.

use rustix::process::{Pid, Signal, kill_process};

use crate::support::builder::TestBuilder;
use crate::support::laptop::Laptop;
use crate::support::patience::eventually;
use crate::support::platform::{Said, TestPlatform};
use crate::support::project::{Project, Pushed};

/// A build that goes on until [`Host::let_go`].
const HELD: &str = "echo it has begun\nwhile [ ! -e /tmp/cache/go ]; do sleep 0.1; done\n";

struct Host {
    platform: TestPlatform,
    _builder: TestBuilder,
}

impl Host {
    fn start() -> Self {
        let builder = TestBuilder::make();
        Self { platform: TestPlatform::start_with(&[("PAAS_BUILD_IMAGE", builder.name())]), _builder: builder }
    }
    fn alice(&self) -> Laptop<'_> {
        let alice = Laptop::of("alice", self.platform.key_of("alice"), &self.platform);
        let _ = alice.paas(["tenant", "create", "dev"]).ok();
        alice
    }
    fn push(&self, project: &Project, alice: &Laptop<'_>, more: &[&str]) -> Pushed {
        project.push(&alice.ssh(), &[&[&*self.platform.remote("dev", "shop")], more].concat())
    }
    /// What the app's remote refs are at.
    fn refs(&self, project: &Project, alice: &Laptop<'_>) -> String {
        let mut git = project.command();
        git.env("GIT_SSH_COMMAND", alice.ssh()).args(["ls-remote", &self.platform.remote("dev", "shop"), "refs/*"]);
        String::from_utf8(git.output().unwrap().stdout).unwrap()
    }
    /// Lets the builds of the app end that wait in [`HELD`].
    fn let_go(&self) {
        let container = self.platform.builds().into_iter().next().expect("something builds");
        let mut touch = std::process::Command::new("docker");
        assert!(touch.args(["exec", &container, "touch", "/tmp/cache/go"]).status().unwrap().success());
    }
    fn detached(&self) -> Option<Pid> {
        let processes = self.platform.processes();
        let line = processes.iter().find(|line| line.ends_with("paas-receive detached"))?;
        Pid::from_raw(line.split_whitespace().nth(1)?.parse().ok()?)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Whatever a failing test left; its user is about to go.
        if let Some(left) = self.detached() {
            let _ = kill_process(left, Signal::KILL);
        }
    }
}

fn builds(laptop: &Laptop<'_>, words: &[&str]) -> Said {
    let mut command = laptop.command();
    command.arg("builds").args(words).args(["--tenant", "dev", "--app", "shop"]).output().unwrap().into()
}

#[test]
fn a_detached_push_returns_with_the_number_of_its_build_and_serves_later() {
    let host = Host::start();
    let alice = host.alice();
    let project = Project::built_by(HELD);
    let commit = project.git(["rev-parse", "HEAD"]).trim().to_owned();
    let pushed = host.push(&project, &alice, &["-o", "detach", "HEAD:main"]);
    assert!(pushed.accepted, "{}\n{}", pushed.porcelain, pushed.output);
    assert!(pushed.porcelain.contains("HEAD:refs/paas/detached/1"), "{}", pushed.porcelain);
    let told = "Build 1 goes on without you: `paas builds log -f 1`";
    assert!(pushed.output.contains(told), "{}", pushed.output);
    assert!(!pushed.output.contains("is live"), "{}", pushed.output);
    assert_eq!(host.refs(&project, &alice), format!("{commit}\trefs/paas/detached/1\n"));
    assert_eq!(builds(&alice, &["show", "1", "--json"]).ok().json()["state"], "running");
    // Nobody else's, and the same commit again is no end of the road: it waits for its turn.
    host.push(&project, &alice, &["HEAD:refs/paas/detached/9"]).is_rejected_with("refs/paas/ is the platform's own");
    host.push(&project, &alice, &["-o", "nowait", "HEAD:main"])
        .is_rejected_with("another push to this app is under way");

    eventually("it builds", || (!host.platform.builds().is_empty()).then_some(()));
    host.let_go();
    let followed = builds(&alice, &["log", "-f", "1"]).ok();
    assert!(
        followed.out.contains("it has begun") && followed.out.contains("=====> shop v1 is live: "),
        "{}",
        followed.out
    );
    eventually("main is there", || {
        (host.refs(&project, &alice) == format!("{commit}\trefs/heads/main\n")).then_some(())
    });
    let shown = builds(&alice, &["show", "1"]).ok().out;
    assert!(shown.contains("v1, succeeded at"), "{shown}");
    eventually("its process ends", || host.detached().is_none().then_some(()));
    let audit = alice.paas(["audit", "--tenant", "dev", "--json"]).ok().json();
    let noted: Vec<_> = audit.as_array().unwrap().iter().filter(|event| event["what"] == "push").collect();
    assert!(noted.iter().any(|event| event["outcome"] == "done"), "{noted:?}");

    // Nothing is built of the same tree: it goes on alone from where it deploys.
    project.commit("the same tree");
    let again = host.push(&project, &alice, &["-o", "detach", "HEAD:main"]);
    assert!(again.accepted && again.output.contains("Release v2 goes on without you"), "{}", again.output);
    let commit = project.git(["rev-parse", "HEAD"]).trim().to_owned();
    eventually("main moves", || (host.refs(&project, &alice) == format!("{commit}\trefs/heads/main\n")).then_some(()));
}

#[test]
fn a_detached_push_is_refused_cancelled_and_told_of_like_any_other() {
    let host = Host::start();
    let alice = host.alice();
    let bad = Project::built_by("true");
    bad.write("Procfile", "web run\n");
    bad.commit("no colon");
    host.push(&bad, &alice, &["-o", "detach", "HEAD:main"]).is_rejected_with("Procfile");
    assert!(!host.platform.home().join("repositories/dev/shop.git").exists());

    let project = Project::built_by(HELD);
    assert!(host.push(&project, &alice, &["-o", "detach", "HEAD:main"]).accepted);
    let _ = builds(&alice, &["cancel"]).ok();
    let cancelled = builds(&alice, &["log", "-f", "1"]).ok();
    assert!(cancelled.out.ends_with("build cancelled by alice\n"), "{}", cancelled.out);
    let gone = || (!host.platform.home().join("repositories/dev/shop.git").exists()).then_some(());
    eventually("a repository that holds nothing is gone", gone);

    let deaf = Project::built_by("true");
    deaf.write("Procfile", "web: false\n");
    deaf.commit("it does not stay");
    assert!(host.push(&deaf, &alice, &["-o", "detach", "HEAD:main"]).accepted);
    let failed = builds(&alice, &["log", "-f", "2"]).ok();
    assert!(failed.out.contains(" !     deploy failed: web exited with status 1"), "{}", failed.out);
    let shown = builds(&alice, &["show", "2"]).ok().out;
    assert!(shown.contains("v1, failed: ") && shown.contains("succeeded"), "{shown}");
    eventually("a repository that holds nothing is gone", gone);
}

#[test]
fn what_a_killed_detached_push_left_is_healed_by_the_next_push() {
    let host = Host::start();
    let alice = host.alice();
    let project = Project::built_by(HELD);
    assert!(host.push(&project, &alice, &["-o", "detach", "HEAD:main"]).accepted);
    eventually("it builds", || (!host.platform.builds().is_empty()).then_some(()));
    kill_process(host.detached().expect("it goes on"), Signal::KILL).unwrap();
    eventually("it is gone", || host.detached().is_none().then_some(()));
    assert_eq!(builds(&alice, &["show", "1", "--json"]).ok().json()["state"], "abandoned");
    project.write("build", "echo another\n");
    let commit = project.commit("second");
    let next = host.push(&project, &alice, &["HEAD:main"]);
    next.live_at();
    assert!(!next.output.contains("Waiting"), "{}", next.output);
    assert_eq!(host.refs(&project, &alice), format!("{commit}\trefs/heads/main\n"));
    assert!(host.platform.builds().is_empty(), "a container is left");
}

/// git would have nothing to note by where the history ends.
#[test]
fn a_push_from_a_shallow_clone_is_followed_to_its_end_and_says_so() {
    let host = Host::start();
    let alice = host.alice();
    let project = Project::built_by("true");
    project.commit("second");
    let clone = Project::empty();
    let from = format!("file://{}", project.path().display());
    let _ = clone.git(["fetch", "--quiet", "--depth", "1", &from, "HEAD"]);
    let pushed = host.push(&clone, &alice, &["-o", "detach", "FETCH_HEAD:refs/heads/main"]);
    pushed.live_at();
    assert!(pushed.output.contains("from a shallow clone a push is not detached"), "{}", pushed.output);
    assert!(host.refs(&clone, &alice).ends_with("\trefs/heads/main\n"));
}

#[test]
fn whoever_has_a_deploy_token_alone_may_detach_a_push_too() {
    let host = Host::start();
    let alice = host.alice();
    let bob = Laptop::of("bob", host.platform.key_of("bob"), &host.platform);
    let made = alice.paas(["apps", "token", "create", "--tenant", "dev", "--app", "shop", "--json"]).ok();
    let project = Project::built_by("true");
    project.write("paas.yml", format!("token: {}\n", made.json()["token"].as_str().unwrap()));
    let commit = project.commit("with a token");
    let pushed = host.push(&project, &bob, &["-o", "detach", "HEAD:main"]);
    assert!(pushed.accepted, "{}", pushed.output);
    assert!(!pushed.output.contains("is live"), "{}", pushed.output);
    eventually("main is there", || {
        (host.refs(&project, &alice) == format!("{commit}\trefs/heads/main\n")).then_some(())
    });
}
