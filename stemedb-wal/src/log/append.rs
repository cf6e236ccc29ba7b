//! From records to a batch in the file.

use std::{io, sync::Arc};

use stemedb_merkle::Timestamp;

use super::{
    Log, NewRecord, Placed,
    encode::{self, ToRecord},
    segments::Offsets,
};
use crate::{
    batch,
    error::{Action, AppendError},
    internal::{in_segment, internal_error},
    segment::{SEGMENT_LEN_MAX, footer_len},
};

impl Log {
    /// Writes records at the end. They are neither durable nor published yet.
    ///
    /// Appends a [`Placed`] for each to `placed`. Those that fit the limit of a batch make one
    /// batch, which a crash keeps whole or not at all. The first entry's time is the greater of
    /// `now` and the last time plus one, and each next one's is one more. O(bytes), one call to
    /// the disk for about each MiB.
    ///
    /// # Errors
    ///
    /// See [`AppendError`]. If a body is too long nothing is written.
    pub fn write(
        &mut self,
        records: &[NewRecord<'_>],
        now: Timestamp,
        placed: &mut Vec<Placed>,
    ) -> Result<(), AppendError> {
        self.check_poison()?;
        for record in records {
            self.check_len(record.body.len() as u64)?;
        }
        let entries = records.iter().filter(|record| record.heals.is_none());
        self.check_numbers(entries.count() as u64, now.as_ntp64())?;
        let mut rest = records;
        let mut now = now.as_ntp64();
        while !rest.is_empty() {
            let (batch, later) = self.split_batch(rest);
            if let Err(error) = self.write_batch(batch, now, placed) {
                let partly = rest.len() < records.len();
                return Err(if partly { self.give_up(error) } else { error });
            }
            rest = later;
            now = 0;
        }
        Ok(())
    }

    /// Writes one batch of what repair has read, unsynced. The caller keeps to the limits.
    pub(crate) fn restore<R: ToRecord>(&mut self, records: &[R]) -> Result<(), AppendError> {
        self.check_poison()?;
        self.write_batch(records, 0, &mut Vec::new())
    }

    /// Refuses bodies that are over the limit.
    ///
    /// # Errors
    ///
    /// [`AppendError::TooLong`].
    pub fn check_len(&self, len: u64) -> Result<(), AppendError> {
        let max = u64::from(self.options.body_len_max);
        if len > max { Err(AppendError::TooLong { len, max }) } else { Ok(()) }
    }

    /// Whether there are indexes and times left for so many entries.
    fn check_numbers(&self, entries: u64, now: u64) -> Result<(), AppendError> {
        let Some(later) = entries.checked_sub(1) else { return Ok(()) };
        let first_time = self.last_time.checked_add(1).map(|next| next.max(now));
        let last_time = first_time.and_then(|time| time.checked_add(later));
        let enough = self.next_index.checked_add(entries).is_some() && last_time.is_some();
        if enough { Ok(()) } else { Err(AppendError::Exhausted) }
    }

    /// The records that make one batch, and the others. There is at least one.
    fn split_batch<'a, 'b>(
        &self,
        records: &'a [NewRecord<'b>],
    ) -> (&'a [NewRecord<'b>], &'a [NewRecord<'b>]) {
        let mut len = 0;
        let fitting = records.iter().take_while(|record| {
            len += record.record_len();
            len <= u64::from(self.options.batch_len_max)
        });
        records.split_at(fitting.count().max(1))
    }

    /// Writes one batch, in a new segment if this one has no room for it.
    pub(super) fn write_batch<R: ToRecord>(
        &mut self,
        records: &[R],
        now: u64,
        placed: &mut Vec<Placed>,
    ) -> Result<(), AppendError> {
        let payload_len: u64 = records.iter().map(R::record_len).sum();
        let batch_len = batch::FRAME_LEN + payload_len;
        if !records.is_empty()
            && (!self.fits(batch_len, records.len() as u64) || self.should_move_on())
        {
            self.roll()?;
        }
        let footer_len = footer_len(records.len() as u64);
        if self.offset + batch_len + footer_len > SEGMENT_LEN_MAX {
            return Err(AppendError::SegmentFull);
        }
        self.reserve(batch_len)?;

        let position = self.end().get();
        let first_placed = placed.len();
        let mut buffer = std::mem::take(&mut self.buffer);
        let (file, offset) = (&*self.file, self.offset);
        let written = encode::write_batch(
            &mut buffer,
            records,
            &encode::Place {
                salt: self.open.salt(),
                position,
                next_index: self.next_index,
                last_time: self.last_time,
                durable_upto: self.durable.mark.position.get(),
                now,
            },
            placed,
            &mut |parts, at| match parts {
                [only] => file.write_at(only, offset + at),
                parts => file.write_parts_at(parts, offset + at),
            },
        );
        self.buffer = buffer;
        let header = match written {
            Ok(header) => header,
            Err(source) => {
                return Err(self.poison(Action::Write { len: batch_len, offset }, source));
            }
        };
        let len = header.batch_len();

        let new = placed.get(first_placed..);
        self.note_offsets(new.unwrap_or_else(|| internal_error("places of records are gone")));
        self.offset += len;
        self.next_index += u64::from(header.entries);
        self.last_time = header.last_time;
        self.marked = self.marked.max(header.durable_upto);
        if !records.is_empty() {
            self.records_end = self.end().get();
        }
        let segment_len = self.options.segment_len;
        self.spare.expect_use(&self.open, self.offset, segment_len, self.syncs);
        Ok(())
    }

    fn note_offsets(&self, placed: &[Placed]) {
        if let Offsets::Memory(offsets) = &self.open.offsets {
            let first_position = self.open.header.first_position;
            let entries = placed.iter().filter(|placed| placed.kind.takes_index());
            offsets
                .extend(entries.map(|placed| in_segment(placed.position.get() - first_position)));
        }
    }

    /// Whether small commits would be cheaper in the spare; see [`super::spare`].
    fn should_move_on(&mut self) -> bool {
        !self.filled && self.next_index > self.open.header.first_index && self.spare.is_filled()
    }

    /// Makes the file long enough for so many more bytes.
    fn reserve(&mut self, len: u64) -> Result<(), AppendError> {
        let needed = self.offset + len;
        if needed <= self.allocated {
            return Ok(());
        }
        let file = Arc::clone(&self.file);
        let wanted = needed.max(self.options.segment_len);
        let allocated = file.allocate(wanted).map(|()| wanted).or_else(|error| {
            // Where there is no room for a whole segment there may be for this batch.
            let no_room = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
            let too_long = error.kind() == io::ErrorKind::FileTooLarge;
            if (too_long || no_room.contains(&error.kind())) && needed < wanted {
                file.allocate(needed).map(|()| needed)
            } else {
                Err(error)
            }
        });
        match allocated {
            Ok(allocated) => {
                self.allocated = allocated;
                Ok(())
            }
            Err(source) => Err(self.poison(Action::Allocate { len: needed }, source)),
        }
    }

    /// Whether a batch can be added to the open segment: the footer has to fit too.
    ///
    /// A segment without entries always goes on, however long it gets: the next one would have its
    /// name.
    fn fits(&self, batch_len: u64, entries: u64) -> bool {
        let held = self.next_index - self.open.header.first_index;
        held == 0
            || self.offset + batch_len + footer_len(held + entries) <= self.options.segment_len
    }
}
