use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use futures_util::StreamExt as _;

use super::super::access::Identity;
use super::super::samples::{ED25519, P256, P384};
use super::super::{PublicKey, keys, members, tenants};
use super::*;
use crate::model::{Role, UserName};
use crate::store::SqliteStore;

struct Fresh {
    log: AuditLog,
    dir: PathBuf,
    /// Removed when it is dropped.
    above: tempfile::TempDir,
}

fn fresh() -> Fresh {
    let above = tempfile::tempdir().unwrap();
    let dir = above.path().join("audit");
    Fresh { log: AuditLog::in_directory(&dir), dir, above }
}

fn event(object: &str) -> Event {
    Event {
        at: Timestamp::from_second(1_700_000_000).unwrap(),
        user: "alice".to_owned(),
        key: Some(format!("SHA256:{}", "a".repeat(43)).parse().unwrap()),
        from: Some("2001:db8::1".parse().unwrap()),
        what: "apps create".to_owned(),
        object: Some(object.to_owned()),
        tenant: Some("dev".parse().unwrap()),
        outcome: Outcome::Done,
    }
}

fn objects(events: &[Event]) -> Vec<&str> {
    events.iter().filter_map(|event| event.object.as_deref()).collect()
}

impl Fresh {
    fn bounded(self, bytes: u64) -> Self {
        let Self { log, dir, above } = self;
        Self { log: log.with_bounds(Bounds { bytes, ..Bounds::default() }), dir, above }
    }

    fn files(&self) -> Vec<PathBuf> {
        segments::list(&self.dir).unwrap().into_iter().map(|segment| segment.path(&self.dir)).collect()
    }

    fn all(&self) -> Vec<Event> {
        self.log.read(&Filter::default()).unwrap()
    }

    /// What a crash in the middle of a line leaves.
    fn tear(&self) {
        let mut last = OpenOptions::new().append(true).open(self.files().last().unwrap()).unwrap();
        last.write_all(br#"{"at":"2001-02-03T04:05:06Z","user":"mal"#).unwrap();
    }
}

#[test]
fn what_was_appended_is_read_oldest_first() {
    let fresh = fresh();
    assert_eq!(fresh.all(), []);
    assert!(!fresh.dir.exists(), "reading makes nothing");
    let host = Event { user: "(host)".to_owned(), key: None, from: None, tenant: None, object: None, ..event("") };
    let failed = Event { outcome: Outcome::Failed("a \"reason\"\nof two lines".to_owned()), ..event("wiki") };
    let events = [event("shop"), host, failed, Event { outcome: Outcome::Refused, ..event("x") }];
    for event in &events {
        fresh.log.append(event).unwrap();
    }
    assert_eq!(fresh.all(), events);
}

#[test]
fn only_its_owner_may_look_at_it() {
    let fresh = fresh();
    fresh.log.append(&event("shop")).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&fresh.dir), mode(&fresh.files()[0])), (0o700, 0o600));
}

#[test]
fn a_filter_takes_what_fits_in_all_of_it() {
    let fresh = fresh();
    let at = |second| Timestamp::from_second(second).unwrap();
    let events = [
        Event { at: at(1), ..event("a") },
        Event { at: at(2), user: "bob".to_owned(), ..event("b") },
        Event { at: at(3), tenant: Some("prod".parse().unwrap()), ..event("c") },
        Event { at: at(4), tenant: None, ..event("d") },
    ];
    for event in &events {
        fresh.log.append(event).unwrap();
    }
    let (tenant, user, since) = (Some("dev".parse().unwrap()), Some("alice".to_owned()), Some(at(3)));
    let none = Filter::default();
    for (filter, expected) in [
        (none.clone(), vec!["a", "b", "c", "d"]),
        (Filter { user: user.clone(), ..none.clone() }, vec!["a", "c", "d"]),
        (Filter { tenant: tenant.clone(), ..none.clone() }, vec!["a", "b"]),
        (Filter { since, ..none }, vec!["c", "d"]),
        (Filter { tenant, user, since }, vec![]),
    ] {
        assert_eq!(objects(&fresh.log.read(&filter).unwrap()), expected, "{filter:?}");
    }
}

#[test]
fn a_torn_last_line_spoils_no_other() {
    let fresh = fresh();
    fresh.log.append(&event("a")).unwrap();
    fresh.tear();
    assert_eq!(objects(&fresh.all()), ["a"]);
    fresh.log.append(&event("b")).unwrap();
    fresh.log.append(&event("c")).unwrap();
    assert_eq!(objects(&fresh.all()), ["a", "b", "c"]);
}

#[test]
fn a_torn_line_at_the_end_of_a_full_file_spoils_nothing_of_the_next() {
    // A file holds one event.
    let fresh = fresh().bounded(16 * 300);
    fresh.log.append(&event("a")).unwrap();
    fresh.tear();
    fresh.log.append(&event("b")).unwrap();
    assert_eq!(objects(&fresh.all()), ["a", "b"]);
    assert_eq!(fresh.files().len(), 2);
}

#[test]
fn a_long_text_is_cut() {
    let fresh = fresh();
    let long = "ä".repeat(1 << 20);
    let outcome = Outcome::Failed(long.clone());
    fresh.log.append(&Event { what: long.clone(), outcome, ..event(&long) }).unwrap();
    let Event { what, object, outcome, .. } = fresh.all().remove(0);
    let cut = "ä".repeat(MAX_TEXT_CHARS) + "…";
    assert_eq!((what, object, outcome), (cut.clone(), Some(cut.clone()), Outcome::Failed(cut)));
}

#[test]
fn ten_who_append_while_the_files_rotate_lose_nothing() {
    const EACH: usize = 40;
    // A file holds some forty events, and all of them fit.
    let fresh = fresh().bounded(128 << 10);
    std::thread::scope(|scope| {
        for thread in 0..10 {
            let log = &fresh.log;
            scope.spawn(move || {
                for number in 0..EACH {
                    log.append(&event(&format!("{thread}-{number}"))).unwrap();
                }
            });
        }
    });
    let read = fresh.all();
    assert_eq!(read.len(), 10 * EACH);
    for thread in 0..10 {
        let mine: Vec<_> = objects(&read).into_iter().filter(|o| o.starts_with(&format!("{thread}-"))).collect();
        let expected: Vec<_> = (0..EACH).map(|number| format!("{thread}-{number}")).collect();
        assert_eq!(mine, expected, "all of them, in their order");
    }
    assert!(fresh.files().len() > 5, "it rotated");
}

#[test]
fn the_oldest_go_when_there_is_too_much() {
    const BYTES: u64 = 16 << 10;
    let fresh = fresh().bounded(BYTES);
    for number in 0..200 {
        fresh.log.append(&event(&number.to_string())).unwrap();
    }
    let bytes: u64 = fresh.files().iter().map(|file| std::fs::metadata(file).unwrap().len()).sum();
    assert!(bytes <= BYTES && bytes > BYTES / 2, "{bytes}");
    let read = fresh.all();
    let expected: Vec<_> = (200 - read.len()..200).map(|number| number.to_string()).collect();
    assert_eq!(objects(&read), expected, "what is left has no holes");
}

#[test]
fn what_is_too_old_goes_when_the_next_file_is_begun() {
    let fresh = fresh();
    let bounds = Bounds { age: Duration::from_secs(1600), ..Bounds::default() };
    let append = |object: &str, second| {
        let line = serde_json::to_string(&event(object)).unwrap() + "\n";
        segments::append(&fresh.dir, line.as_bytes(), bounds, Timestamp::from_second(second).unwrap()).unwrap();
    };
    append("a", 10_000);
    append("b", 10_100);
    append("c", 10_101);
    assert_eq!(fresh.files().len(), 2, "one is written to for a sixteenth of the age");
    append("d", 11_701);
    assert_eq!(objects(&fresh.all()), ["a", "b", "c", "d"]);
    append("e", 11_802);
    assert_eq!(objects(&fresh.all()), ["c", "d", "e"]);
}

#[tokio::test]
async fn a_follower_is_told_what_was_there_and_what_comes_also_across_files() {
    let fresh = fresh().bounded(16 << 10);
    fresh.log.append(&event("0")).unwrap();
    let filter = Filter { user: Some("alice".to_owned()), ..Filter::default() };
    let mut events = std::pin::pin!(fresh.log.follow(filter).unwrap());
    for number in 0..30 {
        let next = tokio::time::timeout(Duration::from_secs(20), events.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(objects(&next), [number.to_string()]);
        let log = fresh.log.clone();
        // While it is waited for.
        tokio::task::spawn_blocking(move || {
            log.append(&Event { user: "bob".to_owned(), ..event("another's") }).unwrap();
            log.append(&event(&(number + 1).to_string())).unwrap();
        });
    }
    assert!(fresh.files().len() > 3, "it went across files");
}

#[tokio::test]
async fn a_follower_may_be_there_before_the_log() {
    let fresh = fresh();
    let mut events = std::pin::pin!(fresh.log.follow(Filter::default()).unwrap());
    let log = fresh.log.clone();
    tokio::task::spawn_blocking(move || log.append(&event("first")).unwrap());
    let next = tokio::time::timeout(Duration::from_secs(20), events.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(next, [event("first")]);
}

#[tokio::test]
async fn an_owner_sees_their_tenants_an_admin_all_and_everybody_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path()).unwrap();
    let (dev, other): (TenantName, TenantName) = ("dev".parse().unwrap(), "other".parse().unwrap());
    for tenant in [&dev, &other] {
        tenants::record(&store, tenant).await.unwrap();
    }
    let mut callers = Vec::new();
    // The first one is an admin.
    for (name, key) in [("admin", ED25519), ("owner", P256), ("developer", P384)] {
        let user: UserName = name.parse().unwrap();
        let added = keys::add(&store, &user, &PublicKey::parse(key.as_bytes()).unwrap()).await.unwrap();
        callers.push(Caller::Key(Identity { user, key: added.key.fingerprint, from: None }));
    }
    let [admin, owner, developer] = &callers[..] else { panic!("three of them") };
    for (user, role) in [("owner", Role::Owner), ("developer", Role::Developer)] {
        members::add(&store, &dev, &user.parse().unwrap(), role, "(host)").await.unwrap();
    }
    let by = |user: &str, tenant: Option<&TenantName>| Event {
        user: user.to_owned(),
        tenant: tenant.cloned(),
        at: Timestamp::now(),
        ..event("x")
    };
    for (event, [seen_by_owner, seen_by_developer]) in [
        (by("developer", Some(&dev)), [true, false]),
        (by("owner", Some(&other)), [false, false]),
        (by("owner", None), [true, false]),
        (by("developer", None), [false, true]),
        (by("(host)", None), [false, false]),
    ] {
        for (caller, expected) in
            [(admin, true), (&Caller::Host, true), (owner, seen_by_owner), (developer, seen_by_developer)]
        {
            let seen = Sight::of(&store, caller).reaches(&event).await.unwrap();
            assert_eq!(seen, expected, "{}: {event:?}", caller.name());
        }
    }
    // Somebody else had the name before, and a key that is nobody's shows nothing.
    let (own, namesakes) = (by("owner", None), Event { user: "owner".to_owned(), tenant: None, ..event("x") });
    assert_eq!(
        Sight::of(&store, owner).of_these(vec![own.clone(), namesakes]).await.unwrap(),
        std::slice::from_ref(&own)
    );
    // And so had another tenant.
    let earlier = vec![event("x")];
    assert_eq!(Sight::of(&store, owner).of_these(earlier.clone()).await.unwrap(), []);
    assert_eq!(Sight::of(&store, admin).of_these(earlier.clone()).await.unwrap(), earlier);
    members::set_role(&store, &dev, &"developer".parse().unwrap(), Role::Owner).await.unwrap();
    members::remove(&store, &dev, &"owner".parse().unwrap()).await.unwrap();
    let in_dev = by("developer", Some(&dev));
    assert!(!Sight::of(&store, owner).reaches(&in_dev).await.unwrap());
    assert!(Sight::of(&store, developer).reaches(&in_dev).await.unwrap());
    let Caller::Key(who) = owner else { panic!("a user") };
    keys::remove(&store, &who.key).await.unwrap();
    assert!(!Sight::of(&store, owner).reaches(&own).await.unwrap());
}
