//! What of a commit a build gets, and what it is refused for.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

#[tokio::test]
async fn files_that_are_elsewhere_are_refused_before_the_build_unless_the_app_does_without() {
    let lab = Lab::building(|_| {});
    let project = Project::built_by("true");
    project.write(".gitattributes", "*.png filter=lfs diff=lfs merge=lfs -text\n");
    project.write(
        "logo.png",
        format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 12345\n", "a".repeat(64)),
    );
    // Without git-lfs' own filter, as on a machine that has none.
    let _ = project.git(["-c", "filter.lfs.clean=cat", "-c", "filter.lfs.required=false", "add", "--all"]);
    project.commit("with a pointer");
    let refused = lab.push(&project).await;
    assert!(refused.reason().contains("`logo.png` is kept by git LFS"), "{}", refused.reason());
    assert!(!refused.text().contains("Building"), "{}", refused.text());

    let commit = project.git(["rev-parse", "HEAD"]);
    let _ = project.git(["update-index", "--add", "--cacheinfo", &format!("160000,{},theme", commit.trim())]);
    project.write(".slugignore", "*.png\n");
    let _ = project.git(["add", ".slugignore"]);
    let _ = project.git(["commit", "--quiet", "--message", "with a submodule"]);
    let refused = lab.push(&project).await;
    assert!(refused.reason().contains("`theme` is a submodule"), "{}", refused.reason());
}

#[tokio::test]
async fn what_slugignore_names_is_not_in_the_slug() {
    let lab = Lab::serving(|_| {});
    let project = Project::built_by("ls -A /app");
    project.write("docs/manual.md", "long");
    project.write(".slugignore", "docs\n");
    project.commit("with a manual");
    let pushed = lab.push(&project).await;
    let _ = live_at(&pushed);
    let listed = lab.build_log(1);
    assert!(listed.contains("Procfile") && !listed.contains("docs"), "{listed}");
}

/// Lists what is below `/app`: kind, mode, path and target, the latter two in hexadecimal digits.
const LIST: &str = r#"
cd /app
find . ! -name . -exec sh -c '
hex() { od -An -v -tx1 | tr -d " \n"; }
for path; do
  printf "entry %s %s " "$(stat -c %f "$path")" "$(printf %s "${path#./}" | hex)"
  if [ -L "$path" ]; then readlink -n "$path" | hex; elif [ -f "$path" ]; then hex <"$path"; fi
  echo
done' sh {} +
"#;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[tokio::test]
async fn an_odd_tree_arrives_in_the_build_as_it_is() {
    let lab = Lab::building(|_| {});
    let project = Project::built_by(LIST);
    let secret = lab.home.path().join("secret");
    fs::write(&secret, "of this host").unwrap();
    let longest = "n".repeat(255);
    let deep = format!("{longest}/{longest}/{}", "d".repeat(120));
    let files = [
        b"new\nline".to_vec(),
        b"-rf".to_vec(),
        b" ".to_vec(),
        b"back\\slash".to_vec(),
        b"*?[a]'\"`$(x)".to_vec(),
        b"\xff\xfe".to_vec(),
        "d\u{fc}rr \u{1f600}".into(),
        "m".repeat(255).into(),
        format!("{}/{}", "p".repeat(99), "q".repeat(101)).into(),
        deep.into(),
    ];
    let at = |name: &[u8]| project.path().join(OsStr::from_bytes(name));
    let mut expected = Vec::new();
    for name in &files {
        fs::create_dir_all(at(name).parent().unwrap()).unwrap();
        fs::write(at(name), "here").unwrap();
        expected.push(format!("entry 81a4 {} {}", hex(name), hex(b"here")));
    }
    fs::write(at(b"program"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(at(b"program"), fs::Permissions::from_mode(0o755)).unwrap();
    expected.push(format!("entry 81ed {} {}", hex(b"program"), hex(b"#!/bin/sh\n")));
    let far = "../".repeat(60);
    let targets =
        [secret.to_str().unwrap(), "/etc/passwd", "nowhere/at/all", "./a//b/", "../../outside", ".", &far, &longest];
    for (number, target) in targets.iter().enumerate() {
        let name = format!("link-{number}");
        symlink(target, at(name.as_bytes())).unwrap();
        expected.push(format!("entry a1ff {} {}", hex(name.as_bytes()), hex(target.as_bytes())));
    }
    project.commit("odd");
    // A directory with nothing in it, which git's own commands never make.
    let repository = git2::Repository::open(project.path()).unwrap();
    let (head, who) = (repository.head().unwrap(), git2::Signature::now("Alice", "alice@example.org").unwrap());
    let head = head.peel_to_commit().unwrap();
    let mut tree = repository.treebuilder(Some(&head.tree().unwrap())).unwrap();
    tree.insert("empty", repository.treebuilder(None).unwrap().write().unwrap(), 0o040_000).unwrap();
    let tree = repository.find_tree(tree.write().unwrap()).unwrap();
    repository.commit(Some("HEAD"), &who, &who, "with nothing", &tree, &[&head]).unwrap();
    expected.push(format!("entry 41ed {} ", hex(b"empty")));

    let outcome = lab.push(&project).await;
    let log = lab.build_log(1);
    for line in &expected {
        assert!(log.lines().any(|found| found.trim() == line.trim()), "no {line}\n{}", outcome.text());
    }
    // Besides these the Procfile, the script, and the directories on the way.
    assert_eq!(log.lines().filter(|line| line.starts_with("entry ")).count(), expected.len() + 2 + 3, "{log}");
    assert!(!log.contains(&hex(b"of this host")), "{log}");
}
