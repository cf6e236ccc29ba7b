//! How a server stops.

use std::{sync::atomic::Ordering, time::Duration};

use stemedb_rpc::{
    ClientOptions, Reason, ServerOptions,
    client::{Traffic, Watched},
};
use stemedb_sync::message::{Ask, Finish};
use tokio::time::Instant;

use super::{
    memory::Memory,
    sessions::{ask, hello, request},
    world::{Environment, run, until},
};

/// A client that does not try again.
fn once() -> ClientOptions {
    ClientOptions { retries_max: 0, ..ClientOptions::default() }
}

#[test]
fn calls_that_run_are_finished() {
    run(async {
        let memory = Memory::slow(Duration::from_millis(500));
        let world = Environment::with(ServerOptions::default(), memory).await;
        let client = world.client_with(once()).await.unwrap();
        let running = client.clone();
        let append = tokio::spawn(async move { running.append(b"body".to_vec()).await });
        until(|| world.memory.appends.load(Ordering::Relaxed) == 1).await;
        let stopped = world.stop();
        append.await.unwrap().unwrap();
        assert_eq!(stopped.await.unwrap().unwrap().cut, 0);
        client.head().await.unwrap_err();
    });
}

#[test]
fn a_session_that_runs_is_finished_and_no_new_one_begins() {
    run(async {
        let world = Environment::new(ServerOptions::default()).await;
        let client = world.client_with(once()).await.unwrap();
        let mut traffic = Traffic::default();
        ask(&client, request(1, hello(0)), &mut traffic).await.unwrap();
        let echoes = std::sync::Arc::clone(&world.echoes);
        echoes.sessions.store(1, Ordering::Relaxed);
        let stopped = world.stop();
        loop {
            match client.head().await {
                Ok(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                Err(error) => {
                    assert_eq!(error.reason(), Some(Reason::Stopping), "{error}");
                    break;
                }
            }
        }
        let refused = ask(&client, request(1, hello(0)), &mut traffic).await.unwrap_err();
        assert_eq!(refused.reason(), Some(Reason::Stopping), "{refused}");
        let finish = Ask::Finish(Finish { set: None });
        client.ask(request(2, finish), &mut traffic).await.unwrap();
        assert!(!stopped.is_finished());
        echoes.sessions.store(0, Ordering::Relaxed);
        assert_eq!(stopped.await.unwrap().unwrap().cut, 0);
    });
}

#[test]
fn what_does_not_end_is_cut() {
    run(async {
        let mut options = ServerOptions::default();
        options.limits.stop_time_max = Duration::from_millis(300);
        let memory = Memory::slow(Duration::from_secs(30));
        let world = Environment::with(options, memory).await;
        let client = world.client_with(once()).await.unwrap();
        let running = client.clone();
        let append = tokio::spawn(async move { running.append(b"body".to_vec()).await });
        until(|| world.memory.appends.load(Ordering::Relaxed) == 1).await;
        let began = Instant::now();
        assert_eq!(world.stop().await.unwrap().unwrap().cut, 1);
        append.await.unwrap().unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    });
}

/// A watch does not keep a server from stopping.
#[test]
fn those_who_watch_are_told() {
    run(async {
        let world = Environment::new(ServerOptions::default()).await;
        world.memory.take(vec![b"body".to_vec()]);
        let client = world.client().await;
        let mut watch = client.watch(Watched::default());
        watch.next().await.unwrap().unwrap();
        let began = Instant::now();
        assert_eq!(world.end().await.cut, 0);
        assert!(began.elapsed() < Duration::from_secs(5));
        assert_eq!(watch.position(), 1);
    });
}
