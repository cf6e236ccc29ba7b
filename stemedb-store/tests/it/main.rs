//! Tests of the store, in one executable.

#![allow(
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed"
)]

mod backup;
mod beside;
mod checkpoints;
#[cfg(feature = "zstd")]
mod compressed;
mod damage_campaign;
mod directory;
mod duplicates;
mod events;
mod every_bit;
mod every_call;
mod frozen;
mod heal;
mod many;
mod memory;
mod model;
mod opening;
mod reference;
mod simulation;
mod store;
mod strange_files;
