//! The codecs: what is written is read again, and any other bytes are refused or read, never worse.
#![expect(clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;

use proptest::prelude::*;
use stemedb_merkle::{
    Hash, MerkleTree,
    set::{Entry, Summary},
};
use stemedb_sync::codec::{
    CodecError,
    bodies::{self, AbsentReason, Item, ItemReader},
    ids,
    prefixes::{self, Prefix},
    subtrees::{Below, Place},
};

fn set() -> impl Strategy<Value = Vec<Hash>> {
    // Few different first bytes, so that long prefixes are shared.
    let id = (0..4_u8, 0..4_u8, any::<[u8; 32]>()).prop_map(|(first, second, mut id)| {
        (id[0], id[1]) = (first, second);
        id
    });
    prop::collection::btree_set(id, 0..60).prop_map(|ids| ids.into_iter().collect())
}

fn prefix_list() -> impl Strategy<Value = Vec<Prefix>> {
    prop::collection::vec((any::<[u8; 32]>(), 0..=256_u16), 0..20).prop_map(|found| {
        let sorted: BTreeSet<Prefix> =
            found.iter().map(|(id, depth)| Prefix::of(id, *depth)).collect();
        let mut list: Vec<Prefix> = Vec::new();
        for prefix in sorted {
            if !list.last().is_some_and(|last| last.holds(prefix.bits())) {
                list.push(prefix);
            }
        }
        list
    })
}

/// What a tree of these ids has below a prefix, the slow way.
fn below(ids: &[Hash], prefix: &Prefix, levels: u16, leaf_ids: usize) -> Below {
    let here: Vec<Hash> = ids.iter().filter(|id| prefix.holds(id)).copied().collect();
    if here.len() <= leaf_ids {
        return Below::Ids(here);
    }
    let place = |index| {
        let place = prefix.below(levels, index);
        let ids: Vec<Hash> = here.iter().filter(|id| place.holds(id)).copied().collect();
        match Summary::of(&ids, place.depth().into()) {
            Summary::Empty => Place::Empty,
            Summary::One(_) => Place::One(ids[0]),
            Summary::Many(hash) => Place::Many(hash),
        }
    };
    Below::Places((0..1 << levels).map(place).collect())
}

fn item() -> impl Strategy<Value = Item> {
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..300).prop_map(Item::Body),
        1 => (any::<[u8; 32]>(), any::<u8>()).prop_map(|(id, reason)| Item::Absent {
            id,
            reason: AbsentReason::from_number(reason),
        }),
    ]
}

proptest! {
    #[test]
    fn prefixes_round_trip(list in prefix_list()) {
        let bytes = prefixes::write(&list);
        prop_assert_eq!(prefixes::read(&bytes, list.len()), Ok(list.clone()));
        if let Some(fewer) = list.len().checked_sub(1) {
            prop_assert_eq!(
                prefixes::read(&bytes, fewer),
                Err(CodecError::TooMany { max: fewer })
            );
        }
        let reversed: Vec<Prefix> = list.iter().rev().copied().collect();
        if list.len() > 1 {
            prop_assert!(prefixes::read(&prefixes::write(&reversed), 100).is_err());
        }
    }

    #[test]
    fn what_reads_as_prefixes_is_written_the_same(
        bytes in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        if let Ok(list) = prefixes::read(&bytes, 100) {
            prop_assert_eq!(prefixes::write(&list), bytes);
        }
    }

    #[test]
    fn prefixes_hold_what_begins_with_them(id: [u8; 32], other: [u8; 32], depth in 0..=256_u16) {
        let prefix = Prefix::of(&id, depth);
        prop_assert!(prefix.holds(&id));
        prop_assert!(prefix.holds(&prefix.last_id()));
        prop_assert!(prefix.last_id() >= id);
        let same = (0..usize::from(depth))
            .all(|bit| (id[bit / 8] ^ other[bit / 8]) >> (7 - bit % 8) & 1 == 0);
        prop_assert_eq!(prefix.holds(&other), same);
        let next = match id.get(usize::from(depth / 8)) {
            Some(byte) => usize::from(byte >> (7 - depth % 8) & 1),
            None => 0,
        };
        prop_assert!(prefix.below(1, next).holds(&id));
    }

    #[test]
    fn subtrees_round_trip_and_fold(
        ids in set(), path: [u8; 32], depth in 0..20_u16, levels in 1..=8_u8,
        leaf_ids in 0..10_usize,
    ) {
        let near = ids.first().copied().unwrap_or(path);
        let mut tree = MerkleTree::new();
        let entries: Vec<Entry> = ids.iter().map(|id| Entry { id: *id, position: 0 }).collect();
        tree.insert_batch(&entries).unwrap();
        for prefix in [Prefix::of(&near, depth), Prefix::of(&path, depth), Prefix::TOP] {
            let answer = below(&ids, &prefix, levels.into(), leaf_ids);
            let mut bytes = Vec::new();
            answer.write(&prefix, &mut bytes);
            let mut rest = bytes.as_slice();
            prop_assert_eq!(Below::read(&mut rest, &prefix, levels, leaf_ids), Ok(answer.clone()));
            prop_assert!(rest.is_empty());
            for end in 0..bytes.len() {
                prop_assert!(Below::read(&mut &bytes[..end], &prefix, levels, leaf_ids).is_err());
            }
            let subtree = tree.view().subtree(prefix.bits(), prefix.depth().into()).unwrap();
            prop_assert_eq!(answer.summary(&prefix), subtree.summary());
        }
    }

    #[test]
    fn a_changed_subtree_does_not_fold_to_the_same_hash(
        ids in set(),
        levels in 1..=8_u8,
        leaf_ids in 0..10_usize,
        at: prop::sample::Index,
        change in 1..=255_u8,
    ) {
        // Nothing can be said to be there in two ways.
        prop_assume!(!ids.is_empty());
        let answer = below(&ids, &Prefix::TOP, levels.into(), leaf_ids);
        let mut bytes = Vec::new();
        answer.write(&Prefix::TOP, &mut bytes);
        let at = at.index(bytes.len());
        bytes[at] ^= change;
        let mut rest = bytes.as_slice();
        if let Ok(read) = Below::read(&mut rest, &Prefix::TOP, levels, leaf_ids) {
            let same = read.summary(&Prefix::TOP) == answer.summary(&Prefix::TOP);
            prop_assert!(!same || !rest.is_empty());
        }
    }

    #[test]
    fn any_bytes_read_as_subtrees_or_not(
        bytes in prop::collection::vec(any::<u8>(), 0..300), id: [u8; 32], depth in 0..=256_u16,
        levels: u8, leaf_ids in 0..5000_usize,
    ) {
        let prefix = Prefix::of(&id, depth);
        let mut rest = bytes.as_slice();
        while let Ok(below) = Below::read(&mut rest, &prefix, levels, leaf_ids) {
            below.summary(&prefix);
            if rest.is_empty() {
                break;
            }
        }
    }

    #[test]
    fn bodies_round_trip_however_they_are_cut(
        items in prop::collection::vec(item(), 0..20),
        cuts in prop::collection::vec(1..200_usize, 1..10),
    ) {
        let mut bytes = Vec::new();
        for item in &items {
            match item {
                Item::Body(body) => bodies::write(body, &mut bytes),
                Item::Absent { id, reason } => bodies::write_absent(id, *reason, &mut bytes),
            }
        }
        let mut reader = ItemReader::default();
        let mut found = Vec::new();
        let mut rest = bytes.as_slice();
        for len in cuts.iter().cycle() {
            let (part, behind) = rest.split_at(rest.len().min(*len));
            found.extend(reader.push(part, 300).unwrap());
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(found, items);
        prop_assert!(!reader.is_inside());
    }

    #[test]
    fn any_bytes_read_as_bodies_or_not(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..10),
    ) {
        let mut reader = ItemReader::default();
        for part in parts {
            match reader.push(&part, 1000) {
                Ok(items) => {
                    let long = |item: &Item| matches!(item, Item::Body(body) if body.len() > 1000);
                    prop_assert!(!items.iter().any(long));
                }
                Err(_) => break,
            }
        }
    }

    #[test]
    fn lists_of_ids_round_trip(ids in set(), spare in prop::collection::vec(any::<u8>(), 1..16)) {
        let bytes = ids::write_ids(&ids);
        prop_assert_eq!(ids::read_ids(&bytes, ids.len()), Ok(ids.as_slice()));
        prop_assert!(ids::read_ids(&[bytes, spare.clone()].concat(), 1000).is_err());
        let prefixes: BTreeSet<_> = ids.iter().map(ids::prefix).collect();
        let prefixes: Vec<_> = prefixes.into_iter().collect();
        let bytes = ids::write_prefixes(&prefixes);
        prop_assert_eq!(ids::read_prefixes(&bytes, 1000), Ok(prefixes.as_slice()));
        let twice = [bytes.clone(), bytes.clone()].concat();
        prop_assert!(ids::read_prefixes(&twice, 1000).is_err() || ids.is_empty());
        prop_assert_eq!(ids::join(&prefixes, &ids::write_suffixes(&ids)), Ok(ids.clone()));
        prop_assert!(ids::join(&prefixes, &[ids::write_suffixes(&ids), spare].concat()).is_err());
    }
}

/// What later versions say of an absent body is skipped.
#[test]
fn an_unknown_reason_is_skipped_with_what_belongs_to_it() {
    let mut bytes = vec![0, 40];
    bytes.extend([7; 32]);
    bytes.push(99);
    bytes.extend([1; 7]);
    bodies::write(b"next", &mut bytes);
    let items = ItemReader::default().push(&bytes, 1000).unwrap();
    let absent = Item::Absent { id: [7; 32], reason: AbsentReason::Unknown(99) };
    assert_eq!(items, [absent, Item::Body(b"next".to_vec())]);
    for len in [0, 32, 0x7f] {
        let read = ItemReader::default().push(&[0, len], 1000);
        assert_eq!(read.is_err(), len < 33, "{len}");
    }
}

#[test]
fn a_long_body_is_refused_before_it_comes() {
    let mut bytes = Vec::new();
    stemedb_sync::codec::varint::write(u64::MAX, &mut bytes);
    let refused = ItemReader::default().push(&bytes, 1 << 20);
    assert_eq!(refused, Err(CodecError::BodyTooLong { max: 1 << 20 }));
    let mut listed = vec![1];
    stemedb_sync::codec::varint::write(1 << 63, &mut listed);
    let refused = Below::read(&mut listed.as_slice(), &Prefix::TOP, 1, 8);
    assert_eq!(refused, Err(CodecError::TooMany { max: 8 }));
}
