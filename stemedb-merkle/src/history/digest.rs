//! The two SHA-256 hashes of the history tree.
//!
//! Both inputs have one length each, so their padding is fixed: a leaf is 1 + 40 bytes and fits one
//! block of SHA-256, a node is 1 + 64 bytes and takes two. Filling the blocks here and calling the
//! compression function leaves little beside it; tests hold the result against the plain hash.

use sha2::block_api::compress256;

use crate::{
    id::{Hash, Root},
    timestamp::Timestamp,
};

/// Bytes of a log entry as the history tree hashes it: 8 of time, 32 of assertion id.
pub const ENTRY_LEN: usize = 40;

/// The root of the tree without leaves: SHA-256 of the empty string.
pub const EMPTY_ROOT: Root = Root([
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
    0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
]);

/// The first state of SHA-256 (FIPS 180-4, section 5.3.3).
pub(super) const INITIAL_STATE: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

pub(super) const BLOCK_LEN: usize = 64;
const LEAF_BITS: u64 = 8 * (1 + ENTRY_LEN as u64);
const NODE_BITS: u64 = 8 * (1 + 2 * 32);
// One block holds the message, the byte 0x80 and the length in 8 bytes.
const _: () = assert!(1 + ENTRY_LEN + 1 + 8 <= BLOCK_LEN);

/// The hash of a leaf: SHA-256 of 0x00, the time as big-endian NTP64, and the assertion id.
pub fn leaf_hash(time: Timestamp, id: &[u8; 32]) -> Hash {
    finish(&leaf_blocks(time, id))
}

/// The padded input of a leaf's hash.
#[inline]
pub(super) fn leaf_blocks(time: Timestamp, id: &[u8; 32]) -> [[u8; BLOCK_LEN]; 1] {
    let mut block = [0; BLOCK_LEN];
    block[1..9].copy_from_slice(&time.as_ntp64().to_be_bytes());
    block[9..41].copy_from_slice(id);
    block[41] = 0x80;
    block[56..].copy_from_slice(&LEAF_BITS.to_be_bytes());
    [block]
}

/// The hash of a node: SHA-256 of 0x01 and the hashes of its two children.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    finish(&node_blocks(left, right))
}

/// The padded input of a node's hash.
#[inline]
pub(super) fn node_blocks(left: &Hash, right: &Hash) -> [[u8; BLOCK_LEN]; 2] {
    let mut blocks = [[0; BLOCK_LEN]; 2];
    let [first, second] = &mut blocks;
    first[0] = 0x01;
    first[1..33].copy_from_slice(left);
    first[33..].copy_from_slice(&right[..31]);
    second[0] = right[31];
    second[1] = 0x80;
    second[56..].copy_from_slice(&NODE_BITS.to_be_bytes());
    blocks
}

/// The hash of an input that is padded.
pub(super) fn finish(blocks: &[[u8; BLOCK_LEN]]) -> Hash {
    let mut state = INITIAL_STATE;
    compress256(&mut state, blocks);
    let mut hash = [0; 32];
    for (bytes, word) in hash.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    hash
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn the_empty_root_is_the_hash_of_nothing() {
        assert_eq!(EMPTY_ROOT.0, <Hash>::from(Sha256::digest([])));
    }

    /// A single bit anywhere in the input, so that no byte is misplaced or left out.
    #[test]
    fn every_input_bit_goes_where_sha256_puts_it() {
        for bit in 0..8 * 64 {
            let mut input = [0_u8; 64];
            input[bit / 8] = 0x80 >> (bit % 8);
            check(&input);
        }
    }

    proptest! {
        #[test]
        fn hashes_are_those_of_sha256_bit_for_bit(input in any::<[u8; 64]>()) {
            check(&input);
        }
    }

    fn check(input: &[u8; 64]) {
        let (left, right) = (input[..32].try_into().unwrap(), input[32..].try_into().unwrap());
        let node = Sha256::new().chain_update([1]).chain_update(input).finalize();
        assert_eq!(node_hash(left, right), <Hash>::from(node));
        let time = Timestamp::from_ntp64(u64::from_be_bytes(input[..8].try_into().unwrap()));
        let leaf = Sha256::new().chain_update([0]).chain_update(&input[..40]).finalize();
        assert_eq!(leaf_hash(time, input[8..40].try_into().unwrap()), <Hash>::from(leaf));
    }
}
