//! Attestations beyond the vectors.

use stemedb_merkle::{AssertionId, LogIndex, LogSize};
use stemedb_tlog::{
    attestation::{
        AttestationKind, Audit, AuditDepth, ErasedEntry, Erasure, Reason, Shred, UnverifiedAudit,
        UnverifiedErasure, UnverifiedRotation, UnverifiedShred, is_protected,
    },
    key_type::KeyType,
    name::KeyName,
    note::Note,
    signer::Signer,
};

use super::key;
use crate::vectors::{private_key, verifier_key};

#[test]
fn shreddings_round_trip() {
    let reason = Reason::new("legal").unwrap();
    let shred = Shred { key: [0xab; 16], time: 7, reason };
    let body = Note::sign(&shred.text(), &[&private_key("eraser")]).unwrap();
    let read = UnverifiedShred::parse(body.as_bytes()).unwrap();
    assert_eq!(read.verify(&[verifier_key("eraser")]), Ok(shred));
    assert!(UnverifiedShred::parse(body.as_bytes()).unwrap().verify(&[]).is_err());
    assert_eq!(AttestationKind::of(body.as_bytes()), Some(AttestationKind::Shred));
    let two = Note::sign("stemedb.dev/shred@v1\n", &[&private_key("eraser")]).unwrap();
    assert!(UnverifiedShred::parse(two.as_bytes()).is_err());
    assert!(!is_protected(two.as_bytes()));
}

#[test]
fn reasons_and_times_are_bounded() {
    for reason in Reason::DEFINED.into_iter().chain(["a", "a-1", &*"a".repeat(32)]) {
        assert!(Reason::new(reason).is_ok());
    }
    for reason in ["", "1a", "-a", "A", "a b", "ä", &*"a".repeat(33)] {
        assert!(Reason::new(reason).is_err(), "{reason}");
    }
    let entry = ErasedEntry { log: KeyName::new("log").unwrap(), index: LogIndex(5) };
    let erasure = Erasure {
        id: AssertionId([9; 32]),
        entry: Some(entry),
        time: 0,
        reason: Reason::new("other").unwrap(),
    };
    let body = Note::sign(&erasure.text(), &[&private_key("eraser")]).unwrap();
    assert!(UnverifiedErasure::parse(body.as_bytes()).is_err(), "time 0");
}

#[test]
fn an_audit_adds_up_without_overflow() {
    let audit = |held, erased, holes| Audit {
        log: None,
        size: LogSize(100),
        log_root: [1; 32].into(),
        set_root: [2; 32].into(),
        held,
        erased,
        holes,
        depth: AuditDepth::Entries,
        bytes: 1,
        findings: 0,
        unread: 0,
        time: 1,
        report: [3; 32],
    };
    let parses = |audit: &Audit| {
        let body = Note::sign(&audit.text(), &[&private_key("auditor")]).unwrap();
        UnverifiedAudit::parse(body.as_bytes()).is_ok()
    };
    assert!(parses(&audit(98, 1, 1)));
    assert!(!parses(&audit(98, 1, 2)));
    let most = (1 << 63) - 1;
    assert!(!parses(&audit(most, most, 102)));
}

/// An auditor's line stands beside others, unlike an eraser's.
#[test]
fn erasers_sign_alone() {
    let erasure = Erasure {
        id: AssertionId([9; 32]),
        entry: None,
        time: 1,
        reason: Reason::new("other").unwrap(),
    };
    let two = [&private_key("eraser"), &private_key("auditor")];
    let body = Note::sign(&erasure.text(), &two).unwrap();
    assert!(UnverifiedErasure::parse(body.as_bytes()).is_err());
}

/// No key pair has two types: one that cosigns is trusted for no receipt.
#[test]
fn a_cosigner_is_no_eraser() {
    let erasure = Erasure {
        id: AssertionId([9; 32]),
        entry: None,
        time: 1,
        reason: Reason::new("other").unwrap(),
    };
    let body = Note::sign(&erasure.text(), &[&key("e", KeyType::Ed25519, 4)]).unwrap();
    let cosigner = key("e", KeyType::Ed25519Cosigner, 4).key().clone();
    assert!(UnverifiedErasure::parse(body.as_bytes()).unwrap().verify(&[cosigner]).is_err());
}

#[test]
fn a_rotation_is_between_two_keys_of_type_1() {
    let (old, new) = (key("log", KeyType::Ed25519, 1), key("log", KeyType::Ed25519, 2));
    let text = |old: &str, new: &str| {
        format!("stemedb.dev/key-rotation@v1\nlog log\nold {old}\nnew {new}\ntime 5\n")
    };
    let (old_vkey, new_vkey) = (old.key().to_string(), new.key().to_string());
    let parses = |text: &str| {
        let body = Note::sign(text, &[&old, &new]).unwrap();
        UnverifiedRotation::parse(body.as_bytes()).is_ok()
    };
    assert!(parses(&text(&old_vkey, &new_vkey)));
    assert!(!parses(&text(&old_vkey, &old_vkey)));
    let cosigner = key("log", KeyType::Ed25519Cosigner, 3).key().to_string();
    assert!(!parses(&text(&old_vkey, &cosigner)));
    let body = Note::sign(&text(&old_vkey, &new_vkey), &[&old]).unwrap();
    let rotation = UnverifiedRotation::parse(body.as_bytes()).unwrap();
    assert!(rotation.verify(&[old.key().clone()]).is_err(), "signed by the old key only");
}
