//! Types of keys.

/// Type of a key: its algorithm, and what it signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyType {
    /// 0x01: Ed25519 over the text of a note. Logs, erasers and auditors have it.
    Ed25519,
    /// 0x04: Ed25519 over a time and the text of a checkpoint. Witnesses have it.
    Ed25519Cosigner,
    /// 0x06: ML-DSA-44 over names, time, size and root of a checkpoint. Witnesses have it, and logs
    /// beside Ed25519. Takes the feature `ml-dsa`.
    MlDsa44,
}

impl KeyType {
    /// All types.
    pub const ALL: [Self; 3] = [Self::Ed25519, Self::Ed25519Cosigner, Self::MlDsa44];

    /// Types of the keys of logs.
    pub const LOG: [Self; 2] = [Self::Ed25519, Self::MlDsa44];

    /// Types of the keys of witnesses.
    pub const WITNESS: [Self; 2] = [Self::Ed25519Cosigner, Self::MlDsa44];

    /// The byte that stands for it.
    pub const fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 0x01,
            Self::Ed25519Cosigner => 0x04,
            Self::MlDsa44 => 0x06,
        }
    }

    /// The type that a byte stands for.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0x01 => Some(Self::Ed25519),
            0x04 => Some(Self::Ed25519Cosigner),
            0x06 => Some(Self::MlDsa44),
            _ => None,
        }
    }

    /// Whether this build verifies it.
    pub const fn is_supported(self) -> bool {
        !matches!(self, Self::MlDsa44) || cfg!(feature = "ml-dsa")
    }

    /// Bytes of a signature line after the key's id.
    pub const fn signature_len(self) -> usize {
        match self {
            Self::Ed25519 => 64,
            Self::Ed25519Cosigner => 8 + 64,
            Self::MlDsa44 => 8 + 2_420,
        }
    }
}
