//! A whole set tree as bytes: for a test, a fixture or a message, where a checkpoint is too much.
//!
//! ```text
//!  byte 0          8          40         48
//!       +----------+----------+----------+------------------------+
//!       | magic    | set root | count    | count entries, sorted: |
//!       | "stemset1"| 32 bytes | u64 le   | id 32, position u64 le |
//!       +----------+----------+----------+------------------------+
//! ```
//!
//! Reading computes the root and compares it, so that damage never passes.

use crate::set::{Entry, MerkleTree, mapped::MappedSetError};

const MAGIC: &[u8; 8] = b"stemset1";
const ENTRY_LEN: usize = 40;

/// Reason why a tree cannot be written or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SerializeError {
    /// A part of the tree cannot be read.
    #[error(transparent)]
    MappedSet(#[from] MappedSetError),
    /// Bytes of another format, or of another length than they announce.
    #[error("these bytes are not a serialized set tree of the length they announce")]
    NotATree,
    /// The ids are not sorted, or one is repeated.
    #[error("the ids of this serialized set tree are out of order at entry {index}")]
    Order {
        /// The entry, from 0.
        index: u64,
    },
    /// The root of the entries is not the one beside them.
    #[error("this serialized set tree is damaged: its entries have another root than it says")]
    OtherRoot,
}

/// Writes a tree. O(N).
///
/// ```
/// use stemedb_merkle::{MerkleTree, serialize::{deserialize_tree, serialize_tree}};
///
/// let mut tree = MerkleTree::new();
/// tree.insert([7; 32])?;
/// let mut bytes = serialize_tree(&tree)?;
/// assert_eq!(deserialize_tree(&bytes)?.root(), tree.root());
/// bytes[50] ^= 1;
/// assert!(deserialize_tree(&bytes).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// If a part of the tree's mapped set is damaged.
pub fn serialize_tree(tree: &MerkleTree) -> Result<Vec<u8>, SerializeError> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(tree.root().as_bytes());
    bytes.extend_from_slice(&tree.len().to_le_bytes());
    for entry in tree {
        let Entry { id, position } = entry?;
        bytes.extend_from_slice(&id);
        bytes.extend_from_slice(&position.to_le_bytes());
    }
    Ok(bytes)
}

/// Reads a tree that [`serialize_tree`] wrote. O(N).
///
/// # Errors
///
/// If the bytes are anything else. Memory stays in proportion to their length.
pub fn deserialize_tree(bytes: &[u8]) -> Result<MerkleTree, SerializeError> {
    let rest = bytes.strip_prefix(MAGIC).ok_or(SerializeError::NotATree)?;
    let (root, rest) = rest.split_first_chunk::<32>().ok_or(SerializeError::NotATree)?;
    let (count, rest) = rest.split_first_chunk::<8>().ok_or(SerializeError::NotATree)?;
    let (entries, surplus) = rest.as_chunks::<ENTRY_LEN>();
    if u64::from_le_bytes(*count) != entries.len() as u64 || !surplus.is_empty() {
        return Err(SerializeError::NotATree);
    }
    let entries: Vec<Entry> = entries.iter().map(entry).collect();
    if let Some(index) = entries.windows(2).position(|pair| !pair.is_sorted_by(|a, b| a.id < b.id))
    {
        return Err(SerializeError::Order { index: index as u64 + 1 });
    }
    let mut tree = MerkleTree::new();
    tree.insert_batch(&entries)?;
    if tree.root().as_bytes() == root { Ok(tree) } else { Err(SerializeError::OtherRoot) }
}

fn entry(bytes: &[u8; ENTRY_LEN]) -> Entry {
    let mut id = [0; 32];
    let mut position = [0; 8];
    let (front, back) = bytes.split_at(32);
    id.copy_from_slice(front);
    position.copy_from_slice(back);
    Entry { id, position: u64::from_le_bytes(position) }
}
