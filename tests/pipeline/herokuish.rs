//! A builder image of herokuish's kind: root builds, for a user that the image runs as.

use super::*;

/// An app in an image of herokuish's kind, and what was said when it was pushed.
async fn pushed(buildpacks: &str) -> (Lab, Outcome) {
    let builder = TestBuilder::like_herokuish();
    let lab = Lab::serving(|platform| builder.name().clone_into(&mut platform.builder.image));
    let app = Project::built_by("id -un > made; ls -ld /tmp/app || echo no second source");
    app.write("paas.yml", format!("build: {{buildpacks: {buildpacks}, env: {{SPEED: setting-that-stays-out}}}}\n"));
    app.commit("with settings");
    let outcome = lab.push(&app).await;
    (lab, outcome)
}

#[tokio::test]
async fn an_image_that_runs_as_a_user_is_built_by_root_and_keeps_its_user() {
    let (lab, outcome) = pushed("['https://example.org/one.git#v1']").await;
    let address = live_at(&outcome);
    assert_eq!(get(address, "/made", None).unwrap().body, "herokuishuser\n");
    outcome.says("herokuish builds as root for herokuishuser");
    outcome.says("one buildpack: https://example.org/one.git#v1");
    outcome.says("setting: setting-that-stays-out");
    outcome.says("no second source");
    let slug = &lab.images()[0];
    assert_eq!(docker(&["inspect", "--format", "{{.Config.User}}", slug]), "herokuishuser");
    assert_eq!(docker(&["run", "--rm", slug, "stat", "-c", "%U", "/app/made"]), "herokuishuser");
    let find = "find /tmp /etc /dev/shm -type f | xargs grep -l setting-that-stays-out 2>/dev/null || echo clean";
    assert_eq!(docker(&["run", "--rm", slug, "/bin/sh", "-c", find]), "clean");
    let config = docker(&["inspect", "--format", "{{json .Config}}", slug]);
    assert!(!config.contains("BUILDPACK_URL") && !config.contains("ENV_PATH"), "{config}");
}

#[tokio::test]
async fn several_buildpacks_are_given_as_herokuish_takes_them() {
    let (_lab, outcome) = pushed("['https://example.org/one.git', 'https://example.org/two.git#v2']").await;
    let _ = live_at(&outcome);
    outcome.says("several: https://example.org/one.git https://example.org/two.git#v2");
    assert!(!outcome.text().contains("one buildpack:"), "{}", outcome.text());
}
