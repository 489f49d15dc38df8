//! Pushes of people who may see nothing of an app: each comes into a repository of its own, and what it brought goes
//! into the app's only when it has a deploy token for that.
//!
//! So such a pusher sees no ref, and cannot ask by a clever pack which objects the app's repository holds, nor whether
//! there is one.

use std::fs;
use std::path::{Path, PathBuf};

use super::admission::{RefUpdate, Verdict, admit, deploy_branch};
use crate::git::{Claim, GitError, Repository};
use crate::manifest::{MANIFEST_FILE, MAX_BYTES, Manifest, ManifestError};
use crate::model::{CommitId, Secret, TenantName};

/// Why a push by letterbox cannot count, whatever it is for.
#[derive(Debug, thiserror::Error)]
pub(super) enum Misaddressed {
    #[error("a push by deploy token brings one branch, the one that deploys (`main`, else `master`), and nothing else")]
    NotOneDeploy,
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    Git(#[from] GitError),
}

/// The one commit that the push wants to deploy.
pub(super) fn only_deploy(updates: &[RefUpdate]) -> Result<&CommitId, Misaddressed> {
    let [update] = updates else { return Err(Misaddressed::NotOneDeploy) };
    match (admit(update, deploy_branch(updates, false)), &update.new) {
        (Verdict::Deploy { .. }, Some(commit)) => Ok(commit),
        _ => Err(Misaddressed::NotOneDeploy),
    }
}

/// The deploy token that the commit brings for the tenant, if it brings any.
pub(super) fn token(
    repository: &Repository,
    commit: &CommitId,
    tenant: &TenantName,
) -> Result<Option<Secret>, Misaddressed> {
    let text = repository.file(commit, MANIFEST_FILE, MAX_BYTES as u64)?.unwrap_or_default();
    Ok(Manifest::read(&text)?.for_tenant(tenant).token)
}

/// Removes the letterboxes in which nobody is at work any more: those of sessions that were killed.
pub(super) fn sweep(letterboxes: &Path) {
    for path in idle(letterboxes) {
        // Another session may take it away just now.
        if let Err(error) = Claim::on(&path).and_then(Claim::discard) {
            tracing::debug!(%error, letterbox = %path.display(), "not swept");
        }
    }
}

/// The letterboxes in which nobody is at work.
pub(super) fn idle(letterboxes: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(letterboxes).into_iter().flatten().flatten();
    // What begins with a dot is on its way to being one.
    let made = entries.filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."));
    let is_idle = |path: &PathBuf| Claim::on(path).and_then(|claim| claim.is_alone()).unwrap_or(false);
    made.map(|entry| entry.path()).filter(is_idle).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::Rules;

    fn update(name: &str, new: Option<char>) -> RefUpdate {
        let new = new.map(|digit| digit.to_string().repeat(40).parse().unwrap());
        RefUpdate { old: None, new, name: name.to_owned() }
    }

    #[test]
    fn it_takes_one_branch_that_deploys_and_nothing_else() {
        for name in ["refs/heads/main", "refs/heads/master"] {
            assert!(only_deploy(&[update(name, Some('1'))]).is_ok(), "{name}");
        }
        for updates in [
            vec![],
            vec![update("refs/heads/topic", Some('1'))],
            vec![update("refs/tags/v1", Some('1'))],
            vec![update("refs/heads/main", None)],
            vec![update("refs/heads/main", Some('1')), update("refs/tags/v1", Some('1'))],
        ] {
            assert!(matches!(only_deploy(&updates), Err(Misaddressed::NotOneDeploy)), "{updates:?}");
        }
    }

    #[test]
    fn those_that_nobody_is_at_work_in_are_swept() {
        let home = tempfile::tempdir().unwrap();
        let rules = Rules { max_pack_bytes: 1 << 20, hooks: "/nowhere".into() };
        let (used, left) = (home.path().join("used.git"), home.path().join("left.git"));
        let claim = Claim::make(&used, &rules).unwrap();
        // As of a session that was killed: its lock ends with it, its directory stays.
        drop(Claim::make(&left, &rules).unwrap());
        assert_eq!(idle(home.path()), std::slice::from_ref(&left));
        sweep(home.path());
        assert!(used.is_dir() && !left.exists());
        claim.release().unwrap();
        sweep(&home.path().join("none"));
    }
}
