//! Keys and key files.

use stemedb_tlog::{key_file::PrivateKey, key_type::KeyType, signer::Signer, vkey::VerifierKey};

use super::{cases, hex, judge, text, vectors};

#[test]
fn keys_follow_from_their_seeds() {
    for (name, key) in vectors()["keys"].as_object().unwrap() {
        if key["type"] == 6 && !KeyType::MlDsa44.is_supported() {
            continue;
        }
        let private = super::private_key(name);
        assert_eq!(private.key().to_string(), text(&key["vkey"]));
        assert_eq!(private.key().id().to_string(), text(&key["key_id"]));
        let read = VerifierKey::parse(text(&key["vkey"]).as_bytes(), &KeyType::ALL).unwrap();
        assert_eq!(&read, private.key());
        assert!(!format!("{private:?}").contains(text(&key["seed_hex"])));
    }
}

#[test]
fn vkeys() {
    let cases = cases("vkeys", "what vkey verdict name key_id type public_hex");
    assert_eq!(cases.len(), 21);
    for case in cases {
        if case["type"] == 6 && !KeyType::MlDsa44.is_supported() {
            let error = VerifierKey::parse(text(&case["vkey"]).as_bytes(), &KeyType::ALL);
            assert!(error.unwrap_err().to_string().contains("feature `ml-dsa`"));
            continue;
        }
        let parsed = VerifierKey::parse(text(&case["vkey"]).as_bytes(), &KeyType::ALL);
        let Some(key) = judge(case, parsed) else { continue };
        assert_eq!(key.name().as_str(), text(&case["name"]));
        assert_eq!(key.id().to_string(), text(&case["key_id"]));
        assert_eq!(u64::from(key.key_type().byte()), case["type"].as_u64().unwrap());
        // That of ML-DSA-44 is in the vkey alone.
        if case["public_hex"].is_string() {
            assert_eq!(key.public_key(), hex(&case["public_hex"]));
        }
        assert_eq!(key.to_string(), text(&case["vkey"]));
    }
}

#[test]
fn key_files() {
    for case in cases("key_files", "what text verdict vkey name type") {
        if case["type"] == 6 && !KeyType::MlDsa44.is_supported() {
            continue;
        }
        let Some(key) = judge(case, PrivateKey::parse(text(&case["text"]).as_bytes())) else {
            continue;
        };
        assert_eq!(key.to_file().as_str(), text(&case["text"]));
        assert_eq!(key.key().name().as_str(), text(&case["name"]));
        assert_eq!(u64::from(key.key().key_type().byte()), case["type"].as_u64().unwrap());
        if let Some(vkey) = case["vkey"].as_str() {
            assert_eq!(key.key().to_string(), vkey);
        }
    }
}
