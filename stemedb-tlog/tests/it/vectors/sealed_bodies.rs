//! Sealed bodies.

use stemedb_tlog::{
    error::Error,
    sealed::{DataKey, SealedBody},
};

use super::{cases, hash, hex, judge, text};

fn open(body: &[u8], key: &DataKey) -> Result<Vec<u8>, Error> {
    Ok(SealedBody::parse(body)?.open(key)?)
}

#[test]
fn sealed() {
    let fields = "what verdict data_key_hex key_id_hex nonce_hex plain_hex body_hex id why";
    for case in cases("sealed", fields) {
        let key = DataKey::new(&hash(&case["data_key_hex"]));
        let body = hex(&case["body_hex"]);
        let Some(plain) = judge(case, open(&body, &key)) else { continue };
        assert_eq!(plain, hex(&case["plain_hex"]));
        assert_eq!(blake3::hash(&body).to_hex().as_str(), text(&case["id"]));
        let key_id = SealedBody::parse(&body).unwrap().key_id();
        assert_eq!(key_id.to_vec(), hex(&case["key_id_hex"]));
        let nonce = hex(&case["nonce_hex"]).try_into().unwrap();
        assert_eq!(key.seal(key_id, nonce, &plain).unwrap(), body);
        assert!(open(&body, &DataKey::new(&[7; 32])).is_err());
        // A byte that is changed anywhere.
        for at in 0..body.len() {
            let mut changed = body.clone();
            changed[at] ^= 1;
            assert!(open(&changed, &key).is_err(), "byte {at}");
            assert!(open(&body[..at], &key).is_err());
        }
    }
}
