//! How a server stops.

use std::{sync::Arc, time::Duration};

use stemedb_rpc::{
    ClientOptions, Reason, ServerOptions,
    client::{Traffic, Watched},
};
use stemedb_sync::message::{Ask, Finish};

use super::{
    sessions::{Opened, ask, hello},
    stores::TestStore,
    world::{Environment, run, until},
};

/// A client that does not try again.
fn once() -> ClientOptions {
    ClientOptions::default().retries_max(0)
}

#[test]
fn calls_that_run_are_finished() {
    run(async {
        let store = TestStore::slow(Duration::from_millis(500));
        let world = Environment::with(ServerOptions::default(), store).await;
        let client = world.client_with(once()).await.unwrap();
        let running = client.clone();
        let append = tokio::spawn(async move { running.append(b"body".to_vec()).await });
        until(|| world.store.syncs() > 0).await;
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
        let keys = world.store.keys();
        let mut session = Opened::new(&client, &keys, 1).await;
        assert_eq!(world.sessions(), 1);
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
        let refused = ask(&client, hello(&keys, 2, 0), &mut traffic).await.unwrap_err();
        assert_eq!(refused.reason(), Some(Reason::Stopping), "{refused}");
        assert!(!stopped.is_finished());
        let finish = session.request(Ask::Finish(Finish { set: None, now: None }));
        client.ask(finish, &mut traffic).await.unwrap();
        assert_eq!(stopped.await.unwrap().unwrap().cut, 0);
    });
}

#[test]
fn what_does_not_end_is_cut() {
    run(async {
        let mut options = ServerOptions::default();
        options.limits.stop_time_max = Duration::from_millis(300);
        let store = TestStore::slow(Duration::from_secs(30));
        let world = Environment::with(options, Arc::clone(&store)).await;
        let client = world.client_with(once()).await.unwrap();
        let running = client.clone();
        let append = tokio::spawn(async move { running.append(b"body".to_vec()).await });
        until(|| world.store.syncs() > 0).await;
        assert_eq!(world.stop().await.unwrap().unwrap().cut, 1);
        append.await.unwrap().unwrap_err();
        store.release();
    });
}

/// A watch does not keep a server from stopping.
#[test]
fn watches_end_with_unavailable_when_the_server_stops() {
    run(async {
        let world = Environment::new(ServerOptions::default()).await;
        world.store.take(vec![b"body".to_vec()]);
        let client = world.client().await;
        let mut watch = client.watch(Watched::default());
        watch.next().await.unwrap().unwrap();
        assert_eq!(world.end().await.cut, 0);
        assert_eq!(watch.position(), 1);
    });
}
