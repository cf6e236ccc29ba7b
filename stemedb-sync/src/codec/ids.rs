//! Lists of ids, and of their prefixes and suffixes: the plain bytes one after the other.

use stemedb_merkle::Hash;

use crate::internal::internal_error;

use super::CodecError;

/// Bytes of an id by which it is asked for. Two ids of a set share them hardly ever by chance, and
/// by 2^32 hashes on purpose.
pub const PREFIX_LEN: usize = 8;

/// Ids that may be meant by one prefix: to find more that share it takes over 2^50 hashes.
pub const ALIKE_MAX: usize = 4;

/// Bytes of an id behind its prefix.
pub const SUFFIX_LEN: usize = 32 - PREFIX_LEN;

/// The first 8 bytes of an id.
pub type IdPrefix = [u8; PREFIX_LEN];

/// The prefix of an id.
pub fn prefix(id: &Hash) -> IdPrefix {
    *id.first_chunk().unwrap_or_else(|| internal_error("a byte of an id"))
}

/// Writes ids.
pub fn write_ids(ids: &[Hash]) -> Vec<u8> {
    ids.as_flattened().to_vec()
}

/// Reads ids in any order.
///
/// # Errors
///
/// If there are more than `max`, or a piece of one.
pub fn read_ids(bytes: &[u8], max: usize) -> Result<&[Hash], CodecError> {
    read(bytes, max)
}

/// Writes prefixes of ids.
pub fn write_prefixes(prefixes: &[IdPrefix]) -> Vec<u8> {
    prefixes.as_flattened().to_vec()
}

/// Reads ascending prefixes of ids.
///
/// # Errors
///
/// If there are more than `max`, a piece of one, or they are not in ascending order.
pub fn read_prefixes(bytes: &[u8], max: usize) -> Result<&[IdPrefix], CodecError> {
    let prefixes: &[IdPrefix] = read(bytes, max)?;
    if !prefixes.is_sorted_by(|one, next| one < next) {
        return Err(CodecError::Order);
    }
    Ok(prefixes)
}

/// Writes the last 24 bytes of ids.
pub fn write_suffixes(ids: &[Hash]) -> Vec<u8> {
    ids.iter().flat_map(|id| id.iter().skip(PREFIX_LEN)).copied().collect()
}

/// Joins prefixes with the suffixes that a peer gave for them.
///
/// # Errors
///
/// If there are not as many suffixes as prefixes.
pub fn join(prefixes: &[IdPrefix], suffixes: &[u8]) -> Result<Vec<Hash>, CodecError> {
    let suffixes: &[[u8; SUFFIX_LEN]] = read(suffixes, prefixes.len())?;
    if suffixes.len() != prefixes.len() {
        return Err(CodecError::Length);
    }
    let joined = prefixes.iter().zip(suffixes).map(|(prefix, suffix)| {
        let mut id = [0; 32];
        let (left, right) = id.split_at_mut(PREFIX_LEN);
        left.copy_from_slice(prefix);
        right.copy_from_slice(suffix);
        id
    });
    Ok(joined.collect())
}

fn read<const N: usize>(bytes: &[u8], max: usize) -> Result<&[[u8; N]], CodecError> {
    match bytes.as_chunks::<N>() {
        (items, _) if items.len() > max => Err(CodecError::TooMany { max }),
        (items, []) => Ok(items),
        _ => Err(CodecError::Length),
    }
}
