//! The test vectors of the specification, made by an independent implementation: all of them, every
//! field, and those that must not parse or verify.

mod absences;
mod attestations;
mod checkpoints;
mod fences;
mod forks;
mod keys;
mod notes;
mod policies;
mod proofs;
#[cfg(feature = "sealed")]
mod sealed_bodies;
mod tiles;
mod witness;

pub(crate) use checkpoints::{ORIGIN, entry, tree};

use std::{collections::BTreeMap, sync::OnceLock};

use serde_json::Value;
use stemedb_tlog::{
    error::Error, key_file::PrivateKey, key_type::KeyType, name::KeyName, signer::Signer,
    vkey::VerifierKey,
};

const VECTORS: &str = include_str!("../data/tlog-vectors.json");

/// The sections, and the number of their cases.
const SECTIONS: [(&str, usize); 18] = [
    ("absence", 14),
    ("attestations", 10),
    ("checkpoints", 7),
    ("cosignatures", 15),
    ("erasure_sets", 5),
    ("fence", 22),
    ("forks", 31),
    ("heads", 12),
    ("key_files", 8),
    ("keys", 11),
    ("notes", 40),
    ("policies", 41),
    ("proof_policies", 8),
    ("proofs", 53),
    ("receipts", 18),
    ("sealed", 8),
    ("tile_paths", 28),
    ("tiles", 9),
];

pub(crate) fn vectors() -> &'static Value {
    static READ: OnceLock<Value> = OnceLock::new();
    READ.get_or_init(|| serde_json::from_str(VECTORS).unwrap())
}

/// The cases of a section, each of which must have these fields at most: a field that no test knows
/// would go unnoticed.
fn cases(section: &str, fields: &str) -> &'static [Value] {
    let cases = vectors()[section].as_array().unwrap();
    for case in cases {
        for field in case.as_object().unwrap().keys() {
            assert!(fields.split(' ').any(|known| known == field), "{section}: {field}");
        }
    }
    cases
}

#[test]
fn no_section_is_left_out() {
    let sections: BTreeMap<&str, usize> = vectors()
        .as_object()
        .unwrap()
        .iter()
        .filter_map(|(name, value)| {
            let len = value.as_array().map(Vec::len);
            Some((name.as_str(), len.or_else(|| Some(value.as_object()?.len()))?))
        })
        .collect();
    let mut expected: BTreeMap<&str, usize> = SECTIONS.into_iter().collect();
    expected.extend([("log", 4), ("vkeys", 21), ("witness", 31)]);
    assert_eq!(sections, expected);
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// Bytes of a case: as text, or in base64 where they are no UTF-8.
fn bytes(case: &Value) -> Vec<u8> {
    match (case["text"].as_str(), case["base64"].as_str()) {
        (Some(text), None) => text.as_bytes().to_vec(),
        (None, Some(base64)) => decode_base64(base64),
        _ => panic!("neither text nor base64: {case}"),
    }
}

/// Base64 of the test's own, since that of the product is tested.
fn decode_base64(text: &str) -> Vec<u8> {
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut buffer, mut bits, mut bytes) = (0_u32, 0, Vec::new());
    for character in text.trim_end_matches('=').chars() {
        buffer = buffer << 6 | u32::try_from(alphabet.find(character).unwrap()).unwrap();
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(buffer >> bits & 0xff).unwrap());
        }
    }
    bytes
}

fn hex(digits: &Value) -> Vec<u8> {
    text(digits)
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

pub(crate) fn hash(digits: &Value) -> [u8; 32] {
    hex(digits).try_into().unwrap()
}

/// A key of the vectors by its short name.
pub(crate) fn private_key(name: &str) -> PrivateKey {
    let key = &vectors()["keys"][name];
    let key_type = u8::try_from(key["type"].as_u64().unwrap()).unwrap();
    let key_type = KeyType::from_byte(key_type).unwrap();
    let key_name = KeyName::new(text(&key["name"])).unwrap();
    PrivateKey::from_seed(key_name, key_type, &hash(&key["seed_hex"])).unwrap()
}

pub(crate) fn verifier_key(name: &str) -> VerifierKey {
    private_key(name).key().clone()
}

fn verifier_keys(names: &Value) -> Vec<VerifierKey> {
    names.as_array().unwrap().iter().map(|name| verifier_key(text(name))).collect()
}

/// The short name of a key.
fn short_name(key: &VerifierKey) -> &'static str {
    let keys = vectors()["keys"].as_object().unwrap();
    let vkey = key.to_string();
    keys.iter().find(|(_, value)| text(&value["vkey"]) == vkey).unwrap().0
}

/// Whether a case takes ML-DSA-44.
fn takes_ml_dsa(case: &Value) -> bool {
    case.to_string().contains("-pq")
}

/// Holds the verdict of a case against a result, and gives what was verified.
fn judge<T>(case: &Value, result: Result<T, impl Into<Error>>) -> Option<T> {
    let (verdict, verified) = match result.map_err(Into::into) {
        Ok(verified) => ("ok".to_owned(), Some(verified)),
        Err(error) => {
            // Whatever the file has in it, a terminal is safe.
            assert!(!error.to_string().chars().any(char::is_control), "{error}");
            let kind = match error {
                Error::Malformed(_) => "malformed",
                Error::Refused(_) => "refused",
            };
            (kind.to_owned(), None)
        }
    };
    assert_eq!(verdict, text(&case["verdict"]), "{case:#}");
    verified
}

/// The control: a judge that takes anything would make all of these tests worthless.
#[test]
#[should_panic(expected = "assertion")]
fn a_wrong_verdict_is_noticed() {
    let case = serde_json::json!({ "verdict": "refused" });
    judge(&case, Ok::<(), Error>(()));
}
