//! Makes the bytes of a batch.

use stemedb_merkle::Hash;

use crate::{
    batch::{self, BatchHeader},
    checksum::Salt,
    log::{HoleEntry, NewRecord, Placed},
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

/// As what something is written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum As {
    /// A new entry, at the time of the batch.
    Entry,
    /// The body of a hole.
    Heal(HoleEntry),
    /// An entry or a hole of an earlier generation, which keeps its time.
    Restored { kind: Kind, time: u64 },
}

/// Something that a record can be made of.
pub(crate) trait ToRecord {
    fn id(&self) -> Hash;
    fn body(&self) -> &[u8];
    fn to_be(&self) -> As;

    /// How many bytes it takes in the log.
    fn record_len(&self) -> u64 {
        HEAD_LEN as u64 + self.body().len() as u64
    }
}

impl ToRecord for NewRecord<'_> {
    fn id(&self) -> Hash {
        self.id
    }

    fn body(&self) -> &[u8] {
        self.body
    }

    fn to_be(&self) -> As {
        self.heals.map_or(As::Entry, As::Heal)
    }
}

/// Makes `buffer` the bytes of a batch, appends a [`Placed`] for each record, and returns the
/// header.
///
/// The caller has checked that all lengths, indexes and times are within their limits.
pub(crate) fn encode_batch<R: ToRecord>(
    buffer: &mut Vec<u8>,
    records: &[R],
    place: &Place,
    placed: &mut Vec<Placed>,
) -> BatchHeader {
    let payload_len: u64 = records.iter().map(R::record_len).sum();
    let mut header = BatchHeader {
        payload_len: u32::try_from(payload_len).unwrap_or(u32::MAX),
        records: u32::try_from(records.len()).unwrap_or(u32::MAX),
        entries: 0,
        first_index: place.next_index,
        durable_upto: place.durable_upto,
        first_time: place.last_time,
        last_time: place.last_time,
    };
    buffer.clear();
    buffer.reserve(usize::try_from(header.batch_len()).unwrap_or(0));
    placed.reserve(records.len());
    buffer.extend_from_slice(&[0; batch::HEADER_LEN]);
    let mut next_index = place.next_index;
    for record in records {
        let position = place.position.wrapping_add(buffer.len() as u64);
        let next_time = || place.now.max(header.last_time.wrapping_add(1));
        let (kind, index, time) = match record.to_be() {
            As::Entry => (Kind::Entry, next_index, next_time()),
            As::Heal(hole) => (Kind::Heal, hole.index.get(), hole.time.as_ntp64()),
            As::Restored { kind, time } => (kind, next_index, time),
        };
        let body = record.body();
        let head = Head {
            kind,
            len: u32::try_from(body.len()).unwrap_or(u32::MAX),
            index,
            time,
            id: record.id(),
            body_sum: place.salt.checksum(position, body),
        };
        buffer.extend_from_slice(&head.encode(place.salt, position));
        buffer.extend_from_slice(body);
        placed.push(Placed::new(&head, position));
        if kind.takes_index() {
            if header.entries == 0 {
                header.first_time = time;
            }
            header.entries += 1;
            header.last_time = time;
            next_index = next_index.wrapping_add(1);
        }
    }
    buffer.extend_from_slice(&batch::END);
    let bytes = header.encode(place.salt, place.position);
    if let Some(front) = buffer.first_chunk_mut() {
        *front = bytes;
    }
    header
}
