//! `kill -9` of a push, through the real front door: sshd, git, the session and its hooks.

use paas::pipeline::FaultPoint;
use rustix::process::{Pid, Signal, kill_process};

use super::front::{App, Beside, PATIENCE, Scene};
use super::table::Fault;
use super::{Case, cases, run};
use crate::support::fault_points::Hold;

#[test]
fn a_push_that_is_killed_at_any_step_leaves_what_serves_and_a_free_app() {
    let scene = Scene::start(None);
    run(cases(&[Fault::SessionKilled, Fault::HookKilled]), 6, || App::start(&scene), case);
    scene.holds_only_what_is_known();
}

fn case(app: &mut App<'_>, case: Case) {
    let Case { point, fault } = case;
    let (before, page) = (app.branch(), app.page.clone());
    app.prepare(point);
    let hold = Hold::at(point, app.home(), &app.name);
    let mut push = Beside::start(app);
    let Some(hook) = hold.reached(PATIENCE, || push.is_over()) else {
        panic!("it never came to {point:?}: {:?}", push.end());
    };
    if !is_replaced(point) {
        assert_eq!(app.answer().as_deref(), Some(page.as_str()), "when it came to {point:?}");
    }
    kill(hook, fault);
    drop(hold);
    let pushed = push.end();

    assert!(!pushed.accepted && !pushed.porcelain.contains("\tok"), "success was said: {pushed:?}");
    assert!(!pushed.output.contains("is live") || point == FaultPoint::RefMoved, "success was said: {pushed:?}");
    assert!(!pushed.output.trim().is_empty() || pushed.porcelain.contains('!'), "nothing was said");
    let branch = if point == FaultPoint::RefMoved { app.head() } else { before };
    assert_eq!(app.branch(), branch, "the branch");
    if !is_posted(point) {
        assert_eq!(app.answer().as_deref(), Some(page.as_str()), "after {point:?}");
    }

    app.next_page();
    let next = app.push();
    assert!(!next.output.contains("Waiting for"), "it had to wait\n{}", next.output);
    app.takes_over(&next);
    assert_eq!(app.branch(), app.head());
    assert_eq!(app.leftovers(), Vec::<String>::new(), "after the next push");
}

/// `kill -9` of the hook; or first of all that could notice: the session, git, and what stands between.
fn kill(hook: u32, fault: Fault) {
    let mut all = vec![hook];
    if fault == Fault::SessionKilled {
        let mut above = hook;
        // From the hook up to sshd's own process of the connection.
        while let Some((parent, name)) = parent_of(above).filter(|(_, name)| name != "sshd") {
            assert!(
                ["git", "paas-receive", "sh"].iter().any(|known| name.starts_with(known)),
                "{name} is above the hook"
            );
            all.push(parent);
            above = parent;
        }
        assert!(all.len() >= 3, "the hook has git and a session above it");
    }
    for process in all.into_iter().rev() {
        // One may be gone with the one above it.
        let _ = kill_process(Pid::from_raw(process.cast_signed()).unwrap(), Signal::KILL);
    }
}

/// The process above this one, and its name.
fn parent_of(process: u32) -> Option<(u32, String)> {
    let status = |process| std::fs::read_to_string(format!("/proc/{process}/status")).ok();
    let field = |text: &str, name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
    };
    let parent: u32 = field(&status(process)?, "PPid:")?.parse().ok()?;
    Some((parent, field(&status(parent)?, "Name:")?))
}

/// Marathon may have the new release when a push comes there.
fn is_posted(point: FaultPoint) -> bool {
    is_replaced(point) || matches!(point, FaultPoint::Posted | FaultPoint::DeploymentNoted)
}

/// The release before may be gone, or at another place, when a push comes there.
fn is_replaced(point: FaultPoint) -> bool {
    use FaultPoint::{RefMoved, RolledBack, RollingBack, Served, ServingMarked};
    matches!(point, Served | ServingMarked | RefMoved | RollingBack | RolledBack)
}
