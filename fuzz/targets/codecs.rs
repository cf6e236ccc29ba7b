//! The lists inside the messages of a session.
//!
//! Each codec has one encoding a value: what is read must be written the same.

use stemedb_merkle::Hash;
use stemedb_merkle::symbols;
use stemedb_sync::codec::{
    CodecError,
    bodies::{self, BodyReader},
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

/// What lies below a prefix: `depth, levels, few`, the bits, then the answer.
pub(crate) fn subtrees(bytes: &[u8]) {
    let mut script = Script(bytes);
    let depth = u16::from_le_bytes(script.array()) % (Prefix::DEPTH_MAX + 1);
    let (levels, few) = (script.below(10), usize::from(script.byte()));
    let id: Hash = script.array();
    let prefix = Prefix::of(&id, depth);
    let mut rest = script.0;
    while !rest.is_empty() {
        let before = rest;
        let Ok(below) = Below::read(&mut rest, &prefix, levels, few) else { return };
        let mut written = Vec::new();
        below.write(&prefix, &mut written);
        assert_eq!(written, before[..before.len() - rest.len()]);
        let ids = match &below {
            Below::Ids(ids) => ids.len(),
            Below::Places(places) => places.len(),
        };
        assert!(ids <= few.max(256));
        below.summary(&prefix);
    }
}

/// Lists of ids, of their fronts, and of the backs that belong to those: `limit, fronts`, then the
/// bytes.
pub(crate) fn ids(bytes: &[u8]) {
    let mut script = Script(bytes);
    let (max, fronts) = (usize::from(script.byte()), usize::from(script.byte()));
    let bytes = script.0;
    if let Ok(read) = ids::read_ids(bytes, max) {
        assert!(read.len() <= max);
        assert_eq!(ids::write_ids(read), bytes);
    }
    let (fronts, backs) = bytes.split_at((16 * fronts).min(bytes.len()));
    let Ok(fronts) = ids::read_fronts(fronts, max) else { return };
    assert!(fronts.windows(2).all(|pair| pair[0] < pair[1]));
    if let Ok(joined) = ids::join(fronts, backs) {
        assert_eq!(joined.len(), fronts.len());
        assert_eq!(ids::write_backs(&joined), backs);
    }
}

/// A string of bodies: `limit, parts`, then the bytes, whole and cut into parts.
pub(crate) fn bodies(bytes: &[u8]) {
    let mut script = Script(bytes);
    let len_max = usize::from(u16::from_le_bytes(script.array()));
    let part_len = usize::from(script.byte()) + 1;
    let bytes = script.0;
    let mut whole = BodyReader::default();
    let found = whole.push(bytes, len_max);
    let mut reader = BodyReader::default();
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
    for body in &pieces {
        bodies::write(body, &mut written);
    }
    assert!(bytes.starts_with(&written));
    assert_eq!(reader.is_inside(), written.len() < bytes.len());
    assert!(pieces.iter().all(|body| body.len() <= len_max));
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
