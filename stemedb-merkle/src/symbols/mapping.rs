//! The indices of the symbols that an id is in.
//!
//! # The mapping
//!
//! It is a function of the id's [hash](super::CheckKey::hash) `h` alone, all in integers, so that
//! every implementation finds the same indices. The *weight* of an index `i` is `2i + 3`.
//!
//! - **Draws.** The `k`th draw, from 0, is made from `mix(h + (k + 1) * 0x9e3779b97f4a7c15)`, all
//!   modulo 2^64, where `mix` is that of `SplitMix64`: `z ^= z >> 30`, `z *= 0xbf58476d1ce4e5b9`,
//!   `z ^= z >> 27`, `z *= 0x94d049bb133111eb`, `z ^= z >> 31`. The draw is the larger of the upper
//!   and the lower half of that, as numbers of 32 bits.
//! - **Steps.** The first index is 0. Behind the index of weight `w` comes, with the next draw `v`,
//!   the index whose weight is the smallest odd number above `w * 2^32 / v`; none if `v` is 0.
//! - **Stages.** Stage 0 has the indices below 2^14, stage `s` those from 2^(11 + 3s) to
//!   2^(14 + 3s). An index past the end of the stage is dropped, and the walk goes on in the next
//!   stage: from the index before the first of that, with the draws from `k = s * 2^32` on.
//! - **End.** Indices are below [`INDEX_END`].
//!
//! # Reasons
//!
//! The paper draws a uniform number `u` and adds `ceil((i + 1.5) * (1 / sqrt(u) - 1))` to the index
//! `i`: that is, it divides `i + 1.5` by `sqrt(u)` and rounds up. The larger of two uniform numbers
//! is distributed like the root of one, and costs neither a root nor a rounding that two machines
//! could disagree about. (Rounding up and going above differ once in 2^32 draws.)
//!
//! The chance that the index behind `i` is past `j` is so `((2i + 3) / (2j + 3))^2`, which is the
//! product of `((2k + 1) / (2k + 3))^2` over all `k` from `i + 1` to `j`. So each index `k` is
//! taken with the chance `1 - ((2k + 1) / (2k + 3))^2`, about `1 / (1 + k / 2)`, whatever came
//! before it. That is the paper's density. It also means that a walk may start afresh anywhere:
//! hence the stages. A pass over the symbols from 2^14 on skips the 19 indices that an id has
//! below, to find the 4 or 5 that it has from there to 150,000.

use crate::internal::internal_error;

/// Indices are below this: 2^30.
pub const INDEX_END: u32 = 1 << 30;

/// The increment of `SplitMix64`: 2^64 over the golden ratio, odd.
const INCREMENT: u64 = 0x9e37_79b9_7f4a_7c15;

/// Stage 0 ends at 2 to the power of this.
const STAGE_BITS: u32 = 14;

/// Each stage ends at 2 to the power of this times the end of the one before.
const STAGE_BITS_MORE: u32 = 3;

/// A place on the walk over the indices of one id.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk {
    /// The hash of the id, which seeds the draws.
    seed: u64,
    /// The input of the last draw.
    state: u64,
    /// `2i + 3` for the index `i` reached.
    weight: u32,
    /// The stage that it is in.
    stage: u32,
}

impl Walk {
    /// A walk that has reached the first index that is `from` or more, or [`INDEX_END`].
    pub(super) fn enter_or_end(seed: u64, from: u32) -> Self {
        let end = Self { weight: weight_of(INDEX_END), ..Self::new(seed) };
        Self::enter(seed, from, INDEX_END).unwrap_or(end)
    }

    /// A walk that has reached index 0, which every id has.
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, state: seed, weight: weight_of(0), stage: 0 }
    }

    /// A walk that has reached the first index that is `from` or more; `None` if there is none
    /// below `end`.
    pub(super) fn enter(seed: u64, from: u32, end: u32) -> Option<Self> {
        let mut walk = Self::new(seed);
        let stage = stage_of(from);
        if stage > 0 {
            walk.set_stage(stage);
            walk.advance(end)?;
        }
        while walk.index() < from {
            walk.advance(end)?;
        }
        (walk.index() < end).then_some(walk)
    }

    /// The hash of the id.
    pub(super) fn seed(&self) -> u64 {
        self.seed
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
            let draw = larger_half(mix(self.state));
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

    /// Goes on to the next index, or to [`INDEX_END`] if there is none.
    pub(super) fn advance_or_end(&mut self) {
        if self.advance(INDEX_END).is_none() {
            self.weight = weight_of(INDEX_END);
        }
    }

    /// Goes to the index before the first of a stage other than 0.
    fn set_stage(&mut self, stage: u32) {
        self.stage = stage;
        (self.state, self.weight) = start(self.seed, stage);
    }
}

/// Walks of many ids over the indices of one stage, side by side.
///
/// The end of a walk is a branch that the processor cannot predict, and each division needs the
/// result of the one before: side by side, other walks go on meanwhile. That takes less than half
/// of the time.
#[derive(Clone, Debug, Default)]
pub(super) struct Walks(Vec<Stride>);

/// A place on one of many walks.
#[derive(Clone, Copy, Debug)]
struct Stride {
    /// The input of the last draw.
    state: u64,
    /// `2i + 3` for the index `i` reached.
    weight: u32,
    /// The place of the id among all.
    place: u32,
}

impl Walks {
    /// Begins a walk for each of these hashes. `true` if all are at an index, 0: those of stages
    /// behind the first are before theirs.
    pub(super) fn begin(&mut self, hashes: impl Iterator<Item = u64>, stage: u32) -> bool {
        self.0.clear();
        self.0.extend((0..).zip(hashes).map(|(place, hash)| {
            let (input, weight) = start(hash, stage);
            Stride { state: input, weight, place }
        }));
        stage == 0
    }

    /// Takes each walk to its next index; those that have none below `end`, in the stage, are over.
    /// `false` if all are.
    pub(super) fn advance(&mut self, end: u32) -> bool {
        let end = u64::from(weight_of(end));
        let mut kept = 0;
        for at in 0..self.0.len() {
            let Some(stride) = self.0.get(at).copied() else { internal_error("a walk") };
            let state = stride.state.wrapping_add(INCREMENT);
            let next = next_weight(stride.weight, larger_half(mix(state))).unwrap_or(end);
            // Written in any case, and counted if it goes on: no branch.
            let Some(place) = self.0.get_mut(kept) else { internal_error("a walk") };
            *place = Stride { state, weight: lower_half(next), ..stride };
            kept += usize::from(next < end);
        }
        self.0.truncate(kept);
        kept > 0
    }

    /// For each walk that goes on, the place of its id and the index reached.
    pub(super) fn reached(&self) -> impl Iterator<Item = (usize, u32)> {
        self.0.iter().map(|stride| (stride.place as usize, index_of(stride.weight)))
    }
}

/// The indices of one id, in order: the [mapping](self).
///
/// Two implementations must agree on them. [`Sketch`](super::Sketch) and the others need no list.
#[derive(Clone, Debug)]
pub struct Indices(Option<Walk>);

impl Indices {
    /// The indices of the id with this [hash](super::CheckKey::hash).
    pub fn new(hash: u64) -> Self {
        Self(Some(Walk::new(hash)))
    }

    /// Those from `from` on: without a look at most of those before if there are 2^14 or more.
    pub fn starting_at(hash: u64, from: u32) -> Self {
        Self(Walk::enter(hash, from, INDEX_END))
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

/// The input of the draw before the first of a stage, and the weight of the index before its first;
/// in the first stage that of index 0, which every id has.
fn start(seed: u64, stage: u32) -> (u64, u32) {
    let before = stage.checked_sub(1).map_or(0, |before| stage_end(before) - 1);
    let input = seed.wrapping_add(INCREMENT.wrapping_mul(u64::from(stage) << 32));
    (input, weight_of(before))
}

/// Stage of an index.
pub(super) fn stage_of(index: u32) -> u32 {
    let bits = index.checked_ilog2().and_then(|bits| bits.checked_sub(STAGE_BITS));
    bits.map_or(0, |bits| bits / STAGE_BITS_MORE + 1)
}

/// End of a stage.
#[inline]
pub(super) fn stage_end(stage: u32) -> u32 {
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

/// The larger of the upper and the lower 32 bits.
#[inline]
fn larger_half(bits: u64) -> u64 {
    (bits >> 32).max(bits & 0xffff_ffff)
}

/// The weight of the index behind the one of `weight`; `None` if that is not below `end`.
#[inline]
fn step(weight: u32, draw: u64, end: u32) -> Option<u32> {
    let next = u32::try_from(next_weight(weight, draw)?).ok();
    next.filter(|next| *next < weight_of(end))
}

/// The weight of the index behind the one of `weight`, if there is any.
#[inline]
fn next_weight(weight: u32, draw: u64) -> Option<u64> {
    let quotient = (u64::from(weight) << 32).checked_div(draw)?;
    Some((quotient + 1) | 1)
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the lower half is what is wanted")]
fn lower_half(bits: u64) -> u32 {
    bits as u32
}

#[cfg(test)]
mod tests;
