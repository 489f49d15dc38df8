//! Clients that are many, slow, greedy or broken: they are answered as they deserve, and the others do not notice.

mod broken;
mod streams;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::engine::TestEngine;
use crate::support::load::Client;
use crate::support::times::Times;
use crate::support::usage::Usage;

/// Most memory an engine may take in these tests, which run beside others in an unoptimised program: far above what it
/// needs, and far below what a client could make it take that nothing bounds.
const MOST_RESIDENT_KIB: u64 = 192 << 10;

/// Does something while another client asks for an app over and over, and answers how long that one waited.
fn beside_another<T>(engine: &TestEngine, work: impl FnOnce() -> T) -> (T, Times) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            let (mut client, mut times) = (Client::to(engine.address()), Times::default());
            while !done.load(Ordering::Relaxed) {
                let reply = times.take(|| client.get("/v2/apps"));
                assert_eq!(reply.status, 200);
                std::thread::sleep(Duration::from_millis(2));
            }
            times
        });
        // Also when the work fails, or the other would go on for ever.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        done.store(true, Ordering::Relaxed);
        let times = other.join().unwrap();
        (result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)), times)
    })
}

/// The other client was answered as if nothing was. The median, since these tests share the machine with others; the
/// bench asks for more.
#[track_caller]
fn unharmed(times: &Times) {
    assert!(times.count() > 3, "it was hardly answered at all");
    assert!(times.median() < Duration::from_millis(50), "the other client waited {:?}", times.median());
}

#[track_caller]
fn modest(engine: &TestEngine) {
    let peak = Usage::of(engine.pid()).peak;
    assert!(peak < MOST_RESIDENT_KIB, "the engine took {} MiB", peak >> 10);
}
