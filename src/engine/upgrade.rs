//! The rolling replacement of an app's instances, as a function of what there is.
//!
//! Marathon decides once, when the deployment begins, how many old instances to kill, and from then on reacts to what
//! happens. Here the same decision is made anew from the present situation, which gives the same moves and needs no
//! memory, so that an engine that was killed goes on where it stood. Two things differ from Marathon on purpose: real
//! health counts (its own HTTP and TCP checks never reach its decision), and old instances that are unhealthy may be
//! given up when nothing else can move, where Marathon stands still for ever.

use crate::marathon::UpgradeStrategy;

/// What an app's instances are doing. Every instance is counted once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Situation {
    /// How many instances are asked for.
    pub target: u32,
    /// Of an older version, wanted still, and serving.
    pub old_healthy: u32,
    /// Of an older version, wanted still, and not serving: waiting, starting, failed or unhealthy.
    pub old_unhealthy: u32,
    /// Of an older version, told to end, and not gone yet.
    pub old_dying: u32,
    /// Of the target version, serving and ready.
    pub new_healthy: u32,
    /// Of the target version, and not there yet.
    pub new_unhealthy: u32,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moves {
    /// Old instances to end; those that do not serve first.
    pub kill: u32,
    /// New instances to add.
    pub start: u32,
    /// Exactly the target serves, and nothing old is left.
    pub done: bool,
}

/// How many instances must serve, and how many may exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bounds {
    min_healthy: u32,
    max_capacity: u32,
}

impl Bounds {
    fn of(strategy: &UpgradeStrategy, target: u32, healthy: u32) -> Self {
        let min_healthy = scaled(target, strategy.minimum_health_capacity).0;
        let mut max_capacity = scaled(target, 1.0 + strategy.maximum_over_capacity).1;
        // No room between the two: one over, or nothing could ever move.
        if min_healthy == max_capacity && max_capacity <= healthy {
            max_capacity += 1;
        }
        Self { min_healthy, max_capacity }
    }
}

/// `count × factor`, rounded up and rounded down. The factors people write (0.7, 1.2) are no exact binary
/// fractions, so what is within a millionth of a whole number is that number.
fn scaled(count: u32, factor: f64) -> (u32, u32) {
    let product = f64::from(count) * factor.max(0.0);
    let slack = 1e-6;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "never negative, and `as` stops at the type's largest value"
    )]
    let whole = |value: f64| value as u32;
    (whole((product - slack).ceil().max(0.0)), whole((product + slack).floor()))
}

/// The next moves of a replacement; nothing to do means waiting for instances to change.
pub fn next(strategy: &UpgradeStrategy, now: &Situation) -> Moves {
    let old = now.old_healthy + now.old_unhealthy;
    let new = now.new_healthy + now.new_unhealthy;
    let healthy = now.old_healthy + now.new_healthy;
    let bounds = Bounds::of(strategy, now.target, healthy);
    let start = now.target.saturating_sub(new).min(bounds.max_capacity.saturating_sub(old + now.old_dying + new));
    let surplus = old.saturating_sub(now.target);
    let spare = healthy.saturating_sub(bounds.min_healthy);
    // Each new one that serves takes the place of an old one that does not.
    let succeeded = now.old_unhealthy.min((old + now.new_healthy).saturating_sub(now.target));
    let stuck = start == 0 && now.old_dying == 0 && now.new_unhealthy == 0 && new < now.target;
    let given_up = u32::from(stuck && now.old_unhealthy > 0);
    let kill = surplus.max(spare).max(succeeded).max(given_up).min(old);
    let done = old + now.old_dying == 0 && new == now.target && now.new_unhealthy == 0;
    Moves { kill, start, done }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn strategy(minimum_health_capacity: f64, maximum_over_capacity: f64) -> UpgradeStrategy {
        UpgradeStrategy { maximum_over_capacity, minimum_health_capacity }
    }

    #[test]
    fn the_table_of_the_contract_holds() {
        let table = [
            (1, 1.0, 1.0, 0, 2),
            (1, 1.0, 0.0, 0, 2),
            (1, 0.0, 0.0, 1, 1),
            (4, 1.0, 1.0, 0, 8),
            (4, 1.0, 0.0, 0, 5),
            (4, 0.5, 0.0, 2, 4),
            (4, 0.5, 0.5, 2, 6),
            (10, 0.7, 0.2, 3, 12),
            (3, 0.5, 0.0, 1, 3),
        ];
        for (n, health, over, kill, capacity) in table {
            let strategy = strategy(health, over);
            let now = Situation { target: n, old_healthy: n, ..Situation::default() };
            assert_eq!(next(&strategy, &now).kill, kill, "{n} {health} {over}");
            assert_eq!(Bounds::of(&strategy, n, n).max_capacity, capacity, "{n} {health} {over}");
        }
    }

    #[test]
    fn with_full_health_no_old_one_goes_before_a_new_one_serves() {
        let full = strategy(1.0, 1.0);
        let begin = Situation { target: 2, old_healthy: 2, ..Situation::default() };
        assert_eq!(next(&full, &begin), Moves { kill: 0, start: 2, done: false });
        let starting = Situation { new_unhealthy: 2, ..begin };
        assert_eq!(next(&full, &starting), Moves::default());
        let half = Situation { new_healthy: 1, new_unhealthy: 1, ..begin };
        assert_eq!(next(&full, &half), Moves { kill: 1, start: 0, done: false });
    }

    #[test]
    fn a_dying_old_instance_still_takes_room() {
        let now = Situation { target: 1, old_dying: 1, ..Situation::default() };
        assert_eq!(next(&strategy(0.0, 0.0), &now), Moves::default());
        let gone = Situation { old_dying: 0, ..now };
        assert_eq!(next(&strategy(0.0, 0.0), &gone).start, 1);
    }

    #[test]
    fn the_end_is_when_exactly_the_target_serves_and_nothing_old_is_left() {
        let now = Situation { target: 2, new_healthy: 2, ..Situation::default() };
        assert!(next(&strategy(1.0, 1.0), &now).done);
        assert!(!next(&strategy(1.0, 1.0), &Situation { old_dying: 1, ..now }).done);
        assert!(!next(&strategy(1.0, 1.0), &Situation { new_healthy: 1, new_unhealthy: 1, ..now }).done);
    }

    #[test]
    fn fewer_instances_than_before_end_the_surplus_at_once() {
        let now = Situation { target: 3, old_healthy: 10, ..Situation::default() };
        assert_eq!(next(&strategy(1.0, 1.0), &now).kill, 7);
    }

    #[test]
    fn a_dead_old_instance_does_not_block_its_replacement() {
        let now = Situation { target: 1, old_unhealthy: 1, ..Situation::default() };
        assert_eq!(next(&strategy(1.0, 0.0), &now), Moves { kill: 1, start: 0, done: false });
        // With room beside it, it is kept until its successor serves.
        assert_eq!(next(&strategy(1.0, 1.0), &now), Moves { kill: 0, start: 1, done: false });
    }

    /// One thing that may happen next: an old one dies, or a new one becomes healthy.
    fn happen(now: &mut Situation, choice: u8) {
        if now.old_dying > 0 && (choice.is_multiple_of(2) || now.new_unhealthy == 0) {
            now.old_dying -= 1;
        } else if now.new_unhealthy > 0 {
            now.new_unhealthy -= 1;
            now.new_healthy += 1;
        }
    }

    proptest! {
        #[test]
        fn a_replacement_stays_within_its_bounds_and_ends(
            target in 1_u32..12, old_healthy in 0_u32..12, old_unhealthy in 0_u32..6,
            health in 0_u32..=10, over in 0_u32..=10, choices in proptest::collection::vec(any::<u8>(), 200),
        ) {
            let strategy = strategy(f64::from(health) / 10.0, f64::from(over) / 10.0);
            let mut now = Situation { target, old_healthy, old_unhealthy, ..Situation::default() };
            let floor = Bounds::of(&strategy, target, 0).min_healthy.min(old_healthy);
            let mut ended = false;
            for choice in choices {
                let healthy = now.old_healthy + now.new_healthy;
                let bounds = Bounds::of(&strategy, target, healthy);
                let moves = next(&strategy, &now);
                if moves.done {
                    ended = true;
                    break;
                }
                let unhealthy_killed = moves.kill.min(now.old_unhealthy);
                now.old_unhealthy -= unhealthy_killed;
                now.old_healthy -= moves.kill - unhealthy_killed;
                now.old_dying += moves.kill;
                now.new_unhealthy += moves.start;
                prop_assert!(now.old_healthy + now.new_healthy >= floor, "{now:?}");
                let alive = now.old_healthy + now.old_unhealthy + now.old_dying + now.new_healthy + now.new_unhealthy;
                prop_assert!(moves.start == 0 || alive <= bounds.max_capacity, "{now:?}");
                happen(&mut now, choice);
            }
            prop_assert!(ended, "{now:?}");
        }
    }
}
