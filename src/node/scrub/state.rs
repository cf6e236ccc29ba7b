//! Where the check of a store is: the file `SCRUB`.
//!
//! ```text
//!  byte  0 +--------------------------------+--------------------------------+
//!          | magic "STEMESCR"               | version u32    | crc u32       |
//!       16 +--------------------------------+--------------------------------+
//!          | store id                                                        |
//!       32 +--------------------------------+--------------------------------+
//!          | generation u32 | zeros         | segment: position u64          |
//!       48 +--------------------------------+--------------------------------+
//!          | pass began, NTP64, or 0        | last pass began, NTP64, or 0   |
//!       64 +--------------------------------+--------------------------------+
//!          | last pass ended, NTP64, or 0   | passes u64                     |
//!       80 +--------------------------------+--------------------------------+
//!          | found damaged u64              | healed u64                     |
//!       96 +--------------------------------+--------------------------------+
//! ```
//!
//! Integers are little-endian; the CRC covers all bytes but its own. The file is a cache: without
//! it, or if it is damaged or of another log, the check begins anew. It is replaced, never changed.

use std::io;

use stemedb_wal::disk::Disk;

use crate::store::Store;

/// The file's name.
const NAME: &str = "SCRUB";
/// Where its successor is written.
const TEMP_NAME: &str = "SCRUB.tmp";

const MAGIC: [u8; 8] = *b"STEMESCR";
const VERSION: u32 = 1;
const LEN: usize = 96;

/// Where the check of a store is, and how the last one went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    /// What the file says, if it is about the store's present log.
    pub(super) fn load(store: &Store) -> Self {
        let (store_id, generation) = store.log_id();
        read(store.disk())
            .filter(|state| (state.store_id, state.generation) == (store_id, generation))
            .unwrap_or_else(|| Self { store_id, generation, ..Self::default() })
    }

    /// Replaces the file.
    pub(super) fn save(&self, store: &Store) -> io::Result<()> {
        let disk = store.disk();
        let file = disk.create(TEMP_NAME)?;
        file.write_at(&self.encode(), 0)?;
        file.sync()?;
        disk.rename(TEMP_NAME, NAME)?;
        disk.sync_dir()
    }

    pub(super) fn end_pass(&mut self, now: u64) {
        self.segment = 0;
        self.last_began = std::mem::take(&mut self.began);
        self.last_ended = now.max(1);
        self.passes += 1;
    }

    fn encode(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.store_id);
        bytes[32..36].copy_from_slice(&self.generation.to_le_bytes());
        let numbers = [
            self.segment,
            self.began,
            self.last_began,
            self.last_ended,
            self.passes,
            self.damaged,
            self.healed,
        ];
        for (place, number) in bytes[40..].as_chunks_mut::<8>().0.iter_mut().zip(numbers) {
            *place = number.to_le_bytes();
        }
        let sum = sum_of(&bytes);
        bytes[12..16].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Total: any bytes may come.
    fn decode(bytes: &[u8; LEN]) -> Option<Self> {
        let (front, rest) = bytes.split_first_chunk::<12>()?;
        let (sum, rest) = rest.split_first_chunk::<4>()?;
        let expected = [MAGIC.as_slice(), &VERSION.to_le_bytes()].concat();
        if *front != *expected || u32::from_le_bytes(*sum) != sum_of(bytes) {
            return None;
        }
        let (store_id, rest) = rest.split_first_chunk::<16>()?;
        let (generation, rest) = rest.split_first_chunk::<4>()?;
        let (_, rest) = rest.split_first_chunk::<4>()?;
        let numbers = rest.as_chunks::<8>().0.first_chunk::<7>()?;
        let [segment, began, last_began, last_ended, passes, damaged, healed] =
            numbers.map(u64::from_le_bytes);
        Some(Self {
            store_id: *store_id,
            generation: u32::from_le_bytes(*generation),
            segment,
            began,
            last_began,
            last_ended,
            passes,
            damaged,
            healed,
        })
    }
}

/// The bytes of a file, read and written again; `None` if they are not one.
pub fn rewrite(bytes: &[u8]) -> Option<Vec<u8>> {
    State::decode(bytes.first_chunk().filter(|_| bytes.len() == LEN)?)
        .map(|state| state.encode().to_vec())
}

fn read(disk: &dyn Disk) -> Option<State> {
    let file = disk.open(NAME).ok()?;
    let mut bytes = [0; LEN];
    let read = file.read_at(&mut bytes, 0).ok()?;
    State::decode(&bytes).filter(|_| read == LEN)
}

fn sum_of(bytes: &[u8; LEN]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..12]);
    hasher.update(&bytes[16..]);
    hasher.finalize()
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
        let bytes = state.encode();
        assert_eq!(State::decode(&bytes), Some(state));
        for bit in 0..LEN * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(State::decode(&flipped), None, "bit {bit}");
        }
    }

    /// The format on disk. If this fails the format has changed: raise the version.
    #[test]
    fn golden_bytes() {
        let state = State { store_id: [0xaa; 16], generation: 2, healed: 9, ..State::default() };
        let bytes = state.encode();
        assert_eq!(&bytes[..12], b"STEMESCR\x01\0\0\0");
        assert_eq!(&bytes[16..32], &[0xaa; 16]);
        assert_eq!((bytes[32], bytes[88]), (2, 9));
        assert_eq!(
            u32::from_le_bytes(bytes[12..16].try_into().unwrap_or_default()),
            sum_of(&bytes)
        );
    }
}
