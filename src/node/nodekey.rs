//! Key by which this node proves its id: the file `NODEKEY`.
//!
//! ```text
//!  byte 0          8              12         16             32
//!       +----------+--------------+----------+--------------+---------+
//!       | STEMENKY | version u32  | CRC-32   | node id 16   | seed 32 |
//!       +----------+--------------+----------+--------------+---------+
//! ```
//!
//! Integers are little-endian; the CRC covers all bytes but its own. Only the owner may read the
//! file. A key belongs to one node id: where the store has another by now, because it is a copy or
//! was restored, there is a new key. No backup has it.

use std::io;

use stemedb_sync::{
    cluster::{NODE_KEY_LEN, NodeKey},
    message::NodeId,
};
use stemedb_wal::disk::Disk;
use tracing::warn;

use super::NodeError;
use crate::store::Store;

/// The file's name.
pub(super) const NAME: &str = "NODEKEY";
/// Where its successor is written.
const TEMP_NAME: &str = "NODEKEY.tmp";

const MAGIC: [u8; 8] = *b"STEMENKY";
const VERSION: u32 = 1;
const LEN: usize = 32 + NODE_KEY_LEN;

/// The key of a store's node id, which is made where there is none.
pub(super) fn load_or_make(store: &Store) -> Result<NodeKey, NodeError> {
    let failed = |source| NodeError::NodeKey { path: store.disk().path(NAME), source };
    let node = store.peer_identity().node;
    let found = read(store.disk()).map_err(failed)?;
    match found.map(|bytes| decode(&bytes)) {
        Some(Some((of, seed))) if of == node => return Ok(NodeKey::from_seed(&seed)),
        // The key of the store that this one is a copy of, or that it was.
        Some(Some(_)) | None => {}
        Some(None) => warn!(
            path = %store.disk().path(NAME).display(),
            "the key of this node is damaged and is replaced: members that know the old one don't \
             take this node for a member until they have missed it for an hour; `stemedb restore` \
             of a backup gives it a new id instead"
        ),
    }
    let seed = store.seed().map_err(NodeError::Begin)?;
    save(store.disk(), &encode(&node, &seed)).map_err(failed)?;
    Ok(NodeKey::from_seed(&seed))
}

fn read(disk: &dyn Disk) -> io::Result<Option<Vec<u8>>> {
    let file = match disk.open(NAME) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = vec![0; LEN + 1];
    let len = file.read_at(&mut bytes, 0)?;
    bytes.truncate(len);
    Ok(Some(bytes))
}

/// Replaces the file.
fn save(disk: &dyn Disk, bytes: &[u8]) -> io::Result<()> {
    // One that is left of a start that was cut short may have other rights.
    match disk.remove(TEMP_NAME) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.create_private(TEMP_NAME)?;
    file.write_at(bytes, 0)?;
    file.sync()?;
    disk.rename(TEMP_NAME, NAME)?;
    disk.sync_dir()
}

fn encode(node: &NodeId, seed: &[u8; NODE_KEY_LEN]) -> Vec<u8> {
    let front = [MAGIC.as_slice(), &VERSION.to_le_bytes()].concat();
    let rest = [node.as_slice(), seed].concat();
    let crc = crc_of(&front, &rest).to_le_bytes();
    [front, crc.to_vec(), rest].concat()
}

/// The node id and the seed. Total: any bytes may come.
fn decode(bytes: &[u8]) -> Option<(NodeId, [u8; NODE_KEY_LEN])> {
    let (front, rest) = bytes.split_first_chunk::<12>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let expected = [MAGIC.as_slice(), &VERSION.to_le_bytes()].concat();
    if *front != *expected || u32::from_le_bytes(*crc) != crc_of(front, rest) {
        return None;
    }
    let (node, seed) = rest.split_first_chunk()?;
    Some((*node, seed.try_into().ok()?))
}

/// The bytes of a file, read and written again; `None` if they are not one.
pub fn rewrite(bytes: &[u8]) -> Option<Vec<u8>> {
    decode(bytes).map(|(node, seed)| encode(&node, &seed))
}

fn crc_of(front: &[u8], rest: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(front);
    hasher.update(rest);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_damage_is_noticed() {
        let mut bytes = encode(&[3; 16], &[4; 32]);
        assert_eq!(decode(&bytes), Some(([3; 16], [4; 32])));
        assert_eq!(bytes.len(), LEN);
        for at in 0..bytes.len() {
            bytes[at] ^= 1;
            assert_eq!(decode(&bytes), None, "byte {at}");
            bytes[at] ^= 1;
            assert_eq!(decode(&bytes[..at]), None, "cut to {at}");
        }
        assert_eq!(decode(&[bytes, vec![0]].concat()), None);
    }
}
