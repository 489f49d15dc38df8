//! Build: source → slug, in a container of the builder image, by the buildstep contract; or by a Dockerfile
//! (`dockerfile_build`).
//!
//! Source in `/app`, a cache in `/tmp/cache` that stays between builds, settings as files in `/tmp/env`. Afterwards the
//! container is one layer on the builder's image, and gone: also after an error, a time-out, and when nobody waits for
//! it any more.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::ahead::{Ahead, Question};
use super::build_log::{Build, BuildFileError, BuildLog, BuildState, Builds, Lent, Loan};
use super::disk::{BuildDisk, DiskFull, DiskOverrun, FilledDisk, Writer};
use super::dockerfile::DockerfileError;
use super::dockerfile_build::{self, Bases, Steps};
use super::own_image::OwnImage;
use super::places::Places;
use super::release::{BuildOf, ReleaseError};
use super::slug::{KnownSlug, SlugKey};
use super::slug_memory;
use super::source::Source;
use super::turn::{self, Asked};
use super::{Platform, Progress, Push, Say, cancel, console, disk, reached, submodules};
use crate::docker::{BuildContainer, BuildContainerSpec, ContainerEnd, DockerError, Image, Job, labels};
use crate::git::GitError;
use crate::model::{ByteSize, ImageId, Period, ProcessType, TenantName};
use crate::store::StoreError;

/// Fetches submodules and runs the builder.
const SCRIPT: &str = include_str!("builder.sh");
const CACHE: &str = "/tmp/cache";
const SETTINGS: &str = "/tmp/env";
const CA_BUNDLE: &str = "/run/paas-ca";
/// Where the list of submodules can be read, as the file `list`.
const SUBMODULES: &str = "/run/paas-submodules";
/// Where buildpacks leave the process types that they know.
const BUILDPACK_RELEASE: &str = "/app/.release";
/// Far more than the names and commands of process types take.
const BUILDPACK_RELEASE_BYTES: usize = 64 << 10;
/// The status of a program that was killed.
const KILLED: i64 = 137;

/// A slug in the local Docker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Built {
    pub image: ImageId,
    pub slug: SlugKey,
    pub build: BuildOf,
    /// What runs when the source does not say it.
    pub default_processes: BTreeMap<ProcessType, String>,
    /// What the image says of itself, when a Dockerfile made it.
    pub own_image: Option<OwnImage>,
}

/// Why there is no slug. Nothing of the build is left but its log.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("Docker has no builder image `{image}`; `paas stack build` makes the default one")]
    NoBuilder { image: String },
    #[error(
        "as many builds of tenant `{tenant}` are under way as its quota allows at once ({most}); push again later, or see \
         `paas tenant quota show {tenant}`"
    )]
    NoTurn { tenant: TenantName, most: u32 },
    #[error(
        "as many builds are under way as this host allows at once ({most}, builds.parallel), or others wait for their turn; push again later"
    )]
    NoSlot { most: u32 },
    #[error("{}", step_failed(*.status, .complaint.as_deref()))]
    StepFailed {
        status: i64,
        /// What the builder itself called its error, if it did.
        complaint: Option<String>,
    },
    /// In Docker's words.
    #[error("{message}")]
    Refused { message: String },
    #[error(transparent)]
    Dockerfile(#[from] DockerfileError),
    #[error("there is no image `{image}` to build on, and it could not be fetched")]
    NoBase {
        image: String,
        #[source]
        cause: Option<DockerError>,
    },
    #[error("the build needed more than its {limit} of memory and was ended (status {status})")]
    OutOfMemory { status: i64, limit: ByteSize },
    #[error("the build was ended because it took longer than {after}")]
    TimedOut { after: Period },
    #[error("build cancelled by {by}")]
    Cancelled { by: String },
    #[error(transparent)]
    DiskFull(#[from] DiskFull),
    #[error("the build {0}; what it does not need afterwards may go into its cache")]
    DiskOverrun(DiskOverrun),
    /// With the disk first, since the rest of a long line is cut.
    #[error("{disk} ({cause})")]
    FilledDisk { cause: Box<BuildError>, disk: FilledDisk },
    #[error(transparent)]
    Source(#[from] GitError),
    #[error(transparent)]
    Docker(#[from] DockerError),
    #[error(transparent)]
    File(#[from] BuildFileError),
    #[error(transparent)]
    Record(#[from] ReleaseError),
}

/// A build that failed, with its number if it came to have one.
#[derive(Debug)]
pub struct FailedBuild {
    pub number: Option<u32>,
    pub cause: BuildError,
}

impl std::fmt::Display for FailedBuild {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.cause.fmt(f)
    }
}
impl std::error::Error for FailedBuild {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.source()
    }
}
impl<E: Into<BuildError>> From<E> for FailedBuild {
    fn from(cause: E) -> Self {
        Self { number: None, cause: cause.into() }
    }
}

impl From<StoreError> for BuildError {
    fn from(error: StoreError) -> Self {
        Self::Record(error.into())
    }
}

/// Makes the slug, or finds that it is there already. The caller holds the app's lease.
pub(super) async fn build(
    source: &Source,
    ahead: Ahead,
    push: &Push,
    platform: &Platform,
    say: Say<'_>,
) -> Result<Built, FailedBuild> {
    let Foreseen { way, slug, known } = foresee(source, ahead.builder, push, platform).await?;
    let built = if let Some(known) = known {
        let from = known.source(&push.tenant);
        let built = slug_memory::take(known, slug, push, platform).await?;
        say(Progress::Step(format!("Slug {} from {from}: same tree again", short(&built.image))));
        built
    } else {
        let disk = disk::has_room(ahead.place.answer().await?, push, platform)?;
        build_anew(way, slug, disk, source, push, platform, say).await?
    };
    let own_image = own_image(source, Some(&built.image), platform).await?;
    if let Some(note) = own_image.as_ref().and_then(OwnImage::note) {
        say(Progress::Detail(note));
    }
    Ok(Built { own_image, ..built })
}

/// What the image that a Dockerfile makes, or is going to, says of itself.
pub(super) async fn own_image(
    source: &Source,
    image: Option<&ImageId>,
    platform: &Platform,
) -> Result<Option<OwnImage>, BuildError> {
    if source.dockerfile.is_none() {
        return Ok(None);
    }
    let Some(id) = image else { return Ok(Some(OwnImage::unseen())) };
    let gone = || DockerError::NotFound { what: "image", name: id.to_string() };
    let image = platform.docker.image(id.as_str()).await?.ok_or_else(gone)?;
    Ok(Some(OwnImage::of(&image)))
}

/// By what a slug is made.
#[derive(Debug, Clone)]
pub(super) enum Way {
    /// The builder image.
    Builder(Box<Image>),
    /// The source's Dockerfile, on these images.
    Dockerfile(Bases),
}

impl Way {
    /// As in `Building with …`.
    pub(super) fn name(&self, source: &Source, platform: &Platform) -> String {
        match (self, &source.dockerfile) {
            (Self::Dockerfile(_), Some(dockerfile)) => format!("from {}", dockerfile.path),
            _ => format!("with {}", platform.builder.image),
        }
    }
}

/// What a build of the source begins with.
pub(super) struct Foreseen {
    pub way: Way,
    pub slug: SlugKey,
    /// The slug that is taken instead of building one.
    pub known: Option<KnownSlug>,
}

pub(super) async fn foresee(
    source: &Source,
    builder: Question<Option<Image>>,
    push: &Push,
    platform: &Platform,
) -> Result<Foreseen, BuildError> {
    let (way, slug) = if let Some(dockerfile) = &source.dockerfile {
        let bases = dockerfile_build::bases(&dockerfile.content, push, platform).await?;
        let slug = dockerfile_build::slug_key(source, dockerfile, &bases);
        (Way::Dockerfile(bases), slug)
    } else {
        let missing = || BuildError::NoBuilder { image: platform.builder.image.clone() };
        let builder = builder.answer().await?.ok_or_else(missing)?;
        let slug = SlugKey::of(&source.tree, &builder.id, &source.build);
        (Way::Builder(Box::new(builder)), slug)
    };
    let known = if push.options.no_cache { None } else { slug_memory::find(&slug, push, platform).await? };
    Ok(Foreseen { way, slug, known })
}

async fn build_anew(
    way: Way,
    slug: SlugKey,
    disk: BuildDisk,
    source: &Source,
    push: &Push,
    platform: &Platform,
    say: Say<'_>,
) -> Result<Built, FailedBuild> {
    let builds = Builds { store: &*platform.store, places: Places::of(&push.tenant, &push.app) };
    let turn = turn::ask(push, platform).await?;
    let state = if matches!(turn, Asked::Now(_)) { BuildState::Running } else { BuildState::Queued };
    let steps = match &way {
        Way::Builder(_) => None,
        Way::Dockerfile(_) => Some(Steps::before(push, platform).await?),
    };
    let mut build = builds.begin(push, &slug, state, Timestamp::now()).await?;
    reached!(BuildBegun, push.app, platform.home_label);
    let (builds, number) = (&builds, build.number);
    let site = Site { way, slug: &slug, source, push, platform, builds, number, steps, disk };
    let (outcome, mut log) = match BuildLog::create(&platform.build_logs, build.number) {
        Ok(mut log) => {
            say(Progress::Building(build.number));
            (site.until_cancelled(&mut build, turn, &mut log, say).await, Some(log))
        }
        Err(error) => (Err(error.into()), None),
    };
    let outcome = match outcome {
        Ok(made) => site.succeeded(made, &mut build).await,
        Err(error) => Err(error),
    };
    match outcome {
        Ok(made) => {
            let slug = made.slug.clone();
            let known = made.known(&build, push);
            reached!(BuildKept, push.app, platform.home_label);
            slug_memory::remember(&slug, known.clone(), platform).await?;
            reached!(Remembered, push.app, platform.home_label);
            Ok(known.into_built(slug, &push.tenant))
        }
        Err(error) => {
            let error = site.failed(error, &mut build, log.as_mut()).await;
            say(Progress::Detail(format!("`paas builds log {}` shows this again", build.number)));
            Err(FailedBuild { number: Some(build.number), cause: error })
        }
    }
}

/// What a build made.
pub(super) struct Made {
    pub image: ImageId,
    /// What it added to the builder; by a Dockerfile, all of it.
    pub size: ByteSize,
    pub default_processes: BTreeMap<ProcessType, String>,
    /// What it is known by when all that it was made of was there.
    pub slug: SlugKey,
}

impl Made {
    fn known(self, build: &Build, push: &Push) -> KnownSlug {
        KnownSlug {
            tenant: push.tenant.clone(),
            app: push.app.clone(),
            build: build.number,
            image: self.image,
            default_processes: self.default_processes,
            struck: None,
        }
    }
}

/// One build and all it works with.
pub(super) struct Site<'a> {
    way: Way,
    slug: &'a SlugKey,
    pub source: &'a Source,
    pub push: &'a Push,
    pub platform: &'a Platform,
    builds: &'a Builds<'a>,
    number: u32,
    /// Of a Dockerfile.
    pub steps: Option<Steps>,
    pub disk: BuildDisk,
}

impl Site<'_> {
    /// The failure, with the disk that it is due to, if it is; while what filled it is still there.
    fn blame(&self, cause: BuildError) -> BuildError {
        let may_be = match &cause {
            BuildError::StepFailed { .. } | BuildError::Refused { .. } => true,
            BuildError::Docker(error) => matches!(error, DockerError::NoSpace { .. } | DockerError::Failed { .. }),
            _ => false,
        };
        match self.disk.filled().filter(|_| may_be) {
            Some(disk) => BuildError::FilledDisk { cause: Box::new(cause), disk },
            None => cause,
        }
    }

    fn limit(&self) -> Duration {
        let most = self.platform.builder.timeout;
        self.source.build_timeout.map_or(most, |asked| asked.min(most))
    }

    /// Builds, unless somebody cancels it, also while it waits for its turn.
    async fn until_cancelled(
        &self,
        build: &mut Build,
        turn: Asked,
        log: &mut BuildLog,
        say: Say<'_>,
    ) -> Result<Made, BuildError> {
        let path = BuildLog::path(&self.platform.build_logs, self.number);
        let by = tokio::select! {
            outcome = self.in_turn(build, turn, log, say) => return outcome,
            by = cancel::wished(self.builds, self.number, &path) => by,
        };
        // Dropping the build began this; here it is waited for, also for a container that Docker was only just making.
        self.platform.docker.sweep(&[(labels::PUSH, &self.push.push.to_string())]).await?;
        self.undo_steps().await?;
        Err(BuildError::Cancelled { by })
    }

    async fn undo_steps(&self) -> Result<(), DockerError> {
        match &self.steps {
            Some(steps) => steps.undo().await,
            None => Ok(()),
        }
    }

    async fn in_turn(
        &self,
        build: &mut Build,
        turn: Asked,
        log: &mut BuildLog,
        say: Say<'_>,
    ) -> Result<Made, BuildError> {
        let _turn = match turn {
            Asked::Now(turn) => turn,
            Asked::Later(queued) => {
                let mut tell = |text: String| {
                    log.line(&format!("-----> {text}"))?;
                    say(Progress::Step(text));
                    Ok(())
                };
                let turn = queued.wait(self.push, self.platform, &mut tell).await?;
                build.started = Timestamp::now();
                self.builds.mark(build, BuildState::Running).await?;
                turn
            }
        };
        say(Progress::Step(format!("Building {}", self.way.name(self.source, self.platform))));
        self.limited(log, say).await
    }

    /// Builds within the time there is; the container ends with the wait for it.
    async fn limited(&self, log: &mut BuildLog, say: Say<'_>) -> Result<Made, BuildError> {
        if let Ok(outcome) = tokio::time::timeout(self.limit(), self.make(log, say)).await {
            return outcome;
        }
        super::abandon(&self.platform.docker, &self.push.push).await?;
        self.undo_steps().await?;
        Err(BuildError::TimedOut { after: Period::from_secs(self.limit().as_secs()) })
    }

    /// Keeps what was made. Of a build that was cancelled at its very end nothing is kept.
    async fn succeeded(&self, made: Made, build: &mut Build) -> Result<Made, BuildError> {
        let (image, bytes) = (made.image.clone(), Some(made.size.get()));
        let marked = self.builds.mark(build, BuildState::Succeeded { at: Timestamp::now(), image, bytes }).await;
        if marked.is_err() {
            self.platform.docker.remove_image(made.image.as_str()).await?;
            self.undo_steps().await?;
        }
        marked.map(|()| made)
    }

    /// Keeps why there is nothing, and gives it: a container that somebody ended looks like a build that failed. What
    /// cannot be kept, as on a full disk, does not take the place of the reason.
    async fn failed(&self, error: BuildError, build: &mut Build, log: Option<&mut BuildLog>) -> BuildError {
        let cancelled = self.builds.cancelled_by(self.number).await.ok().flatten();
        let error = cancelled.map_or(error, |by| BuildError::Cancelled { by });
        let reason = error.to_string();
        if let Some(Err(unwritten)) = log.map(|log| log.line(&reason)) {
            tracing::warn!(error = %unwritten, build = self.number, "why it failed could not be written to its log");
        }
        match self.builds.mark(build, BuildState::Failed { at: Timestamp::now(), reason }).await {
            Err(cancelled @ BuildError::Cancelled { .. }) => return cancelled,
            Err(unmarked) => tracing::warn!(error = %unmarked, build = self.number, "its failure could not be kept"),
            Ok(()) => {}
        }
        error
    }

    async fn make(&self, log: &mut BuildLog, say: Say<'_>) -> Result<Made, BuildError> {
        let began = Instant::now();
        let made = match (&self.way, &self.source.dockerfile) {
            (Way::Builder(builder), _) => self.by_builder(builder, log, say).await?,
            (Way::Dockerfile(bases), Some(dockerfile)) => {
                let made = dockerfile_build::make(dockerfile, bases.clone(), self, log, say).await;
                let made = made.map_err(|cause| self.blame(cause));
                if made.is_err() {
                    self.undo_steps().await?;
                }
                made?
            }
            (Way::Dockerfile(_), None) => unreachable!("this way is chosen for a Dockerfile alone"),
        };
        let (slug, took) = (short(&made.image), began.elapsed().as_secs_f64());
        say(Progress::Step(format!("Slug {slug} {} in {took:.1} s", made.size)));
        Ok(made)
    }

    async fn by_builder(&self, builder: &Image, log: &mut BuildLog, say: Say<'_>) -> Result<Made, BuildError> {
        let (logs, rules) = (&self.platform.build_logs, &self.platform.builder);
        let lent = Lent {
            env: self.source.build.settings(),
            ca_bundle: rules.ca_bundle.as_deref(),
            submodules: submodules::list(&self.source.submodules),
        };
        let loan = Loan::make(logs, self.number, &lent)?;
        let container = self.platform.docker.create_build(self.container(builder, &loan).await?).await?;
        reached!(ContainerMade, self.push.app, self.platform.home_label);
        let made = self.run(builder, &container, log, say).await.map_err(|cause| self.blame(cause));
        // Removed before anything is told, so that who hears of the failure finds nothing left.
        container.remove().await?;
        made
    }

    async fn run(
        &self,
        builder: &Image,
        container: &BuildContainer,
        log: &mut BuildLog,
        say: Say<'_>,
    ) -> Result<Made, BuildError> {
        container.upload("/", self.source.tar("app")?).await?;
        reached!(SourceUploaded, self.push.app, self.platform.home_label);
        let most = self.platform.builder.disk;
        tokio::select! {
            ended = self.to_its_end(container, log, say) => ended?,
            overrun = disk::overrun(Writer::Container(container), most) => return Err(BuildError::DiskOverrun(overrun)),
        }
        reached!(BuildEnded, self.push.app, self.platform.home_label);
        let release = container.file(BUILDPACK_RELEASE, BUILDPACK_RELEASE_BYTES).await?;
        let image = container.commit(builder, self.slug_labels()).await?;
        reached!(Committed, self.push.app, self.platform.home_label);
        let size = self.added_by(&image, builder).await?;
        if let Err(overrun) = DiskOverrun::of(size, most) {
            // It wrote this since it was looked at last.
            self.platform.docker.remove_image(image.as_str()).await?;
            return Err(BuildError::DiskOverrun(overrun));
        }
        let default_processes = release.map_or_else(BTreeMap::new, |text| default_processes(&text));
        Ok(Made { image, size, default_processes, slug: self.slug.clone() })
    }

    async fn to_its_end(&self, container: &BuildContainer, log: &mut BuildLog, say: Say<'_>) -> Result<(), BuildError> {
        let began = Timestamp::now().as_second();
        let heard = follow(container, &self.disk, log, say).await?;
        let ContainerEnd { status, out_of_memory, .. } = container.ended().await?;
        if status == 0 {
            return Ok(());
        }
        let was_killed = heard.killed || status == KILLED;
        if out_of_memory || was_killed && self.ran_out_of_memory(began).await? {
            return Err(BuildError::OutOfMemory { status, limit: self.platform.builder.memory });
        }
        Err(BuildError::StepFailed { status, complaint: heard.complaint })
    }

    /// Docker may hear of it only after the container's end, when its state says nothing of it.
    async fn ran_out_of_memory(&self, began: i64) -> Result<bool, BuildError> {
        let push = self.push.push.to_string();
        Ok(self.platform.docker.ran_out_of_memory(&[(labels::PUSH, &push)], began).await?)
    }

    async fn container(&self, builder: &Image, loan: &Loan) -> Result<BuildContainerSpec, BuildError> {
        let rules = &self.platform.builder;
        let mut read_only = vec![(loan.env(), SETTINGS)];
        read_only.extend(loan.ca_bundle().map(|directory| (directory, CA_BUNDLE)));
        read_only.extend(loan.submodules().map(|directory| (directory, SUBMODULES)));
        Ok(BuildContainerSpec {
            image: builder.id.clone(),
            as_root: !builder.user.is_empty(),
            labels: self.container_labels(),
            job: Job::Script(SCRIPT),
            env: BTreeMap::new(),
            cache: Some((self.cache_volume().await?, CACHE)),
            read_only,
            memory_bytes: rules.memory.get(),
            cpus: rules.cpus,
            processes: rules.processes,
            patience: self.limit(),
        })
    }

    /// The app's own volume, so that no app sees what another one cached. Names of homes may be long, so a part of a
    /// hash stands for them.
    async fn cache_volume(&self) -> Result<String, BuildError> {
        let Push { tenant, app, .. } = self.push;
        let home = super::slug::hash(&self.platform.home_label);
        let name = format!("paas-cache-{}-{tenant}-{app}", &home[..8]);
        if self.push.options.no_cache {
            self.platform.docker.remove_volume(&name).await?;
        }
        self.platform.docker.ensure_volume(&name, labels_with(self.push, self.platform, [])).await?;
        Ok(name)
    }

    fn container_labels(&self) -> HashMap<String, String> {
        labels_with(self.push, self.platform, [(labels::PUSH, self.push.push.to_string())])
    }
    /// Docker gives the image every label of the container that it is not given itself, and instances get those of
    /// their image: the push is emptied, or an instance would be taken for a build of it, and ended with it.
    fn slug_labels(&self) -> HashMap<String, String> {
        labels_with(self.push, self.platform, [(labels::SLUG, self.slug.to_string()), (labels::PUSH, String::new())])
    }

    async fn added_by(&self, image: &ImageId, builder: &Image) -> Result<ByteSize, BuildError> {
        let all = self.platform.docker.image(image.as_str()).await?.map_or(0, |image| image.bytes);
        Ok(ByteSize::new(all.saturating_sub(builder.bytes)))
    }
}

/// What of a build's output says how it went.
#[derive(Debug, Default)]
struct Heard {
    /// The last line by which the builder names an error: ` !     …`.
    complaint: Option<String>,
    /// A shell told of a program that was killed.
    killed: bool,
}

/// Tells the build's output line by line.
async fn follow(
    container: &BuildContainer,
    disk: &BuildDisk,
    log: &mut BuildLog,
    say: Say<'_>,
) -> Result<Heard, BuildError> {
    let mut heard = Heard::default();
    let told: Result<(), BuildError> = console::follow(container, |line| {
        disk.hear(&line);
        log.line(&line)?;
        if let Some(said) = line.strip_prefix(" !").map(str::trim).filter(|said| !said.is_empty()) {
            heard.complaint = Some(said.to_owned());
        }
        heard.killed |= line.contains("Killed");
        say(Progress::Output(line));
        Ok(())
    })
    .await;
    told.map(|()| heard)
}

/// The labels of what is made in Docker for the push's app.
pub(super) fn labels_with<const N: usize>(
    push: &Push,
    platform: &Platform,
    more: [(&str, String); N],
) -> HashMap<String, String> {
    let all = [
        (labels::HOME, platform.home_label.clone()),
        (labels::TENANT, push.tenant.to_string()),
        (labels::APP, push.app.to_string()),
    ];
    all.into_iter().chain(more).map(|(name, value)| (name.to_owned(), value)).collect()
}

fn step_failed(status: i64, complaint: Option<&str>) -> String {
    match complaint {
        Some(said) => format!("{said} (the build exited with status {status})"),
        None => format!("the build exited with status {status}"),
    }
}

/// The process types of a buildpack's `bin/release`; what is no process type's name is left out.
fn default_processes(text: &[u8]) -> BTreeMap<ProcessType, String> {
    #[derive(serde::Deserialize)]
    struct BuildpackRelease {
        #[serde(default)]
        default_process_types: Option<BTreeMap<String, String>>,
    }
    let release: Option<BuildpackRelease> = serde_yaml::from_slice(text).ok();
    let types = release.and_then(|release| release.default_process_types).unwrap_or_default();
    types.into_iter().filter_map(|(name, command)| Some((name.parse().ok()?, command))).collect()
}

fn short(image: &ImageId) -> String {
    format!("sha256:{}…", image.short())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buildpacks_process_types_are_read() {
        let text = b"addons: []\ndefault_process_types:\n  web: ./serve --port $PORT\n  BAD NAME: x\n";
        let types = default_processes(text);
        assert_eq!(
            types.into_iter().map(|(name, command)| (name.to_string(), command)).collect::<Vec<_>>(),
            [("web".to_owned(), "./serve --port $PORT".to_owned())]
        );
        for nothing in ["", "default_process_types:\n", "{[", "x"] {
            assert!(default_processes(nothing.as_bytes()).is_empty(), "{nothing}");
        }
    }
}
