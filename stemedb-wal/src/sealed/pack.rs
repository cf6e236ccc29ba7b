//! Makes a compressed segment of a plain one.

use std::{io, ops::Range};

use zstd::bulk::Compressor;

use super::CheckedSegment;
use crate::{
    internal::{in_memory, in_segment, part, part_mut},
    raw::compressed::{
        BLOCK_HEAD_LEN, BLOCK_LEN, BlockHead, CompressedHeader, Method, ROW_LEN, heads_sum,
    },
    segment::{HEADER_LEN, SegmentHeader, Trailer},
};

/// After so many blocks is looked whether the rest is worth it: 1 MiB.
const BLOCKS_TRIED: usize = 16;

/// The bytes of a compressed segment. `None` if that saves less than an eighth, or the bytes are
/// not those of a sealed segment, or `goes_on` says no.
pub(super) fn pack(
    plain: &[u8],
    segment: &CheckedSegment,
    level: i32,
    goes_on: &dyn Fn() -> bool,
) -> io::Result<Option<Vec<u8>>> {
    let header = &segment.header;
    let Some(trailer) = Trailer::at_end(plain, header, plain.len() as u64) else { return Ok(None) };
    let mut packer = Packer::new(plain, segment, in_memory(trailer.batches_end), level)?;
    while packer.block()? {
        let stored = packer.file.len();
        if !goes_on()
            || packer.heads.len() == BLOCKS_TRIED * BLOCK_HEAD_LEN
                && !is_worth_it(stored, packer.at)
        {
            return Ok(None);
        }
    }
    let Packer { mut file, heads, batches_end, .. } = packer;
    file.extend_from_slice(plain.get(batches_end..).unwrap_or_default());
    file.extend_from_slice(&heads);
    let file_len = file.len() + HEADER_LEN;
    if !is_worth_it(file_len, plain.len()) {
        return Ok(None);
    }
    let header = CompressedHeader {
        segment: *header,
        plain_len: in_segment(plain.len()),
        batches_end: in_segment(batches_end),
        file_len: in_segment(file_len),
        blocks: in_segment(heads.len() / BLOCK_HEAD_LEN),
        heads_sum: heads_sum(&heads),
    };
    let header = header.encode();
    part_mut(&mut file, 0..HEADER_LEN).copy_from_slice(&header);
    file.extend_from_slice(&header);
    Ok(Some(file))
}

fn is_worth_it(stored: usize, plain: usize) -> bool {
    stored <= plain - plain / 8
}

struct Packer<'a> {
    plain: &'a [u8],
    header: SegmentHeader,
    batches_end: usize,
    /// Where records begin, in order.
    records: Vec<usize>,
    /// Where bodies are, in order; none that is empty.
    bodies: Vec<Range<usize>>,
    compressor: Compressor<'static>,
    /// The file as far as it is made, and the heads of its blocks.
    file: Vec<u8>,
    heads: Vec<u8>,
    /// Where the next block begins.
    at: usize,
    /// How many bodies end before that.
    bodies_done: usize,
}

impl<'a> Packer<'a> {
    fn new(
        plain: &'a [u8],
        segment: &CheckedSegment,
        batches_end: usize,
        level: i32,
    ) -> io::Result<Self> {
        let header = segment.header;
        let first_position = header.first_position;
        let placed = || segment.placed.iter();
        let records = placed().map(|placed| in_memory(placed.position.get() - first_position));
        let bodies = placed().filter(|placed| placed.len > 0);
        Ok(Self {
            plain,
            header,
            batches_end,
            records: records.collect(),
            bodies: bodies.map(|placed| placed.body_range(first_position)).collect(),
            compressor: Compressor::new(level)?,
            file: vec![0; HEADER_LEN],
            heads: Vec::new(),
            at: HEADER_LEN,
            bodies_done: 0,
        })
    }

    /// Where the block ends that begins at `at`: before the last record that would not fit. One
    /// that is longer than a block is cut, and its last block holds nothing else.
    fn end_of_block(&self) -> usize {
        let (limit, end) = (self.at + BLOCK_LEN, self.batches_end);
        let behind = self.records.partition_point(|record| *record <= self.at);
        let in_body = self.bodies.get(self.bodies_done).is_some_and(|body| body.start < self.at);
        let next = self.records.get(behind).copied();
        if in_body {
            return next.unwrap_or(end).min(limit);
        }
        if end <= limit {
            return end;
        }
        let fitting = self.records.partition_point(|record| *record <= limit);
        let last = fitting.checked_sub(1).and_then(|last| self.records.get(last));
        last.copied().filter(|last| *last > self.at).unwrap_or(limit)
    }

    /// Makes the next block. False if there is none.
    fn block(&mut self) -> io::Result<bool> {
        let (start, end) = (self.at, self.end_of_block());
        if start >= self.batches_end {
            return Ok(false);
        }
        let (mut frames, mut rows, mut bodies) = (Vec::new(), Vec::new(), Vec::new());
        let mut at = start;
        while let Some(body) = self.bodies.get(self.bodies_done).filter(|body| body.start < end) {
            let (from, to) = (body.start.max(start), body.end.min(end));
            rows.extend_from_slice(&in_segment(from - at).to_le_bytes());
            rows.extend_from_slice(&in_segment(to - from).to_le_bytes());
            frames.extend_from_slice(part(self.plain, at..from));
            bodies.extend_from_slice(part(self.plain, from..to));
            at = to;
            if body.end > end {
                break;
            }
            self.bodies_done += 1;
        }
        frames.extend_from_slice(part(self.plain, at..end));
        let count = rows.len() / ROW_LEN;
        rows.append(&mut bodies);
        let compressed = self.compressor.compress(&rows)?;
        let (payload, method) = if compressed.len() < rows.len() {
            (compressed, Method::Zstd)
        } else {
            (rows, Method::Stored)
        };
        let position = self.header.first_position + start as u64;
        let head = BlockHead {
            payload_sum: self.header.salt.checksum(position, &payload),
            offset: in_segment(start),
            len: in_segment(end - start),
            frames_len: in_segment(frames.len()),
            payload_len: in_segment(payload.len()),
            bodies: in_segment(count),
            method,
        };
        let head = head.encode(&self.header);
        self.file.extend_from_slice(&head);
        self.file.extend_from_slice(&frames);
        self.file.extend_from_slice(&payload);
        self.heads.extend_from_slice(&head);
        self.at = end;
        Ok(true)
    }
}
