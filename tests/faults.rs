//! The fault matrix: at every step of a push every fault, and what is left then.
//!
//! Each case has a release that serves, begins a push on top of it, holds it at a step, does something to it, to its
//! disk, or to what it needs, and lets it go on. Then it looks at what serves, the ref, the lock, what is left in Docker
//! and on the disk, and what was said; and at last it pushes again, which must succeed.

mod around;
mod front;
mod full;
mod killed;
mod lane;
mod table;

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use paas::pipeline::FaultPoint;
use table::{Fault, Plan, plan};

use crate::support::builder::TestBuilder;
use crate::support::figures::figure;

/// A Dockerfile on this builder image that serves the page like a slug does, with a step that takes a moment.
fn dockerfile_on(builder: &TestBuilder) -> String {
    format!("FROM {}\nCOPY . /app\nRUN sleep 1\n", builder.name())
}

/// A push comes to it with a Dockerfile alone.
fn is_by_dockerfile(point: FaultPoint) -> bool {
    matches!(point, FaultPoint::DockerfileBegun | FaultPoint::DockerfileBuilt)
}

/// A cell of the matrix.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    pub point: FaultPoint,
    pub fault: Fault,
}

/// The cells that are run of those of these faults.
fn cases(faults: &[Fault]) -> Vec<Case> {
    let all = faults.iter().flat_map(|&fault| FaultPoint::ALL.map(|point| Case { point, fault }));
    all.filter(|case| matches!(plan(case.point, case.fault), Plan::Run(_))).collect()
}

/// Runs the cases in so many lanes side by side, and fails with all that failed. `lane` makes what a lane works with; one in
/// which a case failed is made anew.
fn run<Lane>(cases: Vec<Case>, lanes: usize, lane: impl Fn() -> Lane + Sync, case: impl Fn(&mut Lane, Case) + Sync) {
    let (began, count) = (Instant::now(), cases.len());
    // Of the environment, that one case may be looked at alone: `FAULT=Locked,DockerAway`.
    let wanted = std::env::var("FAULT").ok();
    let is_wanted =
        |case: &Case| wanted.as_ref().is_none_or(|wanted| *wanted == format!("{:?},{:?}", case.point, case.fault));
    let left: Mutex<VecDeque<Case>> = Mutex::new(cases.into_iter().filter(is_wanted).collect());
    let failed = Mutex::new(Vec::new());
    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let work = || {
        let mut own = None;
        while let Some(one) = next() {
            let began = Instant::now();
            let ended = std::panic::catch_unwind(AssertUnwindSafe(|| case(own.get_or_insert_with(&lane), one)));
            println!("{one:?}: {:.1} s, {}", began.elapsed().as_secs_f64(), if ended.is_ok() { "good" } else { "BAD" });
            if ended.is_err() {
                failed.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{one:?}"));
                own = None;
            }
        }
    };
    std::thread::scope(|scope| (0..lanes).for_each(|_| drop(scope.spawn(work))));
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {count} cases failed: {failed:#?}", failed.len());
    println!("{count} cases in {:.0} s", began.elapsed().as_secs_f64());
}

#[test]
fn every_step_of_a_push_meets_every_fault_or_a_reason_why_not() {
    let mut reasons = std::collections::BTreeMap::<&str, usize>::new();
    let mut count = 0;
    for point in FaultPoint::ALL {
        let mut run = 0;
        for fault in Fault::ALL {
            match plan(point, fault) {
                Plan::Run(_) => run += 1,
                Plan::NotRun(reason) => *reasons.entry(reason).or_default() += 1,
            }
        }
        assert!(run > 0, "{point:?} has no case");
        count += run;
    }
    for fault in Fault::ALL {
        assert!(!cases(&[fault]).is_empty(), "{fault:?} has no case");
    }
    let (points, faults, not_run) = (FaultPoint::ALL.len(), Fault::ALL.len(), reasons.values().sum::<usize>());
    figure(&format!(
        "fault matrix: {points} steps x {faults} faults = {} combinations: {count} run, {not_run} not, since",
        points * faults
    ));
    for (reason, count) in reasons {
        figure(&format!("  {count:3} {reason}"));
    }
}
