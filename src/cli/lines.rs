//! Bytes cut into lines, or at another byte.

/// Cuts input that comes in chunks into lines. A line ends at one byte only, 0x0A mostly.
#[derive(Debug)]
pub(super) struct Lines {
    /// The byte that ends a line.
    end: u8,
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
    /// Lines that have ended, empty ones too.
    ended: u64,
    /// Empty lines among them.
    skipped: u64,
    /// The longest line allowed, in bytes.
    len_max: usize,
}

/// A line is too long to be a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLong {
    /// The line's number, counted from 1.
    pub(super) line: u64,
}

impl Lines {
    pub(super) fn new(end: u8, len_max: usize) -> Self {
        Self { end, partial: Vec::new(), ended: 0, skipped: 0, len_max }
    }

    /// Takes in a chunk and adds the lines that end in it.
    ///
    /// # Errors
    ///
    /// If a line is too long, as soon as that is known; the lines before it are added.
    pub(super) fn push(
        &mut self,
        mut chunk: &[u8],
        lines: &mut Vec<Vec<u8>>,
    ) -> Result<(), TooLong> {
        while let Some((line, [_, rest @ ..])) =
            memchr::memchr(self.end, chunk).and_then(|end| chunk.split_at_checked(end))
        {
            self.extend(line)?;
            self.end(lines);
            chunk = rest;
        }
        self.extend(chunk)
    }

    /// Ends the input: what is left is the last line.
    pub(super) fn finish(&mut self, lines: &mut Vec<Vec<u8>>) {
        if !self.partial.is_empty() {
            self.end(lines);
        }
    }

    /// The number of the line in which a byte at this place of the next chunk would be.
    pub(super) fn line_at(&self, chunk: &[u8], place: usize) -> u64 {
        let before = chunk.get(..place).unwrap_or(chunk);
        self.ended + 1 + memchr::memchr_iter(self.end, before).count() as u64
    }

    /// How many empty lines were skipped since this was last asked.
    pub(super) fn take_skipped(&mut self) -> u64 {
        std::mem::take(&mut self.skipped)
    }

    fn extend(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        if bytes.len() > self.len_max.saturating_sub(self.partial.len()) {
            return Err(TooLong { line: self.ended + 1 });
        }
        self.partial.extend_from_slice(bytes);
        Ok(())
    }

    fn end(&mut self, lines: &mut Vec<Vec<u8>>) {
        self.ended += 1;
        if self.partial.is_empty() {
            self.skipped += 1;
        } else {
            lines.push(std::mem::take(&mut self.partial));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition: split at 0x0A, drop what is empty.
    fn reference(input: &[u8]) -> (Vec<Vec<u8>>, u64) {
        let mut parts: Vec<&[u8]> = input.split(|byte| *byte == b'\n').collect();
        // What follows the last line end is a line only if there is something.
        if parts.last().is_some_and(|last| last.is_empty()) {
            parts.pop();
        }
        let skipped = parts.iter().filter(|line| line.is_empty()).count();
        let lines = parts.iter().filter(|line| !line.is_empty()).map(|line| line.to_vec());
        (lines.collect(), skipped as u64)
    }

    #[test]
    fn any_chunks_give_the_lines_of_the_definition() {
        let inputs: [&[u8]; 9] = [
            b"",
            b"\n",
            b"a",
            b"a\n",
            b"\na",
            b"a\r\n\r\nb\r\n",
            b"a\n\n\nbb\n\xff\xfe\n",
            b"\r",
            b"one\ntwo\nthree",
        ];
        for input in inputs {
            for size in 1..=input.len().max(1) {
                let (mut cutter, mut lines) = (Lines::new(b'\n', 100), Vec::new());
                for chunk in input.chunks(size) {
                    cutter.push(chunk, &mut lines).unwrap();
                }
                cutter.finish(&mut lines);
                assert_eq!((lines, cutter.take_skipped()), reference(input), "{input:?} by {size}");
            }
        }
    }

    #[test]
    fn a_long_line_is_refused_by_number_after_those_before_it() {
        for size in 1..20 {
            let (mut cutter, mut lines) = (Lines::new(b'\n', 4), Vec::new());
            let outcome = b"1234\n\n12345\nx"
                .chunks(size)
                .try_for_each(|chunk| cutter.push(chunk, &mut lines));
            assert_eq!(outcome, Err(TooLong { line: 3 }));
            assert_eq!(lines, [b"1234"]);
        }
    }

    #[test]
    fn another_byte_ends_lines_as_well() {
        let (mut cutter, mut lines) = (Lines::new(0, 100), Vec::new());
        cutter.push(b"a\nb\0\0c", &mut lines).unwrap();
        assert_eq!(cutter.line_at(b"x\0y", 2), 4);
        cutter.finish(&mut lines);
        assert_eq!((lines, cutter.take_skipped()), (vec![b"a\nb".to_vec(), b"c".to_vec()], 1));
    }
}
