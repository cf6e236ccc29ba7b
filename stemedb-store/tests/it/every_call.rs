//! Every call to the disk fails once, and from then on, in each way a disk fails.
//!
//! For each operation and each `n`, the `n`-th call of it fails while a fixed script runs: a store
//! is made, filled, checkpointed, closed, reopened and read. It never panics or hangs; every error
//! says something; after a failed write or sync nothing more is acknowledged; and on the healthy
//! disk, also after a power cut, the store has everything that was acknowledged.
//!
//! | fails | what the caller sees | the store afterwards |
//! |---|---|---|
//! | write, sync, create, rename, directory sync of the log | that append and all later ones fail |
//! open for reads; whole when reopened |
//! | any call of a checkpoint | the checkpoint fails | appends go on |
//! | any call of an opening | the opening fails | whole when opened again |
//! | a read | that read fails | goes on |

use crate::reference::ledger;
use crate::reference::random;
use crate::reference::world;
use std::{
    io,
    sync::{Arc, mpsc},
    time::Duration,
};

use ledger::Ledger;
use random::{Random, noise};
use stemedb_simdisk::{Fault, FaultKind, FaultyDisk, Operation, Survival, Target};
use stemedb_store::{AppendError, LogSize, Options, Receipt, Store};
use stemedb_wal::error::AppendError as LogAppendError;
use world::ENVIRONMENT;

fn options(threads: bool) -> Options {
    Options::default().segment_len(4096).threads(threads).map_files(false)
}

/// Runs a script on a disk, and keeps account of what it was told.
struct Script {
    disk: FaultyDisk,
    ledger: Ledger,
    number: u64,
    failed: u64,
}

enum Outcome {
    Done,
    /// The store is of no more use until it is reopened.
    Stopped,
}

impl Script {
    fn new(disk: &FaultyDisk) -> Self {
        world::reset();
        Self { disk: disk.clone(), ledger: Ledger::default(), number: 0, failed: 0 }
    }

    fn note(&mut self, error: &dyn std::error::Error) {
        assert!(error.to_string().len() > 10, "{error}");
        self.failed += 1;
    }

    fn open(&mut self) -> Option<Store> {
        // A fault that hits once hits the first; the store is then as it was.
        for _ in 0..2 {
            match Store::open_on(Arc::new(self.disk.clone()), ENVIRONMENT, options(false)) {
                Ok(store) => {
                    self.ledger.resolve(&store).unwrap_or_else(|error| {
                        // Looking it up may be what fails.
                        assert!(self.disk.faults_hit() > 0, "{error}");
                    });
                    return Some(store);
                }
                Err(error) => {
                    assert!(!error.is_damage(), "a failing disk is not damage: {error}");
                    self.note(&error);
                }
            }
        }
        None
    }

    fn append(&mut self, store: &Store, lens: &[usize]) -> Outcome {
        let bodies: Vec<Arc<[u8]>> = lens
            .iter()
            .map(|len| {
                self.number += 1;
                noise(self.number, *len).into()
            })
            .collect();
        self.ledger.in_flight = Arc::new(bodies.clone());
        match store.append_batch(&bodies) {
            Ok(receipts) => {
                self.ledger.acknowledge(&bodies, &receipts).unwrap();
                Outcome::Done
            }
            Err(error @ AppendError::Log(LogAppendError::Poisoned(_))) => {
                self.note(&error);
                let before = self.disk.operations(Target::Mutating);
                let again = store.append(b"more").unwrap_err();
                assert!(matches!(again, AppendError::Log(LogAppendError::Poisoned(_))), "{again}");
                assert_eq!(before, self.disk.operations(Target::Mutating), "it wrote again");
                self.read(store);
                Outcome::Stopped
            }
            Err(error) => {
                // Refused before anything was written.
                self.note(&error);
                self.ledger.in_flight = Arc::default();
                Outcome::Done
            }
        }
    }

    fn checkpoint(&mut self, store: &Store) {
        if let Err(error) = store.checkpoint() {
            self.note(&error);
        }
    }

    fn read(&mut self, store: &Store) {
        let entries = Arc::clone(&self.ledger.entries);
        for entry in entries.iter().step_by(7).chain(entries.last()) {
            match store.get(&entry.receipt.id) {
                Ok(body) => assert_eq!(body.as_deref(), Some(&*entry.body)),
                Err(error) => self.note(&error),
            }
            if let Err(error) =
                store.prove_inclusion_at(entry.receipt.index, LogSize(entries.len() as u64))
            {
                self.note(&error);
            }
        }
    }

    fn life(&mut self, appends: &[&[usize]]) {
        let Some(store) = self.open() else { return };
        for (n, lens) in appends.iter().enumerate() {
            if let Outcome::Stopped = self.append(&store, lens) {
                return;
            }
            if n % 3 == 1 {
                self.checkpoint(&store);
            }
        }
        self.read(&store);
        if let Err(error) = store.close() {
            self.note(&error);
        }
    }

    fn run(&mut self) {
        self.life(&[&[10, 0, 300], &[20; 255], &[2000, 3000], &[6000], &[100]]);
        self.life(&[&[1500; 3], &[7], &[90], &[4000], &[30; 3]]);
        self.life(&[&[5]]);
    }

    /// What the healthy disk has afterwards.
    fn check(&self, context: &str) {
        let mut random = Random::new(1);
        self.disk.clear_faults();
        self.disk.set_capacity(None);
        let mut disks = vec![("the process died", self.disk.fork())];
        for survival in [Survival::Nothing, Survival::Sectors, Survival::ZeroFilled] {
            disks.push(("the power failed", self.disk.power_cut(survival, random.next())));
        }
        for (what, disk) in disks {
            let fail = |error: String| -> () { panic!("{context}, then {what}: {error}") };
            let store = Store::open_on(Arc::new(disk), ENVIRONMENT, options(false))
                .unwrap_or_else(|error| panic!("{context}, then {what}: {error}"));
            if store.open_report().checkpoint_set_aside {
                fail(store.open_report().to_string());
            }
            let mut ledger = self.ledger.clone();
            ledger.resolve(&store).unwrap_or_else(fail);
            ledger.check(&store, &mut random).unwrap_or_else(fail);
            let bodies = [noise(1 << 40, 50).into(), noise(2 << 40, 5000).into()];
            let receipts = store.append_batch(&bodies).unwrap();
            ledger.acknowledge(&bodies, &receipts).unwrap_or_else(fail);
            store.checkpoint().unwrap();
            ledger.check(&store, &mut random).unwrap_or_else(fail);
        }
    }
}

fn kinds(operation: Operation) -> &'static [FaultKind] {
    match operation {
        Operation::Write => &[FaultKind::Failed, FaultKind::Persisted, FaultKind::Partial],
        _ if operation.mutates() => &[FaultKind::Failed, FaultKind::Persisted],
        _ => &[FaultKind::Failed],
    }
}

/// All faults of one operation, in each place that the script has for them.
fn fail_each(operation: Operation) {
    let mut runs = 0;
    for from_then_on in [false, true] {
        for kind in kinds(operation) {
            // There are thousands of reads, and few ways to go on after one.
            let step = if operation == Operation::Read { 7 } else { 1 };
            for after in (0..).step_by(step) {
                let disk = FaultyDisk::new(after);
                disk.inject(Fault {
                    target: Target::Only(operation),
                    after,
                    from_then_on,
                    error: io::ErrorKind::Other,
                    kind: *kind,
                });
                let mut script = Script::new(&disk);
                script.run();
                if disk.faults_hit() == 0 {
                    assert_eq!(script.failed, 0);
                    break;
                }
                runs += 1;
                script.check(&format!(
                    "{operation:?} {after} ({kind:?}, from then on: {from_then_on}) failed"
                ));
            }
        }
    }
    println!("{operation:?}: {runs} runs with a fault");
}

macro_rules! each {
    ($($name:ident: $operation:ident,)*) => {
        $(#[test]
        fn $name() {
            fail_each(Operation::$operation);
        })*
    };
}

each! {
    every_open_fails: Open,
    every_create_fails: Create,
    every_list_fails: List,
    every_rename_fails: Rename,
    every_remove_fails: Remove,
    every_directory_sync_fails: SyncDir,
    every_lock_fails: Lock,
    every_measuring_fails: Len,
    every_read_fails: Read,
    every_write_fails: Write,
    every_allocation_fails: Allocate,
    every_cut_fails: SetLen,
    every_sync_fails: Sync,
}

/// The disk has room for so many bytes, for many numbers: what does not fit fails clearly, and
/// there is nothing wrong once there is room.
#[test]
fn the_disk_is_full() {
    let healthy = FaultyDisk::new(1);
    Script::new(&healthy).run();
    let total: u64 = stemedb_wal::disk::Disk::list(&healthy)
        .unwrap()
        .iter()
        .map(|name| healthy.contents(name).unwrap().len() as u64)
        .sum();
    let mut runs = 0;
    for capacity in (0..total + 8192).step_by(211) {
        let disk = FaultyDisk::new(capacity);
        disk.set_capacity(Some(capacity));
        let mut script = Script::new(&disk);
        script.run();
        runs += u64::from(script.failed > 0);
        script.check(&format!("the disk had {capacity} bytes"));
    }
    println!("{runs} sizes that were too small, up to {total} bytes");
    assert!(runs > 100);
}

#[test]
fn a_full_disk_says_so_and_appends_go_on_when_there_is_room() {
    let disk = FaultyDisk::new(1);
    let mut script = Script::new(&disk);
    let store = script.open().unwrap();
    script.append(&store, &[100; 5]);
    disk.set_capacity(Some(
        disk.contents("segment-0000-00000000000000000000.log").unwrap().len() as u64 + 500,
    ));
    let error = store
        .append_batch(vec![noise(1, 3000); 1].into_iter().chain([noise(2, 3000)]))
        .unwrap_err();
    let AppendError::Log(LogAppendError::Poisoned(cause)) = &error else { panic!("{error}") };
    assert!(cause.is_full(), "{error}");
    assert!(error.to_string().contains("no room"), "{error}");
    script.read(&store);
    assert_eq!(script.failed, 0);
    drop(store);
    disk.set_capacity(None);
    let store = script.open().unwrap();
    script.append(&store, &[3000; 2]);
    script.ledger.check(&store, &mut Random::new(1)).unwrap();
}

/// Four threads append to a store with threads of its own while the disk fails. All of them are
/// told, in time.
fn threads_run(disk: &FaultyDisk) -> Vec<(Vec<u8>, Receipt)> {
    let Ok(store) = Store::open_on(Arc::new(disk.clone()), ENVIRONMENT, options(true)) else {
        return Vec::new();
    };
    let mut acknowledged = Vec::new();
    std::thread::scope(|scope| {
        let appenders: Vec<_> = (0..4_u64)
            .map(|thread| {
                let store = &store;
                scope.spawn(move || {
                    let mut acknowledged = Vec::new();
                    let mut failed = false;
                    for n in 0..12 {
                        let body = noise(thread << 32 | n, 700);
                        match store.append(&body) {
                            Ok(receipt) => {
                                assert!(!failed, "acknowledged after a failure");
                                acknowledged.push((body, receipt));
                            }
                            Err(error) => {
                                assert!(error.to_string().len() > 10);
                                failed = true;
                            }
                        }
                        if n == 6 && thread == 0 {
                            // It may fail like everything else.
                            drop(store.checkpoint());
                        }
                    }
                    acknowledged
                })
            })
            .collect();
        for appender in appenders {
            acknowledged.extend(appender.join().unwrap());
        }
    });
    drop(store.close());
    acknowledged
}

#[test]
fn threads_that_wait_get_the_failure() {
    let operations = [
        Operation::Write,
        Operation::Sync,
        Operation::Rename,
        Operation::Create,
        Operation::Allocate,
        Operation::SetLen,
        Operation::SyncDir,
        Operation::Read,
    ];
    let mut hit = 0;
    for operation in operations {
        for from_then_on in [false, true] {
            for after in [0, 3, 6, 11, 20] {
                let disk = FaultyDisk::new(after);
                let (kind, error) = (FaultKind::Failed, io::ErrorKind::Other);
                let target = Target::Only(operation);
                disk.inject(Fault { target, after, from_then_on, error, kind });
                let (sender, receiver) = mpsc::channel();
                let running = disk.clone();
                std::thread::spawn(move || sender.send(threads_run(&running)));
                let acknowledged =
                    receiver.recv_timeout(Duration::from_secs(60)).unwrap_or_else(|error| {
                        panic!("{operation:?} {after} {from_then_on}: {error}")
                    });
                hit += u64::from(disk.faults_hit() > 0);
                disk.clear_faults();
                let disk = disk.power_cut(Survival::Sectors, after);
                let store = Store::open_on(Arc::new(disk), ENVIRONMENT, options(false)).unwrap();
                for (body, receipt) in acknowledged {
                    assert_eq!(store.get(&receipt.id).unwrap(), Some(body));
                    assert_eq!(store.entry(receipt.index).unwrap().unwrap().time, receipt.time);
                }
            }
        }
    }
    println!("{hit} runs with a fault");
    assert!(hit > 40);
}
