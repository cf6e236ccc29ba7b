//! Files that only stores and archives read, and what an operator tells a node.

use std::{ffi::OsString, path::PathBuf};

use stemedb::{
    fuzzing,
    node::config::{Config, KEYS, Key, SourceFile, Sources},
};

/// A file with a checksum of all its other bytes, at this offset: as it lies, and put right.
fn file(bytes: &[u8], sum_at: usize, rewrite: fn(&[u8]) -> Option<Vec<u8>>) {
    let mut bytes = bytes.to_vec();
    for corrected in [false, true] {
        if corrected && bytes.len() >= sum_at + 4 {
            let mut sum = crc32fast::Hasher::new();
            sum.update(&bytes[..sum_at]);
            sum.update(&bytes[sum_at + 4..]);
            bytes[sum_at..sum_at + 4].copy_from_slice(&sum.finalize().to_le_bytes());
        }
        if let Some(written) = rewrite(&bytes) {
            assert_eq!(rewrite(&written).as_ref(), Some(&written));
            // What is archived may lie in another order, and be aligned otherwise.
            assert!(written.len() <= bytes.len() + 16);
        }
    }
}

/// How far the logs of peers were read.
pub(crate) fn peers(bytes: &[u8]) {
    file(bytes, 12, fuzzing::peers);
}

/// Where the check of a store is.
pub(crate) fn scrub(bytes: &[u8]) {
    file(bytes, 12, fuzzing::scrub);
}

/// The members that a node has met.
pub(crate) fn members(bytes: &[u8]) {
    file(bytes, 12, fuzzing::members);
}

/// The key of a node.
pub(crate) fn node_key(bytes: &[u8]) {
    file(bytes, 12, fuzzing::node_key);
}

/// What of a log is in an archive.
pub(crate) fn manifest(bytes: &[u8]) {
    if let Some(written) = fuzzing::manifest(bytes) {
        assert_eq!(fuzzing::manifest(&written), Some(written));
    }
}

/// What a configuration is made of, with a file of this text.
pub(crate) fn file_sources(
    text: String,
    variables: Vec<(OsString, OsString)>,
    flags: Vec<(&'static Key, String)>,
) -> Sources {
    let path = PathBuf::from("/d/f.toml");
    let file = Some(SourceFile { path, found: false, text });
    Sources { dir: PathBuf::from("/d"), file, variables, flags }
}

/// A configuration: flags as `--key=value`, variables as `STEMEDB_..=value`, one a line, then a
/// file.
pub(crate) fn config(bytes: &[u8]) {
    let Ok(mut text) = core::str::from_utf8(bytes) else { return };
    let (mut flags, mut variables) = (Vec::new(), Vec::new());
    while let Some((line, rest)) = text.split_once('\n') {
        let Some((name, value)) = line.split_once('=') else { break };
        if let Some(key) = name.strip_prefix("--").and_then(Key::find) {
            flags.push((key, value.to_owned()));
        } else if name.starts_with("STEMEDB_") {
            variables.push((OsString::from(name), OsString::from(value)));
        } else {
            break;
        }
        text = rest;
    }
    match Config::load(&file_sources(text.to_owned(), variables, flags)) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(config) => {
            // What it is set to, written as a file, sets the same.
            let values = |config: &Config| -> Vec<(&str, String)> {
                config.effective().map(|set| (set.key.name, set.value.to_string())).collect()
            };
            let set = values(&config);
            assert_eq!(set.len(), KEYS.len());
            // JSON leaves this one as it is, and TOML does not take it so.
            if set.iter().any(|(_, value)| value.contains('\u{7f}')) {
                return;
            }
            let lines: Vec<String> =
                set.iter().map(|(name, value)| format!("{name} = {value}\n")).collect();
            match Config::load(&file_sources(lines.concat(), Vec::new(), Vec::new())) {
                Ok(again) => assert_eq!(values(&again), set),
                Err(error) => panic!("{error}\n{}", lines.concat()),
            }
        }
    }
}
