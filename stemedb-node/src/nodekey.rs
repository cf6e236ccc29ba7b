//! Key by which this node proves its id: the file `NODEKEY`.
//!
//! A small file of the store. Only the owner may
//! read it. A key belongs to one node id: where the store has another by now, because it is a copy
//! or was restored, there is a new key. No backup has it.

use stemedb_rpc::store::{peer_identity, session_seed};
use stemedb_sync::{
    cluster::{NODE_KEY_LEN, NodeKey},
    message::NodeId,
};
use tracing::warn;

use super::NodeError;
use stemedb_store::{
    Store,
    small_file::{SmallFile, SmallFileError},
};

const FILE: SmallFile = SmallFile {
    name: "NODEKEY",
    temp_name: "NODEKEY.tmp",
    magic: *b"STEMENKY",
    version: 1,
    content_len_max: size_of::<ArchivedSeed>(),
    private: true,
};

/// What the key is made of, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct Seed {
    node: NodeId,
    seed: [u8; NODE_KEY_LEN],
}

/// The key of a store's node id, which is made where there is none.
pub(super) fn load_or_make(store: &Store) -> Result<NodeKey, NodeError> {
    let path = || store.disk().path(FILE.name);
    let failed = |source| NodeError::NodeKey { path: path(), source };
    let node = peer_identity(store).node;
    let found = match FILE.load::<Seed>(store.disk()) {
        Ok(found) => found.map(Some),
        Err(SmallFileError::Damaged) => Some(None),
        Err(SmallFileError::Io(source)) => return Err(failed(source)),
    };
    match found {
        Some(Some(found)) if found.node == node => return Ok(NodeKey::from_seed(&found.seed)),
        // The key of the store that this one is a copy of, or that it was.
        Some(Some(_)) | None => {}
        Some(None) => warn!(
            path = %path().display(),
            "the key of this node is damaged and is replaced: members that know the old one don't \
             take this node for a member until they have missed it for an hour; restoring a backup \
             gives it a new id instead"
        ),
    }
    let seed = session_seed(store).map_err(NodeError::Begin)?;
    FILE.save(store.disk(), &Seed { node, seed }).map_err(failed)?;
    Ok(NodeKey::from_seed(&seed))
}

/// The bytes of a file, read and written again; `None` if they are not one.
pub fn rewrite(bytes: &[u8]) -> Option<Vec<u8>> {
    FILE.rewrite::<Seed>(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The format on disk. If this fails the format has changed, and nodes would lose their keys.
    #[test]
    fn golden_bytes_and_no_other_length() {
        let key = Seed { node: [3; 16], seed: [4; 32] };
        let bytes = FILE.encode(&key).unwrap();
        assert_eq!(bytes[..12], *b"STEMENKY\x01\0\0\0");
        assert_eq!(bytes[16..], [[3; 16], [4; 16], [4; 16]].concat());
        assert_eq!(FILE.decode(&bytes), Some(key));
        for len in 0..bytes.len() {
            assert_eq!(FILE.decode::<Seed>(&bytes[..len]), None, "cut to {len}");
        }
        assert_eq!(FILE.decode::<Seed>(&[bytes, vec![0]].concat()), None);
    }
}
