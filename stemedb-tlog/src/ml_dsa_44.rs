//! ML-DSA-44 by FIPS 204, with the empty context and deterministic signatures.

use alloc::{boxed::Box, vec::Vec};

use ml_dsa::{EncodedVerifyingKey, MlDsa44, Signature, SigningKey, VerifyingKey};

/// Bytes of a public key.
pub(crate) const PUBLIC_LEN: usize = 1_312;

/// Key that signs.
pub(crate) struct Key(Box<SigningKey<MlDsa44>>);

/// Whether a signature verifies.
pub(crate) fn verify(public: &[u8; PUBLIC_LEN], message: &[u8], signature: &[u8]) -> bool {
    let key = EncodedVerifyingKey::<MlDsa44>::from(*public);
    Signature::<MlDsa44>::try_from(signature).is_ok_and(|signature| {
        VerifyingKey::<MlDsa44>::decode(&key).verify_with_context(message, &[], &signature)
    })
}

/// The key that follows from a seed.
pub(crate) fn key(seed: &[u8; 32]) -> Key {
    Key(Box::new(SigningKey::from_seed(&(*seed).into())))
}

/// The public key.
pub(crate) fn public(key: &Key) -> Vec<u8> {
    key.0.expanded_key().verifying_key().encode().to_vec()
}

/// Signs a message. `None` never comes: the empty context is not too long.
pub(crate) fn sign(key: &Key, message: &[u8]) -> Option<Vec<u8>> {
    let signature = key.0.expanded_key().sign_deterministic(message, &[]).ok()?;
    Some(signature.encode().to_vec())
}
