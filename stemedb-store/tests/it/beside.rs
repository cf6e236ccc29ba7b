//! Readers beside a writer, each operation of which is a place where they look.
//!
//! - *Stopped at each operation*: a random writer (appends, rolls of segments, restart checkpoints,
//!   clean closes, deaths in the middle of anything, and recoveries) stands still before each
//!   operation that changes the disk, and in the middle of each write. There a reader opens the
//!   store, and older readers are refreshed.
//! - *While it goes on*: the writer goes on by some operations before each operation of the reader,
//!   in the middle of its opening and refreshing.
//! - *Repair*: the same at each operation of a repair.
//!
//! Each reader shows all that was acknowledged when it began, of what is under way all or nothing,
//! with the roots that follow from these entries by definition, and neither locks nor writes.
//!
//! A failure prints its seed: `STEMEDB_SEED=… cargo test --test it -- beside::` replays it.

mod gate;
mod model;
mod writer;

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use stemedb_simdisk::{FaultyDisk, Operation};
use stemedb_store::{
    Depth, Environment, OpenError, RepairOptions, Store, StoreReader, store::repair_on,
};
use stemedb_wal::disk::Disk;

use self::{
    gate::{Ask, Gate},
    model::Entries,
    writer::{Writer, options},
};
use crate::reference::{
    ledger::Ledger,
    random::{self, Random, noise},
    world,
};

thread_local! {
    /// How often was waited for a writer.
    static WAITS: Cell<u64> = const { Cell::new(0) };
}

const ENVIRONMENT: Environment =
    Environment { sleep: |_| WAITS.set(WAITS.get() + 1), ..world::ENVIRONMENT };

/// Way to open a store to read it: on a disk, or as readers see that.
type Opener = fn(&FaultyDisk, Arc<dyn Disk>) -> Result<StoreReader, OpenError>;

fn open(disk: Arc<dyn Disk>) -> Result<StoreReader, OpenError> {
    Store::open_read_only_on(disk, ENVIRONMENT, options())
}

/// A disk of which nothing is asked but to be read, and how often something else was.
fn guarded(disk: &FaultyDisk) -> (Arc<dyn Disk>, Arc<AtomicU64>) {
    let writes = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&writes);
    let ask: Ask = Arc::new(move |operation: Operation| {
        if operation.mutates() || operation == Operation::Lock {
            counted.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    });
    (Arc::new(Gate { disk: Arc::new(disk.clone()), ask }), writes)
}

/// Looks at a store again and again, with new readers and with older ones.
struct Observer {
    opener: Opener,
    whole: FaultyDisk,
    /// The disk as readers see it.
    disk: Arc<dyn Disk>,
    writes: Arc<AtomicU64>,
    ledger: Arc<Mutex<Ledger>>,
    random: Random,
    /// Each with how many looks there are from one refresh to the next.
    older: Vec<(u64, StoreReader)>,
    looks: u64,
    refreshes: u64,
    result: Result<(), String>,
}

impl Observer {
    fn new(disk: &FaultyDisk, seed: u64, ledger: Arc<Mutex<Ledger>>, opener: Opener) -> Self {
        let (whole, (disk, writes)) = (disk.clone(), guarded(disk));
        let (random, older, result) = (Random::new(seed), Vec::new(), Ok(()));
        let (looks, refreshes) = (0, 0);
        Self { opener, whole, disk, writes, ledger, random, older, looks, refreshes, result }
    }

    /// The writer stands still.
    fn look(&mut self) {
        if self.result.is_ok() {
            self.result = self.try_look().map_err(|error| format!("look {}: {error}", self.looks));
        }
    }

    fn try_look(&mut self) -> Result<(), String> {
        self.looks += 1;
        let ledger = self.ledger.lock().unwrap().clone();
        if !self.disk.list().unwrap().iter().any(|name| name == "IDENTITY") {
            return Ok(());
        }
        let opened = (self.opener)(&self.whole, Arc::clone(&self.disk));
        let reader = opened.map_err(|error| error.to_string())?;
        let report = reader.open_report();
        if report.checkpoint_set_aside {
            return Err(format!("a restart checkpoint was of no use: {report}"));
        }
        let expected = model::shown(&reader, &ledger)?;
        model::check(&reader, &expected, &mut self.random)?;
        for (every, older) in &mut self.older {
            if self.looks.is_multiple_of(*every) {
                self.refreshes += 1;
                older.refresh().map_err(|error| format!("refresh: {error}"))?;
                model::check(older, &expected, &mut self.random)
                    .map_err(|error| format!("refreshed: {error}"))?;
            }
        }
        match self.older.len() {
            len @ 0..3 => self.older.push(([1, 9, 70][len], reader)),
            _ if self.random.one_in(50) => self.older[1].1 = reader,
            _ => {}
        }
        match self.writes.load(Ordering::Relaxed) {
            0 => Ok(()),
            writes => Err(format!("a reader has locked or changed something, {writes} times")),
        }
    }
}

/// Has a writer live, with a look before each of its operations.
fn observe(seed: u64, steps: u64, opener: Opener) -> Arc<Mutex<Observer>> {
    world::reset();
    let disk = FaultyDisk::new(seed);
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let observer = Observer::new(&disk, seed, Arc::clone(&ledger), opener);
    let observer = Arc::new(Mutex::new(observer));
    let looking = Arc::clone(&observer);
    Writer::new(&disk, seed, ledger, move || looking.lock().unwrap().look()).live(steps);
    observer
}

#[test]
fn stopped_at_each_operation_a_writer_is_read_as_it_is() {
    let first = random::first_seed(1);
    let (mut looks, mut refreshes) = (0, 0);
    for seed in first..first + 10 {
        let observer = observe(seed, 40, |_, disk| open(disk));
        let observer = observer.lock().unwrap();
        observer.result.as_ref().unwrap_or_else(|error| panic!("STEMEDB_SEED={seed}: {error}"));
        looks += observer.looks;
        refreshes += observer.refreshes;
    }
    println!("{looks} looks, {refreshes} refreshes");
    assert!(looks > 3000 && refreshes > 3000, "{looks} looks, {refreshes} refreshes");
}

thread_local! {
    static EARLIER: RefCell<VecDeque<FaultyDisk>> = const { RefCell::new(VecDeque::new()) };
}

/// Opens the store as it was some operations ago.
fn open_late(disk: &FaultyDisk, _: Arc<dyn Disk>) -> Result<StoreReader, OpenError> {
    let earlier = EARLIER.with_borrow_mut(|earlier| {
        earlier.push_back(disk.fork());
        if earlier.len() > 8 { earlier.pop_front() } else { earlier.front().cloned() }
    });
    open(Arc::new(earlier.unwrap()))
}

/// Opens the store as one opens it that writes to it.
fn open_to_write(_: &FaultyDisk, disk: Arc<dyn Disk>) -> Result<StoreReader, OpenError> {
    drop(disk.lock());
    open(disk)
}

/// The control: a reader that comes too late, and one that takes the lock.
#[test]
fn readers_that_are_wrong_are_caught() {
    for (opener, says) in
        [(open_late as Opener, "acknowledged"), (open_to_write, "locked or changed")]
    {
        let observer = observe(1, 20, opener);
        let error = observer.lock().unwrap().result.clone().unwrap_err();
        println!("caught: {error}");
        assert!(error.contains(says), "{error}");
    }
}

/// The two ends of a writer that goes on when it is told to.
struct Steps {
    go: SyncSender<()>,
    arrived: Receiver<()>,
}

impl Steps {
    /// Lets the writer do one operation; whether it has not ended.
    fn step(&self) -> bool {
        self.go.send(()).is_ok() && self.arrived.recv().is_ok()
    }
}

/// A writer in a thread of its own, which waits before each of its operations.
fn stepped(
    disk: &FaultyDisk,
    seed: u64,
    ledger: &Arc<Mutex<Ledger>>,
) -> (Steps, thread::JoinHandle<()>) {
    let (go, wait) = sync_channel(0);
    let (arrive, arrived) = sync_channel(0);
    let wait = Mutex::new(wait);
    let (disk, ledger) = (disk.clone(), Arc::clone(ledger));
    let writer = thread::spawn(move || {
        world::reset();
        let before = move || {
            wait.lock().unwrap().recv().unwrap();
            arrive.send(()).unwrap();
        };
        Writer::new(&disk, seed, ledger, before).live(40);
    });
    (Steps { go, arrived }, writer)
}

/// What a reader has shown, and how much had been acknowledged before it was asked.
struct Shown {
    sure: usize,
    head: stemedb_store::Head,
    entries: Vec<(stemedb_store::Timestamp, stemedb_store::AssertionId)>,
}

fn show(reader: &StoreReader, sure: usize) -> Result<Shown, String> {
    let text = |error: stemedb_store::ReadError| error.to_string();
    if reader.open_report().checkpoint_set_aside {
        return Err(format!("a restart checkpoint was of no use: {}", reader.open_report()));
    }
    let head = reader.head().map_err(text)?;
    let entries: Result<Vec<_>, _> =
        reader.iter().map(|entry| entry.map(|entry| (entry.time, entry.id))).collect();
    let entries = entries.map_err(text)?;
    for (_, id) in entries.iter().rev().step_by(7).take(5) {
        let body = reader.get(id).map_err(text)?.ok_or("a body is not there")?;
        if *blake3::hash(&body).as_bytes() != id.0 {
            return Err("a body is another one".into());
        }
    }
    if sure.is_multiple_of(5) {
        let report = reader.check(Depth::Deep, &mut |_| {}).map_err(text)?;
        if let Some(fault) = report.faults.first() {
            return Err(format!("told as damage: {fault}"));
        }
    }
    Ok(Shown { sure, head, entries })
}

/// Reads beside a writer that goes on meanwhile; what was shown.
fn read_on(seed: u64) -> Result<(Vec<Shown>, Ledger), String> {
    world::reset();
    let (disk, ledger) = (FaultyDisk::new(seed), Arc::new(Mutex::new(Ledger::default())));
    let (steps, writer) = stepped(&disk, seed, &ledger);
    let random = Mutex::new(Random::new(seed ^ 0x5eed));
    let rests = [3, 10, 30, 90][usize::try_from(seed % 4).unwrap()];
    let steps = Arc::new(Mutex::new(steps));
    let stepping = Arc::clone(&steps);
    let ask: Ask = Arc::new(move |operation: Operation| {
        if operation.mutates() || operation == Operation::Lock {
            return Err(io::Error::other("a reader locks and changes nothing"));
        }
        // In bursts: most of the time the reader is the faster one.
        let mut random = random.lock().unwrap();
        if random.one_in(rests) {
            let steps = stepping.lock().unwrap();
            for _ in 0..=random.below(rests) {
                steps.step();
            }
        }
        Ok(())
    });
    let gate: Arc<dyn Disk> = Arc::new(Gate { disk: Arc::new(disk.clone()), ask });
    let (mut all, mut older, mut round) = (Vec::new(), None, 0_u64);
    let result = loop {
        round += 1;
        let goes_on = steps.lock().unwrap().step();
        let there = disk.list().unwrap().iter().any(|name| name == "IDENTITY");
        if there {
            let sure = ledger.lock().unwrap().entries.len();
            let looked = match &mut older {
                Some(reader) if !round.is_multiple_of(4) => {
                    let refreshed = StoreReader::refresh(reader);
                    refreshed.map_err(|error| format!("refresh: {error}"))
                }
                older => open(Arc::clone(&gate))
                    .map(|reader| *older = Some(reader))
                    .map_err(|error| error.to_string()),
            };
            let looked = looked.and_then(|()| show(older.as_ref().unwrap(), sure));
            match looked {
                Ok(shown) => all.push(shown),
                Err(error) => break Err(format!("round {round}: {error}")),
            }
        }
        if !goes_on {
            break Ok(());
        }
    };
    // The writer ends by itself.
    while steps.lock().unwrap().step() {}
    writer.join().unwrap();
    result?;
    let ledger = ledger.lock().unwrap().clone();
    Ok((all, ledger))
}

#[test]
fn while_a_writer_goes_on_a_beginning_of_its_log_is_read() {
    let first = random::first_seed(1);
    let mut looks = 0;
    for seed in first..first + 100 {
        let failed = |error: String| panic!("STEMEDB_SEED={seed}: {error}");
        let (all, ledger) = read_on(seed).unwrap_or_else(failed);
        let whole = model::entries(&ledger);
        for (number, Shown { sure, head, entries }) in all.iter().enumerate() {
            let prefix: Entries = whole[..entries.len()].to_vec();
            let same =
                entries.iter().zip(&prefix).all(|(shown, (time, id, _))| *shown == (*time, *id));
            assert!(same, "STEMEDB_SEED={seed}: look {number} shows other entries");
            assert!(entries.len() >= *sure, "STEMEDB_SEED={seed}: look {number} lacks some");
            assert_eq!(*head, model::head(&prefix, &[]), "STEMEDB_SEED={seed}: look {number}");
        }
        looks += all.len();
    }
    println!("{looks} looks, {} waits", WAITS.get());
    assert!(looks > 700 && WAITS.get() > 3, "{looks} looks, {} waits", WAITS.get());
}

/// A store of some segments, and what it holds.
fn filled(disk: &FaultyDisk, checkpoint: bool) -> Entries {
    let store = Store::open_on(Arc::new(disk.clone()), ENVIRONMENT, options()).unwrap();
    let mut entries = Entries::new();
    for n in 0..20 {
        let bodies: Vec<Arc<[u8]>> =
            (0..3).map(|i| noise(1 + n * 3 + i, 200 + 40 * i as usize).into()).collect();
        let receipts = store.append_batch(&bodies).unwrap();
        entries.extend(receipts.iter().zip(bodies).map(|(at, body)| (at.time, at.id, body)));
        if checkpoint && n == 12 {
            store.checkpoint().unwrap();
        }
    }
    store.close().unwrap();
    entries
}

/// The first segment in which a body lies, and where.
fn place(disk: &FaultyDisk, body: &[u8]) -> (String, usize) {
    for name in disk.list().unwrap().into_iter().filter(|name| name.starts_with("segment-")) {
        let bytes = disk.contents(&name).unwrap();
        if let Some(at) = bytes.windows(body.len()).position(|window| window == body) {
            return (name, at);
        }
    }
    panic!("a body lies nowhere");
}

/// What any reader may show of a damaged log: right bodies or none, and errors of damage.
fn check_damaged(reader: &StoreReader, entries: &Entries) -> Result<u64, String> {
    let mut right = 0;
    for (_, id, body) in entries {
        match reader.get(id) {
            Ok(Some(found)) if found == **body => right += 1,
            Ok(Some(_)) => return Err("a body is another one".into()),
            Ok(None) => {}
            Err(error) if error.is_damage() => {}
            Err(error) => return Err(format!("not told as damage: {error}")),
        }
    }
    Ok(right)
}

/// Damages a store, and repairs it with a look before each operation.
fn repair_observed(checkpoint: bool, damage: impl Fn(&FaultyDisk, &Entries)) -> (u64, u64) {
    world::reset();
    let disk = FaultyDisk::new(3);
    let entries = filled(&disk, checkpoint);
    let (seen, writes) = guarded(&disk);
    // Each is refreshed once: before the operation of its number.
    let older: Vec<StoreReader> = (0..40).map(|_| open(Arc::clone(&seen)).unwrap()).collect();
    let mut last = open(Arc::clone(&seen)).unwrap();
    damage(&disk, &entries);

    let looking = Mutex::new((older, 0_u64, Ok::<_, String>(())));
    let (looked, held) = (Arc::new(looking), entries.clone());
    let (looks, readers) = (Arc::clone(&looked), Arc::clone(&seen));
    let ask: Ask = Arc::new(move |operation: Operation| {
        let mut looks = looks.lock().unwrap();
        if !operation.mutates() || looks.2.is_err() {
            return Ok(());
        }
        looks.1 += 1;
        let mut look = || {
            match open(Arc::clone(&readers)) {
                Ok(reader) => drop(check_damaged(&reader, &held)?),
                Err(error) if error.is_damage() => {}
                Err(error) => return Err(format!("not told as damage: {error}")),
            }
            let Some(mut reader) = looks.0.pop() else { return Ok(()) };
            match reader.refresh() {
                Err(error) if !error.is_damage() => Err(format!("not told as damage: {error}")),
                // It goes on with what there is, or shows what it showed.
                _ => check_damaged(&reader, &held).map(drop),
            }
        };
        let result = look();
        looks.2 = result;
        Ok(())
    });
    let gate: Arc<dyn Disk> = Arc::new(Gate { disk: Arc::new(disk.clone()), ask });
    let how = RepairOptions::default().accept_loss(true);
    repair_on(&gate, ENVIRONMENT, &options(), how).unwrap();
    let (operations, result) = {
        let looked = looked.lock().unwrap();
        (looked.1, looked.2.clone())
    };
    result.unwrap_or_else(|error| panic!("operation {operations}: {error}"));

    last.refresh().unwrap();
    let fresh = open(seen).unwrap();
    assert_eq!(writes.load(Ordering::Relaxed), 0);
    let store = Store::open_on(Arc::new(disk), ENVIRONMENT, options()).unwrap();
    for reader in [&last, &fresh] {
        assert_eq!(reader.head().unwrap(), store.head().unwrap());
        assert_eq!(check_damaged(reader, &entries), Ok(store.len()));
        assert_eq!(reader.log_id(), store.log_id());
    }
    (operations, store.len())
}

#[test]
fn a_repair_is_followed() {
    for checkpoint in [false, true] {
        // The body of one entry: it becomes a hole.
        let (operations, held) = repair_observed(checkpoint, |disk, entries| {
            let (name, at) = place(disk, &entries[7].2);
            disk.flip_bit(&name, 8 * at as u64 + 40).unwrap();
        });
        assert!(operations > 5, "{operations}");
        assert_eq!(held, 59);
        // A whole record and what is around it: entries are lost, and a new log begins.
        let (operations, held) = repair_observed(checkpoint, |disk, entries| {
            let (name, at) = place(disk, &entries[7].2);
            disk.overwrite(&name, &[0x55; 700], at as u64 - 200).unwrap();
        });
        assert!(operations > 5, "{operations}");
        assert!(held < 60, "{held}");
    }
}

/// Of an append that is under way a refresh reads what is behind the last whole one, and not the
/// segment from its beginning.
#[test]
fn an_append_under_way_is_read_from_where_it_begins() {
    world::reset();
    let disk = FaultyDisk::new(1);
    let options = || options().segment_len(8 << 20);
    let opened =
        |disk: &FaultyDisk| Store::open_on(Arc::new(disk.clone()), ENVIRONMENT, options()).unwrap();
    let store = opened(&disk);
    store.append_batch((0..40).map(|n| noise(n, 100_000))).unwrap();
    store.close().unwrap();
    let later = disk.fork();
    let store = opened(&later);
    store.append_batch([noise(40, 50_000), noise(41, 50_000)]).unwrap();
    let mut reader =
        Store::open_read_only_on(Arc::new(disk.clone()), ENVIRONMENT, options()).unwrap();
    let name = disk.list().unwrap().into_iter().rfind(|name| name.starts_with("segment-")).unwrap();
    let before = disk.contents(&name).unwrap().iter().rposition(|byte| *byte != 0).unwrap();
    let whole = later.contents(&name).unwrap();
    for (len, entries, read_max) in [
        (before + 20, 40, 16 << 10),
        (before + 70_000, 40, 300_000),
        (before + 70_000, 40, 300_000),
        (before + 80_000, 40, 300_000),
        (whole.len(), 42, 1_500_000),
        (whole.len(), 42, 16 << 10),
    ] {
        disk.put(&name, &whole[..len]).unwrap();
        let read = disk.bytes_of_reads(0..usize::MAX);
        reader.refresh().unwrap();
        let read = disk.bytes_of_reads(0..usize::MAX) - read;
        assert_eq!(reader.log_size().get(), entries, "{len}");
        assert!(read < read_max, "{read} bytes were read at length {len}");
    }
    assert_eq!(reader.head().unwrap(), store.head().unwrap());
}

/// What is damaged stays so for a reader, and is told each time: in a sealed segment, and in the
/// last one, where it could be taken for an append that is under way.
#[test]
fn damage_is_reported_and_not_repaired() {
    for entry in [7, 58] {
        world::reset();
        let disk = FaultyDisk::new(1);
        let entries = filled(&disk, false);
        let mut reader = open(guarded(&disk).0).unwrap();
        let (name, at) = place(&disk, &entries[entry].2);
        disk.overwrite(&name, &[0; 100], at as u64 + 10).unwrap();
        let before = disk.contents(&name).unwrap();
        let (seen, writes) = guarded(&disk);
        for _ in 0..2 {
            let error = open(Arc::clone(&seen)).unwrap_err();
            assert!(error.is_damage(), "{error}");
            assert!(error.to_string().contains(&name), "{error}");
            let OpenError::Damaged(damage) = &error else { panic!("{error}") };
            assert_eq!(damage.index.get(), entry as u64, "{error}");
        }
        // One that was open before meets it where it reads it.
        reader.refresh().unwrap();
        assert!(reader.get(&entries[entry].1).unwrap_err().is_damage());
        assert_eq!(reader.get(&entries[20].1).unwrap().as_deref(), Some(&*entries[20].2));
        assert_eq!(disk.contents(&name).unwrap(), before);
        assert_eq!(writes.load(Ordering::Relaxed), 0);
    }
}

/// A directory that was put back as a whole, and went on otherwise, has the same identity and files
/// of the same names and lengths.
#[test]
fn a_log_that_went_on_otherwise_is_another_one() {
    world::reset();
    let disk = FaultyDisk::new(1);
    drop(filled(&disk, false));
    let other = disk.fork();
    let append = |disk: &FaultyDisk, first: u64| {
        let store = Store::open_on(Arc::new(disk.clone()), ENVIRONMENT, options()).unwrap();
        let ids = [first, first + 1].map(|n| store.append(&noise(n, 100)).unwrap().id);
        (ids, store.head().unwrap())
    };
    let ([first, _], _) = append(&disk, 1000);
    let mut reader = open(Arc::new(disk.clone())).unwrap();
    let (ids, _) = append(&other, 2000);
    let ([third, _], head) = append(&other, 3000);
    for name in other.list().unwrap() {
        disk.put(&name, &other.contents(&name).unwrap()).unwrap();
    }
    reader.refresh().unwrap();
    assert_eq!(reader.head().unwrap(), head);
    assert!(!reader.contains(&first).unwrap());
    for id in ids.iter().chain([&third]) {
        assert!(reader.get(id).unwrap().is_some());
    }
}
