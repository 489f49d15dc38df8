//! Whether Docker lives, asked beside everything that it is waited for.
//!
//! What it is asked may take long: a build, a commit, a wait for a container's end. No limit of time tells that from what
//! will never be answered. But a Docker that lives answers a ping at once, whatever else it does.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt as _};

use super::{Socket, version};

/// Docker neither went on with what it was asked nor answered a ping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Docker gave no sign of life for {} s", .after.as_secs())]
pub(super) struct Silent {
    pub after: Duration,
}

impl From<Silent> for io::Error {
    fn from(silent: Silent) -> Self {
        Self::new(io::ErrorKind::TimedOut, silent)
    }
}

impl Silent {
    /// The one that an error comes from, if it does. An I/O error hides what it was made of from its chain of causes, and
    /// bollard's hides the I/O error.
    pub(super) fn beneath<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        if let Some(silent) = error.downcast_ref() {
            return Some(silent);
        }
        if let Some(bollard::errors::Error::IOError { err }) = error.downcast_ref() {
            return Self::beneath(err);
        }
        let hidden = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let inner = hidden.map(|inner| -> &(dyn Error + 'static) { inner }).or_else(|| error.source());
        inner.and_then(Self::beneath)
    }
}

/// Clones watch over the same Docker, and know of each other's findings.
#[derive(Debug, Clone)]
pub(super) struct Vigil {
    socket: Socket,
    /// How long it may be silent.
    patience: Duration,
    has_fallen_silent: Arc<AtomicBool>,
}

impl Vigil {
    pub(super) fn over(socket: Socket, patience: Duration) -> Self {
        Self { socket, patience, has_fallen_silent: Arc::default() }
    }

    fn silent(&self) -> Silent {
        Silent { after: self.patience }
    }

    /// Ends when Docker has given no sign of life for as long as it may, and not before: it is asked after a third of
    /// that, and has the rest to answer. One that refuses to answer ends its connections itself.
    pub(super) async fn silence(self) -> Silent {
        let every = self.patience / 3;
        loop {
            tokio::time::sleep(every).await;
            if tokio::time::timeout(self.patience.saturating_sub(every), version::ping(&self.socket)).await.is_err() {
                self.has_fallen_silent.store(true, Ordering::Relaxed);
                return self.silent();
            }
        }
    }

    /// Before anything is asked: of a Docker that fell silent nothing is, until it is found to live again.
    pub(super) async fn lives(&self) -> Result<(), Silent> {
        if self.has_fallen_silent.load(Ordering::Relaxed) {
            let patience = version::PATIENCE.min(self.patience);
            // One that refuses to answer is no more silent; what is asked then will find that out.
            let _ = tokio::time::timeout(patience, version::ping(&self.socket)).await.map_err(|_| self.silent())?;
            self.has_fallen_silent.store(false, Ordering::Relaxed);
        }
        Ok(())
    }

    /// What comes of `work`, unless Docker falls silent meanwhile.
    pub(super) async fn during<T>(&self, work: impl Future<Output = T>) -> Result<T, Silent> {
        self.lives().await?;
        tokio::select! {
            done = work => Ok(done),
            silent = self.clone().silence() => Err(silent),
        }
    }

    /// What comes in a stream, and at its end that Docker fell silent, if it did.
    pub(super) fn along<T: Send + 'static>(
        &self,
        stream: impl Stream<Item = T> + Send + 'static,
    ) -> BoxStream<'static, Result<T, Silent>> {
        let watched = Some((self.clone(), stream.boxed()));
        let pieces = futures_util::stream::unfold(watched, |watched| async {
            let (vigil, mut stream) = watched?;
            match vigil.during(stream.next()).await {
                Ok(piece) => Some((Ok(piece?), Some((vigil, stream)))),
                Err(silent) => Some((Err(silent), None)),
            }
        });
        pieces.boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixListener;
    use tokio::sync::watch;

    use super::super::{Docker, DockerError};
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(1500);

    /// A Docker that answers pings as long as it lives, and nothing else ever.
    struct Slow {
        socket: Socket,
        lives: watch::Sender<bool>,
        _home: tempfile::TempDir,
    }

    impl Slow {
        fn start() -> Self {
            let home = tempfile::tempdir().unwrap();
            let socket = Socket(home.path().join("docker.sock"));
            let listener = UnixListener::bind(&socket.0).unwrap();
            let (lives, alive) = watch::channel(true);
            tokio::spawn(async move {
                loop {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let mut alive = alive.clone();
                    tokio::spawn(async move {
                        let mut asked = [0; 4096];
                        let count = stream.read(&mut asked).await.unwrap();
                        if !String::from_utf8_lossy(&asked[..count]).contains("_ping") {
                            std::future::pending::<()>().await;
                        }
                        alive.wait_for(|alive| *alive).await.unwrap();
                        let answer = b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 0\r\n\r\n";
                        let _ = stream.write_all(answer).await;
                    });
                }
            });
            Self { socket, lives, _home: home }
        }
        fn docker(&self) -> Docker {
            Docker::at(self.socket.clone()).given_up_after(PATIENCE)
        }
    }

    fn is_silence<T>(answer: &Result<T, DockerError>) -> bool {
        matches!(answer, Err(DockerError::Silent { after, .. }) if *after == PATIENCE)
    }

    #[tokio::test]
    async fn a_docker_that_lives_is_waited_for_and_one_that_falls_silent_is_not() {
        let slow = Slow::start();
        let docker = slow.docker();
        let asked = tokio::spawn(async move { docker.image("x").await });
        tokio::time::sleep(PATIENCE * 2).await;
        assert!(!asked.is_finished(), "it lives, and may take its time");
        slow.lives.send_replace(false);
        let began = Instant::now();
        assert!(is_silence(&asked.await.unwrap()));
        assert!(began.elapsed() < PATIENCE * 3, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn of_a_docker_that_fell_silent_nothing_is_asked_until_it_lives_again() {
        let slow = Slow::start();
        let docker = slow.docker();
        docker.api().await.unwrap();
        slow.lives.send_replace(false);
        assert!(is_silence(&docker.image("x").await));
        let began = Instant::now();
        assert!(is_silence(&docker.image("x").await));
        assert!(began.elapsed() < PATIENCE * 2, "{:?}", began.elapsed());
        slow.lives.send_replace(true);
        let asked = tokio::spawn(async move { docker.image("x").await });
        tokio::time::sleep(PATIENCE * 2).await;
        assert!(!asked.is_finished(), "it lives again");
    }

    #[tokio::test]
    async fn a_stream_ends_with_the_silence() {
        let slow = Slow::start();
        let vigil = Vigil::over(slow.socket.clone(), PATIENCE);
        let mut pieces = vigil.along(futures_util::stream::iter([1, 2]).chain(futures_util::stream::pending()));
        assert_eq!((pieces.next().await, pieces.next().await), (Some(Ok(1)), Some(Ok(2))));
        slow.lives.send_replace(false);
        assert_eq!(pieces.next().await, Some(Err(Silent { after: PATIENCE })));
        assert_eq!(pieces.next().await, None);
    }

    #[test]
    fn silence_is_found_beneath_other_errors() {
        let silent = || Silent { after: PATIENCE };
        let hidden = io::Error::other(io::Error::from(silent()));
        assert_eq!(Silent::beneath(&hidden), Some(&silent()));
        let cause = bollard::errors::Error::IOError { err: hidden };
        assert_eq!(Silent::beneath(&cause), Some(&silent()));
        assert_eq!(Silent::beneath(&io::Error::from(io::ErrorKind::TimedOut)), None);
    }
}
