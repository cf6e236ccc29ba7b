//! Receipts and other attestations, and the sets that receipts keep ids in.

use std::collections::BTreeSet;

use stemedb_merkle::{Entry, MerkleTree, Root};
use stemedb_tlog::{
    attestation::{
        AttestationKind, Erasure, UnverifiedAudit, UnverifiedErasure, UnverifiedRotation,
        is_protected,
    },
    error::Error,
    note::Note,
    vkey::VerifierKey,
};

use super::{bytes, cases, hash, judge, private_key, text, verifier_keys};

fn verify(body: &[u8], trusted: &[VerifierKey]) -> Result<Erasure, Error> {
    Ok(UnverifiedErasure::parse(body)?.verify(trusted)?)
}

#[test]
fn receipts() {
    let fields = "what trusted text id verdict erases time reason log index why";
    for case in cases("receipts", fields) {
        let body = bytes(case);
        if let Some(id) = case["id"].as_str() {
            assert_eq!(blake3::hash(&body).to_hex().as_str(), id);
        }
        // A receipt is kept by whomever it is signed: its key may become trusted.
        let well_formed = case["verdict"] != "malformed";
        let kind = well_formed.then_some(AttestationKind::Erasure);
        assert_eq!((AttestationKind::of(&body), is_protected(&body)), (kind, well_formed));
        let verified = verify(&body, &verifier_keys(&case["trusted"]));
        let Some(erasure) = judge(case, verified) else { continue };
        assert_eq!(erasure.id.0, hash(&case["erases"]));
        assert_eq!(erasure.time, case["time"].as_u64().unwrap());
        assert_eq!(erasure.reason.as_str(), text(&case["reason"]));
        let entry = erasure.entry.as_ref();
        assert_eq!(entry.map(|entry| entry.log.as_str()), case["log"].as_str());
        assert_eq!(entry.map(|entry| entry.index.0), case["index"].as_u64());
        let signed = Note::sign(&erasure.text(), &[&private_key("eraser")]).unwrap();
        assert_eq!(signed, text(&case["text"]));
    }
}

#[test]
fn erasure_sets() {
    for case in cases("erasure_sets", "what trusted held ids count set_root note") {
        let trusted = verifier_keys(&case["trusted"]);
        let mut ids = BTreeSet::new();
        for body in case["held"].as_array().unwrap() {
            let body = text(body).as_bytes();
            ids.insert(*blake3::hash(body).as_bytes());
            ids.extend(verify(body, &trusted).map(|erasure| erasure.id.0));
        }
        let expected: BTreeSet<_> = case["ids"].as_array().unwrap().iter().map(hash).collect();
        assert_eq!(ids, expected, "{}", case["what"]);
        assert_eq!(ids.len() as u64, case["count"].as_u64().unwrap());
        let entries: Vec<Entry> = ids.into_iter().map(|id| Entry { id, position: 0 }).collect();
        let mut tree = MerkleTree::new();
        tree.insert_batch(&entries).unwrap();
        assert_eq!(tree.snapshot().root(), Root(hash(&case["set_root"])), "{}", case["what"]);
    }
}

#[test]
fn attestations() {
    for case in cases("attestations", "what kind known text id verdict why") {
        let body = bytes(case);
        if let Some(id) = case["id"].as_str() {
            assert_eq!(blake3::hash(&body).to_hex().as_str(), id);
        }
        let known = verifier_keys(&case["known"]);
        assert_eq!(is_protected(&body), case["verdict"] != "malformed");
        let signed = match text(&case["kind"]) {
            "key-rotation" => {
                let parsed = UnverifiedRotation::parse(&body).map_err(Error::from);
                let verified = parsed.and_then(|unverified| Ok(unverified.verify(&known)?));
                let Some(rotation) = judge(case, verified) else { continue };
                let keys = [&private_key("log"), &private_key("log-next")];
                Note::sign(&rotation.text(), &keys).unwrap()
            }
            "audit" => {
                let parsed = UnverifiedAudit::parse(&body).map_err(Error::from);
                let verified = parsed.and_then(|unverified| Ok(unverified.verify(&known)?));
                let Some(audit) = judge(case, verified) else { continue };
                Note::sign(&audit.text(), &[&private_key("auditor")]).unwrap()
            }
            kind => panic!("{kind}"),
        };
        assert_eq!(signed, text(&case["text"]));
    }
}
