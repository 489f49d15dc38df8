//! Many apps, in a double's containers: what `make bench` measures in full, here to see that it works at all. Limits
//! are far above what is wanted, since other tests run beside this one and the program is not optimised.

use std::time::Duration;

use crate::support::fleet::Fleet;
use crate::support::times::Times;
use crate::support::usage::Usage;

#[test]
fn two_hundred_instances_are_run_changed_found_again_and_left_alone() {
    const READS: usize = 100;
    let mut fleet = Fleet::new(10, 10, 2).with_checks();
    fleet.create();
    fleet.settled();
    let mut client = fleet.client();
    let one = Times::of(READS, |n| assert_eq!(client.get(&fleet.app(n)).status, 200));
    assert!(one.median() < Duration::from_millis(50), "one app takes {:?}", one.median());
    for n in 0..20 {
        fleet.put(&mut client, n, "2");
    }
    fleet.settled();
    let version = client.get(&fleet.app(0)).json()["app"]["version"].clone();
    let containers = fleet.containers();
    fleet.engine.kill();
    fleet.engine.launch();
    fleet.settled();
    assert_eq!(fleet.client().get(&fleet.app(0)).json()["app"]["version"], version);
    assert_eq!(fleet.containers(), containers, "what runs is found again");
    // One that ends is replaced, as with a real Docker.
    fleet.end(&containers[0]);
    fleet.settled();
    assert_eq!(fleet.containers().len(), containers.len());

    // Nothing happens, and so nothing is done.
    std::thread::sleep(Duration::from_secs(2));
    let before = Usage::of(fleet.engine.pid());
    std::thread::sleep(Duration::from_secs(3));
    let after = Usage::of(fleet.engine.pid());
    assert!(after.busy.saturating_sub(before.busy) < Duration::from_millis(100), "{before:?} {after:?}");
    assert!(after.switches_since(&before) < 200, "{before:?} {after:?}");
    assert!(after.peak < 128 << 10, "{after:?}");
}
