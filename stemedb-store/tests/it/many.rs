//! Many bodies at once: the same as one by one, in whatever order they are asked for, and within
//! bounds.

use std::{fs, path::Path, sync::Arc};

use bytes::Bytes;
use stemedb_simdisk::{FaultyDisk, Operation, Target};
use stemedb_store::{
    AssertionId, Entry, Environment, LogIndex, Options, ReadError, Secret, Store, clock::NTP64,
};
use stemedb_wal::{
    disk::Disk,
    identity::Identity,
    log::{Log, LogOptions, NewRecord, Origin, Spares},
};

use crate::reference::random::{Random, first_seed, noise};

const ENVIRONMENT: Environment = Environment {
    clock: || NTP64(7 << 32),
    entropy: |bytes| {
        bytes.fill(3);
        Ok(())
    },
    sleep: |_| {},
};

fn options() -> Options {
    Options::default().segment_len(64 << 10).threads(false)
}

/// An answer, or what an error says.
fn told<T>(answer: Result<T, ReadError>) -> Result<T, String> {
    answer.map_err(|error| format!("{error:?}"))
}

fn get_one_by_one(store: &Store, ids: &[AssertionId]) -> Vec<Result<Option<Bytes>, String>> {
    ids.iter().map(|id| Ok(told(store.get(id))?.map(Bytes::from))).collect()
}

/// All ways of reading many give what reading one by one gives.
fn check_many(store: &Store, random: &mut Random, ids: &[AssertionId]) {
    let ahead = [1, 1000, 50_000, 4 << 20][random.index(4)];
    let expected = get_one_by_one(store, ids);
    let many: Vec<_> = store.get_many(ids).ahead(ahead).map(told).collect();
    assert!(many == expected, "{ahead}");
    assert_eq!(store.get_many(ids).len(), ids.len());

    let size = store.log_size().get();
    let indexes: Vec<LogIndex> =
        (0..300).map(|_| LogIndex(random.below(size + 5))).chain([LogIndex(u64::MAX)]).collect();
    let one = |index: &LogIndex| -> Result<Option<(Entry, Bytes)>, String> {
        Ok(told(store.get_index(*index))?.map(|(entry, body)| (entry, body.into())))
    };
    let expected: Vec<_> = indexes.iter().map(one).collect();
    let many: Vec<_> = store.get_many_indexes(&indexes).ahead(ahead).map(told).collect();
    assert!(many == expected, "{ahead}");

    let (from, len_max) = (LogIndex(random.below(size)), [0, 200, usize::MAX][random.index(3)]);
    let one = |index| -> Result<(Entry, Option<Bytes>), String> {
        let entry = told(store.entry(index))?.unwrap();
        let wanted = !entry.hole && entry.len <= len_max as u64;
        Ok((entry, if wanted { told(store.get(&entry.id))?.map(Bytes::from) } else { None }))
    };
    let expected: Vec<_> = (from.get()..size).map(|index| one(LogIndex(index))).collect();
    let records: Vec<_> = store.records(from.., len_max).ahead(ahead).map(told).collect();
    assert!(records == expected, "{from} {len_max} {ahead}");
}

/// Some of these, in any order and with repeats, and some that nobody has.
fn pick(random: &mut Random, ids: &[AssertionId]) -> Vec<AssertionId> {
    let len = [0, 1, 2, 63, 64, 65, 700, 3000][random.index(8)];
    let one = |_| match random.below(10) {
        0 => AssertionId(noise(random.next(), 32).try_into().unwrap()),
        _ => ids[random.index(ids.len())],
    };
    (0..len).map(one).collect()
}

/// A store whose ids are in the checkpoint, in the trees, and in neither yet.
fn fill(store: &Store) -> Vec<AssertionId> {
    let body = |n: u64| noise(n, if n.is_multiple_of(97) { 20_000 } else { (n % 400) as usize });
    let mut ids = Vec::new();
    for part in [0..1500, 1500..2500, 2500..3000] {
        // A batch lies in one segment, however long it gets.
        for from in part.clone().step_by(50) {
            let receipts = store.append_batch((from..from + 50).map(body)).unwrap();
            ids.extend(receipts.iter().map(|receipt| receipt.id));
        }
        match part.end {
            1500 => drop(store.checkpoint().unwrap()),
            2500 => drop(store.root().unwrap()),
            _ => {}
        }
    }
    ids
}

#[test]
fn many_are_what_each_is_alone() {
    let first = first_seed(1);
    let secret = || Secret::new(&[5; 20]).unwrap();
    for seed in first..first + 4 {
        println!("STEMEDB_SEED={seed}");
        let mut random = Random::new(seed);
        let dir = tempfile::tempdir().unwrap();
        let options = match seed % 4 {
            0 => options(),
            1 => options().map_files(false),
            2 => options().secret(Some(secret())),
            _ => options().verify_reads(false),
        };
        let store = match seed % 4 {
            // A simulated disk maps nothing.
            3 => Store::open_on(Arc::new(FaultyDisk::new(seed)), ENVIRONMENT, options).unwrap(),
            _ => Store::open(dir.path(), options).unwrap(),
        };
        let ids = fill(&store);
        for _ in 0..6 {
            let picked = pick(&mut random, &ids);
            check_many(&store, &mut random, &picked);
        }
        store.append(b"while they were read").unwrap();
        check_many(&store, &mut random, &ids);
        store.close().unwrap();
    }
}

fn segments(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(dir).unwrap().map(|file| file.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    paths.sort();
    paths
}

/// Segments are damaged, and cut while they are mapped. What is damaged is an error in its place,
/// all else is right, and a body that comes back from elsewhere is not read from the old map.
#[test]
fn damage_is_reported_in_its_place() {
    use std::os::unix::fs::FileExt as _;
    let first = first_seed(1);
    for seed in first..first + 4 {
        println!("STEMEDB_SEED={seed}");
        let mut random = Random::new(seed);
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), options().map_files(seed % 4 != 0)).unwrap();
        let ids = fill(&store);
        let bodies: Vec<Bytes> = store.get_many(&ids).map(|body| body.unwrap().unwrap()).collect();
        let paths = segments(dir.path());
        assert!(paths.len() > 8);
        for path in &paths[1..4] {
            let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
            let at = random.below(file.metadata().unwrap().len());
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 1 << random.below(8)], at).unwrap();
        }
        let cut = fs::OpenOptions::new().write(true).open(&paths[5]).unwrap();
        let kept = fs::read(&paths[5]).unwrap();
        cut.set_len(random.below(kept.len() as u64)).unwrap();
        check_many(&store, &mut random, &ids);
        let picked = pick(&mut random, &ids);
        check_many(&store, &mut random, &picked);
        cut.write_all_at(&kept, 0).unwrap();
        // The segments of those that are damaged are other files then.
        for (id, body) in ids.iter().zip(&bodies) {
            if store.get(id).is_err() {
                store.heal(id, body).unwrap();
            }
        }
        check_many(&store, &mut random, &ids);
        let again: Vec<_> = store.get_many(&ids).map(|body| body.unwrap().unwrap()).collect();
        assert!(again == bodies);
        store.close().unwrap();
    }
}

/// A record whose checksums are right and whose body is another: only the id tells.
#[test]
fn a_body_of_another_id_is_refused() {
    let disk = FaultyDisk::new(1);
    let open = |verify| {
        let options = options().verify_reads(verify).checkpoint_every(u64::MAX);
        Store::open_on(Arc::new(disk.clone()), ENVIRONMENT, options).unwrap()
    };
    let ids: Vec<AssertionId> = {
        let store = open(true);
        let receipts = store.append_batch((0..200).map(|n| noise(n, 90))).unwrap();
        receipts.iter().map(|receipt| receipt.id).collect()
    };
    let forged = AssertionId(*blake3::hash(b"what was asked for").as_bytes());
    {
        let lock = disk.lock().unwrap();
        let opened = Identity::open(&disk, lock.fingerprint(), None, ENVIRONMENT.entropy).unwrap();
        let origin = Origin::from(&opened.identity);
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let options = LogOptions::default().spares(Spares::None);
        let (mut log, _) = Log::open(shared, &origin, &options, None, &mut |_| {}).unwrap();
        let record = NewRecord { id: forged.0, body: b"what there is", heals: None };
        let time = stemedb_store::Timestamp::from_ntp64(9 << 32);
        log.write(&[record], time, &mut Vec::new()).unwrap();
        log.sync().unwrap();
        log.close().unwrap();
    }
    let asked = [&ids[..70], &[forged], &ids[70..]].concat();
    let indexes: Vec<LogIndex> = (0..201).map(LogIndex).collect();
    for verify in [true, false] {
        let store = open(verify);
        let wrong =
            |error: &ReadError| matches!(error, ReadError::WrongId { id, .. } if *id == forged);
        for (number, body) in store.get_many(&asked).enumerate() {
            match body {
                Ok(Some(body)) if number == 70 => {
                    assert!(!verify && body == b"what there is"[..]);
                }
                Err(error) => assert!(verify && number == 70 && wrong(&error), "{error}"),
                body => assert_eq!(body.unwrap().unwrap().len(), 90),
            }
        }
        let by_index = store.get_many_indexes(&indexes).map(|read| read.map(drop));
        let in_order = store.records(.., usize::MAX).map(|read| read.map(drop));
        for read in [by_index.collect::<Vec<_>>(), in_order.collect()] {
            let failed = read.iter().position(Result::is_err);
            assert_eq!((read.len(), failed), (201, verify.then_some(200)));
        }
    }
}

/// How much is read before the first body is given out, and in all.
#[test]
fn what_is_read_ahead_is_bounded() {
    let disk = FaultyDisk::new(1);
    let options = Options::default().threads(false).segment_len(8 << 20).map_files(false);
    let store = Store::open_on(Arc::new(disk.clone()), ENVIRONMENT, options).unwrap();
    let receipts = store.append_batch((0..200).map(|n| noise(n, 300_000))).unwrap();
    let mut ids: Vec<AssertionId> = receipts.iter().map(|receipt| receipt.id).collect();
    ids.reverse();
    let long = || disk.reads_of(300_000..usize::MAX);
    for (ahead, least) in [(1, 1), (1_000_000, 4), (4 << 20, 14)] {
        let before = long();
        let mut bodies = store.get_many(&ids).ahead(ahead);
        let first = bodies.next().unwrap().unwrap().unwrap();
        assert!(first == noise(199, 300_000));
        // Those that come first in the log, and the one that was asked for.
        assert_eq!(long() - before, least + 1, "{ahead}");
        let rest: Vec<_> = bodies.map(|body| body.unwrap().unwrap()).collect();
        assert!(rest.iter().rev().enumerate().all(|(n, body)| *body == noise(n as u64, 300_000)));
        assert_eq!(long() - before, 200, "each is read once");
    }
}

/// Reads of a log in order, with bodies and without, take a call for each block; one by one it was
/// at least one for each entry.
#[test]
fn readers_in_order_take_few_calls() {
    let disk = FaultyDisk::new(1);
    let options = Options::default().threads(false).segment_len(1 << 20);
    let store = Store::open_on(Arc::new(disk.clone()), ENVIRONMENT, options).unwrap();
    for from in (0..10_000).step_by(100) {
        store.append_batch((from..from + 100).map(|n| noise(n, 250))).unwrap();
    }
    let reads = || disk.operations(Target::Only(Operation::Read));
    let count = |read: &dyn Fn()| {
        let before = reads();
        read();
        reads() - before
    };
    let one_by_one = count(&|| {
        for index in 0..10_000 {
            store.get_index(LogIndex(index)).unwrap().unwrap();
        }
    });
    let records = count(&|| {
        let bodies = store.records(.., usize::MAX).map(|record| record.unwrap().1.unwrap());
        assert_eq!(bodies.map(|body| body.len()).sum::<usize>(), 2_500_000);
    });
    let entries = count(&|| assert_eq!(store.iter().count(), 10_000));
    let watch = count(&|| {
        let watch = store.watch(LogIndex(0));
        assert!(watch.take(10_000).enumerate().all(|(n, entry)| entry.unwrap().index == n as u64));
    });
    println!("{one_by_one} one by one; {records}, {entries}, {watch}");
    assert!(one_by_one >= 20_000, "{one_by_one}");
    assert!(records <= 30, "{records}");
    assert!(entries <= 30, "{entries}");
    assert!(watch <= 100, "{watch}");
}

/// A watch reads ahead, and tells of a hole as it is when its turn comes; damage ahead keeps
/// nothing before it from being told.
#[test]
fn a_watch_gives_all_before_damage() {
    let disk = FaultyDisk::new(1);
    let options = Options::default().threads(false).segment_len(1 << 20);
    let store = Store::open_on(Arc::new(disk.clone()), ENVIRONMENT, options).unwrap();
    let receipts = store.append_batch((0..300).map(|n| noise(n, 250))).unwrap();
    let name = disk.list().unwrap().into_iter().find(|name| name.starts_with("segment-")).unwrap();
    disk.flip_bit(&name, 8 * (receipts[200].position.get() + 30)).unwrap();
    let watch = store.watch(LogIndex(10));
    let told: Vec<_> = watch.map(|entry| entry.map(|entry| entry.index.get()).ok()).collect();
    let expected: Vec<_> = (10..200).map(Some).chain([None]).collect();
    assert_eq!(told, expected);
    let listed: Vec<_> =
        store.iter().map(|entry| entry.map(|entry| entry.index.get()).ok()).collect();
    assert_eq!(listed, (0..200).map(Some).chain([None]).collect::<Vec<_>>());
}
