//! What of the past is kept, and what goes: decided here, from values alone; `sweep` carries it out.

use std::collections::{BTreeSet, HashSet};
use std::hash::Hash;
use std::time::Duration;

use jiff::Timestamp;

use crate::model::ImageId;

/// How much is kept of each app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Slugs, the newest; always those of the release that serves and of the one before it.
    pub slugs: usize,
    /// Builds, the newest; always those that made the two slugs.
    pub builds: usize,
    /// A build that began longer ago than this goes, however few there are.
    pub build_age: Duration,
}

/// A release, or a build, that has this slug, by the name that it goes by in Docker or in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Use<Slug = ImageId> {
    pub image: Slug,
    pub at: Timestamp,
}

/// An app's slugs, as its records tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AppSlugs<Slug = ImageId> {
    /// Of the release that serves and of the one before it.
    pub serving: Vec<Slug>,
    pub uses: Vec<Use<Slug>>,
}

impl<Slug: Clone + Eq + Hash> AppSlugs<Slug> {
    /// Those used last.
    pub(super) fn kept(&self, most: usize) -> HashSet<Slug> {
        let mut newest: Vec<&Use<Slug>> = self.uses.iter().collect();
        newest.sort_by_key(|used| std::cmp::Reverse(used.at));
        let mut kept: HashSet<Slug> = self.serving.iter().cloned().collect();
        for used in newest {
            if kept.len() >= most {
                break;
            }
            kept.insert(used.image.clone());
        }
        kept
    }
}

/// The slugs that some app keeps. What one keeps stays, though another built it and needs it no more.
pub(super) fn kept_slugs<'a>(apps: impl IntoIterator<Item = &'a AppSlugs>, keep: &Keep) -> HashSet<ImageId> {
    apps.into_iter().flat_map(|app| app.kept(keep.slugs)).collect()
}

/// Since when nobody can come upon a slug any more, and which pushes are under way, by when they began.
///
/// A push takes a slug by the store's memory. So one that began after the slug was struck from it cannot have it;
/// one that began before may, as long as it has made no release of it.
pub(super) fn is_out_of_reach(struck: Timestamp, pushes: &[Timestamp]) -> bool {
    pushes.iter().all(|began| *began > struck)
}

/// A build, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PastBuild {
    pub number: u32,
    pub began: Timestamp,
    pub has_ended: bool,
}

/// The numbers of the builds that go; never those of `serving`, nor one that has not ended.
pub(super) fn builds_that_go(builds: &[PastBuild], serving: &[u32], keep: &Keep, now: Timestamp) -> Vec<u32> {
    let newest: BTreeSet<u32> = {
        let mut numbers: Vec<u32> = builds.iter().map(|build| build.number).collect();
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        numbers.into_iter().take(keep.builds).collect()
    };
    let is_old = |build: &PastBuild| now.duration_since(build.began).unsigned_abs() > keep.build_age;
    let goes = |build: &&PastBuild| {
        build.has_ended && !serving.contains(&build.number) && (!newest.contains(&build.number) || is_old(build))
    };
    builds.iter().filter(goes).map(|build| build.number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: Keep = Keep { slugs: 3, builds: 2, build_age: Duration::from_secs(1000) };

    fn image(digit: char) -> ImageId {
        format!("sha256:{}", digit.to_string().repeat(64)).parse().unwrap()
    }
    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }
    /// Uses, in the order in which they were.
    fn app(serving: &str, uses: &str) -> AppSlugs {
        AppSlugs {
            serving: serving.chars().map(image).collect(),
            uses: (0..).zip(uses.chars()).map(|(second, digit)| Use { image: image(digit), at: at(second) }).collect(),
        }
    }
    fn kept(apps: &[AppSlugs]) -> String {
        let kept = kept_slugs(apps, &KEEP);
        "0123456789abcdef".chars().filter(|digit| kept.contains(&image(*digit))).collect()
    }

    #[test]
    fn an_app_keeps_its_newest_slugs_and_those_that_serve() {
        for (serving, uses, expected, why) in [
            ("", "", "", "nothing was ever built"),
            ("21", "12", "12", "there are fewer than are kept"),
            ("54", "12345", "345", "the newest"),
            ("21", "1234567", "127", "failed releases came after the one that serves"),
            ("54", "1123344455", "345", "a slug is counted once, however many releases have it"),
            ("41", "12341", "134", "an old slug was released again"),
            ("1", "123451", "145", "what serves is the newest too"),
            ("9", "1234", "349", "what serves was built by another app"),
        ] {
            assert_eq!(kept(&[app(serving, uses)]), expected, "{why}");
        }
        let none = Keep { slugs: 0, ..KEEP };
        assert_eq!(kept_slugs(&[app("54", "12345")], &none).len(), 2, "what serves and its predecessor stay");
    }

    #[test]
    fn what_one_app_keeps_stays_though_another_lets_it_go() {
        assert_eq!(kept(&[app("76", "1234567"), app("1", "1")]), "1567");
    }

    #[test]
    fn a_slug_is_within_reach_of_pushes_that_began_before_it_was_struck() {
        assert!(is_out_of_reach(at(10), &[]));
        assert!(is_out_of_reach(at(10), &[at(11), at(12)]));
        assert!(!is_out_of_reach(at(10), &[at(11), at(9)]));
        assert!(!is_out_of_reach(at(10), &[at(10)]), "in the same instant, who knows");
    }

    #[test]
    fn builds_go_by_count_and_age() {
        let builds = |all: &[(u32, i64, bool)]| {
            let build = |&(number, second, has_ended)| PastBuild { number, began: at(second), has_ended };
            all.iter().map(build).collect::<Vec<_>>()
        };
        let all = builds(&[(1, 0, true), (2, 100, true), (3, 200, true), (10, 300, true)]);
        for (serving, now, expected, why) in [
            (&[][..], 400, &[1, 2][..], "two are kept"),
            (&[1], 400, &[2], "what serves keeps its build"),
            (&[10, 3], 400, &[1, 2], "which may be the newest"),
            (&[], 1250, &[1, 2, 3], "one of the two is too old"),
            (&[3], 1250, &[1, 2], "but serves"),
            (&[], 9999, &[1, 2, 3, 10], "all are too old"),
        ] {
            assert_eq!(builds_that_go(&all, serving, &KEEP, at(now)), expected, "{why}");
        }
        let running = builds(&[(1, 0, false), (2, 0, true), (3, 0, true), (4, 0, false)]);
        assert_eq!(builds_that_go(&running, &[], &KEEP, at(5000)), [2, 3], "a build that runs stays");
    }
}
