//! Key derivation, the three hashes of the set tree, and ids of many bodies.

use alloc::format;

use crate::id::{Hash, Root};
#[cfg(feature = "std")]
use crate::internal::internal_error;

mod bodies;
#[cfg(feature = "std")]
mod lanes;
mod row;
#[cfg(all(feature = "std", target_arch = "x86_64"))]
pub(crate) mod simd;
#[cfg(all(feature = "std", target_arch = "x86_64"))]
mod words;

pub use self::bodies::hash_bodies;

/// The hash of a subtree without ids.
pub(crate) const EMPTY: Hash = [0; 32];

/// `derive("set leaf")`.
const LEAF_KEY: Hash = [
    0x0b, 0x17, 0x1c, 0x92, 0xa5, 0xfa, 0x50, 0x7a, 0x04, 0x52, 0x52, 0xc5, 0xab, 0xc1, 0x29, 0x27,
    0x51, 0xb4, 0xf2, 0x42, 0xd0, 0xaa, 0xee, 0xd8, 0x0b, 0x2a, 0xc7, 0xbf, 0x51, 0xec, 0x4b, 0x19,
];

/// `derive("set node")`.
const NODE_KEY: Hash = [
    0x15, 0x81, 0x2b, 0xe7, 0xc4, 0x1a, 0xc2, 0x89, 0x4d, 0xce, 0x44, 0x6b, 0x87, 0xf3, 0x88, 0x42,
    0xfb, 0x40, 0xf7, 0x61, 0x72, 0xfb, 0x54, 0xf2, 0x4a, 0xe7, 0x3f, 0x1a, 0xe0, 0x77, 0x23, 0x52,
];

/// `derive("set root")`.
const ROOT_KEY: Hash = [
    0xce, 0xbd, 0x46, 0x94, 0xbb, 0x4e, 0xfc, 0x9e, 0x68, 0x0b, 0xc3, 0xf1, 0xe2, 0xbf, 0x18, 0x58,
    0x6c, 0x4e, 0x78, 0x1b, 0xf4, 0x2d, 0x4e, 0x90, 0xa5, 0xdc, 0xd0, 0xb7, 0x3e, 0x5f, 0x47, 0xd3,
];

/// `BLAKE3-derive-key(context = "stemedb v1 " + domain, material)`.
pub fn derive(domain: &str, material: &[u8]) -> Hash {
    blake3::Hasher::new_derive_key(&format!("stemedb v1 {domain}"))
        .update(material)
        .finalize()
        .into()
}

/// The hash of a subtree that holds this id and no other.
pub(crate) fn leaf(id: &Hash) -> Hash {
    *blake3::keyed_hash(&LEAF_KEY, id).as_bytes()
}

/// The hash of a subtree of two ids or more, from those of its halves.
#[cfg(feature = "std")]
pub(crate) fn node(left: &Hash, right: &Hash) -> Hash {
    row::keyed_hash(&NODE_KEY, [left, right])
}

/// Folds a path upwards by the hash of two halves, from the hash where it begins: each step has a
/// sibling, and whether that is on the left.
pub(crate) fn path<'a>(start: Hash, steps: impl Iterator<Item = (bool, &'a Hash)>) -> Hash {
    row::fold(&NODE_KEY, start, steps, |_| {})
}

/// As [`path`], telling each hash that is made.
#[cfg(feature = "std")]
pub(crate) fn path_told<'a>(
    start: Hash,
    steps: impl Iterator<Item = (bool, &'a Hash)>,
    made: impl FnMut(&Hash),
) -> Hash {
    row::fold(&NODE_KEY, start, steps, made)
}

/// The root of a set of `count` ids whose uppermost subtree has the hash `top`.
pub fn root(count: u64, top: &Hash) -> Root {
    let mut input = [0; 40];
    let (front, back) = input.split_at_mut(8);
    front.copy_from_slice(&count.to_be_bytes());
    back.copy_from_slice(top);
    Root(*blake3::keyed_hash(&ROOT_KEY, &input).as_bytes())
}

/// [`leaf`] of many ids, about eight times faster each where the processor has SIMD.
#[cfg(feature = "std")]
pub(crate) fn leaves(ids: &[Hash], hashes: &mut [Hash]) {
    let id = |index: usize| [ids.get(index).unwrap_or_else(|| internal_error("an id"))];
    lanes::keyed_hash_many(&LEAF_KEY, id, hashes);
}

/// [`node`] of many halves, about eight times faster each where the processor has SIMD.
#[cfg(feature = "std")]
pub(crate) fn nodes<'a>(halves: impl Fn(usize) -> [&'a Hash; 2], hashes: &mut [Hash]) {
    match hashes {
        [only] => {
            let [left, right] = halves(0);
            *only = node(left, right);
        }
        _ => lanes::keyed_hash_many(&NODE_KEY, halves, hashes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_derived_from_their_domains() {
        assert_eq!(LEAF_KEY, derive("set leaf", b""));
        assert_eq!(NODE_KEY, derive("set node", b""));
        assert_eq!(ROOT_KEY, derive("set root", b""));
    }
}
