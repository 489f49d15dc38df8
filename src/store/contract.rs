//! What every store must do. Each backend's tests run all of it, unchanged, against the backend itself.
//!
//! A backend gives a [`Backend`]: one fresh, empty store, connected to as often as a test likes, and also from other
//! processes, since that is how the platform uses it.

use std::future::Future;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Change, LeaseAttempt, Store, StoreError, StorePath, Version};

/// A fresh store of one kind.
pub(super) trait Backend {
    /// A connection of its own, as another process would have.
    fn connect(&self) -> impl Future<Output = Arc<dyn Store>> + Send;

    /// Starts this test binary again so that it calls [`as_peer`] with a connection to the same store and with `role`;
    /// standard input and output are pipes.
    fn start_peer(&self, role: &str) -> Child;
}

/// Long enough for anything that is to happen; nothing waits that long unless it fails.
const PATIENCE: Duration = Duration::from_mins(1);
/// A wait that is expected to end without success.
const BRIEF: Duration = Duration::from_millis(50);
/// How many processes, and how often each counts up, in the test with many.
const PEERS: u64 = 4;
const COUNTS: u64 = 25;

fn path(text: &str) -> StorePath {
    text.split('/').filter(|segment| !segment.is_empty()).fold(StorePath::root(), |path, segment| path.join(segment))
}

fn create(at: &str, value: &str) -> Change {
    Change::Create { path: path(at), value: value.into() }
}

fn put(at: &str, value: &str, expected: Option<u64>) -> Change {
    Change::Put { path: path(at), value: value.into(), expected: expected.map(Version) }
}

fn delete(at: &str, expected: Option<u64>) -> Change {
    Change::Delete { path: path(at), expected: expected.map(Version) }
}

fn check(at: &str, expected: u64) -> Change {
    Change::Check { path: path(at), expected: Version(expected) }
}

async fn read(store: &dyn Store, at: &str) -> Option<(String, u64)> {
    let record = store.get(&path(at)).await.unwrap()?;
    Some((String::from_utf8(record.value).unwrap(), record.version.0))
}

#[allow(clippy::unnecessary_wraps, reason = "it is compared with what `read` gives")]
fn record(value: &str, version: u64) -> Option<(String, u64)> {
    Some((value.to_owned(), version))
}

macro_rules! assert_refused {
    ($result:expr, $refusal:ident, $at:expr) => {
        match $result {
            Err(StoreError::$refusal(refused)) => assert_eq!(refused, path($at)),
            other => panic!("expected {} of `{}`, got {other:?}", stringify!($refusal), $at),
        }
    };
}

pub(super) async fn a_record_is_read_back_with_its_version(backend: &impl Backend) {
    let store = backend.connect().await;
    assert_eq!(read(&*store, "/users").await, None);
    store.create(&path("/users"), b"one".to_vec()).await.unwrap();
    assert_eq!(read(&*store, "/users").await, record("one", 0));
    store.put(&path("/users"), b"two".to_vec(), Some(Version(0))).await.unwrap();
    store.put(&path("/users"), b"three".to_vec(), None).await.unwrap();
    assert_eq!(read(&*store, "/users").await, record("three", 2));
    assert_eq!(read(&*backend.connect().await, "/users").await, record("three", 2), "others see it too");
}

pub(super) async fn a_value_is_any_bytes(backend: &impl Backend) {
    let store = backend.connect().await;
    for (name, value) in [("empty", Vec::new()), ("odd", vec![0, 255, 10, 128]), ("large", vec![7; 256 * 1024])] {
        store.create(&StorePath::root().join(name), value.clone()).await.unwrap();
        assert_eq!(store.get(&StorePath::root().join(name)).await.unwrap().unwrap().value, value, "{name}");
    }
}

pub(super) async fn a_record_made_anew_begins_at_version_0(backend: &impl Backend) {
    let store = backend.connect().await;
    store.create(&path("/a"), b"old".to_vec()).await.unwrap();
    store.put(&path("/a"), b"older".to_vec(), None).await.unwrap();
    store.delete(&path("/a"), Some(Version(1))).await.unwrap();
    assert_eq!(read(&*store, "/a").await, None);
    store.create(&path("/a"), b"new".to_vec()).await.unwrap();
    assert_eq!(read(&*store, "/a").await, record("new", 0));
}

pub(super) async fn a_record_is_created_once(backend: &impl Backend) {
    let store = backend.connect().await;
    store.create(&path("/a"), b"first".to_vec()).await.unwrap();
    assert_refused!(store.create(&path("/a"), b"second".to_vec()).await, Exists, "/a");
    assert_eq!(read(&*store, "/a").await, record("first", 0));
}

pub(super) async fn what_is_not_there_can_be_neither_changed_nor_listed(backend: &impl Backend) {
    let store = backend.connect().await;
    assert_refused!(store.put(&path("/a"), Vec::new(), None).await, NotFound, "/a");
    assert_refused!(store.delete(&path("/a"), None).await, NotFound, "/a");
    assert_refused!(store.commit(vec![check("/a", 0)]).await, NotFound, "/a");
    assert_refused!(store.children(&path("/a")).await, NotFound, "/a");
}

pub(super) async fn a_stale_version_changes_nothing(backend: &impl Backend) {
    let store = backend.connect().await;
    store.commit(vec![create("/a", "0"), put("/a", "1", Some(0))]).await.unwrap();
    for stale in [0, 2, u64::MAX] {
        assert_refused!(store.commit(vec![put("/a", "x", Some(stale))]).await, Changed, "/a");
        assert_refused!(store.commit(vec![delete("/a", Some(stale))]).await, Changed, "/a");
        assert_refused!(store.commit(vec![check("/a", stale)]).await, Changed, "/a");
    }
    assert_eq!(read(&*store, "/a").await, record("1", 1));
}

pub(super) async fn a_record_needs_its_parent(backend: &impl Backend) {
    let store = backend.connect().await;
    assert_refused!(store.create(&path("/a/b"), Vec::new()).await, NotFound, "/a");
    store.commit(vec![create("/a", ""), create("/a/b", ""), create("/a/b/c", "")]).await.unwrap();
    assert_refused!(store.delete(&path("/a"), None).await, NotEmpty, "/a");
    assert_refused!(store.delete(&path("/a/b"), None).await, NotEmpty, "/a/b");
    store.commit(vec![delete("/a/b/c", None), delete("/a/b", None), delete("/a", None)]).await.unwrap();
    assert_eq!(store.children(&StorePath::root()).await.unwrap(), [""; 0]);
}

pub(super) async fn the_root_is_always_there(backend: &impl Backend) {
    let store = backend.connect().await;
    assert!(store.get(&StorePath::root()).await.unwrap().is_some());
    assert_eq!(store.children(&StorePath::root()).await.unwrap(), [""; 0]);
    assert_refused!(store.create(&StorePath::root(), Vec::new()).await, Exists, "/");
    assert_refused!(store.delete(&StorePath::root(), None).await, NotEmpty, "/");
}

pub(super) async fn children_are_in_byte_order_and_only_those_directly_below(backend: &impl Backend) {
    let store = backend.connect().await;
    let names = ["b", "a", "B", "a-b", "ab", "é", "0000000010", "0000000009", "SHA256:x_y"];
    store
        .commit(vec![create("/t", ""), create("/t-2", ""), create("/t/a", ""), create("/t/a/deep", "")])
        .await
        .unwrap();
    for name in names.iter().filter(|name| **name != "a") {
        store.create(&path("/t").join(name), Vec::new()).await.unwrap();
    }
    let mut sorted = names.to_vec();
    sorted.sort_unstable();
    assert_eq!(store.children(&path("/t")).await.unwrap(), sorted);
    assert_eq!(store.children(&StorePath::root()).await.unwrap(), ["t", "t-2"]);
    assert_eq!(store.children(&path("/t/a/deep")).await.unwrap(), [""; 0]);
}

pub(super) async fn a_transaction_is_all_or_nothing(backend: &impl Backend) {
    let store = backend.connect().await;
    store.commit(vec![create("/a", "a"), create("/b", "b")]).await.unwrap();
    let refused = store.commit(vec![put("/a", "x", None), delete("/b", None), create("/c", ""), check("/a", 7)]).await;
    assert_refused!(refused, Changed, "/a");
    assert_eq!(read(&*store, "/a").await, record("a", 0));
    assert_eq!(read(&*store, "/b").await, record("b", 0));
    assert_eq!(read(&*store, "/c").await, None);
    store.commit(vec![check("/a", 0), put("/a", "x", None), delete("/b", None), create("/c", "c")]).await.unwrap();
    assert_eq!(store.children(&StorePath::root()).await.unwrap(), ["a", "c"]);
    store.commit(Vec::new()).await.unwrap();
}

pub(super) async fn a_change_sees_those_before_it(backend: &impl Backend) {
    let store = backend.connect().await;
    let changes = vec![create("/a", "0"), put("/a", "1", Some(0)), check("/a", 1), create("/a/b", "")];
    store.commit(changes).await.unwrap();
    assert_refused!(store.commit(vec![put("/a", "2", None), check("/a", 1)]).await, Changed, "/a");
    store.commit(vec![delete("/a/b", None), delete("/a", None), create("/a", "anew")]).await.unwrap();
    assert_eq!(read(&*store, "/a").await, record("anew", 0));
}

pub(super) async fn ensure_makes_what_is_missing_and_leaves_the_rest(backend: &impl Backend) {
    let store = backend.connect().await;
    store.create(&path("/a"), b"kept".to_vec()).await.unwrap();
    let other = backend.connect().await;
    let deep = path("/a/b/c");
    let (one, two) = tokio::join!(store.ensure(&deep), other.ensure(&deep));
    one.and(two).unwrap();
    store.ensure(&deep).await.unwrap();
    assert_eq!(read(&*store, "/a").await, record("kept", 0));
    assert_eq!(read(&*store, "/a/b/c").await, record("", 0));
}

pub(super) async fn of_two_racing_writers_one_wins(backend: &impl Backend) {
    let (one, two) = (backend.connect().await, backend.connect().await);
    for round in 0..20 {
        let at = StorePath::root().join(round);
        let (a, b) = tokio::join!(one.create(&at, b"one".to_vec()), two.create(&at, b"two".to_vec()));
        assert!(a.is_ok() != b.is_ok(), "{a:?} {b:?}");
        let (a, b) = tokio::join!(
            one.put(&at, b"one".to_vec(), Some(Version(0))),
            two.put(&at, b"two".to_vec(), Some(Version(0)))
        );
        let winner = if a.is_ok() { "one" } else { "two" };
        assert!(a.is_ok() != b.is_ok(), "{a:?} {b:?}");
        assert_eq!(read(&*one, at.as_str()).await, record(winner, 1));
    }
}

pub(super) async fn many_processes_count_without_losing_one(backend: &impl Backend) {
    let store = backend.connect().await;
    store.create(&path("/counter"), b"0".to_vec()).await.unwrap();
    let mut peers: Vec<Peer> = (0..PEERS).map(|_| Peer::start(backend, "count")).collect();
    for peer in &mut peers {
        peer.says("connected");
    }
    for peer in &mut peers {
        peer.tell("go");
    }
    for peer in &mut peers {
        peer.says("counted");
    }
    let total = PEERS * COUNTS;
    assert_eq!(read(&*store, "/counter").await, record(&total.to_string(), total));
}

pub(super) async fn a_lease_is_held_by_one(backend: &impl Backend) {
    let (one, two) = (backend.connect().await, backend.connect().await);
    let app = path("/apps/shop");
    assert_eq!(one.lease_holder(&app).await.unwrap(), None);
    let before = jiff::Timestamp::now();
    let held = held(one.try_lease(&app, "alice's push of 3f2c1ab").await.unwrap());
    for store in [&one, &two] {
        let holder = busy(store.try_lease(&app, "bob").await.unwrap()).unwrap();
        assert_eq!(holder.who, "alice's push of 3f2c1ab");
        assert!(holder.since >= before && holder.since <= jiff::Timestamp::now(), "{holder:?}");
        assert_eq!(store.lease_holder(&app).await.unwrap(), Some(holder));
    }
    assert_eq!(two.get(&app).await.unwrap(), None, "a lease needs no record and makes none");
    drop(held);
    assert_eq!(two.lease_holder(&app).await.unwrap(), None);
    drop(self::held(two.try_lease(&app, "bob").await.unwrap()));
}

pub(super) async fn leases_of_different_names_are_apart(backend: &impl Backend) {
    let store = backend.connect().await;
    let names = ["/a", "/a/b", "/a+b", "/A", "/a.b"].map(path);
    let long = ["x", "y"].map(|end| path("/deep").join("d".repeat(300) + end));
    let mut leases = Vec::new();
    for name in names.iter().chain(&long) {
        leases.push(held(store.try_lease(name, "me").await.unwrap()));
    }
}

pub(super) async fn a_wait_for_a_lease_ends_when_the_holder_lets_go(backend: &impl Backend) {
    let (one, two) = (backend.connect().await, backend.connect().await);
    let app = path("/apps/shop");
    let first = held(one.try_lease(&app, "alice").await.unwrap());
    let waiter = tokio::spawn({
        let app = app.clone();
        async move { (two.lease(&app, "bob", PATIENCE).await.unwrap(), Instant::now()) }
    });
    // The waiter may or may not wait already when the holder lets go: it must wake in both cases.
    tokio::time::sleep(BRIEF).await;
    assert!(!waiter.is_finished());
    let freed = Instant::now();
    drop(first);
    let (attempt, taken) = waiter.await.unwrap();
    let second = held(attempt);
    assert!(taken - freed < Duration::from_secs(1), "the waiter woke after {:?}", taken - freed);
    assert_eq!(one.lease_holder(&app).await.unwrap().unwrap().who, "bob");
    drop(second);
    drop(held(one.lease(&app, "carol", BRIEF).await.unwrap()));
}

pub(super) async fn of_many_waiters_each_gets_its_turn_alone(backend: &impl Backend) {
    let store = backend.connect().await;
    let app = path("/apps/shop");
    let inside = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let first = held(store.try_lease(&app, "first").await.unwrap());
    let waiters: Vec<_> = (0..8)
        .map(|number| {
            let (store, app, inside) = (Arc::clone(&store), app.clone(), Arc::clone(&inside));
            tokio::spawn(async move {
                let lease = held(store.lease(&app, &format!("waiter {number}"), PATIENCE).await.unwrap());
                assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                tokio::task::yield_now().await;
                inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                drop(lease);
            })
        })
        .collect();
    drop(first);
    for waiter in waiters {
        waiter.await.unwrap();
    }
}

pub(super) async fn patience_ends_and_the_holder_is_named(backend: &impl Backend) {
    let (one, two) = (backend.connect().await, backend.connect().await);
    let app = path("/apps/shop");
    let lease = held(one.try_lease(&app, "alice").await.unwrap());
    let started = Instant::now();
    let holder = busy(two.lease(&app, "bob", BRIEF).await.unwrap()).unwrap();
    assert_eq!(holder.who, "alice");
    assert!(started.elapsed() >= BRIEF);
    drop(lease);
    drop(held(one.try_lease(&app, "alice").await.unwrap()));
}

pub(super) async fn a_cancelled_wait_takes_nothing(backend: &impl Backend) {
    let (one, two) = (backend.connect().await, backend.connect().await);
    let app = path("/apps/shop");
    for _ in 0..10 {
        let lease = held(one.try_lease(&app, "alice").await.unwrap());
        let wait = two.lease(&app, "bob", PATIENCE);
        assert!(tokio::time::timeout(BRIEF / 10, wait).await.is_err());
        drop(lease);
        assert_eq!(one.lease_holder(&app).await.unwrap(), None);
        drop(held(one.try_lease(&app, "carol").await.unwrap()));
    }
}

pub(super) async fn who_looks_is_never_taken_for_a_holder(backend: &impl Backend) {
    let (one, two) = (backend.connect().await, backend.connect().await);
    let app = path("/apps/shop");
    let looking = async {
        for _ in 0..200 {
            two.lease_holder(&app).await.unwrap();
        }
    };
    let taking = async {
        for _ in 0..200 {
            drop(held(one.try_lease(&app, "alice").await.unwrap()));
        }
    };
    tokio::join!(looking, taking);
}

pub(super) async fn a_lease_ends_with_its_process(backend: &impl Backend) {
    let store = backend.connect().await;
    let app = path("/apps/shop");
    let mut peer = Peer::start(backend, "hold");
    peer.says("held");
    assert_eq!(busy(store.try_lease(&app, "alice").await.unwrap()).unwrap().who, "a peer");
    let waiter = tokio::spawn({
        let (store, app) = (Arc::clone(&store), app.clone());
        async move { store.lease(&app, "alice", PATIENCE).await.unwrap() }
    });
    tokio::time::sleep(BRIEF).await;
    assert!(!waiter.is_finished());
    let killed = Instant::now();
    peer.kill();
    let lease = held(waiter.await.unwrap());
    assert!(killed.elapsed() < Duration::from_secs(2), "the waiter woke after {:?}", killed.elapsed());
    assert_eq!(store.lease_holder(&app).await.unwrap().unwrap().who, "alice");
    drop(lease);
    assert_eq!(store.lease_holder(&app).await.unwrap(), None);
}

fn held(attempt: LeaseAttempt) -> super::Lease {
    match attempt {
        LeaseAttempt::Held(lease) => lease,
        LeaseAttempt::Busy(holder) => panic!("the lease is held by {holder:?}"),
    }
}

fn busy(attempt: LeaseAttempt) -> Option<super::Holder> {
    match attempt {
        LeaseAttempt::Held(_) => panic!("the lease is free"),
        LeaseAttempt::Busy(holder) => holder,
    }
}

/// What the other process does; a line on standard output tells how far it is, one on standard input lets it go on.
pub(super) async fn as_peer(store: Arc<dyn Store>, role: &str) {
    match role {
        "count" => {
            say("connected");
            wait_for_line();
            count(&*store).await;
            say("counted");
        }
        "hold" => {
            let _lease = held(store.try_lease(&path("/apps/shop"), "a peer").await.unwrap());
            say("held");
            wait_for_line();
        }
        other => panic!("no such role: {other}"),
    }
}

async fn count(store: &dyn Store) {
    let counter = path("/counter");
    let mut done = 0;
    while done < COUNTS {
        let record = store.get(&counter).await.unwrap().unwrap();
        let number: u64 = std::str::from_utf8(&record.value).unwrap().parse().unwrap();
        match store.put(&counter, (number + 1).to_string().into_bytes(), Some(record.version)).await {
            Ok(()) => done += 1,
            Err(StoreError::Changed(_)) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// Test harnesses write to standard output too, so what is meant begins with this.
const MARK: &str = "peer: ";

fn say(word: &str) {
    // Not `println!`, which test harnesses capture.
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n{MARK}{word}").and_then(|()| out.flush()).unwrap();
}

fn wait_for_line() {
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

/// The other process, seen from here; killed when dropped.
struct Peer {
    process: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Peer {
    fn start(backend: &impl Backend, role: &str) -> Self {
        let mut process = backend.start_peer(role);
        let to = process.stdin.take().unwrap();
        let from = BufReader::new(process.stdout.take().unwrap());
        Self { process, to, from }
    }

    fn says(&mut self, word: &str) {
        let mut said = String::new();
        while said.trim_end().strip_prefix(MARK) != Some(word) {
            said.clear();
            assert_ne!(self.from.read_line(&mut said).unwrap(), 0, "the peer ended without saying `{word}`");
        }
    }

    fn tell(&mut self, word: &str) {
        writeln!(self.to, "{word}").unwrap();
    }

    fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// One test per article of the contract, for a backend whose fresh store `$fresh` makes.
macro_rules! holds_for {
    ($fresh:expr; $($article:ident)+) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $article() {
            crate::store::contract::$article(&$fresh).await;
        })+
    };
    ($fresh:expr) => {
        crate::store::contract::holds_for! { $fresh;
            a_record_is_read_back_with_its_version
            a_value_is_any_bytes
            a_record_made_anew_begins_at_version_0
            a_record_is_created_once
            what_is_not_there_can_be_neither_changed_nor_listed
            a_stale_version_changes_nothing
            a_record_needs_its_parent
            the_root_is_always_there
            children_are_in_byte_order_and_only_those_directly_below
            a_transaction_is_all_or_nothing
            a_change_sees_those_before_it
            ensure_makes_what_is_missing_and_leaves_the_rest
            of_two_racing_writers_one_wins
            many_processes_count_without_losing_one
            a_lease_is_held_by_one
            leases_of_different_names_are_apart
            a_wait_for_a_lease_ends_when_the_holder_lets_go
            of_many_waiters_each_gets_its_turn_alone
            patience_ends_and_the_holder_is_named
            a_cancelled_wait_takes_nothing
            who_looks_is_never_taken_for_a_holder
            a_lease_ends_with_its_process
        }
    };
}
pub(super) use holds_for;
