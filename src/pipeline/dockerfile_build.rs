//! A build by the repository's Dockerfile: source → slug, in Docker's own builder.
//!
//! Its steps run in containers that Docker makes, within the limits of any build, and leave images that the next build of
//! the app takes up. By the labels that the Dockerfile is given they are found: nothing of a build that failed stays, and
//! of one that succeeded only what the app's next one may take.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::{Stream, TryStreamExt as _};
use jiff::Timestamp;

use super::build::{BuildError, Made, Site, labels_with};
use super::build_log::BuildLog;
use super::console::{self, Lines};
use super::disk::{self, BuildDisk, Writer};
use super::dockerfile::{Dockerfile, judge_trigger};
use super::slug::SlugKey;
use super::source::{DockerfileSource, PINNED_DOCKERFILE, Source};
use super::{Platform, Progress, Push, Say, reached};
use crate::docker::{BuildPiece, Docker, DockerError, DockerfileBuild, Image, labels};
use crate::model::{ByteSize, ImageId, without_tokens};

/// The images that a Dockerfile names, as they are in Docker now; none for one that is still to be fetched.
pub(super) type Bases = BTreeMap<String, Option<ImageId>>;

/// Looks the images up. One of another tenant is not there, as far as this one is concerned.
pub(super) async fn bases(dockerfile: &Dockerfile, push: &Push, platform: &Platform) -> Result<Bases, BuildError> {
    let mut all = Bases::new();
    for name in dockerfile.images() {
        let found = platform.docker.image(name).await?.filter(|image| is_visible(image, push, platform));
        if let Some(image) = &found {
            image.triggers.iter().try_for_each(|trigger| judge_trigger(trigger))?;
        }
        all.insert(name.to_owned(), found.map(|image| image.id));
    }
    Ok(all)
}

/// What has no label of a platform is anybody's: a base image of the host's, or one that was fetched.
fn is_visible(image: &Image, push: &Push, platform: &Platform) -> bool {
    let label = |name| image.labels.get(name).map(String::as_str);
    match label(labels::HOME) {
        None => true,
        Some(home) => home == platform.home_label && label(labels::TENANT) == Some(push.tenant.as_str()),
    }
}

/// What decides the slug of a Dockerfile.
pub(super) fn slug_key(source: &Source, dockerfile: &DockerfileSource, bases: &Bases) -> SlugKey {
    SlugKey::of_dockerfile(&source.tree, &dockerfile.path, dockerfile.target.as_deref(), bases, &source.build.env)
}

/// Fetches the images that are not there.
async fn fetch(bases: Bases, site: &Site<'_>, say: Say<'_>) -> Result<BTreeMap<String, ImageId>, BuildError> {
    let docker = &site.platform.docker;
    let mut all = BTreeMap::new();
    for (name, id) in bases {
        let id = if let Some(id) = id {
            id
        } else {
            say(Progress::Detail(format!("fetching {}", console::clean(&name))));
            docker
                .pull_image(&name)
                .await
                .map_err(|cause| BuildError::NoBase { image: name.clone(), cause: Some(cause) })?;
            let missing = || BuildError::NoBase { image: name.clone(), cause: None };
            let image = docker.image(&name).await?.ok_or_else(missing)?;
            if image.labels.keys().any(|key| labels::is_ours(key)) {
                // It would be taken for what it is not.
                docker.remove_image(&name).await?;
                return Err(missing());
            }
            image.triggers.iter().try_for_each(|trigger| judge_trigger(trigger))?;
            image.id
        };
        all.insert(name, id);
    }
    Ok(all)
}

/// Builds the source by its Dockerfile. What is left when it fails is for the caller to undo.
pub(super) async fn make(
    dockerfile: &DockerfileSource,
    bases: Bases,
    site: &Site<'_>,
    log: &mut BuildLog,
    say: Say<'_>,
) -> Result<Made, BuildError> {
    let Site { source, push, platform, .. } = site;
    let ids = fetch(bases, site, say).await?;
    let known = ids.iter().map(|(name, id)| (name.clone(), Some(id.clone()))).collect();
    let slug = slug_key(source, dockerfile, &known);
    let (text, written) = dockerfile.content.pinned(&ids, &step_labels(push, platform));
    let more = [(labels::SLUG, slug.to_string()), (labels::PUSH, String::new()), (labels::STEP, String::new())];
    let build = DockerfileBuild {
        dockerfile: PINNED_DOCKERFILE,
        target: dockerfile.target.clone(),
        arguments: source.build.env.clone(),
        labels: labels_with(push, platform, more),
        memory_bytes: platform.builder.memory.get(),
        cpus: platform.builder.cpus,
        no_cache: push.options.no_cache,
    };
    let began = Timestamp::now().as_second();
    let mut steps = Narration::of(&written);
    let labels = [(labels::HOME, &*platform.home_label), (labels::STEP, &*step(push))];
    let pieces = platform.docker.build_dockerfile(build, source.context(dockerfile, text)?).await?;
    reached!(DockerfileBegun, push.app, platform.home_label);
    let followed = tokio::select! {
        followed = follow(pieces, &mut steps, &site.disk, log, say) => followed?,
        overrun = disk::overrun(Writer::Labelled(&platform.docker, &labels), platform.builder.disk) => {
            return Err(BuildError::DiskOverrun(overrun));
        }
    };
    let image = match followed {
        Ok(image) => image,
        Err(Complaint { status, message }) => {
            if platform.docker.ran_out_of_memory(&labels, began).await? {
                let status = status.unwrap_or_default();
                return Err(BuildError::OutOfMemory { status, limit: platform.builder.memory });
            }
            return Err(BuildError::Refused { message: console::clean(&without_tokens(&message)) });
        }
    };
    reached!(DockerfileBuilt, push.app, platform.home_label);
    if let Some(left) = &site.steps {
        left.keep(&steps.images).await?;
    }
    let bytes = platform.docker.image(image.as_str()).await?.map_or(0, |image| image.bytes);
    Ok(Made { image, size: ByteSize::new(bytes), default_processes: BTreeMap::new(), slug })
}

/// Why Docker made no image.
struct Complaint {
    status: Option<i64>,
    message: String,
}

async fn follow(
    mut pieces: impl Stream<Item = Result<BuildPiece, DockerError>> + Unpin,
    steps: &mut Narration<'_>,
    disk: &BuildDisk,
    log: &mut BuildLog,
    say: Say<'_>,
) -> Result<Result<ImageId, Complaint>, BuildError> {
    let (mut lines, mut fresh, mut image) = (Lines::default(), Vec::new(), None);
    let mut tell = |line: String| -> Result<(), BuildError> {
        disk.hear(&line);
        if let Some(line) = steps.line(line) {
            log.line(&line)?;
            say(Progress::Output(line));
        }
        Ok(())
    };
    let mut complaint = None;
    while let Some(piece) = pieces.try_next().await? {
        match piece {
            BuildPiece::Text(text) => lines.feed(without_red(&text).as_bytes(), |line| fresh.push(line)),
            BuildPiece::Image(id) => image = Some(id),
            BuildPiece::Failed { status, message } => {
                disk.hear(&message);
                complaint = Some(Complaint { status, message });
            }
        }
        fresh.drain(..).try_for_each(&mut tell)?;
    }
    lines.rest().into_iter().try_for_each(tell)?;
    let nothing = || Complaint { status: None, message: "Docker ended the build without a word".to_owned() };
    Ok(complaint.map_or_else(|| image.ok_or_else(nothing), Err))
}

/// Docker paints what a step writes to its standard error.
fn without_red(text: &str) -> &str {
    text.strip_prefix("\u{1b}[91m").and_then(|text| text.strip_suffix("\u{1b}[0m")).unwrap_or(text)
}

/// What Docker says of the steps, told as if it built the Dockerfile as it was written.
struct Narration<'a> {
    /// Each instruction that Docker was given, as it was written; none for those that were not.
    written: &'a [Option<&'a str>],
    is_hidden: bool,
    /// The short ids of the images that the steps made or took.
    images: HashSet<String>,
}

impl<'a> Narration<'a> {
    fn of(written: &'a [Option<&'a str>]) -> Self {
        Self { written, is_hidden: false, images: HashSet::new() }
    }

    fn line(&mut self, line: String) -> Option<String> {
        let arrow = line.strip_prefix(" ---> ");
        if let Some(id) = arrow.filter(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_hexdigit())) {
            self.images.insert(id.to_owned());
        }
        if let Some(number) = step_number(&line) {
            let Some(Some(text)) = self.written.get(number - 1) else {
                self.is_hidden = true;
                return None;
            };
            self.is_hidden = false;
            let count = |some: &[Option<&str>]| some.iter().flatten().count();
            let (number, all) = (count(&self.written[..number]), count(self.written));
            return Some(format!("Step {number}/{all} : {}", console::clean(&without_tokens(text))));
        }
        let is_dockers = arrow.is_some() || line.is_empty() || line.starts_with("Removing intermediate container ");
        (!(self.is_hidden && is_dockers)).then_some(line)
    }
}

/// The number in `Step 3/7 : …`.
fn step_number(line: &str) -> Option<usize> {
    let (numbers, _) = line.strip_prefix("Step ")?.split_once(" : ")?;
    numbers.split_once('/')?.0.parse().ok().filter(|number| *number > 0)
}

/// What the app's steps are labelled with; one build of an app is under way at a time.
fn step(push: &Push) -> String {
    format!("{}/{}", push.tenant, push.app)
}

fn step_labels(push: &Push, platform: &Platform) -> BTreeMap<String, String> {
    // What they are built on may be a slug, which they are not.
    let none = [(labels::SLUG, String::new()), (labels::PUSH, String::new())];
    let mut all: BTreeMap<_, _> = labels_with(push, platform, none).into_iter().collect();
    all.insert(labels::STEP.to_owned(), step(push));
    all
}

/// What the steps of the app's builds leave in Docker. Dropped before it was decided about, what is new is undone in the
/// background, as far as there still is a runtime.
#[derive(Debug)]
pub(super) struct Steps {
    left: Left,
    is_settled: AtomicBool,
}

#[derive(Debug, Clone)]
struct Left {
    docker: Docker,
    home: String,
    step: String,
    /// The images of steps of builds before.
    before: HashSet<ImageId>,
}

impl Steps {
    /// Looks at what is there before a build begins. The caller holds the app's lease, so whatever still runs is nobody's.
    pub(super) async fn before(push: &Push, platform: &Platform) -> Result<Self, DockerError> {
        let (docker, home, step) = (platform.docker.clone(), platform.home_label.clone(), step(push));
        let mut left = Left { docker, home, step, before: HashSet::new() };
        left.docker.remove_containers_with(&left.labels()).await?;
        left.before = left.docker.layers_with(&left.labels()).await?.into_iter().map(|image| image.id).collect();
        Ok(Self { left, is_settled: AtomicBool::new(false) })
    }

    /// Ends and removes what is new.
    pub(super) async fn undo(&self) -> Result<(), DockerError> {
        self.is_settled.store(true, Ordering::Relaxed);
        self.left.undo().await
    }

    /// Keeps what a build has made that succeeded; what it did not use, given by short ids, goes.
    async fn keep(&self, used: &HashSet<String>) -> Result<(), DockerError> {
        self.is_settled.store(true, Ordering::Relaxed);
        let docker = &self.left.docker;
        for image in docker.images_with(&self.left.labels()).await? {
            if !used.contains(image.id.short()) {
                // With it go those below that nothing else is built on.
                docker.remove_image(image.id.as_str()).await?;
            }
        }
        Ok(())
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        if *self.is_settled.get_mut() {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let left = self.left.clone();
            runtime.spawn(async move {
                if let Err(error) = left.undo().await {
                    tracing::warn!(step = %left.step, %error, label = labels::STEP, "steps of a build are left");
                }
            });
        }
    }
}

impl Left {
    fn labels(&self) -> [(&str, &str); 2] {
        [(labels::HOME, &self.home), (labels::STEP, &self.step)]
    }

    async fn undo(&self) -> Result<(), DockerError> {
        self.docker.sweep(&self.labels()).await?;
        let mut new = self.docker.layers_with(&self.labels()).await?;
        new.retain(|image| !self.before.contains(&image.id));
        // One that another is built on goes after that.
        loop {
            let mut rest = Vec::new();
            for image in &new {
                if !self.docker.remove_unused_image(image).await? {
                    rest.push(image.clone());
                }
            }
            if rest.is_empty() || rest.len() == new.len() {
                return Ok(());
            }
            new = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_told_as_they_were_written() {
        let written = [Some("FROM alpine"), None, Some("RUN make")];
        let mut told = Narration::of(&written);
        let lines = [
            "Step 1/4 : FROM sha256:aa",
            " ---> aaaaaaaaaaaa",
            "Step 2/4 : LABEL \"paas.home\"=\"/x\"",
            " ---> Running in cccccccccccc",
            "Removing intermediate container cccccccccccc",
            " ---> bbbbbbbbbbbb",
            "Step 3/4 : RUN make",
            " ---> Using cache",
            "",
            "made",
            "Step 4/4 : LABEL a=b",
            " ---> dddddddddddd",
            "[Warning] not consumed",
        ];
        let said: Vec<_> = lines.into_iter().filter_map(|line| told.line(line.to_owned())).collect();
        assert_eq!(
            said,
            [
                "Step 1/2 : FROM alpine",
                " ---> aaaaaaaaaaaa",
                "Step 2/2 : RUN make",
                " ---> Using cache",
                "",
                "made",
                "[Warning] not consumed"
            ]
        );
        assert_eq!(told.images.len(), 3);
        assert!(told.line("Step 0/0 : x".to_owned()).is_some() && told.line("Step 99/1 : x".to_owned()).is_none());
    }

    #[test]
    fn standard_error_is_not_painted() {
        assert_eq!(without_red("\u{1b}[91merr\n\u{1b}[0m"), "err\n");
        assert_eq!(without_red("\u{1b}[91mtheir own"), "\u{1b}[91mtheir own");
    }
}
