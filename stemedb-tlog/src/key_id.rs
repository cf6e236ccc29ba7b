//! Ids of keys.

use core::fmt;

use sha2::{Digest, Sha256};

use crate::{key_type::KeyType, name::KeyName};

/// Id of a key: the first 4 bytes of SHA-256 over name, type and public key.
///
/// It tells keys of one name apart and proves nothing: 4 bytes are easily met on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 4]);

impl KeyId {
    pub(crate) fn of(name: &KeyName, key_type: KeyType, public: &[u8]) -> Self {
        let digest: [u8; 32] = Sha256::new()
            .chain_update(name.as_str())
            .chain_update([b'\n', key_type.byte()])
            .chain_update(public)
            .finalize()
            .into();
        let [a, b, c, d, ..] = digest;
        Self([a, b, c, d])
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
