//! One push at a time: each kind in turns with the least it could take, and both by their medians.

use std::time::Duration;

use crate::floor::Floor;
use crate::host::{App, Host, trivial_app};
use crate::report::Report;
use crate::support::figures::figure;
use crate::support::registry::TestRegistry;
use crate::support::times::{Times, ms};

/// How often each push is measured.
const ROUNDS: usize = 11;
/// What all of ours may add to the least there is.
const OVER_FLOOR_PERCENT: u32 = 110;
/// What a push of a slug that is there may add to a plain push.
const OVER_PLAIN: Duration = Duration::from_millis(250);
/// The same for one that deploys nothing.
const STORED_PERCENT: u32 = 115;
/// From the pack's arrival to the first line of ours.
const FIRST_LINE: Duration = Duration::from_millis(300);

pub fn without_registry(report: &mut Report) {
    let host = Host::start(&[]);
    whole(report, &host, None);
}

pub fn with_registry(report: &mut Report) {
    let registry = TestRegistry::start();
    let host = Host::start(&[("PAAS_REGISTRY", &registry.host())]);
    whole(report, &host, Some(&registry.host()));
}

/// From push to first answer: a new app, and the next version of one that serves; of that also to the end, when the
/// version before it is gone.
fn whole(report: &mut Report, host: &Host, registry: Option<&str>) {
    let mut floor = Floor::start();
    let (mut plain, mut bare, mut bare_end) = (Times::default(), Times::default(), Times::default());
    let mut bridged = Times::default();
    let (mut first, mut first_end) = (Times::default(), Times::default());
    let (mut next, mut next_end) = (Times::default(), Times::default());
    let mut old = trivial_app();
    host.push(&old, "dev", "old");
    for round in 0..=ROUNDS {
        let new = trivial_app();
        let repository = floor.repository();
        let alone = floor.plain_push(&new.project, &repository, "HEAD:main");
        let repository = floor.repository();
        let least = floor.push(&new.project, &repository, host.builder(), registry);
        let fresh = host.follow(&new, "dev", &format!("new-{round}"));
        old.next();
        let replacing = host.follow(&old, "dev", "old");
        // The floor's first one has nothing to replace.
        if let Some(ended) = least.ended {
            plain.push(alone);
            bare.push(least.answered);
            bridged.push(least.on_default_bridge);
            bare_end.push(ended);
            first.push(fresh.answered);
            first_end.push(fresh.ended);
            next.push(replacing.answered);
            next_end.push(replacing.ended);
        }
    }
    floor.end();
    let how = if registry.is_some() { "with a registry" } else { "without a registry" };
    let (bare, bare_end) = (bare.median(), bare_end.median());
    let least = ms(bare);
    let (plain, bridged) = (plain.median(), bridged.median());
    figure(&format!("{how}: plain push {}; the least on Docker's default bridge {}", ms(plain), ms(bridged)));
    for (what, found) in [("a new app", first.median()), ("the next version", next.median())] {
        let ratio = ratio(found, bare);
        let what = format!("{how}: from push to first answer, {what} ({ratio} × the least, {least})");
        report.time(&what, found, bare * OVER_FLOOR_PERCENT / 100);
    }
    figure(&format!("{how}: a new app, until git has ended: {}", ms(first_end.median())));
    let (ratio, least) = (ratio(next_end.median(), bare_end), ms(bare_end));
    figure(&format!(
        "{how}: until the version before has ended too: {} ({ratio} × the least, {least}; of it 150 ms for those who \
         still reach that one)",
        ms(next_end.median())
    ));
}

/// Such as `1.07`.
fn ratio(found: Duration, least: Duration) -> String {
    format!("{:.2}", found.as_secs_f64() / least.as_secs_f64())
}

/// What `dev` has is promoted to `prod`: a plain push, and what Docker takes to put one instance in another's place.
pub fn to_a_second_tenant(report: &mut Report) {
    let (host, mut floor) = (Host::start(&[]), Floor::start());
    let (mut plain, mut bare, mut promoted) = (Times::default(), Times::default(), Times::default());
    let mut app = trivial_app();
    let repository = floor.repository();
    floor.push(&app.project, &repository, host.builder(), None);
    for round in 0..=ROUNDS {
        app.next();
        host.push(&app, "dev", "shop");
        let repository = floor.repository();
        let (alone, deployed) = (floor.plain_push(&app.project, &repository, "HEAD:main"), floor.deploy());
        let ours = host.push(&app, "prod", "shop");
        // The first one makes the app there.
        if round > 0 {
            plain.push(alone);
            bare.push(deployed);
            promoted.push(ours);
        }
    }
    floor.end();
    let (plain, bare) = (plain.median(), bare.median());
    report.time(
        &format!(
            "same tree to a second tenant (plain push {}, start and stop by Docker alone {})",
            ms(plain),
            ms(bare)
        ),
        promoted.median(),
        plain + bare + OVER_PLAIN,
    );
}

/// Another branch, and how soon a push that does deploy says something.
pub fn that_deploys_nothing(report: &mut Report) {
    let (host, mut floor) = (Host::start(&[]), Floor::start());
    let (mut plain, mut stored, mut line) = (Times::default(), Times::default(), Times::default());
    let mut app = trivial_app();
    host.push(&app, "dev", "shop");
    let repository = floor.repository();
    for round in 0..ROUNDS {
        app.next();
        let to = format!("HEAD:refs/heads/topic-{round}");
        plain.push(floor.plain_push(&app.project, &repository, &to));
        let mut pushed = None;
        stored.take(|| pushed = Some(host.pushed(&app, "dev", "shop", &to)));
        assert!(pushed.is_some_and(|pushed| pushed.accepted && pushed.output.contains("stored, not deployed")));
        app.next();
        let begun = host.begin(&app, "dev", "shop");
        line.push(begun.first_line);
        assert!(begun.end().succeeded);
    }
    let plain = plain.median();
    let what = format!("a push that deploys nothing (plain push {})", ms(plain));
    report.time(&what, stored.median(), plain * STORED_PERCENT / 100);
    report.time(
        "first line of a push that deploys, after a plain push's time",
        line.median().saturating_sub(plain),
        FIRST_LINE,
    );
}

/// The thousandth push to one app beside the tenth to another, in turns.
pub fn with_history(report: &mut Report) {
    const MANY: usize = 1000;
    const FEW: usize = 10;
    let host = Host::start(&[]);
    let mut apps = [("many", MANY, trivial_app()), ("few", FEW, trivial_app())];
    for (name, pushes, app) in &mut apps {
        // Releases without an instance are quickly made, and history all the same.
        instances(app, 0);
        // Every tenth has another tree.
        for number in 2..*pushes {
            if number % 10 == 1 {
                app.next();
            } else {
                app.again();
            }
            assert!(host.pushed(app, "dev", name, "HEAD:main").accepted, "push {number} to {name}");
        }
        instances(app, 1);
        host.push(app, "dev", name);
    }
    let [(_, _, many), (_, _, few)] = &mut apps;
    let (mut of_many, mut of_few) = (Times::default(), Times::default());
    let one = |app: &mut App, name: &str| {
        app.next();
        host.push(app, "dev", name)
    };
    for _ in 0..ROUNDS {
        of_few.push(one(few, "few"));
        of_many.push(one(many, "many"));
    }
    let few = of_few.median();
    report.time(
        &format!("push number 1 000 and on (number 10 and on: {})", ms(few)),
        of_many.median(),
        few * 110 / 100,
    );
}

fn instances(app: &mut App, count: u32) {
    app.project.write("paas.yml", format!("processes: {{web: {{instances: {count}}}}}\n"));
    app.next();
}
