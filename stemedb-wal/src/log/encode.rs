//! Makes the bytes of a batch.

use crate::{
    batch::{self, BatchHeader},
    checksum::Salt,
    log::{NewRecord, Placed},
    record::{HEAD_LEN, Head, Kind},
};

/// Where a batch goes, and what came before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) salt: Salt,
    pub(crate) position: u64,
    pub(crate) next_index: u64,
    pub(crate) last_time: u64,
    pub(crate) durable_upto: u64,
    pub(crate) now: u64,
}

/// The length of a record on disk, in bytes.
pub(crate) fn record_len(record: &NewRecord<'_>) -> u64 {
    HEAD_LEN as u64 + record.body.len() as u64
}

/// Makes `buffer` the bytes of a batch, appends a [`Placed`] for each record, and returns the
/// header.
///
/// The caller has checked that all lengths, indexes and times are within their limits.
pub(crate) fn encode_batch(
    buffer: &mut Vec<u8>,
    records: &[NewRecord<'_>],
    place: &Place,
    placed: &mut Vec<Placed>,
) -> BatchHeader {
    let payload_len: u64 = records.iter().map(record_len).sum();
    let entries = records.iter().filter(|record| record.heals.is_none()).count();
    let first_time = match entries {
        0 => place.last_time,
        _ => place.now.max(place.last_time.wrapping_add(1)),
    };
    let last_time = first_time.wrapping_add((entries as u64).saturating_sub(1));
    let header = BatchHeader {
        payload_len: u32::try_from(payload_len).unwrap_or(u32::MAX),
        records: u32::try_from(records.len()).unwrap_or(u32::MAX),
        entries: u32::try_from(entries).unwrap_or(u32::MAX),
        first_index: place.next_index,
        durable_upto: place.durable_upto,
        first_time,
        last_time,
    };

    buffer.clear();
    buffer.reserve(usize::try_from(header.batch_len()).unwrap_or(0));
    placed.reserve(records.len());
    buffer.extend_from_slice(&header.encode(place.salt, place.position));
    let (mut index, mut time) = (place.next_index, first_time);
    for record in records {
        let position = place.position.wrapping_add(buffer.len() as u64);
        let (kind, at_index, at_time) = match record.heals {
            Some(hole) => (Kind::Heal, hole.index, hole.time),
            None => (Kind::Entry, index, time),
        };
        let head = Head {
            kind,
            len: u32::try_from(record.body.len()).unwrap_or(u32::MAX),
            index: at_index,
            time: at_time,
            id: record.id,
            body_sum: place.salt.checksum(position, record.body),
        };
        buffer.extend_from_slice(&head.encode(place.salt, position));
        buffer.extend_from_slice(record.body);
        placed.push(Placed {
            id: head.id,
            position,
            index: head.index,
            time: head.time,
            len: head.len,
            kind,
        });
        if kind.takes_index() {
            index = index.wrapping_add(1);
            time = time.wrapping_add(1);
        }
    }
    buffer.extend_from_slice(&batch::END);
    header
}
