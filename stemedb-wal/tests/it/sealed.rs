//! Sealed segments as whole files: what is whole passes, and nothing else does.

use std::sync::Arc;

use crate::history::{LogHarness, id_of};
use stemedb_wal::{
    disk::MemoryDisk,
    log::{LogOptions, Spares},
    raw::SegmentHeader,
    sealed::{check_segment, name_of},
};

fn harness() -> LogHarness {
    let options = LogOptions::default().segment_len(1500).spares(Spares::None);
    let mut harness = LogHarness::new(Arc::new(MemoryDisk::new()), options);
    for lens in [&[10, 40][..], &[300], &[0, 0], &[700], &[30], &[2000], &[5, 5, 5], &[90], &[20]] {
        harness.append(lens, 50);
    }
    harness
}

#[test]
fn whole_segments_follow_from_one_another() {
    let mut harness = harness();
    let entries = harness.model().len() as u64;
    assert!(harness.log_mut().seal_open().unwrap(), "there are entries in it");
    assert!(!harness.log_mut().seal_open().unwrap(), "there are none in the new one");
    let reader = harness.log_mut().reader();
    let sealed = reader.sealed_segments();
    assert!(sealed.len() > 2, "{sealed:?}");
    assert_eq!(sealed.last().unwrap().next_index, entries);
    let mut before = None;
    let mut index = 0;
    for segment in &sealed {
        let bytes = reader.read_sealed(segment).unwrap();
        let found = check_segment(&bytes).unwrap();
        assert_eq!(name_of(&found.header), segment.name);
        assert_eq!((found.header.first_index, found.next_index), (index, segment.next_index));
        assert_eq!(found.len, segment.len);
        for placed in found.placed.iter().filter(|placed| placed.kind.takes_index()) {
            let body = found.body(&bytes, placed);
            assert_eq!(id_of(body), placed.id);
            assert_eq!(placed.index, index);
            index += 1;
        }
        if let Some((before, seed)) = before.replace((found.clone(), harness.origin.salt_seed)) {
            assert!(before.is_followed_by(&found.header));
            assert_eq!(before.next_header(&seed), found.header);
            let other = SegmentHeader { previous_sum: 1, ..found.header };
            assert!(!before.is_followed_by(&other));
        }
    }
    harness.append(&[1, 2, 3], 50);
    assert_eq!(harness.log_mut().reader().sealed_segments(), sealed);
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    let mut harness = harness();
    let reader = harness.log_mut().reader();
    let sealed = reader.sealed_segments();
    let bytes = reader.read_sealed(&sealed[0]).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(check_segment(&flipped).is_err(), "bit {bit}");
    }
    for cut in 0..bytes.len() {
        assert!(check_segment(&bytes[..cut]).is_err(), "cut to {cut}");
    }
    assert!(check_segment(&[&bytes[..], &[0]].concat()).is_err());
}
