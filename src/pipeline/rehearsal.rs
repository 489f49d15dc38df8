//! A dry run: what a push would build, release and change in Marathon, and nothing of it done.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::ahead::Question;
use super::app_record::AppRecord;
use super::build::Foreseen;
use super::definition::{app_id, definitions};
use super::places::Places;
use super::release::{BuildOf, Draft, Release, Releases};
use super::{Platform, Progress, Push, PushError, Say, build, formation, quota, source};
use crate::marathon::{App, AppInfo};
use crate::model::{ImageId, ImageRef, ReleaseNumber};

/// Variables that differ in every release.
const ALWAYS_NEW: [&str; 2] = ["PAAS_RELEASE", "PAAS_COMMIT"];

/// Says what the push would do; it takes no lock, and refuses what the push would be refused for before it builds.
pub async fn rehearse(push: &Push, platform: &Platform, say: Say<'_>) -> Result<(), PushError> {
    let places = Places::of(&push.tenant, &push.app);
    let releases = Releases::of(&*platform.store, places.clone());
    // Reading the record of a new app would make it.
    let (previous, number) = match platform.store.get(places.app()).await? {
        Some(_) => (releases.serving().await?, AppRecord::read(&*platform.store, &places).await?.value.releases + 1),
        None => (None, 1),
    };
    let builder = Question::image(&platform.docker, &platform.builder.image);
    let source = source::check_out(push, platform, say).await?;
    quota::foresee(&source, previous.as_ref(), push, platform).await?;

    let Foreseen { way, slug, known } = build::foresee(&source, builder, push, platform).await?;
    say(Progress::Step(match &known {
        Some(known) => format!("Would build nothing: the slug is there, from {}", known.source(&push.tenant)),
        None => format!("Would build {}", way.name(&source, platform)),
    }));
    let formation = formation::expected(&source.procfile, &source.wishes, previous.as_ref().map(|r| &r.formation))?;
    let own_image = build::own_image(&source, known.as_ref().map(|known| &known.image), platform).await?;
    let formation = match own_image {
        Some(image) => image.run(formation, &source.commands, &source.wishes)?,
        None => formation,
    };
    let command = if source.release_command.is_some() { ", after its release command" } else { "" };
    let summary = formation::summary(&formation);
    say(Progress::Step(format!("Would release {}: {summary}{command}", ReleaseNumber::new(number))));

    let draft = Draft {
        image: ImageRef::Local(known.as_ref().map_or_else(not_built, |known| known.image.clone())),
        slug,
        build: BuildOf { tenant: None, app: push.app.clone(), number: 0 },
        formation,
        command: source.release_command,
        env: source.env,
        domains: source.domains,
        token: None,
    };
    let release = draft.numbered(number, previous.as_ref().map(|release| release.number), push, Timestamp::now());
    let running = platform.tenancy.marathon.apps().await.map_err(PushError::InUse)?;
    let changes = changes(&release, &running);
    if changes.is_empty() {
        say(Progress::Step("Would start every instance anew, and change no definition besides".to_owned()));
    } else {
        say(Progress::Step("Would change in Marathon".to_owned()));
        for change in changes {
            say(Progress::Detail(change));
        }
    }
    Ok(())
}

/// Stands for the image that a build would make.
fn not_built() -> ImageId {
    format!("sha256:{}", "0".repeat(64)).parse().expect("64 hexadecimal digits")
}

/// How the definitions of the app would change, a line each.
fn changes(release: &Release, running: &[AppInfo]) -> Vec<String> {
    let after: BTreeMap<String, App> = definitions(release).into_iter().map(|app| (app.id.to_string(), app)).collect();
    let group = release.app.as_str();
    let of_app = |info: &&AppInfo| info.app.id.segments().first().is_some_and(|name| name == group);
    let before: BTreeMap<String, &App> =
        running.iter().filter(of_app).map(|info| (info.app.id.to_string(), &*info.app)).collect();
    let mut lines = Vec::new();
    for name in release.formation.keys() {
        let id = app_id(&release.app, name).to_string();
        let Some(app) = after.get(&id) else { continue };
        let differences = before.get(&id).map_or_else(|| vec![new(app)], |old| differences(old, app));
        lines.extend(differences.into_iter().map(|difference| format!("{id}: {difference}")));
    }
    lines.extend(before.keys().filter(|id| !after.contains_key(*id)).map(|id| format!("{id}: ended and removed")));
    lines
}

fn new(app: &App) -> String {
    format!("new, instances {}, cpus {}, mem {} MiB", app.instances, app.cpus, app.mem)
}

fn differences(old: &App, new: &App) -> Vec<String> {
    let mut lines = Vec::new();
    let mut compare = |what: &str, old: String, new: String| {
        if old != new {
            lines.push(format!("{what} {old} → {new}"));
        }
    };
    compare("instances", old.instances.to_string(), new.instances.to_string());
    compare("cpus", old.cpus.to_string(), new.cpus.to_string());
    compare("mem", format!("{} MiB", old.mem), format!("{} MiB", new.mem));
    let command = |app: &App| app.cmd.clone().unwrap_or_else(|| app.args.join(" "));
    compare("command", command(old), command(new));
    compare("health checks", json(&old.health_checks), json(&new.health_checks));
    compare("constraints", json(&old.constraints), json(&new.constraints));
    let grace = |app: &App| app.task_kill_grace_period_seconds.map_or_else(|| "none".to_owned(), |s| format!("{s} s"));
    compare("stop timeout", grace(old), grace(new));
    let domains = |app: &App| app.labels.get("HAPROXY_0_VHOST").cloned().unwrap_or_else(|| "none".to_owned());
    compare("domains", domains(old), domains(new));
    lines.extend(variables(old, new));
    lines
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("definitions are maps with text keys")
}

/// Names of variables and what becomes of them; their values may be secret.
fn variables(old: &App, new: &App) -> Option<String> {
    let names: BTreeSet<&String> = old.env.keys().chain(new.env.keys()).collect();
    let changes: Vec<String> = names
        .into_iter()
        .filter(|name| !ALWAYS_NEW.contains(&name.as_str()))
        .filter_map(|name| match (old.env.get(name), new.env.get(name)) {
            (None, Some(_)) => Some(format!("+{name}")),
            (Some(_), None) => Some(format!("-{name}")),
            (old, new) => (old != new).then(|| format!("~{name}")),
        })
        .collect();
    (!changes.is_empty()).then(|| format!("variables {}", changes.join(" ")))
}
