//! Many pushes at once: to as many apps, and to one.

use std::time::{Duration, Instant};

use crate::host::{App, Begun, Host, trivial_app};
use crate::report::Report;
use crate::support::figures::figure;
use crate::support::times::{Times, ms};

const PUSHES: usize = 20;

/// All succeed, and together they take hardly longer than the machine's work for each of them one after another,
/// divided among those that are built at once; or the machine has no time left.
pub fn of_twenty_apps(report: &mut Report) {
    let slots = std::thread::available_parallelism().unwrap().get();
    let host = Host::start(&[]);
    let alone: Times = (0..7).map(|number| host.push(&small_app(), "dev", &format!("alone-{number}"))).collect();
    let alone = alone.median();
    let apps: Vec<_> = (0..PUSHES).map(|number| (format!("crowd-{number}"), small_app())).collect();
    let idle_before = idle();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for (name, app) in &apps {
            scope.spawn(|| host.push(app, "dev", name));
        }
    });
    let took = begun.elapsed();
    let cores = u32::try_from(slots).unwrap();
    let busy = 100.0 - 100.0 * idle().saturating_sub(idle_before).as_secs_f64() / (took * cores).as_secs_f64();
    let limit = alone * u32::try_from(PUSHES).unwrap() * 12 / 10 / cores;
    // The processors' own limit holds where theirs is reached first.
    let holds = took <= limit || busy >= 90.0;
    let found = format!("{} (each alone {}; processors {busy:.0} % busy)", ms(took), ms(alone));
    let limit = format!("{} with {slots} build slots, or 90 % busy", ms(limit));
    report.note("20 pushes to 20 apps at once", &found, &limit, holds);
}

/// Of which two cores have room for all.
fn small_app() -> App {
    let mut app = trivial_app();
    app.project.write("paas.yml", "processes: {web: {cpus: 0.05}}\n");
    app.next();
    app
}

/// Each gets a release, in the order in which they had their turn.
pub fn to_one_app(report: &mut Report) {
    let host = Host::start(&[]);
    let mut app = trivial_app();
    host.push(&app, "dev", "row");
    // Each on top of the last, so that none undoes another whatever the order in which they come.
    let begun = Instant::now();
    let pushes: Vec<_> = (0..PUSHES)
        .map(|_| {
            app.next();
            // It stands in the row when it has said something, and then the next one comes.
            host.begin(&app, "dev", "row")
        })
        .collect();
    let ended: Vec<_> = pushes.into_iter().map(Begun::end).collect();
    let took = begun.elapsed();
    let releases: Vec<Option<u32>> = ended.iter().map(|push| release_of(&push.said)).collect();
    figure(&format!("20 pushes to one app: {}", ms(took)));
    let in_order = releases.windows(2).all(|pair| pair[0].is_some() && pair[0] < pair[1]);
    let succeeded = ended.iter().filter(|push| push.succeeded).count();
    let found = format!("{succeeded} releases{}", if in_order { ", in order" } else { ", NOT in order" });
    report.note("20 pushes to one app, one after another", &found, "20, in order", succeeded == PUSHES && in_order);
}

/// The number in `=====> row v12 is live`.
fn release_of(said: &[(Duration, String)]) -> Option<u32> {
    let (_, line) = said.iter().find(|(_, line)| line.contains(" is live"))?;
    line.split(" v").nth(1)?.split(' ').next()?.parse().ok()
}

/// Time that the machine's processors had nothing to do, since it started.
fn idle() -> Duration {
    let stat = std::fs::read_to_string("/proc/stat").unwrap();
    let fields: Vec<u64> =
        stat.lines().next().unwrap().split_whitespace().skip(1).map(|n| n.parse().unwrap()).collect();
    // Idle, and idle because of the disk; the kernel counts in hundredths of a second.
    Duration::from_millis((fields[3] + fields[4]) * 10)
}
