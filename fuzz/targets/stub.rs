//! What is kept of a segment whose bodies are only in an archive.

use std::{io, ops::Range, sync::Arc};

use stemedb_merkle::Hash;
use stemedb_simdisk::FaultyDisk;
use stemedb_wal::remote::{LogDir, Opened, SegmentSource};

pub(crate) const SEGMENT: &str = "segment-0000-00000000000000000000.log";
pub(crate) const STUB: &str = "remote-0000-00000000000000000000.seg";

/// Bytes that have a checksum behind them, of the number of the block and of them.
const BLOCK_LEN: usize = 4092;

/// An archive that has whatever is asked for.
#[derive(Debug)]
struct Anything;

impl SegmentSource for Anything {
    fn read(&self, _: &Hash, range: Range<u64>) -> io::Result<Vec<u8>> {
        Ok(vec![0xee; (range.end - range.start) as usize])
    }
}

/// The segment that a stub stands for.
pub(crate) fn open(bytes: &[u8]) -> io::Result<Opened> {
    let disk = FaultyDisk::new(1);
    disk.put(STUB, bytes).unwrap();
    LogDir::new(Arc::new(disk), Some(Arc::new(Anything))).open_segment(SEGMENT)
}

/// A stub: what is read of one that was written, with and without its archive, is the same however
/// the reads are cut; and one that was made up is read or refused.
pub(crate) fn stub(bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    for mended in [false, true] {
        for (number, block) in (0_u32..).zip(bytes.chunks_mut(BLOCK_LEN + 4)).filter(|_| mended) {
            let Some(at) = block.len().checked_sub(4) else { continue };
            let mut sum = crc32fast::Hasher::new();
            sum.update(&number.to_le_bytes());
            sum.update(&block[..at]);
            block[at..].copy_from_slice(&sum.finalize().to_le_bytes());
        }
        let Ok(file) = open(&bytes) else { continue };
        let len = file.len().unwrap();
        for at in [0, 100, len / 2, len.saturating_sub(300)] {
            let reads: [fn(&Opened, &mut [u8], u64) -> io::Result<usize>; 2] =
                [|file, to, at| file.read_local_at(to, at), |file, to, at| file.read_at(to, at)];
            for read in reads {
                let (mut whole, mut cut) = ([1; 300], [2; 300]);
                let Ok(count) = read(&file, &mut whole, at) else { continue };
                assert_eq!(count as u64, len.saturating_sub(at).min(300));
                let (front, back) = cut.split_at_mut(77);
                let both = [read(&file, front, at), read(&file, back, at + 77)];
                // One that was made up may say the same bytes twice.
                if !mended {
                    assert_eq!(both.map(Result::unwrap).iter().sum::<usize>(), count);
                    assert_eq!(whole[..count], cut[..count]);
                }
            }
        }
    }
}
