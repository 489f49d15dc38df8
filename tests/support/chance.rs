//! Chance that can be had again: the seed is printed, and may be given.

/// Numbers that look random.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// A new seed each time, or the one in `SEED`.
    pub fn new() -> Self {
        let given = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
        let nanoseconds = jiff::Timestamp::now().as_nanosecond();
        let seed = given.unwrap_or_else(|| u64::try_from(nanoseconds & i128::from(u64::MAX)).unwrap());
        println!("SEED={seed}");
        Self(seed)
    }

    /// Marsaglia's xorshift, with a multiplication at the end.
    fn next(&mut self) -> u64 {
        // Zero would stay zero.
        let mut x = self.0.max(1);
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.0 = x;
        x.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.next() % (most - least + 1)
    }
    pub fn coin(&mut self) -> bool {
        self.next().is_multiple_of(2)
    }
    pub fn one_of<'a, T>(&mut self, things: &'a [T]) -> Option<&'a T> {
        let count = u64::try_from(things.len()).unwrap();
        (count > 0).then(|| &things[usize::try_from(self.next() % count).unwrap()])
    }
}
