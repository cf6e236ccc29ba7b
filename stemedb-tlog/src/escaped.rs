//! Text from files and peers, as it may be printed.

use core::fmt;

/// Bytes of a file or a peer, printed so that a terminal shows them and obeys nothing in them.
///
/// Control and format characters, quotes and backslashes are printed as escapes, and what is not
/// UTF-8 as hex digits.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            write!(f, "{}", chunk.valid().escape_debug())?;
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn nothing_reaches_a_terminal() {
        let text = "ü\u{1b}[31m\u{202e}\u{85}\n\u{feff}".as_bytes();
        assert_eq!(Escaped(text).to_string(), "ü\\u{1b}[31m\\u{202e}\\u{85}\\n\\u{feff}");
        assert_eq!(Escaped(b"a\xff\xc3(").to_string(), "a\\xff\\xc3(");
    }
}
