//! Randomness from a seed, and the bodies made of it.

#![allow(dead_code, reason = "each test file uses a part")]

/// xorshift64*: what a test does follows from its seed alone.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        // Spread, so that neighbouring seeds begin differently; never zero.
        let mut random = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        random.next();
        random
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 11) % bound
    }

    pub(crate) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap()
    }

    /// True once in `times` on average.
    pub(crate) fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

/// Bytes that follow from a number and look random.
pub(crate) fn noise(number: u64, len: usize) -> Vec<u8> {
    let mut body = vec![0; len];
    blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut body);
    body
}

/// The first seed to use: what `STEMEDB_SEED` says, to replay a failure, or `default`.
pub(crate) fn first_seed(default: u64) -> u64 {
    number_from_env("STEMEDB_SEED").unwrap_or(default)
}

/// A number from the environment.
pub(crate) fn number_from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}
