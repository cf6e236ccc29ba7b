//! A peeler, fed with symbols that were changed on the way.

use std::collections::BTreeSet;

use stemedb_merkle::symbols::{Extension, Outcome, Peeler, Side, Symbol};

use super::{model::Random, script::Script};

const KEY: [u8; 16] = [0x6b; 16];

fn symbols_of(ids: &[[u8; 32]], count: u32) -> Vec<Symbol> {
    let mut extension = Extension::new(KEY, 0..count);
    for id in ids {
        extension.insert(id);
    }
    extension.into_symbols()
}

/// Two sets that follow from the first bytes, and changes of what one side sends of its symbols.
///
/// Without changes, what is peeled is the difference of the sets. With them it is anything, but in
/// bounds.
pub(crate) fn peeler(bytes: &[u8]) {
    let mut script = Script(bytes);
    let mut random = Random(u64::from_le_bytes(script.array()));
    let mut some = |count: u8| (0..count).map(|_| random.bytes()).collect::<Vec<[u8; 32]>>();
    let (common, mine, theirs) =
        (some(script.byte() / 4), some(script.byte()), some(script.byte()));
    let count = u32::from(u16::from_le_bytes(script.array()) % 1024);
    let local = symbols_of(&[&common[..], &mine].concat(), count);
    let mut remote = symbols_of(&[&common[..], &theirs].concat(), count);
    let step = usize::from(script.byte()) + 1;
    let honest = script.is_over() || remote.is_empty();
    while !script.is_over() && !remote.is_empty() {
        let at = usize::from(u16::from_le_bytes(script.array())) % remote.len();
        let other = remote[usize::from(script.byte()) % remote.len()];
        let symbol = &mut remote[at];
        match script.below(6) {
            0 => symbol.count = i32::from_le_bytes(script.array()),
            1 => symbol.count = symbol.count.wrapping_add(i32::from(script.byte()) - 128),
            2 => symbol.sum ^= script.number(),
            3 => symbol.check ^= script.number32(),
            4 => *symbol = other,
            // What the peeler takes for one id: that of the other side, or whatever it may be.
            _ => *symbol = local[at].minus(Symbol { count: 1, ..other }),
        }
    }
    let mut peeler = Peeler::new(KEY);
    let mut outcome = Outcome::Stalled;
    for (mine, theirs) in local.chunks(step).zip(remote.chunks(step)) {
        mine.iter().zip(theirs).for_each(|(mine, theirs)| peeler.push(*mine, *theirs));
        outcome = peeler.run();
        peeler.estimate();
        assert!(peeler.items().len() <= peeler.symbols_taken());
    }
    let prefixes: BTreeSet<_> = peeler.items().iter().map(|item| item.prefix).collect();
    if outcome != Outcome::Suspicious {
        assert_eq!(prefixes.len(), peeler.items().len(), "an id comes twice");
    }
    if honest {
        assert_ne!(outcome, Outcome::Suspicious);
        let prefix = |id: &[u8; 32]| *id.first_chunk::<8>().unwrap();
        let [mine, theirs] = [mine, theirs].map(|ids| ids.iter().map(prefix).collect());
        let found: [BTreeSet<_>; 2] =
            [peeler.only_local().collect(), peeler.only_remote().collect()];
        let expected: [BTreeSet<[u8; 8]>; 2] = [mine, theirs];
        for (found, expected) in found.iter().zip(&expected) {
            assert!(found.is_subset(expected));
            assert!(outcome != Outcome::Complete || found == expected);
        }
    }
    let local = peeler.items().iter().filter(|item| item.side == Side::Local).count();
    assert_eq!(peeler.only_local().count(), local);
}
