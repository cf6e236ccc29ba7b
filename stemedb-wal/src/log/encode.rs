//! Makes the bytes of a batch.

use std::io::IoSlice;

use stemedb_merkle::Hash;

use crate::{
    batch::{self, BatchHeader},
    checksum::Salt,
    internal::{in_memory, in_segment},
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

/// Where the bodies of a batch are when it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bodies {
    /// In the bytes of the batch, behind their heads.
    Copied,
    /// Where the records have them.
    InPlace,
}

/// Makes `buffer` the bytes of a batch, appends a [`Placed`] for each record, and returns the
/// header. Bodies that stay [in place](Bodies::InPlace) are left out: [`parts`] has them.
///
/// The caller has checked that all lengths, indexes and times are within their limits.
pub(crate) fn encode_batch<R: ToRecord>(
    buffer: &mut Vec<u8>,
    records: &[R],
    bodies: Bodies,
    place: &Place,
    placed: &mut Vec<Placed>,
) -> BatchHeader {
    let payload_len: u64 = records.iter().map(R::record_len).sum();
    let mut header = BatchHeader {
        payload_len: in_segment(payload_len),
        records: in_segment(records.len()),
        entries: 0,
        first_index: place.next_index,
        durable_upto: place.durable_upto,
        first_time: place.last_time,
        last_time: place.last_time,
    };
    buffer.clear();
    if bodies == Bodies::Copied {
        buffer.reserve(in_memory(header.batch_len()));
    }
    placed.reserve(records.len());
    buffer.extend_from_slice(&[0; batch::HEADER_LEN]);
    let mut next_index = place.next_index;
    let mut offset = batch::HEADER_LEN as u64;
    for record in records {
        let position = place.position.wrapping_add(offset);
        offset += record.record_len();
        let next_time = || place.now.max(header.last_time.wrapping_add(1));
        let (kind, index, time) = match record.to_be() {
            As::Entry => (Kind::Entry, next_index, next_time()),
            As::Heal(hole) => (Kind::Heal, hole.index.get(), hole.time.as_ntp64()),
            As::Restored { kind, time } => (kind, next_index, time),
        };
        let body = record.body();
        let head = Head {
            kind,
            len: in_segment(body.len()),
            index,
            time,
            id: record.id(),
            body_sum: place.salt.checksum(position, body),
        };
        buffer.extend_from_slice(&head.encode(place.salt, position));
        if bodies == Bodies::Copied {
            buffer.extend_from_slice(body);
        }
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

/// The parts of a batch whose bodies stay in place, in order; `buffer` is what [`encode_batch`] has
/// made of it.
pub(crate) fn parts<'a, R: ToRecord>(buffer: &'a [u8], records: &'a [R]) -> Vec<IoSlice<'a>> {
    let mut parts = Vec::with_capacity(records.len() * 2 + 2);
    let (header, rest) = buffer.split_at(batch::HEADER_LEN);
    parts.push(IoSlice::new(header));
    let heads = rest.chunks_exact(HEAD_LEN);
    let end = heads.remainder();
    for (head, record) in heads.zip(records) {
        parts.extend([head, record.body()].map(IoSlice::new));
    }
    parts.push(IoSlice::new(end));
    parts
}

const _: () = assert!(batch::END.len() < HEAD_LEN);
