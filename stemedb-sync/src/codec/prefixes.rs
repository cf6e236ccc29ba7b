//! Prefixes of ids: which subtrees are asked about.
//!
//! A list is its prefixes one after the other, each the depth as a [`varint`] and the bits, most
//! significant bit of the first byte first, in as many bytes as they take; unused bits are zero.
//! The prefixes ascend, and none is the beginning of another.

use stemedb_merkle::Hash;

use crate::internal::internal_error;

use super::{CodecError, varint};

/// The first bits of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    bits: Hash,
    depth: u16,
}

impl Prefix {
    /// The prefix of all ids.
    pub const TOP: Self = Self { bits: [0; 32], depth: 0 };

    /// The deepest prefix: a whole id.
    pub const DEPTH_MAX: u16 = 256;

    /// The first `depth` bits of an id; all of it where `depth` is over 256.
    pub fn of(id: &Hash, depth: u16) -> Self {
        let depth = depth.min(Self::DEPTH_MAX);
        let mut bits = *id;
        for (place, byte) in (0_u16..).zip(&mut bits) {
            *byte &= mask(depth.saturating_sub(8 * place));
        }
        Self { bits, depth }
    }

    /// The bits, with zeros behind.
    pub fn bits(&self) -> &Hash {
        &self.bits
    }

    /// How many bits.
    pub fn depth(&self) -> u16 {
        self.depth
    }

    /// The prefix `levels` bits longer whose further bits are `index`; as long as it can be where
    /// that is over 256 bits. At most 16 levels.
    #[must_use]
    pub fn below(&self, levels: u16, index: usize) -> Self {
        let mut below = *self;
        for level in (0..levels).rev() {
            let one = index >> level & 1 == 1;
            if let Some(byte) = below.bits.get_mut(usize::from(below.depth / 8)) {
                *byte |= u8::from(one) << (7 - below.depth % 8);
                below.depth += 1;
            }
        }
        below
    }

    /// Whether an id begins with it.
    pub fn holds(&self, id: &Hash) -> bool {
        Self::of(id, self.depth).bits == self.bits
    }

    /// How many of its bytes are whole: those that ids below it are listed without.
    pub fn whole_bytes(&self) -> usize {
        usize::from(self.depth / 8)
    }

    /// The last id that begins with it.
    pub fn last_id(&self) -> Hash {
        let mut id = self.bits;
        for (place, byte) in (0_u16..).zip(&mut id) {
            *byte |= !mask(self.depth.saturating_sub(8 * place));
        }
        id
    }
}

/// The first bits of a byte.
fn mask(bits: u16) -> u8 {
    match bits {
        0 => 0,
        1..8 => !(0xff >> bits),
        _ => 0xff,
    }
}

/// Writes prefixes, which must ascend.
pub fn write(prefixes: &[Prefix]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(prefixes.len() * 5);
    for prefix in prefixes {
        varint::write(prefix.depth.into(), &mut bytes);
        let len = usize::from(prefix.depth.div_ceil(8));
        let bits = prefix.bits.get(..len).unwrap_or_else(|| internal_error("a bit of a prefix"));
        bytes.extend_from_slice(bits);
    }
    bytes
}

/// Reads prefixes.
///
/// # Errors
///
/// If there are more than `max`, one is cut off or has more than 256 bits, they do not ascend, or
/// one is the beginning of another.
pub fn read(mut bytes: &[u8], max: usize) -> Result<Vec<Prefix>, CodecError> {
    let mut prefixes: Vec<Prefix> = Vec::with_capacity(max.min(bytes.len()));
    while !bytes.is_empty() {
        if prefixes.len() == max {
            return Err(CodecError::TooMany { max });
        }
        let depth = varint::read(&mut bytes)?.ok_or(CodecError::Length)?;
        let depth = u16::try_from(depth).ok().filter(|depth| *depth <= Prefix::DEPTH_MAX);
        let depth = depth.ok_or(CodecError::Prefix)?;
        let len = usize::from(depth.div_ceil(8));
        let (front, rest) = bytes.split_at_checked(len).ok_or(CodecError::Length)?;
        bytes = rest;
        let mut bits = [0; 32];
        for (bit, byte) in bits.iter_mut().zip(front) {
            *bit = *byte;
        }
        let prefix = Prefix::of(&bits, depth);
        if prefix.bits != bits {
            return Err(CodecError::Prefix);
        }
        if let Some(last) = prefixes.last()
            && (last.bits >= prefix.bits || last.holds(&prefix.bits))
        {
            return Err(CodecError::Order);
        }
        prefixes.push(prefix);
    }
    Ok(prefixes)
}
