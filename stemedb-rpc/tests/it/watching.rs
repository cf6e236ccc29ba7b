//! Watching a server that comes and goes.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use stemedb_rpc::{
    ClientOptions, Reason, ServerLimits, ServerOptions,
    client::{Watch, Watched},
};
use tokio::{
    net::TcpListener,
    time::{Instant, sleep, timeout},
};

use super::{
    memory::Memory,
    world::{Environment, run},
};

/// A client that is out of retries after some 100 milliseconds.
fn hasty() -> ClientOptions {
    ClientOptions {
        retries_max: 2,
        retry_pause: Duration::from_millis(10),
        watch_pause_max: Duration::from_millis(100),
        call_time_max: Duration::from_millis(200),
        ..ClientOptions::default()
    }
}

async fn expect(watch: &mut Watch, world: &Environment, index: u64) {
    let next = timeout(Duration::from_secs(10), watch.next()).await;
    let entry = next.expect("the watch goes on").unwrap().unwrap();
    assert_eq!(entry.index, index);
    let body = entry.body.unwrap();
    assert_eq!(body, index.to_le_bytes());
    assert!(index < world.memory.len());
}

fn append(world: &Environment, indexes: std::ops::Range<u64>) {
    for index in indexes {
        world.memory.take(vec![index.to_le_bytes().to_vec()]);
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
        let (address, memory) = (world.address, Arc::clone(&world.memory));
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

        let world = Environment::at(address, ServerOptions::default(), memory).await;
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
        let options = ClientOptions { retry_pause: pause, watch_pause_max: pause * 2, ..hasty() };
        let client = world.client_with(options).await.unwrap();
        let mut watch = client.watch(Watched { bodies: true, ..Watched::default() });
        expect(&mut watch, &world, 0).await;
        let (address, memory) = (world.address, Arc::clone(&world.memory));
        world.end().await;
        let world = Environment::at(address, ServerOptions::default(), memory).await;
        append(&world, 1..2);
        let began = Instant::now();
        let entry = loop {
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
        let limits = ServerLimits {
            connection_age_max: Duration::from_millis(200),
            connection_grace: Duration::from_millis(100),
            ..ServerLimits::default()
        };
        let world = Environment::new(ServerOptions { limits, ..ServerOptions::default() }).await;
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
        append(&world, 0..5);
        let client = world.client_with(hasty()).await.unwrap();
        let mut watch = client.watch(Watched { bodies: true, ..Watched::default() });
        assert!(watch.log().is_none());
        for index in 0..5 {
            expect(&mut watch, &world, index).await;
        }
        let (seen, next) = (watch.log().unwrap(), watch.position());
        assert_eq!((seen.log.node, seen.log.epoch, next), ([7; 16], 1, 5));
        let (address, memory) = (world.address, Arc::clone(&world.memory));
        world.end().await;

        // Restored: another epoch, with the same entries. Put back as a whole: the same epoch, with
        // fewer entries, or with others.
        memory.epoch.store(2, Ordering::Relaxed);
        let (shorter, other) = (Memory::default(), Memory::default());
        shorter.take(vec![0_u64.to_le_bytes().to_vec()]);
        other.take((100..110_u64).map(|n| n.to_le_bytes().to_vec()).collect());
        let mut watch = Some(watch);
        for (n, memory) in [memory, Arc::new(shorter), Arc::new(other)].into_iter().enumerate() {
            let world = Environment::at(address, ServerOptions::default(), memory).await;
            let resumed = || {
                let after = Some(seen);
                client.watch(Watched { from: next, after, ..Watched::default() })
            };
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
            let (from, after) = (watch.position(), watch.log());
            watch = client.watch(Watched { from, after, bodies: true, stop_at_end: false });
            expect(&mut watch, &world, index).await;
        }
        // Beyond the end, and nothing seen.
        let mut ahead = client.watch(Watched { from: 5, bodies: true, ..Watched::default() });
        assert!(timeout(Duration::from_millis(200), ahead.next()).await.is_err());
        assert!(ahead.log().is_some_and(|log| log.last.is_none()));
        let mut ahead = client.watch(Watched { from: 5, after: ahead.log(), ..Watched::default() });
        append(&world, 3..6);
        let entry = timeout(Duration::from_secs(10), ahead.next()).await.unwrap().unwrap();
        assert_eq!(entry.unwrap().index, 5);
        drop((watch, ahead));
        world.end().await;
    });
}
