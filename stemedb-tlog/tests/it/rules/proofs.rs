//! Proof files beyond the vectors.

use stemedb_merkle::{AssertionId, LogIndex, LogSize, history::InclusionProof};
use stemedb_tlog::{
    error::Error,
    policy::Policy,
    proof_file::{self, UnverifiedProof},
    refusal::Refusal,
    time_limits::TimeLimits,
};

use super::{checkpoint, sign};
use crate::vectors::{entry, text, tree, vectors};

fn file(index: u64, size: u64) -> String {
    let path = InclusionProof::prove(tree(), LogIndex(index), LogSize(size)).unwrap();
    proof_file::write(entry(index).0, LogIndex(index), &path, &sign(&checkpoint(size)))
}

fn verify(file: &str, policy: &str, id: [u8; 32]) -> Result<u64, Error> {
    let policy = Policy::parse(policy.as_bytes()).unwrap();
    let proof = UnverifiedProof::parse(file.as_bytes())?;
    Ok(proof.verify(&policy, AssertionId(id), &TimeLimits::at(5))?.index.0)
}

fn policy() -> &'static str {
    text(&vectors()["proof_policies"]["log"])
}

#[test]
fn every_entry_of_small_logs_is_proven() {
    for size in 1..40 {
        for index in 0..size {
            let file = file(index, size);
            assert_eq!(verify(&file, policy(), entry(index).1), Ok(index));
            assert!(verify(&file, policy(), entry(index + 1).1).is_err());
        }
    }
}

/// The time is that of the entry: without it, or with another, the leaf is another.
#[test]
fn a_missing_time_parses_and_is_refused() {
    let file = file(3, 9);
    let (first, rest) = file.split_once("extra ").unwrap();
    let without = [first, rest.split_once('\n').unwrap().1].concat();
    let refused = verify(&without, policy(), entry(3).1);
    assert_eq!(refused, Err(Error::from(Refusal::NoTime)));
}

#[test]
fn a_policy_without_a_log_verifies_nothing() {
    let result = verify(&file(3, 9), "quorum none\n", entry(3).1);
    assert!(matches!(result, Err(Error::Malformed(_))), "{result:?}");
}

/// Malformed or refused: the former is told first, whatever the signatures are.
#[test]
fn parsing_comes_before_verifying() {
    let forged = file(3, 9).replace("index 3", "index 03").replace("zcF8T", "AAAAA");
    assert!(matches!(verify(&forged, policy(), entry(3).1), Err(Error::Malformed(_))));
}

/// A proof at 70,000 entries has the size that is promised for 10 million, but for 7 hashes.
#[test]
fn a_proof_is_small() {
    let len = file(69_000, 65_536 + 4_464).len() + 7 * 45;
    assert!(len <= 1_400, "{len}");
}
