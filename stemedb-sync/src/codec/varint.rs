//! Numbers: seven bits a byte, lowest first, the top bit set on all bytes but the last (LEB128).

use super::CodecError;

/// The most bytes that a number takes.
pub const LEN_MAX: usize = 10;

/// Appends a number.
pub fn write(mut value: u64, bytes: &mut Vec<u8>) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            bytes.push(low & 0x7f);
            return;
        }
        bytes.push(low | 0x80);
    }
}

/// How many bytes a number takes.
pub fn len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Takes a number off the front; `None` if the bytes end before it does.
///
/// # Errors
///
/// If it does not fit 64 bits, or ends with a byte of zero.
pub fn read(bytes: &mut &[u8]) -> Result<Option<u64>, CodecError> {
    let mut value = 0_u64;
    let mut rest = *bytes;
    for place in 0..LEN_MAX {
        let Some((byte, behind)) = rest.split_first() else { return Ok(None) };
        rest = behind;
        let low = u64::from(byte & 0x7f);
        let shift = 7 * place;
        if low << shift >> shift != low || (*byte == 0 && place > 0) {
            return Err(CodecError::Varint);
        }
        value |= low << shift;
        if byte & 0x80 == 0 {
            *bytes = rest;
            return Ok(Some(value));
        }
    }
    Err(CodecError::Varint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip_in_their_shortest_form_only() {
        for shift in 0..64 {
            for value in [(1_u64 << shift) - 1, 1 << shift, (1 << shift) + 1, u64::MAX >> shift] {
                let mut bytes = Vec::new();
                write(value, &mut bytes);
                assert_eq!(bytes.len(), len(value), "{value}");
                let mut rest = bytes.as_slice();
                assert_eq!(read(&mut rest), Ok(Some(value)));
                assert!(rest.is_empty());
                for end in 0..bytes.len() {
                    assert_eq!(read(&mut &bytes[..end]), Ok(None));
                }
                *bytes.last_mut().unwrap() |= 0x80;
                bytes.push(0);
                assert_eq!(read(&mut bytes.as_slice()), Err(CodecError::Varint), "{value}");
            }
        }
        assert_eq!(read(&mut [0xff; 11].as_slice()), Err(CodecError::Varint));
    }
}
