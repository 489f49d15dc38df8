//! A source with a Dockerfile: built by Docker itself, reached and checked where its image says.

use super::*;

/// A source whose Dockerfile builds on the lab's builder image, which has busybox in it.
fn with_dockerfile(lab: &Lab, text: &str) -> Project {
    let project = Project::empty();
    project.write("Dockerfile", text.replace("BASE", lab.builder.name()));
    project.commit("first");
    project
}

/// What serves `/site` on a port of its own.
const SITE: &str =
    "FROM BASE\nCOPY . /site\nEXPOSE 8080\nCMD [\"httpd\", \"-f\", \"-p\", \"8080\", \"-h\", \"/site\"]\n";

/// What the steps of the app's builds leave has this label.
const STEP: &str = "label=paas.step=dev/shop";

#[track_caller]
fn status(address: std::net::SocketAddr, path: &str) -> u16 {
    get(address, path, None).unwrap().status
}

#[tokio::test]
async fn an_image_is_reached_at_the_port_that_it_exposes_and_checked_as_it_says() {
    let lab = Lab::serving(|_| {});
    let check = "HEALTHCHECK --interval=1s CMD wget -q -O /dev/null http://127.0.0.1:8080/page\n";
    let project = with_dockerfile(&lab, &format!("{SITE}{check}"));
    project.write("page", "hello");
    project.write("docs/secret.md", "not for the image");
    project.write("docs/kept.md", "for the image");
    project.write(".dockerignore", "docs\n!docs/kept.md\nDockerfile\n.dockerignore\n");
    project.commit("with pages");
    let outcome = lab.push(&project).await;
    let address = live_at(&outcome);
    assert_eq!(get(address, "/page", None).unwrap().body, "hello");
    for (path, expected) in [
        ("/docs/kept.md", 200),
        ("/docs/secret.md", 404),
        ("/Dockerfile", 404),
        ("/.dockerignore", 404),
        ("/.paas-dockerfile", 404),
    ] {
        assert_eq!(status(address, path), expected, "{path}");
    }
    outcome.says("-----> Building from Dockerfile\n");
    outcome.says(&format!("       Step 1/5 : FROM {}\n", lab.builder.name()));
    outcome.says("       Step 5/5 : HEALTHCHECK ");
    assert!(!outcome.text().contains("paas.home"), "{}", outcome.text());
    let definition = lab.platform.tenancy.marathon.app(&"/shop/web".parse().unwrap()).await.unwrap().unwrap().app;
    assert_eq!(definition.health_checks[0].protocol, HealthProtocol::Command);
    assert_eq!(serde_json::to_value(&definition.env["PORT"]).unwrap(), "8080");
    let left = docker(&["ps", "--all", "--quiet", "--filter", &lab.filter(), "--filter", STEP]);
    assert_eq!(left, "", "containers of steps");
}

#[tokio::test]
async fn a_stage_is_built_with_arguments_and_runs_as_paas_yml_says() {
    let lab = Lab::serving(|_| {});
    let project = with_dockerfile(
        &lab,
        "ARG BASIS=none\nFROM ${BASIS} AS build\nARG GREETING\nRUN echo \"$GREETING\" > /greeting\n\
         FROM build AS prod\nENTRYPOINT [\"false\"]\n\
         FROM prod\nRUN exit 1\n",
    );
    project.write("Procfile", "web: httpd -f -p $PORT -h /\nrelease: false\n");
    project.write(
        "paas.yml",
        format!(
            "build: {{target: prod, env: {{BASIS: '{}', GREETING: hello}}}}\nrelease: cat /greeting\n",
            lab.builder.name()
        ),
    );
    project.commit("with arguments");
    let outcome = lab.push(&project).await;
    let address = live_at(&outcome);
    assert_eq!(get(address, "/greeting", None).unwrap().body, "hello\n");
    let text = outcome.text();
    let place = |part: &str| text.find(part).unwrap_or_else(|| panic!("no {part:?} in\n{text}"));
    assert!(place("Running the release command of v1") < place("       hello\n"), "{text}");
}

#[tokio::test]
async fn a_step_that_fails_is_told_in_dockers_words_and_nothing_is_left_but_the_log() {
    let lab = Lab::new();
    let token = format!("paas_dt_{}", "aB3".repeat(12));
    let project = with_dockerfile(
        &lab,
        "FROM BASE AS a\nRUN echo made > /made\nFROM a\nCOPY . /x\nRUN cat /x/paas.yml; exit 3\n",
    );
    project.write("paas.yml", format!("token: {token}\n"));
    project.commit("with a token");
    let outcome = lab.push(&project).await;
    let reason =
        "build failed: The command '/bin/sh -c cat /x/paas.yml; exit 3' returned a non-zero code: 3; paas builds log 1";
    assert_eq!(outcome.reason(), reason);
    outcome.says("token: paas_dt_xxx");
    assert_eq!(lab.containers(), "");
    assert_eq!(lab.images(), Vec::<String>::new());
    let log = lab.build_log(1);
    assert!(log.contains("Step 5/5 : RUN cat") && log.contains("non-zero code: 3") && !log.contains(&token), "{log}");
}

#[tokio::test]
async fn a_dockerfile_that_takes_too_long_is_ended_and_nothing_is_left() {
    let lab = Lab::building(|platform| platform.builder.timeout = Duration::from_secs(8));
    let outcome = lab.push(&with_dockerfile(&lab, "FROM BASE\nRUN echo one\nRUN echo waiting; sleep 600\n")).await;
    assert_eq!(outcome.reason(), "build failed: the build was ended because it took longer than 8s; paas builds log 1");
    outcome.says("waiting");
    assert_eq!((lab.containers(), lab.images()), (String::new(), Vec::new()));
}

#[tokio::test]
async fn a_step_that_needs_too_much_memory_is_told_so() {
    let lab = Lab::building(|platform| platform.builder.memory = ByteSize::mib(16));
    let outcome =
        lab.push(&with_dockerfile(&lab, "FROM BASE\nRUN head -c 100m /dev/zero | tail | wc -c; exit 1\n")).await;
    let reason = outcome.reason();
    assert!(reason.contains("16 MiB of memory"), "{reason}\n{}", outcome.text());
    assert_eq!((lab.containers(), lab.images()), (String::new(), Vec::new()));
}

/// Awaits that nothing is left of a build that nobody waits for any more.
async fn nothing_is_left(lab: &Lab) {
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while !lab.containers().is_empty() || !lab.images().is_empty() {
        assert!(std::time::Instant::now() < deadline, "left: {:?} {:?}", lab.containers(), lab.images());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_dockerfiles_build_ends_with_its_client_and_when_it_is_cancelled() {
    let lab = Lab::new();
    let project = with_dockerfile(&lab, "FROM BASE\nRUN echo one\nRUN echo started; sleep 600\n");
    let say_to = |started: tokio::sync::mpsc::UnboundedSender<()>| {
        move |progress: Progress| {
            if progress == Progress::Output("started".to_owned()) {
                let _ = started.send(());
            }
        }
    };
    let (started, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let (push, say) = (Lab::push_of(&project, PushOptions::default()), say_to(started));
    tokio::select! {
        ended = run(push, &lab.platform, permission(&lab.platform), &say) => panic!("it ended: {:?}", ended.map_err(|error| error.reason())),
        _ = seen.recv() => {}
    }
    nothing_is_left(&lab).await;

    let (started, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let (push, say, platform) = (Lab::push_of(&project, PushOptions::default()), say_to(started), lab.platform.clone());
    let (tenant, app) = (push.tenant.clone(), push.app.clone());
    let building = tokio::spawn(async move {
        run(push, &platform, permission(&platform), &say).await.map(drop).map_err(|error| error.reason())
    });
    seen.recv().await.unwrap();
    let history = BuildHistory::of(&*lab.platform.store, &tenant, &app, lab.platform.build_logs.clone());
    history.cancel(2, "bob", Timestamp::now(), &lab.platform.docker).await.unwrap();
    assert_eq!(building.await.unwrap().unwrap_err(), "build cancelled by bob");
    assert_eq!((lab.containers(), lab.images()), (String::new(), Vec::new()));
}

/// Images of steps that no other is built on.
fn leaves(lab: &Lab) -> usize {
    docker(&["images", "--quiet", "--filter", &lab.filter(), "--filter", STEP]).lines().count()
}

#[tokio::test]
async fn steps_are_taken_from_the_build_before_and_those_that_no_build_takes_go() {
    let lab = Lab::new();
    let project = with_dockerfile(
        &lab,
        "FROM BASE AS a\nRUN echo first > /made\nFROM BASE\nCOPY --from=a /made /made\nCOPY page /page\nCMD [\"true\"]\n",
    );
    project.write("page", "1");
    project.commit("one");
    let _ = lab.push(&project).await;
    assert_eq!(leaves(&lab), 1, "the first stage");
    project.write("page", "2");
    project.commit("two");
    let second = lab.push(&project).await;
    second.says("Using cache");
    assert_eq!(leaves(&lab), 1);
    project.write("Dockerfile", format!("FROM {}\nRUN echo other > /made\nCMD [\"true\"]\n", lab.builder.name()));
    project.commit("three");
    let _ = lab.push(&project).await;
    assert_eq!(leaves(&lab), 0, "nothing is built on the first stage any more");
}

#[tokio::test]
async fn the_same_tree_on_the_same_images_builds_nothing_and_a_changed_image_builds_anew() {
    let lab = Lab::new();
    let base = format!("{}-base", lab.builder.name());
    docker(&["tag", lab.builder.name(), &base]);
    let project = with_dockerfile(&lab, &format!("FROM {base}\nCMD [\"true\"]\n"));
    lab.push(&project).await.says("Building from Dockerfile");
    project.commit("another commit, the same tree");
    lab.push(&project).await.says("from build 1 of shop: same tree again");
    let other = TestBuilder::make();
    docker(&["tag", other.name(), &base]);
    lab.push(&project).await.says("Building from Dockerfile");
    docker(&["rmi", &base]);
}

#[tokio::test]
async fn no_image_of_another_tenant_is_there_to_build_on_and_one_of_the_own_is() {
    let lab = Lab::new();
    let project = with_dockerfile(&lab, "FROM BASE\nRUN echo secret > /secret\nCMD [\"true\"]\n");
    let _ = lab.push(&project).await;
    let slugs = docker(&["images", "--quiet", "--no-trunc", "--filter", &lab.filter(), "--filter", "label=paas.step="]);
    let slug = slugs.lines().next().unwrap();
    for (text, tenant, refused) in [
        (format!("FROM {slug}\nRUN cat /secret\n"), "dev", false),
        (format!("FROM {slug}\nRUN cat /secret\n"), "test", true),
        (format!("FROM BASE\nCOPY --from={} /secret /secret\nRUN cat /secret\n", &slug[7..19]), "test", true),
    ] {
        let project = with_dockerfile(&lab, &text);
        let push = Push { tenant: tenant.parse().unwrap(), ..Lab::push_of(&project, PushOptions::default()) };
        let outcome = lab.run(push).await;
        assert_eq!(outcome.text().contains("secret\n       "), !refused, "{tenant}: {}", outcome.text());
        let reason = outcome.reason();
        assert_eq!(reason.contains("build failed: there is no image `"), refused, "{tenant}: {reason}");
    }
}
