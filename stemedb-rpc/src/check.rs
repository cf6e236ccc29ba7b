//! Checks of bodies on their way to the store: over a connection without TLS nothing else notices
//! that one was changed.

use crate::{Reason, proto::v1::AppendBatchRequest};

/// Bytes of a check.
const LEN: usize = 16;

/// The check of one body.
pub(crate) fn of_body(body: &[u8]) -> Vec<u8> {
    truncated(&blake3::hash(body))
}

/// The check of the bodies in a message.
pub(crate) fn of_message(message: &AppendBatchRequest) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    for body in &message.bodies {
        hasher.update(&(body.len() as u64).to_le_bytes()).update(body);
    }
    hasher.update(&[u8::from(message.continues)]);
    truncated(&hasher.finalize())
}

/// Compares a check with what it must be; one that is absent is not asked for.
///
/// # Errors
///
/// If the message was changed on its way.
pub(crate) fn compare(check: &[u8], right: impl FnOnce() -> Vec<u8>) -> Result<(), Reason> {
    if check.is_empty() || check == right() { Ok(()) } else { Err(Reason::Garbled) }
}

fn truncated(hash: &blake3::Hash) -> Vec<u8> {
    hash.as_bytes().iter().copied().take(LEN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_counts() {
        let message = |bodies: &[&[u8]], continues| {
            let bodies = bodies.iter().map(|body| body.to_vec()).collect();
            of_message(&AppendBatchRequest { bodies, continues, check: Vec::new() })
        };
        let right = message(&[b"ab", b"c"], false);
        assert_eq!(right.len(), LEN);
        for other in [
            message(&[b"ab", b"c"], true),
            message(&[b"a", b"bc"], false),
            message(&[b"ab", b"d"], false),
            message(&[b"abc"], false),
            message(&[], false),
        ] {
            assert_ne!(other, right);
        }
        assert_eq!(compare(&[], || right.clone()), Ok(()));
        assert_eq!(compare(&right, || right.clone()), Ok(()));
        assert_eq!(compare(&right[..15], || right.clone()), Err(Reason::Garbled));
        assert_eq!(compare(&of_body(b"a"), || of_body(b"b")), Err(Reason::Garbled));
    }
}
