//! A store over a disk that loses power at each of its operations.
//!
//! A random history (appends of every kind, restart checkpoints, rolls of segments, clean closes,
//! deaths of the process and power cuts in the middle of anything) runs once, and its disk is kept
//! as it was before each operation that changes it. Then the power is cut at each of these moments
//! in each way that the [disk's model](stemedb_wal::disk) allows, and again up to three times
//! during the recoveries that follow. After each cut:
//!
//! - the store opens, and reports nothing but what a crash explains;
//! - every acknowledged body is there with its receipt, and an append that was under way is there
//!   whole or not at all;
//! - both roots, old roots and proofs are those of a reference made by definition from the entries;
//! - the store takes more, and that survives as well;
//! - and damage to what was durable is never taken for a torn write and never read as data.
//!
//! A failure prints its seed: `STEMEDB_SEED=… STEMEDB_HISTORIES=1 cargo test --test it --
//! simulation::` replays it. `STEMEDB_HISTORIES` sets how many histories there are.

pub(crate) mod controls;
pub(crate) mod cut;
pub(crate) mod damage;
pub(crate) mod life;

use self::cut::Cutter;
use crate::reference::random;
use std::sync::Arc;
use stemedb_simdisk::FaultyDisk;
use stemedb_wal::disk::Disk;

fn plain(disk: FaultyDisk) -> Arc<dyn Disk> {
    Arc::new(disk)
}

#[test]
fn no_power_cut_loses_or_invents_anything() {
    let histories = random::number_from_env("STEMEDB_HISTORIES").unwrap_or(12);
    let first = random::first_seed(1);
    let mut cutter = Cutter::new(plain);
    for seed in first..first + histories {
        let moments = life::live(seed, 30, plain)
            .unwrap_or_else(|error| panic!("STEMEDB_SEED={seed}: while living: {error}"));
        cutter
            .cut_at_each(seed, &moments)
            .unwrap_or_else(|error| panic!("STEMEDB_SEED={seed}: {error}"));
    }
    println!("{}", cutter.counts);
    assert!(histories < 12 || cutter.counts.cuts >= 20_000, "{}", cutter.counts);
}
