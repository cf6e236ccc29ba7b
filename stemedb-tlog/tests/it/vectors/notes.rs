//! Signed notes, as those of checkpoints, and cosignatures.

use std::{cell::RefCell, convert::Infallible};

use stemedb_merkle::{LogSize, Root, history::TreeHead};
use stemedb_tlog::{
    checkpoint::{Checkpoint, Extensions},
    error::Error,
    key_file::PrivateKey,
    key_type::KeyType,
    name::KeyName,
    signed_checkpoint::{SignedCheckpoint, UnverifiedCheckpoint},
    signer::Signer,
    vkey::VerifierKey,
};

use super::{
    bytes, cases, decode_base64, hex, judge, private_key, short_name, takes_ml_dsa, text,
    verifier_key, verifier_keys,
};

fn verify(
    note: &[u8],
    logs: &[VerifierKey],
    witnesses: &[VerifierKey],
) -> Result<SignedCheckpoint, Error> {
    let checkpoint = UnverifiedCheckpoint::parse(note, Extensions::Refuse)?;
    Ok(checkpoint.verify(logs, witnesses)?)
}

#[test]
fn notes() {
    for case in cases("notes", "what text base64 known verdict signers why") {
        let known = verifier_keys(&case["known"]);
        let Some(verified) = judge(case, verify(&bytes(case), &known, &known)) else { continue };
        let signatures = verified.log_signatures().iter().chain(verified.cosignatures());
        let mut signers: Vec<&str> = signatures.map(|line| short_name(line.key())).collect();
        let mut expected: Vec<&str> =
            case["signers"].as_array().unwrap().iter().map(text).collect();
        signers.sort_unstable();
        expected.sort_unstable();
        assert_eq!(signers, expected, "{}", case["what"]);
        // What is given out again has the verified lines and no others.
        let again = verify(verified.to_note().as_bytes(), &known, &known).unwrap();
        assert_eq!(again, verified);
    }
}

/// A signer that tells what it was given to sign.
struct Recorder {
    key: PrivateKey,
    messages: RefCell<Vec<Vec<u8>>>,
}

impl Signer for Recorder {
    type Error = Infallible;

    fn key(&self) -> &VerifierKey {
        self.key.key()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Infallible> {
        self.messages.borrow_mut().push(message.to_vec());
        self.key.sign(message)
    }
}

fn checkpoint(text: &str) -> Checkpoint {
    let lines: Vec<&str> = text.lines().collect();
    let root = Root(decode_base64(lines[2]).try_into().unwrap());
    let head = TreeHead { size: LogSize(lines[1].parse().unwrap()), root };
    let checkpoint = Checkpoint::new(KeyName::new(lines[0]).unwrap(), head);
    assert_eq!(checkpoint.text(), text);
    checkpoint
}

#[test]
fn cosignatures() {
    let fields = "what key checkpoint_text line verdict time message_hex";
    for case in cases("cosignatures", fields) {
        if takes_ml_dsa(case) && !KeyType::MlDsa44.is_supported() {
            continue;
        }
        let checkpoint = checkpoint(text(&case["checkpoint_text"]));
        let log = private_key("log");
        let signed = checkpoint.sign(&[&log], 0).unwrap();
        let note = format!("{signed}{}", text(&case["line"]));
        let key = private_key(text(&case["key"]));
        let logs = [log.key().clone(), verifier_key(text(&case["key"]))];
        let Some(verified) = judge(case, verify(note.as_bytes(), &logs, &logs[1..])) else {
            continue;
        };
        let time = case["time"].as_u64().unwrap();
        let cosignature = &verified.cosignatures()[0];
        assert_eq!((cosignature.time(), cosignature.key()), (Some(time), key.key()));

        // Signing gives the same line with Ed25519, and signs the same message with both; the
        // signatures of ML-DSA-44 in the vectors are randomised.
        let recorder = Recorder { key, messages: RefCell::default() };
        let line = verified.cosign(&recorder, time).unwrap();
        assert_eq!(line == text(&case["line"]), !takes_ml_dsa(case));
        if case["message_hex"].is_string() {
            assert_eq!(*recorder.messages.borrow(), [hex(&case["message_hex"])]);
        }
    }
}
