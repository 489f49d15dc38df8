//! Why an app waits for room: what `/v2/queue` tells of the offers that were looked at for it. This machine is the one
//! offer there is, and every look at what is left of it is one offer processed.

use super::Moment;
use super::ledger::{Machine, Shortage};

/// Why an instance is not launched though it is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reject {
    Constraint,
    Cpus,
    Memory,
    Disk,
    Ports,
}

impl From<Shortage> for Reject {
    fn from(shortage: Shortage) -> Self {
        match shortage {
            Shortage::Cpus => Self::Cpus,
            Shortage::Memory => Self::Memory,
            Shortage::Disk => Self::Disk,
        }
    }
}

impl Reject {
    /// Its place among Marathon's ten reasons, which is the order in which they are looked at.
    pub fn place(self) -> usize {
        match self {
            Self::Constraint => 1,
            Self::Cpus => 4,
            Self::Memory => 5,
            Self::Disk => 6,
            Self::Ports => 8,
        }
    }
}

/// How many reasons there are.
pub const REASONS: usize = 10;

/// How an app has fared since its instances began to wait.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Waiting {
    /// What was lacking at the last look; none when it was used.
    pub last: Option<Reject>,
    /// What was left of the machine at the last look that came to nothing.
    pub left: Option<Machine>,
    pub processed: u32,
    pub unused: u32,
    pub last_unused_at: Option<Moment>,
    pub last_used_at: Option<Moment>,
    /// How often each reason was the one.
    pub declined: [u32; REASONS],
}

impl Waiting {
    pub fn note_used(&mut self, now: Moment) {
        self.processed = self.processed.saturating_add(1);
        self.last = None;
        self.last_used_at = Some(now);
    }
    pub fn note_unused(&mut self, reject: Reject, left: Machine, now: Moment) {
        self.processed = self.processed.saturating_add(1);
        self.unused = self.unused.saturating_add(1);
        self.last = Some(reject);
        self.left = Some(left);
        self.last_unused_at = Some(now);
        let count = &mut self.declined[reject.place()];
        *count = count.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_look_counts_and_the_last_says_why() {
        let (mut waiting, left) = (Waiting::default(), Machine { cpus: 0.5, mem: 10.0, disk: 0.0 });
        let at = Moment::from_millis;
        waiting.note_unused(Reject::Cpus, left, at(1));
        waiting.note_unused(Reject::Memory, left, at(2));
        assert_eq!((waiting.processed, waiting.unused, waiting.last), (2, 2, Some(Reject::Memory)));
        assert_eq!((waiting.declined[4], waiting.declined[5]), (1, 1));
        waiting.note_used(at(3));
        assert_eq!((waiting.processed, waiting.unused, waiting.last), (3, 2, None));
        assert_eq!((waiting.last_unused_at, waiting.last_used_at), (Some(at(2)), Some(at(3))));
    }
}
