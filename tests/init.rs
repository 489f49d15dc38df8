//! `paas init`: what it leaves in a work tree, and what it refuses to touch.

use std::path::Path;
use std::process::{Command, Stdio};

use paas::manifest::Manifest;

use crate::support::project::Project;

const PAAS: &str = env!("CARGO_BIN_EXE_paas");

/// What a command answered, said, and how it ended.
#[must_use]
#[derive(Debug)]
struct Ended {
    answer: String,
    said: String,
    status: i32,
}

/// Runs `paas init` in a directory, for a platform whose home is not there and whose settings are the defaults.
fn init(directory: &Path, arguments: &[&str]) -> Ended {
    let output = Command::new(PAAS)
        .arg("init")
        .args(arguments)
        .env_clear()
        .env("HOME", "/nonexistent")
        .env("PAAS_HOME", "/nonexistent/platform")
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { answer: text(output.stdout), said: text(output.stderr), status: output.status.code().unwrap() }
}

impl Ended {
    #[track_caller]
    fn done(self) -> Self {
        assert_eq!(self.status, 0, "{}", self.said);
        self
    }

    #[track_caller]
    fn is_refused(&self, status: i32, words: &str) {
        assert_eq!((self.answer.as_str(), self.status), ("", status), "{}", self.said);
        assert!(self.said.starts_with("error: ") && self.said.contains(words), "no {words:?} in {:?}", self.said);
        assert!(self.said.contains("\n  try: "), "no advice: {:?}", self.said);
    }
}

fn manifest(project: &Project) -> String {
    std::fs::read_to_string(project.path().join("paas.yml")).unwrap()
}

#[test]
fn a_work_tree_gets_a_manifest_and_a_remote_for_each_tenant() {
    let project = Project::empty();
    let ended = init(project.path(), &["--app", "shop", "--tenant", "dev", "--tenant", "prod"]).done();
    assert_eq!(
        ended.said,
        "wrote paas.yml for the app `shop`\nthe remote `paas-dev` was added\nthe remote `paas-prod` was added\n\
         next: commit, then `git push paas-dev HEAD:main`\n"
    );
    assert_eq!(Manifest::parse(&manifest(&project)).unwrap().app.unwrap().as_str(), "shop");
    assert_eq!(project.git(["remote", "get-url", "paas-dev"]), "ssh://paas@127.0.0.1:2222/dev/shop\n");
    assert_eq!(project.git(["remote", "get-url", "paas-prod"]), "ssh://paas@127.0.0.1:2222/prod/shop\n");
    assert!(ended.answer.contains("paas-prod") && ended.answer.contains("ssh://paas@127.0.0.1:2222/prod/shop"));
}

#[test]
fn once_more_changes_nothing_and_says_so() {
    let project = Project::empty();
    let _ = init(project.path(), &["--app", "shop"]).done();
    let before = (manifest(&project), project.git(["config", "--local", "--list"]));
    let ended = init(project.path(), &[]).done();
    assert!(ended.said.starts_with("paas.yml is there already and stays as it is\nthe remote `paas-dev` is there"));
    assert_eq!((manifest(&project), project.git(["config", "--local", "--list"])), before);
}

#[test]
fn a_manifest_that_is_there_stays_and_names_the_app() {
    let project = Project::empty();
    project.write("paas.yml", "app: mine # by hand\n");
    project.write("deep/below/file", "");
    let ended = init(&project.path().join("deep/below"), &["--json", "--tenant", "dev", "--tenant", "dev"]).done();
    let answer: serde_json::Value = serde_json::from_str(&ended.answer).unwrap();
    let remote = serde_json::json!({"name": "paas-dev", "url": "ssh://paas@127.0.0.1:2222/dev/mine", "kept": false});
    assert_eq!(answer["app"], "mine");
    assert_eq!(answer["manifest_kept"], true);
    assert_eq!(answer["remotes"], serde_json::json!([remote]), "a tenant that is named twice is one tenant");
    assert_eq!(manifest(&project), "app: mine # by hand\n");
    init(project.path(), &["--app", "other"]).is_refused(3, "says that this is the app `mine`, not `other`");
}

#[test]
fn without_a_name_the_directory_gives_one() {
    let directory = tempfile::tempdir().unwrap();
    let make = |name: &str| {
        let path = directory.path().join(name);
        git2::Repository::init(&path).unwrap();
        path
    };
    let ended = init(&make("My_Shop"), &[]).done();
    assert!(ended.said.starts_with("the app is called `my-shop`, since the directory is called `My_Shop`\n"));
    assert!(ended.answer.contains("/dev/my-shop"), "{}", ended.answer);
    let nameless = make("日本");
    init(&nameless, &[]).is_refused(2, "makes no app name");
    assert!(!nameless.join("paas.yml").exists());
}

#[test]
fn a_remote_that_leads_elsewhere_is_left_alone_and_nothing_is_written() {
    let project = Project::empty();
    project.git(["remote", "add", "paas-prod", "ssh://elsewhere/prod/shop"]);
    init(project.path(), &["--app", "shop", "--tenant", "dev", "--tenant", "prod"])
        .is_refused(3, "`paas-prod` is there already and leads to ssh://elsewhere/prod/shop");
    assert!(!project.path().join("paas.yml").exists());
    assert_eq!(project.git(["remote"]), "paas-prod\n");
}

#[test]
fn a_broken_manifest_is_named_with_its_place() {
    let project = Project::empty();
    project.write("paas.yml", "proceses: {}\n");
    init(project.path(), &["--app", "shop"])
        .is_refused(3, "paas.yml line 1, column 1: unknown key `proceses`; did you mean `processes`?");
    assert_eq!(project.git(["remote"]), "");
}

#[test]
fn outside_of_a_work_tree_it_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    init(directory.path(), &["--app", "shop"]).is_refused(3, "there is no git repository here");
    git2::Repository::init_bare(directory.path().join("bare.git")).unwrap();
    init(&directory.path().join("bare.git"), &["--app", "shop"]).is_refused(3, "is bare");
}

#[test]
fn names_that_are_none_are_wrong_usage() {
    let project = Project::empty();
    for arguments in [["--app", "My Shop"], ["--tenant", "../x"]] {
        let ended = init(project.path(), &arguments);
        assert_eq!(ended.status, 2, "{}", ended.said);
    }
    assert!(!project.path().join("paas.yml").exists());
}
