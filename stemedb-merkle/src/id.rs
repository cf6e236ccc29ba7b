//! Assertion ids and their text form.

use alloc::string::String;
use core::{
    fmt::{self, Write},
    str::FromStr,
};

/// A hash of 32 bytes: an id, a root, or an inner node of the set tree.
pub type Hash = [u8; 32];

/// The content address of a body: `BLAKE3(body)`, or keyed BLAKE3 where the store has a secret.
///
/// Printed as 64 lowercase hex digits; parsed from exactly that.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct AssertionId(pub [u8; 32]);

/// The error of a text that is not an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseIdError;

impl fmt::Display for ParseIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not 64 lowercase hex digits")
    }
}

impl core::error::Error for ParseIdError {}

impl AssertionId {
    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for AssertionId {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl From<AssertionId> for [u8; 32] {
    fn from(id: AssertionId) -> Self {
        id.0
    }
}

impl fmt::Display for AssertionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]).try_for_each(|nibble| {
            f.write_char(char::from(if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }))
        })
    }
}

impl fmt::Debug for AssertionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for AssertionId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        from_hex(text).map(Self)
    }
}

/// Writes bytes as lowercase hex digits, two each.
pub fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|nibble| DIGITS.get(usize::from(nibble)))
        .collect()
}

/// Reads 64 lowercase hex digits as 32 bytes.
///
/// # Errors
///
/// If the text is anything else: another length, upper case, other characters.
pub fn from_hex(text: &str) -> Result<[u8; 32], ParseIdError> {
    let mut bytes = [0; 32];
    if text.len() != 64 {
        return Err(ParseIdError);
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let [high, low] = *pair else { return Err(ParseIdError) };
        *byte = digit(high)? << 4 | digit(low)?;
    }
    Ok(bytes)
}

fn digit(character: u8) -> Result<u8, ParseIdError> {
    match character {
        b'0'..=b'9' => Ok(character - b'0'),
        b'a'..=b'f' => Ok(character - b'a' + 10),
        _ => Err(ParseIdError),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_round_trips_and_nothing_else_parses() {
        let id = AssertionId(core::array::from_fn(|n| u8::try_from(n * 7 % 256).unwrap()));
        let text = id.to_string();
        assert_eq!(text.parse(), Ok(id));
        assert_eq!(text.to_uppercase().parse::<AssertionId>(), Err(ParseIdError));
        for bad in ["", &text[1..], &format!("{text}0"), &text.replace('0', "g"), &"é".repeat(32)]
        {
            assert_eq!(bad.parse::<AssertionId>(), Err(ParseIdError), "{bad}");
        }
    }
}
