//! How far the logs of peers have been read: the file `PEERS`.
//!
//! A [`SmallFile`] whose content is peers, the last one met first:
//!
//! ```text
//! length of the address u16, address, node id 16, epoch u64, size u64, root 32
//! ```
//!
//! The file is a cache: without it, or if it is wrong, a session finds out what differs in another
//! way, and what it says is checked against the peer's log and root.

use std::io;

use stemedb_sync::report::PeerCursor;
use stemedb_wal::disk::Disk;
use tracing::warn;

use stemedb_store::small_file::{SmallFile, take};

/// Peers that are remembered; the one not met for longest is forgotten first.
const PEERS_MAX: usize = 256;
/// Longer addresses are not remembered.
const ADDRESS_LEN_MAX: usize = 300;

const FILE: SmallFile = SmallFile {
    name: "PEERS",
    temp_name: "PEERS.tmp",
    magic: *b"STEMEPRS",
    version: 1,
    content_len_max: PEERS_MAX * (2 + ADDRESS_LEN_MAX + 64),
    private: false,
};

/// The cursors of peers by their addresses, the last one met first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Peers(Vec<(String, PeerCursor)>);

impl Peers {
    /// Those that are remembered; none if the file is missing. One that can't be used is reported.
    pub(super) fn load(disk: &dyn Disk) -> Self {
        let peers = FILE.load(disk, Self::parse).unwrap_or_else(|error| {
            warn!(
                %error,
                path = %disk.path(FILE.name).display(),
                "how far the logs of peers were read is not known: the next session compares sets"
            );
            None
        });
        peers.unwrap_or_default()
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
        FILE.save(disk, &self.content())
    }

    fn content(&self) -> Vec<u8> {
        let mut rest = Vec::new();
        for (address, PeerCursor { node, epoch, size, root }) in &self.0 {
            // None that is longer was noted or read.
            let Ok(len) = u16::try_from(address.len()) else { continue };
            rest.extend(len.to_le_bytes());
            rest.extend(address.as_bytes());
            rest.extend(node);
            rest.extend(epoch.to_le_bytes());
            rest.extend(size.to_le_bytes());
            rest.extend(root);
        }
        rest
    }

    /// Total: any bytes may come.
    fn parse(mut rest: &[u8]) -> Option<Self> {
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
pub fn rewrite(bytes: &[u8]) -> Option<Vec<u8>> {
    Peers::parse(FILE.decode(bytes)?).map(|peers| FILE.encode(&peers.content()))
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
        let bytes = FILE.encode(&peers.content());
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
    fn a_content_that_is_cut_is_none() {
        let mut peers = Peers::default();
        peers.note("a:1", cursor(3));
        peers.note("b:2", cursor(4));
        let content = peers.content();
        assert_eq!(Peers::parse(&content), Some(peers));
        let one = content.len() / 2;
        for len in 1..content.len() {
            assert_eq!(Peers::parse(&content[..len]).is_some(), len == one, "cut to {len}");
        }
        assert_eq!(Peers::parse(&[255; 40]), None);
    }

    #[test]
    fn a_damaged_file_is_none_and_is_written_again() {
        let disk = MemoryDisk::default();
        let mut peers = Peers::default();
        peers.note("a:1", cursor(3));
        peers.save(&disk).unwrap();
        disk.open(FILE.name).unwrap().write_at(b"x", 20).unwrap();
        assert_eq!(Peers::load(&disk), Peers::default());
        peers.save(&disk).unwrap();
        assert_eq!(Peers::load(&disk), peers);
    }
}
