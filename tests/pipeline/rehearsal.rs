//! A dry run says what a push would do, and does nothing.

use paas::pipeline::rehearse;

use super::*;

async fn rehearsed(lab: &Lab, project: &Project) -> (Result<(), String>, String) {
    let said = Mutex::new(Vec::new());
    let push = Lab::push_of(project, PushOptions { dry_run: true, ..PushOptions::default() });
    let result = rehearse(&push, &lab.platform, &|progress| said.lock().unwrap().push(progress)).await;
    let outcome = Outcome { result: Err(PushError::NotAllowed), said: said.into_inner().unwrap() };
    (result.map_err(|error| error.reason()), outcome.text())
}

#[tokio::test]
async fn a_dry_run_tells_of_build_release_and_definitions_and_changes_nothing() {
    let lab = Lab::serving(|_| {});
    let project = Project::built_by("true");
    let (result, first) = rehearsed(&lab, &project).await;
    assert_eq!(result, Ok(()));
    for part in ["Would build with paas-test/builder", "Would release v1: web=1", "/shop/web: new, instances 1"] {
        assert!(first.contains(part), "no {part:?} in\n{first}");
    }
    assert_eq!((lab.containers(), lab.images()), (String::new(), Vec::new()));
    assert_eq!(lab.platform.store.get(&Lab::app_path()).await.unwrap(), None);

    let _ = live_at(&lab.push(&project).await);
    let instances = lab.containers();
    let (_, same) = rehearsed(&lab, &project).await;
    assert!(same.contains("Would build nothing: the slug is there, from build 1 of shop"), "{same}");
    assert!(same.contains("change no definition besides"), "{same}");

    project.write("Procfile", "web: httpd -f -p $PORT -h /app\nworker: sleep 99\n");
    project.write("paas.yml", "env: {TITLE: secret-of-shop}\nprocesses: {web: {instances: 3, mem: 300}, worker: {instances: 1}}\nrelease: ./migrate\n");
    project.commit("with more");
    let (_, more) = rehearsed(&lab, &project).await;
    for part in [
        "Would release v2: web=3 worker=1, after its release command",
        "/shop/web: instances 1 → 3",
        "/shop/web: mem 256 MiB → 300 MiB",
        "/shop/web: variables +TITLE",
        "/shop/worker: new, instances 1",
    ] {
        assert!(more.contains(part), "no {part:?} in\n{more}");
    }
    assert!(!more.contains("secret-of-shop"), "{more}");
    assert_eq!(lab.containers(), instances);
}

#[tokio::test]
async fn a_dry_run_is_refused_for_what_the_push_would_be() {
    let lab = Lab::serving(|platform| platform.tenancy.quota.apps = Some(0));
    let (result, _) = rehearsed(&lab, &Project::built_by("true")).await;
    let reason = result.unwrap_err();
    assert!(reason.contains("quota"), "{reason}");
    let empty = Project::empty();
    empty.write("readme", "");
    empty.write("Procfile", "web\n");
    empty.commit("with half a Procfile");
    assert!(rehearsed(&lab, &empty).await.0.unwrap_err().contains("Procfile line 1"));
}
