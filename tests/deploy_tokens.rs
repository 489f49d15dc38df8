//! Deploy tokens: a key that is no member deploys one app by the token in its `paas.yml`, and sees nothing else.

use serde_json::Value;

use crate::support::builder::docker;
use crate::support::http::{address_of, get};
use crate::support::laptop::Laptop;
use crate::support::platform::TestPlatform;
use crate::support::project::Project;
use crate::support::stack::stack_image;

/// A work tree of `alice`, who owns tenant `dev`, with a remote to it.
fn work_tree(alice: &Laptop) -> Project {
    let project = Project::from_fixture("procfile");
    let init = alice.command().current_dir(project.path()).args(["init", "--tenant", "dev", "--app", "shop"]).output();
    assert!(init.unwrap().status.success());
    project
}

fn in_tree(alice: &Laptop, project: &Project, words: &[&str]) -> Value {
    let said = alice.command().current_dir(project.path()).args(words).arg("--json").output().unwrap();
    assert!(said.status.success(), "{words:?}: {}", String::from_utf8_lossy(&said.stderr));
    serde_json::from_slice(&said.stdout).unwrap()
}

/// CI, as it often is: a shallow clone, and a key of its own.
#[test]
fn a_key_that_is_no_member_deploys_by_the_token_in_paas_yml_and_sees_nothing() {
    let platform = TestPlatform::start_with(&[("PAAS_BUILD_IMAGE", stack_image())]);
    let alice = Laptop::of("alice", platform.key_of("alice"), &platform);
    let robot = Laptop::of("robot", platform.key_of("robot"), &platform);
    let _ = alice.paas(["tenant", "create", "dev"]).ok();
    let project = work_tree(&alice);
    project.commit("by a member");
    let by_member = project.push(&alice.ssh(), &["paas-dev", "HEAD:main"]);
    let _ = by_member.live_at();
    assert!(!by_member.output.contains("deploy token"), "{}", by_member.output);

    // The tenant and the app are where the remote leads.
    let made = in_tree(&alice, &project, &["apps", "token", "create"]);
    let (token, id) = (made["token"].as_str().unwrap(), made["id"].as_str().unwrap());
    let refused = project.push(&robot.ssh(), &["paas-dev", "HEAD:main"]);
    assert!(!refused.accepted && refused.output.contains("no deploy token that is valid"), "{}", refused.output);

    project.write("paas.yml", format!("app: shop\ntoken: {token}\n"));
    project.write("Procfile", "web: cat paas.yml && python3 -m http.server $PORT\n");
    let commit = project.commit("with a token");
    let clone = Project::empty();
    let from = format!("file://{}", project.path().display());
    let _ = clone.git(["fetch", "--quiet", "--depth", "1", &from, "HEAD"]);
    let remote = platform.remote("dev", "shop");
    let pushed = clone.push(&robot.ssh(), &[&remote, "FETCH_HEAD:refs/heads/main"]);
    let served = get(address_of(&pushed.live_at()), "/paas.yml", None).unwrap().body;
    assert!(pushed.output.contains(&format!("v2: web=1, by deploy token {id}")), "{}", pushed.output);
    // What it deployed is what a member clones; the token itself is in no image, log or output.
    assert!(served.contains("token: paas_dt_xxxx"), "{served}");
    for text in [&served, &pushed.output, &logs(&platform)] {
        assert!(!text.contains(token), "{text}");
    }
    let tip = project
        .command()
        .env("GIT_SSH_COMMAND", alice.ssh())
        .args(["ls-remote", &remote, "refs/heads/main"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&tip.stdout), format!("{commit}\trefs/heads/main\n"));

    // That and nothing else.
    let seen = project.command().env("GIT_SSH_COMMAND", robot.ssh()).args(["ls-remote", &remote]).output().unwrap();
    assert!(!seen.status.success() && seen.stdout.is_empty());
    for (to, refs) in [
        (("dev", "wiki"), &["HEAD:main"][..]),
        (("prod", "shop"), &["HEAD:main"]),
        (("dev", "shop"), &["HEAD:topic"]),
        (("dev", "shop"), &["HEAD:main", "HEAD:refs/tags/v1"]),
        (("dev", "shop"), &["HEAD:master"]),
    ] {
        let remote = platform.remote(to.0, to.1);
        let arguments: Vec<&str> = std::iter::once(remote.as_str()).chain(refs.iter().copied()).collect();
        let pushed = project.push(&robot.ssh(), &arguments);
        assert!(!pushed.accepted, "{to:?} {refs:?}: {}", pushed.output);
    }
    assert!(!platform.home().join("repositories/dev/wiki.git").exists());

    let _ = in_tree(&alice, &project, &["apps", "token", "revoke", id]);
    let again = project.push(&robot.ssh(), &[&remote, "HEAD:main"]);
    assert!(!again.accepted && again.output.contains("there is no tenant `dev`"), "{}", again.output);
    let left: Vec<_> = std::fs::read_dir(platform.home().join("letterboxes")).unwrap().collect();
    assert_eq!(left.len(), 0, "{left:?}");

    let audit = alice.paas(["audit", "--tenant", "dev", "--json"]).ok().json();
    let events: Vec<_> = audit.as_array().unwrap().iter().filter(|event| event["what"] == "push").collect();
    let by_robot: Vec<_> = events.iter().filter(|event| event["user"] == "robot").map(|e| &e["outcome"]).collect();
    assert!(by_robot.iter().filter(|outcome| **outcome == "done").count() == 1, "{by_robot:?}");
    assert!(by_robot.iter().any(|outcome| **outcome == "refused"), "{by_robot:?}");
    assert!(!audit.to_string().contains(token));
}

/// Everything that instances and builds of the platform wrote.
fn logs(platform: &TestPlatform) -> String {
    let outputs = platform.in_docker("container").into_iter().map(|id| docker(&["logs", &id]));
    let mut all: Vec<String> = outputs.collect();
    for entry in walk(&platform.home().join("logs")) {
        all.push(std::fs::read_to_string(entry).unwrap_or_default());
    }
    all.join("\n")
}

fn walk(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn deploy_tokens_are_listed_by_app_and_only_owners_see_them() {
    let platform = TestPlatform::start();
    let alice = Laptop::of("alice", platform.key_of("alice"), &platform);
    let _ = alice.paas(["tenant", "create", "dev"]).ok();
    let create = |app: &str| {
        let made = alice.paas(["apps", "token", "create", "--tenant", "dev", "--app", app, "--expires", "24h"]).ok();
        made.out.trim().to_owned()
    };
    let (shop, wiki) = (create("shop"), create("wiki"));
    let join = alice.paas(["tenant", "token", "create", "--tenant", "dev", "--json"]).ok().json();
    let join = join["id"].as_str().unwrap();
    let listed = |app: Option<&str>| {
        let words = ["apps", "token", "list", "--tenant", "dev", "--json"].into_iter();
        let more = app.into_iter().flat_map(|app| ["--app", app]);
        let said = alice.command().args(words.chain(more)).output().unwrap();
        let said: Value = serde_json::from_slice(&said.stdout).unwrap();
        assert!(!said.to_string().contains(&shop) && !said.to_string().contains(&wiki), "a value is shown once");
        let apps = said.as_array().unwrap().iter().map(|token| token["app"].as_str().unwrap().to_owned());
        apps.collect::<Vec<_>>()
    };
    assert_eq!(
        (listed(None), listed(Some("wiki"))),
        (vec!["shop".to_owned(), "wiki".to_owned()], vec!["wiki".to_owned()])
    );
    // A token to join is none of an app's.
    let _ = alice.paas(["apps", "token", "revoke", join, "--tenant", "dev"]).fails(3, &["has no token"]);
    let _ = alice.paas(["apps", "token", "create", "--tenant", "dev"]).fails(2, &["which app?"]);

    let bob = Laptop::of("bob", platform.key_of("bob"), &platform);
    let _ = alice.paas(["tenant", "members", "add", "bob", "--role", "developer", "--tenant", "dev"]).ok();
    let _ = bob.paas(["apps", "token", "list", "--tenant", "dev"]).fails(3, &["needs to be an owner"]);
}
