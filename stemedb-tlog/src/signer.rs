//! Signing, apart from the key.

use alloc::vec::Vec;
use core::fmt;

use crate::vkey::VerifierKey;

/// Signer of messages: a key in memory, an agent, or hardware.
pub trait Signer {
    /// Reason why it cannot sign.
    type Error;

    /// The key that verifies its signatures.
    fn key(&self) -> &VerifierKey;

    /// Signs a message with the algorithm of the key: Ed25519, 64 bytes, or ML-DSA-44 with the
    /// empty context, 2,420 bytes.
    ///
    /// # Errors
    ///
    /// If it cannot sign.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Self::Error>;
}

/// Error of signing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignError<E> {
    /// The signer cannot sign.
    Signer(E),
    /// The key has another type, or another name, than signs this.
    WrongKey,
    /// The text is none that can be signed, or the time is out of range.
    WrongText,
    /// The signature does not verify: the signer is faulty, and nothing must be released.
    WrongSignature,
}

impl<E: fmt::Display> fmt::Display for SignError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signer(error) => write!(f, "cannot sign: {error}"),
            Self::WrongKey => {
                f.write_str("the key has another type or name than signs this; choose another key")
            }
            Self::WrongText => f.write_str("this text, or this time, cannot be signed"),
            Self::WrongSignature => {
                f.write_str("the signer made a signature that does not verify; check it")
            }
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for SignError<E> {}

/// A signature that verifies.
pub(crate) fn sign<S: Signer + ?Sized>(
    signer: &S,
    message: &[u8],
) -> Result<Vec<u8>, SignError<S::Error>> {
    let signature = signer.sign(message).map_err(SignError::Signer)?;
    if signer.key().verifies(message, &signature) {
        Ok(signature)
    } else {
        Err(SignError::WrongSignature)
    }
}
