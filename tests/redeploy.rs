//! `paas apps redeploy`: the same commit again.

use crate::support::builder::TestBuilder;
use crate::support::laptop::Laptop;
use crate::support::platform::{Said, TestPlatform};
use crate::support::project::{Project, SERVES_ITS_FILES};

fn redeploy(laptop: &Laptop<'_>, more: &[&str]) -> Said {
    let mut command = laptop.command();
    command.args(["apps", "redeploy", "--tenant", "dev", "--app", "shop"]).args(more).output().unwrap().into()
}

fn app() -> Project {
    let project = Project::empty();
    project.write("Procfile", SERVES_ITS_FILES);
    project.write("build", "echo built anew\n");
    project.commit("first");
    project
}

#[test]
fn what_was_deployed_is_deployed_again_from_a_laptop_and_on_the_host() {
    let builder = TestBuilder::make();
    let platform = TestPlatform::start_with(&[("PAAS_BUILD_IMAGE", builder.name())]);
    let [alice, bob] = ["alice", "bob"].map(|name| Laptop::of(name, platform.key_of(name), &platform));
    let _ = alice.paas(["tenant", "create", "dev"]).ok();
    let _ = alice.paas(["tenant", "members", "add", "--tenant", "dev", "bob"]).ok();
    let remote = platform.remote("dev", "shop");
    let project = app();
    project.push(&alice.ssh(), &[&remote, "HEAD:main"]).live_at();
    assert!(project.push(&alice.ssh(), &[&remote, "HEAD:main"]).porcelain.contains("[up to date]"));

    let again = redeploy(&bob, &[]).ok();
    assert_eq!(again.out, "v2\n");
    for said in ["-----> Source ", "from build 1 of shop: same tree again", "=====> shop v2 is live: http://"] {
        assert!(again.err.contains(said), "no {said:?} in\n{}", again.err);
    }
    assert!(!again.err.contains("built anew"), "{}", again.err);
    let anew = redeploy(&bob, &["--no-cache", "--json"]).ok();
    assert!(anew.err.contains("built anew"), "{}", anew.err);
    let commit = project.git(["rev-parse", "HEAD"]).trim().to_owned();
    assert_eq!((&anew.json()["release"], &anew.json()["commit"]), (&3.into(), &commit.into()));
    let on_the_host = platform.paas(["apps", "redeploy", "--tenant", "dev", "--app", "shop", "--force"]).ok();
    assert_eq!(on_the_host.out, "v4\n");
    assert!(on_the_host.err.contains("shop v4 is live"), "{}", on_the_host.err);

    let audit = alice.paas(["audit", "--tenant", "dev", "--json"]).ok().json();
    let events = audit.as_array().unwrap().iter().filter(|event| event["what"] == "apps redeploy");
    let told: Vec<_> =
        events.map(|event| (event["user"].as_str().unwrap(), event["object"].as_str().unwrap())).collect();
    assert_eq!(told.iter().filter(|event| **event == ("bob", "shop")).count(), 2, "{told:?}");
    assert_eq!(told.iter().filter(|event| **event == ("(host)", "shop")).count(), 1, "{told:?}");
    // What root did is the platform's all the same.
    project.write("more", "x");
    project.commit("second");
    project.push(&alice.ssh(), &[&remote, "HEAD:main"]).live_at();
}

#[test]
fn what_cannot_be_deployed_again_is_refused_or_fails_with_its_reason() {
    let builder = TestBuilder::make();
    let platform = TestPlatform::start_with(&[("PAAS_BUILD_IMAGE", builder.name())]);
    let [alice, carol] = ["alice", "carol"].map(|name| Laptop::of(name, platform.key_of(name), &platform));
    let _ = alice.paas(["tenant", "create", "dev"]).ok();
    let _ = alice.paas(["tenant", "members", "add", "--tenant", "dev", "carol", "--role", "viewer"]).ok();
    let _ = redeploy(&alice, &[]).fails(3, &["nothing was deployed of `shop` in tenant `dev` yet"]);
    let project = app();
    project.write("Procfile", "web: sh ./serve\n");
    project.write("serve", "test \"$PAAS_RELEASE\" = v1 || exit 1\nexec httpd -f -p $PORT -h /app\n");
    project.commit("it serves once");
    let remote = platform.remote("dev", "shop");
    assert!(project.push(&alice.ssh(), &[&remote, "HEAD:topic"]).accepted);
    let _ = redeploy(&alice, &[]).fails(3, &["nothing was deployed of `shop`"]);
    project.push(&alice.ssh(), &[&remote, "HEAD:main"]).live_at();
    let _ = redeploy(&carol, &[]).fails(3, &["needs to be a developer of tenant `dev`"]);

    let reasons = ["`shop` was not deployed again", "web exited with status 1", "v1 is still serving"];
    let failed = redeploy(&alice, &[]).fails(1, &reasons);
    assert_eq!(failed.out, "");
    let audit = alice.paas(["audit", "--tenant", "dev", "--json"]).ok().json();
    let events: Vec<_> =
        audit.as_array().unwrap().iter().filter(|event| event["what"] == "apps redeploy").cloned().collect();
    assert!(
        events.iter().any(|event| event["user"] == "alice" && event.to_string().contains("was not deployed again"))
    );
    assert!(events.iter().any(|event| event["user"] == "carol" && event["outcome"] == "refused"), "{events:?}");
}
