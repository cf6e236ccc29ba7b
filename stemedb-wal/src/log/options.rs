//! What a log is opened with.

use std::sync::Arc;

#[cfg(doc)]
use crate::record::BODY_LEN_MAX;
use crate::{identity::Identity, remote::SegmentSource, watermark::Watermark};

/// What the log must know about the store that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Which store.
    pub store_id: [u8; 16],
    /// Which of its generations of segment files is live.
    pub generation: u32,
    /// What the segments' salts are made from.
    pub salt_seed: [u8; 16],
    /// The furthest place up to which the log is known to have been durable: where it ended when
    /// it was made, last rested or was closed, or where the newest restart checkpoint ends.
    pub clean: Option<Watermark>,
}

impl Origin {
    /// Takes in another place up to which the log is known to have been durable.
    #[must_use]
    pub fn marked(mut self, mark: Option<Watermark>) -> Self {
        self.clean = self.clean.max(mark);
        self
    }
}

impl From<&Identity> for Origin {
    fn from(identity: &Identity) -> Self {
        Self {
            store_id: identity.store_id,
            generation: identity.generation,
            salt_seed: identity.salt_seed,
            clean: identity.clean,
        }
    }
}

/// Who prepares the next segment while the present one fills.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spares {
    /// A thread of the log: a roll then costs two syncs.
    #[default]
    Background,
    /// Nobody. There is no thread at all, and the same calls give the same operations on the disk.
    None,
}

stemedb_merkle::options! {
    /// What can be chosen about a log.
    #[derive(Clone, Debug)]
    pub struct LogOptions {
        /// How long a segment gets, in bytes. Default 64 MiB: short enough that opening reads the
        /// last one in milliseconds, long enough that a terabyte is 16,000 files.
        pub segment_len: u64 = 64 << 20,
        /// How long a body may be, in bytes; at most [`BODY_LEN_MAX`]. Default 16 MiB.
        pub body_len_max: u32 = 16 << 20,
        /// How long the records of one batch may be together, in bytes, unless it is one record.
        /// What is longer is split, and a crash may then keep a part. Default 64 MiB.
        pub batch_len_max: u32 = 64 << 20,
        /// Who prepares the next segment.
        pub spares: Spares = Spares::Background,
        /// Whether sealed segments are mapped where the disk can do that, and records read from the
        /// maps. Default: yes. Where a map cannot be read, the file is.
        pub map_files: bool = true,
        /// Where the bodies of segments are read that were dropped.
        pub source: Option<Arc<dyn SegmentSource>> = None,
    }
}
