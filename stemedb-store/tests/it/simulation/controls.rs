//! Negative controls: what is wrong on purpose must fail the same checks.

use std::sync::Arc;

use stemedb_simdisk::{FaultyDisk, UnsyncedDisk};
use stemedb_wal::{
    disk::Disk,
    raw::{
        BatchHeader, HEAD_LEN, Head, SegmentHeader, TRAILER_LEN, Trailer, batch,
        parse_segment_name, segment,
    },
};

use super::plain;
use super::{cut::Cutter, life};

#[test]
fn a_writer_that_skips_the_sync_is_caught() {
    let unsynced = |disk| Arc::new(UnsyncedDisk(disk)) as Arc<dyn Disk>;
    for seed in 1..4 {
        let error = life::live(seed, 30, unsynced)
            .and_then(|moments| Cutter::new(unsynced).cut_at_each(seed, &moments))
            .unwrap_err();
        println!("caught: {error}");
    }
}

/// What is whole of a segment: up to the first batch that is not, or its end.
fn whole_len(contents: &[u8], header: &SegmentHeader) -> usize {
    let trailer_at = contents.len().saturating_sub(TRAILER_LEN);
    let trailer = Trailer::parse(
        &contents[trailer_at..],
        header.salt,
        header.first_position + trailer_at as u64,
    );
    if trailer.is_some_and(|trailer| whole_batches(contents, header) as u64 == trailer.batches_end)
    {
        return contents.len();
    }
    whole_batches(contents, header)
}

fn whole_batches(contents: &[u8], header: &SegmentHeader) -> usize {
    let mut at = segment::HEADER_LEN;
    'batches: while let Some(rest) = contents.get(at..) {
        let position = header.first_position + at as u64;
        let Some(batch) = BatchHeader::parse(rest, header.salt, position) else { break };
        let mut record_at = at + batch::HEADER_LEN;
        for _ in 0..batch.records {
            let position = header.first_position + record_at as u64;
            let rest = contents.get(record_at..).unwrap_or_default();
            let Some(head) = Head::parse(rest, header.salt, position) else { break 'batches };
            let end = HEAD_LEN + head.len as usize;
            let Some(body) = rest.get(HEAD_LEN..end) else { break 'batches };
            if !head.covers(body, header.salt, position) {
                break 'batches;
            }
            record_at += end;
        }
        at = record_at + batch::END.len();
    }
    at
}

/// A recovery that takes the first batch that is not whole for the end of the log, wherever it is.
fn trusting(disk: FaultyDisk) -> Arc<dyn Disk> {
    let mut ended = false;
    for name in disk.list().unwrap() {
        let contents = disk.contents(&name).unwrap();
        if parse_segment_name(&name).is_none() || contents.is_empty() {
            continue;
        }
        let Ok(header) = SegmentHeader::parse(&contents) else { continue };
        if ended {
            disk.remove(&name).unwrap();
            continue;
        }
        let whole = whole_len(&contents, &header);
        if whole < contents.len() {
            ended = contents[whole..].iter().any(|byte| *byte != 0);
            disk.truncate_file(&name, whole as u64).unwrap();
        }
    }
    disk.sync_dir().unwrap();
    plain(disk)
}

/// It survives every power cut by itself; damage is what tells it from the right one.
#[test]
fn a_recovery_that_trusts_the_first_bad_batch_is_caught() {
    for seed in 1..4 {
        let moments = life::live(seed, 30, plain).unwrap();
        let error = Cutter::new(trusting).cut_at_each(seed, &moments).unwrap_err();
        println!("caught: {error}");
        assert!(error.contains("damaged"), "{error}");
        assert!(error.contains("taken for torn") || error.contains("acknowledged"), "{error}");
    }
}
