//! Tiles: their paths, their bytes, and reading them with each checked against its parent.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use stemedb_merkle::{
    AssertionId, LogSize, Root,
    history::{NodeReader, tile::Node},
};
use stemedb_tlog::{
    entry_bundle::{self, LogEntry, UnverifiedBundle},
    tile::{Tile, UnverifiedTile, verify_edge},
    tile_path::{TileKind, TilePath},
};

use super::{
    cases,
    checkpoints::{entry, tree},
    hash, judge, text,
};

#[test]
fn tile_paths() {
    for case in cases("tile_paths", "path verdict level n width") {
        let Some(path) = judge(case, TilePath::parse(text(&case["path"]))) else { continue };
        let kind = match case["level"].as_u64() {
            Some(level) => TileKind::Hashes(u8::try_from(level).unwrap()),
            None => TileKind::Entries,
        };
        let width = u16::try_from(case["width"].as_u64().unwrap()).unwrap();
        assert_eq!(Some(path), TilePath::new(kind, case["n"].as_u64().unwrap(), width));
        assert_eq!(path.to_string(), text(&case["path"]));
    }
}

/// The bytes of a tile of the log of the vectors.
fn tile_bytes(path: TilePath) -> Vec<u8> {
    let indices = path.first()..path.first() + u64::from(path.width());
    match path.kind() {
        TileKind::Entries => {
            let entries = indices.map(entry).map(|(time, id)| LogEntry { time, id: id.into() });
            entry_bundle::write(&entries.collect::<Vec<_>>())
        }
        TileKind::Hashes(level) => indices
            .flat_map(|index| tree().node(Node::new(8 * level, index).unwrap()).unwrap())
            .collect(),
    }
}

fn digest<'a>(files: impl Iterator<Item = (&'a String, &'a Vec<u8>)>) -> [u8; 32] {
    let mut digest = Sha256::new();
    for (path, bytes) in files {
        digest.update(u32::try_from(path.len()).unwrap().to_be_bytes());
        digest.update(path);
        digest.update((bytes.len() as u64).to_be_bytes());
        digest.update(bytes);
    }
    digest.finalize().into()
}

#[test]
fn tiles() {
    for case in cases("tiles", "size root_hex files bytes digest digests paths") {
        let size = LogSize(case["size"].as_u64().unwrap());
        let head = tree().head_at(size).unwrap();
        assert_eq!(head.root, Root(hash(&case["root_hex"])));
        let files: BTreeMap<String, Vec<u8>> =
            TilePath::of_tree(size).map(|path| (path.to_string(), tile_bytes(path))).collect();
        assert_eq!(files.len() as u64, case["files"].as_u64().unwrap(), "{size}");
        let len: usize = files.values().map(Vec::len).sum();
        assert_eq!(len as u64, case["bytes"].as_u64().unwrap());
        assert_eq!(digest(files.iter()), hash(&case["digest"]));
        let digests = case["digests"].as_object().unwrap();
        for (level, expected) in digests {
            let prefix = format!("tile/{level}/");
            let of_level = files.iter().filter(|(path, _)| path.starts_with(&prefix));
            assert_eq!(digest(of_level), hash(expected), "{size}, level {level}");
        }
        if let Some(paths) = case["paths"].as_array() {
            let paths: Vec<&str> = paths.iter().map(text).collect();
            let mut expected: Vec<&str> = files.keys().map(String::as_str).collect();
            expected.sort_unstable();
            assert_eq!(paths, expected);
        }
        let read = read_all(size);
        assert_eq!(read, size.0, "all entries are read and verified");
    }
}

fn parse(path: TilePath) -> UnverifiedTile {
    UnverifiedTile::parse(path, path, &tile_bytes(path)).unwrap()
}

/// Reads all entries from the edge down, and gives their number.
fn read_all(size: LogSize) -> u64 {
    let head = tree().head_at(size).unwrap();
    let mut tiles = verify_edge(&head, TilePath::edge(size).map(parse).collect()).unwrap();
    let mut entries = 0;
    while let Some(tile) = tiles.pop() {
        tiles.extend(tile.children().map(|path| tile.verify_child(parse(path)).unwrap()));
        if tile.path().kind() == TileKind::Hashes(0) {
            entries += read_entries(&tile);
        }
    }
    entries
}

fn read_entries(tile: &Tile) -> u64 {
    let (number, width) = (tile.path().number(), tile.path().width());
    let path = TilePath::new(TileKind::Entries, number, width).unwrap();
    let bundle = UnverifiedBundle::parse(path, path, &tile_bytes(path)).unwrap();
    let bundle = tile.verify_entries(bundle).unwrap();
    let (first_time, id) = entry(bundle.first().0);
    assert_eq!(bundle.entries()[0], LogEntry { time: first_time, id: AssertionId(id) });
    bundle.entries().len() as u64
}

/// A byte that is changed anywhere is found, whichever tile it is in: not only in those on a path.
#[test]
fn every_tile_is_checked_against_its_parent() {
    let size = LogSize(70_000);
    let head = tree().head_at(size).unwrap();
    let edge: Vec<TilePath> = TilePath::edge(size).collect();
    assert_eq!(edge.len(), 3);
    for changed in &edge {
        for at in [0, 31, 32 * usize::from(changed.width()) - 1] {
            let tiles = edge.iter().map(|path| {
                let mut bytes = tile_bytes(*path);
                if path == changed {
                    bytes[at] ^= 1;
                }
                UnverifiedTile::parse(*path, *path, &bytes).unwrap()
            });
            assert!(verify_edge(&head, tiles.collect()).is_err());
        }
    }
    let tiles = verify_edge(&head, edge.iter().copied().map(parse).collect()).unwrap();
    for tile in &tiles {
        for path in tile.children().step_by(7) {
            let mut bytes = tile_bytes(path);
            let at = usize::try_from(path.number() * 31 % 8192).unwrap();
            bytes[at] ^= 0x80;
            let child = UnverifiedTile::parse(path, path, &bytes).unwrap();
            assert!(tile.verify_child(child).is_err(), "{path}");
        }
    }
    // A tile from elsewhere in the tree, or a partial one in place of the full one.
    let top = tiles.last().unwrap();
    let child = top.children().next().unwrap();
    let child_tile = top.verify_child(parse(child)).unwrap();
    assert!(top.verify_child(parse(child_tile.children().next().unwrap())).is_err());
    let grandchild = child_tile.children().nth(3).unwrap();
    let level_0 = child_tile.verify_child(parse(grandchild)).unwrap();
    let path = TilePath::new(TileKind::Entries, 3, 256).unwrap();
    for at in [0, 1, 2, 41, 10_751] {
        let mut bytes = tile_bytes(path);
        bytes[at] ^= 1;
        let bundle = UnverifiedBundle::parse(path, path, &bytes);
        assert!(bundle.is_err() || level_0.verify_entries(bundle.unwrap()).is_err());
    }
    let other = TilePath::new(TileKind::Entries, 2, 256).unwrap();
    let bundle = UnverifiedBundle::parse(other, other, &tile_bytes(other)).unwrap();
    assert!(level_0.verify_entries(bundle).is_err());
    // Surplus bytes.
    let surplus = [&tile_bytes(path)[..], &[0]].concat();
    assert!(UnverifiedBundle::parse(path, path, &surplus).is_err());
    let surplus = [&tile_bytes(path)[..], &tile_bytes(path)[..42]].concat();
    assert!(UnverifiedBundle::parse(path, path, &surplus).is_err());
}

/// A partial tile that is gone is cut from the full one.
#[test]
fn partial_tiles_are_cut_from_wider_ones() {
    let size = LogSize(69_900);
    let head = tree().head_at(size).unwrap();
    let wider = |path: TilePath| match path.kind() {
        TileKind::Hashes(0) => TilePath::new(path.kind(), path.number(), 100).unwrap(),
        _ => path,
    };
    let tiles = TilePath::edge(size).map(|path| {
        let fetched = wider(path);
        UnverifiedTile::parse(path, fetched, &tile_bytes(fetched)).unwrap()
    });
    let tiles = verify_edge(&head, tiles.collect()).unwrap();
    let path = TilePath::new(TileKind::Entries, 273, 12).unwrap();
    let full = TilePath::new(TileKind::Entries, 273, 112).unwrap();
    let bundle = UnverifiedBundle::parse(path, full, &tile_bytes(full)).unwrap();
    assert_eq!(tiles[0].verify_entries(bundle).unwrap().entries().len(), 12);
    assert!(UnverifiedTile::parse(wider(path), path, &tile_bytes(path)).is_err());
}

/// The nodes of the tree that proofs are made of are found in tiles.
#[test]
fn tiles_have_the_nodes_of_the_tree() {
    let size = LogSize(70_000);
    let head = tree().head_at(size).unwrap();
    let tiles = verify_edge(&head, TilePath::edge(size).map(parse).collect()).unwrap();
    let mut found = 0;
    for tile in &tiles {
        for level in 0..24 {
            for index in (size.0 >> level).saturating_sub(300)..=size.0 >> level {
                let Some(node) = tile.node(level, index) else { continue };
                let level = u8::try_from(level).unwrap();
                assert_eq!(tree().node(Node::new(level, index).unwrap()), Ok(node));
                found += 1;
            }
        }
    }
    assert!(found > 250, "{found}");
    assert_eq!(tiles[0].node(u32::MAX, 1), None);
    assert_eq!(tiles[0].node(7, u64::MAX), None);
}
