//! What this engine may give to tasks, and what it has given: its share of the machine, as Mesos' agents offer theirs.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::instance::InstanceId;
use crate::marathon::App;

/// What there is to give: the whole machine, or the share of it that the engine was told.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    pub cpus: f64,
    /// MiB.
    pub mem: f64,
    /// MiB.
    pub disk: f64,
}

/// Amounts in thousandths, Mesos' own precision: sums of them are exact, so that what is given back is all that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Amounts {
    cpus: i64,
    mem: i64,
    disk: i64,
}

impl Amounts {
    fn of(cpus: f64, mem: f64, disk: f64) -> Self {
        Self { cpus: thousandths(cpus), mem: thousandths(mem), disk: thousandths(disk) }
    }
    fn of_app(app: &App) -> Self {
        Self::of(app.cpus, app.mem, app.disk)
    }
    fn add(&mut self, other: Self, sign: i64) {
        self.cpus = self.cpus.saturating_add(sign * other.cpus);
        self.mem = self.mem.saturating_add(sign * other.mem);
        self.disk = self.disk.saturating_add(sign * other.disk);
    }
    fn shown(self) -> Machine {
        #[allow(clippy::cast_precision_loss, reason = "no machine has 2^53 thousandths of anything")]
        let shown = |amount: i64| amount as f64 / 1000.0;
        Machine { cpus: shown(self.cpus), mem: shown(self.mem), disk: shown(self.disk) }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "`as` stops at the type's largest value")]
fn thousandths(amount: f64) -> i64 {
    (amount * 1000.0).round() as i64
}

/// So many MiB, in bytes.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "amounts are not negative, and `as` stops at the type's largest value"
)]
pub fn mebibytes(amount: f64) -> u64 {
    (amount * f64::from(1 << 20)) as u64
}

/// What there is too little of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shortage {
    Cpus,
    Memory,
    Disk,
}

/// The sums of the ledger.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Books {
    /// All there is, given or not.
    pub share: Machine,
    /// What tasks hold.
    pub given: Machine,
    /// What is left; less than nothing where the share was made smaller while tasks ran.
    pub left: Machine,
}

/// What one task holds.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Holding {
    amounts: Amounts,
    ports: Vec<u16>,
}

/// Who holds what: every task that runs, or may run, holds what its app asks for.
#[derive(Debug, Clone)]
pub struct Ledger {
    share: Amounts,
    given: Amounts,
    holdings: BTreeMap<InstanceId, Holding>,
    ports: BTreeSet<u16>,
}

impl Ledger {
    pub fn new(share: Machine) -> Self {
        Self {
            share: Amounts::of(share.cpus, share.mem, share.disk),
            given: Amounts::default(),
            holdings: BTreeMap::new(),
            ports: BTreeSet::new(),
        }
    }

    /// The sums.
    pub fn books(&self) -> Books {
        let mut left = self.share;
        left.add(self.given, -1);
        Books { share: self.share.shown(), given: self.given.shown(), left: left.shown() }
    }
    /// The host ports that tasks hold.
    pub fn ports(&self) -> &BTreeSet<u16> {
        &self.ports
    }

    /// Whether there is room for one more task of the app; in the order in which Marathon looks.
    pub fn room_for(&self, app: &App) -> Result<(), Shortage> {
        let wanted = Amounts::of_app(app);
        let fits = |wanted: i64, given: i64, share: i64| wanted == 0 || given.saturating_add(wanted) <= share;
        if !fits(wanted.cpus, self.given.cpus, self.share.cpus) {
            Err(Shortage::Cpus)
        } else if !fits(wanted.mem, self.given.mem, self.share.mem) {
            Err(Shortage::Memory)
        } else if !fits(wanted.disk, self.given.disk, self.share.disk) {
            Err(Shortage::Disk)
        } else {
            Ok(())
        }
    }

    /// Notes what an instance's task holds from now on, whether there was room or not.
    pub fn take(&mut self, id: &InstanceId, app: &App, ports: &[u16]) {
        self.give_back(id);
        let amounts = Amounts::of_app(app);
        self.given.add(amounts, 1);
        self.ports.extend(ports);
        self.holdings.insert(id.clone(), Holding { amounts, ports: ports.to_vec() });
    }

    /// The instance's task holds nothing any more; false when it did not before.
    pub fn give_back(&mut self, id: &InstanceId) -> bool {
        let Some(holding) = self.holdings.remove(id) else { return false };
        self.given.add(holding.amounts, -1);
        for port in &holding.ports {
            self.ports.remove(port);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::super::samples::command;
    use super::*;

    fn id(number: u128) -> InstanceId {
        InstanceId::new("/a".parse().unwrap(), Uuid::from_u128(number))
    }
    fn app(cpus: f64, mem: f64, disk: f64) -> App {
        App { cpus, disk, mem, ..command("/a") }
    }

    #[test]
    fn there_is_room_until_all_is_given_and_again_when_some_came_back() {
        let mut ledger = Ledger::new(Machine { cpus: 1.0, mem: 100.0, disk: 10.0 });
        let third = app(0.3, 30.0, 0.0);
        for number in 0..3 {
            assert_eq!(ledger.room_for(&third), Ok(()));
            ledger.take(&id(number), &third, &[31_000]);
        }
        assert_eq!(ledger.room_for(&third), Err(Shortage::Cpus));
        assert_eq!(ledger.room_for(&app(0.1, 11.0, 0.0)), Err(Shortage::Memory));
        assert_eq!(ledger.room_for(&app(0.1, 10.0, 10.1)), Err(Shortage::Disk));
        assert_eq!(ledger.room_for(&app(0.1, 10.0, 10.0)), Ok(()));
        assert!(ledger.give_back(&id(0)) && !ledger.give_back(&id(0)));
        assert_eq!(ledger.room_for(&third), Ok(()));
    }

    #[test]
    fn who_asks_for_nothing_of_a_kind_does_not_wait_for_it() {
        let mut ledger = Ledger::new(Machine { cpus: 1.0, mem: 100.0, disk: 0.0 });
        ledger.take(&id(0), &app(2.0, 32.0, 0.0), &[]);
        assert_eq!(ledger.room_for(&app(0.0, 32.0, 0.0)), Ok(()));
        assert!(ledger.books().left.cpus < 0.0);
    }

    proptest! {
        #[test]
        fn what_is_taken_and_given_back_leaves_nothing(amounts in proptest::collection::vec(0.0_f64..50.0, 1..40)) {
            let mut ledger = Ledger::new(Machine { cpus: 8.0, mem: 8192.0, disk: 100.0 });
            for (number, amount) in (0_u128..).zip(&amounts) {
                ledger.take(&id(number), &app(*amount, amount * 3.7, amount / 7.0), &[u16::try_from(number).unwrap()]);
            }
            for (number, _) in (0_u128..).zip(&amounts) {
                ledger.give_back(&id(number));
            }
            prop_assert_eq!(ledger.books().given, Machine { cpus: 0.0, mem: 0.0, disk: 0.0 });
            prop_assert!(ledger.ports().is_empty());
        }
    }
}
