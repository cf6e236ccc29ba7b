//! Ed25519 by RFC 8032, strictly.

use ed25519_dalek::{Signature, VerifyingKey};

/// Bytes of a public key.
pub(crate) const PUBLIC_LEN: usize = 32;

/// Reads a public key: a point in its one encoding, and not of small order.
pub(crate) fn public_key(bytes: &[u8; PUBLIC_LEN]) -> Option<VerifyingKey> {
    let key = VerifyingKey::from_bytes(bytes).ok()?;
    (is_canonical(bytes) && !key.is_weak()).then_some(key)
}

/// Whether the coordinate of a point is below 2^255 - 19, which decompressing does not ask.
fn is_canonical(bytes: &[u8; PUBLIC_LEN]) -> bool {
    let [first, between @ .., last] = bytes;
    let at_end = last & 0x7f == 0x7f && between.iter().all(|byte| *byte == 0xff);
    !at_end || *first < 0xed
}

/// Whether a signature verifies: S below the group order, R not of small order and in its one
/// encoding.
pub(crate) fn verify(key: &VerifyingKey, message: &[u8], signature: &[u8]) -> bool {
    Signature::from_slice(signature)
        .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The points of small order in all their encodings, some of which are not canonical.
    #[test]
    fn keys_of_small_order_and_second_encodings_are_none() {
        let order_8 = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05";
        let order_8 = crate::hex::decode::<32>(order_8.as_bytes()).unwrap();
        let mut small = alloc::vec![[0; 32], order_8];
        for first in [1, 0xec, 0xed, 0xee] {
            let mut bytes = [if first == 1 { 0 } else { 0xff }; 32];
            bytes[0] = first;
            bytes[31] &= 0x7f;
            small.push(bytes);
        }
        for mut bytes in small {
            for sign in [0, 0x80] {
                bytes[31] = bytes[31] & 0x7f | sign;
                assert!(public_key(&bytes).is_none(), "{bytes:02x?}");
            }
        }
        // p + 3 and 3 are one coordinate: a point in the latter form only.
        let mut three = [0; 32];
        three[0] = 3;
        assert!(public_key(&three).is_some());
        let mut other = [0xff; 32];
        (other[0], other[31]) = (0xf0, 0x7f);
        assert!(VerifyingKey::from_bytes(&other).is_ok());
        assert!(public_key(&other).is_none());
    }
}
