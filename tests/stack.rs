//! The builder image: what it makes of apps, by the buildstep contract, and how it is made itself.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::stack::{App, Ran, docker, paas_stack_build, stack_image};

#[test]
fn a_python_app_gets_its_requirements_and_answers() {
    let app = App::from_fixture("python");
    app.build().is_successful().said("-----> Python app detected").said("       bottle 0.13.4");
    let web = app.start("web");
    assert_eq!(web.get("/").body, "python app, version one\n");
    assert!(web.get("/signed").body.starts_with("one."));
}

#[test]
fn a_second_build_uses_what_the_first_installed() {
    let app = App::from_fixture("python");
    let first = app.build();
    first.is_successful().said("with pip");
    let app = app.with_file("note", "something else changed").without_network();
    let second = app.build();
    second.is_successful().said("using what is installed").did_not_say("with pip");
    assert!(second.took < first.took, "{:?}, then {:?}", first.took, second.took);
    assert_eq!(app.start("web").get("/").status, 200);
}

#[test]
fn a_python_project_is_installed_with_its_programs() {
    let project = "[project]\nname = \"greeter\"\nversion = \"1.0\"\n[project.scripts]\ngreet = \"greeter:main\"\n\
                   [build-system]\nrequires = [\"setuptools\"]\nbuild-backend = \"setuptools.build_meta\"\n";
    let app = App::empty()
        .with_file("pyproject.toml", project)
        .with_file("greeter.py", "def main():\n    print('greetings')\n")
        .with_file("Procfile", "job: greet\n");
    app.build().is_successful().said("Installing the project with pip");
    app.exec(&["greet"]).is_successful().said("greetings");
}

#[test]
fn a_node_app_without_dependencies_needs_no_network() {
    let app = App::from_fixture("node").without_network();
    app.build().is_successful().said("-----> Node.js app detected").said("No dependencies");
    assert_eq!(app.start("web").get("/").body, "node app, version one\n");
}

#[test]
fn a_node_app_gets_its_dependencies() {
    let app = App::empty()
        .with_file("package.json", "{\"name\": \"a\", \"version\": \"1.0.0\", \"dependencies\": {\"ms\": \"2.1.3\"}}")
        .with_file("Procfile", "job: node -p 'require(\"ms\")(\"2 days\")'\n");
    app.build().is_successful().said("with npm");
    app.exec(&["node", "-p", "require('ms')('2 days')"]).is_successful().said("172800000");
}

#[test]
fn a_static_site_shows_what_is_for_the_public_alone() {
    let app = App::from_fixture("static").with_file(".env", "SECRET=1\n").with_file("about/index.html", "about us");
    app.build().is_successful().said("-----> Static app detected");
    let web = app.start("web");
    assert!(web.get("/").body.contains("static site, version one"));
    assert_eq!(web.get("/about").status, 301);
    assert_eq!(web.get("/about/?x=1").body, "about us");
    for path in ["/nothing", "/.env", "/.release", "/about/../.env", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd"] {
        let answer = web.get(path);
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.body.contains("static site: not here"), "{path}");
    }
    assert_eq!(web.stop().0, 0);
}

#[test]
fn a_static_site_may_say_where_it_lies() {
    let site = App::empty()
        .with_file("static.json", "{\"root\": \"site\", \"clean_urls\": true}")
        .with_file("site/index.html", "home")
        .with_file("site/terms.html", "terms");
    site.build().is_successful();
    let web = site.start("web");
    assert_eq!((web.get("/").body.as_str(), web.get("/terms").body.as_str()), ("home", "terms"));
    let outside = App::empty().with_file("static.json", "{\"root\": \"../etc\"}").build();
    outside.failed_with(" !     static.json: root: '../etc' is no directory of the app");
}

#[test]
fn a_procfile_app_runs_each_of_its_process_types() {
    let app = App::from_fixture("procfile").without_network();
    app.build().is_successful().said("-----> Process types: web, worker");
    assert_eq!(app.start("web").get("/").body, "procfile app, version one\n");
    let worker = app.start("worker");
    worker.wait_for_line("worker works");
    let (status, wrote) = worker.stop();
    assert_eq!(status, 0);
    wrote.said("worker stops");
    docker(&["run", "--rm", app.image(), "/start", "clock"])
        .failed_with("no process type `clock`; it has: web, worker");
}

#[test]
fn a_program_that_never_thought_of_sigterm_ends_all_the_same() {
    let app = App::from_fixture("never-listens").without_network();
    app.build().is_successful();
    let web = app.start("web");
    web.wait_for_line("never listens");
    assert_eq!(web.stop().0, 128 + 15);
}

#[test]
fn neither_builds_nor_apps_run_as_root() {
    let buildpack = "#!/bin/sh\nid -un; grep -E 'Cap(Eff|Prm|Inh)' /proc/self/status; touch /etc/x || echo refused\n";
    let app = vendored_buildpack(buildpack).without_network();
    let built = app.build();
    built.is_successful().said("       app\n").said("CapPrm:\t0000000000000000").said("refused");
    let said = app.exec(&["sh", "-c", "id -un; grep -E 'CapEff|NoNewPrivs' /proc/self/status; touch /build/x"]);
    said.failed_with("Permission denied").said("app\n").said("CapEff:\t0000000000000000").said("NoNewPrivs:\t1");
}

#[test]
fn an_app_that_nothing_recognises_is_told_what_was_looked_for() {
    App::from_fixture("unknown").build().failed_with(
        " !     no buildpack recognised this app: looked for package.json, requirements.txt, pyproject.toml, setup.py, \
         static.json, index.html, public/index.html, Procfile\n",
    );
}

#[test]
fn a_build_that_fails_ends_with_its_reason() {
    let failed = App::from_fixture("failing-build").without_network().build();
    failed.failed_with("       this build is made to fail");
    assert!(failed.stdout.ends_with(" !     the script `build` of package.json failed\n"), "{}", failed.stdout);
    let failed = App::empty().with_file("requirements.txt", "no-such-requirement==0.0.0.1\n").without_network().build();
    assert!(failed.stdout.ends_with(" !     pip could not install requirements.txt\n"), "{}", failed.stdout);
    App::empty().with_file("package.json", "{").without_network().build().failed_with("package.json cannot be read");
}

#[test]
fn an_app_that_does_not_say_how_it_is_started_is_told_so() {
    let app = App::empty().with_file("package.json", "{\"name\": \"a\"}").without_network();
    app.build().failed_with("add a Procfile with a line such as `web: node server.js`");
    let app = app.with_file("paas.yml", "processes:\n  web: {command: node index.js}\n");
    app.build().is_successful();
}

/// A tiny buildpack as a git repository, vendored in the app.
fn vendored_buildpack(compile: &str) -> App {
    let release = "#!/bin/sh\nprintf -- '---\\ndefault_process_types:\\n  web: \"sh -c '\"'\"'echo it'\"'\"'\"\\n'\n";
    let app = App::empty()
        .with_program("pack/bin/detect", "#!/bin/sh\necho Tiny\n")
        .with_program("pack/bin/compile", compile)
        .with_program("pack/bin/release", release)
        .with_file(".buildpacks", "# ours\nfile:///app/pack.git#main\n\n");
    let bare = app.path().join("pack.git");
    let git = |at: &Path, arguments: &[&str]| {
        let mut command = Command::new("git");
        command.arg("-C").arg(at).args(["-c", "user.name=Alice", "-c", "user.email=alice@example.org"]);
        Ran::of(command.args(arguments).env_remove("GIT_DIR").env("GIT_CONFIG_GLOBAL", "/dev/null")).is_successful();
    };
    git(&app.path().join("pack"), &["init", "--quiet", "--initial-branch=main"]);
    git(&app.path().join("pack"), &["add", "--all"]);
    git(&app.path().join("pack"), &["commit", "--quiet", "-m", "Tiny"]);
    git(app.path(), &["clone", "--quiet", "--bare", "pack", &bare.to_string_lossy()]);
    std::fs::remove_dir_all(app.path().join("pack")).unwrap();
    app
}

#[test]
fn a_buildpack_by_url_gets_the_three_directories_and_the_settings() {
    let compile = "#!/bin/sh\necho \"in $1 and $2: $(cat \"$3/SPEED\") $SPEED $FROM_ENV ${CANARY:-no canary}\"\n";
    let app = vendored_buildpack(compile)
        .with_file(".env", "export FROM_ENV='from .env'\nSPEED=lost\n")
        .with_setting("SPEED", "setting-that-stays-out");
    let built = app.build();
    built.is_successful().said("-----> Fetching buildpack file:///app/pack.git#main").said("-----> Tiny app detected");
    built.said("       in /app and /tmp/cache: setting-that-stays-out setting-that-stays-out from .env no canary\n");
    app.start("web").wait_for_line("it");
    // What a build was lent is in no layer and no configuration of what it made.
    assert!(!app.history().contains("setting-that-stays-out"));
    app.exec(&["sh", "-c", "grep -r setting-that-stays /app /tmp /dev/shm /run 2>/dev/null || echo clean"])
        .said("clean");
}

#[test]
fn buildpacks_run_in_the_order_of_their_list() {
    let app = vendored_buildpack("#!/bin/sh\nls -d \"$1\"/.profile.d/nodejs.sh\n")
        .with_file("package.json", "{\"name\": \"a\"}")
        .with_file(".buildpacks", "nodejs\nfile:///app/pack.git\n")
        .without_network();
    let built = app.build();
    built.is_successful().said("       /app/.profile.d/nodejs.sh");
    let place = |text: &str| built.stdout.find(text).expect(text);
    assert!(place("Node.js app detected") < place("Tiny app detected"));
}

#[test]
fn several_buildpack_urls_run_in_order_and_each_finds_what_the_one_before_exported() {
    let second = vendored_buildpack("#!/bin/sh\necho \"second, after $BEFORE\"\n");
    let export = "#!/bin/sh\necho first\nhere=$(cd \"$(dirname \"$0\")/..\" && pwd)\necho 'export BEFORE=first' >\"$here/export\"\n";
    let app = vendored_buildpack(export).without_network();
    std::fs::rename(second.path().join("pack.git"), app.path().join("second.git")).unwrap();
    std::fs::remove_file(app.path().join(".buildpacks")).unwrap();
    // As the pipeline writes it.
    let app = app.with_setting("BUILDPACK_URL", "file:///app/pack.git\nfile:///app/second.git#main");
    let built = app.build();
    built.is_successful().said("       first\n").said("       second, after first\n");
    let place = |text: &str| built.stdout.find(text).expect(text);
    assert!(place("       first\n") < place("       second, after first\n"));
}

#[test]
fn a_buildpack_url_with_a_password_is_refused_and_not_repeated() {
    let app = App::empty().with_setting("BUILDPACK_URL", "https://alice:canary-7@example.org/pack.git");
    app.build().failed_with("has a user name or password in it").did_not_say("canary-7");
    for url in ["ext::sh -c id", "--upload-pack=x", "ssh://example.org/x", "../pack"] {
        App::empty().with_setting("BUILDPACK_URL", url).without_network().build().failed_with("is no buildpack");
    }
}

#[test]
fn profile_scripts_and_env_defaults_are_there_at_run_time() {
    let app = App::empty()
        .with_file("Procfile", "web: echo \"$GREETING, $COLOUR, $PORT\"; exec sleep infinity\n")
        .with_file(".env", "GREETING=hello\nCOLOUR=red\nPORT=1\n")
        .with_file(".profile.d/colour.sh", "export COLOUR=\"${COLOUR}ish\"\n")
        .without_network();
    app.build().is_successful();
    app.start("web").wait_for_line("hello, redish, 7000");
    app.start_with("web", &["GREETING=good morning"]).wait_for_line("good morning, redish, 7000");
}

#[test]
fn an_image_of_the_same_recipe_is_not_made_twice() {
    let image = docker(&["image", "inspect", "--format", "{{.Id}}", stack_image()]).stdout;
    let again = paas_stack_build(&["--tag", stack_image()]);
    again.is_successful().said("is of this recipe already");
    assert_eq!(again.stdout, image);
}

/// An image name that is removed with this.
struct Named(String);

impl Named {
    fn new() -> Self {
        Self(format!("paas-test/{}", uuid::Uuid::new_v4()))
    }
}
impl Drop for Named {
    fn drop(&mut self) {
        let _ = docker(&["image", "rm", "--force", &self.0]);
    }
}

#[test]
fn the_stack_goes_on_top_of_another_image() {
    let name = Named::new();
    let made = paas_stack_build(&["--from", stack_image(), "--tag", &name.0]);
    made.is_successful().said("Adding the builder and its buildpacks");
    docker(&["run", "--rm", "--network", "none", &name.0, "/build/builder"]).failed_with("no buildpack recognised");
}

#[test]
fn an_image_that_is_nowhere_or_cannot_carry_the_stack_is_refused() {
    let name = Named::new();
    let nowhere = paas_stack_build(&["--from", "paas-test.invalid/nothing:1", "--tag", &name.0]);
    assert_eq!(nowhere.status, Some(3), "{}", nowhere.stderr);
    nowhere.said("Docker has no image `paas-test.invalid/nothing:1`");
    let base = Named::new();
    bare_image(&base.0);
    let refused = paas_stack_build(&["--from", &base.0, "--tag", &name.0]);
    refused.failed_with("has no apt-get");
    assert_eq!(refused.status, Some(1));
    assert_ne!(docker(&["image", "inspect", &name.0]).status, Some(0));
}

/// An image with a shell and nothing else.
fn bare_image(name: &str) {
    let root = tempfile::tempdir().unwrap();
    let bin = root.path().join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists()).unwrap();
    std::fs::copy(busybox, bin.join("busybox")).unwrap();
    for program in ["sh", "dirname", "mktemp", "tr", "true"] {
        std::os::unix::fs::symlink("busybox", bin.join(program)).unwrap();
    }
    let tar = root.path().join("root.tar");
    let mut pack = Command::new("tar");
    pack.arg("--create").arg("--file").arg(&tar).arg("--directory").arg(root.path()).arg("bin");
    Ran::of(&mut pack).is_successful();
    docker(&["import", &tar.to_string_lossy(), name]).is_successful();
}

#[test]
fn the_scripts_are_clean() {
    if Command::new("shellcheck").arg("--version").output().is_err() {
        println!("shellcheck is not installed: not checked");
        return;
    }
    let stack = Path::new(env!("CARGO_MANIFEST_DIR")).join("stack");
    let mut scripts = Vec::new();
    shell_scripts(&stack, &mut scripts);
    assert!(scripts.len() > 15, "{scripts:?}");
    for script in scripts {
        let dialect = if script.starts_with(stack.join("provision")) { "sh" } else { "bash" };
        let mut check = Command::new("shellcheck");
        Ran::of(check.current_dir(&stack).args(["--shell", dialect]).arg(script)).is_successful();
    }
}

/// Files that a shell runs, or that say that a shell reads them.
fn shell_scripts(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            shell_scripts(&entry, found);
        } else if let Ok(text) = std::fs::read_to_string(&entry) {
            let first = text.lines().next().unwrap_or_default();
            let library = entry.extension().is_some_and(|kind| kind == "sh");
            if library || first == "#!/bin/bash" || first == "#!/bin/sh" {
                found.push(entry);
            }
        }
    }
}
