use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::{
    history::{History, MemoryHistory, TileSource, leaf_hash},
    timestamp::Timestamp,
};

/// The tiles in the order in which a log that grows leaf by leaf completes them, lower ones first.
fn completed_one_by_one(tiles_of_height_0: u64) -> Vec<TileId> {
    let mut order = Vec::new();
    for tile in 1..=tiles_of_height_0 {
        let mut index = tile;
        for height in 0.. {
            order.push(TileId { height, index: index - 1 });
            if !index.is_multiple_of(256) {
                break;
            }
            index /= 256;
        }
    }
    order
}

#[test]
fn numbers_are_places_in_the_order_of_completion() {
    let order = completed_one_by_one(3 * 65_536 + 300);
    assert!(order.iter().any(|tile| tile.height == 2), "too short to try three heights");
    for (place, tile) in order.iter().enumerate() {
        let place = u64::try_from(place).unwrap();
        assert_eq!(tile.number(), place, "{tile:?}");
        assert_eq!(TileId::at(place), Some(*tile), "{place}");
        assert_eq!(TileId::new(tile.height, tile.index), Some(*tile));
    }
}

#[test]
fn as_many_tiles_are_complete_as_were_completed() {
    let order = completed_one_by_one(1030);
    for size in (0..1030 * 256).filter(|size| matches!(size % 256, 0..3 | 254..)) {
        let size = LogSize(size);
        let complete = usize::try_from(complete_tiles(size)).unwrap();
        let (done, to_come) = order.split_at(complete);
        assert!(done.iter().all(|tile| tile.is_complete_at(size)), "{size}");
        assert!(!to_come.iter().any(|tile| tile.is_complete_at(size)), "{size}");
    }
}

#[test]
fn every_node_above_the_leaves_has_a_slot_of_its_own() {
    let mut taken = HashMap::new();
    for level in 0..=16_u8 {
        for index in 0..(3 * 65_536_u64) >> level {
            let node = Node::new(level, index).unwrap();
            let Some((tile, slot)) = node.place() else {
                assert_eq!(level, 0);
                continue;
            };
            assert!(slot < TILE_NODES);
            assert_eq!(tile.coordinates(slot), (level, index));
            assert_eq!(taken.insert((tile, slot), node), None, "{node:?}");
        }
    }
    // Tiles of height 0 are full; of the three tiles' worth of height 1 too.
    assert_eq!(taken.len(), 255 * (3 * 256 + 3));
}

#[test]
fn the_file_is_as_long_as_the_tree_has_nodes_in_complete_tiles() {
    // 32 bytes a leaf amortised: a tile of 256 slots to 256 leaves, and one in 256 of those above.
    let size = 10_000_000_u64;
    let bytes = complete_tiles(LogSize(size)) * 8192;
    assert!(bytes < size * 32 * 1005 / 1000, "{bytes}");
}

#[test]
fn the_ends_of_the_range_hold() {
    for level in 0..64_u8 {
        let nodes = u64::MAX >> level;
        assert_eq!(Node::new(level, nodes), None);
        let last = nodes.checked_sub(1).and_then(|index| Node::new(level, index));
        assert_eq!(last.is_some(), nodes > 0);
        if let Some(last) = last {
            assert!(last.is_complete_at(LogSize(u64::MAX)), "{level}");
            assert!(last.place().is_none_or(|(tile, slot)| {
                tile.coordinates(slot) == (level, last.index)
                    && TileId::new(tile.height, tile.index) == Some(tile)
                    && TileId::at(tile.number()) == Some(tile)
            }));
        }
    }
    assert_eq!(Node::new(64, 0), None);
    assert_eq!(TileId::new(8, 0), None);
    assert_eq!(TileId::new(7, 1), None);
    assert_eq!(TileId::new(0, 1 << 56), None);
    let last = TileId::new(7, 0).unwrap();
    assert!(!last.is_complete_at(LogSize(u64::MAX)));
    assert_eq!(TileId::at(last.number()), Some(last));
    assert_eq!(TileId::at(last.number() + 1), None);
    assert_eq!(TileId::at(u64::MAX), None);
    // All but the eight tiles that only the leaf 2^64 - 1 would complete.
    assert_eq!(complete_tiles(LogSize(u64::MAX)), last.number() + 1 - 8);
}

#[test]
fn completed_tiles_have_the_nodes_of_the_tree() {
    let leaves: Vec<_> =
        (0..256 * 257).map(|n| leaf_hash(Timestamp::from_ntp64(n), &[5; 32])).collect();
    let tree: MemoryHistory = leaves.iter().copied().collect();
    let mut tiles = Vec::new();
    History::new().extend(leaves, |tile| tiles.push(tile));
    assert_eq!(tiles.iter().filter(|tile| tile.id.height() == 1).count(), 1);
    for (number, tile) in (0..).zip(&tiles) {
        assert_eq!(tile.id.number(), number);
        for (slot, hash) in tile.nodes.iter().enumerate() {
            assert_eq!(tree.tile_node(tile.id, slot).as_ref(), Ok(hash), "{:?} {slot}", tile.id);
        }
        assert_eq!(tile.nodes.as_flattened().len(), TILE_LEN);
    }
}

proptest! {
    #[test]
    fn numbers_and_tiles_are_inverses_at_any_size(height in 0..8_u8, index in any::<u64>()) {
        let shift = 8 * (u32::from(height) + 1);
        let tile = TileId::new(height, index.checked_shr(shift).unwrap_or(0)).unwrap();
        prop_assert_eq!(TileId::at(tile.number()), Some(tile));
    }

    #[test]
    fn a_number_counts_the_tiles_completed_before(height in 0..7_u8, index in any::<u64>()) {
        let width = 1_u128 << (8 * (u32::from(height) + 1));
        let index = index / u64::try_from(width).unwrap();
        let tile = TileId::new(height, index).unwrap();
        // All those complete once this one is, less those above that complete with it, less itself.
        let size = (u128::from(index) + 1) * width;
        let widths = (1..=8_u32).map(|height| 1_u128 << (8 * height));
        let complete: u128 = widths.clone().map(|width| size / width).sum();
        let above = widths.filter(|other| *other > width && size.is_multiple_of(*other)).count();
        let before = complete - u128::try_from(above).unwrap() - 1;
        prop_assert_eq!(u128::from(tile.number()), before);
    }

    #[test]
    fn nodes_and_slots_are_inverses_at_any_size(level in 1..64_u8, index in any::<u64>()) {
        let node = Node::new(level, index >> level >> 1).unwrap();
        let (tile, slot) = node.place().unwrap();
        prop_assert!(slot < TILE_NODES);
        prop_assert_eq!(tile.coordinates(slot), (node.level, node.index));
        prop_assert_eq!(tile.height, (level - 1) / 8);
    }

    #[test]
    fn any_number_is_a_tile_or_beyond_all(number in any::<u64>()) {
        if let Some(tile) = TileId::at(number) {
            prop_assert_eq!(tile.number(), number);
        } else {
            prop_assert!(number > TileId::new(7, 0).unwrap().number());
        }
    }
}
