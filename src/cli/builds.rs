//! `paas builds`: what was built of an app, what it said, and how to end what is being built.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::deed::{self, Deed, Right};
use super::subject::{OfApp, OfTenant, Subject, no_app_named, no_tenant_named};
use crate::accounts::access::Caller;
use crate::docker::{Docker, Socket};
use crate::model::{AppName, ByteSize, CommitId, ImageId, TenantName, UserName};
use crate::pipeline::{Build, BuildHistory, BuildState, BuildsError, LogReader, Release, ReleaseState};
use crate::settings::Settings;
use crate::store::{SqliteStore, Store};
use crate::ui::{Answer, Closed, Exit, Failure, Table, Ui, hung_up};

/// How long somebody who may not read any more may still see lines of a log that they follow.
const TRUST: Duration = Duration::from_secs(1);

/// List and cancel the builds of an app, and show their logs
#[derive(Debug, clap::Args)]
pub(super) struct AppBuilds {
    #[command(flatten)]
    of: OfTenant,
    #[command(flatten)]
    app: OfApp,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List the builds, the newest first
    List,
    /// Show all that is known of a build
    Show {
        /// As `list` shows it
        number: u32,
    },
    /// Show what a build said
    ///
    /// With `--json` every line is a document of its own.
    Log {
        /// As `list` shows it [default: the newest]
        number: Option<u32>,
        /// Go on until the build has ended
        #[arg(long, short)]
        follow: bool,
    },
    /// End a build that is under way or waits for its turn
    ///
    /// Its push is refused and told by whom; what serves goes on serving.
    Cancel {
        /// As `list` shows it [default: the one that is under way]
        number: Option<u32>,
    },
}

/// A build as people and programs see it.
#[derive(Debug, Serialize)]
struct View {
    number: u32,
    state: &'static str,
    commit: CommitId,
    user: UserName,
    /// When it began to build or, while it is queued, to wait.
    started: Timestamp,
    ended: Option<Timestamp>,
    /// In seconds; so far, while it runs.
    took: Option<f64>,
    /// What the slug added to the builder, in bytes; of a Dockerfile's, all of it.
    size: Option<u64>,
    /// How many bytes more that is than with the build before it that succeeded.
    growth: Option<i64>,
    image: Option<ImageId>,
    slug: String,
    push: String,
    reason: Option<String>,
    cancelled_by: Option<String>,
    /// Its push went on without its client.
    detached: bool,
    /// What its push released, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<ReleaseView>,
}

/// What came of a build.
#[derive(Debug, Serialize)]
struct ReleaseView {
    number: u32,
    #[serde(flatten)]
    state: ReleaseState,
}

impl ReleaseView {
    fn of(release: Release) -> Self {
        Self { number: release.number.get(), state: release.state }
    }

    fn text(&self) -> String {
        let number = self.number;
        match &self.state {
            ReleaseState::Pending { .. } => format!("v{number}, has not come to serve"),
            ReleaseState::Succeeded { at } => format!("v{number}, succeeded at {}", time(*at)),
            ReleaseState::Failed { reason, .. } => format!("v{number}, failed: {reason}"),
        }
    }
}

impl View {
    fn of(build: Build, now: Timestamp) -> Self {
        let until = build.state.ended().or_else(|| (build.state == BuildState::Running).then_some(now));
        let took = until.map(|until| until.duration_since(build.started).max(SignedDuration::ZERO).as_secs_f64());
        let (state, ended) = (build.state.name(), build.state.ended());
        let (mut image, mut size, mut reason, mut cancelled_by) = (None, None, None, None);
        match build.state {
            BuildState::Succeeded { image: made, bytes, .. } => (image, size) = (Some(made), bytes),
            BuildState::Failed { reason: why, .. } => reason = Some(why),
            BuildState::Cancelled { by, .. } => cancelled_by = Some(by),
            BuildState::Queued | BuildState::Running | BuildState::Abandoned => {}
        }
        Self {
            number: build.number,
            state,
            commit: build.commit,
            user: build.user,
            started: build.started,
            ended,
            took,
            size,
            growth: None,
            image,
            slug: build.slug.to_string(),
            push: build.push,
            reason,
            cancelled_by,
            detached: build.detached,
            release: None,
        }
    }

    fn took_text(&self) -> Option<String> {
        self.took.map(|seconds| format!("{seconds:.1} s"))
    }
    fn size_text(&self) -> Option<String> {
        self.size.map(|bytes| ByteSize::new(bytes).to_string())
    }
    fn growth_text(&self) -> Option<String> {
        self.growth.map(|bytes| {
            let sign = if bytes < 0 { '-' } else { '+' };
            format!("{sign}{}", ByteSize::new(bytes.unsigned_abs()))
        })
    }
}

/// All of an app's builds, the newest first, each with what it is larger than the one before it.
fn views(builds: Vec<Build>, now: Timestamp) -> Vec<View> {
    let mut views: Vec<View> = builds.into_iter().map(|build| View::of(build, now)).collect();
    let mut before = None;
    for view in views.iter_mut().rev() {
        let Some(size) = view.size else { continue };
        let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        view.growth = before.map(|before| signed(size) - signed(before));
        before = Some(size);
    }
    views
}

fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Views(Vec<View>);

impl Answer for Views {
    fn text(&self) -> String {
        let none = || "-".to_owned();
        let mut table = Table::headed(["BUILD", "STATE", "COMMIT", "USER", "STARTED", "TOOK", "SIZE", "GROWTH"]);
        for view in &self.0 {
            let (took, size) = (view.took_text().unwrap_or_else(none), view.size_text().unwrap_or_else(none));
            let growth = view.growth_text().unwrap_or_else(none);
            let (number, commit) = (view.number.to_string(), view.commit.short().to_string());
            table.row([&number, view.state, &commit, view.user.as_str(), &time(view.started), &took, &size, &growth]);
        }
        table.to_string()
    }
}

/// One build, whole.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Whole(View);

impl Answer for Whole {
    fn text(&self) -> String {
        let view = &self.0;
        let fields = [
            ("build", Some(view.number.to_string())),
            ("state", Some(view.state.to_owned())),
            ("reason", view.reason.clone()),
            ("cancelled by", view.cancelled_by.clone()),
            ("release", view.release.as_ref().map(ReleaseView::text)),
            ("commit", Some(view.commit.to_string())),
            ("user", Some(view.user.to_string())),
            ("started", Some(time(view.started))),
            ("ended", view.ended.map(time)),
            ("took", view.took_text()),
            ("size", view.size_text()),
            ("growth", view.growth_text()),
            ("image", view.image.as_ref().map(ToString::to_string)),
            ("slug", Some(view.slug.clone())),
            ("push", Some(view.push.clone())),
        ];
        Table::record(fields.into_iter().filter_map(|(name, value)| Some((name, value?)))).to_string()
    }
}

/// One line of a log; the pipeline has taken out of it what could harm a terminal.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Line(String);

impl Answer for Line {
    fn text(&self) -> String {
        format!("{}\n", self.0)
    }
}

impl AppBuilds {
    pub(super) fn deed(&self) -> Deed {
        let deed = match &self.verb {
            Verb::List => Deed::look(Right::Read, "builds list"),
            Verb::Show { .. } => Deed::look(Right::Read, "builds show"),
            Verb::Log { .. } => Deed::look(Right::Read, "builds log"),
            Verb::Cancel { .. } => Deed::change(Right::Push, "builds cancel"),
        };
        let object = self.app.app.as_ref().map(|app| match &self.verb {
            Verb::Cancel { number: Some(number) } => format!("{app} build {number}"),
            _ => app.to_string(),
        });
        Deed { tenant: self.of.tenant.clone(), object, ..deed }
    }

    pub(super) fn subject(&mut self) -> Subject<'_> {
        Subject::of(&mut self.of).app(&mut self.app)
    }

    pub(super) async fn run(self, settings: &Settings, caller: &Caller, ui: &mut Ui) -> anyhow::Result<()> {
        let deed = self.deed();
        let tenant = self.of.tenant.ok_or_else(no_tenant_named)?;
        let store = super::tenant::store_with(settings, &tenant).await?;
        let app = self.app.app.ok_or_else(no_app_named)?;
        let desk = Desk { settings, caller, deed: &deed, store: &store, tenant: &tenant, app: &app };
        match self.verb {
            Verb::List => desk.list(ui).await,
            Verb::Show { number } => {
                let history = desk.history();
                let build = history.get(number).await.map_err(explained)?;
                let release = history.release_of(&build).await.map_err(explained)?.map(ReleaseView::of);
                ui.answer(&Whole(View { release, ..desk.view(build).await? }))
            }
            Verb::Log { number, follow } => desk.log(number, follow, ui).await,
            Verb::Cancel { number } => desk.cancel(number, ui).await,
        }
    }
}

/// What a command about the builds of an app has at hand.
struct Desk<'a> {
    settings: &'a Settings,
    caller: &'a Caller,
    deed: &'a Deed,
    store: &'a SqliteStore,
    tenant: &'a TenantName,
    app: &'a AppName,
}

impl Desk<'_> {
    fn history(&self) -> BuildHistory<'_> {
        let logs = self.settings.home.build_logs(self.tenant, self.app);
        BuildHistory::of(self.store as &dyn Store, self.tenant, self.app, logs)
    }

    /// The build beside those before it.
    async fn view(&self, build: Build) -> anyhow::Result<View> {
        let (now, number) = (Timestamp::now(), build.number);
        let all = views(self.history().list().await.map_err(explained)?, now);
        // Not among them when it went just now.
        Ok(all.into_iter().find(|view| view.number == number).unwrap_or_else(|| View::of(build, now)))
    }

    async fn list(&self, ui: &mut Ui) -> anyhow::Result<()> {
        let now = Timestamp::now();
        let builds = self.history().list().await.map_err(explained)?;
        if builds.is_empty() {
            ui.note(format_args!("nothing was built of `{}` in tenant `{}` yet", self.app, self.tenant))?;
        }
        ui.answer(&Views(views(builds, now)))
    }

    async fn log(&self, number: Option<u32>, follow: bool, ui: &mut Ui) -> anyhow::Result<()> {
        let history = self.history();
        let build = match number {
            Some(number) => history.get(number).await.map_err(explained)?,
            None => history.newest().await.map_err(explained)?.ok_or_else(|| self.nothing_built())?,
        };
        let mut log = history.log(build.number, follow).map_err(explained)?;
        if !follow {
            while let Some(line) = log.next().await.map_err(explained)? {
                ui.answer(&Line(line))?;
            }
            return Ok(());
        }
        tokio::select! {
            followed = self.follow(&mut log, ui) => followed?,
            () = hung_up() => return Err(Closed.into()),
        }
        let View { number, state, took, .. } =
            View::of(history.get(build.number).await.map_err(explained)?, Timestamp::now());
        let took = took.map_or_else(String::new, |seconds| format!(" after {seconds:.1} s"));
        Ok(ui.note(format_args!("build {number}: {state}{took}"))?)
    }

    /// Shows what comes as long as the caller may read it, which may end at any time.
    async fn follow(&self, log: &mut LogReader<'_>, ui: &mut Ui) -> anyhow::Result<()> {
        let mut asked = Instant::now();
        while let Some(line) = log.next().await.map_err(explained)? {
            if asked.elapsed() > TRUST {
                deed::admit(self.settings, self.caller, self.deed).await?;
                asked = Instant::now();
            }
            ui.answer(&Line(line))?;
        }
        Ok(())
    }

    async fn cancel(&self, number: Option<u32>, ui: &mut Ui) -> anyhow::Result<()> {
        let history = self.history();
        let number = match number {
            Some(number) => number,
            None => match history.newest().await.map_err(explained)? {
                Some(build) if build.state.is_under_way() => build.number,
                _ => return Err(self.nothing_under_way().into()),
            },
        };
        let docker = Docker::at(Socket(self.settings.docker.socket.clone()));
        let cancelled = history.cancel(number, &self.caller.name(), Timestamp::now(), &docker).await;
        let build = cancelled.map_err(explained)?;
        ui.note(format_args!("build {number} of `{}` is cancelled, and {} is told so", self.app, build.user))?;
        ui.answer(&Cancelled(View::of(build, Timestamp::now())))
    }

    fn nothing_built(&self) -> Failure {
        Failure::new(Exit::Refused, format_args!("nothing was built of `{}` in tenant `{}` yet", self.app, self.tenant))
            .advise("is that its name? A push builds it")
    }

    fn nothing_under_way(&self) -> Failure {
        Failure::new(Exit::Refused, format_args!("no build of `{}` is under way in tenant `{}`", self.app, self.tenant))
            .advise("`paas builds list` shows how they ended")
    }
}

/// The build that was cancelled, by its number.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Cancelled(View);

impl Answer for Cancelled {
    fn text(&self) -> String {
        self.0.number.to_string()
    }
}

fn explained(error: BuildsError) -> anyhow::Error {
    let advice = match &error {
        BuildsError::Unknown { .. } => "`paas builds list` shows those there are",
        BuildsError::Ended { .. } => "only what is queued or running can be cancelled",
        BuildsError::NoLog { .. } => "`paas builds show` tells what else is known of it",
        BuildsError::Log { .. } | BuildsError::Record(_) | BuildsError::Docker(_) => return error.into(),
    };
    Failure::new(Exit::Refused, error).advise(advice).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(number: u32, state: &str) -> Build {
        let text = format!(
            r#"{{"number":{number},"slug":"key","commit":"3f2c1ab000000000000000000000000000000000","user":"alice",
                "push":"p","started":"2026-11-23T09:41:28Z","state":{state}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }
    fn now() -> Timestamp {
        "2026-11-23T09:43:00Z".parse().unwrap()
    }

    #[test]
    fn each_state_shows_what_is_known_in_it() {
        let image = format!("sha256:{}", "a".repeat(64));
        let at = r#""at":"2026-11-23T09:42:00.5Z""#;
        let builds = vec![
            build(6, r#"{"state":"queued"}"#),
            build(5, r#"{"state":"running"}"#),
            build(4, &format!(r#"{{"state":"cancelled",{at},"by":"bob"}}"#)),
            build(3, r#"{"state":"abandoned"}"#),
            build(2, &format!(r#"{{"state":"failed",{at},"reason":"status 1"}}"#)),
            build(1, &format!(r#"{{"state":"succeeded",{at},"image":"{image}","bytes":1572864}}"#)),
        ];
        let shown = Views(views(builds, now())).text();
        let started = "3f2c1ab  alice  2026-11-23 09:41:28";
        let expected = format!(
            "BUILD  STATE      COMMIT   USER   STARTED              TOOK    SIZE     GROWTH\n\
             6      queued     {started}  -       -        -\n\
             5      running    {started}  92.0 s  -        -\n\
             4      cancelled  {started}  32.5 s  -        -\n\
             3      abandoned  {started}  -       -        -\n\
             2      failed     {started}  32.5 s  -        -\n\
             1      succeeded  {started}  32.5 s  1.5 MiB  -\n"
        );
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_build_shows_what_it_is_larger_than_the_one_before_it_that_succeeded() {
        let image = format!("sha256:{}", "a".repeat(64));
        let made = |number, bytes: &str| {
            build(
                number,
                &format!(r#"{{"state":"succeeded","at":"2026-11-23T09:42:00Z","image":"{image}","bytes":{bytes}}}"#),
            )
        };
        let failed = build(4, r#"{"state":"failed","at":"2026-11-23T09:42:00Z","reason":"x"}"#);
        let all = vec![made(6, "1024"), made(5, "3072"), failed, made(3, "null"), made(2, "1024"), made(1, "1024")];
        let growth: Vec<_> = views(all, now()).iter().map(View::growth_text).collect();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(growth, [text("-2 KiB"), text("+2 KiB"), None, None, text("+0 B"), None]);
    }

    #[test]
    fn a_record_leaves_out_what_there_is_not() {
        let failed = build(2, r#"{"state":"failed","at":"2026-11-23T09:42:00Z","reason":"status\u001b[2J 1"}"#);
        let text = Whole(View::of(failed, now())).text();
        assert!(text.contains("reason:") && text.contains("status[2J 1"), "{text}");
        assert!(!text.contains("image:") && !text.contains("cancelled by:"), "{text}");
    }
}
