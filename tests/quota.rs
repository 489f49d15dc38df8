//! A tenant's quota, from a laptop: set by an owner, held against pushes, and by the tenant's Marathon.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::http::{address_of, get};
use crate::support::laptop::Laptop;
use crate::support::platform::TestPlatform;
use crate::support::project::Project;
use crate::support::stack::stack_image;

/// A web app of two instances of 0.4 cpus and 64 MiB each.
fn pair() -> Project {
    let project = Project::from_fixture("procfile");
    project.write("paas.yml", "processes: {web: {instances: 2, cpus: 0.4, mem: 64}}\n");
    project.commit("two of them");
    project
}

fn serves(address: &str) -> String {
    let answer = get(address_of(address), "/", None).unwrap();
    assert_eq!(answer.status, 200);
    answer.body
}

/// The arguments of the tenant's engine, as the machine shows them.
fn engine_arguments(platform: &TestPlatform) -> String {
    let found = platform.processes().into_iter().find(|line| line.contains("engines/tenants/dev"));
    found.expect("the tenant's engine runs")
}

#[test]
fn a_push_over_the_quota_is_refused_before_it_builds_and_deploys_once_the_quota_is_raised() {
    let platform = TestPlatform::start_with(&[("PAAS_BUILD_IMAGE", stack_image())]);
    let alice = Laptop::of("alice", platform.key_of("alice"), &platform);
    let bob = Laptop::of("bob", platform.key_of("bob"), &platform);
    let _ = alice.paas(["tenant", "create", "dev"]).ok();
    let _ = alice.paas(["tenant", "members", "add", "--tenant", "dev", "bob"]).ok();

    // Owners change it, members see it, others see nothing.
    let _ = bob.paas(["tenant", "quota", "set", "dev", "--cpus", "64"]).fails(3, &["needs to be an owner"]);
    let stranger = Laptop::of("eve", platform.key_of("eve"), &platform);
    let _ = stranger.paas(["tenant", "quota", "show", "dev"]).fails(3, &["there is no tenant `dev`"]);
    let _ = alice.paas(["tenant", "quota", "set", "dev"]).fails(2, &["no limit is named"]);
    let _ = alice.paas(["tenant", "quota", "set", "dev", "--cpus", "lots"]).fails(2, &["no number of cpus"]);
    let _ = alice.paas(["tenant", "quota", "set", "dev", "--cpus", "0.5", "--apps", "1"]).ok();
    assert!(engine_arguments(&platform).contains("--cpus 0.5"));
    let shown = bob.paas(["tenant", "quota", "show", "dev", "--json"]).ok().json();
    let limits = json!({"cpus": 0.5, "mem": null, "disk": null, "apps": 1, "builds": null});
    let nothing = json!({"cpus": 0.0, "mem": 0, "disk": 0, "apps": 0});
    assert_eq!(shown, json!({"tenant": "dev", "quota": limits, "in_use": nothing}));

    // Refused with the figures, before anything was built, and nothing is left.
    let project = pair();
    let refused = project.push(&bob.ssh(), &[&platform.remote("dev", "shop"), "HEAD:main"]);
    refused.is_rejected_with("over quota: 0.8 cpus asked for, 0 of 0.5 in use");
    assert!(refused.output.contains("`paas tenant quota show dev`"), "{}", refused.output);
    assert!(!refused.output.contains("Building"), "{}", refused.output);
    let repository = platform.home().join("repositories/dev/shop.git");
    assert!(!repository.exists());

    let raised = alice.paas(["tenant", "quota", "set", "dev", "--cpus", "1.2", "--mem", "512", "--json"]).ok().json();
    assert_eq!((&raised["quota"]["cpus"], &raised["quota"]["apps"]), (&json!(1.2), &json!(1)));
    let _ = project.push(&bob.ssh(), &[&platform.remote("dev", "shop"), "HEAD:main"]).live_at();
    assert!(repository.exists(), "this is where it would have been");
    let used = bob.paas(["tenant", "quota", "show", "dev", "--json"]).ok().json();
    assert_eq!(used["in_use"], json!({"cpus": 0.8, "mem": 128, "disk": 0, "apps": 1}));
    let text = bob.paas(["tenant", "quota", "show", "dev"]).ok().out;
    let row: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row, ["cpus", "0.8", "1.2"]);

    // The same again fits: what the app has already does not count twice.
    project.commit("again");
    let address = project.push(&bob.ssh(), &[&platform.remote("dev", "shop"), "HEAD:main"]).live_at();
    assert_ne!(serves(&address), "");
    let second = project.push(&bob.ssh(), &[&platform.remote("dev", "wiki"), "HEAD:main"]);
    second.is_rejected_with("over quota: 0.8 cpus asked for, 0.8 of 1.2 in use; 1 more app asked for, 1 of 1 in use");

    // A limit below what runs ends nothing; lifted, it is gone from the engine too.
    let lowered = alice.paas(["tenant", "quota", "set", "dev", "--cpus", "0.1"]).ok();
    assert!(lowered.err.contains("more is in use than the quota allows (cpus)"), "{}", lowered.err);
    assert_ne!(serves(&address), "");
    let _ = alice.paas(["tenant", "quota", "set", "dev", "--cpus", "none", "--mem", "none", "--apps", "none"]).ok();
    assert!(!engine_arguments(&platform).contains("--cpus"));
    let lifted: Value = alice.paas(["tenant", "quota", "show", "dev", "--json"]).ok().json();
    assert!(lifted["quota"].as_object().unwrap().values().all(Value::is_null), "{lifted}");
    assert_ne!(serves(&address), "");
}

/// Whoever follows a deployment would lose sight of it with the engine.
#[test]
fn a_change_of_the_quota_waits_for_the_push_that_is_under_way() {
    let platform = TestPlatform::start_with(&[("PAAS_BUILD_IMAGE", stack_image())]);
    let alice = Laptop::of("alice", platform.key_of("alice"), &platform);
    let _ = alice.paas(["tenant", "create", "dev"]).ok();
    let project = Project::from_fixture("procfile");
    project.write("paas.yml", "processes: {web: {command: 'sleep 5; exec ./serve', cpus: 0.1, mem: 64}}\n");
    project.commit("slow to serve");
    std::thread::scope(|scope| {
        let pushed = scope.spawn(|| project.push(&alice.ssh(), &[&platform.remote("dev", "shop"), "HEAD:main"]));
        let deadline = Instant::now() + Duration::from_mins(2);
        let is_posted = || alice.paas(["tenant", "quota", "show", "dev", "--json"]).ok().json()["in_use"]["apps"] == 1;
        while !is_posted() {
            assert!(Instant::now() < deadline && !pushed.is_finished(), "it was never seen to be deployed");
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = alice.paas(["tenant", "quota", "set", "dev", "--cpus", "4"]).ok();
        assert_ne!(serves(&pushed.join().unwrap().live_at()), "");
    });
    assert!(engine_arguments(&platform).contains("--cpus 4"));
}
