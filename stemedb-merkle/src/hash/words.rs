//! Constants of the BLAKE3 compression.

/// Flags of the chunk of a keyed hash that is a root, its own start and its own end:
/// `CHUNK_START | CHUNK_END | ROOT | KEYED_HASH` of the BLAKE3 paper, section 2.2.
pub(super) const FLAGS: u32 = CHUNK_START | CHUNK_END | ROOT | KEYED_HASH;

/// Flag of the first block of a chunk.
pub(super) const CHUNK_START: u32 = 1;

/// Flag of the last block of a chunk.
pub(super) const CHUNK_END: u32 = 2;

/// Flag of the compression whose result is the hash.
pub(super) const ROOT: u32 = 8;

/// Flag of every compression under a key.
pub(super) const KEYED_HASH: u32 = 16;

/// The initial words of BLAKE3: the key where there is none.
pub(super) const KEY: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// The first four, which enter every compression.
pub(super) const IV: [u32; 4] = [KEY[0], KEY[1], KEY[2], KEY[3]];

/// The word of the message that each of the 16 places of a round takes: the identity, then the
/// permutation of the paper's table 2 applied once more each round.
#[expect(clippy::indexing_slicing, reason = "checked when compiled")]
pub(super) const SCHEDULE: [[usize; 16]; 7] = {
    const PERMUTATION: [usize; 16] = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8];
    let mut schedule = [[0; 16]; 7];
    let mut round = 0;
    while round < 7 {
        let mut place = 0;
        while place < 16 {
            schedule[round][place] =
                if round == 0 { place } else { schedule[round - 1][PERMUTATION[place]] };
            place += 1;
        }
        round += 1;
    }
    schedule
};
