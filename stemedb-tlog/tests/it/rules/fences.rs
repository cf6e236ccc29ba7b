//! The fence, beyond the vectors: witnesses in its place, and two copies at once.

use stemedb_merkle::{LogSize, Root};
use stemedb_tlog::{
    fence::{Fence, FenceDecision, FenceRead, SignerIdentity, SignerState, Signing, decide},
    name::KeyName,
    vkey::VerifierKey,
};

use super::{checkpoint, cosigned, forked, sign};
use crate::vectors::{ORIGIN, private_key, tree, verifier_key};

const HERE: SignerIdentity = SignerIdentity { store: [1; 16], node: [2; 16], epoch: 0 };

fn root_at(size: LogSize) -> Root {
    tree().head_at(size).unwrap().root
}

fn fence(size: u64, signer: SignerIdentity, state: SignerState) -> String {
    Fence::new(signer, state, &sign(&checkpoint(size))).unwrap().write()
}

struct Log {
    origin: KeyName,
    keys: [VerifierKey; 1],
}

impl Log {
    fn new() -> Self {
        Self { origin: KeyName::new(ORIGIN).unwrap(), keys: [verifier_key("log")] }
    }

    fn signing(&self, size: u64) -> Signing<'_> {
        Signing {
            origin: &self.origin,
            keys: &self.keys,
            signer: HERE,
            size: LogSize(size),
            new_log: false,
            continues: false,
        }
    }
}

#[test]
fn a_witness_in_place_of_the_fence_stops_a_log_that_was_rolled_back() {
    let log = Log::new();
    let record = fence(10, HERE, SignerState::Active);
    let decide_with = |size, head: &str| {
        let read = FenceRead::Witness(head.as_bytes());
        decide(&log.signing(size), Some(record.as_bytes()), read, root_at)
    };
    let served = |size| cosigned(&sign(&checkpoint(size)), &[(&private_key("w1"), 7)]);
    assert_eq!(decide_with(20, &served(15)), FenceDecision::Sign);
    assert_eq!(decide_with(12, &served(15)), FenceDecision::Rollback);
    assert_eq!(decide_with(20, &served(9)), FenceDecision::FenceBehind);
    assert_eq!(decide_with(20, &sign(&forked(15)).to_note()), FenceDecision::Fork);
    assert_eq!(decide_with(20, "garbage"), FenceDecision::FenceDamaged);
    let unsigned = served(15).replace("zcF8T", "AAAAA");
    assert_eq!(decide_with(20, &unsigned), FenceDecision::OtherKey);
}

/// Of two copies only one signs, and the other again only when it is told to and has lost nothing.
#[test]
fn two_copies_do_not_sign_in_turn() {
    let log = Log::new();
    let copy = SignerIdentity { node: [3; 16], ..HERE };
    let theirs = fence(10, copy, SignerState::Active);
    let record = fence(5, HERE, SignerState::Active);
    let read = FenceRead::File(theirs.as_bytes());
    let mut signing = log.signing(20);
    let decision = |signing: &Signing<'_>| decide(signing, Some(record.as_bytes()), read, root_at);
    assert_eq!(decision(&signing), FenceDecision::OtherCopy);
    signing.continues = true;
    assert_eq!(decision(&signing), FenceDecision::Sign);
    // A copy that has lost something, or an epoch that renumbered, is not helped by it.
    signing.size = LogSize(9);
    assert_eq!(decision(&signing), FenceDecision::Rollback);
    let forks = |size: LogSize| Root([u8::try_from(size.0).unwrap(); 32]);
    signing.size = LogSize(20);
    let decision = decide(&signing, Some(record.as_bytes()), read, forks);
    assert_eq!(decision, FenceDecision::Fork);
}

/// The first of several reasons is told.
#[test]
fn first_match_decides() {
    let log = Log::new();
    let retired = fence(10, HERE, SignerState::Retired);
    let active = fence(30, HERE, SignerState::Active);
    let signing = Signing { new_log: true, ..log.signing(5) };
    let absent = FenceRead::Absent;
    let with =
        |record: Option<&str>, read| decide(&signing, record.map(str::as_bytes), read, root_at);
    assert_eq!(with(Some("garbage"), FenceRead::Unreachable), FenceDecision::Unreachable);
    assert_eq!(with(Some("garbage"), absent), FenceDecision::RecordDamaged);
    assert_eq!(with(Some(&retired), absent), FenceDecision::Retired);
    assert_eq!(with(Some(&active), absent), FenceDecision::FenceLost);
    assert_eq!(with(None, absent), FenceDecision::Sign);
    assert_eq!(with(None, FenceRead::File(b"garbage")), FenceDecision::Exists);
    let goes_on = log.signing(5);
    let read = FenceRead::File(retired.as_bytes());
    assert_eq!(decide(&goes_on, None, read, root_at), FenceDecision::Retired);
    let read = FenceRead::File(active.as_bytes());
    assert_eq!(decide(&goes_on, None, read, root_at), FenceDecision::Rollback);
}

#[test]
fn words_and_exit_codes_are_those_of_the_specification() {
    use FenceDecision as D;
    let all = [
        (D::Unreachable, "unreachable", 1),
        (D::RecordDamaged, "record-damaged", 3),
        (D::Retired, "retired", 3),
        (D::FenceLost, "fence-lost", 3),
        (D::Unbound, "unbound", 2),
        (D::Exists, "exists", 2),
        (D::FenceDamaged, "fence-damaged", 3),
        (D::OtherKey, "other-key", 3),
        (D::OtherStore, "other-store", 3),
        (D::FenceBehind, "fence-behind", 3),
        (D::Rollback, "rollback", 3),
        (D::Fork, "fork", 3),
        (D::OtherCopy, "other-copy", 3),
        (D::Sign, "sign", 0),
    ];
    for (decision, word, code) in all {
        assert_eq!((decision.as_str(), decision.exit_code()), (word, code));
        assert!(decision.to_string().starts_with(word));
    }
    let origin = KeyName::new(ORIGIN).unwrap();
    let digest = <[u8; 32]>::from(<sha2::Sha256 as sha2::Digest>::digest(ORIGIN));
    let hex = stemedb_merkle::id::to_hex(digest);
    assert_eq!(Fence::file_name(&origin), format!("{hex}.fence"));
    assert_eq!(Fence::record_name(&origin), format!("signer-{}", origin.sha256_hex()));
    assert_eq!(Fence::lock_name(&origin), format!("{}.lock", origin.sha256_hex()));
}
