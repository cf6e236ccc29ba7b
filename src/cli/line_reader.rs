//! Inputs read line by line.

use std::io;

use stemedb::InternalError;

use super::failure::{Failure, Origin};
use super::lines::{Lines, TooLong};

/// Bytes that are read at once, and so the most lines of a part. A pipe gives what it has.
pub(super) const READ_LEN: usize = 256 * 1024;

/// An input whose lines are bodies.
#[derive(Clone, Copy, Debug)]
pub(super) struct LineReader<'a> {
    pub(super) origin: &'a Origin,
    /// The byte that ends a line.
    pub(super) end: u8,
    /// Whether a NUL byte shows that these are no lines.
    pub(super) is_text: bool,
    /// The longest line allowed, in bytes.
    pub(super) len_max: usize,
}

/// Part of an input.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// The lines that end in it, but for empty ones.
    pub(super) lines: Vec<Vec<u8>>,
    /// How many empty ones there are.
    pub(super) skipped: u64,
    /// How many bytes it has.
    pub(super) bytes: u64,
}

impl LineReader<'_> {
    /// Reads to the end, and calls `work` with each part. What comes before a line that is too
    /// long, or that has a NUL byte, is given out as well.
    pub(super) fn each<E: From<Failure>>(
        self,
        mut work: impl FnMut(Part) -> Result<(), E>,
    ) -> Result<(), E> {
        let Self { origin, end, is_text, len_max } = self;
        let mut input = origin.open()?;
        let mut cutter = Lines::new(end, len_max);
        let mut buffer = vec![0; READ_LEN];
        loop {
            let read = match input.read(&mut buffer) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => {
                    return Err(Failure::Input { origin: origin.clone(), source }.into());
                }
            };
            let chunk = buffer.get(..read);
            let chunk = chunk.ok_or_else(|| InternalError::new("room for what was read"));
            let chunk = chunk.map_err(Failure::from)?;
            let nul = if is_text { memchr::memchr(0, chunk) } else { None };
            let refused = nul.map(|place| nul_in_line(chunk, place, &cutter, origin));
            let (text, _) = chunk.split_at(nul.unwrap_or(chunk.len()));
            let mut lines = Vec::new();
            let cut = if chunk.is_empty() {
                cutter.finish(&mut lines);
                Ok(())
            } else {
                cutter.push(text, &mut lines)
            };
            work(Part { lines, skipped: cutter.take_skipped(), bytes: read as u64 })?;
            cut.map_err(|TooLong { line }| Failure::LineTooLong {
                origin: origin.clone(),
                line,
                limit: len_max,
            })?;
            if let Some(refused) = refused {
                return Err(refused.into());
            }
            if read == 0 {
                return Ok(());
            }
        }
    }
}

/// Failure for a NUL byte in what should be lines.
pub(super) fn nul_in_line(chunk: &[u8], place: usize, cutter: &Lines, origin: &Origin) -> Failure {
    Failure::NulInLine { origin: origin.clone(), line: cutter.line_at(chunk, place) }
}
