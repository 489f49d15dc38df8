//! What a build may write to its container.

use super::*;

fn limited(platform: &mut Platform) {
    platform.builder.disk = ByteSize::mib(16);
}

/// With a figure of what writes 24 MiB, and may be seen while it does.
#[track_caller]
fn was_ended_over_16_mib(reason: &str) {
    let (_, told) = reason.split_once(" wrote more than 16 MiB (build.disk): ").unwrap_or_default();
    let figure = told.split(" MiB when it was ended").next().and_then(|figure| figure.parse::<u64>().ok());
    assert!(figure.is_some_and(|figure| (16..=24).contains(&figure)), "{reason}");
}

#[tokio::test]
async fn a_build_that_writes_too_much_is_ended_with_the_limit_and_the_figure() {
    let lab = Lab::building(limited);
    let app = Project::built_by("head -c 24m /dev/zero > large; sleep 600");
    was_ended_over_16_mib(&lab.push(&app).await.reason());
    assert_eq!((lab.containers(), lab.images()), (String::new(), Vec::new()));

    app.write("build", "head -c 24m /dev/zero > large");
    app.commit("that is over before anybody looks, most of the time");
    was_ended_over_16_mib(&lab.push(&app).await.reason());
    assert_eq!((lab.containers(), lab.images()), (String::new(), Vec::new()));

    app.write("build", "head -c 24m /dev/zero > /tmp/cache/large; head -c 8m /dev/zero > small; sleep 3; echo kept");
    app.commit("into its cache");
    lab.push(&app).await.says("kept");
    assert_eq!(lab.images().len(), 1);
}

#[tokio::test]
async fn a_step_that_writes_too_much_is_ended_with_the_limit_and_the_figure() {
    let lab = Lab::building(limited);
    let project = Project::empty();
    let step = "RUN head -c 24m /dev/zero > /large; sleep 600";
    project.write("Dockerfile", format!("FROM {}\n{step}\n", lab.builder.name()));
    project.commit("first");
    was_ended_over_16_mib(&lab.push(&project).await.reason());
    assert_eq!((lab.containers(), lab.images()), (String::new(), Vec::new()));
}

#[tokio::test]
async fn a_release_command_that_writes_too_much_is_ended_with_the_limit_and_the_figure() {
    let lab = Lab::building(limited);
    let project = Project::built_by("true");
    project.write("paas.yml", "release: head -c 24m /dev/zero > /tmp/large; sleep 600\n");
    project.commit("with paas.yml");
    let reason = lab.push(&project).await.reason();
    assert!(reason.starts_with("the release command failed: it wrote more than "), "{reason}");
    was_ended_over_16_mib(&reason);
    assert_eq!(lab.containers(), "");
}
