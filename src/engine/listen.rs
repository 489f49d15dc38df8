//! Takes in connections and answers the requests on them.
//!
//! Clients may be slow, silent or many, and none of that may harm the others: a head that does not come ends its
//! connection, and more than so many connections wait to be taken in.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How long a connection may be silent between requests, and a request's head may take: Marathon's connector has the
/// same limit.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);

/// Connections at one time; each costs a descriptor and a few KiB.
const MAX_CONNECTIONS: usize = 4096;

/// Descriptors that are wanted: for connections, Docker's, and tasks' files. More would be inherited by command tasks, of
/// which some look at every one there may be.
const DESCRIPTORS: u64 = 65_536;

/// A client's connection, as far as who answers on it is concerned.
#[derive(Debug, Clone, Default)]
pub(super) struct Connection(CancellationToken);

impl Connection {
    /// Ends it where it stands: its client does not read, so that no end could be told to it.
    pub(super) fn cut(&self) {
        self.0.cancel();
    }
}

/// Raises this process' limit of open files as far as it may and is of use; a shell's default is 1024.
pub(super) fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(DESCRIPTORS, |most| most.min(DESCRIPTORS));
    if limit.current.is_none_or(|current| current >= wanted) {
        return;
    }
    let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, wanted, "cannot raise the limit of open files");
    }
}

/// Answers until `shutdown`, and then what was being answered, for `drain` at most.
pub(super) async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken, drain: Duration) {
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let (stream, client, place) = tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            taken = take_in(&listener, &places) => taken,
        };
        let cut = Connection::default();
        let about = (Extension(ConnectInfo::<SocketAddr>(client)), Extension(cut.clone()));
        let service = TowerToHyperService::new(router.clone().layer(about));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_PATIENCE)
            .serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        connections.spawn(async move {
            // How a client breaks off is its own matter.
            tokio::select! {
                _ = connection => {}
                () = cut.0.cancelled() => {}
            }
            drop(place);
        });
    }
    // No new ones; those there are end with what they are at.
    drop(listener);
    if tokio::time::timeout(drain, graceful.shutdown()).await.is_err() {
        tracing::warn!(after = ?drain, "requests that were still being answered are broken off");
    }
}

async fn take_in(listener: &TcpListener, places: &Arc<Semaphore>) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    const AGAIN: Duration = Duration::from_millis(100);
    let place = places.clone().acquire_owned().await.expect("nobody closes it");
    loop {
        match listener.accept().await {
            Ok((stream, client)) => {
                // Answers are whole messages; none is worth waiting for more.
                let _ = stream.set_nodelay(true);
                return (stream, client, place);
            }
            Err(error) if is_the_clients(&error) => {}
            Err(error) => {
                // No descriptors are left, most likely; some come back when a connection ends.
                tracing::error!(%error, "cannot take in a connection, trying again");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// The connection was gone before it was taken in.
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
