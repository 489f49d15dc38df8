//! The builds of an app, for whoever asks: what the store remembers, and what their logs say. Nothing of it needs the
//! app's lease.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::PathBuf;
use std::time::Duration;

use super::build_log::{Build, BuildLog, BuildState, Builds};
use super::log_watch::LogWatch;
use super::places::Places;
use super::release::{Release, ReleaseError, Releases};
use crate::docker::DockerError;
use crate::model::{AppName, TenantName};
use crate::store::{Holder, Store, StoreError};

/// A push that was killed lets go of its log an instant before the app's lease, which nobody is told of.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// The builds of one app.
#[derive(Debug)]
pub struct BuildHistory<'a> {
    pub(super) builds: Builds<'a>,
    /// The directory of the app's logs.
    pub(super) logs: PathBuf,
    app: AppName,
}

/// Why there is no answer about a build.
#[derive(Debug, thiserror::Error)]
pub enum BuildsError {
    #[error("there is no build {number} of `{app}`")]
    Unknown { app: AppName, number: u32 },
    #[error("build {number} is over: it {}", over(.state))]
    Ended { number: u32, state: &'static str },
    #[error("the log of build {number} is not kept here")]
    NoLog { number: u32 },
    #[error("the log of build {number} cannot be read")]
    Log {
        number: u32,
        #[source]
        cause: io::Error,
    },
    #[error("the builds cannot be looked up")]
    Record(#[from] ReleaseError),
    #[error("the build is cancelled, but its container could not be ended")]
    Docker(#[from] DockerError),
}

impl From<StoreError> for BuildsError {
    fn from(error: StoreError) -> Self {
        Self::Record(error.into())
    }
}

fn over(state: &str) -> String {
    if state == "abandoned" { "was abandoned by its push".to_owned() } else { state.to_owned() }
}

impl<'a> BuildHistory<'a> {
    /// `logs` is the directory of the app's logs.
    pub fn of(store: &'a dyn Store, tenant: &TenantName, app: &AppName, logs: PathBuf) -> Self {
        Self { builds: Builds { store, places: Places::of(tenant, app) }, logs, app: app.clone() }
    }

    /// All that are remembered, the newest first.
    pub async fn list(&self) -> Result<Vec<Build>, BuildsError> {
        let mut all = Vec::new();
        for number in self.numbers().await? {
            // What is gone since it was listed is no error.
            all.extend(self.find(number).await?);
        }
        Ok(all)
    }

    /// One of them.
    pub async fn get(&self, number: u32) -> Result<Build, BuildsError> {
        let unknown = || BuildsError::Unknown { app: self.app.clone(), number };
        self.find(number).await?.ok_or_else(unknown)
    }

    /// The newest, if there was any.
    pub async fn newest(&self) -> Result<Option<Build>, BuildsError> {
        match self.numbers().await?.first() {
            Some(&number) => self.find(number).await,
            None => Ok(None),
        }
    }

    /// What its push released, if it came to that.
    pub async fn release_of(&self, build: &Build) -> Result<Option<Release>, BuildsError> {
        let releases = Releases::of(self.builds.store, self.builds.places.clone());
        Ok(releases.of_push(&build.push, build.started).await?)
    }

    /// What the build has said and, when it is followed, says until it has ended.
    pub fn log(&self, number: u32, follow: bool) -> Result<LogReader<'_>, BuildsError> {
        let path = BuildLog::path(&self.logs, number);
        let failed = |cause: io::Error| match cause.kind() {
            io::ErrorKind::NotFound => BuildsError::NoLog { number },
            _ => BuildsError::Log { number, cause },
        };
        // Before the record is asked, so that no end comes unseen.
        let watch = follow.then(|| LogWatch::for_output(&path)).transpose().map_err(failed)?;
        let tail = Tail::of(File::open(&path).map_err(failed)?);
        Ok(LogReader { history: self, number, tail, ask: true, watch })
    }

    /// The newest first.
    async fn numbers(&self) -> Result<Vec<u32>, BuildsError> {
        let names = match self.builds.store.children(&self.builds.places.builds()).await {
            Err(StoreError::NotFound(_)) => Vec::new(),
            listed => listed?,
        };
        Ok(names.iter().rev().filter_map(|name| name.parse().ok()).collect())
    }

    /// A build as it is, whatever its record still says of a push that died.
    async fn find(&self, number: u32) -> Result<Option<Build>, BuildsError> {
        let Some((build, _)) = self.builds.read(number).await? else { return Ok(None) };
        if !build.state.is_under_way() || self.is_alive(&build).await? {
            return Ok(Some(build));
        }
        // Its push may have ended well between the two questions; it writes before it lets go.
        let again = self.builds.read(number).await?.map(|(build, _)| build);
        Ok(again.map(|build| if build.state.is_under_way() { abandoned(build) } else { build }))
    }

    async fn is_alive(&self, build: &Build) -> Result<bool, BuildsError> {
        let holder = self.builds.store.lease_holder(self.builds.places.app()).await?;
        Ok(is_its_push(build, holder.as_ref()))
    }
}

/// Whether the holder of the app's lease is the push of that build, which is under way by its record: a push takes the
/// lease before it builds, and whoever took it later found the build's push dead.
pub(super) fn is_its_push(build: &Build, holder: Option<&Holder>) -> bool {
    holder.is_some_and(|holder| holder.since <= build.started)
}

fn abandoned(build: Build) -> Build {
    Build { state: BuildState::Abandoned, ..build }
}

/// A build's log, line by line.
#[derive(Debug)]
pub struct LogReader<'a> {
    history: &'a BuildHistory<'a>,
    number: u32,
    tail: Tail,
    /// Whether the build may have ended since its record was read.
    ask: bool,
    /// None when nothing more is awaited.
    watch: Option<LogWatch>,
}

impl LogReader<'_> {
    /// The next line, without its end; none when there is no more to come.
    pub async fn next(&mut self) -> Result<Option<String>, BuildsError> {
        let number = self.number;
        let failed = |cause| BuildsError::Log { number, cause };
        loop {
            if let Some(line) = self.tail.line().map_err(failed)? {
                return Ok(Some(line));
            }
            let Some(watch) = &self.watch else { return Ok(self.tail.rest()) };
            if std::mem::take(&mut self.ask) && self.is_over().await? {
                // The log was complete before the record said so: it is read once more.
                self.watch = None;
                continue;
            }
            self.ask = match tokio::time::timeout(LOOK_AGAIN, watch.next()).await {
                Ok(closed) => closed.map_err(failed)?,
                Err(_) => true,
            };
        }
    }
}

impl LogReader<'_> {
    /// Whether nothing is written any more. The log of a detached push goes on after the build.
    async fn is_over(&self) -> Result<bool, BuildsError> {
        let build = self.history.get(self.number).await?;
        let may_go_on = build.state.is_under_way() || build.detached && self.history.is_alive(&build).await?;
        Ok(!may_go_on)
    }
}

/// A file that may grow, line by line.
#[derive(Debug)]
struct Tail {
    file: BufReader<File>,
    /// A line whose end is not written yet.
    part: Vec<u8>,
}

impl Tail {
    fn of(file: File) -> Self {
        Self { file: BufReader::new(file), part: Vec::new() }
    }

    /// The next line that is whole, if one is.
    fn line(&mut self) -> io::Result<Option<String>> {
        self.file.read_until(b'\n', &mut self.part)?;
        if self.part.pop_if(|last| *last == b'\n').is_none() {
            return Ok(None);
        }
        Ok(self.rest().or_else(|| Some(String::new())))
    }

    /// What was begun and never ended.
    fn rest(&mut self) -> Option<String> {
        let part = std::mem::take(&mut self.part);
        (!part.is_empty()).then(|| String::from_utf8_lossy(&part).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::sync::Arc;

    use futures_util::FutureExt as _;
    use jiff::Timestamp;

    use super::*;
    use crate::pipeline::release::json;
    use crate::store::{Lease, LeaseAttempt, SqliteStore};

    /// An app `shop` with what builds it has had.
    struct Lab {
        home: tempfile::TempDir,
        store: Arc<SqliteStore>,
    }

    impl Lab {
        fn new() -> Self {
            let home = tempfile::tempdir().unwrap();
            let store = Arc::new(SqliteStore::open(&home.path().join("store")).unwrap());
            Self { home, store }
        }
        fn history(&self) -> BuildHistory<'_> {
            let (tenant, app) = ("dev".parse().unwrap(), "shop".parse().unwrap());
            BuildHistory::of(&*self.store, &tenant, &app, self.home.path().to_owned())
        }
        async fn keep(&self, build: &Build) {
            let places = self.history().builds.places;
            self.store.ensure(&places.builds()).await.unwrap();
            self.store.ensure(&places.build(build.number)).await.unwrap();
            self.store.put(&places.build(build.number), json(build), None).await.unwrap();
        }
        async fn lease(&self) -> Lease {
            match self.store.try_lease(self.history().builds.places.app(), "alice's push").await.unwrap() {
                LeaseAttempt::Held(lease) => lease,
                LeaseAttempt::Busy(holder) => panic!("held by {holder:?}"),
            }
        }
    }

    fn build(number: u32, state: BuildState) -> Build {
        Build {
            number,
            slug: serde_json::from_str("\"key\"").unwrap(),
            commit: "3f2c1ab000000000000000000000000000000000".parse().unwrap(),
            user: "alice".parse().unwrap(),
            push: "0b5c9b0e-4a0d-4f0e-9d53-3a6f3b1f9c11".to_owned(),
            started: Timestamp::now(),
            detached: false,
            state,
        }
    }
    fn cancelled() -> BuildState {
        BuildState::Cancelled { at: Timestamp::UNIX_EPOCH, by: "bob".to_owned() }
    }

    #[test]
    fn records_of_before_are_read() {
        let old = r#"{"number":3,"slug":"k","commit":"3f2c1ab000000000000000000000000000000000","user":"alice","push":"p",
            "started":"2026-11-23T09:41:28Z","state":{"state":"succeeded","at":"2026-11-23T09:42:00Z","image":"IMAGE"}}"#;
        let image = format!("sha256:{}", "a".repeat(64));
        let read: Build = serde_json::from_str(&old.replace("IMAGE", &image)).unwrap();
        assert!(matches!(read.state, BuildState::Succeeded { bytes: None, .. }), "{read:?}");
        for state in [BuildState::Queued, cancelled()] {
            let kept = build(1, state);
            assert_eq!(serde_json::from_slice::<Build>(&json(&kept)).unwrap(), kept);
        }
    }

    #[tokio::test]
    async fn an_app_without_builds_has_an_empty_history() {
        let lab = Lab::new();
        assert_eq!(lab.history().list().await.unwrap(), []);
        assert_eq!(lab.history().newest().await.unwrap(), None);
        assert!(matches!(lab.history().get(1).await, Err(BuildsError::Unknown { number: 1, .. })));
    }

    #[tokio::test]
    async fn the_newest_is_the_first() {
        let lab = Lab::new();
        for number in [9, 10, 11] {
            lab.keep(&build(number, cancelled())).await;
        }
        let numbers: Vec<u32> = lab.history().list().await.unwrap().iter().map(|build| build.number).collect();
        assert_eq!(numbers, [11, 10, 9]);
        assert_eq!(lab.history().newest().await.unwrap().unwrap().number, 11);
    }

    #[tokio::test]
    async fn a_build_runs_as_long_as_its_own_push_holds_the_app() {
        let lab = Lab::new();
        let held = lab.lease().await;
        lab.keep(&build(1, BuildState::Running)).await;
        assert_eq!(lab.history().get(1).await.unwrap().state, BuildState::Running);
        drop(held);
        assert_eq!(lab.history().get(1).await.unwrap().state, BuildState::Abandoned);
        // The next push has the app, and has not come to mend the record yet.
        let _held = lab.lease().await;
        assert_eq!(lab.history().get(1).await.unwrap().state, BuildState::Abandoned);
    }

    #[tokio::test]
    async fn a_log_is_followed_until_its_build_has_ended() {
        let lab = Lab::new();
        let _held = lab.lease().await;
        let mut running = build(1, BuildState::Running);
        lab.keep(&running).await;
        let mut log = BuildLog::create(lab.home.path(), 1).unwrap();
        log.line("first").unwrap();
        let history = lab.history();
        let mut reader = history.log(1, true).unwrap();
        assert_eq!(reader.next().await.unwrap().as_deref(), Some("first"));
        assert!(reader.next().now_or_never().is_none(), "there is no more yet");
        log.line("").unwrap();
        log.line("last").unwrap();
        running.state = cancelled();
        lab.keep(&running).await;
        drop(log);
        let mut rest = Vec::new();
        while let Some(line) = reader.next().await.unwrap() {
            rest.push(line);
        }
        assert_eq!(rest, ["", "last"]);
    }

    #[tokio::test]
    async fn a_log_that_is_not_followed_ends_where_it_is() {
        let lab = Lab::new();
        lab.keep(&build(1, cancelled())).await;
        let mut file = File::create(lab.home.path().join("1.log")).unwrap();
        file.write_all(b"whole\nhalf").unwrap();
        let history = lab.history();
        let mut reader = history.log(1, false).unwrap();
        assert_eq!(reader.next().await.unwrap().as_deref(), Some("whole"));
        assert_eq!(reader.next().await.unwrap().as_deref(), Some("half"));
        assert_eq!(reader.next().await.unwrap(), None);
        assert!(matches!(history.log(2, true), Err(BuildsError::NoLog { number: 2 })));
    }

    #[tokio::test]
    async fn a_cancelled_build_stays_so_whatever_its_push_says_of_it() {
        let lab = Lab::new();
        let _held = lab.lease().await;
        let mut running = build(1, BuildState::Running);
        lab.keep(&running).await;
        let docker = crate::docker::Docker::at(crate::docker::Socket("/nowhere".into()));
        let history = lab.history();
        // Docker is away, so its container is not known to be gone; but it is cancelled.
        let done = history.cancel(1, "bob", Timestamp::now(), &docker).await;
        assert!(matches!(done, Err(BuildsError::Docker(_))), "{done:?}");
        let late = BuildState::Failed { at: Timestamp::now(), reason: "status 137".to_owned() };
        let told = history.builds.mark(&mut running, late).await.unwrap_err();
        assert_eq!(told.to_string(), "build cancelled by bob");
        assert_eq!(history.get(1).await.unwrap().state.name(), "cancelled");
    }

    #[tokio::test]
    async fn a_build_is_found_dead_when_its_push_is_gone_and_whoever_cancels_it_meanwhile_is_right() {
        let lab = Lab::new();
        let history = lab.history();
        let held = lab.lease().await;
        let running = build(1, BuildState::Running);
        lab.keep(&running).await;
        assert!(history.builds.dead(1).await.unwrap().is_none(), "its push lives");
        drop(held);
        let _next = lab.lease().await;
        let (found, version) = history.builds.dead(1).await.unwrap().expect("another push has the app");
        lab.keep(&Build { state: cancelled(), ..running.clone() }).await;
        assert!(!history.builds.abandon(&found, version).await.unwrap());
        assert_eq!(history.get(1).await.unwrap().state, cancelled());
        assert!(history.builds.dead(1).await.unwrap().is_none() && history.builds.dead(2).await.unwrap().is_none());

        lab.keep(&running).await;
        let (found, version) = history.builds.dead(1).await.unwrap().unwrap();
        assert!(history.builds.abandon(&found, version).await.unwrap());
        assert_eq!(history.builds.read(1).await.unwrap().unwrap().0.state, BuildState::Abandoned);
    }

    #[tokio::test]
    async fn what_is_over_cannot_be_cancelled() {
        let lab = Lab::new();
        // Nobody holds the app.
        lab.keep(&build(1, BuildState::Running)).await;
        let docker = crate::docker::Docker::at(crate::docker::Socket("/nowhere".into()));
        let refused = lab.history().cancel(1, "bob", Timestamp::now(), &docker).await.unwrap_err();
        assert_eq!(refused.to_string(), "build 1 is over: it was abandoned by its push");
    }
}
