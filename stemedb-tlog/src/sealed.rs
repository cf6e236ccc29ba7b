//! Sealed bodies: encrypted under a key that is kept elsewhere and can be destroyed.
//!
//! ```text
//!  0    22   ASCII "stemedb.dev/sealed@v1", 0x0A
//! 22    16   key id, random
//! 38    32   commitment to the data key
//! 70    24   nonce, random
//! 94     n   ciphertext of XChaCha20-Poly1305; bytes 0 to 94 are its associated data
//! 94+n  16   tag
//! ```
//!
//! The commitment is compared before anything is decrypted, so that a ciphertext opens under one
//! key only.

use alloc::vec::Vec;

use chacha20poly1305::{
    Key, KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use stemedb_merkle::hash::derive;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{
    format::Format,
    malformed::{Malformed, Place},
    refusal::Refusal,
    refused::Refused,
};

const MAGIC: &[u8; 22] = b"stemedb.dev/sealed@v1\n";
const KEY_ID_AT: usize = 22;
const COMMITMENT_AT: usize = 38;
const NONCE_AT: usize = 70;

/// Bytes before the ciphertext.
const HEADER_LEN: usize = 94;
const TAG_LEN: usize = 16;

/// Bytes that sealing adds to a body.
pub const OVERHEAD: usize = HEADER_LEN + TAG_LEN;

/// A data key, which is kept outside of the store and its backups. Zeroized when dropped.
pub struct DataKey(Zeroizing<[u8; 32]>);

/// A sealed body that parses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedBody<'a> {
    header: &'a [u8; HEADER_LEN],
    ciphertext: &'a [u8],
}

impl DataKey {
    /// The key of random bytes.
    pub fn new(key: &[u8; 32]) -> Self {
        Self(Zeroizing::new(*key))
    }

    /// Seals a body. Key id and nonce are random, and a nonce is never used twice with one key.
    ///
    /// # Errors
    ///
    /// If the body is longer than the cipher takes, 256 GiB.
    pub fn seal(
        &self,
        key_id: [u8; 16],
        nonce: [u8; 24],
        body: &[u8],
    ) -> Result<Vec<u8>, Malformed> {
        let mut sealed = Vec::with_capacity(OVERHEAD + body.len());
        sealed.extend(MAGIC);
        sealed.extend(key_id);
        sealed.extend(self.commitment());
        sealed.extend(nonce);
        let payload = Payload { msg: body, aad: &sealed };
        let ciphertext = self.cipher().encrypt(&XNonce::from(nonce), payload);
        sealed.extend(ciphertext.map_err(|_| malformed("the body is longer than 256 GiB"))?);
        Ok(sealed)
    }

    fn commitment(&self) -> [u8; 32] {
        derive("sealed commitment", self.0.as_slice())
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        let key = Zeroizing::new(derive("sealed body", self.0.as_slice()));
        XChaCha20Poly1305::new(&Key::from(*key))
    }
}

impl core::fmt::Debug for DataKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("DataKey(..)")
    }
}

impl<'a> SealedBody<'a> {
    /// Reads a sealed body.
    ///
    /// # Errors
    ///
    /// If the body is none.
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let (header, ciphertext) = body
            .split_first_chunk()
            .filter(|(header, ciphertext)| header.starts_with(MAGIC) && ciphertext.len() >= TAG_LEN)
            .ok_or_else(|| malformed("it does not begin as a sealed body, or is cut short"))?;
        Ok(Self { header, ciphertext })
    }

    /// The id of the key, by which it is found.
    pub fn key_id(&self) -> [u8; 16] {
        self.field(KEY_ID_AT)
    }

    /// Decrypts the body.
    ///
    /// # Errors
    ///
    /// If it is sealed with another key, or was changed.
    pub fn open(&self, key: &DataKey) -> Result<Vec<u8>, Refused> {
        let commitment: [u8; 32] = self.field(COMMITMENT_AT);
        if !bool::from(commitment.ct_eq(&key.commitment())) {
            return Err(Refusal::Commitment.into());
        }
        let nonce = XNonce::from(self.field::<24>(NONCE_AT));
        let payload = Payload { msg: self.ciphertext, aad: self.header };
        key.cipher().decrypt(&nonce, payload).map_err(|_| Refusal::Tag.into())
    }

    /// A field of the header, at an offset that is one of those above.
    fn field<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut field = [0; N];
        for (byte, source) in field.iter_mut().zip(self.header.iter().skip(at)) {
            *byte = *source;
        }
        field
    }
}

const fn malformed(rule: &'static str) -> Malformed {
    Malformed { format: Format::SealedBody, place: Place::START, rule }
}
