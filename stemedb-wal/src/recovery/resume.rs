//! The short way to the end of the log: from the watermark on, if all is well there.

use super::{
    sectors::is_unreadable,
    survey::{Found, read_at},
    tail::{Rest, Tail, all_zero},
    walk::{Stop, Walker},
};
use crate::{disk::Disk, error::DiskError, log::Watermark, segment::HEADER_LEN};

/// How much is read at a time.
const STEP_LEN: usize = 1 << 20;

/// The end of the last segment, from the watermark on.
#[derive(Debug)]
pub(crate) struct Resumed {
    pub(crate) tail: Tail,
    pub(crate) bytes: Vec<u8>,
    /// Where in the file the bytes begin.
    pub(crate) base: u64,
}

/// Reads the last segment from the watermark on.
///
/// `None` if anything is out of the ordinary: no batch begins there, or something but zeros lies
/// behind the last one. Then the whole segment must be read to tell what it is.
pub(crate) fn resume(
    disk: &dyn Disk,
    last: &Found,
    watermark: Watermark,
) -> Result<Option<Resumed>, DiskError> {
    let base = watermark.position.saturating_sub(last.header.first_position);
    if base <= HEADER_LEN as u64 || base >= last.len {
        return Ok(None);
    }
    let mut walker = Walker::from_middle(&last.header, base, watermark.next_index);
    let mut bytes = Vec::new();
    let mut placed = Vec::new();
    let mut at = 0;
    let mut wanted = STEP_LEN;
    loop {
        let left = last.len.saturating_sub(base + bytes.len() as u64);
        if left > 0 && bytes.len() - at < wanted {
            let step = usize::try_from(left).unwrap_or(usize::MAX).min(wanted);
            let start = bytes.len();
            bytes.resize(start + step, 0);
            let room = bytes.get_mut(start..).unwrap_or_default();
            match read_at(disk, &last.name, &*last.file, room, base + start as u64) {
                Ok(read) if read == step => {}
                // Reading the whole segment tells where.
                Err(error) if is_unreadable(&error.cause) => return Ok(None),
                read => {
                    read?;
                    return Ok(None);
                }
            }
        }
        let rest = bytes.get(at..).unwrap_or_default();
        let (read, stop) = walker.walk(rest, base + at as u64, &mut placed);
        at += read;
        match stop {
            Stop::More { needed } if base + (at + needed) as u64 <= last.len => {
                wanted = needed.max(STEP_LEN);
            }
            // Zeros, or what is left of a file that ends with its last batch.
            Stop::Bad { .. } | Stop::More { .. } => break,
        }
    }
    let reached = walker.reached();
    let rest = bytes.get(at..).unwrap_or_default();
    let seen = base + bytes.len() as u64;
    if reached.offset == base
        || reached.offset != base + at as u64
        || !all_zero(rest)
        || !is_zero_from(disk, last, seen)?
    {
        return Ok(None);
    }
    let entries = placed.iter().filter(|placed| placed.kind.takes_index());
    let offsets = entries
        .map(|placed| u32::try_from(placed.position - last.header.first_position))
        .map(|offset| offset.unwrap_or(u32::MAX))
        .collect();
    let tail = Tail { reached, rest: Rest::Clean, offsets, placed, at_watermark: true };
    Ok(Some(Resumed { tail, bytes, base }))
}

fn is_zero_from(disk: &dyn Disk, last: &Found, mut offset: u64) -> Result<bool, DiskError> {
    let mut buffer = vec![0; STEP_LEN / 4];
    while offset < last.len {
        let read = match read_at(disk, &last.name, &*last.file, &mut buffer, offset) {
            Err(error) if is_unreadable(&error.cause) => return Ok(false),
            read => read?,
        };
        if read == 0 || !all_zero(buffer.get(..read).unwrap_or_default()) {
            return Ok(false);
        }
        offset += read as u64;
    }
    Ok(true)
}
