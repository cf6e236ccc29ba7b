//! Makes the bytes of a batch.

use std::io::{self, IoSlice};

use stemedb_merkle::Hash;

use crate::{
    batch::{self, BatchHeader},
    checksum::Salt,
    internal::in_segment,
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

/// Bodies of so many bytes are written from where they are: shorter ones are copied behind their
/// heads, which costs less than two more parts of a write.
const IN_PLACE_LEN_MIN: usize = 1 << 10;

/// A batch is written in pieces of about so many bytes, which are still in the processor's cache
/// then.
const PIECE_LEN: usize = 1 << 20;

/// What writes parts that lie behind one another, at an offset in the batch.
pub(crate) type WriteParts<'w> = &'w mut dyn FnMut(&mut [IoSlice<'_>], u64) -> io::Result<()>;

/// Makes and writes the bytes of a batch, a piece at a time and front to back: what is left of one
/// whose process was killed is zeros from somewhere on, which is how the judge of gaps knows it.
/// Appends a [`Placed`] for each record, and returns the header. `buffer` is memory to use.
///
/// The caller has checked that all lengths, indexes and times are within their limits.
///
/// # Errors
///
/// At the first piece that cannot be written.
pub(crate) fn write_batch<R: ToRecord>(
    buffer: &mut Vec<u8>,
    records: &[R],
    place: &Place,
    placed: &mut Vec<Placed>,
    write: WriteParts<'_>,
) -> io::Result<BatchHeader> {
    let header = header_of(records, place);
    buffer.clear();
    buffer.extend_from_slice(&header.encode(place.salt, place.position));
    let mut piece = Piece { buffer, in_place: Vec::new(), in_place_len: 0, start: 0 };
    placed.reserve(records.len());
    let mut numbers = Numbers::new(place);
    let mut offset = batch::HEADER_LEN as u64;
    for record in records {
        let position = place.position.wrapping_add(offset);
        offset += record.record_len();
        let (kind, index, time) = numbers.next(record.to_be());
        let body = record.body();
        let head = Head {
            kind,
            len: in_segment(body.len()),
            index,
            time,
            id: record.id(),
            body_sum: place.salt.checksum(position, body),
        };
        piece.push(&head.encode(place.salt, position), body);
        placed.push(Placed::new(&head, position));
        if piece.len() >= PIECE_LEN {
            piece.write(write)?;
        }
    }
    piece.buffer.extend_from_slice(&batch::END);
    piece.write(write)?;
    Ok(header)
}

/// The header of a batch of these records.
fn header_of<R: ToRecord>(records: &[R], place: &Place) -> BatchHeader {
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
    let mut numbers = Numbers::new(place);
    for record in records {
        let (kind, _, time) = numbers.next(record.to_be());
        if kind.takes_index() {
            if header.entries == 0 {
                header.first_time = time;
            }
            header.entries += 1;
            header.last_time = time;
        }
    }
    header
}

/// Gives records their indexes and times.
struct Numbers {
    next_index: u64,
    last_time: u64,
    now: u64,
}

impl Numbers {
    fn new(place: &Place) -> Self {
        Self { next_index: place.next_index, last_time: place.last_time, now: place.now }
    }

    /// Kind, index and time of the next record.
    fn next(&mut self, to_be: As) -> (Kind, u64, u64) {
        let (kind, index, time) = match to_be {
            As::Entry => {
                (Kind::Entry, self.next_index, self.now.max(self.last_time.wrapping_add(1)))
            }
            As::Heal(hole) => (Kind::Heal, hole.index.get(), hole.time.as_ntp64()),
            As::Restored { kind, time } => (kind, self.next_index, time),
        };
        if kind.takes_index() {
            (self.next_index, self.last_time) = (self.next_index.wrapping_add(1), time);
        }
        (kind, index, time)
    }
}

/// Bytes of a batch that are not written yet.
struct Piece<'b, 'r> {
    /// Heads, and bodies that were copied.
    buffer: &'b mut Vec<u8>,
    /// The other bodies, and before which place in the buffer each belongs.
    in_place: Vec<(usize, &'r [u8])>,
    in_place_len: usize,
    /// Offset in the batch.
    start: u64,
}

impl<'r> Piece<'_, 'r> {
    fn len(&self) -> usize {
        self.buffer.len() + self.in_place_len
    }

    fn push(&mut self, head: &[u8], body: &'r [u8]) {
        self.buffer.extend_from_slice(head);
        if body.len() < IN_PLACE_LEN_MIN {
            self.buffer.extend_from_slice(body);
        } else {
            self.in_place.push((self.buffer.len(), body));
            self.in_place_len += body.len();
        }
    }

    /// Writes all that there is.
    fn write(&mut self, write: WriteParts<'_>) -> io::Result<()> {
        let mut parts = Vec::with_capacity(2 * self.in_place.len() + 1);
        let mut rest = self.buffer.as_slice();
        let mut written = 0;
        for (at, body) in &self.in_place {
            let (front, behind) = rest.split_at(at - written);
            parts.extend([front, body].map(IoSlice::new));
            (rest, written) = (behind, *at);
        }
        parts.push(IoSlice::new(rest));
        write(&mut parts, self.start)?;
        self.start += self.len() as u64;
        self.buffer.clear();
        self.in_place.clear();
        self.in_place_len = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The batch as it is defined: header, records one after the other, end.
    fn reference(
        records: &[NewRecord<'_>],
        header: &BatchHeader,
        place: &Place,
        placed: &[Placed],
    ) -> Vec<u8> {
        let mut bytes = header.encode(place.salt, place.position).to_vec();
        for (record, placed) in records.iter().zip(placed) {
            let position = place.position + bytes.len() as u64;
            assert_eq!(placed.position.get(), position);
            let head = Head {
                kind: placed.kind,
                len: u32::try_from(record.body.len()).unwrap(),
                index: placed.index.get(),
                time: placed.time.as_ntp64(),
                id: record.id,
                body_sum: place.salt.checksum(position, record.body),
            };
            bytes.extend_from_slice(&head.encode(place.salt, position));
            bytes.extend_from_slice(record.body);
        }
        bytes.extend_from_slice(&batch::END);
        bytes
    }

    /// Short and long bodies, in one piece and in several, come to the bytes of the format, and
    /// each byte is written once, front to back.
    #[test]
    fn pieces_make_up_the_batch() {
        let place = Place {
            salt: Salt(3),
            position: 1_000,
            next_index: 7,
            last_time: 50,
            durable_upto: 900,
            now: 40,
        };
        let body = |n: usize, len: usize| vec![u8::try_from(n % 256).unwrap(); len];
        let lens = [0, 1, IN_PLACE_LEN_MIN - 1, IN_PLACE_LEN_MIN, IN_PLACE_LEN_MIN + 1, 70_000];
        let mut several = 0;
        for count in [0, 1, 2, 7, 40, 500] {
            let long = (count == 2).then_some(3 * PIECE_LEN);
            let bodies: Vec<Vec<u8>> = (0..count)
                .map(|n| body(n, lens[n % lens.len()]))
                .chain(long.map(|len| body(9, len)))
                .collect();
            let records: Vec<NewRecord<'_>> =
                bodies.iter().map(|body| NewRecord { id: [7; 32], body, heals: None }).collect();
            let (mut file, mut placed, mut buffer) = (Vec::new(), Vec::new(), vec![1; 99]);
            let mut writes = 0;
            let header =
                write_batch(&mut buffer, &records, &place, &mut placed, &mut |parts, offset| {
                    let offset = usize::try_from(offset).unwrap();
                    assert_eq!(offset, file.len());
                    file.extend(parts.iter().flat_map(|part| part.to_vec()));
                    writes += 1;
                    Ok(())
                })
                .unwrap();
            assert_eq!(placed.len(), records.len());
            assert!(file == reference(&records, &header, &place, &placed), "{count} bodies");
            assert_eq!(
                (header.entries as usize, header.records as usize),
                (records.len(), records.len())
            );
            assert!(
                records.is_empty()
                    || (header.first_time, header.last_time) == (51, 50 + records.len() as u64)
            );
            several += usize::from(writes > 2);
        }
        assert!(several > 0);
    }

    #[test]
    fn the_first_piece_that_cannot_be_written_is_the_last() {
        let body = vec![0; 2 * PIECE_LEN];
        let records = [NewRecord { id: [1; 32], body: &body, heals: None }; 3];
        let place = Place {
            salt: Salt(3),
            position: 0,
            next_index: 0,
            last_time: 0,
            durable_upto: 0,
            now: 1,
        };
        let mut writes = 0;
        let failed =
            write_batch(&mut Vec::new(), &records, &place, &mut Vec::new(), &mut |_, _| {
                writes += 1;
                if writes == 2 { Err(io::ErrorKind::Other.into()) } else { Ok(()) }
            });
        assert!(failed.is_err());
        assert_eq!(writes, 2);
    }
}
