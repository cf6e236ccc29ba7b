//! Stores of which segments are compressed: what they answer, and who goes on over the swap.

use std::{ops::Range, path::Path, sync::Arc, time::Duration};

use stemedb_simdisk::{FaultyDisk, Survival};
use stemedb_store::{
    AssertionId, CompressError, Compression, Depth, Healed, LogIndex, Options, RepairOptions,
    Store, StoreReader, restore, store::repair_on,
};
use stemedb_wal::{
    disk::Disk,
    raw::CompressedHeader,
    sealed::{HEADER_LEN, parse_segment_name},
};

use crate::reference::world::{self, ENVIRONMENT};

fn options() -> Options {
    Options::default().segment_len(32 << 10).threads(false)
}

fn body(n: u32) -> Vec<u8> {
    let words = ["subject", "predicate", "object", "sky", "blue", "far"];
    let word = |n: u32| words[n as usize % words.len()];
    let text = format!("{{\"id\": {n}, \"{}\": \"{}\"}}", word(n), word(n / 7));
    text.repeat(1 + n as usize % 9).into_bytes()
}

fn id(n: u32) -> AssertionId {
    AssertionId(blake3::hash(&body(n)).into())
}

fn fill(store: &Store, numbers: Range<u32>) {
    let bodies: Vec<_> = numbers.map(body).collect();
    bodies.chunks(50).for_each(|some| drop(store.append_batch(some).unwrap()));
}

fn compress(store: &Store) -> u64 {
    store.compress(Compression::ZSTD, &mut |_| {}).unwrap().segments
}

/// Everything that is asked of a store, and that another one with the same entries answers alike.
fn assert_alike(plain: &StoreReader, compressed: &StoreReader, count: u32) {
    assert_eq!(plain.head().unwrap(), compressed.head().unwrap());
    assert_eq!(plain.len(), u64::from(count));
    for n in 0..count {
        let both = [plain, compressed].map(|store| {
            let index = LogIndex(u64::from(n));
            let entry = store.entry(index).unwrap().unwrap();
            (store.get(&id(n)).unwrap(), entry, store.entry(index).unwrap().map(|of| of.time))
        });
        assert_eq!(both[0].0.as_deref(), Some(body(n).as_slice()), "{n}");
        assert_eq!(format!("{:?}", both[0]), format!("{:?}", both[1]), "{n}");
        if n % 50 == 0 {
            let proofs = [plain, compressed].map(|store| store.prove(&id(n)).unwrap().proof);
            assert_eq!(proofs[0], proofs[1]);
        }
    }
    let all = [plain, compressed].map(|store| {
        let records = store.records(.., usize::MAX);
        records.map(|record| format!("{:?}", record.unwrap())).collect::<Vec<_>>()
    });
    assert_eq!(all[0].len(), count as usize);
    assert_eq!(all[0], all[1]);
    let ids: Vec<_> = (0..count).rev().map(id).collect();
    let many = [plain, compressed]
        .map(|store| store.get_many(&ids).map(|body| body.unwrap().unwrap()).collect::<Vec<_>>());
    assert!(many[0] == many[1]);
    for store in [plain, compressed] {
        let report = store.check(Depth::Deep, &mut |_| {}).unwrap();
        assert!(report.faults.is_empty(), "{report:?}");
    }
}

#[test]
fn it_answers_as_a_plain_one() {
    let made = [false, true].map(|compressed| {
        world::reset();
        let disk = FaultyDisk::new(1);
        let open = || Store::open_on(Arc::new(disk.clone()), ENVIRONMENT, options()).unwrap();
        let mut store = open();
        for round in 0..4 {
            fill(&store, 300 * round..300 * (round + 1));
            if round == 1 {
                store.checkpoint().unwrap();
            }
            if compressed {
                assert!(compress(&store) > 0);
            }
            if round == 2 {
                store.close().unwrap();
                store = open();
            }
        }
        // A second time, all of it is held.
        fill(&store, 0..1200);
        store.close().unwrap();
        (disk.clone(), open())
    });
    let [(plain_disk, plain), (compressed_disk, compressed)] = made;
    assert_alike(&plain, &compressed, 1200);
    let [all, less] = [&plain, &compressed].map(|store| store.stats().unwrap());
    assert_eq!(all.log_bytes, less.log_bytes);
    assert_eq!(all.log_stored_bytes, Some(all.log_bytes));
    assert!(less.log_stored_bytes.unwrap() * 5 < all.log_bytes * 4, "{less:?}");
    // What power cuts leave of a store that rests.
    for survival in Survival::ALL {
        let cut = compressed_disk.power_cut(survival, 3);
        let store = Store::open_on(Arc::new(cut), ENVIRONMENT, options()).unwrap();
        assert_eq!(store.root().unwrap(), plain.root().unwrap());
    }
    assert!(plain_disk.list().unwrap().iter().any(|name| parse_segment_name(name).is_some()));
}

/// Waits until something is so, for a minute at most.
fn wait_until(mut is_so: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("waited for a minute");
}

fn is_compressed(path: &Path) -> bool {
    let bytes = std::fs::read(path).unwrap();
    bytes.get(..HEADER_LEN).is_some_and(|front| CompressedHeader::parse(front).is_some())
}

fn segments(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.retain(|name| parse_segment_name(name).is_some());
    names.sort();
    names
}

#[test]
fn a_thread_compresses_what_is_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let with_thread = options().threads(true).compression(Compression::ZSTD);
    let store = Store::open(dir.path(), with_thread).unwrap();
    fill(&store, 0..2000);
    let all_but_the_last = || {
        let names = segments(dir.path());
        let (_, sealed) = names.split_last().unwrap();
        sealed.len() > 4 && sealed.iter().all(|name| is_compressed(&dir.path().join(name)))
    };
    wait_until(all_but_the_last);
    assert_eq!(store.upkeep(), stemedb_store::Upkeep::default());
    // And what is sealed later.
    fill(&store, 2000..3000);
    wait_until(all_but_the_last);
    store.close().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    for n in 0..3000 {
        assert_eq!(store.get(&id(n)).unwrap().as_deref(), Some(body(n).as_slice()));
    }
}

#[test]
fn readers_beside_go_on_over_the_swap() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    fill(&store, 0..700);
    let open = || Store::open_read_only(dir.path(), options()).unwrap();
    let read = |reader: &StoreReader, count: u32| {
        assert_eq!(reader.len(), u64::from(count));
        for n in 0..count {
            assert_eq!(reader.get(&id(n)).unwrap().as_deref(), Some(body(n).as_slice()), "{n}");
        }
    };
    let (mut used, mut unused) = (open(), open());
    read(&used, 700);
    // The segment that is open for both of them is sealed and compressed, too.
    fill(&store, 700..1500);
    assert!(compress(&store) > 3);
    read(&used, 700);
    read(&unused, 700);
    read(&open(), 1500);
    for reader in [&mut used, &mut unused] {
        reader.refresh().unwrap();
        read(reader, 1500);
        assert_eq!(reader.root().unwrap(), store.root().unwrap());
    }
    // Who only reads does not compress.
    let refused = Store::from(open()).compress(Compression::ZSTD, &mut |_| {});
    assert!(matches!(refused, Err(CompressError::ReadOnly)));
}

#[test]
fn backups_hold_it_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let [at, first, second, third] = ["store", "a", "b", "c"].map(|name| dir.path().join(name));
    let store = Store::open(&at, options()).unwrap();
    fill(&store, 0..600);
    let early = Store::open_read_only(&at, options()).unwrap();
    fill(&store, 600..1500);
    compress(&store);
    let report = store.backup(&first, &mut |_| {}).unwrap();
    assert!(report.files_linked > 3 && report.files_copied == 1, "{report:?}");
    let names = segments(&first);
    assert!(is_compressed(&first.join(&names[0])));
    // One that shows less ends within a segment that is compressed by now.
    let report = early.backup(&second, &mut |_| {}).unwrap();
    assert_eq!(report.head.count, 600);
    let names = segments(&second);
    assert!(is_compressed(&second.join(&names[0])));
    assert!(!is_compressed(&second.join(names.last().unwrap())));
    for (backup, head) in [(&first, store.head().unwrap()), (&second, early.head().unwrap())] {
        let restored = third.join(head.count.to_string());
        std::fs::create_dir_all(&third).unwrap();
        let found = restore(backup, &restored, &head.set_root, options(), &mut |_| {}).unwrap();
        assert_eq!(found.set_root, head.set_root);
        let store = Store::open(&restored, options()).unwrap();
        assert_eq!(store.get(&id(599)).unwrap().as_deref(), Some(body(599).as_slice()));
    }
}

/// A disk with a compressed store that is closed, and one of its segments in which a byte of the
/// payload of the first block is damaged.
fn damaged() -> (FaultyDisk, u64) {
    world::reset();
    let disk = FaultyDisk::new(1);
    let store = Store::open_on(Arc::new(disk.clone()), ENVIRONMENT, options()).unwrap();
    fill(&store, 0..600);
    compress(&store);
    store.checkpoint().unwrap();
    store.close().unwrap();
    let name = "segment-0000-00000000000000000000.log";
    let bytes = disk.contents(name).unwrap();
    let head = stemedb_wal::raw::BlockHead::parse(
        &bytes[HEADER_LEN..],
        &CompressedHeader::parse(&bytes).unwrap().segment,
    );
    let head = head.unwrap();
    let payload = HEADER_LEN as u64 + 32 + u64::from(head.frames_len);
    disk.flip_bit(name, (payload + 20) * 8).unwrap();
    (disk, u64::from(head.bodies))
}

/// Bodies that come again, by an append or from a peer, are put back, and nothing else is lost.
#[test]
fn bodies_of_a_damaged_block_are_put_back() {
    let (disk, bodies) = damaged();
    let store = Store::open_on(Arc::new(disk.clone()), ENVIRONMENT, options()).unwrap();
    let lost = |store: &Store| (0..600).filter(|n| store.get(&id(*n)).is_err()).collect::<Vec<_>>();
    let before = lost(&store);
    assert_eq!(before.len() as u64, bodies);
    let healed = store.heal(&id(before[0]), &body(before[0])).unwrap();
    assert!(matches!(healed, Healed::Rewritten { .. }), "{healed:?}");
    store.append(&body(before[1])).unwrap();
    assert_eq!(lost(&store), before[2..]);
    for n in &before[2..] {
        store.heal(&id(*n), &body(*n)).unwrap();
    }
    let report = store.check(Depth::Deep, &mut |_| {}).unwrap();
    assert!(report.faults.is_empty(), "{report:?}");
    assert!(compress(&store) > 0, "what was healed is plain, and compressed again");
    assert!(lost(&store).is_empty());
}

/// Repair makes holes of them, and of nothing else; they fill again.
#[test]
fn repair_makes_holes_of_the_bodies_of_a_damaged_block() {
    let (disk, bodies) = damaged();
    let options = options();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let report = repair_on(&shared, ENVIRONMENT, &options, RepairOptions::default()).unwrap();
    assert_eq!((report.holes, report.lost_bodies.len() as u64), (bodies, bodies));
    assert!(!report.new_log, "{report:?}");
    let store = Store::open_on(Arc::new(disk), ENVIRONMENT, options).unwrap();
    assert_eq!(store.len(), 600 - bodies);
    assert_eq!(store.log_size(), 600);
    fill(&store, 0..600);
    assert_eq!(store.len(), 600);
    for n in 0..600 {
        assert_eq!(store.get(&id(n)).unwrap().as_deref(), Some(body(n).as_slice()), "{n}");
    }
}
