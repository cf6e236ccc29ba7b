use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    io,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use stemedb_merkle::{LogIndex, MerkleTree, Timestamp, history::History};
use stemedb_simdisk::{Fault, FaultKind, FaultyDisk, Operation, Target};
use stemedb_wal::{
    disk::{Disk, MemoryDisk},
    error::{AppendError, DamageKind, ReadError},
    log::{HoleEntry, Log, LogOptions, LogReader, Origin, Placed, Spares},
};

use super::{
    CommitOptions, Committer, Held, Pending, Priority, Submission, Verified, Verify,
    queue::{
        ALONE_MAX, Admission, OWN_ACTIVE_COMMITS, OWN_COMMIT_LEN_MAX, PEER_BYTES_MAX,
        PEER_COMMIT_LEN_MAX, Queue, Request, UNGATHERED_COMMITS, Waited,
    },
    slot,
};
use crate::{
    index::{CheckpointPace, Filter, Index, IndexState, IndexWriter, Recent},
    receipt::Receipt,
    tiles::TileFile,
};

fn id_of(body: &[u8]) -> [u8; 32] {
    *blake3::hash(body).as_bytes()
}

/// A body that is told from all others with other numbers.
fn body_of(number: u64, len: usize) -> Vec<u8> {
    let mut body = vec![0; len];
    blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut body);
    body
}

const ORIGIN: Origin =
    Origin { store_id: [0xab; 16], generation: 0, salt_seed: [0xcd; 16], clean: None };

fn open(disk: &Arc<dyn Disk>, options: &LogOptions) -> (Log, Vec<Placed>) {
    let mut replayed = Vec::new();
    let mut keep = |records: stemedb_wal::log::Replayed<'_>| {
        replayed.extend_from_slice(records.placed);
    };
    let (log, _) = Log::open(Arc::clone(disk), &ORIGIN, options, None, &mut keep).unwrap();
    (log, replayed)
}

/// The index of an empty log.
fn index(disk: &Arc<dyn Disk>, log: &Log, holes: HashMap<[u8; 32], HoleEntry>) -> IndexWriter {
    let tiles = TileFile::open(disk, ORIGIN.store_id, 0).unwrap().unwrap();
    let folded = IndexState::new(History::new(), tiles, holes.clone(), Timestamp::from_ntp64(0));
    let (filter, recent) = (Filter::default(), Recent::new(&[], log.durable(), 0));
    let trees = Index::new(MerkleTree::new(), filter, None, folded, recent, log.reader());
    let pace = Arc::new(CheckpointPace::new(0, u64::MAX));
    IndexWriter::new(Arc::new(trees), holes, false, pace).unwrap()
}

/// Reads held bodies back, and refuses the append where one is damaged.
fn read_held(reader: LogReader) -> Arc<Verify> {
    Arc::new(move |held: &Held<'_>| {
        let failed = |error| AppendError::Lookup(Arc::new(error));
        let record = reader.read(held.position).map_err(failed)?;
        if record.entry.id == held.id && record.body == held.body {
            return Ok(Verified { entry: record.entry, healed: false });
        }
        Err(failed(reader.damage_at(held.position, record.entry.index, DamageKind::Id)))
    })
}

fn options() -> LogOptions {
    LogOptions::default().segment_len(64 << 10).spares(Spares::None)
}

fn start(disk: &Arc<dyn Disk>) -> Committer {
    let (log, _) = open(disk, &options());
    let mut now = 0;
    let clock = move || {
        now += 10;
        Timestamp::from_ntp64(now)
    };
    let (index, verify) = (index(disk, &log, HashMap::new()), read_held(log.reader()));
    Committer::start(log, index, verify, clock, &CommitOptions::default()).unwrap()
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
                        committer.append(id_of(&body), &body).unwrap()
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
    let appended = receipts.iter().filter(|(receipt, _)| !receipt.duplicate).count();
    assert_eq!((appended, receipts.len()), (200, 400), "each body once");
    let reader = committer.call(|log, _| log.reader()).unwrap();
    assert_eq!(reader.next_index(), 200);
    for (receipt, body) in &receipts {
        let record = reader.read(receipt.position).unwrap();
        assert_eq!(&record.body, body);
        assert_eq!((record.entry.index, record.entry.time), (receipt.index, receipt.time));
    }
    let committer = Arc::into_inner(committer).unwrap();
    assert_eq!(committer.call(|log, _| log.durable().next_index).unwrap(), 200);
    committer.close().unwrap();
    let (_, replayed) = open(&disk, &options());
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
        assert_eq!(receipt.duplicate, n >= 60);
    }
    assert_eq!(committer.submit(Submission::new()).wait().unwrap(), []);
}

#[test]
fn one_body_over_the_limit_fails_its_submission_alone() {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let options = options().body_len_max(50);
    let (log, _) = open(&disk, &options);
    let (index, verify) = (index(&disk, &log, HashMap::new()), read_held(log.reader()));
    let queue = CommitOptions::default();
    let committer =
        Committer::start(log, index, verify, || Timestamp::from_ntp64(1), &queue).unwrap();
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
    assert!(receipts.iter().all(|receipt| !receipt.duplicate));
}

#[test]
fn a_lost_body_that_comes_back_heals_its_entry() {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let (log, _) = open(&disk, &options());
    // As if the log had entries, of which the first lost its body.
    let hole = HoleEntry { index: LogIndex(0), time: Timestamp::from_ntp64(3) };
    let index = index(&disk, &log, HashMap::from([(id_of(b"a"), hole)]));
    let verify = read_held(log.reader());
    let committer = Committer::inline(log, index, verify, || Timestamp::from_ntp64(5));
    let healed = committer.append(id_of(b"a"), b"a").unwrap();
    assert_eq!(
        (healed.duplicate, healed.index, healed.time),
        (false, LogIndex(0), Timestamp::from_ntp64(3))
    );
    let (reader, next_index) = committer.call(|log, _| (log.reader(), log.next_index())).unwrap();
    assert_eq!(reader.read(healed.position).unwrap().body, b"a");
    assert_eq!(next_index, 0, "it is no entry of its own");
}

#[test]
fn the_first_failed_sync_is_the_last_and_everyone_gets_it() {
    for operation in [Operation::Sync, Operation::Write] {
        let faulty = FaultyDisk::new(5);
        let disk: Arc<dyn Disk> = Arc::new(faulty.clone());
        let committer = Arc::new(start(&disk));
        let body = body_of(1, 30);
        let first = committer.append(id_of(&body), &body).unwrap();
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
                    committer.append(id_of(&body), &body)
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
        let closed = Arc::into_inner(committer).unwrap().close();
        assert!(matches!(closed, Err(AppendError::Poisoned(_))));
    }
}

#[test]
fn appenders_wait_while_the_queue_is_full() {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let (log, _) = open(&disk, &options());
    let options = CommitOptions { queue_records_max: 4, ..CommitOptions::default() };
    let (index, verify) = (index(&disk, &log, HashMap::new()), read_held(log.reader()));
    let committer =
        Committer::start(log, index, verify, || Timestamp::from_ntp64(0), &options).unwrap();
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
    let (log, _) = open(&disk, &options());
    let idle_after = Duration::from_millis(1);
    let options = CommitOptions { idle_after, ..CommitOptions::default() };
    let (index, verify) = (index(&disk, &log, HashMap::new()), read_held(log.reader()));
    let committer =
        Committer::start(log, index, verify, || Timestamp::from_ntp64(0), &options).unwrap();
    committer.append(id_of(b"x"), b"x").unwrap();
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
    let refused = committer.append(id_of(b"x"), b"x");
    assert!(matches!(refused, Err(AppendError::Closed)));
    assert!(matches!(committer.close(), Err(AppendError::Closed)));
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
        let mut submission = Submission::new();
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
            appended += u64::from(!receipt.duplicate);
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
        let appended = committer.append(id_of(&second), &second).unwrap();
        let queued = queued.wait().unwrap();
        assert_eq!(
            (queued[0].index, appended.index),
            (LogIndex(2 * n), LogIndex(2 * n + 1)),
            "round {n}"
        );
    }
}

/// A committer whose verifier is held up until its gate opens.
struct HeldUp {
    committer: Arc<Committer>,
    gate: Arc<Gate>,
}

/// Verifies once it is open, and counts.
struct Gate {
    inner: Arc<Verify>,
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

impl Gate {
    fn verify(&self, held: &Held<'_>) -> Result<Verified, AppendError> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let mut open = self.open.lock().unwrap();
        while !*open {
            open = self.opened.wait(open).unwrap();
        }
        drop(open);
        (self.inner)(held)
    }
}

impl HeldUp {
    fn start(queue_records_max: usize) -> Self {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let (log, _) = open(&disk, &options());
        let options = CommitOptions { queue_records_max, ..CommitOptions::default() };
        let gate = Arc::new(Gate {
            inner: read_held(log.reader()),
            open: false.into(),
            opened: Condvar::new(),
            waiting: 0.into(),
        });
        let held_up = Arc::clone(&gate);
        let verify: Arc<Verify> = Arc::new(move |held: &Held<'_>| held_up.verify(held));
        let index = index(&disk, &log, HashMap::new());
        let committer = Committer::start(log, index, verify, || Timestamp::from_ntp64(0), &options);
        Self { committer: Arc::new(committer.unwrap()), gate }
    }

    fn append(&self, n: u64) -> Result<Receipt, AppendError> {
        let body = body_of(n, 10);
        self.committer.append(id_of(&body), &body)
    }

    fn submit(&self, n: u64) -> Pending {
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
            assert!(!one.duplicate);
            assert!(!two.wait().unwrap()[0].duplicate);
        }
        assert!(!alone.is_finished());
        held_up.gate.open();
        let alone = alone.join().unwrap();
        let queued = queued.wait().unwrap()[0];
        for again in [alone, queued] {
            assert!(again.duplicate);
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
        assert!(duplicate.wait().unwrap()[0].duplicate);
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
            let (log, _) = open(&disk, &options());
            let (index, verify) = (index(&disk, &log, HashMap::new()), read_held(log.reader()));
            Committer::inline(log, index, verify, || Timestamp::from_ntp64(1))
        };
        let body = body_of(1, 300);
        let receipt = committer.append(id_of(&body), &body).unwrap();
        let name = memory.list().unwrap().into_iter().find(|name| name.starts_with("segment-"));
        let file = memory.open(&name.unwrap()).unwrap();
        file.write_at(b"?", (receipt.position + 200).get()).unwrap();
        let damaged = |error: AppendError| {
            let AppendError::Lookup(source) = &error else { panic!("{error}") };
            assert!(matches!(**source, ReadError::Damaged(_)), "{error}");
        };
        damaged(committer.append(id_of(&body), &body).unwrap_err());
        damaged(block_on(committer.append_async(id_of(&body), body.clone())).unwrap_err());
        let mut both = Submission::one(id_of(&body), body.clone());
        let other = body_of(2, 10);
        both.push(id_of(&other), &other);
        damaged(committer.append_batch(both).unwrap_err());
        let other = committer.append(id_of(&other), &other).unwrap();
        assert!(other.duplicate, "the batch's new body was appended");
    }
}

/// What one commit takes of the program's own is bounded, and the rest comes next, in order.
#[test]
fn a_commit_takes_a_bounded_part_of_a_long_queue() {
    let queue = Queue::new(&CommitOptions::default());
    let lens = [OWN_COMMIT_LEN_MAX / 2, OWN_COMMIT_LEN_MAX / 2 - 7, 100, 0, 1, 2, 3];
    for len in lens {
        let body = Submission::one([0; 32], vec![0; len]);
        queue.push_waiting(Request::Append(body, slot::pair().0));
    }
    let mut taken: Vec<Vec<usize>> = Vec::new();
    while taken.iter().flatten().count() < lens.len() {
        let mut requests = VecDeque::new();
        assert_eq!(queue.take(&mut requests), requests.len());
        let len_of = |request| match request {
            Request::Append(bodies, _) => bodies.bytes_len(),
            Request::Call(_) => panic!("nobody called"),
        };
        taken.push(requests.into_iter().map(len_of).collect());
        assert_eq!(
            queue.admits_alone(Priority::Own),
            taken.iter().flatten().count() == lens.len(),
            "nobody gets ahead of what is left"
        );
    }
    assert_eq!(taken, [lens[..3].to_vec(), lens[3..].to_vec()]);
}

/// While the program appends, each commit takes one piece of what peers brought, and without that
/// as much as is worth a sync.
#[test]
fn bodies_of_peers_give_way() {
    let queue = Queue::new(&CommitOptions::default());
    let body = vec![0; 256];
    let push = |priority| {
        let (ticket, _) = slot::pair();
        let bodies = Submission::one([0; 32], body.clone()).with_priority(priority);
        queue.push_waiting(Request::Append(bodies, ticket));
    };
    let take = || {
        let mut requests = VecDeque::new();
        let own = queue.take(&mut requests);
        (own, requests.len() - own)
    };
    for _ in 0..100 {
        push(Priority::Peer);
    }
    push(Priority::Own);
    push(Priority::Own);
    assert_eq!(take(), (2, 1));
    // For a while it is taken to go on appending.
    for _ in 1..OWN_ACTIVE_COMMITS {
        assert_eq!(take(), (0, 1));
    }
    assert_eq!(take(), (0, 100 - OWN_ACTIVE_COMMITS as usize), "all that is left");
    // A lone append is before those that wait, and is one of the program's too.
    push(Priority::Peer);
    push(Priority::Peer);
    assert!(!queue.admits_alone(Priority::Peer) && queue.admits_alone(Priority::Own));
    assert_eq!(take(), (0, 1));
    // A few of them; with nobody waiting, as many as there are.
    for _ in 0..ALONE_MAX {
        assert!(queue.admits_alone(Priority::Own));
    }
    assert!(!queue.admits_alone(Priority::Own));
    assert_eq!(take(), (0, 1));
    for _ in 0..2 * ALONE_MAX {
        assert!(queue.admits_alone(Priority::Own));
    }
    push(Priority::Peer);
    assert!(queue.admits_alone(Priority::Own));
    // What one commit takes is bounded, and so is what waits.
    let large =
        || Submission::one([0; 32], vec![0; PEER_COMMIT_LEN_MAX]).with_priority(Priority::Peer);
    assert_eq!(take(), (0, 1));
    for _ in 0..PEER_BYTES_MAX / PEER_COMMIT_LEN_MAX {
        let request = Request::Append(large(), slot::pair().0);
        assert!(matches!(queue.try_push(request, None, Waker::noop()), Admission::Queued));
    }
    let request = Request::Append(large(), slot::pair().0);
    let refused = queue.try_push(request, None, Waker::noop());
    assert!(matches!(refused, Admission::Full(..)));
    push(Priority::Own);
    assert_eq!(take(), (1, 1));
}

/// On busy processors a commit does not gather.
#[test]
fn a_slow_yield_is_the_last_for_some_commits() {
    // The clock is read before each yield and after it.
    static READ: AtomicU32 = AtomicU32::new(0);
    let uptime = || Duration::from_millis(READ.fetch_add(1, Ordering::Relaxed).into());
    let queue = Queue::new(&CommitOptions { uptime, ..CommitOptions::default() });
    for commit in 0..=UNGATHERED_COMMITS + 1 {
        let bodies = Submission::one([0; 32], vec![0; 8]);
        queue.push_waiting(Request::Append(bodies, slot::pair().0));
        assert_eq!(queue.wait(64, None), Waited::Work);
        let yields = 1 + u32::from(commit > UNGATHERED_COMMITS);
        assert_eq!(READ.load(Ordering::Relaxed), 2 * yields, "commit {commit}");
        queue.take(&mut VecDeque::new());
    }
}
