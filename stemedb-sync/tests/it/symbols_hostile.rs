//! Symbols that no honest peer sends: what a peeler makes of them is bounded, and no panic.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "these are tests")]

use std::collections::BTreeSet;

use crate::coded_symbols::{self, Id, Random};
use proptest::prelude::*;
use stemedb_sync::symbols::{Outcome, Peeler, Side, Symbol};

const KEY: [u8; 16] = *b"a key of 16 byte";

fn symbols_of(ids: &[Id], end: usize) -> Vec<Symbol> {
    coded_symbols::symbols(KEY, ids, 0, end as u64)
}

/// Peels differences: as if the local set were empty.
fn peel(remote: &[Symbol]) -> (Peeler, Outcome) {
    let mut peeler = Peeler::new(KEY);
    for symbol in remote {
        peeler.push(Symbol::default(), *symbol);
    }
    let outcome = peeler.run();
    (peeler, outcome)
}

/// The symbol that holds one id.
fn lone(id: &Id) -> Symbol {
    symbols_of(&[*id], 1)[0]
}

fn indices(id: &Id, end: u64) -> Vec<u64> {
    coded_symbols::indices(coded_symbols::hash(KEY, &id[..8]), end)
}

#[test]
fn honest_symbols_are_complete() {
    let (peeler, outcome) = peel(&symbols_of(&Random(1).ids(30), 500));
    assert_eq!((peeler.items().len(), outcome), (30, Outcome::Complete));
}

/// Why the roots decide: with one such pair on each side, symbols see no difference at all.
#[test]
fn ids_that_share_a_prefix_never_part() {
    let mut random = Random(2);
    let [one, mut other] = [random.id(), random.id()];
    other[..8].copy_from_slice(&one[..8]);
    let more = random.ids(20);
    let (peeler, outcome) = peel(&symbols_of(&[&more[..], &[one, other]].concat(), 4_000));
    assert_eq!(outcome, Outcome::Stalled);
    assert!(peeler.only_remote().all(|prefix| prefix != one[..8]));

    let mut peeler = Peeler::new(KEY);
    for (ours, theirs) in symbols_of(&[one], 100).iter().zip(symbols_of(&[other], 100)) {
        peeler.push(*ours, theirs);
    }
    assert_eq!((peeler.run(), peeler.items()), (Outcome::Complete, &[][..]));
}

/// Two ids whose hashes are equal are at the same indices, and are never seen alone. (To find such
/// a pair takes 2^32 hashes, so these are made up.)
#[test]
fn ids_that_share_a_hash_never_part() {
    let mut random = Random(3);
    let mut symbols = symbols_of(&random.ids(20), 4_000);
    let hash = random.next();
    let pair = Symbol { sum: random.next(), check: 0, count: 2 };
    for index in coded_symbols::indices(hash, 4_000) {
        let symbol = &mut symbols[usize::try_from(index).unwrap()];
        symbol.sum ^= pair.sum;
        symbol.count += pair.count;
    }
    assert_eq!(peel(&symbols).1, Outcome::Stalled);
}

/// What looks like one id and is at an index where that is not, is several, or made up: it is left
/// alone.
#[test]
fn an_id_where_it_does_not_belong_is_no_id() {
    let id = Random(4).id();
    let at = indices(&id, 100);
    for index in 0..100 {
        let mut symbols = vec![Symbol::default(); 100];
        symbols[index] = lone(&id);
        // Where it belongs, it is missing from the others.
        let (peeler, outcome) = peel(&symbols);
        let belongs = at.contains(&(index as u64));
        let expected = if belongs { Outcome::Suspicious } else { Outcome::Stalled };
        assert_eq!(outcome, expected, "{index}");
        assert!(belongs || symbols_of(&[id], 100)[index].is_empty());
        assert!(peeler.items().len() <= usize::from(belongs));
    }
    assert_eq!(peel(&symbols_of(&[id], 100)).1, Outcome::Complete);

    // Nor does it help if it could be taken out of everything else.
    for index in (0..100).filter(|index| !at.contains(index)) {
        let mut symbols = vec![Symbol { count: 2, ..Symbol::default() }; 100];
        symbols[usize::try_from(index).unwrap()] = lone(&id);
        let (peeler, outcome) = peel(&symbols);
        assert_eq!((peeler.items().len(), outcome), (0, Outcome::Stalled), "{index}");
    }
}

/// An id put in at one index and taken out at all others would go to and fro for ever, if something
/// else did not leave it alone there time and again.
#[test]
fn an_id_that_comes_back_is_noticed() {
    let id = Random(5).id();
    let mut symbols = symbols_of(&[id], 60);
    let places: Vec<usize> = (0..60).filter(|index| !symbols[*index].is_empty()).collect();
    for index in &places[1..] {
        symbols[*index] = Symbol::default();
    }
    // Alone at index 0; at another, one more of it than there should be, and so once too many.
    symbols[places[2]] = Symbol { count: 2, ..Symbol::default() };
    symbols[places[3]] = Symbol { count: 2, ..Symbol::default() };
    let (peeler, outcome) = peel(&symbols);
    assert_eq!(outcome, Outcome::Suspicious);
    assert_eq!(peeler.items().len(), 0);

    // The same, but nothing is empty when it comes by for the first time.
    for index in &places[1..] {
        symbols[*index] = Symbol { count: 2, ..Symbol::default() };
    }
    let (peeler, outcome) = peel(&symbols);
    assert_eq!(outcome, Outcome::Suspicious);
    assert_eq!(peeler.items().len(), 1);
}

#[test]
fn symbols_that_come_later_can_still_contradict() {
    let id = Random(6).id();
    let symbols = symbols_of(&[id], 400);
    let next = indices(&id, 400).into_iter().find(|index| *index >= 20).unwrap();
    let first = usize::try_from(next).unwrap();
    let honest = || {
        let (peeler, outcome) = peel(&symbols[..first]);
        assert_eq!(outcome, Outcome::Complete);
        peeler
    };

    let mut peeler = honest();
    peeler.push(Symbol::default(), symbols[first]);
    assert_eq!(peeler.run(), Outcome::Complete);

    let mut peeler = honest();
    peeler.push(Symbol::default(), Symbol::default());
    assert_eq!(peeler.run(), Outcome::Suspicious, "the id is not where it must be");
    peeler.push(Symbol::default(), Symbol::default());
    assert_eq!(peeler.run(), Outcome::Suspicious, "it stays so");

    let mut peeler = honest();
    let more = Symbol { count: 7, ..symbols[first] };
    peeler.push(Symbol::default(), more);
    assert_eq!(peeler.run(), Outcome::Stalled, "something is left");
}

#[test]
fn extreme_counts_do_no_harm() {
    let id = Random(7).id();
    for count in [i32::MIN, i32::MIN + 1, i32::MAX, -2, 0, 2] {
        for other in [i32::MIN, -1, 0, i32::MAX] {
            let mut peeler = Peeler::new(KEY);
            for symbol in symbols_of(&[id], 40) {
                let with = |count| Symbol { count, ..symbol };
                peeler.push(with(other), with(count));
            }
            assert_ne!(peeler.run(), Outcome::Suspicious);
            assert!(peeler.items().len() <= 1);
            assert!(peeler.estimate().is_some());
        }
    }
}

/// A number below `end`.
fn pick(random: &mut Random, end: usize) -> usize {
    usize::try_from(random.next() % end as u64).unwrap()
}

/// Symbols that hold some of a few ids, some times over, with or without regard to where those
/// belong; and some pure noise.
fn crafted(seed: u64, len: usize) -> Vec<Symbol> {
    let mut random = Random(seed);
    let pool = random.ids(6);
    let lawful = pick(&mut random, 4) > 0;
    let mut symbols = vec![Symbol::default(); len];
    for id in &pool {
        let belongs = indices(id, len as u64);
        let at: Vec<u64> = match pick(&mut random, 3) {
            _ if lawful => belongs,
            0 => belongs,
            1 => belongs.into_iter().filter(|_| pick(&mut random, 8) > 0).collect(),
            _ => (0..pick(&mut random, 9)).map(|_| pick(&mut random, len) as u64).collect(),
        };
        for index in at {
            let symbol = &mut symbols[usize::try_from(index).unwrap()];
            let held = lone(id);
            if lawful || pick(&mut random, 10) > 0 {
                symbol.sum ^= held.sum;
                symbol.check ^= held.check;
            }
            let times = if lawful { 1 } else { [1, 1, 1, -1, 2, i32::MAX][pick(&mut random, 6)] };
            symbol.count = symbol.count.wrapping_add(times);
        }
    }
    if pick(&mut random, 3) == 0 {
        let index = pick(&mut random, len);
        symbols[index].check ^= u32::try_from(random.next() >> 32).unwrap();
    }
    symbols
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

    /// Whatever is sent: it ends, with at most as many items as symbols and none of them twice, and
    /// if nothing is left, then the symbols are those of the items.
    #[test]
    fn crafted_symbols_are_peeled_within_bounds(
        seed: u64,
        len in 1_usize..60,
        step in 1_usize..60,
    ) {
        let symbols = crafted(seed, len);
        let mut peeler = Peeler::new(KEY);
        let mut outcome = Outcome::Stalled;
        for symbols in symbols.chunks(step) {
            for symbol in symbols {
                peeler.push(Symbol::default(), *symbol);
            }
            let suspicious = outcome == Outcome::Suspicious;
            outcome = peeler.run();
            prop_assert!(!suspicious || outcome == Outcome::Suspicious);
        }
        let items = peeler.items();
        prop_assert!(items.len() <= len);
        let prefixes: BTreeSet<_> = items.iter().map(|item| item.prefix).collect();
        prop_assert_eq!(prefixes.len(), items.len());
        if outcome == Outcome::Complete {
            let mut explained = vec![Symbol::default(); len];
            for item in items {
                let mut id = [0; 32];
                id[..8].copy_from_slice(&item.prefix);
                for (sum, symbol) in explained.iter_mut().zip(symbols_of(&[id], len)) {
                    sum.sum ^= symbol.sum;
                    sum.check ^= symbol.check;
                    let remote = item.side == Side::Remote;
                    sum.count += if remote { symbol.count } else { -symbol.count };
                }
            }
            prop_assert_eq!(explained, symbols);
        }
    }

    #[test]
    fn noise_is_never_complete(noise in prop::collection::vec(any::<(u64, u32, i8)>(), 1..60)) {
        let symbols: Vec<Symbol> = noise
            .into_iter()
            .map(|(sum, check, count)| Symbol { sum, check, count: (count % 3).into() })
            .collect();
        let (peeler, outcome) = peel(&symbols);
        prop_assert_eq!(outcome, Outcome::Stalled);
        prop_assert_eq!(peeler.items().len(), 0);
    }
}

/// The crafted symbols above must come to every outcome, or they test nothing.
#[test]
fn crafted_symbols_come_to_every_outcome() {
    let mut seen = [0; 3];
    for seed in 0..500 {
        seen[peel(&crafted(seed, 40)).1 as usize] += 1;
    }
    assert!(seen.iter().all(|times| *times >= 20), "{seen:?}");
}

/// A peeler with another key sees no id in any symbol.
#[test]
fn another_key_recovers_nothing() {
    let mut peeler = Peeler::new([0; 16]);
    for symbol in symbols_of(&Random(8).ids(5), 100) {
        peeler.push(Symbol::default(), symbol);
    }
    assert_eq!((peeler.run(), peeler.items().len()), (Outcome::Stalled, 0));
}
