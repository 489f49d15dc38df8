//! Builds, from another laptop than the one that pushes: seen, followed, cancelled, and read afterwards.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::support::builder::TestBuilder;
use crate::support::figures::figure;
use crate::support::laptop::Laptop;
use crate::support::patience::eventually;
use crate::support::platform::{Said, TestPlatform};
use crate::support::project::{Project, Pushed};

/// A command that runs beside the test, in a process group of its own; all of it ends with this.
struct Beside(Option<Child>);

impl Beside {
    fn start(command: &mut Command) -> Self {
        command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(Some(command.spawn().unwrap()))
    }
    fn has_ended(&mut self) -> bool {
        self.0.as_mut().is_some_and(|child| child.try_wait().unwrap().is_some())
    }
    fn end(mut self) -> std::process::Output {
        self.0.take().unwrap().wait_with_output().unwrap()
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let group = Pid::from_raw(child.id().cast_signed()).unwrap();
            // Both fail only when it has ended already.
            let _ = kill_process_group(group, Signal::KILL);
            let _ = child.wait();
        }
    }
}

fn about_shop<'a>(words: &[&'a str]) -> Vec<&'a str> {
    [words, &["--tenant", "dev", "--app", "shop"]].concat()
}

fn builds(laptop: &Laptop<'_>, words: &[&str]) -> Said {
    laptop.command().arg("builds").args(about_shop(words)).output().unwrap().into()
}

/// Number and state of each build, as `list` shows them.
fn states(laptop: &Laptop<'_>) -> Vec<(u64, String)> {
    let listed = builds(laptop, &["list", "--json"]).ok().json();
    let state =
        |build: &serde_json::Value| (build["number"].as_u64().unwrap(), build["state"].as_str().unwrap().into());
    listed.as_array().unwrap().iter().map(state).collect()
}

fn push(project: &Project, laptop: &Laptop<'_>, remote: &str) -> Beside {
    let mut git = project.command();
    Beside::start(git.env("GIT_SSH_COMMAND", laptop.ssh()).args(["push", "--porcelain", remote, "HEAD:main"]))
}

#[test]
fn a_build_is_seen_followed_and_cancelled_from_another_laptop_and_read_after_the_fact() {
    let builder = TestBuilder::make();
    let platform = TestPlatform::start_with(&[("PAAS_BUILD_IMAGE", builder.name())]);
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| Laptop::of(name, platform.key_of(name), &platform));
    let _ = alice.paas(["tenant", "create", "dev"]).ok();
    let _ = alice.paas(["tenant", "members", "add", "--tenant", "dev", "bob"]).ok();
    let _ = alice.paas(["tenant", "members", "add", "--tenant", "dev", "carol", "--role", "viewer"]).ok();
    let remote = platform.remote("dev", "shop");
    let _ = builds(&bob, &["log"]).fails(3, &["nothing was built of `shop`"]);
    let _ = builds(&bob, &["cancel"]).fails(3, &["no build of `shop` is under way"]);

    let slow = Project::built_by("echo it has begun\nsleep 600\n");
    let pushed = push(&slow, &alice, &remote);
    eventually("the build is listed", || (states(&bob) == [(1, "running".to_owned())]).then_some(()));
    let mut follow = carol.command();
    let mut followed = Beside::start(follow.arg("builds").args(about_shop(&["log", "--follow"])));
    let mut lines = BufReader::new(followed.0.as_mut().unwrap().stdout.take().unwrap()).lines();
    let begun = lines.by_ref().map(Result::unwrap).find(|line| line.contains("it has begun"));
    assert!(begun.is_some(), "the follower saw the build's lines");
    assert!(!platform.builds().is_empty(), "it runs");

    let _ = builds(&carol, &["cancel"]).fails(3, &["needs to be a developer of tenant `dev`"]);
    assert_eq!(builds(&bob, &["cancel"]).ok().out, "1\n");
    assert!(platform.builds().is_empty(), "a container is left");
    let output = pushed.end();
    Pushed::from(&output).is_rejected_with("(build cancelled by bob)");
    assert_eq!(lines.last().unwrap().unwrap(), "build cancelled by bob");
    let said = Said::from(followed.end()).ok();
    assert!(said.err.contains("build 1: cancelled"), "{}", said.err);
    assert_eq!(states(&bob), [(1, "cancelled".to_owned())]);
    let shown = builds(&carol, &["show", "1", "--json"]).ok().json();
    assert_eq!((&shown["cancelled_by"], &shown["user"]), (&"bob".into(), &"alice".into()));
    assert!(shown["took"].as_f64().unwrap() > 0.0, "{shown}");
    assert!(!platform.home().join("repositories/dev/shop.git").exists(), "a repository that holds nothing is left");
    let audit = alice.paas(["audit", "--tenant", "dev", "--json"]).ok().json();
    let cancels: Vec<_> = audit.as_array().unwrap().iter().filter(|event| event["what"] == "builds cancel").collect();
    assert!(cancels.iter().any(|event| event["user"] == "bob" && event["object"] == "shop"), "{cancels:?}");
    let _ = builds(&bob, &["cancel"]).fails(3, &["no build of `shop` is under way"]);

    // The app is free, and what was cancelled is in nobody's way.
    slow.write("build", "echo it is quick now\n");
    slow.commit("quick");
    let second = slow.push(&alice.ssh(), &[&remote, "HEAD:main"]);
    second.live_at();
    assert!(!second.output.contains("Waiting for"), "{}", second.output);
    assert_eq!(states(&carol), [(2, "succeeded".to_owned()), (1, "cancelled".to_owned())]);
    let newest = builds(&carol, &["log"]).ok().out;
    assert!(newest.contains("it is quick now\n"), "{newest}");
    assert_eq!(builds(&carol, &["log", "2", "--follow"]).ok().out, newest, "what is over is followed to its end");
    assert!(builds(&carol, &["log", "1"]).ok().out.contains("it has begun\n"));
    assert!(builds(&bob, &["list", "--json"]).ok().json()[0]["size"].as_u64().unwrap() > 0);
    let _ = builds(&bob, &["cancel", "2"]).fails(3, &["build 2 is over: it succeeded"]);
    let _ = builds(&bob, &["show", "3"]).fails(3, &["there is no build 3 of `shop`"]);
}

#[test]
fn a_build_that_waits_for_its_turn_is_queued_and_can_be_cancelled() {
    let builder = TestBuilder::make();
    let platform = TestPlatform::start_with(&[("PAAS_BUILD_IMAGE", builder.name())]);
    let alice = Laptop::of("alice", platform.key_of("alice"), &platform);
    let _ = alice.paas(["tenant", "create", "dev"]).ok();
    let _ = alice.paas(["tenant", "quota", "set", "dev", "--builds", "1"]).ok();
    let (first, second) = (Project::built_by("sleep 600\n"), Project::built_by("echo never\n"));
    let building = push(&first, &alice, &platform.remote("dev", "wiki"));
    eventually("the first builds", || (!platform.builds().is_empty()).then_some(()));
    let waiting = push(&second, &alice, &platform.remote("dev", "shop"));
    eventually("the second is queued", || (states(&alice) == [(1, "queued".to_owned())]).then_some(()));

    let _ = builds(&alice, &["cancel", "1"]).ok();
    Pushed::from(&waiting.end()).is_rejected_with("(build cancelled by alice)");
    assert_eq!(states(&alice), [(1, "cancelled".to_owned())]);
    assert_eq!(platform.builds().len(), 1, "the other one builds on");
    let _ = alice.paas(["builds", "cancel", "--tenant", "dev", "--app", "wiki"]).ok();
    Pushed::from(&building.end()).is_rejected_with("(build cancelled by alice)");
    assert!(platform.builds().is_empty(), "a container is left");
}

/// Line by line from then on, however long the build takes.
#[test]
fn the_first_line_comes_within_a_second_of_the_pack() {
    let builder = TestBuilder::make();
    let platform = TestPlatform::start_with(&[("PAAS_BUILD_IMAGE", builder.name())]);
    let alice = Laptop::of("alice", platform.key_of("alice"), &platform);
    let _ = alice.paas(["tenant", "create", "dev"]).ok();
    let slow = Project::built_by("echo it has begun\nsleep 600\n");
    let mut git = slow.command();
    git.env("GIT_SSH_COMMAND", alice.ssh()).args(["push", "--progress", &platform.remote("dev", "shop"), "HEAD:main"]);
    let mut pushed = Beside::start(&mut git);
    let lines = BufReader::new(pushed.0.as_mut().unwrap().stderr.take().unwrap()).lines();
    let mut lines = lines.map(|line| (Instant::now(), line.unwrap()));
    let (sent, _) = lines.find(|(_, line)| line.starts_with("Total ")).expect("git says when the pack is sent");
    let (first, line) = lines.find(|(_, line)| line.starts_with("remote: ")).expect("something is said");
    assert!(line.starts_with("remote: -----> Source "), "{line}");
    figure(&format!("the first line came {} ms after the pack", (first - sent).as_millis()));
    assert!(first - sent < Duration::from_secs(1), "{:?}", first - sent);
    assert!(lines.any(|(_, line)| line.contains("it has begun")), "what the build says is held back");
    let _ = builds(&alice, &["cancel"]).ok();
    drop(pushed);
}

/// Also across tenants, and when the one before is killed in the queue.
#[test]
fn a_build_that_waits_for_a_slot_of_the_host_is_told_its_place_and_moves_up() {
    let builder = TestBuilder::make();
    let platform = TestPlatform::start_with(&[("PAAS_BUILD_IMAGE", builder.name()), ("PAAS_BUILDS_PARALLEL", "1")]);
    let alice = Laptop::of("alice", platform.key_of("alice"), &platform);
    for tenant in ["dev", "prod"] {
        let _ = alice.paas(["tenant", "create", tenant]).ok();
    }
    let (slow, quick) = (Project::built_by("sleep 600\n"), Project::built_by("true\n"));
    let building = push(&slow, &alice, &platform.remote("prod", "wiki"));
    eventually("the first builds", || (!platform.builds().is_empty()).then_some(()));
    let log = |tenant, app| {
        let log: Said =
            alice.command().args(["builds", "log", "--tenant", tenant, "--app", app]).output().unwrap().into();
        log.out
    };
    let killed = push(&quick, &alice, &platform.remote("prod", "blog"));
    eventually("it waits", || log("prod", "blog").contains("place 1 of the queue").then_some(()));
    let last = push(&quick, &alice, &platform.remote("dev", "shop"));
    eventually("it waits behind", || log("dev", "shop").contains("place 2 of the queue").then_some(()));
    assert!(!log("dev", "shop").contains("wiki"), "{}", log("dev", "shop"));
    assert_eq!(states(&alice), [(1, "queued".to_owned())]);
    drop(killed);
    eventually("it moves up", || log("dev", "shop").contains("-----> Place 1 of the queue").then_some(()));
    assert_eq!(platform.builds().len(), 1, "it builds before its turn");
    let _ = alice.paas(["builds", "cancel", "--tenant", "prod", "--app", "wiki"]).ok();
    Pushed::from(&building.end()).is_rejected_with("(build cancelled by alice)");
    assert!(Pushed::from(&last.end()).accepted);
}

/// As when its client vanished: nobody is left to write down how it ended.
#[test]
fn a_build_whose_push_was_killed_is_told_as_abandoned_and_its_follower_ends() {
    let builder = TestBuilder::make();
    let platform = TestPlatform::start_with(&[("PAAS_BUILD_IMAGE", builder.name())]);
    let alice = Laptop::of("alice", platform.key_of("alice"), &platform);
    let _ = alice.paas(["tenant", "create", "dev"]).ok();
    let slow = Project::built_by("echo it has begun\nsleep 600\n");
    let pushed = push(&slow, &alice, &platform.remote("dev", "shop"));
    eventually("the build is listed", || (states(&alice) == [(1, "running".to_owned())]).then_some(()));
    let mut follow = alice.command();
    let mut followed = Beside::start(follow.arg("builds").args(about_shop(&["log", "-f"])));
    let mut lines = BufReader::new(followed.0.as_mut().unwrap().stdout.take().unwrap()).lines();
    assert!(lines.by_ref().map(Result::unwrap).any(|line| line.contains("it has begun")));
    drop(pushed);
    assert_eq!(lines.by_ref().count(), 0);
    let said = Said::from(followed.end()).ok();
    assert!(said.err.contains("build 1: abandoned"), "{}", said.err);
    assert_eq!(states(&alice), [(1, "abandoned".to_owned())]);
    let _ = builds(&alice, &["cancel", "1"]).fails(3, &["was abandoned by its push"]);
    eventually("no container is left", || platform.builds().is_empty().then_some(()));
}

#[test]
fn a_follower_is_sent_away_when_they_may_not_read_any_more_and_is_nothing_on_the_host_when_gone() {
    let builder = TestBuilder::make();
    let platform = TestPlatform::start_with(&[("PAAS_BUILD_IMAGE", builder.name())]);
    let alice = Laptop::of("alice", platform.key_of("alice"), &platform);
    let _ = alice.paas(["tenant", "create", "dev"]).ok();
    let (bobs, carols) = (platform.key_of("bob"), platform.key_of("carol"));
    for name in ["bob", "carol"] {
        let _ = alice.paas(["tenant", "members", "add", "--tenant", "dev", name, "--role", "viewer"]).ok();
    }
    let chatty = Project::built_by("while true; do echo tick; sleep 0.1; done\n");
    let pushed = push(&chatty, &alice, &platform.remote("dev", "shop"));
    eventually("the build is listed", || (states(&alice) == [(1, "running".to_owned())]).then_some(()));
    let words = "builds log --follow --tenant dev --app shop";
    let session = |name: &str| {
        let session = format!("session --user {name}");
        platform.processes().iter().any(|line| line.contains(&session))
    };
    let follow = |key| Beside::start(platform.ssh_process(key, words).stdin(Stdio::null()));
    let (bob, mut carol) = (follow(&bobs), follow(&carols));
    eventually("both follow", || (session("bob") && session("carol")).then_some(()));

    drop(bob);
    eventually("nothing is left of bob", || (!session("bob")).then_some(()));
    let _ = alice.paas(["tenant", "members", "remove", "--tenant", "dev", "carol"]).ok();
    eventually("carol is sent away", || carol.has_ended().then_some(()));
    let _ = Said::from(carol.end()).fails(3, &["there is no tenant `dev`"]);
    assert_eq!(states(&alice), [(1, "running".to_owned())], "the build is none of their business");
    let _ = builds(&alice, &["cancel"]).ok();
    Pushed::from(&pushed.end()).is_rejected_with("(build cancelled by alice)");
}
