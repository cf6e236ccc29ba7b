//! The header of a restart checkpoint file.
//!
//! ```text
//!  byte  0   magic "STEMECKP"            byte 136  history root, 32 bytes
//!        8   format version, u32               168  last entry: time u64, id 32 bytes
//!       12   kind, u32: 0 base, 1 delta        208  checksum of the header below, u32
//!       16   store id, 16 bytes                212  checksum of the block checksums, u32
//!       32   generation, u32                   216  payload length, u64
//!       36   zero, u32                         224  position that the part below reaches to, u64
//!       40   position covered, u64             232  position of the last entry, u64, or 0
//!       48   next index, u64                   240  zeros
//!       56   count of the set, u64             252  checksum of bytes 0 to 252, u32
//!       64   set root, 32 bytes
//!       96   top hash, 32 bytes          byte 256  payload: one rkyv archive
//!      128   history size, u64           then      a CRC-32 of each 64 KiB of it, u32 each
//! ```
//!
//! Integers are little-endian. A base has nothing below it; a delta names the file that it stands
//! on by the checksum of that file's header, so that a chain is of one piece or none.

use stemedb_merkle::{Hash, LogIndex, Root};

use super::CheckpointFault;
use stemedb_wal::{Position, log::Watermark};

pub(super) const MAGIC: &[u8; 8] = b"STEMECKP";
pub(super) const FORMAT_VERSION: u32 = 4;

/// How long the header is, in bytes: the payload behind it is aligned to 16.
pub(super) const HEADER_LEN: usize = 256;

/// What a checkpoint file covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Covered {
    /// The store whose log it is of.
    pub store_id: [u8; 16],
    /// The generation of that log.
    pub generation: u32,
    /// How far into the log it reaches, in bytes.
    pub position: u64,
    /// How many entries the log has there.
    pub next_index: u64,
    /// How many ids the set has there.
    pub count: u64,
    /// The set root there.
    pub set_root: Root,
    /// The hash of the uppermost subtree there.
    pub top_hash: Hash,
    /// The history root there.
    pub history_root: Root,
    /// Time and id of the last entry there, which tie the file to this very log; zeros if none.
    pub last_time: u64,
    /// The id of the last entry.
    pub last_id: Hash,
    /// The position of the last entry; 0 where that was not written down.
    pub last_position: u64,
}

impl Covered {
    /// How far the log was durable when the checkpoint was written: all in it was synced before.
    pub fn mark(&self) -> Watermark {
        Watermark { position: Position(self.position), next_index: LogIndex(self.next_index) }
    }
}

/// The header of a checkpoint file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Version of the payload. Headers have been the same since the first.
    pub(super) version: u32,
    pub(super) covered: Covered,
    /// For a delta, the checksum of the header of the file below, and the position it reaches to.
    pub(super) below: Option<(u32, u64)>,
    pub(super) payload_len: u64,
    pub(super) blocks_crc: u32,
}

impl Header {
    /// The bytes, and the checksum among them that names this file to a delta on top of it.
    pub(super) fn encode(&self) -> ([u8; HEADER_LEN], u32) {
        let covered = &self.covered;
        let (below_crc, below_position) = self.below.unwrap_or_default();
        let mut bytes = Vec::with_capacity(HEADER_LEN);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.version.to_le_bytes());
        bytes.extend_from_slice(&u32::from(self.below.is_some()).to_le_bytes());
        bytes.extend_from_slice(&covered.store_id);
        bytes.extend_from_slice(&covered.generation.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&covered.position.to_le_bytes());
        bytes.extend_from_slice(&covered.next_index.to_le_bytes());
        bytes.extend_from_slice(&covered.count.to_le_bytes());
        bytes.extend_from_slice(covered.set_root.as_bytes());
        bytes.extend_from_slice(&covered.top_hash);
        bytes.extend_from_slice(&covered.next_index.to_le_bytes());
        bytes.extend_from_slice(covered.history_root.as_bytes());
        bytes.extend_from_slice(&covered.last_time.to_le_bytes());
        bytes.extend_from_slice(&covered.last_id);
        bytes.extend_from_slice(&below_crc.to_le_bytes());
        bytes.extend_from_slice(&self.blocks_crc.to_le_bytes());
        bytes.extend_from_slice(&self.payload_len.to_le_bytes());
        bytes.extend_from_slice(&below_position.to_le_bytes());
        bytes.extend_from_slice(&covered.last_position.to_le_bytes());
        bytes.resize(HEADER_LEN - 4, 0);
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        let mut header = [0; HEADER_LEN];
        header.copy_from_slice(&bytes);
        (header, crc)
    }

    /// Reads a header, and the checksum that names the file.
    pub(super) fn parse(bytes: &[u8]) -> Result<(Self, u32), CheckpointFault> {
        let header = bytes.first_chunk::<HEADER_LEN>().ok_or(CheckpointFault::Short)?;
        let mut fields = Fields(header);
        if fields.take::<8>() != *MAGIC {
            return Err(CheckpointFault::NotACheckpoint);
        }
        let version = fields.u32();
        if !(1..=FORMAT_VERSION).contains(&version) {
            return Err(CheckpointFault::Version { version });
        }
        let (covered_bytes, crc) = header.split_last_chunk::<4>().ok_or(CheckpointFault::Short)?;
        let crc = u32::from_le_bytes(*crc);
        if crc32fast::hash(covered_bytes) != crc {
            return Err(CheckpointFault::Header);
        }
        let kind = fields.u32();
        let store_id = fields.take();
        let generation = fields.u32();
        fields.u32();
        let (position, next_index, count) = (fields.u64(), fields.u64(), fields.u64());
        let (set_root, top_hash) = (Root(fields.take()), fields.take());
        let history_size = fields.u64();
        let (history_root, last_time, last_id) = (Root(fields.take()), fields.u64(), fields.take());
        let (below_crc, blocks_crc) = (fields.u32(), fields.u32());
        let (payload_len, below_position, last_position) =
            (fields.u64(), fields.u64(), fields.u64());
        if history_size != next_index || kind > 1 {
            return Err(CheckpointFault::Header);
        }
        let covered = Covered {
            store_id,
            generation,
            position,
            next_index,
            count,
            set_root,
            top_hash,
            history_root,
            last_time,
            last_id,
            last_position,
        };
        let below = (kind == 1).then_some((below_crc, below_position));
        Ok((Self { version, covered, below, payload_len, blocks_crc }, crc))
    }
}

/// Takes fields off the front; what is not there reads as zeros.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl Fields<'_> {
    pub(super) fn take<const N: usize>(&mut self) -> [u8; N] {
        match self.0.split_first_chunk() {
            Some((field, rest)) => {
                self.0 = rest;
                *field
            }
            None => [0; N],
        }
    }

    pub(super) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    pub(super) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            version: FORMAT_VERSION,
            covered: Covered {
                store_id: [1; 16],
                generation: 2,
                position: 3,
                next_index: 4,
                count: 5,
                set_root: Root([6; 32]),
                top_hash: [7; 32],
                history_root: Root([8; 32]),
                last_time: 9,
                last_id: [10; 32],
                last_position: 2,
            },
            below: Some((11, 12)),
            payload_len: 13,
            blocks_crc: 14,
        }
    }

    #[test]
    fn headers_round_trip_and_every_flipped_bit_is_noticed() {
        let (bytes, crc) = header().encode();
        assert_eq!(Header::parse(&bytes).unwrap(), (header(), crc));
        for bit in 0..8 * HEADER_LEN {
            let mut bytes = bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::parse(&bytes).is_err(), "bit {bit}");
        }
        for len in 0..HEADER_LEN {
            assert_eq!(Header::parse(&bytes[..len]), Err(CheckpointFault::Short));
        }
    }

    /// The format on disk. If this fails the format has changed: raise `FORMAT_VERSION`.
    #[test]
    fn golden_bytes() {
        let (bytes, _) = header().encode();
        assert_eq!(&bytes[232..240], b"\x02\0\0\0\0\0\0\0");
        // As it was before there was a position of the last entry.
        let mut header = header();
        header.covered.last_position = 0;
        let (bytes, crc) = header.encode();
        assert_eq!(crc, 836_251_190);
        let front = b"STEMECKP\x04\0\0\0\x01\0\0\0\x01\x01\x01\x01\x01\x01\x01\x01";
        assert_eq!(&bytes[..24], front);
        assert_eq!(&bytes[32..48], b"\x02\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0");
    }
}
