//! A program with a store of its own that is a node as well: another node joins it, and what either
//! writes is soon at both. The program goes on using its store as if it were alone.
//!
//! ```sh
//! cargo run --example node_embedded
//! ```

use std::{error::Error, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use stemedb::{
    Store,
    node::{Node, Options},
    rpc::PeerAddress,
};
use tokio::{sync::oneshot, time::sleep};

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let first = start(&dir.path().join("first"), None).await?;
    let second = start(&dir.path().join("second"), Some(first.address().into())).await?;

    // To run until Ctrl-C, give `run` what ends with it. Here it is the end of this program.
    let (stop, stopped) = oneshot::channel::<()>();
    let (stop_other, stopped_other) = oneshot::channel::<()>();
    let running = first.clone();
    let one = tokio::spawn(async move { running.run(async { drop(stopped.await) }).await });
    let running = second.clone();
    let other = tokio::spawn(async move { running.run(async { drop(stopped_other.await) }).await });

    // The store is used as ever: no detour over the network, and nothing waits for the others.
    let receipt = first.store().append(b"written by the program of the first")?;
    second.store().append(b"written by the program of the second")?;
    while first.store().len() < 2 || second.store().len() < 2 {
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(first.store().root()?, second.store().root()?);
    let body = second.store().get(&receipt.id)?.ok_or("the first one's is not at the second")?;
    println!("at the second: {}", String::from_utf8_lossy(&body));

    // What an operator sees: `stemedb status` prints the same.
    for peer in second.status().peers {
        println!("its peer:      {} is {}", peer.address, peer.state);
    }

    // Each says good-bye, finishes what runs, and ends.
    for (stop, ended) in [(stop, one), (stop_other, other)] {
        stop.send(()).map_err(|()| "a node has ended by itself")?;
        assert_eq!(ended.await??.cut, 0);
    }
    Ok(())
}

/// A node on a port that is free, which asks another for all the others.
async fn start(dir: &Path, join: Option<PeerAddress>) -> Result<Node, Failure> {
    let store = Arc::new(Store::open(dir, stemedb::Options::default())?);
    let options = Options::default()
        .listen(SocketAddr::from(([127, 0, 0, 1], 0)))
        // No console and no metrics here.
        .http(None)
        .join(join.into_iter().collect());
    Ok(Node::start(store, options).await?)
}
