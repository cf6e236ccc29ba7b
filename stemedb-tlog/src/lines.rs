//! Lines of a text, each ended by one byte 0x0A.

use alloc::{string::String, vec::Vec};
use core::fmt::Write;

use stemedb_merkle::Hash;

use crate::{
    base64,
    format::Format,
    limits::NUMBER_END,
    malformed::{Malformed, Place},
};

/// A line without its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) place: Place,
}

/// The lines that are not read yet.
#[derive(Clone, Debug)]
pub(crate) struct Lines<'a> {
    rest: &'a [u8],
    place: Place,
    format: Format,
}

impl<'a> Lines<'a> {
    pub(crate) const fn new(bytes: &'a [u8], place: Place, format: Format) -> Self {
        Self { rest: bytes, place, format }
    }

    /// The lines of a file of at most `len_max` bytes.
    pub(crate) fn of_file(
        bytes: &'a [u8],
        len_max: usize,
        format: Format,
    ) -> Result<Self, Malformed> {
        let lines = Self::new(bytes, Place::START, format);
        if bytes.len() > len_max {
            return Err(lines.malformed("the file is longer than the format allows"));
        }
        Ok(lines)
    }

    /// The error of a rule that is broken where the next line begins.
    pub(crate) const fn malformed(&self, rule: &'static str) -> Malformed {
        Malformed { format: self.format, place: self.place, rule }
    }

    /// The place where the next line begins.
    pub(crate) const fn place(&self) -> Place {
        self.place
    }

    /// All that is not read yet.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Whether the next line begins so.
    pub(crate) fn begin_with(&self, word: &str) -> bool {
        self.rest.starts_with(word.as_bytes())
    }

    /// The next line; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Line<'a>>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let end = self.rest.iter().position(|byte| *byte == b'\n');
        let Some((bytes, rest)) = end.and_then(|end| self.rest.split_at_checked(end)) else {
            return Err(self.malformed(
                "the last line does not end in a newline; the file may have been cut short",
            ));
        };
        let place = self.place;
        self.rest = rest.strip_prefix(b"\n").unwrap_or_default();
        self.place = Place { line: place.line + 1, offset: place.offset + bytes.len() + 1 };
        Ok(Some(Line { bytes, place }))
    }

    /// The next line, read by a function; `rule` says what it must be.
    pub(crate) fn read<T>(
        &mut self,
        rule: &'static str,
        read: impl FnOnce(&'a [u8]) -> Option<T>,
    ) -> Result<T, Malformed> {
        let malformed = self.malformed(rule);
        let line = self.next()?.ok_or(malformed)?;
        read(line.bytes).ok_or(malformed)
    }

    /// A line that is this text.
    pub(crate) fn literal(&mut self, text: &str, rule: &'static str) -> Result<(), Malformed> {
        self.read(rule, |line| (line == text.as_bytes()).then_some(()))
    }

    /// A line of a word and a space, whose value a function reads.
    pub(crate) fn field<T>(
        &mut self,
        word: &str,
        rule: &'static str,
        read: impl FnOnce(&'a [u8]) -> Option<T>,
    ) -> Result<T, Malformed> {
        self.read(rule, |line| read(line.strip_prefix(word.as_bytes())?.strip_prefix(b" ")?))
    }

    /// A line of a word and a number, then as many bytes, and the place where these begin.
    pub(crate) fn part(
        &mut self,
        word: &str,
        rule: &'static str,
    ) -> Result<(&'a [u8], Place), Malformed> {
        let len = self.field(word, rule, number)?;
        let malformed = self.malformed("the part is cut short");
        let len = usize::try_from(len).map_err(|_| malformed)?;
        let (part, rest) = self.rest.split_at_checked(len).ok_or(malformed)?;
        let place = self.place;
        let lines = part.split(|byte| *byte == b'\n').skip(1).count();
        self.rest = rest;
        self.place = Place { line: place.line + lines, offset: place.offset + len };
        Ok((part, place))
    }

    /// Hashes in base64, one a line and at most `max` of them, up to an empty line.
    pub(crate) fn hashes_to_empty_line(&mut self, max: usize) -> Result<Vec<Hash>, Malformed> {
        let mut hashes = Vec::new();
        loop {
            let rule = "expected 32 bytes in canonical base64, or an empty line";
            let malformed = self.malformed(rule);
            let line = self.next()?.ok_or(malformed)?;
            if line.bytes.is_empty() {
                return Ok(hashes);
            }
            if hashes.len() >= max {
                return Err(Malformed { rule: "too many hashes", ..malformed });
            }
            hashes.push(base64::decode_hash(line.bytes).ok_or(malformed)?);
        }
    }

    /// Nothing is left.
    pub(crate) fn end(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.malformed("expected no more lines")) }
    }
}

/// Appends a line of a word and a number of bytes, and these: what [`Lines::part`] reads.
pub(crate) fn push_part(file: &mut String, word: &str, part: &str) {
    // Writing to a string does not fail.
    let _ = write!(file, "{word} {}\n{part}", part.len());
}

/// A decimal number below 2^63: `0`, or digits without a leading zero.
pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    let canonical = digits == b"0" || digits.first().is_some_and(|digit| *digit != b'0');
    // 2^63 has 19 digits, which fit a u64.
    if !canonical || digits.len() > 19 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits
        .iter()
        .fold(0_u64, |number, digit| number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')));
    (number < NUMBER_END).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_text() {
        assert_eq!(number(b"0"), Some(0));
        assert_eq!(number(b"9223372036854775807"), Some(NUMBER_END - 1));
        let others: [&[u8]; 11] = [
            b"",
            b"00",
            b"01",
            b"+1",
            b"-1",
            b"1 ",
            b" 1",
            b"0x1",
            b"9223372036854775808",
            b"9999999999999999999",
            b"18446744073709551616",
        ];
        for other in others {
            assert_eq!(number(other), None, "{other:?}");
        }
        assert_eq!(number("١".as_bytes()), None);
    }
}
