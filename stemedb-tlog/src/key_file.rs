//! Key files: keys that sign.

use alloc::{boxed::Box, string::String, vec::Vec};
use core::{convert::Infallible, fmt};

use ed25519_dalek::{Signer as _, SigningKey};
use zeroize::Zeroizing;

#[cfg(feature = "ml-dsa")]
use crate::ml_dsa_44;
use crate::{
    base64,
    format::Format,
    hex,
    key_id::KeyId,
    key_type::KeyType,
    malformed::{Malformed, Place},
    name::KeyName,
    signer::Signer,
    vkey::VerifierKey,
};

/// Longest key file: the name, and what has one length.
const KEY_FILE_LEN_MAX: usize = 1_024;

const PREFIX: &[u8] = b"PRIVATE+KEY+";

/// Bytes of the seed of a key, whatever its type.
const SEED_LEN: usize = 32;

/// Key that signs, as a key file holds it:
/// `PRIVATE+KEY+name+<id>+<base64 of type and seed>`, one line.
///
/// It is never printed, and zeroized when dropped.
pub struct PrivateKey {
    key: VerifierKey,
    seed: Zeroizing<[u8; SEED_LEN]>,
    secret: SecretKey,
}

enum SecretKey {
    Ed25519(Box<SigningKey>),
    #[cfg(feature = "ml-dsa")]
    MlDsa44(ml_dsa_44::Key),
}

impl PrivateKey {
    /// The key of a name and a type that follows from a seed of random bytes.
    ///
    /// # Errors
    ///
    /// If this build does not support the type.
    pub fn from_seed(
        name: KeyName,
        key_type: KeyType,
        seed: &[u8; SEED_LEN],
    ) -> Result<Self, Malformed> {
        Self::new(name, key_type, seed).map_err(|rule| Malformed {
            format: Format::KeyFile,
            place: Place::START,
            rule,
        })
    }

    fn new(name: KeyName, key_type: KeyType, seed: &[u8; SEED_LEN]) -> Result<Self, &'static str> {
        let (secret, public): (_, Vec<u8>) = match key_type {
            KeyType::Ed25519 | KeyType::Ed25519Cosigner => {
                let secret = SigningKey::from_bytes(seed);
                let public = secret.verifying_key().to_bytes().into();
                (SecretKey::Ed25519(Box::new(secret)), public)
            }
            #[cfg(feature = "ml-dsa")]
            KeyType::MlDsa44 => {
                let secret = ml_dsa_44::key(seed);
                let public = ml_dsa_44::public(&secret);
                (SecretKey::MlDsa44(secret), public)
            }
            #[cfg(not(feature = "ml-dsa"))]
            KeyType::MlDsa44 => {
                return Err("ML-DSA-44 keys need a build with the feature `ml-dsa`");
            }
        };
        let key = VerifierKey::new(name, key_type, &public)?;
        Ok(Self { key, seed: Zeroizing::new(*seed), secret })
    }

    /// Reads a key file.
    ///
    /// # Errors
    ///
    /// If the bytes are none.
    pub fn parse(file: &[u8]) -> Result<Self, Malformed> {
        let malformed = |rule| Malformed { format: Format::KeyFile, place: Place::START, rule };
        if file.len() > KEY_FILE_LEN_MAX {
            return Err(malformed("the file is longer than any key"));
        }
        let expected = "expected one line `PRIVATE+KEY+name+id+key`, ended by a newline";
        let line = file.strip_suffix(b"\n").and_then(|line| line.strip_prefix(PREFIX));
        let line = line.ok_or_else(|| malformed(expected))?;
        let mut parts = line.splitn(3, |byte| *byte == b'+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(malformed(expected));
        };
        let name = KeyName::from_bytes(name).ok_or_else(|| malformed("the name is none"))?;
        let id = hex::decode(id).map(KeyId);
        let id = id.ok_or_else(|| malformed("the id is not 8 lowercase hex digits"))?;
        let key = base64::decode(key).map(Zeroizing::new);
        let key = key.ok_or_else(|| malformed("the key is not in base64"))?;
        let Some((byte, seed)) = key.split_first() else {
            return Err(malformed("the key is empty"));
        };
        let key_type = KeyType::from_byte(*byte);
        let key_type = key_type.ok_or_else(|| malformed("the type of the key is unknown"))?;
        let seed: &[u8; SEED_LEN] =
            seed.try_into().map_err(|_| malformed("the seed of a key has 32 bytes"))?;
        let key = Self::new(name, key_type, seed).map_err(malformed)?;
        if key.key.id() != id {
            return Err(malformed("the id is that of another key"));
        }
        Ok(key)
    }

    /// The text of the key file. Keep it where only its owner can read it.
    pub fn to_file(&self) -> Zeroizing<String> {
        let mut key = Zeroizing::new([0; 1 + SEED_LEN]);
        let (byte, seed) = key.split_at_mut(1);
        byte.copy_from_slice(&[self.key.key_type().byte()]);
        seed.copy_from_slice(self.seed.as_slice());
        let key = Zeroizing::new(base64::encode(key.as_slice()));
        let (name, id) = (self.key.name().as_str(), self.key.id());
        // So long that nothing is moved and left behind.
        let mut file = Zeroizing::new(String::with_capacity(KEY_FILE_LEN_MAX));
        // Writing to a string does not fail.
        let _ = fmt::Write::write_fmt(
            &mut *file,
            format_args!("PRIVATE+KEY+{name}+{id}+{}\n", key.as_str()),
        );
        file
    }
}

impl Signer for PrivateKey {
    type Error = Infallible;

    fn key(&self) -> &VerifierKey {
        &self.key
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Infallible> {
        Ok(match &self.secret {
            SecretKey::Ed25519(key) => key.sign(message).to_bytes().into(),
            #[cfg(feature = "ml-dsa")]
            SecretKey::MlDsa44(key) => ml_dsa_44::sign(key, message).unwrap_or_default(),
        })
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({}, ..)", self.key)
    }
}
