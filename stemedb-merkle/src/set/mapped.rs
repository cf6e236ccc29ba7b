//! The part of a set tree that lies in restart checkpoints, used in place.
//!
//! A **base** has all ids at one time, sorted, in pages of one depth, and the hashes above the
//! pages in blocks of up to four bits. A **delta** has the ids that came since the parts below it,
//! and those blocks of hashes that they changed. A lookup asks all; a block is taken from the
//! newest that has it; a page is merged from all.
//!
//! The arrays lie elsewhere: [`BaseArrays`] and [`DeltaArrays`] copy parts of them, and fail where
//! these are damaged. Copies, because the bytes may lie in a map of a file that can't be read any
//! more: they are known to be those of the file only after they were read.

mod arrays;
pub(crate) mod blocks;
pub(crate) mod delta;
mod error;
pub(crate) mod layout;
pub(crate) mod mapped_set;
pub(crate) mod page;
pub(crate) mod pages;
mod position;

pub use self::{
    arrays::{BaseArrays, BlockState, DeltaArrays, IdArrays},
    error::MappedSetError,
    layout::{BlockKey, block_bits, hashes_len, page_bits},
    mapped_set::MappedSet,
    position::{PackedPosition, pack_position},
};
