//! Opening the SQLite file: its modes, its owner, its format.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::open_error;
use crate::store::StoreError;

pub(super) const FILE_NAME: &str = "store.db";

/// How long a call waits for other processes' transactions, each of which takes milliseconds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(15);

/// What was answered as done must survive a power cut: with NORMAL, WAL may lose the last transactions.
const DURABLE: &str = "full";

/// The newest format that this program knows.
const KNOWN_FORMAT: u32 = 1;

/// Step `n` brings the format from `n` to `n + 1`; the format's number is SQLite's `user_version`.
const FORMATS: [&str; KNOWN_FORMAT as usize] = ["
    CREATE TABLE record (
        path    TEXT PRIMARY KEY NOT NULL,
        parent  TEXT NOT NULL, -- the root's is empty
        value   BLOB NOT NULL,
        version INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX record_by_parent ON record (parent);
    INSERT INTO record (path, parent, value, version) VALUES ('/', '', x'', 0);
"];

pub(super) fn open(dir: &Path, place: &Path) -> Result<Connection, StoreError> {
    make_directory(dir).map_err(|cause| open_error(place, cause))?;
    // SQLite does not wait for others while a file becomes WAL, so first openers take turns. Most openings are of a
    // store that is there and needs nothing: they share one turn, and a look-up waits for no other.
    let turn = open_file(&dir.join("store.lock"));
    adopt(dir).map_err(|cause| open_error(place, cause))?;
    let turn = turn.map_err(|cause| open_error(place, cause))?;
    turn.lock_shared().map_err(|cause| open_error(place, cause))?;
    if let Some(connection) = open_ready(place) {
        return Ok(connection);
    }
    // Let go of first: two that share the turn would wait for one another.
    turn.unlock().and_then(|()| turn.lock()).map_err(|cause| open_error(place, cause))?;
    make_file(place).map_err(|cause| open_error(place, cause))?;
    let mut connection = connect(place).map_err(|cause| open_error(place, cause))?;
    let found = prepare(&mut connection).map_err(|cause| open_error(place, cause))?;
    if found > KNOWN_FORMAT {
        return Err(StoreError::TooNew { place: place.display().to_string(), found, known: KNOWN_FORMAT });
    }
    Ok(connection)
}

fn connect(place: &Path) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(place, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// A store that is WAL already and of our format; nothing when it is any other, and whatever is wrong with it is found
/// again by whoever goes on.
fn open_ready(place: &Path) -> Option<Connection> {
    if !std::fs::symlink_metadata(place).ok()?.is_file() {
        return None;
    }
    let connection = connect(place).ok()?;
    let journal: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).ok()?;
    let is_ready = journal == "wal" && format(&connection).ok()? == KNOWN_FORMAT;
    connection.pragma_update(None, "synchronous", DURABLE).ok()?;
    is_ready.then_some(connection)
}

/// Made here and not by SQLite, which would use the process's umask and root's ownership.
///
/// A file that is there is not even opened: closing it again would free the locks that this process has on it by other
/// connections.
fn make_file(place: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(place) {
        Ok(found) if found.is_file() => Ok(()),
        _ => open_file(place).map(|_| ()),
    }
}

/// Brings the connection and the format up to date; gives the format's number. A newer format is not touched.
fn prepare(connection: &mut Connection) -> Result<u32, rusqlite::Error> {
    let found = format(connection)?;
    if found > KNOWN_FORMAT {
        return Ok(found);
    }
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", DURABLE)?;
    if found < KNOWN_FORMAT {
        migrate(connection)?;
    }
    Ok(KNOWN_FORMAT)
}

fn format(connection: &Connection) -> Result<u32, rusqlite::Error> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn migrate(connection: &mut Connection) -> Result<(), rusqlite::Error> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = format(&transaction)?;
    for step in FORMATS.iter().skip(found as usize) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", KNOWN_FORMAT.max(found))?;
    transaction.commit()
}

/// Makes `dir` with mode 0700, and what is missing above it with the usual mode; what is there is left alone.
pub(super) fn make_directory(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let above = dir.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(above)?;
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
        Ok(()) => give_to_owner_of(above, &File::open(dir)?),
    }
}

/// What lies in the directory is the system user's to change, so root follows no links in it.
const NO_FOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
/// And waits for nobody at the other end of a pipe.
const NO_WAIT: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();

/// Opens a file of ours for reading and writing, and makes it with mode 0600 when it is missing.
pub(super) fn open_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600).custom_flags(NO_FOLLOW);
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        opened => return opened,
    }
    let file = options.create(true).truncate(false).open(path)?;
    give_to_owner_of(path.parent().expect("a file of the store is in a directory"), &file)?;
    Ok(file)
}

/// Gives what root made in `dir` before the directory got its owner to that owner; `sudo paas keys add` may come
/// before the first `paas up`. Only root does this.
pub(super) fn adopt(dir: &Path) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() || std::fs::metadata(dir)?.uid() == 0 {
        return Ok(());
    }
    for entry in std::fs::read_dir(dir)? {
        let opened = OpenOptions::new().read(true).custom_flags(NO_FOLLOW | NO_WAIT).open(entry?.path());
        let found = match opened {
            // SQLite deletes some of its files when the last process closes them; a link is not ours.
            Err(_gone) => continue,
            Ok(file) => file,
        };
        let metadata = found.metadata()?;
        // A file with a second name might be anybody's, linked here.
        let ours = metadata.is_dir() || (metadata.is_file() && metadata.nlink() == 1);
        if ours && metadata.uid() == 0 {
            give_to_owner_of(dir, &found)?;
        }
    }
    Ok(())
}

/// What root makes in somebody's directory becomes theirs; anyone else's files are their own already.
fn give_to_owner_of(dir: &Path, made: &File) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let owner = std::fs::metadata(dir)?;
    std::os::unix::fs::fchown(made, Some(owner.uid()), Some(owner.gid()))
}
