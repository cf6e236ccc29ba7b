//! The one way in which a fault of this crate ends.

use std::ops::Range;

/// Panics because something is not as the writer of a log has made sure before, named by the file
/// and line of the caller: a value made up in its place would be written to the log.
///
/// A writer that panics is not used again, and all who wait for it are told.
#[cold]
#[inline(never)]
#[track_caller]
pub(crate) fn internal_error(what: &str) -> ! {
    unreachable!("internal error of the log: {what}")
}

/// A number of entries, or an offset, in a segment that is written: it is never longer than
/// [`SEGMENT_LEN_MAX`](crate::segment::SEGMENT_LEN_MAX), which fits.
#[track_caller]
pub(crate) fn in_segment<N>(number: N) -> u32
where
    u32: TryFrom<N>,
{
    u32::try_from(number).unwrap_or_else(|_| internal_error("a number is too large for a segment"))
}

/// An offset or a length in bytes that are in memory, or in a segment that can be read into it.
#[track_caller]
pub(crate) fn in_memory(number: u64) -> usize {
    usize::try_from(number)
        .unwrap_or_else(|_| internal_error("a number is too large for this machine"))
}

/// The front of a buffer that was filled.
#[track_caller]
pub(crate) fn filled<T>(buffer: &[T], count: usize) -> &[T] {
    buffer.get(..count).unwrap_or_else(|| internal_error("more was read than there is room for"))
}

/// The rest of a buffer behind what was read of it.
#[track_caller]
pub(crate) fn rest_of<T>(buffer: &[T], from: usize) -> &[T] {
    buffer.get(from..).unwrap_or_else(|| internal_error("more was read than there is"))
}

/// As [`rest_of`], to be written to.
#[track_caller]
pub(crate) fn rest_of_mut<T>(buffer: &mut [T], from: usize) -> &mut [T] {
    buffer.get_mut(from..).unwrap_or_else(|| internal_error("more was written than there is room"))
}

/// A part of a buffer that is known to lie in it.
#[track_caller]
pub(crate) fn part<T>(buffer: &[T], range: Range<usize>) -> &[T] {
    buffer.get(range).unwrap_or_else(|| internal_error("a part is not in its buffer"))
}

/// As [`part`], to be written to.
#[track_caller]
pub(crate) fn part_mut<T>(buffer: &mut [T], range: Range<usize>) -> &mut [T] {
    buffer.get_mut(range).unwrap_or_else(|| internal_error("a part is not in its buffer"))
}
