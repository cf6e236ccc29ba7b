//! Segments that are compressed, and what a build says that cannot read them.

mod frozen;
#[cfg(feature = "zstd")]
mod losses;
#[cfg(feature = "zstd")]
mod swap;

use std::sync::Arc;

use stemedb_simdisk::FaultyDisk;
use stemedb_wal::{
    disk::{Disk, Fingerprint},
    identity::Identity,
    log::{LogOptions, Spares},
    raw::parse_segment_name,
};

use crate::history::{LogHarness, ORIGIN, id_of};

const SEGMENT: &str = "segment-0000-00000000000000000000.log";

fn options(segment_len: u64) -> LogOptions {
    LogOptions::default().segment_len(segment_len).spares(Spares::None)
}

/// A body that is much shorter when it is compressed.
fn text(number: usize, len: usize) -> Vec<u8> {
    format!("body {number}: ").into_bytes().into_iter().cycle().take(len).collect()
}

fn identity() -> Identity {
    Identity {
        store_id: ORIGIN.store_id,
        node_id: [7; 16],
        epoch: 1,
        generation: 0,
        salt_seed: ORIGIN.salt_seed,
        secret_check: None,
        fingerprint: Fingerprint::default(),
        clean: None,
    }
}

/// A log on a disk, and what is in it.
struct Sample {
    disk: FaultyDisk,
    harness: LogHarness,
}

impl Sample {
    /// Batches of bodies of these lengths.
    fn new(segment_len: u64, batches: &[&[usize]]) -> Self {
        let disk = FaultyDisk::new(11);
        identity().save(&disk).unwrap();
        let mut harness = LogHarness::new(Arc::new(disk.clone()), options(segment_len));
        let mut number = 0;
        for lens in batches {
            let bodies = lens.iter().map(|len| {
                number += 1;
                text(number, *len)
            });
            harness.append_bodies(bodies.collect(), 50);
        }
        harness.log_mut().mark().unwrap();
        Self { disk, harness }
    }

    /// One small sealed segment, and another one behind it.
    fn small() -> Self {
        let sample = Self::new(2000, &[&[200, 0, 150], &[300, 200], &[90], &[400], &[20]]);
        assert_eq!(sample.segments().len(), 2);
        sample
    }

    #[cfg(feature = "zstd")]
    fn model(&self) -> &[crate::history::ModelEntry] {
        self.harness.model()
    }

    fn segments(&self) -> Vec<String> {
        segments(&self.disk)
    }

    fn close(&mut self) {
        self.harness.close();
        let mut identity = identity();
        identity.save_clean(&self.disk, self.harness.origin.clean.unwrap()).unwrap();
    }
}

fn segments(disk: &FaultyDisk) -> Vec<String> {
    let mut names = disk.list().unwrap();
    names.retain(|name| parse_segment_name(name).is_some());
    names
}

fn hash(body: &[u8]) -> [u8; 32] {
    id_of(body)
}
