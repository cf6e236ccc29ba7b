//! Honest proofs, edited at random and with intent: none proves a false statement.
//!
//! Each campaign runs over many seeds; a finding names its seed, and `STEMEDB_SEED=<n>` runs that
//! one alone. What keeps the campaigns honest are the flawed verifiers at the end of each part: the
//! same forger must find a false statement that they accept.

mod history_proofs;
mod set_proofs;

use stemedb_merkle::Hash;

/// Result of a campaign that found no false statement.
#[derive(Debug, Default)]
struct Tally {
    /// Forgeries that did not verify.
    refused: usize,
    /// Edits that verified and led back to an honest proof.
    honest: usize,
    /// An edit that verified, of which the statement is true, but that is not its honest proof.
    second_proof: Option<String>,
}

/// A forgery of a false statement that verified.
#[derive(Debug)]
struct FalseStatement(String);

/// Number of seeds of a campaign.
const SEEDS: u64 = 150;

fn seeds() -> Vec<u64> {
    match std::env::var("STEMEDB_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => all_seeds(),
    }
}

/// For the controls, which one seed alone may pass.
fn all_seeds() -> Vec<u64> {
    (0..SEEDS).collect()
}

/// Demands that a campaign found nothing, and that it tried.
fn assert_sound(outcome: Result<Tally, FalseStatement>, least: usize) {
    let tally = match outcome {
        Ok(tally) => tally,
        Err(FalseStatement(found)) => panic!("proved what is not so: {found}"),
    };
    println!("{tally:?}");
    assert_eq!(tally.second_proof, None);
    let enough = tally.refused >= least || std::env::var("STEMEDB_SEED").is_ok();
    assert!(enough, "the forger hardly tried: {tally:?}");
}

/// Demands that a campaign against a flawed verifier found a false statement.
fn assert_caught(flaw: impl core::fmt::Debug, outcome: Result<Tally, FalseStatement>) {
    match outcome {
        Err(FalseStatement(found)) => println!("{flaw:?}: {found}"),
        Ok(tally) => panic!("the forger missed {flaw:?}: {tally:?}"),
    }
}

/// `SplitMix64`: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `end`, or 0 if that is 0.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap()
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn hash(&mut self) -> Hash {
        let words = [self.next(), self.next(), self.next(), self.next()];
        words.map(u64::to_le_bytes).as_flattened().try_into().unwrap()
    }

    fn with_bit_flipped(&mut self, hash: &Hash) -> Hash {
        let (mut other, bit) = (*hash, self.below(256));
        other[bit / 8] ^= 0x80 >> (bit % 8);
        other
    }

    /// Edits a path of hashes; `known` are hashes that a forger would try to work in.
    fn edit_path(&mut self, path: &mut Vec<Hash>, known: &[Hash]) {
        let place = self.below(path.len());
        let other = self.below(path.len());
        let foreign = match self.below(4) {
            0 => [0; 32],
            1 => self.hash(),
            _ => self.pick(known),
        };
        if path.is_empty() {
            path.push(foreign);
            return;
        }
        match self.below(12) {
            0 => path[place] = self.with_bit_flipped(&path[place].clone()),
            1 => path.swap(place, other),
            2 => path.insert(place, path[other]),
            3 => drop(path.drain(place..=place)),
            4 => path.truncate(place),
            5 => drop(path.drain(..place)),
            6 => path.push(foreign),
            7 => path.insert(place, foreign),
            8 => path[place] = foreign,
            9 => path.reverse(),
            10 => path.rotate_left(place),
            // Just below, at, and above the length that an id has bits for.
            _ => path.resize(254 + self.below(5), foreign),
        }
    }
}
