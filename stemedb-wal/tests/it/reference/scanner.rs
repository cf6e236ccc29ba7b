//! A reader of the segment format as `docs/format.md` has it: slow, obvious, and with nothing of
//! the code that it is held against.

use std::ops::Range;

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) kind: u32,
    pub(crate) index: u64,
    pub(crate) time: u64,
    pub(crate) id: [u8; 32],
    pub(crate) position: u64,
    pub(crate) body: Vec<u8>,
}

/// What a log holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) records: Vec<Record>,
    /// Where a torn write begins in the last segment.
    pub(crate) torn: Option<u64>,
    /// The segments whose offsets or trailers are damaged.
    pub(crate) footers: Vec<usize>,
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// CRC-32 of IEEE 802.3, bit by bit, continued from that of bytes before.
fn crc(before: u32, bytes: &[u8]) -> u32 {
    let mut register = !before;
    for byte in bytes {
        register ^= u32::from(*byte);
        for _ in 0..8 {
            let carry = register & 1;
            register >>= 1;
            if carry == 1 {
                register ^= 0xedb8_8320;
            }
        }
    }
    !register
}

/// The checksum of bytes at a position.
fn sum(salt: u64, position: u64, bytes: &[u8]) -> u32 {
    let mixed = salt.wrapping_add(position).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    crc(u32::try_from(mixed >> 32).unwrap(), bytes)
}

struct Segment<'a> {
    bytes: &'a [u8],
    first_index: u64,
    first_position: u64,
    salt: u64,
    time_before: u64,
    previous_sum: u32,
}

/// A piece of a batch that fails its check.
type Failed = Range<usize>;

struct Batch {
    end: usize,
    records: Vec<Record>,
    next_index: u64,
    last_time: u64,
}

impl<'a> Segment<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let header = bytes.get(..96)?;
        let covered = [&header[..12], &header[16..]].concat();
        let whole = header.starts_with(b"STEMESEG")
            && u32_at(header, 8) == 1
            && u32_at(header, 12) == crc(0, &covered)
            && header[72..] == [0; 24];
        whole.then(|| Self {
            bytes,
            previous_sum: u32_at(header, 36),
            first_index: u64_at(header, 40),
            first_position: u64_at(header, 48),
            salt: u64_at(header, 56),
            time_before: u64_at(header, 64),
        })
    }

    fn sum(&self, at: usize, bytes: &[u8], from: usize) -> u32 {
        sum(self.salt, self.first_position + at as u64, &bytes[from..])
    }

    /// The header of a batch at an offset.
    fn header(&self, at: usize) -> Option<&'a [u8]> {
        let header = self.bytes.get(at..at + 64)?;
        let whole = header.starts_with(b"STEMEbat")
            && u32_at(header, 8) == self.sum(at, header, 12)
            && header[56..] == [0, 0, 0, 0, 0, 0, 0, 1];
        whole.then_some(header)
    }

    /// The head of a record at an offset.
    fn head(&self, at: usize) -> Option<&'a [u8]> {
        let head = self.bytes.get(at..at + 60)?;
        let whole = u32_at(head, 0) == self.sum(at, head, 4) && u32_at(head, 8) >> 30 > 0;
        whole.then_some(head)
    }

    /// Pieces of the batch at an offset that fail their checks; none behind an unknown length.
    fn failed(&self, start: usize) -> Vec<Failed> {
        let header_only: Failed = start..start + 64;
        let Some(header) = self.header(start) else { return vec![header_only] };
        let records_end = start + 64 + u32_at(header, 12) as usize;
        let mut failed = Vec::new();
        let mut at = start + 64;
        for _ in 0..u32_at(header, 16) {
            let Some(head) = self.head(at) else {
                failed.push(at..at + 60);
                return failed;
            };
            let body = at + 60..at + 60 + (u32_at(head, 8) & 0x3fff_ffff) as usize;
            if body.end > records_end {
                // No crash writes that.
                failed.push(0..0);
                return failed;
            }
            let whole = self.bytes.get(body.clone());
            if whole.is_none_or(|bytes| self.sum(at, bytes, 0) != u32_at(head, 4)) {
                failed.push(body.clone());
            }
            at = body.end;
        }
        if self.bytes.get(records_end..records_end + 4) != Some(b"bEND") {
            failed.push(records_end..records_end + 4);
        }
        failed
    }

    /// The batch at an offset, if it is whole and follows.
    fn batch(&self, start: usize, next_index: u64, last_time: u64) -> Option<Batch> {
        if !self.failed(start).is_empty() {
            return None;
        }
        let header = self.header(start)?;
        let position = self.first_position + start as u64;
        let (entries, first_time, batch_last) =
            (u32_at(header, 20), u64_at(header, 40), u64_at(header, 48));
        if u64_at(header, 24) != next_index || u64_at(header, 32) > position {
            return None;
        }
        let times_follow = match entries {
            0 => (first_time, batch_last) == (last_time, last_time),
            _ => first_time > last_time,
        };
        let mut batch = Batch { end: start + 64, records: Vec::new(), next_index, last_time };
        for _ in 0..u32_at(header, 16) {
            let (at, head) = (batch.end, self.head(batch.end)?);
            let (kind, len) = (u32_at(head, 8) >> 30, (u32_at(head, 8) & 0x3fff_ffff) as usize);
            let (index, time) = (u64_at(head, 12), u64_at(head, 20));
            if kind < 3 {
                let first = batch.next_index == next_index;
                if index != batch.next_index
                    || time <= batch.last_time
                    || (first && time != first_time)
                {
                    return None;
                }
                batch.next_index += 1;
                batch.last_time = time;
            } else if index >= batch.next_index {
                return None;
            }
            batch.records.push(Record {
                kind,
                index,
                time,
                id: head[28..60].try_into().unwrap(),
                position: self.first_position + at as u64,
                body: self.bytes[at + 60..at + 60 + len].to_vec(),
            });
            batch.end = at + 60 + len;
        }
        let fits = batch.end == start + 64 + u32_at(header, 12) as usize
            && batch.next_index - next_index == u64::from(entries)
            && batch.last_time == batch_last;
        batch.end += 4;
        (times_follow && fits).then_some(batch)
    }

    /// All whole batches from the front on.
    fn batches(&self) -> Batch {
        let mut all = Batch {
            end: 96,
            records: Vec::new(),
            next_index: self.first_index,
            last_time: self.time_before,
        };
        while let Some(batch) = self.batch(all.end, all.next_index, all.last_time) {
            all.records.extend(batch.records.clone());
            (all.end, all.next_index, all.last_time) =
                (batch.end, batch.next_index, batch.last_time);
        }
        all
    }

    /// The footer that belongs behind these batches.
    fn footer(&self, batches: &Batch) -> Vec<u8> {
        let entries: Vec<&Record> = batches.records.iter().filter(|found| found.kind < 3).collect();
        let offsets: Vec<u8> = entries
            .iter()
            .flat_map(|entry| {
                u32::try_from(entry.position - self.first_position).unwrap().to_le_bytes()
            })
            .collect();
        let mut trailer = [0; 64];
        trailer[..8].copy_from_slice(b"STEMEEND");
        trailer[12..16].copy_from_slice(&self.sum(batches.end, &offsets, 0).to_le_bytes());
        trailer[16..20].copy_from_slice(&u32::try_from(entries.len()).unwrap().to_le_bytes());
        trailer[24..32].copy_from_slice(&self.first_index.to_le_bytes());
        trailer[32..40].copy_from_slice(&batches.last_time.to_le_bytes());
        trailer[40..48].copy_from_slice(&(batches.end as u64).to_le_bytes());
        trailer[63] = 1;
        let sum = self.sum(batches.end + offsets.len(), &trailer, 12);
        trailer[8..12].copy_from_slice(&sum.to_le_bytes());
        [offsets, trailer.to_vec()].concat()
    }

    /// The highest position that any batch header or trailer in the file says was durable.
    fn marked(&self) -> u64 {
        let batches = (96..self.bytes.len()).filter_map(|at| self.header(at));
        let batches = batches.map(|header| u64_at(header, 32));
        let trailers = (96..self.bytes.len()).filter_map(|at| {
            let trailer = self.bytes.get(at..at + 64)?;
            let whole = trailer.starts_with(b"STEMEEND")
                && u32_at(trailer, 8) == self.sum(at, trailer, 12)
                && u32_at(trailer, 20) == 0
                && trailer[48..63] == [0; 15]
                && trailer[63] == 1;
            whole.then(|| self.first_position + u64_at(trailer, 40))
        });
        batches.chain(trailers).max().unwrap_or(0)
    }

    /// Whether a crash explains that a piece of the batch at an offset is not what was written.
    fn is_explained(&self, start: usize, piece: &Failed) -> bool {
        let end = self.bytes.len();
        let batch_end = self.header(start).map(|header| start + 68 + u32_at(header, 12) as usize);
        let zeros_from = self.bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let zero_sector = (piece.start / 512..piece.end.div_ceil(512)).any(|sector| {
            let part =
                (sector * 512).max(start)..(sector * 512 + 512).min(batch_end.unwrap_or(end));
            self.bytes.get(part).is_some_and(|part| part.iter().all(|byte| *byte == 0))
        });
        piece.end > end
            || zeros_from < piece.end.min(batch_end.unwrap_or(start + 64))
            || zero_sector
    }

    /// Whether what lies behind the batches is what a crash leaves of the footer: each sector of it
    /// is zeros, or the footer's up to where the file is zeros or ends.
    fn is_footer(&self, end: usize, footer: &[u8]) -> bool {
        let zeros_from = self.bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        (end / 512..self.bytes.len().div_ceil(512)).all(|sector| {
            let part = (sector * 512).max(end)..(sector * 512 + 512).min(self.bytes.len());
            let zeros = self.bytes[part.clone()].iter().all(|byte| *byte == 0);
            let written = part.start..part.end.min(zeros_from);
            zeros
                || written
                    .into_iter()
                    .all(|at| self.bytes[at] == footer.get(at - end).copied().unwrap_or(0))
        })
    }
}

/// What the segments of a log hold, in order. `None` if what was durable is damaged. `marked` is a
/// position up to which the log is known to have been durable.
pub(crate) fn read_log(files: &[Vec<u8>], marked: u64) -> Option<Reading> {
    let mut reading = Reading::default();
    let segments: Vec<Segment<'_>> =
        files.iter().map(|bytes| Segment::parse(bytes)).collect::<Option<_>>()?;
    let (mut index, mut position, mut time, mut previous_sum) = (0, 0, 0, 0);
    for (n, segment) in segments.iter().enumerate() {
        let header = (segment.first_index, segment.first_position, segment.time_before);
        if header != (index, position, time) || segment.previous_sum != previous_sum {
            return None;
        }
        let batches = segment.batches();
        let footer = segment.footer(&batches);
        (index, time) = (batches.next_index, batches.last_time);
        position = segment.first_position + segment.bytes.len() as u64;
        previous_sum = u32_at(&footer, footer.len() - 64 + 8);
        let rest = &segment.bytes[batches.end.min(segment.bytes.len())..];
        if n + 1 < segments.len() {
            // The next segment vouches for the batches.
            if rest.len() != footer.len() || segments[n + 1].previous_sum != previous_sum {
                return None;
            }
            // One offset that is another is only noticed when it is used.
            if rest[rest.len() - 64..] != footer[footer.len() - 64..] {
                reading.footers.push(n);
            }
        } else if rest.iter().any(|byte| *byte != 0) && !segment.is_footer(batches.end, &footer) {
            let start = batches.end;
            let failed = segment.failed(start);
            let torn = segment.first_position + start as u64 >= marked.max(segment.marked())
                && !failed.is_empty()
                && failed.iter().all(|piece| segment.is_explained(start, piece));
            if !torn {
                return None;
            }
            reading.torn = Some(start as u64);
        }
        reading.records.extend(batches.records);
    }
    Some(reading)
}
