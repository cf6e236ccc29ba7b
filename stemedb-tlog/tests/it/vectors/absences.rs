//! Heads assertions, and absence proofs under them.

use stemedb_merkle::{AssertionId, Entry, MerkleTree};
use stemedb_tlog::{
    absence::{Absence, UnverifiedAbsence},
    error::Error,
    heads::Heads,
    policy::Policy,
    time_limits::TimeLimits,
};

use super::{
    bytes, cases,
    checkpoints::{ORIGIN, entry},
    hash, judge,
    proofs::{NOW, policy},
    text,
};

#[test]
fn heads() {
    for case in cases("heads", "what text verdict upto id set_root why") {
        let Some(heads) = judge(case, Heads::parse(&bytes(case))) else { continue };
        let upto = case["upto"].as_u64().unwrap();
        assert_eq!((heads.log.as_str(), heads.upto.0), (ORIGIN, upto));
        assert_eq!(heads.set_root.0, hash(&case["set_root"]));
        assert_eq!(heads.id(None).0, hash(&case["id"]));
        assert_eq!(heads.to_body(), text(&case["text"]));
        // The root is that of the first entries.
        let entries: Vec<Entry> =
            (0..upto).map(|index| Entry { id: entry(index).1, position: index }).collect();
        let mut tree = MerkleTree::new();
        tree.insert_batch(&entries).unwrap();
        assert_eq!(tree.snapshot().root(), heads.set_root);
    }
}

fn verify(file: &[u8], policy: &Policy, id: AssertionId) -> Result<Absence, Error> {
    UnverifiedAbsence::parse(file)?.verify(policy, id, &TimeLimits::at(NOW))
}

#[test]
fn absence() {
    for case in cases("absence", "what policy id text base64 verdict upto why") {
        let policy = policy(text(&case["policy"])).unwrap();
        let id = AssertionId(hash(&case["id"]));
        let Some(absence) = judge(case, verify(&bytes(case), &policy, id)) else { continue };
        assert_eq!((absence.id, absence.upto.0), (id, case["upto"].as_u64().unwrap()));
        // The id of the heads assertion differs in a store with a secret.
        let again = UnverifiedAbsence::parse(&bytes(case)).unwrap();
        let secret = Some(&b"sixteen bytes ..."[..]);
        assert!(again.verify_with_secret(&policy, id, &TimeLimits::at(NOW), secret).is_err());
    }
}
