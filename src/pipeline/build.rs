//! Build: source → slug, in a container of the builder image, by the buildstep contract.
//!
//! Source in `/app`, a cache in `/tmp/cache` that stays between builds, settings as files in `/tmp/env`. Afterwards the
//! container is one layer on the builder's image, and gone: also after an error, a time-out, and when nobody waits for
//! it any more.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::build_log::{Build, BuildFileError, BuildLog, BuildState, Builds, Loan};
use super::disk::{DiskFull, NoRoom};
use super::places::Places;
use super::release::{BuildOf, ReleaseError, json};
use super::slug::{KnownSlug, KnownSlugs, SlugKey};
use super::source::Source;
use super::turn::{self, Asked};
use super::{Platform, Progress, Push, Say, cancel, console};
use crate::docker::{BuildContainer, BuildContainerSpec, ContainerEnd, DockerError, Image, Job, labels};
use crate::git::GitError;
use crate::model::{ByteSize, ImageId, Period, ProcessType, TenantName};
use crate::store::{StoreError, Version};

/// Runs the builder. The certificates' place is exported here and not set on the container, since what is set on a
/// container gets into the image that is made of it.
const SCRIPT: &str = "\
if [ -r /run/paas-ca/bundle.pem ]; then
  for name in SSL_CERT_FILE PIP_CERT REQUESTS_CA_BUNDLE NODE_EXTRA_CA_CERTS CURL_CA_BUNDLE GIT_SSL_CAINFO; do
    export \"$name=/run/paas-ca/bundle.pem\"
  done
fi
if [ -x /build/builder ]; then exec /build/builder; fi
exec /build
";
const CACHE: &str = "/tmp/cache";
const SETTINGS: &str = "/tmp/env";
const CA_BUNDLE: &str = "/run/paas-ca";
/// Where buildpacks leave the process types that they know.
const BUILDPACK_RELEASE: &str = "/app/.release";
/// Far more than the names and commands of process types take.
const BUILDPACK_RELEASE_BYTES: usize = 64 << 10;

/// A slug in the local Docker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Built {
    pub image: ImageId,
    pub slug: SlugKey,
    pub build: BuildOf,
    /// What runs when the source does not say it.
    pub default_processes: BTreeMap<ProcessType, String>,
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
    #[error("the build needed more than its {limit} of memory and was ended (status {status})")]
    OutOfMemory { status: i64, limit: ByteSize },
    #[error("the build was ended because it took longer than {after}")]
    TimedOut { after: Period },
    #[error("build cancelled by {by}")]
    Cancelled { by: String },
    #[error(transparent)]
    DiskFull(DiskFull),
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

impl From<NoRoom> for BuildError {
    fn from(error: NoRoom) -> Self {
        match error {
            NoRoom::Full(full) => Self::DiskFull(full),
            NoRoom::Docker(error) => Self::Docker(error),
        }
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
    push: &Push,
    platform: &Platform,
    say: Say<'_>,
) -> Result<Built, FailedBuild> {
    let Foreseen { builder, slug, known } = foresee(source, push, platform).await?;
    if let Some(known) = known {
        say(Progress::Step(format!(
            "Slug {} from build {} of {}: same tree again",
            short(&known.image),
            known.build,
            known.app
        )));
        return Ok(known.into_built(slug));
    }
    super::disk::has_room(push, platform).await?;
    build_anew(&builder, slug, source, push, platform, say).await
}

/// What a build of the source begins with.
pub(super) struct Foreseen {
    pub builder: Image,
    pub slug: SlugKey,
    /// The slug that is taken instead of building one.
    pub known: Option<KnownSlug>,
}

pub(super) async fn foresee(source: &Source, push: &Push, platform: &Platform) -> Result<Foreseen, BuildError> {
    let name = &platform.builder.image;
    let builder = platform.docker.image(name).await?.ok_or_else(|| BuildError::NoBuilder { image: name.clone() })?;
    let slug = SlugKey::of(&source.tree, &builder.id, &source.build);
    let known = if push.options.no_cache { None } else { known_slug(&slug, push, platform).await? };
    Ok(Foreseen { builder, slug, known })
}

/// A slug that this tenant built from the same input, if Docker still has it.
async fn known_slug(slug: &SlugKey, push: &Push, platform: &Platform) -> Result<Option<KnownSlug>, BuildError> {
    let (known, _) = read_known(slug, platform).await?;
    let Some(known) = known.of_tenant(&push.tenant) else { return Ok(None) };
    let image = platform.docker.image(known.image.as_str()).await?;
    Ok(image.map(|_| known.clone()))
}

async fn build_anew(
    builder: &Image,
    slug: SlugKey,
    source: &Source,
    push: &Push,
    platform: &Platform,
    say: Say<'_>,
) -> Result<Built, FailedBuild> {
    let builds = Builds { store: &*platform.store, places: Places::of(&push.tenant, &push.app) };
    let turn = turn::ask(push, platform).await?;
    let state = if matches!(turn, Asked::Now(_)) { BuildState::Running } else { BuildState::Queued };
    let mut build = builds.begin(push, &slug, state, Timestamp::now()).await?;
    let site = Site { builder, slug: &slug, source, push, platform, builds: &builds, number: build.number };
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
            let known = made.known(&build, push);
            remember(&slug, known.clone(), platform).await?;
            Ok(known.into_built(slug))
        }
        Err(error) => {
            let error = site.failed(error, &mut build, log.as_mut()).await?;
            say(Progress::Detail(format!("`paas builds log {}` shows this again", build.number)));
            Err(FailedBuild { number: Some(build.number), cause: error })
        }
    }
}

/// What a build made.
struct Made {
    image: ImageId,
    /// What it added to the builder.
    size: ByteSize,
    default_processes: BTreeMap<ProcessType, String>,
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

impl KnownSlug {
    fn into_built(self, slug: SlugKey) -> Built {
        let build = BuildOf { app: self.app, number: self.build };
        Built { image: self.image, slug, build, default_processes: self.default_processes }
    }
}

/// One build and all it works with.
struct Site<'a> {
    builder: &'a Image,
    slug: &'a SlugKey,
    source: &'a Source,
    push: &'a Push,
    platform: &'a Platform,
    builds: &'a Builds<'a>,
    number: u32,
}

impl Site<'_> {
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
        Err(BuildError::Cancelled { by })
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
        say(Progress::Step(format!("Building with {}", self.platform.builder.image)));
        self.limited(log, say).await
    }

    /// Builds within the time there is; the container ends with the wait for it.
    async fn limited(&self, log: &mut BuildLog, say: Say<'_>) -> Result<Made, BuildError> {
        if let Ok(outcome) = tokio::time::timeout(self.limit(), self.make(log, say)).await {
            return outcome;
        }
        super::abandon(&self.platform.docker, &self.push.push).await?;
        Err(BuildError::TimedOut { after: Period::from_secs(self.limit().as_secs()) })
    }

    /// Keeps what was made. Of a build that was cancelled at its very end nothing is kept.
    async fn succeeded(&self, made: Made, build: &mut Build) -> Result<Made, BuildError> {
        let (image, bytes) = (made.image.clone(), Some(made.size.get()));
        let marked = self.builds.mark(build, BuildState::Succeeded { at: Timestamp::now(), image, bytes }).await;
        if marked.is_err() {
            self.platform.docker.remove_image(made.image.as_str()).await?;
        }
        marked.map(|()| made)
    }

    /// Keeps why there is nothing, and gives it: a container that somebody ended looks like a build that failed.
    async fn failed(
        &self,
        error: BuildError,
        build: &mut Build,
        log: Option<&mut BuildLog>,
    ) -> Result<BuildError, BuildError> {
        let cancelled = self.builds.cancelled_by(self.number).await?;
        let error = cancelled.map_or(error, |by| BuildError::Cancelled { by });
        let reason = error.to_string();
        if let Some(log) = log {
            log.line(&reason)?;
        }
        let marked = self.builds.mark(build, BuildState::Failed { at: Timestamp::now(), reason }).await;
        Ok(marked.err().unwrap_or(error))
    }

    async fn make(&self, log: &mut BuildLog, say: Say<'_>) -> Result<Made, BuildError> {
        let began = Instant::now();
        let (logs, rules) = (&self.platform.build_logs, &self.platform.builder);
        let loan = Loan::make(logs, self.number, &self.source.build.settings(), rules.ca_bundle.as_deref())?;
        let container = self.platform.docker.create_build(self.container(&loan).await?).await?;
        let made = self.run(&container, log, say).await;
        // Removed before anything is told, so that who hears of the failure finds nothing left.
        container.remove().await?;
        let made = made?;
        let (slug, took) = (short(&made.image), began.elapsed().as_secs_f64());
        say(Progress::Step(format!("Slug {slug} {} in {took:.1} s", made.size)));
        Ok(made)
    }

    async fn run(&self, container: &BuildContainer, log: &mut BuildLog, say: Say<'_>) -> Result<Made, BuildError> {
        container.upload("/", self.source.tar("app")?).await?;
        let complaint = follow(container, log, say).await?;
        self.judge(&container.ended().await?, complaint)?;
        let release = container.file(BUILDPACK_RELEASE, BUILDPACK_RELEASE_BYTES).await?;
        let image = container.commit(self.builder, self.slug_labels()).await?;
        let size = self.added_by(&image).await?;
        let default_processes = release.map_or_else(BTreeMap::new, |text| default_processes(&text));
        Ok(Made { image, size, default_processes })
    }

    fn judge(&self, end: &ContainerEnd, complaint: Option<String>) -> Result<(), BuildError> {
        match end.status {
            0 => Ok(()),
            status if end.out_of_memory => Err(BuildError::OutOfMemory { status, limit: self.platform.builder.memory }),
            status => Err(BuildError::StepFailed { status, complaint }),
        }
    }

    async fn container(&self, loan: &Loan) -> Result<BuildContainerSpec, BuildError> {
        let rules = &self.platform.builder;
        let mut read_only = vec![(loan.env(), SETTINGS)];
        read_only.extend(loan.ca_bundle().map(|directory| (directory, CA_BUNDLE)));
        Ok(BuildContainerSpec {
            image: self.builder.id.clone(),
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

    async fn added_by(&self, image: &ImageId) -> Result<ByteSize, BuildError> {
        let all = self.platform.docker.image(image.as_str()).await?.map_or(0, |image| image.bytes);
        Ok(ByteSize::new(all.saturating_sub(self.builder.bytes)))
    }
}

/// Tells the build's output line by line, and gives the last line by which the builder names an error: ` !     …`.
async fn follow(container: &BuildContainer, log: &mut BuildLog, say: Say<'_>) -> Result<Option<String>, BuildError> {
    let mut complaint = None;
    let told: Result<(), BuildError> = console::follow(container, |line| {
        log.line(&line)?;
        if let Some(said) = line.strip_prefix(" !").map(str::trim).filter(|said| !said.is_empty()) {
            complaint = Some(said.to_owned());
        }
        say(Progress::Output(line));
        Ok(())
    })
    .await;
    told.map(|()| complaint)
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

async fn read_known(slug: &SlugKey, platform: &Platform) -> Result<(KnownSlugs, Option<Version>), BuildError> {
    let path = Places::slug(slug);
    let Some(record) = platform.store.get(&path).await? else { return Ok((KnownSlugs::default(), None)) };
    let cause = |cause| ReleaseError::Unreadable { path: path.to_string(), cause };
    Ok((serde_json::from_slice(&record.value).map_err(cause)?, Some(record.version)))
}

/// Notes what was built for the key. Another app's push may note the same key at the same time.
async fn remember(slug: &SlugKey, known: KnownSlug, platform: &Platform) -> Result<(), BuildError> {
    let path = Places::slug(slug);
    loop {
        let (all, version) = read_known(slug, platform).await?;
        let value = json(&all.with(known.clone()));
        let written = if version.is_some() {
            platform.store.put(&path, value, version).await
        } else {
            if let Some(above) = path.parent() {
                platform.store.ensure(&above).await?;
            }
            platform.store.create(&path, value).await
        };
        match written {
            Err(StoreError::Exists(_) | StoreError::Changed(_)) => {}
            done => return done.map_err(BuildError::from),
        }
    }
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
