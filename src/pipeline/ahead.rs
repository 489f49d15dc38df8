//! What Docker is asked before its answer is needed, while a push does other things.

use std::path::PathBuf;

use tokio::task::JoinHandle;

use crate::docker::{Docker, DockerError, Image};

/// What a build begins with.
pub(super) struct Ahead {
    /// Where Docker keeps what it has, for the look at its disk.
    pub place: Question<Option<PathBuf>>,
    pub builder: Question<Option<Image>>,
}

/// A question under way; where nobody waits for its answer it is dropped.
pub(super) struct Question<T>(JoinHandle<Result<T, DockerError>>);

impl Question<Option<PathBuf>> {
    /// Where Docker keeps what it has; none when it does not say. It takes some ten milliseconds to say so.
    pub(super) fn place(docker: &Docker) -> Self {
        let docker = docker.clone();
        Self(tokio::spawn(async move { docker.root_directory().await }))
    }
}

impl Question<Option<Image>> {
    /// The image, if there is one of the name.
    pub(super) fn image(docker: &Docker, name: &str) -> Self {
        let (docker, name) = (docker.clone(), name.to_owned());
        Self(tokio::spawn(async move { docker.image(&name).await }))
    }
}

impl<T> Question<T> {
    pub(super) async fn answer(mut self) -> Result<T, DockerError> {
        (&mut self.0).await.expect("a question neither panics nor is it ended before this is dropped")
    }
}

impl<T> Drop for Question<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
