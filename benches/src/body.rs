//! Bodies and ids: distinct, incompressible, the same in every run.

/// Bytes of a body in all measures.
pub(crate) const BODY_LEN: usize = 256;

/// Bytes of a record in our log around its body: what raw baselines write too.
pub(crate) const RECORD_LEN: usize = BODY_LEN + 60;

/// `SplitMix64` (Steele, Lea, Flood 2014): a bijection, so that distinct numbers give distinct
/// words.
#[inline]
pub(crate) fn mix(number: u64) -> u64 {
    let mut word = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Body number `number`.
pub(crate) fn body(number: u64) -> [u8; BODY_LEN] {
    let mut bytes = [0; BODY_LEN];
    fill(number, &mut bytes);
    bytes
}

/// Writes body number `number` over `bytes`; only whole words of it.
pub(crate) fn fill(number: u64, bytes: &mut [u8]) {
    let mut word = mix(number);
    for (at, chunk) in bytes.chunks_exact_mut(8).enumerate() {
        chunk.copy_from_slice(&word.to_le_bytes());
        // The first word alone makes the body distinct; the others only must not compress.
        word = mix(word ^ at as u64);
    }
}

/// `count` bodies from number `first` on, one behind the other.
pub(crate) fn arena(first: u64, count: u64) -> Vec<u8> {
    arena_of(first, count, BODY_LEN)
}

/// The same with bodies of a length, a multiple of 8.
pub(crate) fn arena_of(first: u64, count: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; count as usize * len];
    for (chunk, number) in bytes.chunks_exact_mut(len).zip(first..) {
        fill(number, chunk);
    }
    bytes
}

/// `count` random ids from number `first` on.
pub(crate) fn ids(first: u64, count: u64) -> Vec<[u8; 32]> {
    (first..first + count)
        .map(|number| {
            let mut id = [0; 32];
            fill(number, &mut id);
            id
        })
        .collect()
}

/// Numbers below `bound` in random order, with repeats.
pub(crate) fn picks(seed: u64, count: usize, bound: u64) -> Vec<u64> {
    (0..count as u64).map(|at| mix(seed ^ mix(at)) % bound).collect()
}
