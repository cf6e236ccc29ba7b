//! Group commit: many threads and tasks, one log.

#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "../../../stemedb-wal/tests/it/history.rs"]
#[allow(dead_code, reason = "the tests of the log use the rest")]
mod history;

use history::{ORIGIN, body_of, id_of, open};
use std::{
    collections::HashMap,
    future::Future,
    io,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};
use stemedb_simdisk::{Fault, FaultKind, FaultyDisk, Operation, Target};
use stemedb_store::commit::{
    CommitOptions, Committer, Held, Index, Outcome, ReadHeld, Submission, Verified, VerifyHeld,
};
use stemedb_wal::{
    disk::{Disk, MemoryDisk},
    error::{AppendError, ReadError},
    log::{HoleEntry, LogOptions, Placed, Spares, Watermark},
};

#[derive(Default)]
struct MapIndex {
    positions: HashMap<[u8; 32], u64>,
    holes: HashMap<[u8; 32], HoleEntry>,
    published: Arc<AtomicU64>,
}

impl Index for MapIndex {
    fn position_of(&self, id: &[u8; 32]) -> Result<Option<u64>, ReadError> {
        Ok(self.positions.get(id).copied())
    }

    fn hole_of(&self, id: &[u8; 32]) -> Option<HoleEntry> {
        self.holes.get(id).copied()
    }

    fn apply(&mut self, placed: &[Placed]) {
        for placed in placed {
            self.positions.insert(placed.id, placed.position);
            self.holes.remove(&placed.id);
        }
    }

    fn publish(&mut self, durable: Watermark) {
        self.published.store(durable.next_index, Ordering::SeqCst);
    }
}

fn options() -> LogOptions {
    LogOptions { segment_len: 64 << 10, spares: Spares::None, ..LogOptions::default() }
}

fn start(disk: &Arc<dyn Disk>) -> Committer<MapIndex> {
    let (log, _, _) = open(disk, &ORIGIN, &options(), None).unwrap();
    let mut now = 0;
    let clock = move || {
        now += 10;
        now
    };
    let verifier = ReadHeld(log.reader());
    Committer::start(log, MapIndex::default(), verifier, clock, &CommitOptions::default()).unwrap()
}

#[test]
fn threads_and_tasks_get_receipts_that_hold() {
    let disk: Arc<dyn Disk> = Arc::new(FaultyDisk::new(3));
    let committer = Arc::new(start(&disk));
    let threads: Vec<_> = (0..8_u64)
        .map(|thread| {
            let committer = Arc::clone(&committer);
            thread::spawn(move || {
                let mut receipts = Vec::new();
                for n in 0..50 {
                    // Half of the bodies are those of another thread too.
                    let number = (thread / 2) * 1000 + n;
                    let body = body_of(number, 40 + usize::try_from(n).unwrap());
                    let receipt = if n % 2 == 0 {
                        committer.append(id_of(&body), body.clone()).unwrap()
                    } else {
                        block_on(committer.append_async(id_of(&body), body.clone())).unwrap()
                    };
                    receipts.push((receipt, body));
                }
                receipts
            })
        })
        .collect();
    let receipts: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    let appended =
        receipts.iter().filter(|(receipt, _)| receipt.outcome == Outcome::Appended).count();
    assert_eq!((appended, receipts.len()), (200, 400), "each body once");
    let reader = committer.call(|log, _| log.reader()).unwrap();
    assert_eq!(reader.next_index(), 200);
    for (receipt, body) in &receipts {
        let record = reader.read(receipt.position).unwrap();
        assert_eq!(&record.body, body);
        assert_eq!((record.entry.index, record.entry.time), (receipt.index, receipt.time));
    }
    let committer = Arc::into_inner(committer).unwrap();
    let (closed, index) = committer.close();
    let clean = closed.unwrap();
    assert_eq!(index.unwrap().published.load(Ordering::SeqCst), 200);

    let origin = stemedb_wal::log::Origin { clean: Some(clean), ..ORIGIN };
    let (_, report, replayed) = open(&disk, &origin, &options(), None).unwrap();
    assert_eq!(report.warnings, []);
    assert_eq!(replayed.len(), 200);
}

#[test]
fn a_submission_is_acknowledged_as_a_whole_and_in_order() {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let committer = start(&disk);
    let mut submission = Submission::new();
    let bodies: Vec<Vec<u8>> = (0..100).map(|n| body_of(n % 60, 20)).collect();
    for body in &bodies {
        submission.push(id_of(body), body);
    }
    let receipts = committer.submit(submission).wait().unwrap();
    for (n, receipt) in receipts.iter().enumerate() {
        assert_eq!(receipt.index, n as u64 % 60);
        let expected = if n < 60 { Outcome::Appended } else { Outcome::Duplicate };
        assert_eq!(receipt.outcome, expected);
    }
    assert_eq!(committer.submit(Submission::new()).wait().unwrap(), []);
}

#[test]
fn one_body_over_the_limit_fails_its_submission_alone() {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let options = LogOptions { body_len_max: 50, ..options() };
    let (log, _, _) = open(&disk, &ORIGIN, &options, None).unwrap();
    let (verifier, queue) = (ReadHeld(log.reader()), CommitOptions::default());
    let committer = Committer::start(log, MapIndex::default(), verifier, || 1, &queue).unwrap();
    let mut bad = Submission::new();
    let mut good = Submission::new();
    for (n, len) in [(1, 10), (2, 51), (3, 10)] {
        let body = body_of(n, len);
        bad.push(id_of(&body), &body);
    }
    for n in [3, 4] {
        let body = body_of(n, 10);
        good.push(id_of(&body), &body);
    }
    let (bad, good) = (committer.submit(bad), committer.submit(good));
    assert!(matches!(bad.wait(), Err(AppendError::TooLong { len: 51, max: 50 })));
    let receipts = good.wait().unwrap();
    assert_eq!(receipts.iter().map(|receipt| receipt.index).collect::<Vec<_>>(), [0, 1]);
    assert!(receipts.iter().all(|receipt| receipt.outcome == Outcome::Appended));
}

#[test]
fn a_lost_body_that_comes_back_heals_its_entry() {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let (log, _, _) = open(&disk, &ORIGIN, &options(), None).unwrap();
    let mut now = 5;
    let clock = move || {
        now += 2;
        now
    };
    let verifier = ReadHeld(log.reader());
    let committer = Committer::inline(log, MapIndex::default(), verifier, clock);
    let receipt = committer.append(id_of(b"a"), b"a".to_vec()).unwrap();
    let lost = move |_: &mut _, index: &mut MapIndex| {
        index.positions.clear();
        index.holes.insert(receipt.id, HoleEntry { index: receipt.index, time: receipt.time });
    };
    committer.call(lost).unwrap();
    let healed = committer.append(id_of(b"a"), b"a".to_vec()).unwrap();
    assert_eq!(healed.outcome, Outcome::Healed);
    assert_eq!((healed.index, healed.time), (receipt.index, receipt.time));
    assert_ne!(healed.position, receipt.position);
    let (reader, next_index) = committer.call(|log, _| (log.reader(), log.next_index())).unwrap();
    assert_eq!(reader.read(healed.position).unwrap().body, b"a");
    assert_eq!(next_index, 1);
}

#[test]
fn the_first_failed_sync_is_the_last_and_everyone_is_told() {
    for operation in [Operation::Sync, Operation::Write] {
        let faulty = FaultyDisk::new(5);
        let disk: Arc<dyn Disk> = Arc::new(faulty.clone());
        let committer = Arc::new(start(&disk));
        let body = body_of(1, 30);
        let first = committer.append(id_of(&body), body).unwrap();
        // Only one fails; the disk works again after that, and nobody may notice.
        faulty.inject(Fault {
            target: Target::Only(operation),
            after: 0,
            from_then_on: false,
            error: io::ErrorKind::Other,
            kind: FaultKind::Failed,
        });
        let threads: Vec<_> = (10..30)
            .map(|n| {
                let committer = Arc::clone(&committer);
                thread::spawn(move || {
                    let body = body_of(n, 30);
                    committer.append(id_of(&body), body)
                })
            })
            .collect();
        for thread in threads {
            let error = thread.join().unwrap().unwrap_err();
            assert!(matches!(error, AppendError::Poisoned(_)), "{error}");
        }
        let reader = committer.call(|log, _| log.reader()).unwrap();
        assert_eq!(reader.next_index(), 1);
        assert_eq!(reader.read(first.position).unwrap().body, body_of(1, 30));
        let (closed, _) = Arc::into_inner(committer).unwrap().close();
        assert!(matches!(closed, Err(AppendError::Poisoned(_))));
    }
}

#[test]
fn appenders_wait_while_the_queue_is_full() {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let (log, _, _) = open(&disk, &ORIGIN, &options(), None).unwrap();
    let options = CommitOptions { queue_records_max: 4, ..CommitOptions::default() };
    let verifier = ReadHeld(log.reader());
    let committer = Committer::start(log, MapIndex::default(), verifier, || 0, &options).unwrap();
    // The writer is held up, so that the queue fills.
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let held = Arc::clone(&gate);
    thread::scope(|scope| {
        let blocked = scope.spawn(|| {
            committer
                .call(move |_, _| {
                    let mut open = held.0.lock().unwrap();
                    while !*open {
                        open = held.1.wait(open).unwrap();
                    }
                })
                .unwrap();
        });
        let body = |n| body_of(n, 10);
        let mut pending = Vec::new();
        for n in 0..4 {
            pending.push(committer.submit(Submission::one(id_of(&body(n)), body(n))));
        }
        // Whether or not the call has begun by now, at most one more batch of four fits in.
        let mut futures: Vec<_> =
            (10..30).map(|n| Box::pin(committer.append_async(id_of(&body(n)), body(n)))).collect();
        let mut context = Context::from_waker(Waker::noop());
        for future in &mut futures {
            assert!(future.as_mut().poll(&mut context).is_pending());
        }
        *gate.0.lock().unwrap() = true;
        gate.1.notify_all();
        for pending in pending {
            pending.wait().unwrap();
        }
        for future in futures {
            block_on(future).unwrap();
        }
        blocked.join().unwrap();
    });
    assert_eq!(committer.call(|log, _| log.next_index()).unwrap(), 24);
}

#[test]
fn an_idle_log_gets_its_durable_mark() {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let (log, _, _) = open(&disk, &ORIGIN, &options(), None).unwrap();
    let idle_after = Duration::from_millis(1);
    let options = CommitOptions { idle_after, ..CommitOptions::default() };
    let verifier = ReadHeld(log.reader());
    let committer = Committer::start(log, MapIndex::default(), verifier, || 0, &options).unwrap();
    committer.append(id_of(b"x"), b"x".to_vec()).unwrap();
    while !committer.call(|log, _| log.is_marked()).unwrap() {
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_writer_that_dies_leaves_nobody_waiting() {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let committer = start(&disk);
    let died = committer.call(|_, _| panic!("on purpose"));
    assert!(matches!(died, Err(AppendError::Closed)));
    let refused = committer.append(id_of(b"x"), b"x".to_vec());
    assert!(matches!(refused, Err(AppendError::Closed)));
    assert!(committer.close().1.is_none());
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = std::pin::pin!(future);
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        thread::park();
    }
}

/// Much waits while the sync of what came before runs.
#[test]
fn bulk_submissions_overlap_and_stay_in_order() {
    let disk: Arc<dyn Disk> = Arc::new(FaultyDisk::new(8));
    let committer = start(&disk);
    let mut pending = Vec::new();
    for n in 0..20_u64 {
        let mut submission = Submission::with_capacity(1500, 1500 * 30);
        // A tenth of each is in the one before.
        for k in 0..1500 {
            let body = body_of(n * 1350 + k, 30);
            submission.push(id_of(&body), &body);
        }
        pending.push(committer.submit(submission));
    }
    let mut seen = HashMap::new();
    let mut appended = 0;
    for pending in pending {
        for receipt in pending.wait().unwrap() {
            let first = *seen.entry(receipt.id).or_insert(receipt);
            assert_eq!(
                (first.index, first.time, first.position),
                (receipt.index, receipt.time, receipt.position)
            );
            appended += u64::from(receipt.outcome == Outcome::Appended);
        }
    }
    assert_eq!((appended, seen.len()), (27_150, 27_150));
    assert_eq!(committer.call(|log, _| log.next_index()).unwrap(), appended);
}

/// A thread that queues one body and then appends another finds them in the log in that order,
/// whatever the writer is at.
#[test]
fn what_a_thread_queues_comes_before_what_it_appends_then() {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let committer = start(&disk);
    for n in 0..20_000_u64 {
        let (first, second) = (body_of(2 * n, 16), body_of(2 * n + 1, 16));
        let queued = committer.submit(Submission::one(id_of(&first), first));
        // From the moment at which the writer wakes up to the one at which it is done.
        for _ in 0..n % 500 * 20 {
            std::hint::spin_loop();
        }
        let appended = committer.append(id_of(&second), second).unwrap();
        let queued = queued.wait().unwrap();
        assert_eq!((queued[0].index, appended.index), (2 * n, 2 * n + 1), "round {n}");
    }
}

/// A committer whose verifier is held up until its gate opens.
struct HeldUp {
    committer: Arc<Committer<MapIndex>>,
    gate: Arc<Gate>,
}

/// Verifies once it is open, and counts.
struct Gate {
    inner: ReadHeld,
    open: Mutex<bool>,
    opened: Condvar,
    waiting: AtomicU64,
}

impl Gate {
    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }

    fn wait_for(&self, verifications: u64) {
        while self.waiting.load(Ordering::SeqCst) < verifications {
            thread::yield_now();
        }
    }
}

struct Shared(Arc<Gate>);

impl VerifyHeld for Shared {
    fn verify(&self, held: &Held<'_>) -> Result<Verified, AppendError> {
        self.0.waiting.fetch_add(1, Ordering::SeqCst);
        let mut open = self.0.open.lock().unwrap();
        while !*open {
            open = self.0.opened.wait(open).unwrap();
        }
        drop(open);
        self.0.inner.verify(held)
    }
}

impl HeldUp {
    fn start(queue_records_max: usize) -> Self {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let (log, _, _) = open(&disk, &ORIGIN, &options(), None).unwrap();
        let options = CommitOptions { queue_records_max, ..CommitOptions::default() };
        let gate = Arc::new(Gate {
            inner: ReadHeld(log.reader()),
            open: false.into(),
            opened: Condvar::new(),
            waiting: 0.into(),
        });
        let verifier = Shared(Arc::clone(&gate));
        let committer = Committer::start(log, MapIndex::default(), verifier, || 0, &options);
        Self { committer: Arc::new(committer.unwrap()), gate }
    }

    fn append(&self, n: u64) -> Result<stemedb_store::commit::Receipt, AppendError> {
        let body = body_of(n, 10);
        self.committer.append(id_of(&body), body)
    }

    fn submit(&self, n: u64) -> stemedb_store::commit::Pending {
        let body = body_of(n, 10);
        self.committer.submit(Submission::one(id_of(&body), body))
    }
}

/// Reading back what is held keeps nobody waiting but those who append it.
#[test]
fn duplicates_are_read_back_outside_of_the_writers_lock() {
    let held_up = HeldUp::start(1 << 16);
    let first = held_up.append(0).unwrap();
    thread::scope(|scope| {
        // One commits in its own thread, one goes through the queue.
        let alone = scope.spawn(|| held_up.append(0).unwrap());
        held_up.gate.wait_for(1);
        let queued = held_up.submit(0);
        held_up.gate.wait_for(2);
        for n in 1..50 {
            let (one, two) = (held_up.append(n).unwrap(), held_up.submit(n + 100));
            assert_eq!(one.outcome, Outcome::Appended);
            assert_eq!(two.wait().unwrap()[0].outcome, Outcome::Appended);
        }
        assert!(!alone.is_finished());
        held_up.gate.open();
        let alone = alone.join().unwrap();
        let queued = queued.wait().unwrap()[0];
        for again in [alone, queued] {
            assert_eq!(again.outcome, Outcome::Duplicate);
            assert_eq!(
                (again.index, again.time, again.position),
                (first.index, first.time, first.position)
            );
        }
    });
}

/// What waits to be read back counts towards the limits of the queue.
#[test]
fn what_is_read_back_is_bounded() {
    let held_up = HeldUp::start(4);
    held_up.append(0).unwrap();
    let duplicates: Vec<_> = (0..4).map(|_| held_up.submit(0)).collect();
    held_up.gate.wait_for(1);
    // Calls take no room, and the one before has been handed over when this returns.
    while held_up.committer.call(|_, _| ()).is_err() {}
    let body = body_of(7, 10);
    let mut more = Box::pin(held_up.committer.append_async(id_of(&body), body));
    let mut context = Context::from_waker(Waker::noop());
    assert!(more.as_mut().poll(&mut context).is_pending());
    assert_eq!(held_up.committer.call(|log, _| log.next_index()).unwrap(), 1);
    held_up.gate.open();
    for duplicate in duplicates {
        assert_eq!(duplicate.wait().unwrap()[0].outcome, Outcome::Duplicate);
    }
    assert_eq!(block_on(more).unwrap().index, 1);
}

/// A task that is polled again and again while it waits for room is remembered once, and not at
/// all once it is gone.
#[test]
fn a_waiting_task_is_remembered_once() {
    struct Count(AtomicU64);
    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let held_up = HeldUp::start(1);
    held_up.append(0).unwrap();
    let duplicate = held_up.submit(0);
    held_up.gate.wait_for(1);
    let future = |n| {
        let body = body_of(n, 10);
        Box::pin(held_up.committer.append_async(id_of(&body), body))
    };
    let count = Arc::new(Count(0.into()));
    let waker = Waker::from(Arc::clone(&count));
    let mut context = Context::from_waker(&waker);
    let (mut patient, mut impatient) = (future(1), future(2));
    let before = Arc::strong_count(&count);
    for _ in 0..1000 {
        assert!(patient.as_mut().poll(&mut context).is_pending());
        assert!(impatient.as_mut().poll(&mut context).is_pending());
    }
    assert_eq!(Arc::strong_count(&count), before + 2);
    drop(impatient);
    assert_eq!(Arc::strong_count(&count), before + 1);
    held_up.gate.open();
    duplicate.wait().unwrap();
    while count.0.load(Ordering::SeqCst) == 0 {
        thread::yield_now();
    }
    assert_eq!(block_on(patient).unwrap().index, 1);
    assert_eq!(count.0.load(Ordering::SeqCst), 1, "woken once");
}

/// A held body that is not what was written is no duplicate; the log goes on.
#[test]
fn a_damaged_body_is_no_duplicate() {
    for threads in [false, true] {
        let memory = FaultyDisk::new(1);
        let disk: Arc<dyn Disk> = Arc::new(memory.clone());
        let committer = if threads {
            start(&disk)
        } else {
            let (log, _, _) = open(&disk, &ORIGIN, &options(), None).unwrap();
            let verifier = ReadHeld(log.reader());
            Committer::inline(log, MapIndex::default(), verifier, || 1)
        };
        let body = body_of(1, 300);
        let receipt = committer.append(id_of(&body), body.clone()).unwrap();
        let name = memory.list().unwrap().into_iter().find(|name| name.starts_with("segment-"));
        let file = memory.open(&name.unwrap()).unwrap();
        file.write_at(b"?", receipt.position + 200).unwrap();
        let damaged = |error: AppendError| {
            let AppendError::Lookup(source) = &error else { panic!("{error}") };
            assert!(matches!(**source, ReadError::Damaged(_)), "{error}");
        };
        damaged(committer.append(id_of(&body), body.clone()).unwrap_err());
        damaged(block_on(committer.append_async(id_of(&body), body.clone())).unwrap_err());
        let mut both = Submission::one(id_of(&body), body.clone());
        let other = body_of(2, 10);
        both.push(id_of(&other), &other);
        damaged(committer.append_batch(both).unwrap_err());
        let other = committer.append(id_of(&other), other.clone()).unwrap();
        assert_eq!(other.outcome, Outcome::Duplicate, "the batch's new body was appended");
    }
}
