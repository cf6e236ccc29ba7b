//! The indices of the symbols that an id is in.
//!
//! # The mapping
//!
//! It is a function of the id's [check](super::CheckKey::check) `c` alone, in integers, so that
//! every implementation finds the same indices.
//!
//! - **Draws.** The `k`th draw, from 0, is `mix(c + (k + 1) * 0x9e3779b97f4a7c15) >> 11` modulo
//!   2^64, where `mix` is that of `SplitMix64`: `z ^= z >> 30; z *= 0xbf58476d1ce4e5b9; z ^= z >> 27;
//!   z *= 0x94d049bb133111eb; z ^= z >> 31`. So a draw `r` has 53 bits.
//! - **Gaps.** The first index is 0. Behind the index `i` comes the smallest `j` such that
//!   `(2j + 3)^2 * r >= (2i + 3)^2 * 2^53`, with the next draw `r`; none if `r` is 0. Solved for the
//!   gap `j - i` this is the paper's `ceil((i + 1.5) * (1 / sqrt(u) - 1))` with `u = r / 2^53`.
//! - **Stages.** Stage 0 has the indices below 2^14, stage `s` those from 2^(11 + 3s) to
//!   2^(14 + 3s). A `j` past the end of a stage is dropped, and the walk goes on in the next stage:
//!   from the index before the stage's first, as `i`, with the draws from `k = s * 2^32` on.
//! - **End.** Indices are below [`INDEX_END`].
//!
//! # Why
//!
//! The chance that the next index is past `j` is `((2i + 3) / (2j + 3))^2`, which is the product of
//! `((2k + 1) / (2k + 3))^2` over all `k` from `i + 1` to `j`. So each index `k` is taken with the
//! chance `1 - ((2k + 1) / (2k + 3))^2`, about `1 / (1 + k / 2)`, whatever came before it. That is
//! the paper's density. It also means that a walk may start afresh anywhere: hence the stages, which
//! let one who wants the symbols from 2^14 on skip the 19 indices that an id has below, of the 24
//! that it has below 150,000.
//!
//! Here a double guesses `j`, which is then put right in integers. The guess is off by far less
//! than one: three roundings of 2^-53 each, of a number below 2^34.

/// Indices are below this: 2^30.
pub const INDEX_END: u32 = 1 << 30;

/// The increment of `SplitMix64`: 2^64 over the golden ratio, odd.
const INCREMENT: u64 = 0x9e37_79b9_7f4a_7c15;

/// Stage 0 ends at 2 to the power of this.
const STAGE_BITS: u32 = 14;

/// Each stage ends at 2 to the power of this times the end of the one before.
const STAGE_BITS_MORE: u32 = 3;

/// How many bits a draw has.
const DRAW_BITS: u32 = 53;

/// A place on the walk over the indices of one id.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk {
    /// The check, which seeds the draws.
    seed: u64,
    /// What the last draw was mixed from.
    state: u64,
    /// `2i + 3` for the index `i` reached.
    weight: u32,
    /// The stage that it is in.
    stage: u32,
}

impl Walk {
    /// A walk that has reached index 0, which every id has.
    pub(super) fn new(check: u64) -> Self {
        Self { seed: check, state: check, weight: weight_of(0), stage: 0 }
    }

    /// A walk that has reached the first index that is `from` or more; `None` if there is none
    /// below `end`.
    pub(super) fn enter(check: u64, from: u32, end: u32) -> Option<Self> {
        let mut walk = Self::new(check);
        if from >= stage_end(0) {
            walk.set_stage((from.ilog2() - STAGE_BITS) / STAGE_BITS_MORE + 1);
            walk.advance(end)?;
        }
        while walk.index() < from {
            walk.advance(end)?;
        }
        (walk.index() < end).then_some(walk)
    }

    /// The index reached.
    pub(super) fn index(&self) -> u32 {
        index_of(self.weight)
    }

    /// Goes on to the next index and returns it. `None` if there is none below `end`: then the walk
    /// is over, and where it stands means nothing.
    #[inline]
    pub(super) fn advance(&mut self, end: u32) -> Option<u32> {
        loop {
            let stage_end = stage_end(self.stage);
            self.state = self.state.wrapping_add(INCREMENT);
            let draw = mix(self.state) >> (u64::BITS - DRAW_BITS);
            match step(self.weight, draw, stage_end.min(end)) {
                Some(weight) => {
                    self.weight = weight;
                    return Some(index_of(weight));
                }
                None if stage_end < end.min(INDEX_END) => self.set_stage(self.stage + 1),
                None => return None,
            }
        }
    }

    /// Goes to the index before the first of a stage.
    fn set_stage(&mut self, stage: u32) {
        self.stage = stage;
        self.weight = weight_of(stage_end(stage.saturating_sub(1)).saturating_sub(1));
        self.state = self.seed.wrapping_add(INCREMENT.wrapping_mul(u64::from(stage) << 32));
    }
}

/// The indices of one id, in order: see the [module](super).
#[derive(Clone, Debug)]
pub struct Indices(Option<Walk>);

impl Indices {
    /// The indices of the id with this [check](super::CheckKey::check).
    pub fn new(check: u64) -> Self {
        Self(Some(Walk::new(check)))
    }

    /// Those from `from` on: without a look at most of those before if there are 2^14 or more.
    pub fn starting_at(check: u64, from: u32) -> Self {
        Self(Walk::enter(check, from, INDEX_END))
    }
}

impl Iterator for Indices {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let walk = self.0.as_mut()?;
        let index = walk.index();
        if walk.advance(INDEX_END).is_none() {
            self.0 = None;
        }
        Some(index)
    }
}

/// The finalizer of `SplitMix64`.
#[inline]
fn mix(mut z: u64) -> u64 {
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// Where a stage ends.
#[inline]
fn stage_end(stage: u32) -> u32 {
    let bits = STAGE_BITS + STAGE_BITS_MORE * stage;
    1_u32.checked_shl(bits).map_or(INDEX_END, |end| end.min(INDEX_END))
}

#[inline]
fn weight_of(index: u32) -> u32 {
    2 * index + 3
}

#[inline]
fn index_of(weight: u32) -> u32 {
    (weight - 3) / 2
}

/// The weight of the index behind the one of `weight`; `None` if that is not below `end`.
#[inline]
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a draw fits a double; a guess is positive, and it is put right"
)]
fn step(weight: u32, draw: u64, end: u32) -> Option<u32> {
    const UNIT: f64 = 1.0 / (1_u64 << DRAW_BITS) as f64;
    let guess = f64::from(weight) * (1.0 / (draw as f64 * UNIT).sqrt());
    // The smallest odd number above the guess; the right one is this, the one before or the next.
    let next = (guess as u64).saturating_add(1) | 1;
    let end = u64::from(weight_of(end));
    if next > end {
        return None;
    }
    let least = u128::from(u64::from(weight).pow(2)) << DRAW_BITS;
    let reaches = |next: u64| u128::from(next.pow(2)) * u128::from(draw) >= least;
    let next = if !reaches(next) {
        next + 2
    } else if reaches(next - 2) {
        next - 2
    } else {
        next
    };
    u32::try_from(next).ok().filter(|_| next < end)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, without doubles.
    fn step_by_definition(weight: u32, draw: u64, end: u32) -> Option<u32> {
        let least = u128::from(weight).pow(2) << DRAW_BITS;
        let reaches = |next: u32| u128::from(next).pow(2) * u128::from(draw) >= least;
        let (mut low, mut high) = (index_of(weight) + 1, end);
        while low < high {
            let middle = u32::midpoint(low, high);
            if reaches(weight_of(middle)) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        (low < end).then_some(weight_of(low))
    }

    fn assert_step(weight: u32, draw: u64, end: u32) {
        let found = step(weight, draw, end);
        assert_eq!(found, step_by_definition(weight, draw, end), "{weight} {draw} {end}");
    }

    #[test]
    fn steps_are_those_of_the_definition() {
        const DRAW_END: u64 = 1 << DRAW_BITS;
        let mut state = 7_u64;
        for _ in 0..100_000 {
            state = mix(state.wrapping_add(INCREMENT));
            let weight = weight_of(u32::try_from(state >> 34).unwrap() >> (state % 30));
            let draw = mix(state) >> 11 >> (state % 50);
            for end in [INDEX_END, index_of(weight) + 1, 1 << 14] {
                if end > index_of(weight) {
                    assert_step(weight, draw, end);
                }
            }
        }
        for weight in [3, 5, 7, 99, 32_767, 32_769, 1 << 20 | 1, (1 << 31) + 1] {
            for draw in [0, 1, 2, 3, 4, DRAW_END / 4, DRAW_END / 2, DRAW_END - 2, DRAW_END - 1] {
                assert_step(weight, draw, INDEX_END);
            }
        }
    }

    /// Draws for which an index is reached exactly, or missed by the least that there is: those
    /// that a double gets wrong.
    #[test]
    fn steps_on_the_edge_are_those_of_the_definition() {
        for weight in (3..4_000_u32).step_by(2) {
            for next in [weight + 2, weight + 10, 3 * weight, 5 * weight, 1_001 * weight] {
                let edge = (u128::from(weight).pow(2) << DRAW_BITS) / u128::from(next).pow(2);
                let edge = u64::try_from(edge).unwrap();
                for draw in edge.saturating_sub(1)..=edge + 1 {
                    assert_step(weight, draw, INDEX_END);
                }
            }
        }
    }

    #[test]
    fn a_guess_alone_would_be_wrong() {
        let weight = 3_u32;
        let draw = 1 << (DRAW_BITS - 2);
        // The guess is 6, of which the next odd number is right; for 9 it is not.
        assert_eq!(step(weight, draw, INDEX_END), Some(7));
        let draw = ((1_u64 << DRAW_BITS) / 9) + 1;
        assert_eq!(step(weight, draw, INDEX_END), Some(9));
    }

    #[test]
    fn stages_join() {
        let ends: Vec<u32> = (0..8).map(stage_end).collect();
        let powers = [14, 17, 20, 23, 26, 29, 30, 30].map(|bits| 1 << bits);
        assert_eq!(ends, powers);
        let mut check = 1;
        for _ in 0..2_000 {
            check = mix(check);
            let all: Vec<u32> = Indices::new(check).collect();
            assert!(all.is_sorted_by(|a, b| a < b) && all.first() == Some(&0));
            for from in [0, 1, 5, 16_383, 16_384, 16_385, 131_072, 200_000, 1 << 29, INDEX_END - 1]
            {
                let rest: Vec<u32> = all.iter().copied().filter(|index| *index >= from).collect();
                assert_eq!(Indices::starting_at(check, from).collect::<Vec<_>>(), rest, "{from}");
            }
            let some: Vec<u32> = all.iter().copied().take_while(|index| *index < 5_000).collect();
            let mut walk = Walk::new(check);
            let walked = core::iter::once(0).chain(core::iter::from_fn(|| walk.advance(5_000)));
            assert_eq!(walked.collect::<Vec<_>>(), some);
        }
    }

    /// Each index is taken as often as the density says, in every stage alike.
    #[test]
    fn indices_have_the_density_of_the_paper() {
        const IDS: u32 = 200_000;
        let mut hits = vec![0_u32; 140_000];
        let mut check = 99_u64;
        for _ in 0..IDS {
            check = check.wrapping_add(INCREMENT);
            let indices = Indices::new(mix(check));
            for index in indices.take_while(|index| *index < 140_000) {
                hits[usize::try_from(index).unwrap()] += 1;
            }
        }
        for range in [
            0..1,
            1..2,
            2..3,
            9..10,
            90..100,
            900..1_000,
            16_000..16_384,
            16_384..16_800,
            100_000..131_072,
            131_072..140_000,
        ] {
            let expected: f64 =
                range
                    .clone()
                    .map(f64::from)
                    .map(|k| {
                        if k == 0.0 {
                            1.0
                        } else {
                            1.0 - ((2.0 * k + 1.0) / (2.0 * k + 3.0)).powi(2)
                        }
                    })
                    .sum::<f64>()
                    * f64::from(IDS);
            let found: u32 = range.clone().map(|k| hits[usize::try_from(k).unwrap()]).sum();
            let off = (f64::from(found) - expected).abs();
            assert!(off <= 5.0 * expected.sqrt(), "{range:?}: {found}, not {expected}");
        }
    }
}
