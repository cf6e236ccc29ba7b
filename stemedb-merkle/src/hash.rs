//! Key derivation and the three hashes of the set tree.

use crate::Hash;

/// `BLAKE3-derive-key(context = "stemedb v1 " + domain, material)`.
pub fn derive(domain: &str, material: &[u8]) -> Hash {
    blake3::Hasher::new_derive_key(&format!("stemedb v1 {domain}"))
        .update(material)
        .finalize()
        .into()
}
