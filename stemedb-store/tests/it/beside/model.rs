//! What a reader has to show of a log.

use std::sync::Arc;

use stemedb_merkle::history::{MemoryHistory, leaf_hash};
use stemedb_store::{
    AssertionId, Depth, Head, LogIndex, LogSize, Presence, StoreReader, Timestamp,
};

use crate::reference::{
    ledger::Ledger,
    random::Random,
    set_tree::{HASHES, SetTree},
};

/// Entries of a log, each with its time, its id and its body.
pub(crate) type Entries = Vec<(Timestamp, AssertionId, Arc<[u8]>)>;

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

pub(crate) fn entries(ledger: &Ledger) -> Entries {
    let all = ledger.entries.iter();
    all.map(|entry| (entry.receipt.time, entry.receipt.id, Arc::clone(&entry.body))).collect()
}

/// What a ledger says that a reader shows: all that was acknowledged, and of what is under way all
/// or nothing.
pub(crate) fn shown(reader: &StoreReader, ledger: &Ledger) -> Result<Entries, String> {
    let mut expected = entries(ledger);
    let (size, sure) = (reader.log_size(), expected.len() as u64);
    if size == sure {
        return Ok(expected);
    }
    if size != sure + ledger.in_flight.len() as u64 {
        let under_way = ledger.in_flight.len();
        return Err(format!("{size} entries, {sure} acknowledged and {under_way} under way"));
    }
    for body in ledger.in_flight.iter() {
        let id = AssertionId(*blake3::hash(body).as_bytes());
        let index = LogIndex(expected.len() as u64);
        let entry = reader.entry(index).map_err(text)?.ok_or("an entry is not there")?;
        expected.push((entry.time, id, Arc::clone(body)));
    }
    Ok(expected)
}

/// Counts and roots, by their definitions; of the set without the bodies of some entries.
pub(crate) fn head(entries: &Entries, lost: &[usize]) -> Head {
    let held = entries.iter().enumerate().filter(|(number, _)| !lost.contains(number));
    let set = SetTree::new(held.map(|(_, (_, id, _))| id.0), HASHES);
    let history: MemoryHistory =
        entries.iter().map(|(time, id, _)| leaf_hash(*time, &id.0)).collect();
    let log = history.head();
    Head {
        count: set.ids.len() as u64,
        set_root: set.root(),
        log_size: LogSize(log.size.0),
        log_root: log.root,
        last_time: entries.last().map_or(Timestamp::MIN, |(time, ..)| *time),
    }
}

/// Checks that a reader shows exactly these entries.
pub(crate) fn check(
    reader: &StoreReader,
    expected: &Entries,
    random: &mut Random,
) -> Result<(), String> {
    let (found, wanted) = (reader.head().map_err(text)?, head(expected, &[]));
    if found != wanted {
        return Err(format!("the head is {found:?}, and not {wanted:?}"));
    }
    let mut numbers: Vec<usize> = expected.len().checked_sub(1).into_iter().collect();
    if !expected.is_empty() {
        numbers.extend((0..2).map(|_| random.index(expected.len())));
    }
    for number in numbers {
        let (time, id, body) = &expected[number];
        let index = LogIndex(number as u64);
        let entry = reader.entry(index).map_err(text)?.ok_or("an entry is not there")?;
        if (entry.time, entry.id, entry.hole) != (*time, *id, false) {
            return Err(format!("entry {number} is {entry:?}"));
        }
        if reader.get(id).map_err(text)?.as_deref() != Some(body) {
            return Err(format!("entry {number} is not found by its id"));
        }
        if reader.get_index(index).map_err(text)?.is_none_or(|(_, found)| found != **body) {
            return Err(format!("entry {number} is not found by its index"));
        }
        let proven = reader.prove(id).map_err(text)?;
        if proven.proof.verify(&wanted.set_root) != Ok(Presence::Present) {
            return Err(format!("the presence of entry {number} is not proven"));
        }
        let proven = reader.prove_inclusion(index).map_err(text)?;
        let leaf = leaf_hash(*time, &id.0);
        let log = stemedb_store::TreeHead { size: wanted.log_size, root: wanted.log_root };
        proven.proof.verify(&leaf, index, &log).map_err(text)?;
    }
    if random.one_in(16) {
        let report = reader.check(Depth::Deep, &mut |_| {}).map_err(text)?;
        if let Some(fault) = report.faults.first() {
            return Err(format!("told as damage: {fault}"));
        }
        reader.stats().map_err(text)?;
    }
    Ok(())
}
