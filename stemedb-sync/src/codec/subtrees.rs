//! Contents of subtrees: the ids where they are few, else the hashes some levels down.
//!
//! For each subtree asked about, one after the other:
//!
//! ```text
//! 0, states, parts     what is `levels` below it: two bits a place, four places a byte, the first
//!                      in the lowest bits: 0 no ids, 1 one id, 2 more. Then in the same order an
//!                      id for each 1 and a hash of 32 bytes for each 2
//! 1, count, ids        all its ids, ascending; the count is a varint
//! ```
//!
//! Ids come without the whole bytes of the prefix that they are listed under. Where the tree ends
//! before `levels` are down, the places are those of depth 256.

use stemedb_merkle::{Hash, set::Summary};

use crate::internal::internal_error;

use super::{CodecError, prefixes::Prefix, varint};

/// The most levels that can be asked for at once.
pub const LEVELS_MAX: u8 = 8;

/// Contents of a subtree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Below {
    /// The subtrees some levels down, from left to right.
    Places(Vec<Place>),
    /// All ids, ascending.
    Ids(Vec<Hash>),
}

/// A subtree some levels down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// No ids.
    Empty,
    /// One id.
    One(Hash),
    /// Two ids or more, with this hash.
    Many(Hash),
}

/// How many levels below a prefix there are, of those asked for.
pub fn levels_below(prefix: &Prefix, levels: u8) -> u16 {
    u16::from(levels.min(LEVELS_MAX)).min(Prefix::DEPTH_MAX - prefix.depth())
}

/// The bytes of an id behind the first ones.
fn behind(id: &Hash, first: usize) -> &[u8] {
    id.get(first..).unwrap_or_else(|| internal_error("a byte of an id"))
}

impl Below {
    /// The summary of the whole subtree, to be compared with what is known of it.
    pub fn summary(&self, prefix: &Prefix) -> Summary {
        match self {
            Self::Ids(ids) => Summary::of(ids, prefix.depth().into()),
            Self::Places(places) => {
                let mut parts: Vec<Summary> = places
                    .iter()
                    .map(|place| match place {
                        Place::Empty => Summary::Empty,
                        Place::One(id) => Summary::of(&[*id], 256),
                        Place::Many(hash) => Summary::Many(*hash),
                    })
                    .collect();
                while parts.len() > 1 {
                    let pairs = parts.as_chunks::<2>().0;
                    parts =
                        pairs.iter().map(|[left, right]| Summary::join(*left, *right)).collect();
                }
                let [whole] = *parts else { internal_error("a place") };
                whole
            }
        }
    }

    /// Appends it, as the answer for a prefix.
    pub fn write(&self, prefix: &Prefix, bytes: &mut Vec<u8>) {
        match self {
            Self::Places(places) => {
                bytes.push(0);
                for four in places.chunks(4) {
                    let states = four.iter().rev().fold(0, |states, place| {
                        states << 2
                            | match place {
                                Place::Empty => 0,
                                Place::One(_) => 1,
                                Place::Many(_) => 2,
                            }
                    });
                    bytes.push(states);
                }
                let levels = places.len().trailing_zeros();
                let whole = ((u32::from(prefix.depth()) + levels) / 8) as usize;
                for place in places {
                    match place {
                        Place::Empty => {}
                        Place::One(id) => {
                            bytes.extend_from_slice(behind(id, whole));
                        }
                        Place::Many(hash) => bytes.extend_from_slice(hash),
                    }
                }
            }
            Self::Ids(ids) => {
                bytes.push(1);
                varint::write(ids.len() as u64, bytes);
                for id in ids {
                    bytes.extend_from_slice(behind(id, prefix.whole_bytes()));
                }
            }
        }
    }

    /// Takes the answer for a prefix off the front. Ids are at most `leaf_ids`, or at most two more
    /// than the bytes could hold are reserved for.
    ///
    /// # Errors
    ///
    /// If the bytes end early, there are more ids than `leaf_ids`, they do not ascend, or one does
    /// not begin with the prefix.
    pub fn read(
        bytes: &mut &[u8],
        prefix: &Prefix,
        levels: u8,
        leaf_ids: usize,
    ) -> Result<Self, CodecError> {
        let (kind, rest) = bytes.split_first().ok_or(CodecError::Length)?;
        *bytes = rest;
        match kind {
            0 => read_places(bytes, prefix, levels_below(prefix, levels)).map(Self::Places),
            1 => read_ids(bytes, prefix, leaf_ids).map(Self::Ids),
            _ => Err(CodecError::Kind),
        }
    }
}

fn read_places(bytes: &mut &[u8], prefix: &Prefix, levels: u16) -> Result<Vec<Place>, CodecError> {
    let count = 1_usize << levels;
    let (states, rest) = bytes.split_at_checked(count.div_ceil(4)).ok_or(CodecError::Length)?;
    *bytes = rest;
    if count < 4 && states.iter().any(|states| states >> (2 * count) != 0) {
        return Err(CodecError::Kind);
    }
    let mut places = Vec::with_capacity(count);
    for index in 0..count {
        let state = states.get(index / 4).map_or(0, |states| states >> (2 * (index % 4)) & 3);
        let below = prefix.below(levels, index);
        places.push(match state {
            0 => Place::Empty,
            1 => Place::One(read_id(bytes, &below)?),
            2 => {
                let (hash, rest) = bytes.split_first_chunk().ok_or(CodecError::Length)?;
                *bytes = rest;
                Place::Many(*hash)
            }
            _ => return Err(CodecError::Kind),
        });
    }
    Ok(places)
}

fn read_ids(bytes: &mut &[u8], prefix: &Prefix, leaf_ids: usize) -> Result<Vec<Hash>, CodecError> {
    let count = varint::read(bytes)?.ok_or(CodecError::Length)?;
    let count = usize::try_from(count).ok().filter(|count| *count <= leaf_ids);
    let count = count.ok_or(CodecError::TooMany { max: leaf_ids })?;
    // A whole id that is the prefix itself takes no bytes, but then there is only one.
    let each = 32 - prefix.whole_bytes();
    if bytes.len() / each.max(1) < count.min(leaf_ids).saturating_sub(1) {
        return Err(CodecError::Length);
    }
    let mut ids: Vec<Hash> = Vec::with_capacity(count);
    for _ in 0..count {
        let id = read_id(bytes, prefix)?;
        if ids.last().is_some_and(|last| *last >= id) {
            return Err(CodecError::Order);
        }
        ids.push(id);
    }
    Ok(ids)
}

fn read_id(bytes: &mut &[u8], prefix: &Prefix) -> Result<Hash, CodecError> {
    let whole = prefix.whole_bytes();
    let (back, rest) = bytes.split_at_checked(32 - whole).ok_or(CodecError::Length)?;
    *bytes = rest;
    let mut id = *prefix.bits();
    if let Some(place) = id.get_mut(whole..) {
        place.copy_from_slice(back);
    }
    if prefix.holds(&id) { Ok(id) } else { Err(CodecError::Misplaced) }
}
