//! Stores that earlier builds made, which every later build opens.
//!
//! `tests/data/v1` to `v4` were written once and are never written again: segments, a base and a
//! delta of the restart checkpoint, tiles, and a hole that repair made. The checkpoints of `v1` to
//! `v3` are of versions that are not read any more, and are set aside. If this test fails, stores
//! that people have no longer open: raise the format's version and read both. A new format gets a
//! frozen store of its own, beside these:
//! `STEMEDB_FREEZE=DIR cargo test --test it -- --ignored frozen::` writes one and prints what it
//! holds.

use crate::reference::random;
use crate::reference::world;
use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use random::noise;
use stemedb_store::{
    AssertionId, Depth, LogIndex, LogSize, Options, Presence, Store, TreeHead, leaf_hash, repair,
};
use stemedb_wal::disk::FileDisk;
use world::ENVIRONMENT;

/// A frozen store.
struct Frozen {
    dir: &'static str,
    /// Whether its checkpoint is still used.
    checkpoint_used: bool,
    history_root: &'static str,
    /// The root over the first 256 entries: one node of the tile.
    history_root_256: &'static str,
}

const STORES: [Frozen; 4] = [
    Frozen {
        dir: concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/v1"),
        checkpoint_used: false,
        history_root: "6ccda1e56b24d17414c9b777f804388dacbf8d25110051740455c014ccb06626",
        history_root_256: "f81a2da25208e189d1274f9f9a4b59ffd5c0b10ffa53e02c298e0d088565d216",
    },
    Frozen {
        dir: concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/v2"),
        checkpoint_used: false,
        history_root: "625b64e32213e244d54f48351876047dfc9a565830d48f7e7618fa4a1870e7d3",
        history_root_256: "fe12d8ebfabf93e05f9dc9b1f753f54d65ed604f1c51732638214a10841f789c",
    },
    Frozen {
        dir: concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/v3"),
        checkpoint_used: false,
        history_root: "625b64e32213e244d54f48351876047dfc9a565830d48f7e7618fa4a1870e7d3",
        history_root_256: "fe12d8ebfabf93e05f9dc9b1f753f54d65ed604f1c51732638214a10841f789c",
    },
    Frozen {
        dir: concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/v4"),
        checkpoint_used: true,
        history_root: "625b64e32213e244d54f48351876047dfc9a565830d48f7e7618fa4a1870e7d3",
        history_root_256: "fe12d8ebfabf93e05f9dc9b1f753f54d65ed604f1c51732638214a10841f789c",
    },
];

/// What each frozen store holds.
const ENTRIES: u64 = 306;
/// The entry whose body was lost.
const HOLE: u64 = 280;
const SET_ROOT: &str = "88415ef74e25354a77c025b294054cf95e5e97dfed84ddc6230b4e286db525df";

fn options() -> Options {
    Options::default().segment_len(4096).threads(false)
}

fn body(index: u64) -> Vec<u8> {
    let len = match index {
        0..270 => 12,
        270 => 3000,
        271 => 0,
        _ => 40 + index % 50,
    };
    noise(index, usize::try_from(len).unwrap())
}

fn hash(text: &str) -> [u8; 32] {
    text.parse::<AssertionId>().unwrap().0
}

fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    fs::read_dir(dir)
        .unwrap()
        .map(|file| file.unwrap())
        .map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap()))
        .collect()
}

/// A copy to open: opening writes.
fn thawed(frozen: &Frozen) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in files(Path::new(frozen.dir)) {
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    dir
}

#[test]
fn the_frozen_stores_open_and_hold_what_they_held() {
    STORES.iter().for_each(opens_and_holds);
}

fn opens_and_holds(frozen: &Frozen) {
    let before = files(Path::new(frozen.dir));
    let bytes: usize = before.values().map(Vec::len).sum();
    assert!(bytes < 200_000, "{bytes}");
    for kind in ["IDENTITY", "LOCK", "base-", "delta-", "history.tiles", "segment-"] {
        assert!(before.keys().any(|name| name.starts_with(kind)), "{kind}");
    }
    let dir = thawed(frozen);
    let store = Store::open(dir.path(), options()).unwrap();
    let report = store.open_report();
    // It is a copy, and the clock is ahead of a store this old; nothing else.
    assert_eq!(report.checkpoint_set_aside, !frozen.checkpoint_used, "{report}");
    assert_eq!(report.replayed < 30, frozen.checkpoint_used, "{} replayed", report.replayed);

    let head = store.head().unwrap();
    assert_eq!((head.count, head.log_size), (ENTRIES - 1, LogSize(ENTRIES)));
    assert_eq!(head.set_root.0, hash(SET_ROOT));
    assert_eq!(head.log_root.0, hash(frozen.history_root));
    let at_256 = store.history_root_at(LogSize(256)).unwrap();
    assert_eq!(at_256.0, hash(frozen.history_root_256));
    for index in 0..ENTRIES {
        let entry = store.entry(LogIndex(index)).unwrap().unwrap();
        let body = body(index);
        assert_eq!(entry.id.0, *blake3::hash(&body).as_bytes());
        assert_eq!(entry.hole, index == HOLE);
        if entry.hole {
            assert!(store.get_index(LogIndex(index)).unwrap_err().is_damage());
            continue;
        }
        assert_eq!(store.get(&entry.id).unwrap().unwrap(), body);
        let proof = store.prove(&entry.id).unwrap().proof;
        assert_eq!(proof.verify(&head.set_root), Ok(Presence::Present));
        let proof = store.prove_inclusion_at(LogIndex(index), LogSize(ENTRIES)).unwrap();
        let log = TreeHead { size: LogSize(ENTRIES), root: head.log_root };
        proof.verify(&leaf_hash(entry.time, &entry.id.0), LogIndex(index), &log).unwrap();
    }
    let check = store.check(Depth::Deep, &mut |_| {}).unwrap();
    assert!(check.faults.is_empty(), "{:?}", check.faults);
    store.close().unwrap();
    assert_eq!(files(Path::new(frozen.dir)), before, "the frozen files have changed");
}

#[test]
fn the_frozen_stores_go_on() {
    STORES.iter().for_each(goes_on);
}

fn goes_on(frozen: &Frozen) {
    let dir = thawed(frozen);
    let store = Store::open(dir.path(), options()).unwrap();
    let root = store.root().unwrap();
    let healed = store.append(&body(HOLE)).unwrap();
    assert_eq!(healed.index, HOLE);
    assert_ne!(store.root().unwrap(), root);
    assert_eq!(store.history_root().unwrap().0, hash(frozen.history_root), "healing adds no entry");
    assert_eq!(store.append(b"and more").unwrap().index, ENTRIES);
    store.checkpoint().unwrap();
    store.close().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    assert_eq!(store.get_index(LogIndex(HOLE)).unwrap().unwrap().1, body(HOLE));
    assert_eq!(store.len(), ENTRIES + 1);
}

#[test]
#[ignore = "writes a new frozen store: STEMEDB_FREEZE names the directory"]
fn freeze() {
    let Ok(dir) = std::env::var("STEMEDB_FREEZE") else { return };
    let dir = Path::new(&dir);
    world::reset();
    let disk = || Arc::new(FileDisk::create(dir).unwrap());
    let store = Store::open_on(disk(), ENVIRONMENT, options()).unwrap();
    assert!(store.is_empty());
    store.append_batch((0..270).map(body)).unwrap();
    store.append_batch((270..290).map(body)).unwrap();
    let position = store.append(&body(HOLE)).unwrap().position;
    store.append_batch((290..296).map(body)).unwrap();
    store.close().unwrap();

    // One bit of one body, and what repair makes of it.
    let (path, offset) = fs::read_dir(dir)
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .filter_map(|path| {
            let header = stemedb_wal::raw::segment::SegmentHeader::parse(&fs::read(&path).unwrap());
            Some((path, position.get().checked_sub(header.unwrap().first_position)?))
        })
        .min_by_key(|(_, offset)| *offset)
        .unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[usize::try_from(offset).unwrap() + stemedb_wal::raw::record::HEAD_LEN + 3] ^= 1;
    fs::write(&path, bytes).unwrap();
    let report = repair(dir, &options()).unwrap();
    assert_eq!(report.holes, 1);

    let store = Store::open_on(disk(), ENVIRONMENT, options()).unwrap();
    store.checkpoint().unwrap();
    store.append_batch((296..300).map(body)).unwrap();
    store.checkpoint().unwrap();
    store.append_batch((300..ENTRIES).map(body)).unwrap();
    let head = store.head().unwrap();
    println!("const SET_ROOT: &str = \"{}\";", head.set_root);
    println!("history_root: \"{}\",", head.log_root);
    let at_256 = store.history_root_at(LogSize(256)).unwrap();
    println!("history_root_256: \"{at_256}\",");
    store.close().unwrap();
}
