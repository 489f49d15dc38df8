//! The release command: once, before any new instance, and its failure leaves what serves.

use super::*;

/// An app with this in its `paas.yml`.
fn with_manifest(manifest: &str) -> Project {
    let project = Project::built_by("true");
    project.write("paas.yml", manifest);
    project.commit("with paas.yml");
    project
}

#[tokio::test]
async fn the_release_command_runs_once_with_the_runtime_config_before_any_new_instance() {
    let lab = Lab::serving(|_| {});
    let project = with_manifest(
        "env: {GREETING: hello}\nprocesses: {web: {instances: 2}}\nrelease: echo \"$GREETING from $PAAS_RELEASE\"; test ! -e fail\n",
    );
    let first = lab.push(&project).await;
    let address = live_at(&first);
    let text = first.text();
    assert_eq!(text.matches("hello from v1").count(), 1, "{text}");
    let place = |part: &str| text.find(part).unwrap_or_else(|| panic!("no {part:?} in\n{text}"));
    assert!(place("Release v1") < place("hello from v1") && place("hello from v1") < place("(deploying v1)"));

    project.write("fail", "");
    project.commit("whose migration fails");
    let second = lab.push(&project).await;
    assert_eq!(second.reason(), "the release command failed: it exited with status 1");
    assert!(!second.text().contains("(deploying"), "{}", second.text());
    assert_eq!(get(address, "/Procfile", None).unwrap().status, 200, "the first one serves");
    assert!(matches!(lab.release(2).await.state, ReleaseState::Failed { .. }));
    let filter = format!("{}.{}", "label=paas", "push");
    let left = docker(&["ps", "--all", "--quiet", "--filter", &lab.filter(), "--filter", &filter]);
    let instances = docker(&["ps", "--quiet", "--filter", &lab.filter(), "--filter", "label=MESOS_TASK_ID"]);
    assert_eq!((left.lines().count(), instances.lines().count()), (2, 2), "two instances, and no other container");
}

#[tokio::test]
async fn a_procfile_names_it_too_and_it_is_no_process() {
    let lab = Lab::serving(|_| {});
    let project = Project::built_by("true");
    project.write("Procfile", "web: httpd -f -p $PORT -h /app\nrelease: echo migrated in $PAAS_PROCESS\n");
    project.commit("with a release command");
    let pushed = lab.push(&project).await;
    let _ = live_at(&pushed);
    pushed.says("migrated in release");
    pushed.says("Release v1: web=1");
}

#[tokio::test]
async fn a_release_command_that_takes_too_long_is_ended() {
    let lab = Lab::serving(|platform| platform.builder.timeout = Duration::from_secs(2));
    let pushed = lab.push(&with_manifest("release: exec sleep 60\n")).await;
    assert_eq!(pushed.reason(), "the release command failed: it was ended because it took longer than 2s");
    assert_eq!(lab.containers(), "");
}
