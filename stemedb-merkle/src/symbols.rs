//! Rateless coded symbols: the differences of two sets, for bytes in proportion to these.
//!
//! After Lei Yang, Yossi Gilad and Mohammad Alizadeh, "Practical Rateless Set Reconciliation",
//! SIGCOMM 2024. A set has an endless sequence of symbols. Each id is in the symbol at index 0 and
//! in ever fewer behind it, at [indices](mapping) that follow from the id alone. So the symbols of
//! two sets can be subtracted, index by index, which leaves the symbols of their symmetric
//! difference; a symbol left with one id gives that id away, which is then taken out of the others.
//! About 1.36 symbols a difference are enough when there are thousands, 1.44 for a hundred and 1.6
//! for ten, whatever the size of the sets, and without a number known beforehand.
//!
//! ```text
//!   ids of a store ──insert──> Sketch ────symbols────┐
//!                              (0..16,384)           ├──> encode ──wire──> decode ──┐
//!   ids of a snapshot ───────> Extension ──symbols───┘                              │
//!                              (beyond)                                    remote   v
//!                                                                 local ────────> Peeler
//!                                                        ids of either side only <──┘
//! ```
//!
//! # Input of a symbol
//!
//! Of an id only the [prefix](Prefix) counts, its first 8 bytes. It finds an id and never names
//! one. The [hash](CheckKey::hash), of *the prefix* and not of all 32 bytes, gives the indices, and
//! its lower half is the [`check`](Symbol::check): a peeler recovers nothing but the prefix, and it
//! must be able to tell a symbol with one id from one with three that happen to add up to a count
//! of one. At index 0, where every id is, only the check can.
//!
//! # Limits
//!
//! Symbols are an accelerator and no authority. 2^32 hashes find two ids of one prefix: held by one
//! side alone, the two never part, and the peeler stalls; held one by each side, they do not show
//! at all; where both sides hold one of the two, what is found is a prefix of both. None of that
//! makes a peeler report a prefix that no symbol contained, loop, or panic; but only the roots of
//! the set tree say whether two sets are equal.

mod check;
mod codec;
mod estimate;
mod extension;
pub mod mapping;
mod peel;
mod sketch;
mod symbol;

pub use check::CheckKey;
pub use codec::{DecodeError, ENCODED_LEN_MAX, ENCODED_LEN_MIN, decode, encode};
pub use estimate::{Estimate, estimate, symbols_for};
pub use extension::Extension;
pub use mapping::{INDEX_END, Indices};
pub use peel::{Item, Outcome, Peeler, Side};
pub use sketch::{Sketch, SketchError};
pub use symbol::{Prefix, Symbol};

/// Number of symbols that a store maintains: enough for about 12,000 differences, in 256 KiB.
pub const SKETCH_LEN: usize = 16_384;

/// Number of symbols in the first part of an answer: enough to find six differences nine times in
/// ten. Those behind it have an eighth of what came before, and this at least.
pub const FIRST_FRAME: u32 = 16;
