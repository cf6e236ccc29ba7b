//! Keys that verify signatures.

#[cfg(feature = "ml-dsa")]
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use ed25519_dalek::VerifyingKey;

#[cfg(feature = "ml-dsa")]
use crate::ml_dsa_44;
use crate::{
    base64, ed25519,
    format::Format,
    hex,
    key_id::KeyId,
    key_type::KeyType,
    malformed::{Malformed, Place},
    name::KeyName,
};

/// Key that verifies signatures, a *vkey*: a name, a type and a public key.
///
/// Its text is `name+<id, 8 lowercase hex digits>+<base64 of type and public key>`.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: KeyName,
    id: KeyId,
    key_type: KeyType,
    public: PublicKey,
}

#[derive(Clone, PartialEq, Eq)]
enum PublicKey {
    Ed25519(VerifyingKey),
    #[cfg(feature = "ml-dsa")]
    MlDsa44(Box<[u8; ml_dsa_44::PUBLIC_LEN]>),
}

impl VerifierKey {
    /// Reads the text of a key of one of the types that are allowed there.
    ///
    /// # Errors
    ///
    /// If a part, a length or the id is wrong, the type is unknown, not allowed or not supported by
    /// this build, or an Ed25519 key has small order.
    pub fn parse(text: &[u8], allowed: &[KeyType]) -> Result<Self, Malformed> {
        Self::parse_at(text, allowed, Place::START)
    }

    pub(crate) fn parse_at(
        text: &[u8],
        allowed: &[KeyType],
        place: Place,
    ) -> Result<Self, Malformed> {
        let malformed = |rule| Malformed { format: Format::VerifierKey, place, rule };
        // The base64 may contain more of them.
        let mut parts = text.splitn(3, |byte| *byte == b'+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(malformed("expected `name+id+key`"));
        };
        let name = KeyName::from_bytes(name).ok_or_else(|| {
            malformed("a name has 1 to 255 bytes of UTF-8, without spaces and control characters")
        })?;
        let id = hex::decode(id).map(KeyId);
        let id = id.ok_or_else(|| malformed("the id is not 8 lowercase hex digits"))?;
        let key = base64::decode(key).ok_or_else(|| malformed("the key is not in base64"))?;
        let Some((byte, public)) = key.split_first() else {
            return Err(malformed("the key is empty"));
        };
        let key_type = KeyType::from_byte(*byte);
        let key_type = key_type.ok_or_else(|| malformed("the type of the key is unknown"))?;
        if !allowed.contains(&key_type) {
            return Err(malformed("a key of this type is not allowed here"));
        }
        let key = Self::new(name, key_type, public).map_err(malformed)?;
        if key.id != id {
            return Err(malformed("the id is that of another key"));
        }
        Ok(key)
    }

    /// A key from its parts, or the rule that is broken.
    pub(crate) fn new(
        name: KeyName,
        key_type: KeyType,
        public: &[u8],
    ) -> Result<Self, &'static str> {
        let id = KeyId::of(&name, key_type, public);
        let public = match key_type {
            KeyType::Ed25519 | KeyType::Ed25519Cosigner => {
                let bytes: &[u8; ed25519::PUBLIC_LEN] =
                    public.try_into().map_err(|_| "an Ed25519 key has 32 bytes")?;
                let key = ed25519::public_key(bytes);
                PublicKey::Ed25519(key.ok_or("the key is no point, or has small order")?)
            }
            #[cfg(feature = "ml-dsa")]
            KeyType::MlDsa44 => PublicKey::MlDsa44(Box::new(
                public.try_into().map_err(|_| "an ML-DSA-44 key has 1,312 bytes")?,
            )),
            #[cfg(not(feature = "ml-dsa"))]
            KeyType::MlDsa44 => {
                return Err("ML-DSA-44 keys need a build with the feature `ml-dsa`");
            }
        };
        Ok(Self { name, id, key_type, public })
    }

    /// The name; for a log's key the log's origin.
    pub const fn name(&self) -> &KeyName {
        &self.name
    }

    /// The id.
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// The type.
    pub const fn key_type(&self) -> KeyType {
        self.key_type
    }

    /// The public key as bytes.
    pub fn public_key(&self) -> &[u8] {
        match &self.public {
            PublicKey::Ed25519(key) => key.as_bytes(),
            #[cfg(feature = "ml-dsa")]
            PublicKey::MlDsa44(key) => key.as_slice(),
        }
    }

    /// Whether a bare signature of a message verifies.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.public {
            PublicKey::Ed25519(key) => ed25519::verify(key, message, signature),
            #[cfg(feature = "ml-dsa")]
            PublicKey::MlDsa44(key) => ml_dsa_44::verify(key, message, signature),
        }
    }
}

/// The text of the key. A name has no characters that a terminal obeys, and is not escaped here, so
/// that the text is read again.
impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key: Vec<u8> = [&[self.key_type.byte()], self.public_key()].concat();
        write!(f, "{}+{}+{}", self.name.as_str(), self.id, base64::encode(&key))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifierKey({self})")
    }
}
