//! What of a commit a build gets, and what it is refused for.

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
