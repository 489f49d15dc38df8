//! Submodules, which the build itself fetches, from allowed hosts alone.

use std::os::unix::fs::PermissionsExt as _;

use paas::model::HttpsHost;

use super::*;
use crate::support::git_server::GitServer;

/// A lab whose builder has git, and which may fetch from `hosts`.
struct Fetching {
    lab: Lab,
    _builder: TestBuilder,
}

impl Fetching {
    fn from(server: &GitServer) -> Self {
        let builder = TestBuilder::with_git();
        let lab = Lab::building(|platform| {
            builder.name().clone_into(&mut platform.builder.image);
            platform.builder.ca_bundle = Some(server.certificate());
            platform.builder.submodule_hosts = vec![server.host()];
        });
        Self { lab, _builder: builder }
    }
}

/// Commits a submodule there, as `git submodule add` does.
fn add(project: &Project, path: &str, url: &str, commit: &str) {
    let known = std::fs::read_to_string(project.path().join(".gitmodules")).unwrap_or_default();
    project.write(".gitmodules", format!("{known}[submodule \"{path}\"]\n\tpath = {path}\n\turl = {url}\n"));
    // As a work tree has it where it was not fetched.
    std::fs::create_dir_all(project.path().join(path)).unwrap();
    let _ = project.git(["update-index", "--add", "--cacheinfo", &format!("160000,{commit},{path}")]);
    project.commit("with a submodule");
}

#[tokio::test]
async fn submodules_are_fetched_in_the_build_at_their_commits_and_leave_no_git_behind() {
    let server = GitServer::start();
    let theme = Project::empty();
    theme.write("colours", "red\n");
    theme.write("bin/paint", "#!/bin/sh\n");
    std::fs::set_permissions(theme.path().join("bin/paint"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let red = theme.commit("red");
    theme.write("colours", "blue\n");
    let blue = theme.commit("blue");
    server.publish("theme.git", &theme);

    let Fetching { lab, _builder } = Fetching::from(&server);
    let app = Project::built_by(
        "cat 'vendor/the theme/colours' old/colours; ls -l old/bin; find / -xdev -name '*.git' -o -name 'paas-submod*[e]';
         ls left-out; env | grep -E 'GIT_(DIR|ALLOW|CONFIG)'; test ! -e old/.git && echo no repository",
    );
    add(&app, "vendor/the theme", &server.url("smart", "theme.git"), &blue);
    // No branch is at it any more, and a server of files gives no single commit.
    add(&app, "old", &server.url("dumb", "theme.git"), &red);
    add(&app, "left-out", "git@nowhere.example:theme.git", &red);
    app.write(".slugignore", "/left-out\n");
    app.commit("without one");
    let pushed = lab.push(&app).await;
    let short = |commit: &str| commit[..7].to_owned();
    pushed.says(&format!("-----> Fetching submodule old ({}) from {}", short(&red), server.url("dumb", "theme.git")));
    pushed.says(&format!("-----> Fetching submodule vendor/the theme ({}) from https://", short(&blue)));
    pushed.says("       blue\n       red\n");
    pushed.says("-rwxr-xr-x");
    pushed.says("ls: left-out: No such file or directory");
    pushed.says("no repository");
    for left in ["theme.git\n", "paas-submodule\n", "GIT_", "nowhere.example"] {
        let log = lab.build_log(1);
        let built = log.split("-----> Building").nth(1).unwrap();
        assert!(!built.contains(left), "{left} in {built}");
    }
    app.commit("the same tree");
    lab.push(&app).await.says("from build 1 of shop: same tree again");
}

#[tokio::test]
async fn a_submodule_that_is_not_there_fails_the_build_in_a_line_that_names_it() {
    let server = GitServer::start();
    let theme = Project::empty();
    theme.write("colours", "red\n");
    let red = theme.commit("red");
    server.publish("theme.git", &theme);
    add(&theme, "deeper", &server.url("smart", "theme.git"), &red);
    let nested = theme.git(["rev-parse", "HEAD"]).trim().to_owned();
    server.publish("nested.git", &theme);

    let Fetching { lab, _builder } = Fetching::from(&server);
    let none = "1".repeat(40);
    for (number, (way, name, commit, why)) in [
        ("moved", "theme.git", &red, "unable to access"),
        ("private", "theme.git", &red, "terminal prompts disabled"),
        ("smart", "nothing.git", &red, "not found"),
        ("smart", "theme.git", &none, "no branch and no tag there leads to 111"),
        ("dumb", "theme.git", &none, "no branch and no tag there leads to 111"),
        ("smart", "nested.git", &nested, "it has a submodule itself, deeper, and those of submodules are not fetched"),
    ]
    .into_iter()
    .enumerate()
    {
        let app = Project::built_by("echo built all the same");
        add(&app, "vendor/theme", &server.url(way, name), commit);
        let app = lab.run(Push { previous: None, branch: format!("refs/heads/{number}"), ..push_of(&app) }).await;
        let (reason, log) = (app.reason(), lab.build_log(u32::try_from(number).unwrap() + 1));
        assert!(reason.starts_with("build failed: submodule vendor/theme was not fetched: "), "{way} {name}: {reason}");
        assert!(reason.contains(why), "{way} {name}: {reason}\n{log}");
        assert!(!log.contains("built all the same"), "{log}");
    }
    assert_eq!(lab.containers(), "");
}

fn push_of(project: &Project) -> Push {
    Lab::push_of(project, PushOptions::default())
}

#[tokio::test]
async fn a_submodule_from_elsewhere_is_refused_before_the_build() {
    let (git, other): (HttpsHost, HttpsHost) = ("git.example.org".parse().unwrap(), "other.example".parse().unwrap());
    let refused = async |hosts: &[HttpsHost], url: &str, dockerfile: bool| {
        let lab = Lab::building(|platform| platform.builder.submodule_hosts = hosts.to_vec());
        let app = Project::built_by("true");
        if dockerfile {
            app.write("Dockerfile", "FROM scratch\n");
        }
        add(&app, "theme", url, &"1".repeat(40));
        let outcome = lab.push(&app).await;
        assert!(!outcome.text().contains("Building"), "{}", outcome.text());
        outcome.reason()
    };
    let url = "https://git.example.org/theme.git";
    let none = refused(&[], url, false).await;
    assert!(
        none.starts_with("source refused: `theme` is a submodule, whose files are not in this repository"),
        "{none}"
    );
    assert!(none.ends_with("have the platform's operator name its host in build.submodule_hosts"), "{none}");
    let elsewhere = refused(&[other], url, false).await;
    assert!(elsewhere.contains("`theme` is at git.example.org, from where nothing is fetched"), "{elsewhere}");
    let ssh = refused(std::slice::from_ref(&git), "git@git.example.org:theme.git", false).await;
    assert!(ssh.contains("is at `git.example.org`, by other means than https"), "{ssh}");
    let dockerfile = refused(&[git], url, true).await;
    assert!(
        dockerfile.contains("`theme` is a submodule, which the build of a Dockerfile does not get"),
        "{dockerfile}"
    );
}
