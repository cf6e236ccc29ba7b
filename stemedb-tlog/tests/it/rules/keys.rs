//! Keys, names and signing.

use stemedb_tlog::{
    error::Error, key_file::PrivateKey, key_type::KeyType, name::KeyName, note::Note,
    note::UnverifiedNote, refusal::Refusal, signer::SignError, signer::Signer, vkey::VerifierKey,
};

use super::{Faulty, checkpoint, key};
use crate::vectors::private_key;

#[test]
fn names_have_no_plus_space_or_control_character() {
    for name in ["a", "ü", "a/b", "\u{feff}", "a\u{200b}", &"x".repeat(255)] {
        assert!(KeyName::new(name).is_ok(), "{name:?}");
    }
    let bad = ["", "a+b", "a b", "a\u{a0}", "\u{2028}", "\u{85}", "\u{7f}", "\t", "\0"];
    for name in bad.into_iter().chain([&*"x".repeat(256), &*"ü".repeat(128)]) {
        assert!(KeyName::new(name).is_err(), "{name:?}");
    }
}

/// On lines of unknown keys only spaces and `+` are excluded.
#[test]
fn names_of_unknown_keys_have_fewer_rules() {
    let signed = Note::sign("text\n", &[&private_key("eraser")]).unwrap();
    let known = [private_key("eraser").key().clone()];
    for (name, fine) in [("\u{7f}", true), (&*"x".repeat(300), true), ("a+b", false), ("", false)] {
        let note = format!("{signed}— {name} AAAAAAA=\n");
        let note = UnverifiedNote::parse(note.as_bytes());
        assert_eq!(note.is_ok(), fine, "{name:?}");
        if let Ok(note) = note {
            assert_eq!(note.verify(&known).unwrap().text(), "text\n");
        }
    }
}

/// 4 bytes of id are met easily: here by about 2^16 keys of one name.
#[test]
fn two_known_keys_of_one_name_and_id_are_refused() {
    let name = KeyName::new("log").unwrap();
    let mut by_id = std::collections::HashMap::new();
    let (one, other) = (0_u32..)
        .find_map(|number| {
            let mut seed = [0; 32];
            seed[..4].copy_from_slice(&number.to_be_bytes());
            let key = PrivateKey::from_seed(name.clone(), KeyType::Ed25519, &seed).unwrap();
            let earlier = by_id.insert(key.key().id(), seed)?;
            let earlier = PrivateKey::from_seed(name.clone(), KeyType::Ed25519, &earlier);
            Some((earlier.unwrap(), key))
        })
        .unwrap();
    let note = Note::sign("text\n", &[&one]).unwrap();
    let parse = || UnverifiedNote::parse(note.as_bytes()).unwrap();
    assert!(parse().verify(&[one.key().clone()]).is_ok());
    // The same key twice is one key.
    assert!(parse().verify(&[one.key().clone(), one.key().clone()]).is_ok());
    let keys = [one.key().clone(), other.key().clone()];
    let refused = parse().verify(&keys).unwrap_err();
    assert!(matches!(refused.refusal, Refusal::AmbiguousKeys { .. }), "{refused}");
    assert_eq!(Note::sign("text\n", &[&one, &other]), Err(SignError::WrongText));
}

#[test]
fn signers_sign_what_their_type_signs() {
    let (log, witness) = (private_key("log"), private_key("w1"));
    let checkpoint = checkpoint(5);
    assert_eq!(checkpoint.sign::<PrivateKey>(&[], 1), Err(SignError::WrongKey));
    assert_eq!(checkpoint.sign(&[&witness], 1), Err(SignError::WrongKey));
    assert_eq!(checkpoint.sign(&[&private_key("other-log")], 1), Err(SignError::WrongKey));
    assert_eq!(checkpoint.sign(&[&Faulty(private_key("log"))], 1), Err(SignError::WrongSignature));
    assert_eq!(checkpoint.sign(&[&log, &log], 1), Err(SignError::WrongText));
    assert_eq!(Note::sign("text\n", &[&witness]), Err(SignError::WrongKey));
    for text in ["", "text", "te\rxt\n", "text\n\0\n"] {
        assert_eq!(Note::sign(text, &[&log]), Err(SignError::WrongText), "{text:?}");
    }
    // A text with an empty line in it is one; with one at its end it is another.
    assert!(Note::sign("one\n\ntwo\n", &[&log]).is_ok());
    let signed = super::sign(&checkpoint);
    assert_eq!(signed.cosign(&log, 1), Err(SignError::WrongKey));
    for time in [0, 1 << 63, u64::MAX] {
        assert_eq!(signed.cosign(&witness, time), Err(SignError::WrongText));
    }
    assert!(signed.cosign(&witness, (1 << 63) - 1).is_ok());
}

/// A key of one type does not verify as another: the id, and the message, differ.
#[test]
fn types_are_not_exchanged() {
    let witness = key("w", KeyType::Ed25519Cosigner, 3);
    let log = key("w", KeyType::Ed25519, 3);
    assert_eq!(witness.key().public_key(), log.key().public_key());
    assert_ne!(witness.key().id(), log.key().id());
    let note = Note::sign("text\n", &[&log]).unwrap();
    let note = UnverifiedNote::parse(note.as_bytes()).unwrap();
    let refused = note.verify(&[witness.key().clone()]).unwrap_err();
    assert_eq!(refused.refusal, Refusal::NoKnownKey);
    let vkey = witness.key().to_string();
    assert!(VerifierKey::parse(vkey.as_bytes(), &KeyType::LOG).is_err());
}

/// What a file has in its names reaches no terminal.
#[test]
fn errors_are_escaped() {
    let note = "text\u{202e}\n\n— \u{202e}evil AAAAAAA=\n";
    let error: Error = UnverifiedNote::parse(note.as_bytes())
        .unwrap()
        .verify(&[private_key("log").key().clone()])
        .unwrap_err()
        .into();
    assert!(!error.to_string().contains('\u{202e}'));
    let name = KeyName::new("a\u{202e}\u{200b}b").unwrap();
    assert_eq!(name.to_string(), "a\\u{202e}\\u{200b}b");
}
