//! Signatures over checkpoints: those of logs and the cosignatures of witnesses (C2SP
//! tlog-cosignature).
//!
//! A cosignature begins with its time in POSIX seconds, 8 bytes, big-endian.

use alloc::{boxed::Box, string::String, vec::Vec};

use crate::{
    checkpoint::Checkpoint,
    key_type::KeyType,
    limits::NUMBER_END,
    note::check_text,
    refusal::Refusal,
    signature_line,
    signer::{SignError, Signer, sign},
    vkey::VerifierKey,
};

/// The message that a key signs for a checkpoint at a time.
fn message(key: &VerifierKey, checkpoint: &Checkpoint, time: u64) -> Vec<u8> {
    let text = checkpoint.text();
    match key.key_type() {
        KeyType::Ed25519 => text.into_bytes(),
        KeyType::Ed25519Cosigner => {
            alloc::format!("cosignature/v1\ntime {time}\n{text}").into_bytes()
        }
        KeyType::MlDsa44 => {
            let mut message = Vec::from(b"subtree/v1\n\0");
            push_name(&mut message, key.name().as_str());
            message.extend(time.to_be_bytes());
            push_name(&mut message, checkpoint.origin().as_str());
            // The subtree of all entries begins with the first.
            message.extend(0_u64.to_be_bytes());
            message.extend(checkpoint.head().size.0.to_be_bytes());
            message.extend(checkpoint.head().root.as_bytes());
            message
        }
    }
}

/// Appends a name and before it its length, which fits a byte as names have at most 255.
fn push_name(message: &mut Vec<u8>, name: &str) {
    let [.., len] = name.len().to_be_bytes();
    message.push(len);
    message.extend(name.as_bytes());
}

/// Whether a type of key has cosignatures of such a time.
const fn has_time(key_type: KeyType, time: u64) -> bool {
    match key_type {
        KeyType::Ed25519 => true,
        KeyType::Ed25519Cosigner => 1 <= time && time < NUMBER_END,
        KeyType::MlDsa44 => time < NUMBER_END,
    }
}

/// Checks what follows the key's id on a signature line, and gives the time.
pub(crate) fn check(
    key: &VerifierKey,
    checkpoint: &Checkpoint,
    signature: &[u8],
) -> Result<Option<u64>, Refusal> {
    if key.key_type() == KeyType::Ed25519 {
        return check_text(key, &checkpoint.text(), signature).map(|()| None);
    }
    let name = || Box::new(key.name().clone());
    let parts = signature.split_first_chunk();
    let (time, bare) = match parts {
        Some(parts) if signature.len() == key.key_type().signature_len() => parts,
        _ => return Err(Refusal::SignatureLen { name: name(), len: signature.len() }),
    };
    let time = u64::from_be_bytes(*time);
    if !has_time(key.key_type(), time) {
        return Err(Refusal::CosignatureTime { name: name(), time });
    }
    if key.verifies(&message(key, checkpoint, time), bare) {
        Ok(Some(time))
    } else {
        Err(Refusal::Signature { name: name() })
    }
}

/// Signs a checkpoint, and writes the signature line, without its end. The time is not in a
/// signature of type 0x01.
pub(crate) fn sign_line<S: Signer + ?Sized>(
    checkpoint: &Checkpoint,
    signer: &S,
    time: u64,
) -> Result<String, SignError<S::Error>> {
    let key = signer.key();
    if !has_time(key.key_type(), time) || checkpoint.head().size.0 >= NUMBER_END {
        return Err(SignError::WrongText);
    }
    let bare = sign(signer, &message(key, checkpoint, time))?;
    let signature = match key.key_type() {
        KeyType::Ed25519 => bare,
        KeyType::Ed25519Cosigner | KeyType::MlDsa44 => [&time.to_be_bytes(), &bare[..]].concat(),
    };
    Ok(signature_line::write(key, &signature))
}
