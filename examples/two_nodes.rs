//! Two stores that took different writes meet, and hold the same after one session; then one of
//! them falls behind and is brought up by the log of the other.
//!
//! ```sh
//! cargo run --example two_nodes
//! ```

use std::{error::Error, future::pending, sync::Arc};

use stemedb::{
    Options, Replicate as _, Store, SyncOptions,
    rpc::{Client, ClientOptions, Server, ServerOptions},
    sync::{
        Direction, Ending, Limits,
        report::{Layer, Report},
    },
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let north = Arc::new(Store::open(dir.path().join("north"), Options::default())?);
    let south = Arc::new(Store::open(dir.path().join("south"), Options::default())?);

    // Much in common, in another order, and some that only one of the two has.
    let common = |n: u32| format!("station {n} reports {} hPa", 950 + n * 31 % 100);
    north.append_batch((0..20_000).map(common))?;
    south.append_batch((0..20_000).rev().map(common))?;
    north.append_batch((0..30).map(|n| format!("north saw ship {n}")))?;
    south.append_batch((0..12).map(|n| format!("south saw ship {n}")))?;
    assert_ne!(north.root()?, south.root()?);

    let server = Server::bind(([127, 0, 0, 1], 0).into(), ServerOptions::default()).await?;
    let address = server.address();
    let serving = tokio::spawn({
        let north = Arc::clone(&north);
        async move { north.serve(server, Limits::default(), pending()).await }
    });
    let client = Client::connect(&address.into(), ClientOptions::default()).await?;

    // First only look: which ids differ. Nothing moves.
    let look = SyncOptions::default().direction(Direction::Neither);
    let report = sync(&south, &client, look).await?;
    let found = report.found.ok_or("a session that only looks says what it found")?;
    println!("south lacks {}, north lacks {}", found.only_theirs.len(), found.only_mine.len());
    assert_eq!((found.only_theirs.len(), found.only_mine.len()), (30, 12));

    let report = sync(&south, &client, SyncOptions::default()).await?;
    tell("they meet", &report);
    assert!(report.equal && report.checked, "both hold the same, checked against both roots");
    assert_eq!((report.fetched, report.pushed), (30, 12));
    assert_eq!(north.root()?, south.root()?);
    println!("root      {} on both", north.root()?);

    // Nothing to do costs one exchange.
    let report = sync(&south, &client, SyncOptions::default()).await?;
    tell("again", &report);
    assert_eq!(report.rounds, 1);

    // A peer that merely fell behind reads what came since, without looking for differences.
    north.append_batch((0..5_000).map(|n| format!("north goes on: {n}")))?;
    let report = sync(&south, &client, SyncOptions::default()).await?;
    tell("fell behind", &report);
    assert!(report.layers.iter().any(|step| step.layer == Layer::Cursor));
    assert_eq!(report.fetched, 5_000);
    assert_eq!(north.root()?, south.root()?);

    serving.abort();
    Ok(())
}

async fn sync(
    store: &Arc<Store>,
    client: &Client,
    options: SyncOptions,
) -> Result<Report, Box<dyn Error>> {
    let synced = store.sync(client, options, pending(), |_| {}).await?;
    match synced.error {
        Some(error) => Err(error.into()),
        None if synced.report.ending == Ending::Complete => Ok(synced.report),
        None => Err(synced.report.ending.to_string().into()),
    }
}

fn tell(when: &str, report: &Report) {
    let layers: Vec<&str> = report.layers.iter().map(|step| step.layer.name()).collect();
    println!(
        "{when:<12} by {}, {} round(s), {} B to find out, {} fetched, {} pushed",
        layers.join(" and "),
        report.rounds,
        report.reconcile_bytes(),
        report.fetched,
        report.pushed
    );
}
