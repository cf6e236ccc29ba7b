//! The lists inside the messages of a session.
//!
//! Each codec has one encoding a value: what is read must be written the same.

use stemedb_merkle::Hash;
use stemedb_merkle::symbols;
use stemedb_sync::codec::{
    CodecError,
    bodies::{self, Item, ItemReader},
    ids,
    prefixes::{self, Prefix},
    subtrees::Below,
    varint,
};

use super::script::Script;

/// Numbers, one after the other.
pub(crate) fn varints(bytes: &[u8]) {
    let mut rest = bytes;
    let mut written = Vec::new();
    while let Ok(Some(value)) = varint::read(&mut rest) {
        let before = written.len();
        varint::write(value, &mut written);
        assert_eq!(written.len() - before, varint::len(value));
    }
    assert_eq!([&written[..], rest].concat(), bytes);
}

/// A list of prefixes.
pub(crate) fn prefixes(bytes: &[u8]) {
    let Ok(list) = prefixes::read(bytes, 1 << 16) else { return };
    assert_eq!(prefixes::write(&list), bytes);
    assert!(list.windows(2).all(|pair| pair[0] < pair[1] && !pair[0].holds(pair[1].bits())));
    if let Some(max) = list.len().checked_sub(1) {
        assert_eq!(prefixes::read(bytes, max), Err(CodecError::TooMany { max }));
    }
}

/// What lies below a prefix: `depth, levels, leaf_ids`, the bits, then the answer.
pub(crate) fn subtrees(bytes: &[u8]) {
    let mut script = Script(bytes);
    let depth = u16::from_le_bytes(script.array()) % (Prefix::DEPTH_MAX + 1);
    let (levels, leaf_ids) = (script.below(10), usize::from(script.byte()));
    let id: Hash = script.array();
    let prefix = Prefix::of(&id, depth);
    let mut rest = script.0;
    while !rest.is_empty() {
        let before = rest;
        let Ok(below) = Below::read(&mut rest, &prefix, levels, leaf_ids) else { return };
        let mut written = Vec::new();
        below.write(&prefix, &mut written);
        assert_eq!(written, before[..before.len() - rest.len()]);
        let ids = match &below {
            Below::Ids(ids) => ids.len(),
            Below::Places(places) => places.len(),
        };
        assert!(ids <= leaf_ids.max(256));
        below.summary(&prefix);
    }
}

/// Lists of ids, of their prefixes, and of the suffixes that belong to those: `limit, prefixes`,
/// then the bytes.
pub(crate) fn ids(bytes: &[u8]) {
    let mut script = Script(bytes);
    let (max, prefixes) = (usize::from(script.byte()), usize::from(script.byte()));
    let bytes = script.0;
    if let Ok(read) = ids::read_ids(bytes, max) {
        assert!(read.len() <= max);
        assert_eq!(ids::write_ids(read), bytes);
    }
    let (prefixes, suffixes) = bytes.split_at((ids::PREFIX_LEN * prefixes).min(bytes.len()));
    let Ok(prefixes) = ids::read_prefixes(prefixes, max) else { return };
    assert!(prefixes.windows(2).all(|pair| pair[0] < pair[1]));
    if let Ok(joined) = ids::join(prefixes, suffixes) {
        assert_eq!(joined.len(), prefixes.len());
        assert_eq!(ids::write_suffixes(&joined), suffixes);
    }
}

/// A string of items: `limit, parts`, then the bytes, whole and cut into parts.
pub(crate) fn bodies(bytes: &[u8]) {
    let mut script = Script(bytes);
    let len_max = usize::from(u16::from_le_bytes(script.array()));
    let part_len = usize::from(script.byte()) + 1;
    let bytes = script.0;
    let mut whole = ItemReader::default();
    let found = whole.push(bytes, len_max);
    let mut reader = ItemReader::default();
    let mut pieces = Vec::new();
    for part in bytes.chunks(part_len) {
        match reader.push(part, len_max) {
            Ok(bodies) => pieces.extend(bodies),
            Err(error) => {
                assert_eq!(found, Err(error));
                return;
            }
        }
    }
    assert_eq!(found.as_ref(), Ok(&pieces));
    assert_eq!(whole.is_inside(), reader.is_inside());
    let mut written = Vec::new();
    let mut absent = false;
    for item in &pieces {
        match item {
            Item::Body(body) => {
                assert!(body.len() <= len_max);
                bodies::write(body, &mut written);
            }
            Item::Absent { id, reason } => {
                absent = true;
                bodies::write_absent(id, *reason, &mut written);
            }
        }
    }
    // What a later version says of an absent body is skipped.
    assert!(absent || bytes.starts_with(&written));
    assert!(absent || reader.is_inside() == (written.len() < bytes.len()));
}

/// Coded symbols: `from, n, max`, then the bytes.
pub(crate) fn symbols(bytes: &[u8]) {
    let mut script = Script(bytes);
    let (from, n) = (script.number32(), script.number());
    let max = usize::from(u16::from_le_bytes(script.array()));
    if let Ok(read) = symbols::decode(script.0, from, n, max) {
        assert!(read.len() <= max);
        assert_eq!(symbols::encode(&read, from, n), script.0);
        symbols::estimate(&read);
    }
}
