//! A program that embeds a store and serves it: others append and read from afar while the program
//! itself goes on using the store, without a detour over the network.
//!
//! ```sh
//! cargo run --example embedded_server
//! ```

use std::{error::Error, sync::Arc};

use stemedb::{
    Options, Replicate as _, Store,
    rpc::{Client, ClientOptions, Server, ServerOptions, Which, client::Watched},
    sync::{Keys, Limits},
};
use tokio::sync::oneshot;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let store = Arc::new(Store::open(dir.path(), Options::default())?);
    let own = store.append(b"written by the program that embeds the store")?;

    // Port 0 takes any that is free. On other addresses than this machine's own, give TLS.
    let server = Server::bind(([127, 0, 0, 1], 0).into(), ServerOptions::default()).await?;
    let address = server.address();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn({
        let store = Arc::clone(&store);
        async move {
            let asked = async { drop(stopped.await) };
            store.serve(server, Limits::default(), asked).await
        }
    });
    println!("serving   on {address}");

    let client = Client::connect(&address.into(), ClientOptions::default()).await?;
    let receipt = client.append(b"written from afar".to_vec()).await?;
    println!("appended  {} from afar, durable here", receipt.id);
    assert_eq!(store.get(&receipt.id)?.as_deref(), Some(&b"written from afar"[..]));

    // What comes from afar is checked where it arrives: the body against its id, the proof against
    // the root that the server tells with it.
    let keys = Keys::new(None);
    let found = client.get(&Which::Id(own.id), Some(&keys)).await?;
    let (entry, body) = found.ok_or("the server lost an entry")?;
    println!("got       entry {}, {} bytes, checked", entry.index, body.len());
    let (proof, root) = client.prove(&own.id).await?;
    assert_eq!(root, store.root()?);
    println!("proved    {:?}, by {} hashes", proof.presence(), proof.siblings.len());

    let mut watch = client.watch(Watched { bodies: true, ..Watched::default() });
    store.append(b"one more, while somebody watches")?;
    for _ in 0..3 {
        let (entry, _) = watch.next().await.ok_or("the watch ended")??;
        println!("watched   entry {}, {} bytes", entry.index, entry.len);
    }

    drop((watch, client));
    stop.send(()).map_err(|()| "the server ended by itself")?;
    let ended = serving.await??;
    assert_eq!(ended.cut, 0, "all calls had ended");
    println!("stopped   with {} assertions", store.len());
    // The last one to let go of the store closes it: a connection may take a moment longer.
    Ok(())
}
