//! A team on two laptops: tenants, tokens, roles and their end, all over ssh.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::laptop::Laptop;
use crate::support::platform::{Said, TestPlatform};
use crate::support::project::Project;
use crate::support::stack::stack_image;

fn platform() -> TestPlatform {
    TestPlatform::start_with(&[("PAAS_BUILD_IMAGE", stack_image())])
}

fn names(said: &Said) -> Vec<&str> {
    said.out.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect()
}

/// Nobody sits at a file on the server.
#[test]
fn a_newcomer_joins_with_a_token_pushes_and_is_gone_at_once_when_removed() {
    let platform = platform();
    let alice = Laptop::of("alice", platform.key_of("alice"), &platform);
    let bob = Laptop::of("bob", platform.unknown_key("bob"), &platform);
    for tenant in ["dev", "secret"] {
        let _ = alice.paas(["tenant", "create", tenant]).ok();
    }

    let _ = bob.paas(["tenant", "list"]).fails(3, &["nobody knows the key", "paas tenant join"]);
    let token = alice.paas(["tenant", "token", "create", "--tenant", "dev", "--role", "developer"]).ok().out;
    let wrong = bob.paas_reading(["tenant", "join"], &token.replace("paas_jt_", "paas_jt_x"));
    let _ = wrong.fails(2, &["token"]);
    let joined = bob.paas_reading(["tenant", "join"], &token).ok();
    assert_eq!(joined.out, "bob is developer of tenant dev\n");
    let carol = Laptop::of("carol", platform.unknown_key("carol"), &platform);
    let _ = carol.paas_reading(["tenant", "join"], &token).fails(3, &["not valid, or not any more"]);

    // What bob may not see is not there.
    assert_eq!(names(&bob.paas(["tenant", "list"]).ok()), ["dev"]);
    let hidden = bob.paas(["tenant", "show", "secret"]);
    let missing = bob.paas(["tenant", "show", "nowhere"]);
    assert_eq!((hidden.status, hidden.err.replace("secret", "X")), (3, missing.err.replace("nowhere", "X")));
    assert_eq!(missing.status, 3);

    // In a work tree the tenant goes without saying.
    let project = Project::from_fixture("procfile");
    let _ =
        bob.command().current_dir(project.path()).args(["init", "--tenant", "dev", "--app", "shop"]).output().unwrap();
    project.commit("with paas.yml");
    let pushed = project.push(&bob.ssh(), &["paas-dev", "HEAD:main"]);
    pushed.live_at();
    let members =
        bob.command().current_dir(project.path()).args(["tenant", "members", "list", "--json"]).output().unwrap();
    let members = Said::from(members).ok().json();
    let roles: Vec<_> = members.as_array().unwrap().iter().map(|member| (&member["user"], &member["role"])).collect();
    let expected = [("alice", "owner"), ("bob", "developer")].map(|(user, role)| (json!(user), json!(role)));
    assert_eq!(roles, expected.each_ref().map(|(user, role)| (user, role)));
    let denied = bob.paas(["tenant", "token", "create", "--tenant", "dev"]);
    let _ = denied.fails(3, &["needs to be an owner of tenant `dev`"]);
    let elsewhere = project.push(&bob.ssh(), &[&platform.remote("secret", "shop"), "HEAD:main"]);
    let nowhere = project.push(&bob.ssh(), &[&platform.remote("nowhere", "shop"), "HEAD:main"]);
    assert!(!elsewhere.accepted && !nowhere.accepted);
    assert_eq!(elsewhere.output.replace("secret", "X"), nowhere.output.replace("nowhere", "X"));

    // Of what was done a developer sees what is theirs alone.
    let seen = bob.paas(["audit", "--json"]).ok().json();
    let others: Vec<_> = seen.as_array().unwrap().iter().filter(|event| event["user"] != "bob").collect();
    assert!(others.is_empty(), "{others:?}");

    // A viewer reads and does not push.
    let _ = alice.paas(["tenant", "members", "set-role", "--tenant", "dev", "bob", "viewer"]).ok();
    assert!(!project.push(&bob.ssh(), &["paas-dev", "HEAD:other"]).accepted);
    let _ = bob.paas(["tenant", "show", "dev"]).ok();

    let _ = alice.paas(["users", "remove", "bob"]).ok();
    let _ = bob.paas(["tenant", "list"]).fails(3, &[]);
    assert!(!project.push(&bob.ssh(), &["paas-dev", "HEAD:main"]).accepted);

    let audit = alice.paas(["audit", "--json"]).ok().json();
    let told: BTreeSet<String> = audit.as_array().unwrap().iter().map(line).collect();
    for expected in [
        "alice tenant create dev done",
        "bob tenant join dev done",
        "bob push dev done",
        "bob push secret refused",
        "(newcomer) tenant join - refused",
        "bob tenant token create dev refused",
        "alice users remove - done",
    ] {
        assert!(told.contains(expected), "{expected:?} is not in {told:#?}");
    }
    assert!(!audit.to_string().contains(token.trim()), "a token's value is in no log");
}

fn line(event: &Value) -> String {
    let text = |name: &str| event[name].as_str().unwrap_or("-").to_owned();
    format!("{} {} {} {}", text("user"), text("what"), text("tenant"), text("outcome"))
}

/// Twenty commands pay for one handshake, and say what they say on the host.
#[test]
fn the_same_command_says_the_same_on_the_host_and_from_a_laptop() {
    let platform = TestPlatform::start();
    let alice = Laptop::of("alice", platform.key_of("alice"), &platform);
    let _ = alice.paas(["tenant", "create", "dev"]).ok();
    let commands: [&[&str]; 4] =
        [&["tenant", "list"], &["tenant", "show", "dev", "--json"], &["keys", "list"], &["tenant", "show", "nowhere"]];
    for words in commands {
        let here: Said = platform.command().args(words).output().unwrap().into();
        let there: Said = alice.command().args(words).output().unwrap().into();
        assert_eq!((here.status, here.out), (there.status, there.out), "{words:?}: {}", there.err);
        assert_eq!(here.err, there.err, "{words:?}");
    }
    assert_eq!(alice.open_connections().len(), 1, "one connection for all");
    // Without `paas`, any ssh will do.
    let key = platform.key_of("machine");
    let said = platform.ssh(&key, "tenant list");
    assert_eq!((said.status, names(&said).len()), (0, 0));
    let _ = platform.ssh(&key, "up").fails(2, &["on the machine where it is typed"]);
    let _ = platform.ssh(&key, "keys add /etc/hostname").fails(2, &["standard input"]);
    let _ = platform.ssh(&key, "tenant list --home /tmp").fails(2, &["--home"]);
    let _ = platform.ssh(&key, "tenant list --client 9.0.0").fails(2, &["do not understand each other"]);
}

#[test]
fn a_key_goes_to_the_host_from_the_laptops_own_file() {
    let platform = TestPlatform::start();
    let alice = Laptop::of("alice", platform.key_of("alice"), &platform);
    let second = platform.unknown_key("alice@desk");
    let file = second.public().display().to_string();
    let _ = alice.paas(["keys", "add", &file]).ok();
    let text = std::fs::read_to_string(platform.unknown_key("third").public()).unwrap();
    let _ = alice.paas_reading(["keys", "add", "-"], &text).ok();
    let keys = alice.paas(["keys", "list", "--json"]).ok().json();
    let users: Vec<_> = keys.as_array().unwrap().iter().map(|key| key["user"].as_str().unwrap()).collect();
    assert_eq!(users, ["alice", "alice", "alice"]);
}

#[test]
fn a_host_that_is_not_there_is_said_to_be_unreachable() {
    let platform = TestPlatform::prepare(&[]);
    let alice = Laptop::of("alice", platform.unknown_key("alice"), &platform);
    let _ = alice.paas(["tenant", "list"]).fails(4, &["cannot be reached by ssh"]);
}

/// What has not deployed does not deploy any more.
#[test]
fn a_push_in_flight_ends_when_its_user_is_removed() {
    let platform = platform();
    let alice = Laptop::of("alice", platform.key_of("alice"), &platform);
    let bob = Laptop::of("bob", platform.key_of("bob"), &platform);
    let _ = alice.paas(["tenant", "create", "dev"]).ok();
    let _ = alice.paas(["tenant", "members", "add", "bob", "--tenant", "dev"]).ok();
    let slow = Project::from_fixture("slow-build");
    let remote = platform.remote("dev", "slow");
    std::thread::scope(|scope| {
        let push = scope.spawn(|| slow.push(&bob.ssh(), &[&remote, "HEAD:main"]));
        soon("the build began", || !platform.builds().is_empty());
        let removed = alice.paas(["users", "remove", "bob"]).ok();
        assert!(removed.err.contains("connections ended: 1"), "{}", removed.err);
        let pushed = push.join().unwrap();
        assert!(!pushed.accepted, "{}", pushed.output);
    });
    soon("no build is left", || platform.builds().is_empty());
    assert!(
        !platform.home().join("repositories/dev/slow.git").exists(),
        "a first push that failed leaves no repository"
    );
    let audit = alice.paas(["audit", "--json"]).ok().json();
    let told: Vec<String> = audit.as_array().unwrap().iter().map(line).collect();
    assert!(!told.contains(&"bob push dev done".to_owned()), "{told:#?}");
}

/// The next line that somebody who follows the audit log is told.
fn next_line(lines: &mut impl Iterator<Item = std::io::Result<String>>) -> String {
    lines.next().expect("the follower is there still").unwrap()
}

/// Without naming a tenant; and who is no owner any more is told nothing more, also while they watch.
#[test]
fn an_owner_reads_of_their_tenants_as_long_as_they_own_them() {
    let platform = TestPlatform::start();
    let alice = Laptop::of("alice", platform.key_of("alice"), &platform);
    let bob = Laptop::of("bob", platform.unknown_key("bob"), &platform);
    for tenant in ["dev", "own", "secret"] {
        let _ = alice.paas(["tenant", "create", tenant]).ok();
    }
    let token = alice.paas(["tenant", "token", "create", "--tenant", "dev", "--role", "owner"]).ok().out;
    let _ = bob.paas_reading(["tenant", "join"], &token).ok();
    let _ = alice.paas(["tenant", "members", "add", "bob", "--role", "owner", "--tenant", "own"]).ok();
    let fingerprint = bob.paas(["keys", "list", "--json"]).ok().json()[0]["fingerprint"].as_str().unwrap().to_owned();
    let _ = bob.paas(["keys", "rename", &fingerprint, "desk"]).ok();

    let audit = bob.paas(["audit", "--json"]).ok().json();
    let told: Vec<String> = audit.as_array().unwrap().iter().map(line).collect();
    let expected = [
        "alice tenant create dev done",
        "alice tenant create own done",
        "alice tenant token create dev done",
        "bob tenant join dev done",
        "alice tenant members add own done",
        "bob keys rename - done",
    ];
    assert_eq!(told, expected);
    assert_eq!(audit[3]["object"], "owner", "{audit}");
    let _ = bob.paas(["audit", "--tenant", "secret"]).fails(3, &["there is no tenant `secret`"]);

    let follow = |words: &[&str]| {
        let mut command = bob.command();
        command.args(["audit", "--follow"]).args(words).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        (process, lines)
    };
    let (of_dev, mut lines_of_dev) = follow(&["--tenant", "dev"]);
    let (mut of_all, mut lines) = follow(&[]);
    for what in ["tenant create", "tenant token create", "tenant join"] {
        assert!(next_line(&mut lines_of_dev).contains(what));
    }
    for _ in expected {
        next_line(&mut lines);
    }
    let create_token = |tenant: &str| {
        let _ = alice.paas(["tenant", "token", "create", "--tenant", tenant]).ok();
    };
    create_token("dev");
    for lines in [&mut lines_of_dev, &mut lines] {
        let next = next_line(lines);
        assert!(next.contains("tenant token create  dev"), "{next}");
    }
    let _ = alice.paas(["tenant", "members", "remove", "bob", "--tenant", "dev"]).ok();
    create_token("dev");
    create_token("own");
    let next = next_line(&mut lines);
    assert!(next.contains("tenant token create  own"), "{next}");
    assert!(lines_of_dev.next().is_none(), "the log of a tenant that is no longer one's own ends");
    let _ = Said::from(of_dev.wait_with_output().unwrap()).fails(3, &["there is no tenant `dev`"]);
    let _ = alice.paas(["users", "remove", "bob"]).ok();
    assert!(lines.next().is_none() && !of_all.wait().unwrap().success(), "nor is there anything for who is no user");
}

#[track_caller]
fn soon(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_follower_of_the_log_who_vanishes_leaves_nothing_on_the_host() {
    let platform = TestPlatform::start();
    let key = platform.key_of("watcher");
    let follows = || platform.processes().iter().any(|line| line.contains("session --user watcher"));
    let mut ssh =
        platform.ssh_process(&key, "audit --follow").stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    soon("it follows", follows);
    ssh.kill().unwrap();
    let _ = ssh.wait().unwrap();
    soon("its end on the host is gone", || !follows());
}

/// Neither what ssh can be told to send along, nor what names may look like, reaches anything that runs.
#[test]
fn nothing_of_the_clients_side_is_an_environment_or_an_option() {
    let platform = TestPlatform::start();
    let key = platform.key_of("alice");
    let plain = platform.ssh_process(&key, "tenant list --json");
    let hostile = "SetEnv=PAAS_HOME=/nowhere PAAS_HOST=nowhere PATH=/nowhere LD_PRELOAD=/nowhere.so GIT_DIR=/nowhere";
    let mut ssh = std::process::Command::new(plain.get_program());
    ssh.args(["-o", hostile]).args(plain.get_args());
    let said: Said = ssh.output().unwrap().into();
    assert_eq!(said.ok().json(), json!([]));

    let alice = Laptop::of("alice", key, &platform);
    let _ = alice.paas(["tenant", "create", "dev"]).ok();
    let project = Project::from_fixture("static");
    let pushed = project.push(&alice.ssh(), &[&platform.remote("dev", "odd"), "HEAD:refs/heads/--upload-pack=x"]);
    // A branch that deploys nothing is stored under any name that git has for it.
    assert!(pushed.accepted, "{}\n{}", pushed.porcelain, pushed.output);
    let repository = platform.home().join("repositories/dev/odd.git");
    assert!(repository.join("refs/heads/--upload-pack=x").exists());
}
