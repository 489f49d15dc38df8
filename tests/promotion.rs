//! What was pushed to one tenant, pushed to another: built once for who may read both.

use crate::support::http::{address_of, get};
use crate::support::laptop::Laptop;
use crate::support::platform::TestPlatform;
use crate::support::project::Project;
use crate::support::stack::stack_image;

/// A Dockerfile whose image has a port of its own.
fn project() -> Project {
    let project = Project::empty();
    let stack = stack_image();
    let run = "EXPOSE 8000\nCMD [\"python3\", \"-m\", \"http.server\", \"8000\"]\n";
    project.write("Dockerfile", format!("FROM {stack}\nWORKDIR /srv\nCOPY page .\n{run}"));
    project.write("page", "built once");
    project.write("paas.yml", "processes: {web: {stop_timeout: 1s}}\n");
    project.commit("first");
    project
}

#[test]
fn a_push_to_prod_takes_what_was_built_in_dev_for_who_may_read_both_and_is_built_anew_for_others() {
    let platform = TestPlatform::start_with(&[("PAAS_BUILD_IMAGE", stack_image())]);
    let alice = Laptop::of("alice", platform.key_of("alice"), &platform);
    let bob = Laptop::of("bob", platform.key_of("bob"), &platform);
    for tenant in ["dev", "prod"] {
        let _ = alice.paas(["tenant", "create", tenant]).ok();
    }
    let _ = alice.paas(["tenant", "members", "add", "--tenant", "prod", "bob"]).ok();

    let project = project();
    let first = project.push(&alice.ssh(), &[&platform.remote("dev", "shop"), "HEAD:main"]);
    assert_eq!(get(address_of(&first.live_at()), "/page", None).unwrap().body, "built once");
    assert!(first.output.contains("Building from Dockerfile"), "{}", first.output);

    let strange = project.push(&bob.ssh(), &[&platform.remote("prod", "shop"), "HEAD:main"]);
    let _ = strange.live_at();
    assert!(strange.output.contains("Building from Dockerfile"), "{}", strange.output);
    assert!(!strange.output.contains("in dev"), "{}", strange.output);

    let promoted = project.push(&alice.ssh(), &[&platform.remote("prod", "store"), "HEAD:main"]);
    assert_eq!(get(address_of(&promoted.live_at()), "/page", None).unwrap().body, "built once");
    // The tenant's own comes first, and bob's push has made one.
    assert!(promoted.output.contains("from build 1 of shop: same tree again"), "{}", promoted.output);

    project.write("page", "changed");
    project.commit("second");
    let _ = project.push(&alice.ssh(), &[&platform.remote("dev", "shop"), "HEAD:main"]).live_at();
    let promoted = project.push(&alice.ssh(), &[&platform.remote("prod", "store"), "HEAD:main"]);
    assert_eq!(get(address_of(&promoted.live_at()), "/page", None).unwrap().body, "changed");
    assert!(promoted.output.contains("from build 2 of shop in dev: same tree again"), "{}", promoted.output);
    assert!(!promoted.output.contains("Building"), "{}", promoted.output);
}
