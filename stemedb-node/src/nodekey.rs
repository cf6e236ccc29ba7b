//! Key by which this node proves its id: the file `NODEKEY`.
//!
//! A small file of the store whose content is a node id and a seed of 32 bytes. Only the owner may
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
    content_len_max: 16 + NODE_KEY_LEN,
    private: true,
};

/// The key of a store's node id, which is made where there is none.
pub(super) fn load_or_make(store: &Store) -> Result<NodeKey, NodeError> {
    let path = || store.disk().path(FILE.name);
    let failed = |source| NodeError::NodeKey { path: path(), source };
    let node = peer_identity(store).node;
    let found = match FILE.load(store.disk(), parse) {
        Ok(found) => found.map(Some),
        Err(SmallFileError::Damaged) => Some(None),
        Err(SmallFileError::Io(source)) => return Err(failed(source)),
    };
    match found {
        Some(Some((of, seed))) if of == node => return Ok(NodeKey::from_seed(&seed)),
        // The key of the store that this one is a copy of, or that it was.
        Some(Some(_)) | None => {}
        Some(None) => warn!(
            path = %path().display(),
            "the key of this node is damaged and is replaced: members that know the old one don't \
             take this node for a member until they have missed it for an hour; `stemedb restore` \
             of a backup gives it a new id instead"
        ),
    }
    let seed = session_seed(store).map_err(NodeError::Begin)?;
    FILE.save(store.disk(), &content(&node, &seed)).map_err(failed)?;
    Ok(NodeKey::from_seed(&seed))
}

fn content(node: &NodeId, seed: &[u8; NODE_KEY_LEN]) -> Vec<u8> {
    [node.as_slice(), seed].concat()
}

/// The node id and the seed. Total: any bytes may come.
fn parse(content: &[u8]) -> Option<(NodeId, [u8; NODE_KEY_LEN])> {
    let (node, seed) = content.split_first_chunk()?;
    Some((*node, seed.try_into().ok()?))
}

/// The bytes of a file, read and written again; `None` if they are not one.
pub fn rewrite(bytes: &[u8]) -> Option<Vec<u8>> {
    parse(FILE.decode(bytes)?).map(|(node, seed)| FILE.encode(&content(&node, &seed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_of_another_length_is_none() {
        let bytes = content(&[3; 16], &[4; 32]);
        assert_eq!(parse(&bytes), Some(([3; 16], [4; 32])));
        for len in 0..bytes.len() {
            assert_eq!(parse(&bytes[..len]), None, "cut to {len}");
        }
        assert_eq!(parse(&[bytes, vec![0]].concat()), None);
    }
}
