//! Lists of ids, and of their halves: the plain bytes one after the other.

use stemedb_merkle::Hash;

use super::CodecError;
use crate::keys::halves;

/// The first 16 bytes of an id.
pub type Front = [u8; 16];

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

/// Writes the fronts of ids.
pub fn write_fronts(fronts: &[Front]) -> Vec<u8> {
    fronts.as_flattened().to_vec()
}

/// Reads ascending fronts.
///
/// # Errors
///
/// If there are more than `max`, a piece of one, or they are not in ascending order.
pub fn read_fronts(bytes: &[u8], max: usize) -> Result<&[Front], CodecError> {
    let fronts: &[Front] = read(bytes, max)?;
    if !fronts.is_sorted_by(|one, next| one < next) {
        return Err(CodecError::Order);
    }
    Ok(fronts)
}

/// Writes the last 16 bytes of ids.
pub fn write_backs(ids: &[Hash]) -> Vec<u8> {
    ids.iter().flat_map(|id| halves(id)[1]).collect()
}

/// Joins fronts with the backs that a peer gave for them.
///
/// # Errors
///
/// If there are not as many backs as fronts.
pub fn join(fronts: &[Front], backs: &[u8]) -> Result<Vec<Hash>, CodecError> {
    let backs: &[[u8; 16]] = read(backs, fronts.len())?;
    if backs.len() != fronts.len() {
        return Err(CodecError::Length);
    }
    let joined = fronts.iter().zip(backs).map(|(front, back)| {
        let mut id = [0; 32];
        let (left, right) = id.split_at_mut(16);
        left.copy_from_slice(front);
        right.copy_from_slice(back);
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
