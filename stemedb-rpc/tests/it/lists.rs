//! Lists of what a store holds, its sizes, and proofs of its history.

use stemedb_merkle::AssertionId;
use stemedb_rpc::{
    CallError, Reason, ServerOptions, Which,
    client::EntryRange,
    history::{Grown, Included},
};
use stemedb_store::{Entry, LogIndex, LogSize};

use super::world::{Environment, run};

/// More than two messages of either list hold.
const COUNT: u64 = 20_000;

async fn filled() -> Environment {
    let world = Environment::new(ServerOptions::default()).await;
    let bodies: Vec<Vec<u8>> = (0..COUNT).map(|n| n.to_string().into_bytes()).collect();
    world.store.store.append_batch(bodies).unwrap();
    world
}

fn all() -> EntryRange {
    EntryRange {
        indexes: LogIndex(0)..=LogIndex(u64::MAX),
        since: None,
        until: None,
        limit: None,
        reverse: false,
    }
}

async fn entries(world: &Environment, range: &EntryRange) -> Vec<Entry> {
    let mut list = world.client().await.entries(range).await.unwrap();
    let mut entries = Vec::new();
    while let Some(entry) = list.next().await.unwrap() {
        entries.push(entry);
    }
    entries
}

fn indexes(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.index.get()).collect()
}

#[test]
fn ids_come_sorted_and_whole() {
    run(async {
        let world = filled().await;
        let mut list = world.client().await.ids().await.unwrap();
        let own: Result<Vec<_>, _> = world.store.store.ids().collect();
        let mut ids = Vec::new();
        while let Some(id) = list.next().await.unwrap() {
            ids.push(id);
        }
        assert_eq!(ids, own.unwrap());
        assert_eq!(ids.len() as u64, COUNT);
        world.end().await;
    });
}

#[test]
fn an_empty_store_has_empty_lists() {
    run(async {
        let world = Environment::new(ServerOptions::default()).await;
        let client = world.client().await;
        assert_eq!(client.ids().await.unwrap().next().await.unwrap(), None);
        assert_eq!(entries(&world, &all()).await, []);
        assert_eq!(client.stats().await.unwrap().head, world.store.store.head().unwrap());
        let grown = client.prove_consistency(LogSize(0), None).await.unwrap();
        assert_eq!((grown.old, grown.new.size), (grown.new, LogSize(0)));
        world.end().await;
    });
}

#[test]
fn entries_come_in_either_order_and_in_parts() {
    run(async {
        let world = filled().await;
        let store = &world.store.store;
        let own: Result<Vec<_>, _> = store.range(..).collect();
        let own = own.unwrap();
        assert_eq!(entries(&world, &all()).await, own);
        let mut backward = entries(&world, &EntryRange { reverse: true, ..all() }).await;
        backward.reverse();
        assert_eq!(backward, own);

        let between = EntryRange { indexes: LogIndex(5)..=LogIndex(7), ..all() };
        assert_eq!(indexes(&entries(&world, &between).await), [5, 6, 7]);
        let last = EntryRange { reverse: true, limit: Some(2), ..all() };
        assert_eq!(indexes(&entries(&world, &last).await), [COUNT - 1, COUNT - 2]);
        let first = EntryRange { limit: Some(2), ..all() };
        assert_eq!(indexes(&entries(&world, &first).await), [0, 1]);
        let (since, until) = (Some(own[10].time), Some(own[12].time));
        let timed = EntryRange { since, until, ..all() };
        assert_eq!(indexes(&entries(&world, &timed).await), [10, 11]);
        for nothing in [
            EntryRange { indexes: LogIndex(COUNT)..=LogIndex(u64::MAX), ..all() },
            EntryRange { indexes: LogIndex(3)..=LogIndex(2), reverse: true, ..all() },
            EntryRange { limit: Some(0), ..all() },
            EntryRange { since: until, until: since, ..all() },
        ] {
            assert_eq!(entries(&world, &nothing).await, [], "{nothing:?}");
        }
        world.end().await;
    });
}

#[test]
fn an_entry_is_found_without_its_body() {
    run(async {
        let world = filled().await;
        let client = world.client().await;
        let entry = world.store.store.entry(LogIndex(77)).unwrap().unwrap();
        let prefix = entry.id.to_string()[..12].to_owned();
        for which in [Which::Id(entry.id), Which::Index(entry.index), Which::Prefix(prefix)] {
            assert_eq!(client.find(&which).await.unwrap(), Some(entry));
        }
        for which in [Which::Id(AssertionId([9; 32])), Which::Index(LogIndex(COUNT))] {
            assert_eq!(client.find(&which).await.unwrap(), None, "{which:?}");
        }
        let error = client.find(&Which::Prefix("012".into())).await.unwrap_err();
        assert_eq!(error.reason(), Some(Reason::Malformed));
        world.end().await;
    });
}

#[test]
fn sizes_are_those_of_the_store() {
    run(async {
        let world = filled().await;
        let (there, own) = (world.client().await.stats().await.unwrap(), world.store.store.stats());
        assert_eq!(format!("{there:?}"), format!("{:?}", own.unwrap()));
        world.end().await;
    });
}

#[test]
fn the_history_of_a_served_store_is_proved() {
    run(async {
        let world = filled().await;
        let (client, store) = (world.client().await, &world.store.store);
        let whole = LogSize(COUNT);
        for (index, size) in [(0, None), (77, Some(78)), (COUNT - 1, None), (300, Some(COUNT))] {
            let (index, size) = (LogIndex(index), size.map(LogSize));
            let included = client.prove_inclusion(index, size).await.unwrap();
            assert_eq!(included, Included::of(store, index, size).unwrap());
            let root = store.history_root_at(size.unwrap_or(whole)).unwrap();
            assert_eq!(included.head.root, root);
            included.verify().unwrap();
        }
        for (old, new) in [(0, None), (1, None), (777, Some(COUNT)), (COUNT, None), (5, Some(5))] {
            let (old, new) = (LogSize(old), new.map(LogSize));
            let grown = client.prove_consistency(old, new).await.unwrap();
            assert_eq!(grown, Grown::of(store, old, new).unwrap());
            assert_eq!(grown.old.root, store.history_root_at(old).unwrap());
            grown.verify().unwrap();
        }
        let reason = |error: CallError| error.reason();
        let beyond = client.prove_inclusion(LogIndex(COUNT), None).await.unwrap_err();
        assert_eq!(reason(beyond), Some(Reason::NotFound));
        let beyond = client.prove_inclusion(LogIndex(0), Some(LogSize(COUNT + 1))).await;
        assert_eq!(reason(beyond.unwrap_err()), Some(Reason::NotFound));
        let beyond = client.prove_consistency(LogSize(COUNT + 1), None).await.unwrap_err();
        assert_eq!(reason(beyond), Some(Reason::NotFound));
        let swapped = client.prove_consistency(LogSize(6), Some(LogSize(5))).await.unwrap_err();
        assert_eq!(reason(swapped), Some(Reason::Malformed));
        world.end().await;
    });
}

#[test]
fn a_proof_of_something_else_does_not_verify() {
    run(async {
        let world = filled().await;
        let store = &world.store.store;
        let mut included = Included::of(store, LogIndex(7), None).unwrap();
        included.entry.index = LogIndex(8);
        assert!(included.verify().is_err());
        let mut grown = Grown::of(store, LogSize(7), None).unwrap();
        grown.old.root.0[0] ^= 1;
        assert!(grown.verify().is_err());
        world.end().await;
    });
}
