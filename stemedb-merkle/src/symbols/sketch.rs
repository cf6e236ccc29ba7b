//! The first symbols of a set, kept up to date as ids come and go.

use super::{
    check::CheckKey,
    mapping::{INDEX_END, Walk},
    symbol::{Symbol, prefix_of},
};
use crate::internal::internal_error;

/// Start of a serialized sketch: the format, and the version of mapping and layout.
const MAGIC: [u8; 8] = *b"SYMBOLS\x01";

/// The first symbols of a set.
///
/// An insertion hashes 16 bytes and changes about `2 ln(len)` symbols, 19 of 16,384,
/// whatever the size of the set. A clone is a copy of 32 bytes a symbol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sketch {
    key: CheckKey,
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
    /// No symbols at all, or more than there are indices.
    #[error("a sketch of {0} coded symbols is none; rebuild it")]
    Length(usize),
}

impl Sketch {
    /// The sketch of the empty set, of `len` symbols: at least 1, at most [`INDEX_END`].
    ///
    /// The key is the first 16 bytes of `derive("symbol check", secret)`.
    pub fn new(key: [u8; 16], len: usize) -> Self {
        let end = INDEX_END as usize;
        Self { key: CheckKey::new(key), symbols: vec![Symbol::default(); len.clamp(1, end)] }
    }

    /// Adds an id, which must not be in the set yet.
    pub fn insert(&mut self, id: &[u8; 32]) {
        self.add(id, 1);
    }

    /// Takes an id out, which must be in the set.
    pub fn remove(&mut self, id: &[u8; 32]) {
        self.add(id, -1);
    }

    fn add(&mut self, id: &[u8; 32], times: i64) {
        let prefix = prefix_of(id);
        let check = self.key.check(prefix);
        let end = self.end();
        let mut walk = Walk::new(check);
        let mut index = Some(walk.index());
        while let Some(symbol) = index.and_then(|index| self.symbols.get_mut(index as usize)) {
            symbol.add(prefix, check, times);
            index = walk.advance(end);
        }
    }

    /// Number of ids of the set.
    pub fn count(&self) -> u64 {
        let Some(first) = self.symbols.first() else { internal_error("the first symbol") };
        // Every id is in the first symbol. Elements from a damaged checkpoint may hold any count.
        u64::try_from(first.count).unwrap_or(0)
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
    ///  byte 0          8                16                               32
    ///       +----------+----------------+--------------------------------+
    ///       | magic    | check of 16    | zeros                          |
    ///       | SYMBOLS1 | zero bytes     |                                |
    ///       +----------+----------------+----------------+---------------+
    ///       | sum, u128 le              | check, u64 le  | count, i64 le |  a symbol, from index 0
    ///       +---------------------------+----------------+---------------+
    ///       | ...                                                        |
    /// ```
    ///
    /// The last byte of the magic is the number 1. There is no checksum: that is the checkpoint's.
    pub fn to_elements(&self) -> Vec<[u8; 32]> {
        let mut elements = Vec::with_capacity(1 + self.symbols.len());
        elements.push(element(&[&MAGIC, &self.key.check(0).to_le_bytes()]));
        elements.extend(self.symbols.iter().map(|symbol| {
            let (check, count) = (symbol.check.to_le_bytes(), symbol.count.to_le_bytes());
            element(&[&symbol.sum.to_le_bytes(), &check, &count])
        }));
        elements
    }

    /// Reads the elements of [`to_elements`](Self::to_elements).
    ///
    /// # Errors
    ///
    /// If they are of another format, or were made with another key.
    pub fn from_elements(key: [u8; 16], elements: &[[u8; 32]]) -> Result<Self, SketchError> {
        let key = CheckKey::new(key);
        let Some((header, symbols)) = elements.split_first() else {
            return Err(SketchError::Unknown);
        };
        let expected = element(&[&MAGIC, &key.check(0).to_le_bytes()]);
        if *header != expected {
            let known = header.starts_with(&MAGIC) && header.ends_with(&[0; 16]);
            return Err(if known { SketchError::Key } else { SketchError::Unknown });
        }
        let symbols: Option<Vec<Symbol>> = symbols.iter().map(read_symbol).collect();
        match symbols {
            Some(symbols) if (1..=INDEX_END as usize).contains(&symbols.len()) => {
                Ok(Self { key, symbols })
            }
            _ => Err(SketchError::Length(elements.len() - 1)),
        }
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

fn read_symbol(bytes: &[u8; 32]) -> Option<Symbol> {
    let (sum, rest) = bytes.split_first_chunk()?;
    let (check, rest) = rest.split_first_chunk()?;
    Some(Symbol {
        sum: u128::from_le_bytes(*sum),
        check: u64::from_le_bytes(*check),
        count: i64::from_le_bytes(*rest.first_chunk()?),
    })
}
