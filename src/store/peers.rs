//! How far the logs of peers have been read: the file `PEERS`.
//!
//! ```text
//!  byte 0          8              12             16
//!       +----------+--------------+--------------+------------------------------------
//!       | STEMEPRS | version u32  | CRC-32       | peers, the last one met first
//!       +----------+--------------+--------------+------------------------------------
//!
//!       a peer:   length of the address u16, address, node id 16, epoch u64, size u64, root 32
//! ```
//!
//! Integers are little-endian; the CRC covers all bytes but its own. The file is a cache: without
//! it, or if it is wrong, a session finds out what differs in another way, and what it says is
//! checked against the peer's log and root. It is replaced, never changed.

use std::io;

use stemedb_sync::report::PeerCursor;
use stemedb_wal::disk::Disk;

/// The file's name.
const NAME: &str = "PEERS";
/// Where its successor is written.
const TEMP_NAME: &str = "PEERS.tmp";

const MAGIC: [u8; 8] = *b"STEMEPRS";
const VERSION: u32 = 1;
const HEADER_LEN: usize = 16;

/// Peers that are remembered; whoever was not met for longest is forgotten first.
const PEERS_MAX: usize = 256;
/// Longer addresses are not remembered.
const ADDRESS_LEN_MAX: usize = 300;
/// No file is longer, in bytes.
const LEN_MAX: usize = HEADER_LEN + PEERS_MAX * (2 + ADDRESS_LEN_MAX + 64);

/// The cursors of peers by their addresses, the last one met first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Peers(Vec<(String, PeerCursor)>);

impl Peers {
    /// Those that are remembered; none if the file is missing, damaged, or of another version.
    pub(super) fn load(disk: &dyn Disk) -> Self {
        Self::read(disk).unwrap_or_default()
    }

    fn read(disk: &dyn Disk) -> Option<Self> {
        let file = disk.open(NAME).ok()?;
        let len = usize::try_from(file.len().ok()?).ok().filter(|len| *len <= LEN_MAX)?;
        let mut bytes = vec![0; len];
        if file.read_at(&mut bytes, 0).ok()? != len {
            return None;
        }
        Self::decode(&bytes)
    }

    /// How far the log at an address has been read.
    pub(super) fn cursor(&self, address: &str) -> Option<PeerCursor> {
        self.0.iter().find(|(known, _)| known == address).map(|(_, cursor)| *cursor)
    }

    /// Notes how far the log at an address has been read.
    pub(super) fn note(&mut self, address: &str, cursor: PeerCursor) {
        if address.len() > ADDRESS_LEN_MAX {
            return;
        }
        self.0.retain(|(known, _)| known != address);
        self.0.insert(0, (address.to_owned(), cursor));
        self.0.truncate(PEERS_MAX);
    }

    /// Replaces the file.
    pub(super) fn save(&self, disk: &dyn Disk) -> io::Result<()> {
        let file = disk.create(TEMP_NAME)?;
        file.write_at(&self.encode(), 0)?;
        file.sync()?;
        disk.rename(TEMP_NAME, NAME)?;
        disk.sync_dir()
    }

    fn encode(&self) -> Vec<u8> {
        let mut rest = Vec::new();
        for (address, PeerCursor { node, epoch, size, root }) in &self.0 {
            rest.extend(u16::try_from(address.len()).unwrap_or(0).to_le_bytes());
            rest.extend(address.as_bytes());
            rest.extend(node);
            rest.extend(epoch.to_le_bytes());
            rest.extend(size.to_le_bytes());
            rest.extend(root);
        }
        let front = [MAGIC.as_slice(), &VERSION.to_le_bytes()].concat();
        let crc = crc_of(&front, &rest).to_le_bytes();
        [front, crc.to_vec(), rest].concat()
    }

    /// Total: any bytes may come.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (front, rest) = bytes.split_first_chunk::<12>()?;
        let (crc, mut rest) = rest.split_first_chunk::<4>()?;
        let expected = [MAGIC.as_slice(), &VERSION.to_le_bytes()].concat();
        if *front != *expected || u32::from_le_bytes(*crc) != crc_of(front, rest) {
            return None;
        }
        let mut peers = Vec::new();
        while !rest.is_empty() {
            let len = usize::from(u16::from_le_bytes(take(&mut rest)?));
            let (address, after) = rest.split_at_checked(len)?;
            rest = after;
            let cursor = PeerCursor {
                node: take(&mut rest)?,
                epoch: u64::from_le_bytes(take(&mut rest)?),
                size: u64::from_le_bytes(take(&mut rest)?),
                root: take(&mut rest)?,
            };
            peers.push((String::from_utf8(address.to_vec()).ok()?, cursor));
        }
        Some(Self(peers))
    }
}

/// The bytes of a file, read and written again; `None` if they are not one.
#[cfg(feature = "node")]
pub fn rewrite(bytes: &[u8]) -> Option<Vec<u8>> {
    Peers::decode(bytes).map(|peers| peers.encode())
}

fn crc_of(front: &[u8], rest: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(front);
    hasher.update(rest);
    hasher.finalize()
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use stemedb_wal::disk::MemoryDisk;

    use super::*;

    fn cursor(n: u8) -> PeerCursor {
        PeerCursor {
            node: [n; 16],
            epoch: u64::from(n),
            size: 1000 + u64::from(n),
            root: [n ^ 0xff; 32],
        }
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let disk = MemoryDisk::default();
        assert_eq!(Peers::load(&disk), Peers::default());
        let mut peers = Peers::default();
        for n in 0..=u8::MAX {
            peers.note(&format!("peer-{n}:7845"), cursor(n));
        }
        peers.note("peer-7:7845", cursor(77));
        peers.note("one-more:1", cursor(1));
        peers.note(&"x".repeat(ADDRESS_LEN_MAX + 1), cursor(2));
        peers.save(&disk).unwrap();
        let loaded = Peers::load(&disk);
        assert_eq!(loaded, peers);
        assert_eq!(loaded.cursor("peer-7:7845"), Some(cursor(77)));
        assert_eq!(loaded.cursor("one-more:1"), Some(cursor(1)));
        assert_eq!(loaded.0.len(), PEERS_MAX);
        assert_eq!(loaded.cursor("peer-0:7845"), None, "the one met longest ago is forgotten");
        assert_eq!(loaded.cursor("nobody:1"), None);
    }

    #[test]
    fn the_bytes_of_the_format() {
        let mut peers = Peers::default();
        peers.note("a:1", cursor(3));
        let bytes = peers.encode();
        let golden = [
            &b"STEMEPRS"[..],
            &[1, 0, 0, 0],
            &bytes[12..16],
            &[3, 0],
            b"a:1",
            &[3; 16],
            &[3, 0, 0, 0, 0, 0, 0, 0],
            &[0xeb, 3, 0, 0, 0, 0, 0, 0],
            &[0xfc; 32],
        ];
        assert_eq!(bytes, golden.concat());
        assert_eq!(u32::from_le_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]), 0x1a64_1444);
    }

    #[test]
    fn no_damage_passes() {
        let mut peers = Peers::default();
        peers.note("a:1", cursor(3));
        peers.note("b:2", cursor(4));
        let bytes = peers.encode();
        assert_eq!(Peers::decode(&bytes), Some(peers));
        for len in 0..bytes.len() {
            assert_eq!(Peers::decode(&bytes[..len]), None, "cut to {len}");
        }
        for bit in 0..8 * bytes.len() {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Peers::decode(&bad), None, "bit {bit}");
        }
    }
}
