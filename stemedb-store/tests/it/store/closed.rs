//! A store that is closed while others still hold it.

use std::{
    collections::HashMap,
    io,
    ops::Range,
    sync::{Arc, Barrier, Mutex, mpsc},
    thread,
    time::Duration,
};

use stemedb_store::{
    AppendError, AssertionId, CheckpointError, LogAppendError, LogIndex, Options, Position,
    ReadError, Store, TreeFailure,
};
use stemedb_wal::remote::SegmentSource;

use super::{body, options};

fn closed_for_appends<T>(result: Result<T, AppendError>) -> bool {
    result.is_err_and(|error| matches!(error, AppendError::Log(LogAppendError::Closed)))
}

fn closed_for_reads<T>(result: Result<T, ReadError>) -> bool {
    result.is_err_and(|error| matches!(error, ReadError::Closed))
}

#[test]
fn all_that_is_asked_of_a_closed_store_fails_with_closed() {
    for threads in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), options().threads(threads)).unwrap();
        let receipt = store.append(&body(1)).unwrap();
        let (id, snapshot) = (receipt.id, store.snapshot().unwrap());
        let mut watch = store.watch(LogIndex(0));
        store.close().unwrap();

        assert!(closed_for_appends(store.append(&body(2))));
        assert!(closed_for_appends(store.append(&body(1))), "also of one that is held");
        assert!(closed_for_appends(store.append_batch([body(3), body(4)])));
        assert!(closed_for_appends(store.submit([body(5)]).wait()));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert!(closed_for_appends(runtime.block_on(store.append_async(body(6)))));
        let batch = store.append_batch_async([body(7), body(8)]);
        assert!(closed_for_appends(runtime.block_on(batch)));

        assert!(closed_for_reads(store.get(&id)));
        assert!(closed_for_reads(store.get(&AssertionId([7; 32]))), "also of one that is not held");
        assert!(closed_for_reads(store.get_at(receipt.position)));
        assert!(closed_for_reads(store.get_at(Position(0))));
        assert!(closed_for_reads(store.entry(LogIndex(0))));
        assert!(closed_for_reads(store.get_index(LogIndex(0))));
        assert!(closed_for_reads(store.find(&id)));
        assert!(closed_for_reads(store.contains(&id)));
        assert!(closed_for_reads(store.root()));
        assert!(closed_for_reads(store.head()));
        assert!(closed_for_reads(store.snapshot()));
        assert!(closed_for_reads(store.history_root()));
        assert!(closed_for_reads(store.prove(&id)));
        assert!(closed_for_reads(store.index_at_time(receipt.time)));
        assert!(store.prove_inclusion(LogIndex(0)).is_err());
        assert!(store.resolve(&id.to_string()[..12]).is_err());
        for first in [
            store.iter().next().map(|entry| entry.map(drop)),
            store.iter().next_back().map(|entry| entry.map(drop)),
            store.ids().next().map(|id| id.map(drop)),
            store.records(.., usize::MAX).next().map(|record| record.map(drop)),
            store.get_many(&[id]).next().map(|body| body.map(drop)),
            store.get_many_indexes(&[LogIndex(0)]).next().map(|body| body.map(drop)),
        ] {
            assert!(closed_for_reads(first.unwrap()));
        }
        assert!(watch.next().is_none() && watch.next_within(Duration::ZERO).is_none());
        assert!(matches!(store.checkpoint(), Err(CheckpointError::Read(ReadError::Closed))));
        assert!(matches!(store.tree_failure(), Some(TreeFailure::Closed)));
        assert_eq!((store.len(), store.log_size().get()), (1, 1), "the last that was known");
        store.close().unwrap();

        assert_eq!(snapshot.prove(&id).unwrap().proof.id, id.0, "taken before");
        // The directory is free, although the closed store is still held.
        let again = Store::open(dir.path(), options()).unwrap();
        assert_eq!(again.get(&id).unwrap().unwrap(), body(1));
        again.append(&body(2)).unwrap();
        drop(store);
        again.append(&body(3)).unwrap();
    }
}

/// Archive that answers when it is told to.
#[derive(Debug)]
struct SlowArchive {
    parts: Mutex<HashMap<[u8; 32], Vec<u8>>>,
    asked: mpsc::Sender<()>,
    answers: Mutex<mpsc::Receiver<()>>,
}

impl SegmentSource for SlowArchive {
    fn read(&self, part: &[u8; 32], range: Range<u64>) -> io::Result<Vec<u8>> {
        self.asked.send(()).unwrap();
        self.answers.lock().unwrap().recv().unwrap();
        let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
        Ok(self.parts.lock().unwrap()[part][range].to_vec())
    }
}

/// Way to read a body of the first segment, in a thread; whether it was given out or the store was
/// closed.
type ReadFirst = fn(Arc<Store>) -> bool;

#[test]
fn closing_waits_for_no_archive() {
    let reads: [ReadFirst; 3] = [
        |store| {
            let mut watch = store.watch(LogIndex(0)).with_bodies(1 << 20);
            drop(store);
            let first = watch.next();
            let right = first.is_none_or(|first| first.unwrap().1.unwrap() == body(0));
            right && watch.next().is_none()
        },
        |store| match store.get_index(LogIndex(0)) {
            Ok(found) => found.unwrap().1 == body(0),
            Err(error) => matches!(error, ReadError::Closed),
        },
        |store| {
            store.records(.., usize::MAX).next().is_some_and(|first| match first {
                Ok((_, found)) => found.unwrap() == body(0),
                Err(error) => matches!(error, ReadError::Closed),
            })
        },
    ];
    for read in reads {
        let dir = tempfile::tempdir().unwrap();
        let (asked, was_asked) = mpsc::channel();
        let (answer, answers) = mpsc::channel();
        let (parts, answers) = (Mutex::default(), Mutex::new(answers));
        let archive = Arc::new(SlowArchive { parts, asked, answers });
        let options = options().segment_source(Some(Arc::clone(&archive) as _));
        let store = Arc::new(Store::open(dir.path(), options).unwrap());
        for n in 0..10 {
            store.append_batch((200 * n..200 * (n + 1)).map(body)).unwrap();
        }
        let first = store.sealed_segments().swap_remove(0);
        let bytes = store.read_sealed(&first).unwrap();
        let part = *blake3::hash(&bytes).as_bytes();
        archive.parts.lock().unwrap().insert(part, bytes);
        store.drop_segment(&first.name, "archive", &[part]).unwrap();

        let shared = Arc::clone(&store);
        let reading = thread::spawn(move || read(shared));
        was_asked.recv_timeout(Duration::from_secs(30)).unwrap();
        let (closed, was_closed) = mpsc::channel();
        let closing = thread::spawn(move || closed.send(store.close()).unwrap());
        let waited = was_closed.recv_timeout(Duration::from_secs(10));
        let _ = answer.send(());
        // What is asked for after that is answered at once.
        drop(answer);
        assert!(reading.join().unwrap());
        closing.join().unwrap();
        waited.expect("closing waits for the archive").unwrap();
    }
}

/// Whatever others do meanwhile, what was acknowledged is there, and nothing hangs.
#[test]
fn a_store_is_closed_under_those_who_use_it() {
    const APPENDERS: u64 = 4;
    let dir = tempfile::tempdir().unwrap();
    let mut next = 0;
    for _ in 0..10 {
        let store = Arc::new(Store::open(dir.path(), Options::default()).unwrap());
        let begun = Barrier::new(4 + 3);
        let from = next;
        next += 1_000_000;
        thread::scope(|scope| {
            let appenders: Vec<_> = (0..APPENDERS)
                .map(|appender| {
                    let (store, begun) = (&store, &begun);
                    scope.spawn(move || {
                        let mut acknowledged = Vec::new();
                        begun.wait();
                        for number in (from + appender..).step_by(4) {
                            match store.append(&body(number)) {
                                Ok(receipt) => acknowledged.push(receipt.id),
                                closed => {
                                    assert!(closed_for_appends(closed));
                                    return acknowledged;
                                }
                            }
                        }
                        unreachable!("the store is closed long before");
                    })
                })
                .collect();
            let reader = scope.spawn(|| {
                begun.wait();
                loop {
                    match store.iter().chain(store.iter().rev()).try_for_each(|read| {
                        let entry = read?;
                        assert!(store.get(&entry.id)?.is_some());
                        Ok(())
                    }) {
                        Ok(()) => {}
                        Err(ReadError::Closed) => return,
                        Err(error) => panic!("{error}"),
                    }
                }
            });
            let checkpointer = scope.spawn(|| {
                begun.wait();
                loop {
                    match store.checkpoint() {
                        Ok(_) => {}
                        Err(CheckpointError::Read(ReadError::Closed)) => return,
                        Err(error) => panic!("{error}"),
                    }
                }
            });
            begun.wait();
            thread::sleep(Duration::from_millis(20));
            store.close().unwrap();
            let again = Store::open(dir.path(), Options::default()).unwrap();
            assert!(again.open_report().remarks.is_empty(), "{}", again.open_report());
            for appender in appenders {
                for id in appender.join().unwrap() {
                    assert!(again.contains(&id).unwrap());
                }
            }
            reader.join().unwrap();
            checkpointer.join().unwrap();
        });
    }
}
