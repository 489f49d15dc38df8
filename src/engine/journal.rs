//! The engine's state on disk: SQLite, written before anything is acted on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Moment;
use super::core::{Changes, Core, Saved};
use super::deployment::Deployment;
use super::group::Group;
use crate::marathon::{App, PathId};

/// The newest format that this program knows.
const KNOWN_FORMAT: u32 = 2;

/// Step `n` brings the format from `n` to `n + 1`; the format's number is SQLite's `user_version`.
const FORMATS: [&str; KNOWN_FORMAT as usize] = [
    "
    CREATE TABLE fact (name TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL) WITHOUT ROWID;
    -- Every definition that an app had, by the time that is its version.
    CREATE TABLE app (
        id TEXT NOT NULL, version TEXT NOT NULL, definition TEXT NOT NULL, PRIMARY KEY (id, version)
    ) WITHOUT ROWID;
    -- Every tree, as groups with the versions of their apps; the newest is asked for.
    CREATE TABLE tree (version TEXT PRIMARY KEY NOT NULL, groups TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE instance (id TEXT PRIMARY KEY NOT NULL, record TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE deployment (id TEXT PRIMARY KEY NOT NULL, record TEXT NOT NULL);
    CREATE TABLE failure (app TEXT PRIMARY KEY NOT NULL, record TEXT NOT NULL) WITHOUT ROWID;
    ",
    "
    -- Which definitions instances refer to, found without reading every record.
    ALTER TABLE instance ADD COLUMN version TEXT NOT NULL DEFAULT '';
    UPDATE instance SET version = json_extract(record, '$.version');
    CREATE INDEX instance_version ON instance (version);
    ",
];

/// How many versions of a tree, and of each app, are kept: Marathon's `--zk_max_versions`.
const MAX_VERSIONS: u32 = 50;

/// Why the state cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("cannot make the state directory {}", .dir.display())]
    Directory {
        dir: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    #[error("another engine uses the state directory {}", .0.display())]
    InUse(PathBuf),
    #[error("the state in {} is of a newer version ({found}, this program knows {KNOWN_FORMAT}); use a newer paas", .file.display())]
    TooNew { file: PathBuf, found: u32 },
    #[error("cannot use the state in {}", .file.display())]
    Sql {
        file: PathBuf,
        #[source]
        cause: rusqlite::Error,
    },
    #[error("a record of the state in {} cannot be read", .file.display())]
    Record {
        file: PathBuf,
        #[source]
        cause: serde_json::Error,
    },
}

/// The state's file, held by this process alone.
#[derive(Debug)]
pub struct Journal {
    records: Records,
    _turn: File,
}

impl std::ops::Deref for Journal {
    type Target = Records;
    fn deref(&self) -> &Records {
        &self.records
    }
}

/// A group as the table `tree` has it.
#[derive(Debug, Serialize, Deserialize)]
struct Branch {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    apps: BTreeMap<PathId, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    groups: BTreeMap<PathId, Branch>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    dependencies: Vec<PathId>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    enforce_role: bool,
}

/// The same, lent from a group to be written.
#[derive(Serialize)]
struct Lent<'a> {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    apps: BTreeMap<&'a PathId, &'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    groups: BTreeMap<&'a PathId, Lent<'a>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    dependencies: &'a [PathId],
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    enforce_role: bool,
}

impl<'a> Lent<'a> {
    fn of(group: &'a Group) -> Self {
        Self {
            apps: group.apps.iter().map(|(id, app)| (id, &*app.version)).collect(),
            groups: group.groups.iter().map(|(id, group)| (id, Self::of(group))).collect(),
            dependencies: &group.dependencies,
            enforce_role: group.enforce_role,
        }
    }
}

impl Branch {
    /// The group with its definitions; an app without one is left out.
    fn grow(self, id: PathId, definition: &mut dyn FnMut(&PathId, &str) -> Option<Arc<App>>) -> Group {
        let apps = self.apps.iter().filter_map(|(id, version)| Some((id.clone(), definition(id, version)?))).collect();
        let groups =
            self.groups.into_iter().map(|(id, branch)| (id.clone(), Arc::new(branch.grow(id, definition)))).collect();
        Group { id, apps, groups, dependencies: self.dependencies, enforce_role: self.enforce_role }
    }
}

impl Journal {
    /// Opens the state in `dir`, which is made (0700) when missing. One process at a time.
    pub fn open(dir: &Path) -> Result<Self, JournalError> {
        let unusable = |cause| JournalError::Directory { dir: dir.to_owned(), cause };
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(unusable)?;
        let private = |name: &str| {
            OpenOptions::new().create(true).read(true).write(true).truncate(false).mode(0o600).open(dir.join(name))
        };
        let turn = private("engine.lock").map_err(unusable)?;
        turn.try_lock().map_err(|_| JournalError::InUse(dir.to_owned()))?;
        private("engine.db").map_err(unusable)?;
        let file = dir.join("engine.db");
        let failed = |cause| JournalError::Sql { file: file.clone(), cause };
        let mut connection = Connection::open(&file).map_err(failed)?;
        let found = prepare(&mut connection).map_err(failed)?;
        if found > KNOWN_FORMAT {
            return Err(JournalError::TooNew { file, found });
        }
        Ok(Self { records: Records { connection, file }, _turn: turn })
    }

    /// A fact that is made once and then stays, such as this engine's id.
    pub fn fact(&mut self, name: &str, make: impl FnOnce() -> String) -> Result<String, JournalError> {
        let known = self.connection.query_row("SELECT value FROM fact WHERE name = ?1", [name], |row| row.get(0));
        if let Some(value) = known.optional().map_err(|cause| self.failed(cause))? {
            return Ok(value);
        }
        let value = make();
        let put = self.connection.execute("INSERT INTO fact (name, value) VALUES (?1, ?2)", [name, &value]);
        put.map_err(|cause| self.failed(cause))?;
        Ok(value)
    }

    /// This engine's id: it is on its containers, and stays as long as its state does.
    pub fn engine_id(&mut self) -> Result<String, JournalError> {
        self.fact("engine", || Uuid::new_v4().to_string())
    }

    /// Everything, as it was last written.
    pub fn load(&self) -> Result<Saved, JournalError> {
        let newest = self.texts("SELECT version FROM tree ORDER BY version DESC LIMIT 1")?.pop();
        let (root, root_version) = match newest.and_then(|version| version.parse().ok()) {
            Some(version) => (self.tree(version)?, version),
            None => (None, Moment::from_millis(0)),
        };
        let root = root.unwrap_or_else(|| Group::empty(PathId::root()));
        let instances: Vec<super::instance::Instance> = self.records("SELECT record FROM instance")?;
        let deployments: Vec<Deployment> = self.records("SELECT record FROM deployment ORDER BY rowid")?;
        let mut definitions: BTreeMap<_, Arc<App>> = BTreeMap::new();
        for app in root.all_apps() {
            definitions.insert((app.id.clone(), app.version.clone()), app.clone());
        }
        let of_instances = instances.iter().map(|instance| (instance.app().clone(), instance.version.clone()));
        let of_deployments = deployments.iter().flat_map(|deployment| &deployment.changes).flat_map(|(id, change)| {
            [&change.before, &change.after].into_iter().flatten().map(|version| (id.clone(), version.clone()))
        });
        for (id, version) in of_instances.chain(of_deployments).collect::<BTreeSet<_>>() {
            if !definitions.contains_key(&(id.clone(), version.clone()))
                && let Some(app) = self.app(&id, &version)?
            {
                definitions.insert((id, version), Arc::new(app));
            }
        }
        let failures = self.records("SELECT record FROM failure")?;
        Ok(Saved {
            root,
            root_version,
            definitions: definitions.into_values().collect(),
            instances,
            deployments,
            failures,
        })
    }

    /// Writes what changed, all of it or nothing. Durable when this returns.
    pub fn write(&mut self, core: &Core, changes: &Changes) -> Result<(), JournalError> {
        let file = self.file.clone();
        let written = write_all(&mut self.records.connection, core, changes);
        written.map_err(|cause| JournalError::Sql { file, cause })
    }
}

/// What the state was, read beside its owner; cheap to clone.
#[derive(Debug, Clone)]
pub struct Past(Arc<Mutex<Records>>);

impl Past {
    /// The past of the state in `dir`, which a [`Journal`] has opened before.
    pub fn open(dir: &Path) -> Result<Self, JournalError> {
        let file = dir.join("engine.db");
        // Not read-only, which cannot share the index of what is not yet in the main file.
        let connection = Connection::open(&file).map_err(|cause| JournalError::Sql { file: file.clone(), cause })?;
        Ok(Self(Arc::new(Mutex::new(Records { connection, file }))))
    }
    /// Reads of it what `read` wants, on a thread that may wait for the disk.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Records) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        let past = self.0.clone();
        let reading = tokio::task::spawn_blocking(move || read(&past.lock().unwrap_or_else(PoisonError::into_inner)));
        reading.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }
}

/// The records of the state, as they are on disk.
#[derive(Debug)]
pub struct Records {
    connection: Connection,
    file: PathBuf,
}

impl Records {
    /// A tree as it was in that version; none when it is not kept.
    pub fn tree(&self, version: Moment) -> Result<Option<Group>, JournalError> {
        let mut statement = self.prepare("SELECT groups FROM tree WHERE version = ?1")?;
        let text: Option<String> = statement
            .query_row([version.to_string()], |row| row.get(0))
            .optional()
            .map_err(|cause| self.failed(cause))?;
        let Some(text) = text else { return Ok(None) };
        let branch: Branch = self.read(&text)?;
        let mut failure = None;
        let tree = branch.grow(PathId::root(), &mut |id, version| match self.app(id, version) {
            Ok(app) => app.map(Arc::new),
            Err(error) => {
                failure = Some(error);
                None
            }
        });
        failure.map_or(Ok(Some(tree)), Err)
    }

    /// The versions of trees that are kept.
    pub fn tree_versions(&self) -> Result<Vec<String>, JournalError> {
        self.texts("SELECT version FROM tree")
    }

    /// An app's definition as it was in that version; none when it is not kept.
    pub fn app(&self, id: &PathId, version: &str) -> Result<Option<App>, JournalError> {
        let mut statement = self.prepare("SELECT definition FROM app WHERE id = ?1 AND version = ?2")?;
        let text: Option<String> = statement
            .query_row([&id.to_string(), version], |row| row.get(0))
            .optional()
            .map_err(|cause| self.failed(cause))?;
        text.map(|text| self.read(&text)).transpose()
    }

    /// The versions of an app that are kept.
    pub fn app_versions(&self, id: &PathId) -> Result<Vec<String>, JournalError> {
        let mut statement = self.prepare("SELECT version FROM app WHERE id = ?1")?;
        let found = statement.query_map([id.to_string()], |row| row.get(0)).and_then(Iterator::collect);
        found.map_err(|cause| self.failed(cause))
    }

    fn prepare(&self, sql: &str) -> Result<rusqlite::CachedStatement<'_>, JournalError> {
        self.connection.prepare_cached(sql).map_err(|cause| self.failed(cause))
    }
    fn texts(&self, sql: &str) -> Result<Vec<String>, JournalError> {
        let mut statement = self.prepare(sql)?;
        let found = statement.query_map([], |row| row.get(0)).and_then(Iterator::collect);
        found.map_err(|cause| self.failed(cause))
    }
    fn records<T: serde::de::DeserializeOwned>(&self, sql: &str) -> Result<Vec<T>, JournalError> {
        self.texts(sql)?.iter().map(|text| self.read(text)).collect()
    }
    fn read<T: serde::de::DeserializeOwned>(&self, text: &str) -> Result<T, JournalError> {
        serde_json::from_str(text).map_err(|cause| JournalError::Record { file: self.file.clone(), cause })
    }
    fn failed(&self, cause: rusqlite::Error) -> JournalError {
        JournalError::Sql { file: self.file.clone(), cause }
    }
}

/// Brings the connection and the format up to date; gives the format's number. A newer format is not touched.
fn prepare(connection: &mut Connection) -> Result<u32, rusqlite::Error> {
    let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > KNOWN_FORMAT {
        return Ok(found);
    }
    connection.pragma_update(None, "journal_mode", "wal")?;
    // What was answered as accepted must survive a power cut.
    connection.pragma_update(None, "synchronous", "full")?;
    connection.set_prepared_statement_cache_capacity(32);
    if found < KNOWN_FORMAT {
        let transaction = connection.transaction()?;
        for step in FORMATS.iter().skip(found as usize) {
            transaction.execute_batch(step)?;
        }
        transaction.pragma_update(None, "user_version", KNOWN_FORMAT)?;
        transaction.commit()?;
    }
    Ok(KNOWN_FORMAT)
}

fn write_all(connection: &mut Connection, core: &Core, changes: &Changes) -> Result<(), rusqlite::Error> {
    let transaction = connection.transaction()?;
    for app in &changes.definitions {
        let mut put =
            transaction.prepare_cached("INSERT OR REPLACE INTO app (id, version, definition) VALUES (?1, ?2, ?3)")?;
        put.execute(params![app.id.to_string(), app.version, json(&**app)])?;
    }
    if changes.root {
        let version = core.root_version().to_string();
        let mut put = transaction.prepare_cached("INSERT OR REPLACE INTO tree (version, groups) VALUES (?1, ?2)")?;
        put.execute(params![version, json(&Lent::of(core.root()))])?;
        drop(put);
        forget_old(&transaction, changes)?;
    }
    for id in &changes.instances {
        match core.instance(id) {
            Some(instance) => {
                let mut put = transaction
                    .prepare_cached("INSERT OR REPLACE INTO instance (id, record, version) VALUES (?1, ?2, ?3)")?;
                put.execute(params![id.to_string(), json(instance), instance.version])?;
            }
            None => {
                transaction.prepare_cached("DELETE FROM instance WHERE id = ?1")?.execute([id.to_string()])?;
            }
        }
    }
    for id in &changes.deployments {
        let record = core.deployments().iter().find(|deployment| deployment.id == *id).map(|found| json(&**found));
        put_or_delete(&transaction, "deployment", "id", &id.to_string(), record)?;
    }
    for app in &changes.failures {
        put_or_delete(&transaction, "failure", "app", &app.to_string(), core.failure(app).map(json))?;
    }
    transaction.commit()
}

/// Drops the oldest trees, and of the apps that changed, definitions that no tree that is kept refers to.
fn forget_old(transaction: &Transaction<'_>, changes: &Changes) -> Result<(), rusqlite::Error> {
    transaction.execute(
        "DELETE FROM tree WHERE version NOT IN (SELECT version FROM tree ORDER BY version DESC LIMIT ?1)",
        [MAX_VERSIONS],
    )?;
    // A tree has of each app the newest version that is no newer than itself.
    let mut delete = transaction.prepare_cached(
        "DELETE FROM app WHERE id = ?1
           AND version < (SELECT max(version) FROM app WHERE id = ?1 AND version <= (SELECT min(version) FROM tree))
           AND version NOT IN (SELECT version FROM app WHERE id = ?1 ORDER BY version DESC LIMIT ?2)
           AND version NOT IN (SELECT version FROM instance)",
    )?;
    for app in &changes.definitions {
        delete.execute(params![app.id.to_string(), MAX_VERSIONS])?;
    }
    Ok(())
}

/// `table` and `key` are names of ours.
fn put_or_delete(
    transaction: &Transaction<'_>,
    table: &str,
    key: &str,
    id: &str,
    record: Option<String>,
) -> Result<(), rusqlite::Error> {
    match record {
        Some(record) => {
            let sql = format!(
                "INSERT INTO {table} ({key}, record) VALUES (?1, ?2) ON CONFLICT ({key}) DO UPDATE SET record = ?2"
            );
            transaction.prepare_cached(&sql)?.execute(params![id, record])?;
        }
        None => {
            transaction.prepare_cached(&format!("DELETE FROM {table} WHERE {key} = ?1"))?.execute([id])?;
        }
    }
    Ok(())
}

fn json(record: &impl Serialize) -> String {
    serde_json::to_string(record).expect("records are text, numbers, lists and maps with text keys")
}

#[cfg(test)]
mod tests {
    use super::super::samples::{change, command, core, id};
    use super::*;

    #[test]
    fn what_was_written_is_there_after_opening_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path()).unwrap();
        let engine = journal.engine_id().unwrap();
        let mut core1 = core(journal.load().unwrap(), 1_900_000_000_000);
        change(&mut core1, |tree| tree.put_app(Arc::new(command("/shop/web"))));
        let changes = core1.take_changes();
        journal.write(&core1, &changes).unwrap();
        drop(journal);
        let mut journal = Journal::open(dir.path()).unwrap();
        assert_eq!(journal.engine_id().unwrap(), engine);
        let core2 = core(journal.load().unwrap(), 1_900_000_000_500);
        assert_eq!(core2.root(), core1.root());
        assert_eq!(core2.root_version(), core1.root_version());
        assert_eq!(core2.deployments(), core1.deployments());
        assert_eq!(core2.all_instances().collect::<Vec<_>>(), core1.all_instances().collect::<Vec<_>>());
        assert!(core2.all_instances().count() == 1);
    }

    #[test]
    fn one_process_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let _journal = Journal::open(dir.path()).unwrap();
        assert!(matches!(Journal::open(dir.path()), Err(JournalError::InUse(_))));
    }

    #[test]
    fn a_state_of_every_older_format_is_brought_up_to_date() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path()).unwrap();
        let mut core1 = core(journal.load().unwrap(), 1_900_000_000_000);
        change(&mut core1, |tree| tree.put_app(Arc::new(command("/shop/web"))));
        let changes = core1.take_changes();
        journal.write(&core1, &changes).unwrap();
        drop(journal);
        // The same as the first format had it.
        let old = tempfile::tempdir().unwrap();
        let connection = Connection::open(old.path().join("engine.db")).unwrap();
        connection.execute_batch(FORMATS[0]).unwrap();
        connection.pragma_update(None, "user_version", 1).unwrap();
        let new = dir.path().join("engine.db").display().to_string();
        connection.execute("ATTACH ?1 AS new", [new]).unwrap();
        for (table, columns) in
            [("fact", "*"), ("app", "*"), ("tree", "*"), ("instance", "id, record"), ("deployment", "*")]
        {
            connection.execute(&format!("INSERT INTO main.{table} SELECT {columns} FROM new.{table}"), []).unwrap();
        }
        drop(connection);
        let journal = Journal::open(old.path()).unwrap();
        let core2 = core(journal.load().unwrap(), 1_900_000_000_500);
        assert_eq!(core2.root(), core1.root());
        assert_eq!(core2.deployments(), core1.deployments());
        assert_eq!(core2.all_instances().collect::<Vec<_>>(), core1.all_instances().collect::<Vec<_>>());
        let versions = journal.texts("SELECT version FROM instance").unwrap();
        assert_eq!(versions, core1.all_instances().map(|instance| instance.version.clone()).collect::<Vec<_>>());
    }

    #[test]
    fn a_newer_state_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        drop(Journal::open(dir.path()).unwrap());
        let connection = Connection::open(dir.path().join("engine.db")).unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        drop(connection);
        assert!(matches!(Journal::open(dir.path()), Err(JournalError::TooNew { found: 99, .. })));
    }

    #[test]
    fn old_trees_go_and_every_tree_that_is_kept_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path()).unwrap();
        let mut core = core(journal.load().unwrap(), 1_900_000_000_000);
        change(&mut core, |tree| tree.put_app(Arc::new(App { instances: 0, ..command("/still") })));
        for n in 0..MAX_VERSIONS * 2 {
            change(&mut core, |tree| {
                tree.put_app(Arc::new(App { instances: 0, mem: f64::from(n), ..command("/busy") }));
            });
            let changes = core.take_changes();
            journal.write(&core, &changes).unwrap();
        }
        let versions = journal.tree_versions().unwrap();
        assert_eq!(versions.len(), MAX_VERSIONS as usize);
        for version in versions {
            let tree = journal.tree(version.parse().unwrap()).unwrap().unwrap();
            assert!(tree.app(&id("/still")).is_some() && tree.app(&id("/busy")).is_some());
        }
        let kept = journal.app_versions(&id("/busy")).unwrap().len();
        assert!((50..=51).contains(&kept), "{kept}");
    }
}
