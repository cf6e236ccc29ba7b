//! Protobuf messages taken apart: a line for each field, with its bytes and its name.
//!
//! Names and types are those of the protocol file, which is read for that.

use std::collections::{BTreeMap, HashMap};

/// Bytes on one line.
const LINE_LEN: usize = 32;
/// Where the comments begin.
const COMMENT_AT: usize = 72;

/// Some bytes, how deep they lie, and what they are.
pub(crate) type Piece = (usize, Vec<u8>, String);

/// The messages of a protocol file: name and type of each field by its number.
pub(crate) struct Protocol(HashMap<String, BTreeMap<u64, (String, String)>>);

/// Takes the bytes of a list apart, given the message and the field that it is in.
pub(crate) type Split<'a> = &'a dyn Fn(&str, &str, &[u8]) -> Option<Vec<(Vec<u8>, String)>>;

impl Protocol {
    /// Reads the messages of a protocol file that is formatted as ours are.
    pub(crate) fn parse(text: &str) -> Self {
        let mut messages = HashMap::new();
        let mut name = None;
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["message", message, "{"] => {
                    name = Some((*message).to_owned());
                    messages.insert((*message).to_owned(), BTreeMap::new());
                }
                [.., kind, field, "=", number] if !line.trim_start().starts_with("//") => {
                    let number = number.trim_end_matches(';').parse();
                    if let (Some(name), Ok(number)) = (&name, number) {
                        let field = ((*field).to_owned(), (*kind).to_owned());
                        messages.get_mut(name).unwrap().insert(number, field);
                    }
                }
                _ if line == "}" => name = None,
                _ => {}
            }
        }
        Self(messages)
    }

    /// A message as a figure. Its first column holds all bytes of the message.
    pub(crate) fn figure(&self, message: &str, bytes: &[u8], split: Split<'_>) -> String {
        let mut pieces = Vec::new();
        self.pieces(message, bytes, 0, split, &mut pieces);
        assert_eq!(
            pieces.iter().flat_map(|(_, bytes, _)| bytes.clone()).collect::<Vec<_>>(),
            bytes
        );
        lines(&pieces)
    }

    fn pieces(
        &self,
        message: &str,
        mut rest: &[u8],
        depth: usize,
        split: Split<'_>,
        pieces: &mut Vec<Piece>,
    ) {
        while !rest.is_empty() {
            let field = rest;
            let tag = varint(&mut rest);
            let (name, kind) = &self.0[message][&(tag >> 3)];
            match tag & 7 {
                0 => {
                    let value = varint(&mut rest);
                    let bytes = field[..field.len() - rest.len()].to_vec();
                    pieces.push((depth, bytes, format!("{name}: {value}")));
                }
                1 => {
                    rest = &rest[8..];
                    pieces.push((depth, field[..9].to_vec(), name.clone()));
                }
                2 => {
                    let len = usize::try_from(varint(&mut rest)).unwrap();
                    let head = field[..field.len() - rest.len()].to_vec();
                    let (inner, behind) = rest.split_at(len);
                    rest = behind;
                    pieces.push((depth, head, format!("{name}, {len} bytes")));
                    if self.0.contains_key(kind) {
                        self.pieces(kind, inner, depth + 1, split, pieces);
                    } else if let Some(parts) = split(message, name, inner) {
                        let parts = parts.into_iter();
                        pieces.extend(parts.map(|(bytes, what)| (depth + 1, bytes, what)));
                    } else {
                        pieces.push((depth + 1, inner.to_vec(), String::new()));
                    }
                }
                other => panic!("{message}.{name} has the wire type {other}"),
            }
        }
    }
}

fn varint(bytes: &mut &[u8]) -> u64 {
    stemedb_sync::codec::varint::read(bytes).unwrap().unwrap()
}

/// Pieces as lines: bytes in hex, and what they are behind the first of them.
pub(crate) fn lines(pieces: &[Piece]) -> String {
    let mut text = String::new();
    for (depth, bytes, what) in pieces {
        for (place, line) in bytes.chunks(LINE_LEN).enumerate() {
            let mut line = format!("{}{}", "  ".repeat(*depth), hex(line));
            if place == 0 && !what.is_empty() {
                line = format!("{line:COMMENT_AT$}{what}");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
    text
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    pairs.concat()
}
