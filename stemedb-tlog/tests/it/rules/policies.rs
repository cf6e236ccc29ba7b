//! Quorums and their times.

use stemedb_tlog::{
    checkpoint::Extensions, key_type::KeyType, policy::Policy, refusal::Refusal,
    signed_checkpoint::UnverifiedCheckpoint, signer::Signer, time_limits::TimeLimits,
};

use super::{checkpoint, cosigned, key, sign};
use crate::vectors::{private_key, text, vectors, verifier_key};

const NOW: u64 = 1_800_000_000;

fn vkey(name: &str) -> &'static str {
    text(&vectors()["keys"][name]["vkey"])
}

fn verify(policy: &str, note: &str, limits: &TimeLimits) -> Result<usize, Refusal> {
    let policy = Policy::parse(policy.as_bytes()).unwrap();
    let note = UnverifiedCheckpoint::parse(note.as_bytes(), Extensions::Refuse).unwrap();
    let verified = policy.verify_checkpoint(note, limits).map_err(|refused| refused.refusal)?;
    Ok(verified.cosignatures().len())
}

#[test]
fn cosignatures_count_within_their_times() {
    let policy = format!("log {}\nwitness w {}\nquorum w\n", vkey("log"), vkey("w1"));
    let signed = sign(&checkpoint(9));
    let witness = private_key("w1");
    let at = |time: u64, limits: TimeLimits| {
        verify(&policy, &cosigned(&signed, &[(&witness, time)]), &limits)
    };
    let now = TimeLimits::at(NOW);
    let not_met = Err(Refusal::QuorumNotMet { counted: 0 });
    assert_eq!(at(1, now), Ok(1));
    assert_eq!(at(NOW + 300, now), Ok(1));
    assert!(matches!(at(NOW + 301, now), Err(Refusal::CosignatureAhead { .. })));
    let max_age = TimeLimits { max_age: Some(60), ..now };
    assert_eq!(at(NOW - 60, max_age), Ok(1));
    assert_eq!(at(NOW - 61, max_age), not_met);
    let not_after = TimeLimits { not_after: Some(1_000), ..now };
    assert_eq!(at(1_000, not_after), Ok(1));
    assert_eq!(at(1_001, not_after), not_met);
    // One that the quorum does not need is not ahead of the clock either.
    let none = format!("log {}\nwitness w {}\nquorum none\n", vkey("log"), vkey("w1"));
    let ahead = cosigned(&signed, &[(&witness, NOW + 301)]);
    assert!(matches!(verify(&none, &ahead, &now), Err(Refusal::CosignatureAhead { .. })));
    // An unknown one may be.
    let unknown = format!("log {}\nquorum none\n", vkey("log"));
    assert_eq!(verify(&unknown, &ahead, &now), Ok(0));
}

#[test]
fn a_witness_counts_once_and_a_log_is_no_witness() {
    let witness = key("w", KeyType::Ed25519Cosigner, 5);
    let policy = format!(
        "log {}\nwitness a {}\nwitness b {}\ngroup g 2 a b\nquorum g\n",
        vkey("log"),
        witness.key(),
        vkey("w2"),
    );
    let note = cosigned(&sign(&checkpoint(9)), &[(&witness, 7)]);
    let result = verify(&policy, &note, &TimeLimits::at(NOW));
    assert_eq!(result, Err(Refusal::QuorumNotMet { counted: 1 }));
}

/// A log and a witness may share a public key; the types, and so the lines, are two.
#[test]
fn a_log_and_a_witness_may_share_a_key() {
    let witness = {
        let seed: [u8; 32] = crate::vectors::hash(&vectors()["keys"]["log"]["seed_hex"]);
        let name = verifier_key("log").name().clone();
        stemedb_tlog::key_file::PrivateKey::from_seed(name, KeyType::Ed25519Cosigner, &seed)
    };
    let witness = witness.unwrap();
    let policy = format!("log {}\nwitness w {}\nquorum w\n", vkey("log"), witness.key());
    let signed = sign(&checkpoint(9));
    let now = TimeLimits::at(NOW);
    assert_eq!(verify(&policy, &signed.to_note(), &now), Err(Refusal::QuorumNotMet { counted: 0 }));
    assert_eq!(verify(&policy, &cosigned(&signed, &[(&witness, 7)]), &now), Ok(1));
}

#[test]
fn policies_that_are_malformed_beyond_the_vectors() {
    let log = format!("log {}\n", vkey("log"));
    let w1 = format!("witness w1 {}\n", vkey("w1"));
    let (log, w1) = (log.as_str(), w1.as_str());
    let parse = |lines: &[&str]| Policy::parse(lines.concat().as_bytes()).is_ok();
    assert!(parse(&[log, w1, "quorum w1\n"]));
    assert!(parse(&["\n \t\n# comment\n\t # another\n", log, "quorum\tnone\n"]));
    assert!(parse(&[log, " quorum  none \t\n"]));
    // A quorum may come before what it does not name.
    assert!(parse(&["quorum none\n", log, w1]));
    for bad in [
        &[log, "quorum none"][..],
        &[log, "quorum none\n", "quorum none\n"],
        &[log, w1, "group g all\nquorum none\n"],
        &[log, w1, "group g 0 w1\nquorum none\n"],
        &[log, w1, "group g any w2\nquorum none\n"],
        &[log, w1, "group w1 any w1\nquorum none\n"],
        &[log, w1, "witness w2 ", vkey("w1"), "\nquorum none\n"],
        &[log, "witness none ", vkey("w1"), "\nquorum none\n"],
        &[log, "group\nquorum none\n"],
        &[log, "quorum\n"],
        &["log\n", "quorum none\n"],
    ] {
        assert!(!parse(bad), "{bad:?}");
    }
}

/// Groups in groups in groups are evaluated without recursion.
#[test]
fn groups_nest_deeply() {
    let groups = (1..5_000).map(|level| format!("group g{level} all g{}\n", level - 1));
    let groups: String = groups.collect();
    let policy = format!("witness g0 {}\n{groups}quorum g4999\n", vkey("w1"));
    let policy = Policy::parse(policy.as_bytes()).unwrap();
    assert!(policy.is_met(|_| true));
    assert!(!policy.is_met(|_| false));
}
