use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::*;
use crate::store::contract::{self, Backend};

/// A store in a directory that goes when the test does.
struct Fresh(TempDir);

impl Fresh {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
    fn dir(&self) -> PathBuf {
        self.0.path().join("store")
    }
}

/// What tells another process of this test binary that it is a peer: `<directory>\n<role>`.
const PEER: &str = "PAAS_TEST_STORE_PEER";

impl Backend for Fresh {
    async fn connect(&self) -> Arc<dyn Store> {
        Arc::new(SqliteStore::open(&self.dir()).unwrap())
    }

    fn start_peer(&self, role: &str) -> Child {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::sqlite::tests::as_another_process", "--nocapture"])
            .env(PEER, format!("{}\n{role}", self.dir().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

/// No test by itself: the other process of those that need one.
#[tokio::test]
async fn as_another_process() {
    if let Ok(peer) = std::env::var(PEER) {
        let (dir, role) = peer.split_once('\n').unwrap();
        contract::as_peer(Arc::new(SqliteStore::open(Path::new(dir)).unwrap()), role).await;
    }
}

contract::holds_for!(Fresh::new());

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn nobody_else_can_read_the_files() {
    let fresh = Fresh::new();
    let store = fresh.connect().await;
    let path = StorePath::root().join("a");
    store.create(&path, b"secret".to_vec()).await.unwrap();
    let _lease = store.try_lease(&path, "me").await.unwrap();
    assert_eq!(mode(&fresh.dir()), 0o700);
    assert_eq!(mode(&fresh.dir().join("leases")), 0o700);
    for dir in [fresh.dir(), fresh.dir().join("leases")] {
        for file in std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().path()).filter(|path| path.is_file()) {
            assert_eq!(mode(&file), 0o600, "{}", file.display());
        }
    }
    assert!(fresh.dir().join("store.db-wal").exists(), "the file is in WAL mode");
}

/// Some user id that is not root's.
const SOMEBODY: u32 = 12_345;

fn give_to_somebody(dir: &Path) {
    std::os::unix::fs::chown(dir, Some(SOMEBODY), Some(SOMEBODY)).unwrap();
}

#[track_caller]
fn assert_all_is_somebodys(fresh: &Fresh) {
    use std::os::unix::fs::MetadataExt as _;
    let mut all = 0;
    for dir in [fresh.dir(), fresh.dir().join("leases")] {
        for file in std::fs::read_dir(dir).unwrap().map(|file| file.unwrap()) {
            let metadata = file.metadata().unwrap();
            assert_eq!((metadata.uid(), metadata.gid()), (SOMEBODY, SOMEBODY), "{}", file.path().display());
            all += 1;
        }
    }
    assert!(all >= 6, "the file, its log and index, the locks: {all}");
}

async fn use_it(fresh: &Fresh, name: &str) -> (Arc<dyn Store>, LeaseAttempt) {
    let store = fresh.connect().await;
    let path = StorePath::root().join(name);
    store.create(&path, Vec::new()).await.unwrap();
    let lease = store.try_lease(&path, "me").await.unwrap();
    (store, lease)
}

#[tokio::test]
async fn what_root_makes_belongs_to_the_owner_of_the_directory() {
    if rustix::process::geteuid().is_root() {
        let fresh = Fresh::new();
        std::fs::create_dir(fresh.dir()).unwrap();
        give_to_somebody(&fresh.dir());
        let _in_use = use_it(&fresh, "a").await;
        assert_all_is_somebodys(&fresh);
    }
}

#[tokio::test]
async fn what_root_made_follows_the_directory_to_its_new_owner() {
    if rustix::process::geteuid().is_root() {
        let fresh = Fresh::new();
        let _in_use = use_it(&fresh, "a").await;
        give_to_somebody(&fresh.dir());
        let _in_use_too = use_it(&fresh, "b").await;
        assert_all_is_somebodys(&fresh);
    }
}

#[tokio::test]
async fn root_follows_no_link_and_gives_nothing_else_away() {
    use std::os::unix::fs::MetadataExt as _;
    if rustix::process::geteuid().is_root() {
        let fresh = Fresh::new();
        let elsewhere = fresh.0.path().join("shadow");
        std::fs::write(&elsewhere, "root's").unwrap();
        std::fs::create_dir(fresh.dir()).unwrap();
        give_to_somebody(&fresh.dir());
        std::fs::hard_link(&elsewhere, fresh.dir().join("hard")).unwrap();
        std::os::unix::fs::symlink(&elsewhere, fresh.dir().join("soft")).unwrap();
        drop(fresh.connect().await);
        std::fs::remove_file(fresh.dir().join("store.db")).unwrap();
        std::os::unix::fs::symlink(&elsewhere, fresh.dir().join("store.db")).unwrap();
        assert!(matches!(SqliteStore::open(&fresh.dir()), Err(StoreError::Open { .. })));
        assert_eq!(std::fs::read_to_string(&elsewhere).unwrap(), "root's");
        assert_eq!(std::fs::metadata(&elsewhere).unwrap().uid(), 0);
    }
}

#[tokio::test]
async fn a_store_of_a_newer_version_is_left_alone() {
    let fresh = Fresh::new();
    drop(fresh.connect().await);
    let file = fresh.dir().join("store.db");
    Connection::open(&file).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let before = std::fs::read(&file).unwrap();
    let error = SqliteStore::open(&fresh.dir()).unwrap_err();
    assert!(matches!(error, StoreError::TooNew { found: 99, known: 1, .. }), "{error:?}");
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

#[test]
fn what_is_no_store_is_said_so() {
    let fresh = Fresh::new();
    std::fs::create_dir(fresh.dir()).unwrap();
    std::fs::write(fresh.dir().join("store.db"), "this is no SQLite file, it is a text of some length").unwrap();
    let error = SqliteStore::open(&fresh.dir()).unwrap_err();
    assert!(matches!(error, StoreError::Open { .. }), "{error:?}");
    assert!(error.to_string().contains("store.db"), "{error}");
}

#[test]
fn a_store_is_found_only_where_one_was_made() {
    let fresh = Fresh::new();
    assert!(!SqliteStore::is_in(&fresh.dir()));
    SqliteStore::open(&fresh.dir()).unwrap();
    assert!(SqliteStore::is_in(&fresh.dir()));
}

#[tokio::test]
async fn many_first_openers_do_not_disturb_one_another() {
    for _ in 0..5 {
        let fresh = Fresh::new();
        std::thread::scope(|scope| {
            let openers: Vec<_> = (0..8).map(|_| scope.spawn(|| SqliteStore::open(&fresh.dir()))).collect();
            for opener in openers {
                opener.join().unwrap().unwrap();
            }
        });
    }
}

#[tokio::test]
async fn a_look_up_uses_the_index() {
    let fresh = Fresh::new();
    let store = SqliteStore::open(&fresh.dir()).unwrap();
    let connection = store.connection.lock().unwrap();
    for query in
        ["SELECT value FROM record WHERE path = '/a'", "SELECT path FROM record WHERE parent = '/' ORDER BY path"]
    {
        let plan: String = connection.query_row(&format!("EXPLAIN QUERY PLAN {query}"), [], |row| row.get(3)).unwrap();
        assert!(plan.starts_with("SEARCH record USING"), "{plan}");
    }
}
