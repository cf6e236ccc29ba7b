//! Coded symbols against their definition, the fixtures, and each other: sketches, extensions, the
//! codec, the estimate, and above all that what is peeled is the symmetric difference.

#![expect(clippy::unwrap_used, reason = "these are tests")]

use std::collections::BTreeSet;

use crate::coded_symbols::{self, Id, Random};
use proptest::prelude::*;
use serde_json::Value;
use stemedb_sync::symbols::{
    CheckKey, DecodeError, ENCODED_LEN_MAX, ENCODED_LEN_MIN, Extension, FIRST_FRAME, Indices,
    Outcome, Peeler, SKETCH_LEN, Side, Sketch, SketchError, Symbol, decode, encode, estimate,
    symbols_for,
};

const KEY: [u8; 16] = *b"a key of 16 byte";

fn sketch_of(ids: &[Id], len: usize) -> Sketch {
    let mut sketch = Sketch::new(KEY, len);
    for id in ids {
        sketch.insert(id);
    }
    sketch
}

fn extension_of(ids: &[Id], range: std::ops::Range<u32>) -> Vec<Symbol> {
    let mut extension = Extension::new(KEY, range);
    for id in ids {
        extension.insert(id);
    }
    extension.into_symbols()
}

fn prefix(id: &Id) -> [u8; 8] {
    id[..8].try_into().unwrap()
}

#[test]
fn a_sketch_is_what_the_definition_says() {
    for (seed, count, len) in [(1, 0, 10), (2, 1, 100), (3, 2, 1), (4, 50, 300), (5, 300, 64)] {
        let ids = Random(seed).ids(count);
        let sketch = sketch_of(&ids, len);
        assert_eq!(sketch.count(), count as u64);
        let expected = coded_symbols::symbols(KEY, &ids, 0, len as u64);
        assert_eq!(sketch.symbols(0, u32::MAX), expected, "seed {seed}");
        assert_eq!(sketch.symbols(3, 5), expected.get(3..8).unwrap_or_default());
        assert_eq!(sketch.symbols(u32::MAX, 5), []);
        // Not so with one id more, or under another key.
        let more = [ids.as_slice(), &[[7; 32]]].concat();
        assert_ne!(coded_symbols::symbols(KEY, &more, 0, len as u64), expected);
        assert!(ids.is_empty() || coded_symbols::symbols([0; 16], &ids, 0, 1) != expected[..1]);
    }
}

#[test]
fn an_extension_is_what_the_definition_says() {
    let ids = Random(6).ids(2_000);
    for (from, to) in [(0, 1), (0, 70), (16_380, 16_400), (16_384, 16_450), (20_000, 20_040)] {
        let expected = coded_symbols::symbols(KEY, &ids, from.into(), to.into());
        assert_eq!(extension_of(&ids, from..to), expected, "{from}..{to}");
    }
    // Across the end of another stage.
    let ids = Random(7).ids(20_000);
    let expected = coded_symbols::symbols(KEY, &ids, 131_064, 131_080);
    assert!(expected.iter().any(|symbol| !symbol.is_empty()));
    assert_eq!(extension_of(&ids, 131_064..131_080), expected);
    assert_eq!(extension_of(&ids, 9..9), []);
    assert_eq!(extension_of(&ids, u32::MAX - 1..u32::MAX), []);
}

#[test]
fn an_extension_goes_on_where_a_sketch_ends() {
    let ids = Random(8).ids(3_000);
    let all = extension_of(&ids, 0..40_000);
    let parts = [
        sketch_of(&ids, SKETCH_LEN).symbols(0, u32::MAX),
        extension_of(&ids, 16_384..30_000),
        extension_of(&ids, 30_000..40_000),
    ];
    assert!(all == parts.concat());
}

#[test]
fn insertions_commute_and_removals_undo_them() {
    let ids = Random(9).ids(400);
    let sketch = sketch_of(&ids[..300], 500);
    let mut other = Sketch::new(KEY, 500);
    ids.iter().rev().for_each(|id| other.insert(id));
    assert_ne!(other, sketch);
    ids[300..].iter().for_each(|id| other.remove(id));
    assert_eq!(other, sketch);
    assert_eq!(other.count(), 300);
}

#[test]
fn a_sketch_survives_its_elements() {
    for len in [130, 131] {
        let sketch = sketch_of(&Random(10).ids(100), len);
        let elements = sketch.to_elements();
        assert_eq!(elements.len(), 1 + len.div_ceil(2));
        assert_eq!(Sketch::from_elements(KEY, &elements), Ok(sketch.clone()));
        assert_eq!(Sketch::from_elements([0; 16], &elements), Err(SketchError::Key));
        assert_eq!(Sketch::from_elements(KEY, &[]), Err(SketchError::Unknown));
        for cut in 1..elements.len() {
            let cut = Sketch::from_elements(KEY, &elements[..cut]);
            assert_eq!(cut, Err(SketchError::Length(len as u64)));
        }
        for bit in 0..256 {
            let mut bad = elements.clone();
            bad[0][bit / 8] ^= 1 << (bit % 8);
            let expected = match bit {
                0..64 => Err(SketchError::Unknown),
                64..128 => Err(SketchError::Key),
                // The checkpoint says how many ids it has, and compares.
                128..192 => {
                    let found = Sketch::from_elements(KEY, &bad).unwrap();
                    assert_eq!(found.count(), sketch.count() ^ 1 << (bit - 128));
                    assert_eq!(found.symbols(0, u32::MAX), sketch.symbols(0, u32::MAX));
                    continue;
                }
                bit => Err(SketchError::Length(len as u64 ^ 1 << (bit - 192))),
            };
            assert_eq!(Sketch::from_elements(KEY, &bad), expected, "{bit}");
        }
    }
    // What is no symbol is zeros.
    let mut elements = sketch_of(&Random(10).ids(100), 131).to_elements();
    elements.last_mut().unwrap()[31] = 1;
    assert_eq!(Sketch::from_elements(KEY, &elements), Err(SketchError::Length(131)));
    // Nor is there a sketch without symbols, or of more than there are.
    let mut none = [Sketch::new(KEY, 1).to_elements()[0]];
    for (fill, len) in [(0, 0), (0xff, u64::MAX)] {
        none[0][24..].fill(fill);
        assert_eq!(Sketch::from_elements(KEY, &none), Err(SketchError::Length(len)));
    }
}

/// A set that has more ids than a symbol can count.
#[test]
fn counts_are_modulo_2_to_the_32() {
    const N: u64 = (1 << 32) + 5;
    let mut elements = Sketch::new(KEY, 3).to_elements();
    elements[0][16..24].copy_from_slice(&N.to_le_bytes());
    let sketch = Sketch::from_elements(KEY, &elements).unwrap();
    assert_eq!(sketch.count(), N);
    let symbol = |count: i32| Symbol { count, ..Symbol::default() };
    let symbols = [symbol(5), symbol(i32::MIN), symbol(-1)];
    let bytes = encode(&symbols, 0, N);
    assert_eq!(decode(&bytes, 0, N, 3), Ok(symbols.to_vec()));
    assert_eq!(bytes[12], 0, "as many as there are to be at index 0");
    // What one set has more than the other is right all the same.
    let difference = symbol(i32::MIN).minus(symbol(i32::MAX));
    assert_eq!(difference.count, 1);
}

#[test]
fn the_fixtures_of_an_independent_implementation() {
    let fixtures: Value = serde_json::from_str(include_str!("../data/symbols.json")).unwrap();
    let bytes = |value: &Value| -> Vec<u8> {
        let text = value.as_str().unwrap().as_bytes();
        let digit = |c: &u8| u8::try_from(char::from(*c).to_digit(16).unwrap()).unwrap();
        text.chunks(2).map(|pair| digit(&pair[0]) << 4 | digit(&pair[1])).collect()
    };
    let number = |value: &Value| u64::from_str_radix(value.as_str().unwrap(), 16).unwrap();
    let key = |case: &Value| <[u8; 16]>::try_from(bytes(&case["key"])).unwrap();
    let list = |value: &Value| -> Vec<u64> {
        value.as_array().unwrap().iter().map(|index| index.as_u64().unwrap()).collect()
    };
    let mapping = fixtures["mapping"].as_array().unwrap();
    assert_eq!(mapping.len(), 16);
    for case in mapping {
        let prefix: [u8; 8] = bytes(&case["id"])[..8].try_into().unwrap();
        let hash = CheckKey::new(key(case)).hash(u64::from_le_bytes(prefix));
        assert_eq!(hash, number(&case["hash"]));
        assert_eq!(coded_symbols::hash(key(case), &prefix), hash);
        let indices: Vec<u64> = Indices::new(hash).map(u64::from).collect();
        assert_eq!(indices[..20], list(&case["indices"]));
        assert_eq!(indices.len() as u64, case["indices_in_all"].as_u64().unwrap());
        assert_eq!(indices.last().copied(), case["last"].as_u64());
        let behind = Indices::starting_at(hash, 16_384).map(u64::from).take(8);
        assert_eq!(behind.collect::<Vec<_>>(), list(&case["from_16384"]));
        // The definition of these tests is held to the same.
        assert_eq!(coded_symbols::indices(hash, 1 << 30), indices);
    }
    let sets = fixtures["sets"].as_array().unwrap();
    assert_eq!(sets.len(), 5);
    for case in sets {
        let number_of = |name: &str| case[name].as_u64().unwrap();
        let (n, from) = (number_of("ids"), u32::try_from(number_of("from")).unwrap());
        let symbols = case["symbols"].as_array().unwrap();
        let to = from + u32::try_from(symbols.len()).unwrap();
        let mut extension = Extension::new(key(case), from..to);
        for id in 0..u32::try_from(n).unwrap() {
            extension.insert(&id.to_le_bytes().repeat(8).try_into().unwrap());
        }
        let expected: Vec<Symbol> = symbols
            .iter()
            .map(|symbol| Symbol {
                sum: u64::from_le_bytes(bytes(&symbol["sum"]).try_into().unwrap()),
                check: u32::try_from(number(&symbol["check"])).unwrap(),
                count: i32::try_from(symbol["count"].as_i64().unwrap()).unwrap(),
            })
            .collect();
        assert_eq!(extension.into_symbols(), expected);
        assert_eq!(encode(&expected, from, n), bytes(&case["encoded"]));
    }
}

/// Peels the symbols of two sets, of which so many more are shown until it is done, and returns the
/// prefixes on either side and how many symbols it took.
fn peel(local: &[Id], remote: &[Id], step: usize) -> ([BTreeSet<[u8; 8]>; 2], usize) {
    let differences = local.len() + remote.len();
    let end = u32::try_from(3 * differences + 3_000).unwrap();
    let [ours, theirs] = [local, remote].map(|ids| extension_of(ids, 0..end));
    let mut peeler = Peeler::new(KEY);
    for (ours, theirs) in ours.chunks(step).zip(theirs.chunks(step)) {
        ours.iter().zip(theirs).for_each(|(ours, theirs)| peeler.push(*ours, *theirs));
        if peeler.run() == Outcome::Complete {
            break;
        }
    }
    assert_eq!(peeler.run(), Outcome::Complete);
    assert!(peeler.items().len() <= peeler.symbols_taken());
    let found: [BTreeSet<_>; 2] = [peeler.only_local().collect(), peeler.only_remote().collect()];
    assert_eq!(found[0].len() + found[1].len(), peeler.items().len(), "an item came twice");
    (found, peeler.symbols_taken())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_two_sets_peel_to_their_difference(
        seed: u64,
        common in 0_usize..60,
        only_local in 0_usize..80,
        only_remote in 0_usize..80,
        step in 1_usize..200,
    ) {
        let mut random = Random(seed);
        let [both, ours, theirs] = [common, only_local, only_remote].map(|n| random.ids(n));
        let (found, _) = peel(&[&*both, &*ours].concat(), &[&*theirs, &*both].concat(), step);
        let expected = [&ours, &theirs].map(|ids| ids.iter().map(prefix).collect::<BTreeSet<_>>());
        prop_assert_eq!(&found, &expected);
        // However they came, one by one or all at once, the same was found.
        let (again, _) = peel(&[&*both, &*ours].concat(), &[&*theirs, &*both].concat(), 1_000);
        prop_assert_eq!(&again, &expected);
        // Not so if one side lacks one more.
        if let Some((_, ours)) = ours.split_first() {
            let (found, _) = peel(&[&*both, ours].concat(), &[&*theirs, &*both].concat(), step);
            prop_assert_ne!(&found, &expected);
        }
    }

    #[test]
    fn symbols_survive_the_wire(
        symbols in prop::collection::vec(any::<(u64, u32, i32)>(), 0..40),
        from: u32,
        n: u64,
        shift in 0_u32..32,
    ) {
        let symbols: Vec<Symbol> = symbols
            .into_iter()
            .map(|(sum, check, count)| Symbol { sum, check, count: count >> shift })
            .collect();
        let bytes = encode(&symbols, from, n);
        prop_assert!(bytes.len() >= symbols.len() * ENCODED_LEN_MIN);
        prop_assert!(bytes.len() <= symbols.len() * ENCODED_LEN_MAX);
        prop_assert_eq!(decode(&bytes, from, n, symbols.len()), Ok(symbols.clone()));
        prop_assert_eq!(decode(&bytes, from, n, usize::MAX), Ok(symbols.clone()));
        if let Some(fewer) = symbols.len().checked_sub(1) {
            let error = DecodeError::TooMany(fewer);
            prop_assert_eq!(decode(&bytes, from, n, fewer), Err(error));
            let cut = decode(&bytes[..bytes.len() - 1], from, n, usize::MAX);
            prop_assert_eq!(cut, Err(DecodeError::Truncated));
        }
    }

    #[test]
    fn garbage_is_refused_or_is_the_one_way_to_write_it(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        from: u32,
        n: u64,
    ) {
        if let Ok(symbols) = decode(&bytes, from, n, 100) {
            prop_assert_eq!(encode(&symbols, from, n), bytes);
        }
    }
}

#[test]
fn counts_are_written_in_one_way_only() {
    let with = |varint: &[u8]| decode(&[&[0; 12], varint].concat(), 0, 0, 9);
    let count = |varint: &[u8]| with(varint).unwrap()[0].count;
    assert_eq!([0, 1, 2, 3, 0x7f].map(|byte| count(&[byte])), [0, -1, 1, -2, -64]);
    assert_eq!(count(&[0x80, 1]), 64);
    let most = [0xff, 0xff, 0xff, 0xff, 0xf];
    assert_eq!(count(&most), i32::MIN);
    assert_eq!(with(&[0x80, 0]), Err(DecodeError::Varint));
    assert_eq!(with(&[0x80, 0x80, 0]), Err(DecodeError::Varint));
    assert_eq!(with(&[&most[..4], &[0x10]].concat()), Err(DecodeError::Varint));
    assert_eq!(with(&[&most[..4], &[0x8f, 0]].concat()), Err(DecodeError::Varint));
    assert_eq!(with(&most[..4]), Err(DecodeError::Truncated));
    assert_eq!(with(&[]), Err(DecodeError::Truncated));
}

#[test]
fn a_symbol_takes_little_more_than_13_bytes() {
    const N: usize = 100_000;
    let symbols = sketch_of(&Random(11).ids(N), SKETCH_LEN).symbols(0, u32::MAX);
    for (count, len_max) in [(FIRST_FRAME as usize, 229), (1_000, 13_350), (SKETCH_LEN, 213_900)] {
        let len = encode(&symbols[..count], 0, N as u64).len();
        assert!(len <= len_max, "{count}: {len}");
    }
    // Without the right number of ids it would be more.
    assert!(encode(&symbols[..1_000], 0, 0).len() > 14_000);
}

#[test]
fn the_difference_is_estimated_within_its_error() {
    const RUNS: u32 = 150;
    for difference in [2_u32, 3, 5, 10, 30, 100, 300, 1_000, 5_000] {
        for share in [0.5, 0.9, 1.0] {
            let (mut sum, mut within) = (0.0, 0);
            let mut error = 0.0;
            let size = f64::from(difference);
            let local = (size * share).round();
            for run in 0..RUNS {
                let mut random = Random(u64::from(difference) << 40 | u64::from(run));
                let mut sides = [0, 1].map(|_| Extension::new(KEY, 0..64));
                for number in 0..difference {
                    sides[usize::from(f64::from(number) >= local)].insert(&random.id());
                }
                let [ours, theirs] = sides.map(Extension::into_symbols);
                let differences: Vec<Symbol> =
                    ours.iter().zip(&theirs).map(|(ours, theirs)| ours.minus(*theirs)).collect();
                let estimate = estimate(&differences).unwrap();
                let found = f64::from(u32::try_from(estimate.difference).unwrap());
                sum += found;
                error += estimate.error;
                within += u32::from((found - size).abs() <= 2.0 * estimate.error.max(0.5));
            }
            let runs = f64::from(RUNS);
            let (mean, error) = (sum / runs, error / runs);
            let case = format!("{difference} ids, {share} local: {mean} +- {error}, {within}");
            // Never below the surplus, so a little too high where that is all there is.
            let bias = if share < 1.0 { 0.0 } else { 0.5 * error };
            assert!((mean - size).abs() <= bias + 4.0 * error / runs.sqrt() + 0.2, "{case}");
            assert!(f64::from(within) >= 0.85 * runs, "{case}");
            assert!(difference < 100 || (0.17..0.20).contains(&(error / mean)), "{case}");
        }
    }
}

#[test]
fn estimates_of_little_or_nonsense() {
    let with = |count| Symbol { count, ..Symbol::default() };
    assert_eq!(estimate(&[]), None);
    assert_eq!(estimate(&[with(5)]), None);
    assert_eq!(estimate(&[Symbol::default(); 64]).unwrap().difference, 0);
    let hidden = Symbol { sum: 1, ..Symbol::default() };
    assert_eq!(estimate(&[hidden, Symbol::default()]).unwrap().difference, 1);
    for counts in [[i32::MAX, i32::MIN], [i32::MIN, i32::MAX], [0, i32::MIN], [i32::MIN, 0]] {
        let estimate = estimate(&counts.map(with)).unwrap();
        assert!(estimate.difference >= 1 << 30 && estimate.error.is_finite());
    }
}

#[test]
fn so_many_symbols_are_enough_nearly_always() {
    const RUNS: usize = 400;
    for difference in [1, 2, 3, 5, 10, 20, 50, 100, 300] {
        let enough = |symbols: u64| {
            let end = u32::try_from(symbols).unwrap();
            let peels = |run: usize| {
                let ids = Random((difference << 32 | run) as u64).ids(difference);
                let mut peeler = Peeler::new(KEY);
                for symbol in extension_of(&ids, 0..end) {
                    peeler.push(symbol, Symbol::default());
                }
                peeler.run() == Outcome::Complete
            };
            (0..RUNS).filter(|run| peels(*run)).count()
        };
        let times = enough(symbols_for(difference as u64));
        assert!(times * 100 >= RUNS * 97, "{difference}: {times}");
        // Fewer than there are ids never do.
        assert!(difference == 1 || enough(difference as u64 - 1) == 0, "{difference}");
    }
    assert_eq!([0, 1, 100, 10_000].map(symbols_for), [8, 13, 183, 13_908]);
    assert_eq!(symbols_for(u64::MAX), u64::MAX);
}

#[test]
fn thousands_of_differences_take_1_4_symbols_each() {
    let mut random = Random(12);
    let (ours, theirs) = (random.ids(2_500), random.ids(2_500));
    let (found, taken) = peel(&ours, &theirs, 50);
    assert_eq!(found.map(|side| side.len()), [2_500, 2_500]);
    assert!((6_000..7_500).contains(&taken), "{taken}");
}

#[test]
fn a_peeler_says_who_has_what() {
    let ids = Random(13).ids(3);
    let [ours, theirs] = [&ids[..2], &ids[2..]].map(|ids| extension_of(ids, 0..50));
    let mut peeler = Peeler::new(KEY);
    assert_eq!(peeler.run(), Outcome::Stalled, "nothing was shown yet");
    ours.iter().zip(theirs).for_each(|(ours, theirs)| peeler.push(*ours, theirs));
    assert_eq!(peeler.run(), Outcome::Complete);
    let side = |id| peeler.items().iter().find(|item| item.prefix == prefix(id)).unwrap().side;
    assert_eq!([0, 1, 2].map(|n| side(&ids[n])), [Side::Local, Side::Local, Side::Remote]);
    assert!((1..=9).contains(&peeler.estimate().unwrap().difference));
}
