//! Damage on top of a power cut: found, and never taken for what the cut tore.

use stemedb_simdisk::FaultyDisk;
use stemedb_store::{LogIndex, LogSize, ReadError, Store, Warning};
use stemedb_wal::{
    disk::Disk as _,
    log::Warning as LogWarning,
    raw::{HEAD_LEN, SegmentHeader, parse_segment_name},
};

use super::life::{Wrap, options};
use crate::reference::{ledger::Ledger, random::Random, world::ENVIRONMENT};

#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// The store did not open.
    pub(crate) refused: u64,
    /// It opened from a restart checkpoint, and reads failed.
    pub(crate) unreadable: u64,
}

/// The segment that a position of the log is in, and its offset there.
pub(crate) fn place_of(disk: &FaultyDisk, position: u64) -> (String, u64) {
    let segments = disk.list().unwrap().into_iter().filter_map(|name| {
        parse_segment_name(&name)?;
        let header = SegmentHeader::parse(&disk.contents(&name).unwrap()).ok()?;
        Some((name, position.checked_sub(header.first_position)?))
    });
    segments.min_by_key(|(_, offset)| *offset).unwrap()
}

/// Damages an entry that a later batch says was durable.
pub(crate) fn damage_after(
    disk: &FaultyDisk,
    wrap: Wrap,
    ledger: &Ledger,
    random: &mut Random,
    counts: &mut Counts,
) -> Result<(), String> {
    if ledger.covered == 0 {
        return Ok(());
    }
    let damaged = random.index(ledger.covered);
    let entry = &ledger.entries[damaged];
    let disk = disk.fork();
    let (name, offset) = place_of(&disk, entry.receipt.position.get());
    let before = disk.contents(&name).unwrap();
    let len = (HEAD_LEN + entry.body.len()) as u64;
    if random.one_in(2) {
        disk.flip_bit(&name, offset * 8 + random.below(len * 8)).unwrap();
    } else {
        let from = random.below(len);
        let zeros = vec![0; random.index(1 + usize::try_from(len - from).unwrap())];
        disk.overwrite(&name, &zeros, offset + from).unwrap();
    }
    if disk.contents(&name).unwrap() == before {
        return Ok(());
    }
    let context = |what: &str| format!("entry {damaged} damaged in {name} at {offset}: {what}");
    let store = match Store::open_on(wrap(disk), ENVIRONMENT, options()) {
        Err(error) if error.is_damage() => {
            counts.refused += 1;
            return Ok(());
        }
        Err(error) => return Err(context(&format!("reported as: {error}"))),
        Ok(store) => store,
    };
    counts.unreadable += 1;
    for remark in &store.open_report().remarks {
        if let Warning::Log(LogWarning::TornTail { index, .. }) = remark
            && *index < ledger.entries.len() as u64
        {
            return Err(context("taken for torn"));
        }
    }
    never_wrong(&store, ledger).map_err(|error| context(&error))?;
    match store.get_index(LogIndex(damaged as u64)) {
        Err(error) if error.is_damage() => Ok(()),
        Err(error) => Err(context(&format!("reads as: {error}"))),
        Ok(_) => Err(context("reads as if nothing had happened")),
    }
}

/// Whatever a store answers is what was acknowledged, or an error that says damage.
pub(crate) fn never_wrong(store: &Store, ledger: &Ledger) -> Result<(), String> {
    #[expect(clippy::needless_pass_by_value, reason = "for `or_else`")]
    fn damage<T>(error: ReadError) -> Result<Option<T>, String> {
        if error.is_damage() { Ok(None) } else { Err(error.to_string()) }
    }
    let (size, sure) = (store.log_size(), ledger.entries.len() as u64);
    if size < LogSize(sure) || size > LogSize(sure + ledger.in_flight.len() as u64) {
        return Err(format!("{size} entries, and {sure} were acknowledged"));
    }
    for expected in ledger.entries.iter() {
        let receipt = expected.receipt;
        let index = receipt.index;
        let entry = store.entry(index).or_else(damage)?;
        if entry.is_some_and(|entry| (entry.time, entry.id) != (receipt.time, receipt.id)) {
            return Err(format!("entry {index} is {entry:?}"));
        }
        let body = store.get_at(receipt.position).map(Some).or_else(damage)?;
        if body.is_some_and(|body| body != *expected.body) {
            return Err(format!("entry {index} has another body"));
        }
        if store.contains(&receipt.id).map(Some).or_else(damage)? == Some(false) {
            return Err(format!("entry {index} is not in the set"));
        }
    }
    if size == sure && store.head().unwrap() != ledger.head() {
        return Err("another head".into());
    }
    Ok(())
}
