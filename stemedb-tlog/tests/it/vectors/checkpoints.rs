//! Checkpoints of the log of the vectors, and the log itself.

use std::sync::OnceLock;

use stemedb_merkle::{
    Hash, LogSize, Root, Timestamp,
    history::{MemoryHistory, leaf_hash},
};
use stemedb_tlog::{
    checkpoint::{Checkpoint, Extensions},
    name::KeyName,
    signed_checkpoint::UnverifiedCheckpoint,
};

use super::{cases, hash, private_key, text, vectors, verifier_key};

pub(crate) const ORIGIN: &str = "log.example.com/vectors";

/// Time and id of an entry of the log: the body is the decimal of the index.
pub(crate) fn entry(index: u64) -> (Timestamp, Hash) {
    let time = Timestamp::from_ntp64((1_700_000_000 + index) << 32);
    (time, *blake3::hash(index.to_string().as_bytes()).as_bytes())
}

/// The log's tree of 70,000 entries.
pub(crate) fn tree() -> &'static MemoryHistory {
    static TREE: OnceLock<MemoryHistory> = OnceLock::new();
    TREE.get_or_init(|| {
        let leaves = (0..70_000).map(entry).map(|(time, id)| leaf_hash(time, &id));
        leaves.collect()
    })
}

#[test]
fn checkpoints() {
    assert_eq!(text(&vectors()["log"]["origin"]), ORIGIN);
    for case in cases("checkpoints", "size root_hex text") {
        let size = LogSize(case["size"].as_u64().unwrap());
        let head = tree().head_at(size).unwrap();
        assert_eq!(head.root, Root(hash(&case["root_hex"])));
        let checkpoint = Checkpoint::new(KeyName::new(ORIGIN).unwrap(), head);
        let signed = checkpoint.sign(&[&private_key("log")], 0).unwrap();
        assert_eq!(signed, text(&case["text"]));
        let read = UnverifiedCheckpoint::parse(signed.as_bytes(), Extensions::Refuse).unwrap();
        let read = read.verify(&[verifier_key("log")], &[]).unwrap();
        assert_eq!(*read.head(), head);
        assert_eq!(read.to_log_note(), signed);
    }
}
