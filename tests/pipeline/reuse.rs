//! A slug that one tenant built, for another: taken by who may read both, and by nobody else.

use paas::pipeline::rehearse;

use super::*;

/// The project's push to `store` in `prod`.
fn to_prod(project: &Project) -> Push {
    let push = Lab::push_of(project, PushOptions::default());
    Push { tenant: "prod".parse().unwrap(), app: "store".parse().unwrap(), ..push }
}

fn may_read(tenant: &'static str) -> Readable {
    Readable::by(move |asked| ready(asked.as_str() == tenant))
}

async fn prod_release(lab: &Lab) -> Release {
    let path = StorePath::root().join("tenants").join("prod").join("apps").join("store");
    let path = path.join("releases").join("0000000001");
    serde_json::from_slice(&lab.platform.store.get(&path).await.unwrap().unwrap().value).unwrap()
}

#[tokio::test]
async fn who_may_read_the_other_tenant_takes_the_slug_that_was_built_there() {
    let lab = Lab::serving(|platform| platform.readable = may_read("dev"));
    let project = site("from dev");
    let _ = live_at(&lab.push(&project).await);
    let promoted = lab.run(to_prod(&project)).await;
    assert_eq!(get(live_at(&promoted), "/page", None).unwrap().body, "from dev");
    promoted.says("from build 1 of shop in dev: same tree again");
    assert!(!promoted.text().contains("Building"), "{}", promoted.text());
    let release = prod_release(&lab).await;
    assert_eq!(
        (release.build.tenant.as_ref().map(ToString::to_string).as_deref(), release.build.number),
        (Some("dev"), 1)
    );

    // It is the tenant's own from now on: of the same layers, and there when all of the other tenant's goes.
    let [first, second] = [lab.release(1).await.image, release.image].map(|image| image.to_string());
    let inspect = |image: &str, what: &str| docker(&["inspect", "--format", what, image]);
    assert_eq!(inspect(&first, "{{json .RootFS}}"), inspect(&second, "{{json .RootFS}}"));
    assert_eq!(inspect(&second, "{{index .Config.Labels \"paas.tenant\"}}"), "prod");
    assert_eq!(inspect(&second, "{{json .Config.Cmd}}"), inspect(&first, "{{json .Config.Cmd}}"));
    let said = Mutex::new(Vec::new());
    let say = |progress: Progress| said.lock().unwrap().push(format!("{progress:?}"));
    rehearse(&to_prod(&project), &lab.platform, &say).await.unwrap();
    let said = said.into_inner().unwrap().join("\n");
    assert!(said.contains("the slug is there, from build 1 of shop in dev"), "{said}");
}

#[tokio::test]
async fn who_may_not_read_the_other_tenant_builds_anew_and_hears_nothing_of_it() {
    let lab = Lab::serving(|platform| platform.readable = may_read("test"));
    let project = site("twice");
    let _ = live_at(&lab.push(&project).await);
    let built = lab.run(to_prod(&project)).await;
    let _ = live_at(&built);
    built.says("Building with");
    assert!(!built.text().contains("dev") && !built.text().contains("shop"), "{}", built.text());
    assert_eq!(prod_release(&lab).await.build.tenant, None);
}

#[tokio::test]
async fn a_slug_of_another_tenant_is_published_as_the_own_tenants() {
    let registry = TestRegistry::start();
    let lab = Lab::serving(|platform| {
        platform.readable = may_read("dev");
        platform.registry = Some(Registry { host: registry.host(), credentials: None, patience: Registry::PATIENCE });
    });
    let project = site("published");
    let _ = live_at(&lab.push(&project).await);
    let promoted = lab.run(to_prod(&project)).await;
    let _ = live_at(&promoted);
    promoted.says("from build 1 of shop in dev: same tree again");
    let image = prod_release(&lab).await.image.to_string();
    assert!(image.starts_with(&format!("{}/prod/store@sha256:", registry.host())), "{image}");
}
