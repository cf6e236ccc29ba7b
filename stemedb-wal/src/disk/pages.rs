//! The bytes of a file in memory, in pages that copies share until one of them is written.

use crate::internal::in_memory;
use std::{io, sync::Arc};

/// The unit of sharing, in bytes.
const PAGE_LEN: usize = 4096;
const PAGE_LEN_U64: u64 = PAGE_LEN as u64;

/// The longest file in memory, in bytes: 1 TiB. A length beyond it comes from damage, not from use.
const FILE_LEN_MAX: u64 = 1 << 40;

type Page = [u8; PAGE_LEN];

/// A byte string of which a clone costs O(1), and a write after it one page and the page table.
///
/// Pages that nobody wrote take no memory and read as zeros.
#[derive(Clone, Debug, Default)]
pub struct Pages {
    /// May be shorter than `len` asks for. Bytes behind `len` are always zero.
    table: Arc<Vec<Option<Arc<Page>>>>,
    len: u64,
}

#[expect(clippy::len_without_is_empty, reason = "nobody asks")]
impl Pages {
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Writes `bytes` at `offset`, extending the file when they end behind it.
    pub fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let end = offset
            .checked_add(bytes.len() as u64)
            .filter(|end| *end <= FILE_LEN_MAX)
            .ok_or(io::ErrorKind::FileTooLarge)?;
        let (mut index, mut within) = page_of(offset)?;
        let table = Arc::make_mut(&mut self.table);
        let mut rest = bytes;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(PAGE_LEN - within));
            if table.len() <= index {
                table.resize(index + 1, None);
            }
            if let Some(slot) = table.get_mut(index) {
                let page = slot.get_or_insert_with(|| Arc::new([0; PAGE_LEN]));
                if let Some(target) = Arc::make_mut(page).get_mut(within..within + now.len()) {
                    target.copy_from_slice(now);
                }
            }
            rest = later;
            index += 1;
            within = 0;
        }
        self.len = self.len.max(end);
        Ok(())
    }

    /// Cuts down to `len` bytes, or extends by zeros.
    pub fn set_len(&mut self, len: u64) -> io::Result<()> {
        if len > FILE_LEN_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if len < self.len {
            let (index, within) = page_of(len)?;
            let table = Arc::make_mut(&mut self.table);
            table.truncate(if within == 0 { index } else { index + 1 });
            if let Some(Some(page)) = table.get_mut(index)
                && let Some(cut) = Arc::make_mut(page).get_mut(within..)
            {
                cut.fill(0);
            }
        }
        self.len = len;
        Ok(())
    }

    /// Reads at `offset` until the buffer is full or the file ends; returns how much was read.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        // Behind the end there is nothing.
        let left = self.len.saturating_sub(offset);
        let wanted = in_memory(left.min(buffer.len() as u64));
        let Some(mut target) = buffer.get_mut(..wanted).filter(|target| !target.is_empty()) else {
            return Ok(0);
        };
        let (mut index, mut within) = page_of(offset)?;
        while !target.is_empty() {
            let step = target.len().min(PAGE_LEN - within);
            let (now, later) = target.split_at_mut(step);
            let page = self.table.get(index).and_then(Option::as_deref);
            match page.and_then(|page| page.get(within..within + step)) {
                Some(bytes) => now.copy_from_slice(bytes),
                None => now.fill(0),
            }
            target = later;
            index += 1;
            within = 0;
        }
        Ok(wanted)
    }
}

/// The page that holds the byte at `offset`, and where in it.
fn page_of(offset: u64) -> io::Result<(usize, usize)> {
    let index = usize::try_from(offset / PAGE_LEN_U64).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let within = usize::try_from(offset % PAGE_LEN_U64).map_err(|_| io::ErrorKind::FileTooLarge)?;
    Ok((index, within))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes_of(pages: &Pages) -> Vec<u8> {
        let mut bytes = vec![0xAA; usize::try_from(pages.len()).unwrap() + 3];
        let read = pages.read_at(&mut bytes, 0).unwrap();
        bytes.truncate(read);
        bytes
    }

    #[derive(Clone, Debug)]
    enum Step {
        Write(u64, usize, u8),
        SetLen(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..20_000_u64, 0..9_000_usize, 1..=255_u8)
                .prop_map(|(at, n, b)| Step::Write(at, n, b)),
            (0..25_000_u64).prop_map(Step::SetLen),
        ]
    }

    proptest! {
        /// Pages behave like a `Vec<u8>`, and a clone keeps what it was.
        #[test]
        fn pages_are_a_vec(steps in proptest::collection::vec(step(), 1..20)) {
            let mut pages = Pages::default();
            let mut model = Vec::new();
            for step in steps {
                let (before, model_before) = (pages.clone(), model.clone());
                match step {
                    Step::Write(offset, len, byte) => {
                        pages.write_at(&vec![byte; len], offset).unwrap();
                        let start = usize::try_from(offset).unwrap();
                        if len > 0 {
                            model.resize(model.len().max(start + len), 0);
                            model[start..start + len].fill(byte);
                        }
                    }
                    Step::SetLen(len) => {
                        pages.set_len(len).unwrap();
                        model.resize(usize::try_from(len).unwrap(), 0);
                    }
                }
                prop_assert_eq!(bytes_of(&pages), model.clone());
                prop_assert_eq!(bytes_of(&before), model_before);
            }
        }
    }

    #[test]
    fn lengths_that_only_damage_asks_for_are_refused() {
        let mut pages = Pages::default();
        for offset in [FILE_LEN_MAX, u64::MAX - 1, u64::MAX] {
            assert!(pages.write_at(&[1], offset).is_err());
            assert!(pages.set_len(offset.saturating_add(1)).is_err());
        }
        pages.set_len(FILE_LEN_MAX).unwrap();
        assert_eq!(pages.read_at(&mut [0; 8], u64::MAX).unwrap(), 0);
        assert_eq!(pages.read_at(&mut [0; 8], FILE_LEN_MAX - 3).unwrap(), 3);
    }
}
