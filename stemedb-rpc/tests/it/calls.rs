//! The calls of the store service.

use std::time::Duration;

use stemedb_merkle::{AssertionId, proof::Presence};
use stemedb_rpc::{CallError, Reason, ServerOptions, Which, client::Watched};
use stemedb_store::{LogIndex, Receipt, Timestamp};
use stemedb_sync::Keys;

use stemedb_wal::disk::Disk as _;

use super::{
    stores::{BODY_LEN_MAX, TestStore},
    world::{Environment, run},
};

fn body(n: u64, len: usize) -> Vec<u8> {
    let mut body = vec![0; len];
    blake3::Hasher::new().update(&n.to_le_bytes()).finalize_xof().fill(&mut body);
    body
}

#[test]
fn append_and_get_and_head() {
    run(async {
        let world = Environment::new(ServerOptions::default()).await;
        let client = world.client().await;
        let keys = Keys::new(None);
        assert_eq!(client.head().await.unwrap(), world.store.store.head().unwrap());
        let mut time = Timestamp::MIN;
        let lens = [0, 1, 100, 2 << 20, (2 << 20) + 1, (5 << 20) + 7, BODY_LEN_MAX];
        for (n, len) in (0..).zip(lens) {
            let body = body(n, len);
            let receipt = client.append(body.clone()).await.unwrap();
            assert_eq!((receipt.id, receipt.index), (world.store.id(&body), LogIndex(n)), "{len}");
            assert!(receipt.time > time && !receipt.duplicate, "{len}");
            time = receipt.time;
            let again = client.append(body.clone()).await.unwrap();
            assert_eq!(again, Receipt { duplicate: true, ..receipt });
            let prefix = receipt.id.to_string()[..8].to_owned();
            for which in [Which::Id(receipt.id), Which::Index(LogIndex(n)), Which::Prefix(prefix)] {
                let (entry, got) = client.get(&which, Some(&keys)).await.unwrap().unwrap();
                assert!(got == body && entry.len == len as u64 && entry.id == receipt.id);
            }
        }
        let head = client.head().await.unwrap();
        assert_eq!(head, world.store.store.head().unwrap());
        assert_eq!(head.count, 7);
        for which in [
            Which::Id(AssertionId([9; 32])),
            Which::Index(LogIndex(7)),
            Which::Index(LogIndex(u64::MAX)),
            Which::Prefix("09090909".into()),
        ] {
            assert_eq!(client.get(&which, Some(&keys)).await.unwrap(), None, "{which:?}");
        }
        let secret = Keys::new(Some(b"0123456789abcdef"));
        let wrong = client.get(&Which::Index(LogIndex(1)), Some(&secret)).await.unwrap_err();
        assert!(matches!(wrong, CallError::WrongBody { .. }), "{wrong}");
        world.end().await;
    });
}

#[test]
fn what_breaks_the_rules_is_refused_with_a_reason() {
    run(async {
        let world = Environment::new(ServerOptions::default()).await;
        let client = world.client().await;
        let refused = |error: CallError| error.reason().unwrap_or_else(|| panic!("{error:?}"));
        let long = client.append(vec![0; BODY_LEN_MAX + 1]).await.unwrap_err();
        assert_eq!(refused(long), Reason::TooLarge);
        for prefix in ["012", "0123456X", &"0".repeat(65)] {
            let which = Which::Prefix(prefix.into());
            let error = client.get(&which, None).await.unwrap_err();
            assert_eq!(refused(error), Reason::Malformed, "{prefix}");
        }
        world.store.fail();
        let failed = client.append(b"body".to_vec()).await.unwrap_err();
        assert_eq!(refused(failed), Reason::Failed);
        assert_eq!(world.store.len(), 0);
        world.end().await;
    });
}

/// What a store says of its own state stays on its machine.
#[test]
fn failures_are_reported_without_particulars() {
    run(async {
        let world = Environment::new(ServerOptions::default()).await;
        let client = world.client().await;
        client.append(b"a body".to_vec()).await.unwrap();
        let disk = &world.store.disk;
        let names = disk.list().unwrap();
        let segment = names.iter().find(|name| name.starts_with("segment-")).unwrap();
        let bytes = disk.contents(segment).unwrap();
        let at = bytes.windows(6).position(|bytes| bytes == b"a body").unwrap();
        disk.flip_bit(segment, at as u64 * 8).unwrap();
        let error = client.get(&Which::Index(LogIndex(0)), None).await.unwrap_err();
        assert_eq!(error.reason(), Some(Reason::Damaged));
        let own = world.store.store.get_index(LogIndex(0)).unwrap_err().to_string();
        assert!(own.contains(segment), "{own}");
        assert!(!error.to_string().contains(segment), "{error}");
        world.end().await;
    });
}

#[test]
fn batches_are_acknowledged_in_order() {
    run(async {
        let store = TestStore::slow(Duration::from_millis(2));
        let world = Environment::with(ServerOptions::default(), store).await;
        let client = world.client().await;
        let bodies: Vec<_> =
            (0..20_000).map(|n| body(n, if n % 5000 == 77 { 3 << 20 } else { 20 })).collect();
        let (mut sender, mut receipts) = client.append_batch().await.unwrap();
        let sending = async {
            for bodies in bodies.chunks(700) {
                sender.send(bodies.to_vec()).await.unwrap();
            }
            drop(sender);
        };
        let receiving = async {
            let mut all = Vec::new();
            while let Some(receipts) = receipts.next().await {
                all.extend(receipts.unwrap());
            }
            all
        };
        let ((), all) = tokio::join!(sending, receiving);
        assert_eq!(all.len(), bodies.len());
        for ((n, body), receipt) in (0..).zip(&bodies).zip(all) {
            assert_eq!((receipt.id, receipt.index), (world.store.id(body), LogIndex(n)));
        }
        assert_eq!(world.store.len(), 20_000);
        world.end().await;
    });
}

#[test]
fn a_batch_that_fails_says_why_and_keeps_what_came_before() {
    run(async {
        let world = Environment::new(ServerOptions::default()).await;
        let client = world.client().await;
        let (mut sender, mut receipts) = client.append_batch().await.unwrap();
        sender.send(vec![b"one".to_vec(), b"two".to_vec()]).await.unwrap();
        assert_eq!(receipts.next().await.unwrap().unwrap().len(), 2);
        world.store.fail();
        sender.send(vec![b"three".to_vec()]).await.unwrap();
        let error = receipts.next().await.unwrap().unwrap_err();
        assert_eq!(error.reason(), Some(Reason::Failed));
        assert!(receipts.next().await.is_none());
        assert_eq!(world.store.len(), 2);
        world.end().await;
    });
}

#[test]
fn proofs_verify_and_say_what_is_so() {
    run(async {
        let world = Environment::new(ServerOptions::default()).await;
        let client = world.client().await;
        for n in 0..100 {
            world.store.take(vec![body(n, 10)]);
        }
        for (n, presence) in
            [(0, Presence::Present), (99, Presence::Present), (100, Presence::Absent)]
        {
            let (proof, root) = client.prove(&world.store.id(&body(n, 10))).await.unwrap();
            assert_eq!(root, world.store.root());
            assert_eq!(proof.verify(&root).unwrap(), presence);
        }
        world.end().await;
    });
}

#[test]
fn watching_gives_what_is_there_and_what_comes() {
    run(async {
        let world = Environment::new(ServerOptions::default()).await;
        let client = world.client().await;
        for n in 0..3000 {
            world.store.take(vec![body(n, 500)]);
        }
        world.store.take(vec![body(3000, 300 << 10)]);
        let wanted = Watched { from: LogIndex(10), bodies: true, stop_at_end: true, after: None };
        let mut watch = client.watch(wanted);
        for n in 10..3000 {
            let (entry, given) = watch.next().await.unwrap().unwrap();
            assert_eq!((entry.index, entry.len), (LogIndex(n), 500));
            assert_eq!(given.unwrap(), body(n, 500));
        }
        let (long, given) = watch.next().await.unwrap().unwrap();
        assert_eq!((long.len, given), (300 << 10, None));
        assert!(watch.next().await.is_none());

        let mut watch = client.watch(Watched { from: LogIndex(3002), ..Watched::default() });
        let entry = async { watch.next().await.unwrap().unwrap() };
        let append = async {
            for n in 3001..3004 {
                tokio::time::sleep(Duration::from_millis(20)).await;
                client.append(body(n, 5)).await.unwrap();
            }
        };
        let ((entry, given), ()) = tokio::join!(entry, append);
        let id = world.store.id(&body(3002, 5));
        assert_eq!((entry.index, entry.id, given), (LogIndex(3002), id, None));
        drop(watch);
        world.end().await;
    });
}

/// The parts of a long body come from one read.
#[test]
fn a_long_body_is_read_once() {
    run(async {
        let world = Environment::new(ServerOptions::default()).await;
        let client = world.client().await;
        for len in [0, 1, PART_LEN, PART_LEN + 1, 2 * PART_LEN, BODY_LEN_MAX] {
            let long = body(len as u64, len);
            world.store.take(vec![long.clone()]);
            let before = world.store.gets();
            let keys = Keys::new(None);
            let got =
                client.get(&Which::Id(world.store.id(&long)), Some(&keys)).await.unwrap().unwrap();
            assert!(got.1 == long, "{len} bytes");
            assert_eq!(world.store.gets() - before, 1, "{len} bytes");
        }
        world.end().await;
    });
}

/// The longest part of a body in a message.
const PART_LEN: usize = 2 << 20;
