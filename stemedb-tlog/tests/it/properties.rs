//! Properties of all parsers: round trips, files of which one byte is changed, random bytes,
//! limits.

use proptest::prelude::*;
use serde_json::Value;
use stemedb_merkle::AssertionId;
use stemedb_tlog::{
    absence::UnverifiedAbsence,
    attestation::{
        AttestationKind, UnverifiedAudit, UnverifiedErasure, UnverifiedRotation, UnverifiedShred,
    },
    checkpoint::Extensions,
    entry_bundle::{self, UnverifiedBundle},
    error::Error,
    fence::Fence,
    fork::UnverifiedFork,
    heads::Heads,
    key_file::PrivateKey,
    key_type::KeyType,
    limits::{
        EVIDENCE_LEN_MAX, NOTE_LEN_MAX, POLICY_LEN_MAX, PROOF_LEN_MAX, REQUEST_LEN_MAX,
        SIGNATURES_MAX,
    },
    note::UnverifiedNote,
    policy::Policy,
    proof_file::UnverifiedProof,
    signed_checkpoint::UnverifiedCheckpoint,
    tile::UnverifiedTile,
    tile_path::TilePath,
    time_limits::TimeLimits,
    vkey::VerifierKey,
    witness::WitnessRequest,
};

use crate::vectors::{private_key, text, vectors, verifier_key};

const NOW: u64 = 1_700_000_000;

/// Every parser, on any bytes.
fn parse_all(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(key) = VerifierKey::parse(bytes, &KeyType::ALL) {
        assert_eq!(key.to_string().as_bytes(), bytes);
    }
    if let Ok(key) = PrivateKey::parse(bytes) {
        assert_eq!(key.to_file().as_bytes(), bytes);
    }
    if let Ok(path) = TilePath::parse(&text) {
        assert_eq!(path.to_string(), text);
        drop(UnverifiedTile::parse(path, path, bytes));
        drop(UnverifiedBundle::parse(path, path, bytes));
    }
    if let Ok(heads) = Heads::parse(bytes) {
        assert_eq!(heads.to_body().as_bytes(), bytes);
    }
    if let Ok(fence) = Fence::parse(bytes) {
        assert_eq!(fence.write().as_bytes(), bytes);
    }
    for extensions in [Extensions::Refuse, Extensions::Allow] {
        drop(UnverifiedCheckpoint::parse(bytes, extensions));
        drop(WitnessRequest::parse(bytes, extensions));
    }
    drop(UnverifiedNote::parse(bytes));
    drop(Policy::parse(bytes));
    drop(UnverifiedProof::parse(bytes));
    drop(UnverifiedAbsence::parse(bytes));
    drop(UnverifiedFork::parse(bytes));
    drop(UnverifiedErasure::parse(bytes));
    drop(UnverifiedShred::parse(bytes));
    drop(UnverifiedRotation::parse(bytes));
    drop(UnverifiedAudit::parse(bytes));
    AttestationKind::of(bytes);
}

/// All texts of the vectors, whatever they are.
fn texts() -> Vec<&'static str> {
    fn collect<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::String(text) if text.len() < 8_000 => found.push(text),
            Value::Array(values) => values.iter().for_each(|value| collect(value, found)),
            Value::Object(fields) => fields.values().for_each(|value| collect(value, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    collect(vectors(), &mut found);
    found
}

#[test]
fn every_parser_takes_every_text() {
    let texts = texts();
    assert!(texts.len() > 1_000);
    for text in texts {
        parse_all(text.as_bytes());
    }
}

proptest! {
    #[test]
    fn random_bytes_are_parsed_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        parse_all(&bytes);
    }

    /// Texts of the vectors, cut, repeated and joined.
    #[test]
    fn pieces_of_texts_are_parsed_or_not(
        pieces in proptest::collection::vec((any::<u16>(), any::<u16>(), any::<u16>()), 1..5),
        byte in any::<(u16, u8)>(),
    ) {
        let texts = texts();
        let mut bytes = Vec::new();
        for (text, from, to) in pieces {
            let text = texts[usize::from(text) % texts.len()].as_bytes();
            let [from, to] = [from, to].map(|at| usize::from(at) % (text.len() + 1));
            bytes.extend(&text[from.min(to)..from.max(to)]);
        }
        parse_all(&bytes);
        if !bytes.is_empty() {
            let at = usize::from(byte.0) % bytes.len();
            bytes[at] = byte.1;
            parse_all(&bytes);
        }
    }
}

/// The first case of a section that verifies.
fn valid(section: &str, what: &str) -> &'static Value {
    let cases = vectors()[section].as_array().unwrap();
    cases.iter().find(|case| case["what"] == what).unwrap()
}

/// Changes each byte of a file in a few ways: the result is refused, or what was verified is equal.
fn change_each_byte<T: PartialEq + core::fmt::Debug>(
    file: &str,
    verify: impl Fn(&[u8]) -> Result<T, Error>,
) {
    let verified = verify(file.as_bytes()).unwrap();
    for at in 0..file.len() {
        for changed in [file.as_bytes()[at] ^ 1, file.as_bytes()[at] ^ 0x20, b'\n', b' ', b'+', 0] {
            let mut bytes = file.as_bytes().to_vec();
            if bytes[at] == changed {
                continue;
            }
            bytes[at] = changed;
            if let Ok(other) = verify(&bytes) {
                assert_eq!(other, verified, "byte {at} is {changed:#04x}");
            }
        }
        // Lines of cosignatures may be missing at the end, where others suffice.
        if let Ok(other) = verify(&file.as_bytes()[..at]) {
            assert_eq!(other, verified, "cut to {at} bytes");
        }
    }
    let longer = [file.as_bytes(), b"\n"].concat();
    assert!(verify(&longer).is_err(), "a newline more");
}

#[test]
fn a_changed_proof_is_refused() {
    let case = valid("proofs", "three of three");
    let policy = text(&vectors()["proof_policies"]["two of three"]);
    let policy = Policy::parse(policy.as_bytes()).unwrap();
    let id: AssertionId = text(&case["id"]).parse().unwrap();
    // A line of a witness that is no longer its own is that of an unknown key; two of three remain.
    change_each_byte(text(&case["text"]), |file| {
        let proof = UnverifiedProof::parse(file)?;
        let verified = proof.verify(&policy, id, &TimeLimits::at(NOW))?;
        let head = *verified.checkpoint.head();
        Ok((verified.id, verified.index, verified.time, head))
    });
}

#[test]
fn a_changed_absence_proof_is_refused() {
    let case = valid("absence", "absent");
    let policy = Policy::parse(text(&vectors()["proof_policies"]["log"]).as_bytes()).unwrap();
    let id: AssertionId = text(&case["id"]).parse().unwrap();
    change_each_byte(text(&case["text"]), |file| {
        UnverifiedAbsence::parse(file)?.verify(&policy, id, &TimeLimits::at(NOW))
    });
}

#[test]
fn changed_fork_evidence_is_refused() {
    let case = valid("forks", "sizes 63 and 100, different from entry 5 on");
    let policy = Policy::parse(text(&vectors()["proof_policies"]["log"]).as_bytes()).unwrap();
    change_each_byte(text(&case["text"]), |file| UnverifiedFork::parse(file)?.verify(&policy));
}

#[test]
fn a_changed_receipt_is_refused() {
    let case = valid("receipts", "index 0");
    let trusted = [verifier_key("eraser")];
    change_each_byte(text(&case["text"]), |body| {
        Ok(UnverifiedErasure::parse(body)?.verify(&trusted)?)
    });
}

#[test]
fn a_changed_key_is_refused() {
    let vkey = text(&vectors()["keys"]["w3"]["vkey"]);
    let mut others = 0;
    for at in 0..vkey.len() {
        for changed in 0..=255 {
            let mut bytes = vkey.as_bytes().to_vec();
            if bytes[at] != changed {
                bytes[at] = changed;
                others += usize::from(VerifierKey::parse(&bytes, &KeyType::ALL).is_ok());
            }
        }
    }
    assert_eq!(others, 0);
    let file = private_key("log").to_file();
    for at in 0..file.len() {
        for changed in 0..=255 {
            let mut bytes = file.as_bytes().to_vec();
            if bytes[at] != changed {
                bytes[at] = changed;
                assert!(PrivateKey::parse(&bytes).is_err(), "{at} {changed}");
            }
        }
    }
}

#[test]
fn what_is_longer_than_its_limit_is_malformed() {
    let long = |len| vec![b'a'; len];
    assert!(UnverifiedNote::parse(&long(NOTE_LEN_MAX + 1)).is_err());
    assert!(UnverifiedProof::parse(&long(PROOF_LEN_MAX + 1)).is_err());
    assert!(UnverifiedFork::parse(&long(EVIDENCE_LEN_MAX + 1)).is_err());
    assert!(UnverifiedAbsence::parse(&long(EVIDENCE_LEN_MAX + 1)).is_err());
    assert!(WitnessRequest::parse(&long(REQUEST_LEN_MAX + 1), Extensions::Refuse).is_err());
    // Just at their limits they are read.
    let comment = |len| [&b"#"[..], &long(len - 14)[..], b"\nquorum none\n"].concat();
    let policy = comment(POLICY_LEN_MAX + 1);
    assert_eq!(
        Policy::parse(&policy[1..]).map_err(|error| error.rule),
        Err("expected `log`, `witness`, `group` or `quorum`, and what belongs to it")
    );
    assert!(Policy::parse(&comment(POLICY_LEN_MAX)).is_ok());
    assert!(Policy::parse(&comment(POLICY_LEN_MAX + 1)).is_err());
}

#[test]
fn a_note_has_at_most_64_lines() {
    let note = |lines: usize| {
        let lines = (0..lines).map(|line| format!("— name{line} AAAAAAA="));
        let note = ["text".into(), String::new()].into_iter().chain(lines);
        let note = note.collect::<Vec<String>>().join("\n") + "\n";
        UnverifiedNote::parse(note.as_bytes()).is_ok()
    };
    assert!(!note(0));
    assert!(note(1));
    assert!(note(SIGNATURES_MAX));
    assert!(!note(SIGNATURES_MAX + 1));
}

#[test]
fn a_note_is_as_long_as_it_may_be() {
    let note = |len: usize| {
        let end = "\n\n— name AAAAAAA=\n";
        let text = "a".repeat(len - end.len());
        UnverifiedNote::parse(format!("{text}{end}").as_bytes()).is_ok()
    };
    assert!(note(NOTE_LEN_MAX));
    assert!(!note(NOTE_LEN_MAX + 1));
}

/// Entries round trip, and each has its own bytes.
#[test]
fn bundles_round_trip() {
    let entries: Vec<_> = (0..12)
        .map(crate::vectors::entry)
        .map(|(time, id)| entry_bundle::LogEntry { time, id: AssertionId(id) })
        .collect();
    let bytes = entry_bundle::write(&entries);
    assert_eq!(bytes.len(), 12 * 42);
    let path = TilePath::parse("tile/entries/000.p/12").unwrap();
    assert!(UnverifiedBundle::parse(path, path, &bytes).is_ok());
    assert!(UnverifiedBundle::parse(path, path, &bytes[42..]).is_err());
}
