//! Lists that go on where they were cut, and servers that answer with something else.

use std::{ops::RangeInclusive, sync::Arc};

use stemedb_merkle::AssertionId;
use stemedb_rpc::{
    CallError, ClientOptions, Reason, ServerOptions,
    client::EntryRange,
    proto::v1::{ListEntriesRequest, ListEntriesResponse, ListIdsRequest, ListIdsResponse},
};
use stemedb_store::{Entry, LogIndex, Timestamp};
use tonic::Status;

use super::{
    scripted::{Answer, Scripted},
    world::{Environment, run, until},
};

#[expect(clippy::unnecessary_wraps, reason = "part of an answer")]
fn ids(first: std::ops::Range<u8>) -> Result<ListIdsResponse, Status> {
    Ok(ListIdsResponse { ids: first.flat_map(|first| [first; 32]).collect() })
}

fn stopping<T>() -> Result<T, Status> {
    Err(Reason::Stopping.into())
}

/// An entry of a log whose times are ten times its indexes.
fn entry(index: u64) -> Entry {
    let id = AssertionId([u8::try_from(index % 251).unwrap(); 32]);
    let time = Timestamp::from_ntp64(10 * index);
    Entry { id, index: LogIndex(index), time, len: 1, hole: false }
}

#[expect(clippy::unnecessary_wraps, reason = "part of an answer")]
fn entries(indexes: impl IntoIterator<Item = u64>) -> Result<ListEntriesResponse, Status> {
    let entries = indexes.into_iter().map(|index| (entry(index), None).into()).collect();
    Ok(ListEntriesResponse { entries })
}

fn range(indexes: RangeInclusive<u64>) -> EntryRange {
    let indexes = LogIndex(*indexes.start())..=LogIndex(*indexes.end());
    EntryRange { indexes, since: None, until: None, limit: None, reverse: false }
}

/// What was listed, and the error that ended it.
type Outcome<T> = (Vec<T>, Option<CallError>);

/// First bytes of the ids that a server's answers give.
async fn listed_ids(server: &Scripted<ListIdsRequest, ListIdsResponse>) -> Outcome<u8> {
    let mut list = match server.client().await.ids().await {
        Ok(list) => list,
        Err(error) => return (Vec::new(), Some(error)),
    };
    let mut listed = Vec::new();
    loop {
        match list.next().await {
            Ok(Some(id)) => listed.push(id.0[0]),
            Ok(None) => return (listed, None),
            Err(error) => return (listed, Some(error)),
        }
    }
}

async fn listed_entries(
    server: &Scripted<ListEntriesRequest, ListEntriesResponse>,
    range: &EntryRange,
) -> Outcome<u64> {
    let mut list = match server.client().await.entries(range).await {
        Ok(list) => list,
        Err(error) => return (Vec::new(), Some(error)),
    };
    let mut listed = Vec::new();
    loop {
        match list.next().await {
            Ok(Some(entry)) => listed.push(entry.index.get()),
            Ok(None) => return (listed, None),
            Err(error) => return (listed, Some(error)),
        }
    }
}

#[test]
fn ids_go_on_behind_the_last_one() {
    run(async {
        let answers: [Answer<_>; 4] = [
            vec![stopping()],
            vec![ids(1..3), ids(3..5), stopping()],
            vec![Err(Status::unavailable("a proxy says"))],
            vec![ids(5..6)],
        ];
        let server = Scripted::new(answers);
        let (listed, error) = listed_ids(&server).await;
        assert!(error.is_none(), "{error:?}");
        assert_eq!(listed, [1, 2, 3, 4, 5]);
        let after: Vec<_> = server.asked().into_iter().map(|asked| asked.after).collect();
        assert_eq!(after, [None, None, Some(vec![4; 32]), Some(vec![4; 32])]);
    });
}

#[test]
fn a_list_is_given_up_when_its_server_does_not_come_back() {
    run(async {
        let server = Scripted::new((0..20).map(|_| vec![stopping()]));
        let (listed, error) = listed_ids(&server).await;
        assert_eq!((listed, error.unwrap().reason()), (vec![], Some(Reason::Stopping)));
        assert_eq!(server.asked().len(), 1 + ClientOptions::default().retries_max);
        // Each that brings something is a new beginning.
        let answers = (0..20).map(|n| vec![ids(n..n + 1), stopping()]);
        let server = Scripted::new(answers.chain([vec![]]));
        let (listed, error) = listed_ids(&server).await;
        assert!(error.is_none(), "{error:?}");
        assert_eq!(listed, (0..20).collect::<Vec<_>>());
    });
}

#[test]
fn ids_that_are_not_those_asked_for_are_refused() {
    run(async {
        let odd = Ok(ListIdsResponse { ids: vec![1; 33] });
        for (answer, count) in [
            (vec![ids(0..0)], 0),
            (vec![odd], 0),
            (vec![ids(1..3), ids(2..4)], 2),
            (vec![ids(1..3), ids(0..0), ids(3..4)], 2),
        ] {
            let server = Scripted::new([answer.clone()]);
            let (listed, error) = listed_ids(&server).await;
            assert!(matches!(error, Some(CallError::Malformed(_))), "{answer:?}: {error:?}");
            assert_eq!(listed.len(), count, "{answer:?}");
        }
        // What came before is not given again by a server that does not keep to `after`.
        let server = Scripted::new([vec![ids(1..3), stopping()], vec![ids(1..4)]]);
        let (listed, error) = listed_ids(&server).await;
        assert!(matches!(error, Some(CallError::Malformed(_))), "{error:?}");
        assert_eq!(listed, [1, 2]);
    });
}

#[test]
fn entries_go_on_from_the_last_one() {
    run(async {
        let server = Scripted::new([
            vec![entries(3..6), stopping()],
            vec![entries(5..6), entries(6..8), stopping()],
            vec![entries(7..9)],
        ]);
        let wanted = EntryRange { limit: Some(6), ..range(3..=20) };
        let (listed, error) = listed_entries(&server, &wanted).await;
        assert!(error.is_none(), "{error:?}");
        assert_eq!(listed, (3..9).collect::<Vec<_>>());
        let asked: Vec<_> =
            server.asked().iter().map(|asked| (asked.first, asked.last, asked.limit)).collect();
        let (last, limit) = (Some(20), Some(6));
        assert_eq!(asked, [(3, last, limit), (5, last, Some(4)), (7, last, Some(2))]);

        let server = Scripted::new([vec![entries([9, 8]), stopping()], vec![entries([8, 7])]]);
        let wanted = EntryRange { reverse: true, ..range(0..=20) };
        let (listed, error) = listed_entries(&server, &wanted).await;
        assert!(error.is_none(), "{error:?}");
        assert_eq!(listed, [9, 8, 7]);
        assert_eq!(server.asked()[1].last, Some(8));
    });
}

#[test]
fn entries_of_another_log_are_not_taken_for_the_rest() {
    run(async {
        let mut other = entries(5..7).unwrap();
        other.entries[0].id[0] ^= 1;
        for (answer, says) in [(vec![Ok(other)], "another"), (vec![], "shorter")] {
            let server = Scripted::new([vec![entries(3..6), stopping()], answer]);
            let (listed, error) = listed_entries(&server, &range(3..=20)).await;
            assert_eq!(error.unwrap().reason(), Some(Reason::OtherLog), "{says}");
            assert_eq!(listed, [3, 4, 5], "{says}");
        }
    });
}

#[test]
fn entries_that_are_not_those_asked_for_are_refused() {
    run(async {
        let all = || range(3..=6);
        let (since, until) = (Some(entry(4).time), Some(entry(5).time));
        let reverse = EntryRange { reverse: true, ..all() };
        for (wanted, answer) in [
            (all(), vec![entries(0..0)]),
            (all(), vec![entries(3..4), entries(0..0), entries(4..5)]),
            (all(), vec![entries(2..4)]),
            (all(), vec![entries(4..5)]),
            (all(), vec![entries(3..8)]),
            (all(), vec![entries([3, 5])]),
            (all(), vec![entries([3, 3])]),
            (reverse.clone(), vec![entries([3, 4])]),
            (reverse, vec![entries([7, 6])]),
            (EntryRange { limit: Some(2), ..all() }, vec![entries(3..6)]),
            (EntryRange { since, ..all() }, vec![entries(3..6)]),
            (EntryRange { until, ..all() }, vec![entries(3..6)]),
        ] {
            let server = Scripted::new([answer.clone()]);
            let (_, error) = listed_entries(&server, &wanted).await;
            let context = format!("{wanted:?} {answer:?}: {error:?}");
            assert!(matches!(error, Some(CallError::Malformed(_))), "{context}");
        }
        let mut backward = entries(3..5).unwrap();
        backward.entries[1].time = backward.entries[0].time;
        let server = Scripted::new([vec![Ok(backward)]]);
        let (_, error) = listed_entries(&server, &all()).await;
        assert!(matches!(error, Some(CallError::Malformed(_))), "{error:?}");
    });
}

/// The lists are longer than what may be under way unread.
#[test]
fn lists_end_when_the_server_stops_and_go_on_with_the_next_one() {
    const COUNT: u64 = 300_000;
    const MORE: u64 = 1_000;
    run(async {
        let world = Environment::new(ServerOptions::default()).await;
        let bodies = |numbers: std::ops::Range<u64>| -> Vec<_> {
            numbers.map(|number| number.to_string().into_bytes()).collect()
        };
        world.store.store.append_batch(bodies(0..COUNT)).unwrap();
        let (address, store) = (world.address, Arc::clone(&world.store));
        let options = ClientOptions::default().retries_max(20);
        let client = world.client_with(options).await.unwrap();
        let (mut ids, mut entries) =
            (client.ids().await.unwrap(), client.entries(&range(0..=u64::MAX)).await.unwrap());
        let first = (ids.next().await.unwrap().unwrap(), entries.next().await.unwrap().unwrap());
        let stopped = world.stop();
        let (mut id_count, mut entry_count) = (1, 1);
        let reading_ids = async {
            let mut last = first.0;
            while let Some(id) = ids.next().await.unwrap() {
                assert!(last < id);
                last = id;
                id_count += 1;
            }
        };
        let reading_entries = async {
            while let Some(entry) = entries.next().await.unwrap() {
                assert_eq!(entry.index, entry_count);
                entry_count += 1;
            }
        };
        let restarting = async {
            // Nothing was cut: the streams ended.
            assert_eq!(stopped.await.unwrap().unwrap().cut, 0);
            // What goes on with the next server meets these.
            store.store.append_batch(bodies(COUNT..COUNT + MORE)).unwrap();
            let listening = || Environment::at(address, ServerOptions::default(), store.clone());
            until(|| std::net::TcpListener::bind(address).is_ok()).await;
            listening().await
        };
        let ((), (), again) = tokio::join!(reading_ids, reading_entries, restarting);
        assert_eq!(entry_count, COUNT + MORE);
        assert!((COUNT + 1..=COUNT + MORE).contains(&id_count), "{id_count}");
        assert_eq!(first.1.index, LogIndex(0));
        drop(client);
        again.end().await;
    });
}
