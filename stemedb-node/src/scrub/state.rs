//! Where the check of a store is: the file `SCRUB`.
//!
//! A small file of the store. It is a cache: without it, or if it is damaged or of another log, the
//! check begins again.

use std::io;

use tracing::warn;

use stemedb_store::{Store, small_file::SmallFile};

const FILE: SmallFile = SmallFile {
    name: "SCRUB",
    temp_name: "SCRUB.tmp",
    magic: *b"STEMESCR",
    version: 1,
    content_len_max: size_of::<ArchivedState>(),
    private: false,
};

/// Stands for a time that the clock did not know: the least one, which is long ago by any clock
/// that is right. What a wrong one says is not kept.
pub(super) const UNKNOWN: u64 = 1;

/// Where the check of a store is, and how the last one went.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize,
)]
pub(super) struct State {
    store_id: [u8; 16],
    generation: u32,
    /// The segment that is being read begins here; `u64::MAX` once all were read.
    pub(super) segment: u64,
    /// When the pass began, NTP64; 0 between two.
    pub(super) began: u64,
    pub(super) last_began: u64,
    pub(super) last_ended: u64,
    pub(super) passes: u64,
    pub(super) damaged: u64,
    pub(super) healed: u64,
}

impl State {
    /// Reads the file, if it is about the store's present log. One that can't be used is reported.
    pub(super) fn load(store: &Store) -> Self {
        let (store_id, generation) = store.generation();
        let state = FILE.load::<Self>(store.disk()).unwrap_or_else(|error| {
            let path = store.disk().path(FILE.name);
            let again = "how far the store was scrubbed is not known: the pass begins again";
            warn!(%error, path = %path.display(), "{again}");
            None
        });
        state
            .filter(|state| (state.store_id, state.generation) == (store_id, generation))
            .unwrap_or_else(|| Self { store_id, generation, ..Self::default() })
    }

    /// Replaces the file.
    pub(super) fn save(&self, store: &Store) -> io::Result<()> {
        FILE.save(store.disk(), self)
    }

    pub(super) fn end_pass(&mut self, now: u64) {
        self.segment = 0;
        self.last_began = std::mem::take(&mut self.began);
        self.last_ended = now;
        self.passes += 1;
    }
}

/// The bytes of a file, read and written again; `None` if they are not one.
pub fn rewrite(bytes: &[u8]) -> Option<Vec<u8>> {
    FILE.rewrite::<State>(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_nothing_else() {
        let state = State {
            store_id: [7; 16],
            generation: 3,
            segment: 1,
            began: 2,
            last_began: 3,
            last_ended: 4,
            passes: 5,
            damaged: 6,
            healed: 7,
        };
        let bytes = FILE.encode(&state).unwrap();
        assert_eq!(FILE.decode(&bytes), Some(state));
        for len in 0..bytes.len() {
            assert_eq!(FILE.decode::<State>(&bytes[..len]), None, "cut to {len}");
        }
        assert_eq!(FILE.decode::<State>(&[bytes, vec![0]].concat()), None);
    }

    /// The format on disk. If this fails the format has changed: raise the version.
    #[test]
    fn golden_bytes() {
        let state = State { store_id: [0xaa; 16], generation: 2, healed: 9, ..State::default() };
        let bytes = FILE.encode(&state).unwrap();
        assert_eq!(bytes.len(), 96);
        assert_eq!(&bytes[..12], b"STEMESCR\x01\0\0\0");
        assert_eq!(&bytes[16..32], &[0xaa; 16]);
        assert_eq!((bytes[32], bytes[88]), (2, 9));
    }
}
