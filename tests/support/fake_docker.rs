//! A double of Docker behind a real socket, for the load alone: thousands of containers, which nothing runs in, each
//! a record in memory. It answers in the shapes of Docker 20.10 what an engine asks; what it is not asked (builds,
//! exec, attached streams) it does not have, and says so with 501.

mod answers;
mod containers;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::runtime::Runtime;
use tokio::sync::broadcast;

use containers::Containers;

/// How long Docker takes for each step of a container's life.
#[derive(Debug, Clone, Copy, Default)]
pub struct Delays {
    pub create: Duration,
    pub start: Duration,
    pub stop: Duration,
}

/// The double; it goes when this is dropped, with all that it has.
pub struct FakeDocker {
    shared: Arc<Shared>,
    place: TempDir,
    // Ends, with all connections, when it is dropped.
    _runtime: Runtime,
}

struct Shared {
    containers: Mutex<Containers>,
    /// Each event as a line of JSON with what filters look at.
    events: broadcast::Sender<Arc<Happening>>,
    delays: Delays,
}

/// An event of a container.
#[derive(Debug)]
struct Happening {
    action: &'static str,
    /// Seconds since 1970.
    time: i64,
    /// `k=v` of every label.
    labels: Vec<String>,
    line: String,
}

impl FakeDocker {
    pub fn start(delays: Delays) -> Self {
        const EVENTS: usize = 16 << 10;
        let place = tempfile::Builder::new().prefix("paas-double-").tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let events = broadcast::Sender::new(EVENTS);
        let shared = Arc::new(Shared { containers: Mutex::default(), events, delays });
        let service = axum::Router::new().fallback(answers::answer).with_state(shared.clone());
        let listener = runtime.block_on(async { UnixListener::bind(place.path().join("docker.sock")).unwrap() });
        runtime.spawn(async move { axum::serve(listener, service).await });
        Self { shared, place, _runtime: runtime }
    }

    pub fn socket(&self) -> PathBuf {
        Path::new(self.place.path()).join("docker.sock")
    }

    /// Ids of the containers that run.
    pub fn running(&self) -> Vec<String> {
        self.shared.containers().running()
    }

    /// Ends a container by itself, with an exit status.
    pub fn die(&self, id: &str, status: i64) {
        self.shared.die(id, status);
    }
}

impl Shared {
    fn containers(&self) -> MutexGuard<'_, Containers> {
        self.containers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn die(&self, id: &str, status: i64) {
        let happened = self.containers().end(id, status);
        if let Some(happened) = happened {
            self.tell(happened);
        }
    }

    fn tell(&self, happened: Happening) {
        // Nobody listening is no failure.
        let _ = self.events.send(self.containers().remember(happened));
    }
}
