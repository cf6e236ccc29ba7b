//! Proof files, and those that must not verify.

use std::collections::BTreeMap;

use stemedb_merkle::{AssertionId, history::InclusionProof};
use stemedb_tlog::{
    error::Error,
    key_type::KeyType,
    policy::Policy,
    proof_file::{self, Inclusion, UnverifiedProof},
    time_limits::TimeLimits,
};

use super::{bytes, cases, checkpoints::tree, hash, judge, short_name, text, vectors};

/// A clock behind all cosignatures of the vectors.
pub(super) const NOW: u64 = 1_700_000_000;

/// The policy of a case, if this build supports its keys.
pub(super) fn policy(name: &str) -> Option<Policy> {
    if name.starts_with("post-quantum") && !KeyType::MlDsa44.is_supported() {
        return None;
    }
    let file = text(&vectors()["proof_policies"][name]);
    Some(Policy::parse(file.as_bytes()).unwrap())
}

fn verify(file: &[u8], policy: &Policy, id: [u8; 32]) -> Result<Inclusion, Error> {
    let proof = UnverifiedProof::parse(file)?;
    proof.verify(policy, AssertionId(id), &TimeLimits::at(NOW))
}

#[test]
fn proofs() {
    let fields = "what policy id text verdict index size ntp64 signers why";
    for case in cases("proofs", fields) {
        let Some(policy) = policy(text(&case["policy"])) else { continue };
        let id = hash(&case["id"]);
        let Some(inclusion) = judge(case, verify(&bytes(case), &policy, id)) else { continue };
        assert_eq!(inclusion.index.0, case["index"].as_u64().unwrap());
        assert_eq!(inclusion.time.as_ntp64().to_string(), text(&case["ntp64"]));
        let checkpoint = &inclusion.checkpoint;
        assert_eq!(checkpoint.head().size.0, case["size"].as_u64().unwrap());
        let signatures = checkpoint.log_signatures().iter().chain(checkpoint.cosignatures());
        let signers: BTreeMap<&str, u64> = signatures
            .map(|line| (short_name(line.key()), line.time().unwrap_or_default()))
            .collect();
        let expected = case["signers"].as_object().unwrap();
        let expected: BTreeMap<&str, u64> =
            expected.iter().map(|(name, time)| (name.as_str(), time.as_u64().unwrap())).collect();
        assert_eq!(signers, expected, "{}", case["what"]);

        // The log's own tree makes the same file, but for lines of unknown keys and their order.
        let head = checkpoint.head();
        if tree().head_at(head.size).unwrap() == *head {
            let path = InclusionProof::prove(tree(), inclusion.index, head.size).unwrap();
            let made = proof_file::write(inclusion.time, inclusion.index, &path, checkpoint);
            assert!(text(&case["text"]).starts_with(made.split("— ").next().unwrap()));
            let again = verify(made.as_bytes(), &policy, id).unwrap();
            assert_eq!(again, inclusion);
        }
    }
}
