//! The first symbols of a set, kept up to date as ids come and go.

use super::{
    check::CheckKey,
    mapping::{INDEX_END, Walk},
    symbol::{Symbol, check_of, prefix_of},
};
use crate::internal::internal_error;

/// Start of a serialized sketch: the format, and the version of mapping and layout.
const MAGIC: [u8; 8] = *b"SYMBOLS\x02";

/// The first symbols of a set.
///
/// An insertion hashes 8 bytes and changes about `2 ln(len)` symbols, 19 of 16,384,
/// whatever the size of the set. A clone is a copy of 16 bytes a symbol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sketch {
    key: CheckKey,
    /// Number of ids, of which a symbol has the lower half only.
    count: u64,
    symbols: Vec<Symbol>,
}

/// Reason why elements are not a sketch of this store. A sketch can always be rebuilt from the ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SketchError {
    /// Bytes of another format or version.
    #[error("these are not coded symbols of a version that is known here; rebuild them")]
    Unknown,
    /// Made with another cluster secret.
    #[error("these coded symbols were made with another cluster secret; rebuild them")]
    Key,
    /// No symbols at all, more than there are indices, or not the number that the header says.
    #[error("not a sketch of {0} coded symbols; rebuild it")]
    Length(u64),
}

impl Sketch {
    /// The sketch of the empty set, of `len` symbols: at least 1, at most [`INDEX_END`].
    ///
    /// The key is the first 16 bytes of `derive("symbol check", secret)`.
    pub fn new(key: [u8; 16], len: usize) -> Self {
        let end = INDEX_END as usize;
        let symbols = vec![Symbol::default(); len.clamp(1, end)];
        Self { key: CheckKey::new(key), count: 0, symbols }
    }

    /// Adds an id, which must not be in the set yet.
    pub fn insert(&mut self, id: &[u8; 32]) {
        self.add(id, 1);
    }

    /// Takes an id out, which must be in the set.
    pub fn remove(&mut self, id: &[u8; 32]) {
        self.add(id, -1);
    }

    fn add(&mut self, id: &[u8; 32], times: i32) {
        self.count = self.count.wrapping_add_signed(times.into());
        let prefix = prefix_of(id);
        let hash = self.key.hash(prefix);
        let end = self.end();
        let mut walk = Walk::new(hash);
        let mut index = Some(walk.index());
        while let Some(symbol) = index.and_then(|index| self.symbols.get_mut(index as usize)) {
            symbol.add(prefix, check_of(hash), times);
            index = walk.advance(end);
        }
    }

    /// Number of ids of the set.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Number of symbols.
    #[expect(clippy::len_without_is_empty, reason = "a sketch has at least one symbol")]
    pub fn len(&self) -> usize {
        self.symbols.len()
    }

    /// The symbols at `from` and the `count - 1` indices behind it; fewer where the sketch ends.
    pub fn symbols(&self, from: u32, count: u32) -> Vec<Symbol> {
        self.symbols.iter().skip(from as usize).take(count as usize).copied().collect()
    }

    fn end(&self) -> u32 {
        let len = u32::try_from(self.symbols.len());
        len.unwrap_or_else(|_| internal_error("the index of a symbol"))
    }

    /// The sketch as elements of 32 bytes, for the restart checkpoint: a header and the symbols.
    ///
    /// ```text
    ///  byte 0          8                16               24             32
    ///       +----------+----------------+----------------+--------------+
    ///       | magic    | hash of 8      | count of ids,  | number of    |
    ///       | SYMBOLS2 | zero bytes     | u64 le         | symbols, u64 |
    ///       +----------+-------+--------+----------------+--------------+
    ///       | sum,     | check,| count, | the next symbol,              |  from index 0
    ///       | u64 le   | u32 le| i32 le | or zeros behind the last      |
    ///       +----------+-------+--------+-------------------------------+
    ///       | ...                                                       |
    /// ```
    ///
    /// The last byte of the magic is the number 2. There is no checksum: that is the checkpoint's.
    pub fn to_elements(&self) -> Vec<[u8; 32]> {
        let mut elements = Vec::with_capacity(1 + self.symbols.len().div_ceil(2));
        let (count, len) = (self.count.to_le_bytes(), self.symbols.len() as u64);
        elements.push(element(&[&self.start(), &count, &len.to_le_bytes()]));
        elements.extend(self.symbols.chunks(2).map(|pair| {
            let pair: Vec<[u8; 16]> = pair.iter().map(write_symbol).collect();
            element(&[pair.as_flattened()])
        }));
        elements
    }

    /// Reads the elements of [`to_elements`](Self::to_elements).
    ///
    /// # Errors
    ///
    /// If they are of another format, or were made with another key.
    pub fn from_elements(key: [u8; 16], elements: &[[u8; 32]]) -> Result<Self, SketchError> {
        let mut sketch = Self::new(key, 1);
        let Some((header, pairs)) = elements.split_first() else {
            return Err(SketchError::Unknown);
        };
        if !header.starts_with(&sketch.start()) {
            let known = header.starts_with(&MAGIC);
            return Err(if known { SketchError::Key } else { SketchError::Unknown });
        }
        let [.., count, len] = *header.as_chunks().0 else { internal_error("a header") };
        let (count, len) = (u64::from_le_bytes(count), u64::from_le_bytes(len));
        let (bytes, _) = pairs.as_flattened().as_chunks();
        let padded = len.div_ceil(2) == pairs.len() as u64;
        let whole = usize::try_from(len).ok().filter(|_| padded);
        let Some((symbols, padding)) = whole.and_then(|len| bytes.split_at_checked(len)) else {
            return Err(SketchError::Length(len));
        };
        if !(1..=INDEX_END.into()).contains(&len) || padding.iter().any(|zeros| *zeros != [0; 16]) {
            return Err(SketchError::Length(len));
        }
        sketch.count = count;
        sketch.symbols = symbols.iter().map(read_symbol).collect();
        Ok(sketch)
    }

    /// First 16 bytes of the elements.
    fn start(&self) -> [u8; 16] {
        let [start, _] = *element(&[&MAGIC, &self.key.hash(0).to_le_bytes()]).as_chunks().0 else {
            internal_error("half of an element")
        };
        start
    }
}

/// 32 bytes of these parts, then zeros.
fn element(parts: &[&[u8]]) -> [u8; 32] {
    let mut element = [0; 32];
    for (byte, from) in element.iter_mut().zip(parts.iter().copied().flatten()) {
        *byte = *from;
    }
    element
}

/// A symbol as a number of 128 bits: sum, check and count from the lowest bit up.
fn write_symbol(symbol: &Symbol) -> [u8; 16] {
    let (sum, check) = (u128::from(symbol.sum), u128::from(symbol.check));
    let count = u128::from(symbol.count.cast_unsigned());
    (sum | check << 64 | count << 96).to_le_bytes()
}

#[expect(clippy::cast_possible_truncation, reason = "the parts of a number are what is wanted")]
fn read_symbol(bytes: &[u8; 16]) -> Symbol {
    let bits = u128::from_le_bytes(*bytes);
    let count = ((bits >> 96) as u32).cast_signed();
    Symbol { sum: bits as u64, check: (bits >> 64) as u32, count }
}
