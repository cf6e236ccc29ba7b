//! The history tree against its definition, exhaustively for small trees.

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use proptest::prelude::*;
use sha2::Sha256;
use stemedb_merkle::{
    Hash, Root, Timestamp,
    history::{
        ConsistencyNodes, ConsistencyProof, EMPTY_ROOT, Frontier, History, HistoryProofError,
        InclusionProof, LogIndex, LogSize, MemoryHistory, NodeReader, PENDING_SIZE_MAX,
        PendingError, ProveError, ReadNodeError, TileSource, TreeHead, leaf_hash, root_at,
        tile::{Node, Tile, TileId, complete_tiles},
    },
};

use crate::history_tree as reference;

const SIZE_MAX: usize = 70;

fn leaves(count: usize) -> Vec<Hash> {
    (0..count as u64)
        .map(|n| leaf_hash(Timestamp::from_ntp64(n), blake3::hash(&n.to_le_bytes()).as_bytes()))
        .collect()
}

fn head(leaves: &[Hash]) -> TreeHead {
    TreeHead { size: LogSize(leaves.len() as u64), root: Root(reference::root(leaves)) }
}

fn flipped(hash: &Hash) -> Hash {
    let mut other = *hash;
    other[13] ^= 0x40;
    other
}

/// Every path that differs from an honest one by an edit: a hash corrupted, doubled, left out, or
/// swapped with the next, and one too many at either end.
fn edits(path: &[Hash]) -> Vec<Vec<Hash>> {
    let mut edits = vec![[path, &[[0; 32]]].concat(), [&[[0; 32]], path].concat()];
    for place in 0..path.len() {
        let mut edit = |change: &dyn Fn(&mut Vec<Hash>)| {
            let mut edited = path.to_vec();
            change(&mut edited);
            edits.push(edited);
        };
        edit(&|path| path[place] = flipped(&path[place]));
        edit(&|path| path.insert(place, path[place]));
        edit(&|path| {
            path.remove(place);
        });
        if place + 1 < path.len() {
            edit(&|path| path.swap(place, place + 1));
        }
    }
    edits
}

#[test]
fn roots_and_inclusion_proofs_are_those_of_the_definition() {
    let leaves = leaves(SIZE_MAX);
    let tree: MemoryHistory = leaves.iter().copied().collect();
    for size in 0..=SIZE_MAX {
        let part = &leaves[..size];
        let head = head(part);
        assert_eq!(root_at(&tree, head.size), Ok(head.root), "{size}");
        assert_eq!(tree.head_at(head.size), Ok(head), "{size}");
        for index in 0..size {
            let at = LogIndex(index as u64);
            let proof = InclusionProof::prove(&tree, at, head.size).unwrap();
            assert_eq!(proof.0, reference::inclusion(index, part), "{index} of {size}");
            assert_eq!(proof.verify(&part[index], at, &head), Ok(()), "{index} of {size}");
            check_wrong_inclusion(&proof, index, part, &head);
        }
    }
}

fn check_wrong_inclusion(proof: &InclusionProof, index: usize, leaves: &[Hash], head: &TreeHead) {
    let at = LogIndex(index as u64);
    let leaf = leaves[index];
    for wrong in 0..leaves.len() + 3 {
        let wrong_at = LogIndex(wrong as u64);
        assert_eq!(proof.verify(&leaf, wrong_at, head).is_ok(), wrong == index);
    }
    assert!(proof.verify(&leaf, LogIndex(u64::MAX), head).is_err());
    assert_eq!(proof.verify(&flipped(&leaf), at, head), Err(HistoryProofError::OtherRoot));
    let other = TreeHead { root: Root(flipped(&head.root.0)), ..*head };
    assert_eq!(proof.verify(&leaf, at, &other), Err(HistoryProofError::OtherRoot));
    for edited in edits(&proof.0) {
        let error = InclusionProof(edited.clone()).verify(&leaf, at, head).unwrap_err();
        let expected = match edited.len().cmp(&proof.0.len()) {
            core::cmp::Ordering::Less => HistoryProofError::MissingNodes,
            core::cmp::Ordering::Equal => HistoryProofError::OtherRoot,
            core::cmp::Ordering::Greater => HistoryProofError::SurplusNodes,
        };
        assert_eq!(error, expected);
    }
}

#[test]
fn consistency_proofs_are_those_of_the_definition() {
    let leaves = leaves(SIZE_MAX);
    let tree: MemoryHistory = leaves.iter().copied().collect();
    let heads: Vec<_> = (0..=SIZE_MAX).map(|size| head(&leaves[..size])).collect();
    for (new_size, new) in heads.iter().enumerate() {
        for (old_size, old) in heads[..=new_size].iter().enumerate() {
            let proof = ConsistencyProof::prove(&tree, old.size, new.size).unwrap();
            let expected = reference::consistency(old_size, &leaves[..new_size]);
            assert_eq!(proof.0, expected, "{old_size} to {new_size}");
            assert_eq!(proof.verify(old, new), Ok(()), "{old_size} to {new_size}");
            check_wrong_consistency(&proof, old, new);
        }
        for old in &heads[new_size + 1..] {
            let error = ConsistencyProof(Vec::new()).verify(old, new).unwrap_err();
            let (old, new) = (old.size, new.size);
            assert_eq!(error, HistoryProofError::SizesOutOfOrder { old, new });
        }
    }
}

/// With the first node both roots follow, and from other nodes not the newer one.
#[test]
fn consistency_nodes_give_the_roots_of_both_sizes() {
    let leaves = leaves(SIZE_MAX);
    let tree: MemoryHistory = leaves.iter().copied().collect();
    let heads: Vec<_> = (0..=SIZE_MAX).map(|size| head(&leaves[..size])).collect();
    for (new_size, new) in heads.iter().enumerate() {
        for old in &heads[..new_size] {
            let nodes = ConsistencyNodes::prove(&tree, old.size, new.size);
            if old.size.0 == 0 {
                assert!(nodes.is_err());
                continue;
            }
            let nodes = nodes.unwrap();
            assert_eq!(nodes.roots(old.size, new.size), Ok((old.root, new.root)));
            let proof = ConsistencyProof::prove(&tree, old.size, new.size).unwrap();
            let shorter = usize::from(old.size.0.is_power_of_two());
            assert_eq!(nodes.0[shorter..], proof.0);
            for edited in edits(&nodes.0) {
                let roots = ConsistencyNodes(edited).roots(old.size, new.size);
                assert!(roots.is_err() || roots.unwrap().1 != new.root);
            }
        }
        let nodes = ConsistencyNodes(vec![new.root.0]);
        assert!(nodes.roots(new.size, new.size).is_err());
        assert!(ConsistencyNodes::prove(&tree, new.size, new.size).is_err());
    }
}

fn check_wrong_consistency(proof: &ConsistencyProof, old: &TreeHead, new: &TreeHead) {
    let forked = |head: &TreeHead| TreeHead { root: Root(flipped(&head.root.0)), ..*head };
    assert_eq!(proof.verify(&forked(old), new), Err(HistoryProofError::OtherRoot));
    // An empty log says nothing of what comes after it.
    if old.size.0 > 0 || new.size.0 == 0 {
        assert_eq!(proof.verify(old, &forked(new)), Err(HistoryProofError::OtherRoot));
    }
    for edited in edits(&proof.0) {
        let error = ConsistencyProof(edited.clone()).verify(old, new).unwrap_err();
        let expected = match edited.len().cmp(&proof.0.len()) {
            core::cmp::Ordering::Less => HistoryProofError::MissingNodes,
            core::cmp::Ordering::Equal => HistoryProofError::OtherRoot,
            core::cmp::Ordering::Greater => HistoryProofError::SurplusNodes,
        };
        assert_eq!(error, expected, "{} to {}", old.size, new.size);
    }
}

/// The reason for [`TreeHead`]: this root, paired with a size that is not its own, takes a proof.
#[test]
fn the_root_alone_does_not_commit_to_the_size() {
    let leaves = leaves(3);
    let proof = InclusionProof(reference::inclusion(0, &leaves));
    let mixed = TreeHead { size: LogSize(4), root: Root(reference::root(&leaves)) };
    assert_eq!(proof.verify(&leaves[0], LogIndex(0), &mixed), Ok(()));
}

#[test]
fn what_is_out_of_range_is_refused() {
    let tree: MemoryHistory = leaves(5).into_iter().collect();
    let (index, size) = (LogIndex(3), LogSize(3));
    assert_eq!(
        InclusionProof::prove(&tree, index, size),
        Err(ProveError::IndexOutOfRange { index, size })
    );
    let beyond = ProveError::SizeOutOfRange { wanted: LogSize(6), size: LogSize(5) };
    assert_eq!(InclusionProof::prove(&tree, index, LogSize(6)), Err(beyond));
    assert_eq!(ConsistencyProof::prove(&tree, LogSize(2), LogSize(6)), Err(beyond));
    assert_eq!(root_at(&tree, LogSize(6)), Err(beyond));
    let (old, new) = (LogSize(4), LogSize(3));
    assert_eq!(
        ConsistencyProof::prove(&tree, old, new),
        Err(ProveError::SizesOutOfOrder { old, new })
    );
    assert_eq!(beyond.to_string(), "the log has 5 entries, so there is no root or proof at size 6");
}

#[test]
fn the_frontier_has_the_root_of_the_definition_at_each_size() {
    let leaves = leaves(300);
    let mut frontier = Frontier::new();
    assert_eq!(frontier.root(), EMPTY_ROOT);
    for (index, leaf) in leaves.iter().enumerate() {
        assert_eq!(frontier.append(*leaf), LogIndex(index as u64));
        assert_eq!(frontier.head(), head(&leaves[..=index]));
        let again = Frontier::from_peaks(frontier.size(), frontier.peaks().to_vec());
        assert_eq!(again.as_ref(), Ok(&frontier));
    }
    let short = frontier.peaks()[1..].to_vec();
    assert_eq!(
        Frontier::from_peaks(frontier.size(), short).unwrap_err().to_string(),
        "a tree of 300 leaves has 4 perfect subtrees, not 3"
    );
}

/// The complete tiles in a row, as a file would hold them, and the leaves as a log would.
#[derive(Default)]
struct Disk {
    tiles: Vec<Tile>,
    leaves: Vec<Hash>,
}

impl TileSource for Disk {
    type Error = core::convert::Infallible;

    fn tile_node(&self, tile: TileId, slot: usize) -> Result<Hash, Self::Error> {
        let stored = &self.tiles[usize::try_from(tile.number()).unwrap()];
        assert_eq!(stored.id, tile);
        Ok(stored.nodes[slot])
    }

    fn leaf(&self, index: LogIndex) -> Result<Hash, Self::Error> {
        Ok(self.leaves[usize::try_from(index.0).unwrap()])
    }
}

/// A log long enough for two complete tiles of the second height.
const LONG: usize = 2 * 65_536 + 1_000;

fn long_log() -> (History, Disk, MemoryHistory) {
    let leaves = leaves(LONG);
    let (mut history, mut disk) = (History::new(), Disk::default());
    assert_eq!(
        history.extend(leaves.iter().copied(), |tile| disk.tiles.push(tile)),
        LogSize(LONG as u64)
    );
    disk.leaves.clone_from(&leaves);
    (history, disk, leaves.into_iter().collect())
}

#[test]
fn tiles_come_in_the_order_of_their_numbers_and_hold_the_tree() {
    let (history, disk, tree) = long_log();
    assert_eq!(disk.tiles.len() as u64, complete_tiles(history.size()));
    assert_eq!(disk.tiles.iter().filter(|tile| tile.id.height() == 1).count(), 2);
    for (number, tile) in disk.tiles.iter().enumerate() {
        assert_eq!(tile.id.number(), number as u64);
        for (slot, hash) in tile.nodes.iter().enumerate() {
            assert_eq!(tree.tile_node(tile.id, slot).as_ref(), Ok(hash));
        }
    }
}

#[test]
fn every_node_is_read_from_tiles_log_or_edge() {
    let (history, disk, tree) = long_log();
    let reader = history.reader(&disk);
    for level in 0..20_u8 {
        let nodes = LONG as u64 >> level;
        for index in 0..nodes {
            let node = Node::new(level, index).unwrap();
            assert_eq!(reader.node(node).unwrap(), tree.node(node).unwrap(), "{node:?}");
        }
        let beyond = Node::new(level, nodes).unwrap();
        let error = reader.node(beyond).unwrap_err();
        assert_eq!(reader.nodes(&[beyond]), Err(error));
        let size = history.size();
        assert_eq!(error, ReadNodeError::NotInTree { level, index: nodes, size });
    }
    assert_eq!(history.head(), tree.head());
}

/// The proofs of a long log, read in batches that mix leaves, tiles of two heights and the edge.
#[test]
fn proofs_read_from_tiles_are_those_of_the_tree() {
    let (history, disk, tree) = long_log();
    let reader = history.reader(&disk);
    let sizes = [1, 255, 256, 257, 65_536, 65_537, 70_000, 131_072, 131_500, LONG - 1, LONG];
    for size in sizes.map(|size| LogSize(size as u64)) {
        assert_eq!(root_at(&reader, size).unwrap(), root_at(&tree, size).unwrap());
        for index in [0, 1, 254, 255, 256, 65_535, 65_536, 131_072, size.0 - 1] {
            if index < size.0 {
                let at = LogIndex(index);
                let proof = InclusionProof::prove(&reader, at, size).unwrap();
                assert_eq!(InclusionProof::prove(&tree, at, size), Ok(proof), "{index} of {size}");
                let old = LogSize(index);
                let proof = ConsistencyProof::prove(&reader, old, size).unwrap();
                assert_eq!(ConsistencyProof::prove(&tree, old, size), Ok(proof), "{old} {size}");
            }
        }
    }
}

/// A snapshot does not change while the writer goes on, across tiles that complete meanwhile.
#[test]
fn a_clone_is_a_snapshot() {
    let leaves = leaves(70_000);
    let (mut history, mut disk) = (History::new(), Disk::default());
    let mut snapshots = Vec::new();
    for (index, leaf) in leaves.iter().enumerate() {
        if [1, 255, 256, 257, 511, 65_535, 65_536, 65_537, 69_999].contains(&index) {
            snapshots.push((history.clone(), history.pending(), history.head()));
        }
        history.append(*leaf, |tile| disk.tiles.push(tile));
    }
    disk.leaves.clone_from(&leaves);
    let tree: MemoryHistory = leaves.into_iter().collect();
    assert_eq!(snapshots.len(), 9);
    for (snapshot, pending, head) in snapshots {
        assert_eq!(snapshot.pending(), pending);
        assert_eq!(snapshot.head(), head);
        assert_eq!(tree.head_at(head.size), Ok(head));
        let index = LogIndex(head.size.0 - 1);
        let proof = InclusionProof::prove(&snapshot.reader(&disk), index, head.size).unwrap();
        assert_eq!(InclusionProof::prove(&tree, index, head.size), Ok(proof));
    }
}

#[test]
fn pending_nodes_are_checked() {
    let mut history = History::new();
    history.extend(leaves(1_000), |_| ());
    let (size, pending) = (history.size(), history.pending());
    // 232 leaves in the tile and 3 below it: 116 + 58 + 29 + 14 + 7 + 3 + 1, then 1 + 1.
    assert_eq!(pending.len(), 228 + 2);
    assert_eq!(History::from_pending(size, pending.clone()).unwrap().head(), history.head());
    for place in 0..pending.len() {
        let mut other = pending.clone();
        other[place] = flipped(&other[place]);
        match History::from_pending(size, other) {
            Err(error) => assert!(matches!(error, PendingError::Inconsistent { .. }), "{error}"),
            // Nothing here stands over the highest nodes: only the root tells.
            Ok(taken_up) => assert_ne!(taken_up.head(), history.head(), "{place}"),
        }
    }
    let short = History::from_pending(size, pending[1..].to_vec()).unwrap_err();
    assert_eq!(short, PendingError::Length { size, expected: 230, found: 229 });
    let size = PENDING_SIZE_MAX.checked_add(1).unwrap();
    assert_eq!(
        History::from_pending(size, Vec::new()).unwrap_err(),
        PendingError::TooLarge { size }
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_history_taken_up_again_goes_on_as_before(
        first in 0..140_000_usize,
        more in 0..70_000_usize,
    ) {
        let leaves = leaves(first + more);
        let (mut whole, mut tiles) = (History::new(), Vec::new());
        whole.extend(leaves[..first].iter().copied(), |tile| tiles.push(tile.id));
        let pending = whole.pending();
        let mut again = History::from_pending(whole.size(), pending.clone()).unwrap();
        prop_assert_eq!(again.pending(), pending);
        prop_assert_eq!(again.head(), whole.head());
        let (mut there, mut here) = (Vec::new(), Vec::new());
        whole.extend(leaves[first..].iter().copied(), |tile| there.push(tile));
        again.extend(leaves[first..].iter().copied(), |tile| here.push(tile));
        prop_assert_eq!(again.pending(), whole.pending());
        prop_assert_eq!(again.head(), whole.head());
        // A tile that was half full when it was put aside is the same when it completes.
        prop_assert!(there == here);
        prop_assert_eq!((tiles.len() + here.len()) as u64, complete_tiles(whole.size()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Nodes that are made side by side are those that are made as leaves come, whatever comes
    /// together; tiles come in the same order.
    #[test]
    fn leaves_in_pieces_make_what_leaves_one_by_one_make(
        first in 64_000..66_000_usize,
        pieces in prop::collection::vec(prop_oneof![0..40_usize, 0..900_usize], 1..12),
    ) {
        let leaves = leaves(first + pieces.iter().sum::<usize>());
        let (mut one_by_one, mut there) = (History::new(), Vec::new());
        let (mut in_pieces, mut here) = (History::new(), Vec::new());
        let mut from = 0;
        for len in core::iter::once(first).chain(pieces) {
            let piece = &leaves[from..from + len];
            from += len;
            for leaf in piece {
                one_by_one.append(*leaf, |tile| there.push(tile));
            }
            let size = in_pieces.extend(piece.iter().copied(), |tile| here.push(tile));
            prop_assert_eq!(size, LogSize(from as u64));
            prop_assert_eq!(in_pieces.head(), one_by_one.head());
            prop_assert!(in_pieces.pending() == one_by_one.pending());
        }
        prop_assert!(here == there);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn any_bytes_are_taken_up_or_refused(size in any::<u64>(), seed in any::<[u8; 32]>()) {
        let size = LogSize(size >> (size % 60));
        let error = History::from_pending(size, vec![seed; 3]).err();
        prop_assert!(error.is_some() || size.0.count_ones() <= 3);
        if let Some(PendingError::Length { expected, .. }) = error {
            let taken_up = History::from_pending(size, vec![seed; expected]);
            prop_assert!(taken_up.is_err() || expected < 70);
        }
    }

    #[test]
    fn proofs_at_any_size_are_those_of_ct_merkle(size in 1..3_000_usize, at in any::<u64>()) {
        let entries: Vec<_> = (0..size as u64).map(|n| [n.to_be_bytes(); 5].concat()).collect();
        let mut theirs = MemoryBackedTree::<Sha256, Vec<u8>>::new();
        let mut ours = MemoryHistory::new();
        for entry in &entries {
            theirs.push(entry.clone());
            let (time, id) = entry.split_first_chunk().unwrap();
            let time = Timestamp::from_ntp64(u64::from_be_bytes(*time));
            ours.append(leaf_hash(time, id.try_into().unwrap()));
        }
        let all = LogSize(size as u64);
        let their_root = Root((*theirs.root().as_bytes()).into());
        prop_assert_eq!(ours.root(), their_root);
        let index = at % all.0;
        let here = usize::try_from(index).unwrap();
        let proof = InclusionProof::prove(&ours, LogIndex(index), all).unwrap();
        let their_proof = theirs.prove_inclusion(here);
        prop_assert_eq!(proof.0.as_flattened(), their_proof.as_bytes());
        // Theirs takes the number of later entries, and no old size of 0.
        let (old, added) = (LogSize(index + 1), size - here - 1);
        let proof = ConsistencyProof::prove(&ours, old, all).unwrap();
        let their_proof = theirs.prove_consistency(added);
        prop_assert_eq!(proof.0.as_flattened(), their_proof.as_bytes());
        let old_root = root_at(&ours, old).unwrap().0.into();
        let old_root = ct_merkle::RootHash::<Sha256>::new(old_root, old.0);
        prop_assert!(theirs.root().verify_consistency(&old_root, &their_proof).is_ok());
    }
}
