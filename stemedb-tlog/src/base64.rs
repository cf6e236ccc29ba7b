//! Base64 in its one canonical form: RFC 4648, section 4, padded, unused bits zero.

use alloc::{string::String, vec::Vec};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use stemedb_merkle::Hash;

/// Writes bytes.
pub(crate) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Reads what [`encode`] writes, and nothing else.
pub(crate) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// Reads a hash.
pub(crate) fn decode_hash(text: &[u8]) -> Option<Hash> {
    // Other lengths are none, and are not decoded.
    if text.len() == 44 { decode(text)?.try_into().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_has_one_text() {
        assert_eq!(decode(b"AAE="), Some([0, 1].to_vec()));
        let others: [&[u8]; 9] =
            [b"AAE", b"AAF=", b"AAE==", b"AA E=", b"AAE=\n", b"AA-_", b"A", b"AAE=AAE=", b"===="];
        for other in others {
            assert_eq!(decode(other), None, "{other:?}");
        }
        assert_eq!(decode(b""), Some(Vec::new()));
        for len in 0..100 {
            let bytes: Vec<u8> = (0..len).map(|n: u8| n.wrapping_mul(31)).collect();
            assert_eq!(decode(encode(&bytes).as_bytes()), Some(bytes));
        }
    }
}
