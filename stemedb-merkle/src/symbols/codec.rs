//! Symbols on the wire, at about 25.3 bytes each.
//!
//! ```text
//!  byte 0                 16          24            25 to 34
//!       +------------------+-----------+-------------+----
//!       | sum              | check     | deviation   | next symbol
//!       | u128 le          | u64 le    | varint      |
//!       +------------------+-----------+-------------+----
//! ```
//!
//! The *deviation* is the count less the count to expect at that index, modulo 2^64, as a signed
//! integer, zigzag-encoded (0, -1, 1, -2 become 0, 1, 2, 3) and written as a little-endian base-128
//! varint in as few bytes as possible. At index `i` over `n` ids,
//! `floor((4n + i + 2) / (2i + 4))` is to be expected, in integers, `n` up to 2^61: that is
//! `n / (1 + i / 2)`, rounded. Both sides know `n` and the first index: neither is written.

use super::symbol::Symbol;

/// Least number of bytes of a symbol.
pub const ENCODED_LEN_MIN: usize = 25;

/// Largest number of bytes of a symbol.
pub const ENCODED_LEN_MAX: usize = 34;

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
    /// A varint above 2^64, or with more bytes than it needs.
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
            sum: u128::from_le_bytes(*sum),
            check: u64::from_le_bytes(*check),
            count: unzigzag(deviation).wrapping_add(expected(index, n)),
        });
        rest = after;
        index += 1;
    }
    Ok(symbols)
}

/// The count expected at an index over `n` ids.
fn expected(index: u64, n: u64) -> i64 {
    let count = n.saturating_mul(4).saturating_add(index + 2) / (2 * index + 4);
    // At most 2^62, as it is a quarter of a `u64` or less.
    count.cast_signed()
}

fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

#[expect(clippy::cast_possible_truncation, reason = "the lowest seven bits are what is wanted")]
fn write_varint(mut value: u64, bytes: &mut Vec<u8>) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn read_varint(bytes: &[u8]) -> Result<(u64, &[u8]), DecodeError> {
    let mut value = 0;
    for (position, byte) in bytes.iter().enumerate().take(10) {
        let bits = u64::from(byte & 0x7f);
        // The tenth byte has room for one bit; a last byte of zero says nothing.
        if position == 9 && *byte > 1 || position > 0 && *byte == 0 {
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
