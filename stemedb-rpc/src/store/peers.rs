//! How far the logs of peers have been read: the file `PEERS`.
//!
//! A [`SmallFile`] whose content is peers, the last one met first. The file is a cache: without it,
//! or if it is wrong, a session finds out what differs in another way, and what it says is checked
//! against the peer's log and root.

use std::io;

use stemedb_merkle::{Hash, Root};
use stemedb_sync::{message::NodeId, report::PeerCursor};
use stemedb_wal::disk::Disk;
use tracing::warn;

use stemedb_store::small_file::SmallFile;

/// Peers that are remembered; the one not met for longest is forgotten first.
const PEERS_MAX: usize = 256;
/// Longer addresses are not remembered.
const ADDRESS_LEN_MAX: usize = 300;

const FILE: SmallFile = SmallFile {
    name: "PEERS",
    temp_name: "PEERS.tmp",
    magic: *b"STEMEPRS",
    version: 2,
    content_len_max: 16 + PEERS_MAX * (size_of::<ArchivedPeer>() + ADDRESS_LEN_MAX),
    private: false,
};

/// A peer and how far its log has been read.
#[derive(Clone, Debug, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct Peer {
    address: String,
    node: NodeId,
    epoch: u64,
    size: u64,
    root: Hash,
}

/// The cursors of peers by their addresses, the last one met first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Peers(Vec<Peer>);

impl Peers {
    /// Those that are remembered; none if the file is missing. One that can't be used is reported.
    pub(super) fn load(disk: &dyn Disk) -> Self {
        let peers = FILE.load(disk).unwrap_or_else(|error| {
            warn!(
                %error,
                path = %disk.path(FILE.name).display(),
                "how far the logs of peers were read is not known: the next session compares sets"
            );
            None
        });
        Self(peers.unwrap_or_default())
    }

    /// How far the log at an address has been read.
    pub(super) fn cursor(&self, address: &str) -> Option<PeerCursor> {
        let peer = self.0.iter().find(|known| known.address == address)?;
        Some(PeerCursor {
            node: peer.node,
            epoch: peer.epoch,
            size: peer.size,
            root: Root(peer.root),
        })
    }

    /// Notes how far the log at an address has been read.
    pub(super) fn note(&mut self, address: &str, cursor: PeerCursor) {
        if address.len() > ADDRESS_LEN_MAX {
            return;
        }
        self.0.retain(|known| known.address != address);
        let PeerCursor { node, epoch, size, root: Root(root) } = cursor;
        self.0.insert(0, Peer { address: address.to_owned(), node, epoch, size, root });
        self.0.truncate(PEERS_MAX);
    }

    /// Replaces the file.
    pub(super) fn save(&self, disk: &dyn Disk) -> io::Result<()> {
        FILE.save(disk, &self.0)
    }
}

/// The bytes of a file, read and written again; `None` if they are not one.
pub fn rewrite(bytes: &[u8]) -> Option<Vec<u8>> {
    FILE.rewrite::<Vec<Peer>>(bytes)
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
            root: Root([n ^ 0xff; 32]),
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

    /// The format on disk. If this fails the format has changed: raise the version.
    #[test]
    fn golden_bytes() {
        let mut peers = Peers::default();
        peers.note("a:1", cursor(3));
        let bytes = FILE.encode(&peers.0).unwrap();
        let golden = [
            &b"STEMEPRS"[..],
            &[2, 0, 0, 0],
            &bytes[12..16],
            // A short text lies in its place.
            b"a:1",
            &[0xff; 13],
            &[3; 16],
            &[3, 0, 0, 0, 0, 0, 0, 0],
            &[0xeb, 3, 0, 0, 0, 0, 0, 0],
            &[0xfc; 32],
            // Where the list lies from here, and its length.
            &(-80_i64).to_le_bytes(),
            &[1, 0, 0, 0, 0, 0, 0, 0],
        ];
        assert_eq!(bytes, golden.concat());
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
