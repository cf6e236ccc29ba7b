//! Watching a server that comes and goes.

use std::{sync::Arc, time::Duration};

use stemedb_rpc::{
    ClientOptions, Reason, ServerLimits, ServerOptions,
    client::{Watch, Watched},
};
use stemedb_store::LogIndex;
use tokio::{
    net::TcpListener,
    time::{Instant, sleep, timeout},
};

use super::{
    stores::TestStore,
    world::{Environment, run},
};

/// A client that is out of retries after some 100 milliseconds.
fn hasty() -> ClientOptions {
    ClientOptions::default()
        .retries_max(2)
        .retry_pause(Duration::from_millis(10))
        .watch_pause_max(Duration::from_millis(100))
        .call_time_max(Duration::from_millis(200))
}

async fn expect(watch: &mut Watch, world: &Environment, index: u64) {
    let next = timeout(Duration::from_secs(10), watch.next()).await;
    let (entry, body) = next.expect("the watch goes on").unwrap().unwrap();
    assert_eq!(entry.index, index);
    assert_eq!(body.unwrap(), index.to_le_bytes());
    assert!(index < world.store.len());
}

fn append(world: &Environment, indexes: std::ops::Range<u64>) {
    for index in indexes {
        world.store.take(vec![index.to_le_bytes().to_vec()]);
    }
}

#[test]
fn a_watch_goes_on_when_the_server_was_away() {
    run(async {
        let world = Environment::new(ServerOptions::default()).await;
        append(&world, 0..3);
        let client = world.client_with(hasty()).await.unwrap();
        let mut watch = client.watch(Watched { bodies: true, ..Watched::default() });
        for index in 0..3 {
            expect(&mut watch, &world, index).await;
        }
        let (address, store) = (world.address, Arc::clone(&world.store));
        world.end().await;

        // Nobody is there, then something that answers nothing.
        assert!(timeout(Duration::from_secs(1), watch.next()).await.is_err());
        let listener = TcpListener::bind(address).await.unwrap();
        let mut taken = Vec::new();
        let _late = timeout(Duration::from_secs(1), async {
            tokio::join!(watch.next(), async {
                loop {
                    taken.push(listener.accept().await.unwrap());
                }
            })
        })
        .await;
        assert!(!taken.is_empty());
        drop((taken, listener));
        client.head().await.unwrap_err();

        let world = Environment::at(address, ServerOptions::default(), store).await;
        append(&world, 3..6);
        for index in 3..6 {
            expect(&mut watch, &world, index).await;
        }
        append(&world, 6..7);
        expect(&mut watch, &world, 6).await;
        drop(watch);
        world.end().await;
    });
}

/// Who waits with a bound on the time does not keep the next call from being made.
#[test]
fn a_pause_goes_on_when_nobody_waits() {
    run(async {
        let world = Environment::new(ServerOptions::default()).await;
        append(&world, 0..1);
        let pause = Duration::from_millis(400);
        let options = hasty().retry_pause(pause).watch_pause_max(pause * 2);
        let client = world.client_with(options).await.unwrap();
        let mut watch = client.watch(Watched { bodies: true, ..Watched::default() });
        expect(&mut watch, &world, 0).await;
        let (address, store) = (world.address, Arc::clone(&world.store));
        world.end().await;
        let world = Environment::at(address, ServerOptions::default(), store).await;
        append(&world, 1..2);
        let began = Instant::now();
        let (entry, _) = loop {
            assert!(began.elapsed() < Duration::from_secs(10), "the watch does not go on");
            if let Ok(entry) = timeout(Duration::from_millis(50), watch.next()).await {
                break entry.unwrap().unwrap();
            }
        };
        assert_eq!(entry.index, 1);
        drop(watch);
        world.end().await;
    });
}

#[test]
fn a_watch_that_never_began_fails() {
    run(async {
        let world = Environment::new(ServerOptions::default()).await;
        let client = world.client_with(hasty()).await.unwrap();
        world.end().await;
        let mut watch = client.watch(Watched::default());
        let next = timeout(Duration::from_secs(10), watch.next()).await.unwrap();
        let error = next.unwrap().unwrap_err();
        assert!(error.may_pass(), "{error}");
        assert!(watch.next().await.is_none());
    });
}

/// Connections are ended when they are old, and what runs on them is cut.
#[test]
fn a_watch_outlives_its_connection() {
    run(async {
        let limits = ServerLimits::default()
            .connection_age_max(Duration::from_millis(200))
            .connection_grace(Duration::from_millis(100));
        let world = Environment::new(ServerOptions::default().limits(limits)).await;
        let client = world.client_with(hasty()).await.unwrap();
        let mut watch = client.watch(Watched { bodies: true, ..Watched::default() });
        for index in 0..15 {
            append(&world, index..index + 1);
            expect(&mut watch, &world, index).await;
            sleep(Duration::from_millis(100)).await;
        }
        drop(watch);
        world.end().await;
    });
}

/// What is served at the address is another log by then: indexes mean other entries, and nothing is
/// left out in silence.
#[test]
fn a_watch_ends_where_the_log_is_another_one() {
    run(async {
        let world = Environment::new(ServerOptions::default()).await;
        append(&world, 0..1);
        let [shorter, other] = [(), ()].map(|()| TestStore::on(world.store.disk.fork(), None));
        append(&world, 1..5);
        let client = world.client_with(hasty()).await.unwrap();
        let mut watch = client.watch(Watched { bodies: true, ..Watched::default() });
        assert!(watch.resume_point().is_none());
        for index in 0..5 {
            expect(&mut watch, &world, index).await;
        }
        let seen = watch.resume_point().unwrap();
        let log = world.store.store.log_id();
        assert_eq!((seen.node, seen.epoch, seen.next), (log.node, log.epoch, LogIndex(5)));
        let (address, store) = (world.address, Arc::clone(&world.store));
        world.end().await;

        // Copied: another log, with the same entries. Put back as a whole: the same log, with fewer
        // entries, or with others.
        let copied = TestStore::on(store.disk.copied(), None);
        assert_ne!(copied.store.log_id(), log);
        assert_eq!((shorter.store.log_id(), other.store.log_id()), (log, log));
        other.take((100..110_u64).map(|n| n.to_le_bytes().to_vec()).collect());
        let mut watch = Some(watch);
        for (n, store) in [copied, shorter, other].into_iter().enumerate() {
            let world = Environment::at(address, ServerOptions::default(), store).await;
            let resumed = || client.watch(Watched { after: Some(seen), ..Watched::default() });
            for mut watch in watch.take().into_iter().chain([resumed()]) {
                let answer = timeout(Duration::from_secs(10), watch.next()).await;
                let error = answer.expect("it is told").unwrap().unwrap_err();
                assert_eq!(error.reason(), Some(Reason::OtherLog), "{n}: {error}");
                assert!(watch.next().await.is_none());
            }
            world.end().await;
        }
    });
}

/// A watch goes on by what an earlier one came to, before and after its first entry.
#[test]
fn a_watch_goes_on_in_the_same_log() {
    run(async {
        let world = Environment::new(ServerOptions::default()).await;
        let client = world.client_with(hasty()).await.unwrap();
        append(&world, 0..3);
        let mut watch = client.watch(Watched { bodies: true, ..Watched::default() });
        for index in 0..3 {
            let after = watch.resume_point();
            watch = client.watch(Watched { after, bodies: true, ..Watched::default() });
            expect(&mut watch, &world, index).await;
        }
        // Beyond the end, and nothing seen.
        let mut ahead =
            client.watch(Watched { from: LogIndex(5), bodies: true, ..Watched::default() });
        assert!(timeout(Duration::from_millis(200), ahead.next()).await.is_err());
        assert!(ahead.resume_point().is_some_and(|point| point.last.is_none()));
        let mut ahead = client.watch(Watched { after: ahead.resume_point(), ..Watched::default() });
        append(&world, 3..6);
        let entry = timeout(Duration::from_secs(10), ahead.next()).await.unwrap().unwrap();
        assert_eq!(entry.unwrap().0.index, 5);
        drop((watch, ahead));
        world.end().await;
    });
}
