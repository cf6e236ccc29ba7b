//! The log from outside: what is written is read again, whatever happened in between.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod compressed;
mod damage;
mod directory;
mod disks;
mod faults;
mod history;
mod identity;
mod log;
mod mapped;
mod power_cuts;
mod reference;
mod remote;
mod repair;
mod sealed;
mod survival;
mod survival_model;
