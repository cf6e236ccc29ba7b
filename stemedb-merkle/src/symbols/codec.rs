//! Symbols on the wire, at about 13.3 bytes each.
//!
//! ```text
//!  byte 0           8           12            13 to 17
//!       +-----------+-----------+-------------+----
//!       | sum       | check     | deviation   | next symbol
//!       | u64 le    | u32 le    | varint      |
//!       +-----------+-----------+-------------+----
//! ```
//!
//! The *deviation* is the count less the count to expect at that index, modulo 2^32, as a signed
//! integer, zigzag-encoded (0, -1, 1, -2 become 0, 1, 2, 3) and written as a little-endian base-128
//! varint in as few bytes as possible. At index `i` over `n` ids,
//! `floor((4n + i + 2) / (2i + 4))` is to be expected, in integers, `n` up to 2^61: that is
//! `n / (1 + i / 2)`, rounded. Both sides know `n` and the first index: neither is written.

use super::symbol::Symbol;

/// Least number of bytes of a symbol.
pub const ENCODED_LEN_MIN: usize = 13;

/// Largest number of bytes of a symbol.
pub const ENCODED_LEN_MAX: usize = 17;

/// Reason why bytes are not coded symbols.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// More symbols than requested.
    #[error("more than the {0} coded symbols that were asked for")]
    TooMany(usize),
    /// They end within a symbol.
    #[error("the coded symbols end within one of them")]
    Truncated,
    /// A varint of 2^32 or more, or with more bytes than it needs.
    #[error("the count of a coded symbol is not written as it must be")]
    Varint,
}

/// Writes the symbols of a set of `n` ids, of which the first is at index `from`.
pub fn encode(symbols: &[Symbol], from: u32, n: u64) -> Vec<u8> {
    // A count takes two bytes where it takes long, and the first few take more.
    let mut bytes = Vec::with_capacity(symbols.len() * (ENCODED_LEN_MIN + 1) + 64);
    for (index, symbol) in (u64::from(from)..).zip(symbols) {
        bytes.extend(symbol.sum.to_le_bytes());
        bytes.extend(symbol.check.to_le_bytes());
        let deviation = symbol.count.wrapping_sub(expected(index, n));
        write_varint(zigzag(deviation), &mut bytes);
    }
    bytes
}

/// Reads the bytes that [`encode`] wrote with the same `from` and `n`: at most `max` symbols, of
/// any counts.
///
/// # Errors
///
/// If there are more, or the bytes are not those that [`encode`] writes for some symbols.
pub fn decode(bytes: &[u8], from: u32, n: u64, max: usize) -> Result<Vec<Symbol>, DecodeError> {
    let mut symbols = Vec::with_capacity(max.min(bytes.len() / ENCODED_LEN_MIN));
    let mut rest = bytes;
    let mut index = u64::from(from);
    while !rest.is_empty() {
        if symbols.len() == max {
            return Err(DecodeError::TooMany(max));
        }
        let (sum, after) = rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
        let (check, after) = after.split_first_chunk().ok_or(DecodeError::Truncated)?;
        let (deviation, after) = read_varint(after)?;
        symbols.push(Symbol {
            sum: u64::from_le_bytes(*sum),
            check: u32::from_le_bytes(*check),
            count: unzigzag(deviation).wrapping_add(expected(index, n)),
        });
        rest = after;
        index += 1;
    }
    Ok(symbols)
}

/// The count expected at an index over `n` ids, modulo 2^32.
#[expect(clippy::cast_possible_truncation, reason = "counts are modulo 2^32")]
fn expected(index: u64, n: u64) -> i32 {
    let count = n.saturating_mul(4).saturating_add(index + 2) / (2 * index + 4);
    (count as u32).cast_signed()
}

fn zigzag(value: i32) -> u32 {
    (value << 1 ^ value >> 31).cast_unsigned()
}

fn unzigzag(value: u32) -> i32 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

#[expect(clippy::cast_possible_truncation, reason = "the lowest seven bits are what is wanted")]
fn write_varint(mut value: u32, bytes: &mut Vec<u8>) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn read_varint(bytes: &[u8]) -> Result<(u32, &[u8]), DecodeError> {
    let mut value = 0;
    for (position, byte) in bytes.iter().enumerate().take(5) {
        let bits = u32::from(byte & 0x7f);
        // The fifth byte has room for four bits; a last byte of zero says nothing.
        if position == 4 && *byte > 0xf || position > 0 && *byte == 0 {
            return Err(DecodeError::Varint);
        }
        value |= bits << (7 * position);
        if byte & 0x80 == 0 {
            let (_, rest) = bytes.split_at(position + 1);
            return Ok((value, rest));
        }
    }
    Err(DecodeError::Truncated)
}
