//! What each pushed ref comes to: deployed, stored, or refused. Pure; cheap questions only, before anything is built.

use crate::delivery::DEPLOY_BRANCHES;
use crate::model::CommitId;
use crate::pipeline::{PushOptions, RESERVED_REFS};

/// One ref as the client wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RefUpdate {
    /// None: the ref is new.
    pub(super) old: Option<CommitId>,
    /// None: the ref is to go.
    pub(super) new: Option<CommitId>,
    /// In full, such as `refs/heads/main`.
    pub(super) name: String,
}

/// What becomes of one ref.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Deploy {
        commit: CommitId,
    },
    /// Moved as asked; the note says what was not done and how to do it.
    Store {
        note: Option<String>,
    },
    /// The reason stands in git's own line.
    Refuse {
        reason: String,
    },
}

/// A line that git sent is no update.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("git sent {0:?} where `<old> <new> <ref>` was due")]
pub(super) struct MalformedUpdate(String);

impl RefUpdate {
    /// Reads `<old> <new> <ref>`, as git writes it to both hooks.
    pub(super) fn parse(line: &str) -> Result<Self, MalformedUpdate> {
        let malformed = || MalformedUpdate(line.chars().take(120).collect());
        let mut parts = line.splitn(3, ' ');
        let mut id = || parts.next()?.parse::<CommitId>().ok();
        let (old, new) = (id().ok_or_else(malformed)?, id().ok_or_else(malformed)?);
        let name = parts.next().filter(|name| name.starts_with("refs/")).ok_or_else(malformed)?;
        let present = |id: CommitId| (!id.is_null()).then_some(id);
        Ok(Self { old: present(old), new: present(new), name: name.to_owned() })
    }
}

/// The one branch that deploys: `main`, else `master`. `has_main`: the repository has a `main` already.
pub(super) fn deploy_branch(updates: &[RefUpdate], has_main: bool) -> &'static str {
    let [main, master] = DEPLOY_BRANCHES;
    let brings = |branch| updates.iter().any(|update| update.name == branch && update.new.is_some());
    if has_main || brings(main) || !brings(master) { main } else { master }
}

/// Decides one ref of a push.
pub(super) fn admit(update: &RefUpdate, deploy_branch: &str) -> Verdict {
    if update.name.starts_with(RESERVED_REFS) {
        return Verdict::Refuse { reason: format!("{RESERVED_REFS} is the platform's own") };
    }
    if update.name != deploy_branch {
        return Verdict::Store { note: note_for(update, deploy_branch) };
    }
    match &update.new {
        Some(commit) => Verdict::Deploy { commit: commit.clone() },
        None => Verdict::Refuse {
            reason: format!("{} is the branch that deploys and cannot be deleted", short(deploy_branch)),
        },
    }
}

fn note_for(update: &RefUpdate, deploy_branch: &str) -> Option<String> {
    let branch = update.name.strip_prefix("refs/heads/")?;
    update.new.as_ref()?;
    let deploys = short(deploy_branch);
    // A branch is named by whoever pushes: what a terminal might obey is shown, not sent.
    let branch: String = branch.chars().flat_map(char::escape_debug).collect();
    Some(format!("{branch} is stored, not deployed; to deploy it: git push <remote> {branch}:{deploys}"))
}

fn short(name: &str) -> &str {
    name.strip_prefix("refs/heads/").unwrap_or(name)
}

/// Reads `git push -o …`; the error is the reason of the refusal.
pub(super) fn options(texts: &[String]) -> Result<PushOptions, String> {
    let mut options = PushOptions::default();
    for text in texts {
        match text.as_str() {
            "force" => options.force = true,
            "nowait" => options.no_wait = true,
            "no-cache" => options.no_cache = true,
            "dry-run" => options.dry_run = true,
            "detach" => options.detach = true,
            unknown => {
                let shown: String = unknown.chars().take(40).flat_map(char::escape_debug).collect();
                return Err(format!(
                    "unknown push option {shown}; there are detach, dry-run, force, nowait and no-cache"
                ));
            }
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(digit: char) -> CommitId {
        digit.to_string().repeat(40).parse().unwrap()
    }

    fn update(name: &str) -> RefUpdate {
        RefUpdate { old: None, new: Some(commit('1')), name: name.to_owned() }
    }

    #[test]
    fn main_deploys_else_master() {
        for (refs, has_main, deploys) in [
            (vec!["refs/heads/main"], false, "refs/heads/main"),
            (vec!["refs/heads/master"], false, "refs/heads/master"),
            (vec!["refs/heads/master"], true, "refs/heads/main"),
            (vec!["refs/heads/master", "refs/heads/main"], false, "refs/heads/main"),
            (vec!["refs/heads/topic"], false, "refs/heads/main"),
        ] {
            let updates: Vec<RefUpdate> = refs.iter().map(|name| update(name)).collect();
            assert_eq!(deploy_branch(&updates, has_main), deploys, "{refs:?}");
        }
    }

    #[test]
    fn the_deploy_branch_is_deployed_and_cannot_be_deleted() {
        let main = "refs/heads/main";
        assert_eq!(admit(&update(main), main), Verdict::Deploy { commit: commit('1') });
        let gone = RefUpdate { old: Some(commit('1')), new: None, name: main.to_owned() };
        assert!(matches!(admit(&gone, main), Verdict::Refuse { reason } if reason.contains("main")));
    }

    #[test]
    fn other_branches_and_tags_are_stored_and_a_branch_says_how_to_deploy_it() {
        let main = "refs/heads/main";
        let Verdict::Store { note: Some(note) } = admit(&update("refs/heads/topic"), main) else {
            panic!("not stored")
        };
        assert!(note.contains("topic:main"), "{note}");
        assert_eq!(admit(&update("refs/tags/v1"), main), Verdict::Store { note: None });
        let ours = admit(&update("refs/paas/detached/1"), main);
        assert!(matches!(ours, Verdict::Refuse { reason } if reason.contains("the platform's own")));
    }

    #[test]
    fn an_update_is_two_ids_and_a_full_name() {
        let line = format!("{} {} refs/heads/main", "0".repeat(40), "1".repeat(40));
        assert_eq!(RefUpdate::parse(&line), Ok(update("refs/heads/main")));
        for bad in ["", "x y z", &format!("{0} {0}", "0".repeat(40)), &format!("{0} {0} HEAD", "0".repeat(40))] {
            assert!(RefUpdate::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_unknown_option_is_refused_by_name() {
        let read = |texts: &[&str]| options(&texts.iter().map(|&t| t.to_owned()).collect::<Vec<_>>());
        assert!(read(&["force", "no-cache"]).is_ok_and(|o| o.force && o.no_cache && !o.no_wait));
        assert!(read(&["froce"]).unwrap_err().contains("froce"));
        assert!(read(&["dry-run"]).is_ok_and(|o| o.dry_run && !o.force));
        assert!(read(&["detach", "nowait"]).is_ok_and(|o| o.detach && o.no_wait));
    }
}
