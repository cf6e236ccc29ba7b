//! Records of sealed segments that are mapped: the same answers and the same errors as by calls.

use std::{
    fs,
    ops::ControlFlow,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use stemedb_merkle::LogIndex;
use stemedb_simdisk::FaultyDisk;
use stemedb_wal::{
    Position,
    disk::{Bytes, DirLock, Disk, DiskFile, FileDisk},
    error::ReadError,
    log::{LogOptions, LogReader, Placed, Spares},
};

use crate::{
    disks::MAPS,
    history::{LogHarness, ModelEntry},
};

fn options(map_files: bool) -> LogOptions {
    LogOptions::default().segment_len(9000).spares(Spares::None).map_files(map_files)
}

/// Lengths of bodies that follow from a seed: mostly short ones, some over pages and segments.
fn lens(seed: u64) -> impl Iterator<Item = usize> {
    (0..).map(move |n: u64| {
        let word = blake3::hash(&[seed.to_le_bytes(), n.to_le_bytes()].concat());
        let number = u64::from_le_bytes(*word.as_bytes().first_chunk().unwrap());
        usize::try_from(match number % 16 {
            0 => number >> 32 & 0x3fff,
            1 => 0,
            _ => number >> 32 & 0x1ff,
        })
        .unwrap()
    })
}

fn fill(disk: Arc<dyn Disk>, map_files: bool, seed: u64) -> LogHarness {
    let mut harness = LogHarness::new(disk, options(map_files));
    let mut lens = lens(seed);
    for n in 0..60 {
        let batch: Vec<usize> = lens.by_ref().take(1 + n % 5).collect();
        harness.append(&batch, 1000 * n as u64);
    }
    assert!(harness.log().reader().segments_len() > 4);
    harness
}

type Answer = Result<(Placed, Vec<u8>), String>;

fn told<T>(result: Result<T, ReadError>) -> Result<T, String> {
    // Where the files lie is the only difference.
    result.map_err(|error| {
        let text = format!("{error:?}");
        let dirs = text.split('"').filter(|part| part.contains('/'));
        let dir = dirs.map(|path| Path::new(path).parent().unwrap().to_str().unwrap().to_owned());
        dir.fold(text.clone(), |text, dir| text.replace(&dir, ""))
    })
}

/// What each way of reading gives for each record: by position, by index, many at once, in order.
fn answers(reader: &LogReader, entries: &[ModelEntry]) -> Vec<[Answer; 4]> {
    let positions: Vec<Position> = entries.iter().map(|entry| Position(entry.position)).collect();
    let mut many = Vec::new();
    let all = reader.read_many(&positions, &mut |number, placed, body| {
        assert_eq!(number, many.len());
        many.push(told(placed.map(|placed| (placed, std::mem::take(body)))));
        ControlFlow::Continue(())
    });
    assert_eq!(all, ControlFlow::Continue(()));
    let in_order = reader.records(LogIndex(0)..LogIndex(u64::MAX), usize::MAX);
    let in_order: Vec<Answer> =
        in_order.map(|record| told(record.map(|(placed, body)| (placed, body.unwrap())))).collect();
    assert_eq!((many.len(), in_order.len()), (entries.len(), entries.len()));
    let rest = many.into_iter().zip(in_order);
    let answers = entries.iter().zip(rest).map(|(entry, (many, in_order))| {
        let whole = |record: stemedb_wal::log::Record| (record.entry, record.body);
        let by_position = told(reader.read(Position(entry.position)).map(whole));
        let by_index = told(reader.read_index(LogIndex(entry.index)).map(whole));
        // Without the body: it may be there although that is damaged, but is never another.
        for placed in
            [reader.entry(Position(entry.position)), reader.entry_at(LogIndex(entry.index))]
        {
            assert!(placed.is_err() || by_position.is_err() || placed.unwrap().id == entry.id);
        }
        [by_position, by_index, many, in_order]
    });
    answers.collect()
}

fn check_whole(reader: &LogReader, entries: &[ModelEntry]) {
    for (answers, entry) in answers(reader, entries).iter().zip(entries) {
        for answer in answers {
            let (placed, body) = answer.as_ref().unwrap();
            assert_eq!((placed.index.get(), placed.id), (entry.index, entry.id));
            assert!(*body == entry.body);
        }
    }
}

#[test]
fn maps_calls_and_simulated_disks_give_the_same() {
    for seed in 0..6 {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [one, other] = dirs.each_ref().map(|dir| FileDisk::create(dir.path()).unwrap());
        let disks: [(Arc<dyn Disk>, bool); 3] = [
            (Arc::new(one), true),
            (Arc::new(other), false),
            (Arc::new(FaultyDisk::new(seed)), true),
        ];
        for (disk, map_files) in disks {
            let mut harness = fill(disk, map_files, seed);
            harness.check_reads();
            check_whole(&harness.log().reader(), harness.model());
            harness.close();
            harness.open();
            harness.check_reads();
            check_whole(&harness.log().reader(), harness.model());
        }
    }
}

/// The segments of a directory, in order.
fn segments(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|file| file.unwrap().path()).collect();
    names.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    names.sort();
    names
}

/// A segment changes under two logs, of which one has mapped it: whatever can't be read any more is
/// the same error, and all else is right. Real SIGBUS where pages are cut off.
fn both_tell_the_same(seed: u64, change: impl Fn(&fs::File, u64)) -> usize {
    let _maps = MAPS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let disks = dirs.each_ref().map(|dir| FileDisk::create(dir.path()).unwrap());
    let logs: Vec<LogHarness> = disks
        .iter()
        .zip([true, false])
        .map(|(disk, map_files)| fill(Arc::new(disk.clone()), map_files, seed))
        .collect();
    let entries = logs[0].model();
    assert!(entries == logs[1].model());
    let readers = [logs[0].log().reader(), logs[1].log().reader()];
    // With this all sealed segments are mapped.
    for reader in &readers {
        check_whole(reader, entries);
    }
    let mut sealed = segments(dirs[0].path());
    sealed.pop();
    let len = |path: &std::path::PathBuf| fs::metadata(path).unwrap().len();
    let name = sealed.iter().max_by_key(|path| len(path)).unwrap().file_name().unwrap().to_owned();
    let opened = disks[0].open(name.to_str().unwrap()).unwrap();
    assert!(opened.map().is_some(), "this system maps files");
    let mut kept = Vec::new();
    for dir in &dirs {
        let path = dir.path().join(&name);
        kept.push(fs::read(&path).unwrap());
        let file = fs::OpenOptions::new().write(true).read(true).open(path).unwrap();
        change(&file, file.metadata().unwrap().len());
    }
    let [mapped, called] = readers.each_ref().map(|reader| answers(reader, entries));
    let mut failed = 0;
    for ((mapped, called), entry) in mapped.iter().zip(&called).zip(entries) {
        assert_eq!(mapped, called, "seed {seed}, entry {}", entry.index);
        for answer in mapped {
            match answer {
                Ok((placed, body)) => {
                    assert!(placed.id == entry.id && *body == entry.body, "{entry:?}");
                }
                Err(_) => failed += 1,
            }
        }
    }
    // Put back, it is read again.
    for (dir, kept) in dirs.iter().zip(&kept) {
        use std::os::unix::fs::FileExt as _;
        let path = dir.path().join(&name);
        fs::OpenOptions::new().write(true).open(path).unwrap().write_all_at(kept, 0).unwrap();
    }
    for reader in &readers {
        check_whole(reader, entries);
    }
    failed
}

#[test]
fn a_mapped_segment_that_is_cut_gives_the_errors_of_calls() {
    for (seed, cut) in [0, 1, 100, 4095, 4096, 5000].into_iter().enumerate() {
        let failed = both_tell_the_same(seed as u64, |file, _| file.set_len(cut).unwrap());
        assert!(failed > 0, "cut to {cut}");
    }
    // In the list of offsets, and in the midst of one: the rest of the page reads as zeros.
    for less in [1, 3, 40, 43, 60] {
        both_tell_the_same(100 + less, |file, len| file.set_len(len - less).unwrap());
    }
}

#[test]
fn damage_of_a_mapped_segment_gives_the_errors_of_calls() {
    use std::os::unix::fs::FileExt as _;
    let mut failed = 0;
    for seed in 0..40 {
        failed += both_tell_the_same(seed, |file, len| {
            let at = 97 * (seed + 1) % len;
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 1 << (seed % 8)], at).unwrap();
        });
    }
    assert!(failed > 60, "{failed}");
}

/// A disk that counts how often its files are read by calls.
#[derive(Clone, Debug)]
struct Counting {
    disk: FileDisk,
    reads: Arc<AtomicU64>,
}

#[derive(Debug)]
struct CountingFile {
    file: Arc<dyn DiskFile>,
    reads: Arc<AtomicU64>,
}

impl Counting {
    fn new(dir: &Path) -> Self {
        Self { disk: FileDisk::create(dir).unwrap(), reads: Arc::default() }
    }

    /// How many reads there are meanwhile.
    fn count(&self, read: impl FnOnce()) -> u64 {
        let before = self.reads.load(Ordering::Relaxed);
        read();
        self.reads.load(Ordering::Relaxed) - before
    }

    fn counted(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(CountingFile { file, reads: Arc::clone(&self.reads) })
    }
}

impl Disk for Counting {
    fn open(&self, name: &str) -> std::io::Result<Arc<dyn DiskFile>> {
        Ok(self.counted(self.disk.open(name)?))
    }
    fn create(&self, name: &str) -> std::io::Result<Arc<dyn DiskFile>> {
        Ok(self.counted(self.disk.create(name)?))
    }
    fn list(&self) -> std::io::Result<Vec<String>> {
        self.disk.list()
    }
    fn rename(&self, from: &str, to: &str) -> std::io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, name: &str) -> std::io::Result<()> {
        self.disk.remove(name)
    }
    fn sync_dir(&self) -> std::io::Result<()> {
        self.disk.sync_dir()
    }
    fn lock(&self) -> std::io::Result<Box<dyn DirLock>> {
        self.disk.lock()
    }
    fn map(&self, name: &str, in_place: bool) -> std::io::Result<Arc<dyn Bytes>> {
        self.disk.map(name, in_place)
    }
    fn available(&self) -> std::io::Result<u64> {
        self.disk.available()
    }
    fn path(&self, name: &str) -> std::path::PathBuf {
        self.disk.path(name)
    }
}

impl DiskFile for CountingFile {
    fn len(&self) -> std::io::Result<u64> {
        self.file.len()
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.file.read_at(buffer, offset)
    }
    fn map(&self) -> Option<Arc<dyn Bytes>> {
        self.file.map()
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> std::io::Result<()> {
        self.file.write_at(bytes, offset)
    }
    fn allocate(&self, len: u64) -> std::io::Result<()> {
        self.file.allocate(len)
    }
    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.file.set_len(len)
    }
    fn sync(&self) -> std::io::Result<()> {
        self.file.sync()
    }
}

/// Out of sealed segments no record takes a call, and without maps one or two; in order a block
/// takes one, however many records there are in it.
#[test]
fn reads_are_counted() {
    let _maps = MAPS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let dir = tempfile::tempdir().unwrap();
    for map_files in [true, false] {
        let disk = Counting::new(&dir.path().join(map_files.to_string()));
        let options = LogOptions::default().segment_len(1 << 20).spares(Spares::None);
        let mut harness = LogHarness::new(Arc::new(disk.clone()), options.map_files(map_files));
        for _ in 0..100 {
            harness.append(&[250; 100], 0);
        }
        harness.log_mut().seal_open().unwrap();
        let (reader, entries) = (harness.log().reader(), harness.model());
        let segments = harness.log().reader().segments_len();
        assert_eq!((segments, entries.len()), (5, 10_000));
        let by_position = disk.count(|| {
            for entry in entries {
                reader.read(Position(entry.position)).unwrap();
            }
        });
        let by_index = disk.count(|| {
            for entry in entries {
                reader.read_index(LogIndex(entry.index)).unwrap();
                reader.entry_at(LogIndex(entry.index)).unwrap();
            }
        });
        let mut seen = 0;
        let in_order = disk.count(|| {
            let records = reader.records(LogIndex(0)..LogIndex(u64::MAX), usize::MAX);
            seen = records.map(|record| record.unwrap().1.unwrap().len()).sum();
        });
        assert_eq!(seen, 250 * 10_000);
        let without_bodies = disk.count(|| {
            assert_eq!(reader.entries(LogIndex(0)..LogIndex(u64::MAX)).count(), 10_000);
        });
        println!("{map_files}: {by_position} {by_index} {in_order} {without_bodies}");
        let alone = if map_files { 0..=0 } else { 10_000..=10_003 };
        assert!(alone.contains(&by_position), "{by_position}");
        assert_eq!(by_index, if map_files { 0 } else { 40_000 });
        // Two for each block of 1 MiB and its offsets, of which a segment has at most two.
        assert!(in_order <= 4 * segments, "{in_order}");
        assert!(without_bodies <= 30, "{without_bodies}");
    }
}

/// Bodies that do not fit a block, or are not wanted, and holes.
#[test]
fn long_bodies_are_read_in_order_too() {
    let disk: Arc<dyn Disk> = Arc::new(FaultyDisk::new(1));
    let options = LogOptions::default().spares(Spares::None);
    let mut harness = LogHarness::new(disk, options);
    for lens in [&[1 << 20, 5, (1 << 20) - 60, (1 << 20) - 61][..], &[3 << 20, 0, 700_000, 700_000]]
    {
        harness.append(lens, 0);
    }
    for sealed in [false, true] {
        if sealed {
            harness.log_mut().seal_open().unwrap();
        }
        let reader = harness.log().reader();
        check_whole(&reader, harness.model());
        for (len_max, ahead) in [(0, 0), (5, 1 << 20), (700_000, 100), (usize::MAX, 600_000)] {
            let records = reader.records(LogIndex(0)..LogIndex(u64::MAX), len_max).ahead(ahead);
            let mut seen = 0;
            for (record, entry) in records.zip(harness.model()) {
                let (placed, body) = record.unwrap();
                assert_eq!((placed.id, placed.len as usize), (entry.id, entry.body.len()));
                assert_eq!(body.is_some(), entry.body.len() <= len_max);
                assert!(body.is_none_or(|body| body == entry.body));
                seen += 1;
            }
            assert_eq!(seen, harness.model().len());
        }
    }
    let part = harness.log().reader().records(LogIndex(2)..LogIndex(4), usize::MAX);
    assert_eq!(part.map(|record| record.unwrap().0.index.get()).collect::<Vec<_>>(), [2, 3]);
}

/// A position that is none, and one that is not published yet.
#[test]
fn positions_of_nothing_are_told_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let harness = fill(Arc::new(FileDisk::create(dir.path()).unwrap()), true, 7);
    let reader = harness.log().reader();
    let whole = Position(harness.model()[3].position);
    let positions = [Position(whole.get() - 1), whole, Position(whole.get() + 1), reader.end()];
    let mut found = Vec::new();
    let _ = reader.read_many(&positions, &mut |_, placed, _| {
        found.push(placed.map(|placed| placed.index.get()).map_err(|error| format!("{error:?}")));
        if found.len() == 4 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!(found[1], Ok(3));
    assert!(found[0].as_ref().is_err_and(|error| error.contains("Damaged")));
    assert!(found[2].as_ref().is_err_and(|error| error.contains("Damaged")));
    assert!(found[3].as_ref().is_err_and(|error| error.contains("NotFound")));
}
