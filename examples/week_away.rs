//! A node is lost, and comes back from a backup that is a week old: one sync brings what it missed.
//!
//! ```sh
//! cargo run --release --example week_away -- --writes 20000
//! ```
//!
//! A week of writes is as many as `--writes` says; the store had ten times as many before.
#![expect(clippy::disallowed_methods, reason = "it says how long things take")]

use std::{error::Error, future::pending, sync::Arc, time::Instant};

use stemedb::{
    Options, Replicate as _, Store, SyncOptions,
    rpc::{Client, ClientOptions, Server, ServerOptions},
    sync::{Ending, Limits},
};

/// How many times as many writes as in the week there were before it.
const HISTORY: u64 = 10;

fn order(n: u64) -> String {
    // Signed, and signatures don't compress.
    let signature = [0, 1, 2]
        .map(|part| 3 * n + part)
        .map(|n| blake3::hash(&n.to_le_bytes()).to_hex().to_string());
    format!(
        "order {n}: {} pieces of article {}, {}",
        n % 17 + 1,
        n * 31 % 9_973,
        signature.concat()
    )
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let writes = writes()?;
    let dir = tempfile::tempdir()?;
    let [north, backup, back, fresh] =
        ["north", "backup", "back", "fresh"].map(|name| dir.path().join(name));
    let options = || Options::default().segment_len(4 << 20);
    let north = Arc::new(Store::open(&north, options())?);
    let append = |range: std::ops::Range<u64>| -> Result<(), Box<dyn Error>> {
        for first in range.clone().step_by(1_000) {
            north.append_batch((first..(first + 1_000).min(range.end)).map(order))?;
        }
        Ok(())
    };
    append(0..HISTORY * writes)?;

    let begin = Instant::now();
    let report = north.backup(&backup, &mut |_| {})?;
    println!(
        "backup    {} assertions in {} ms: {} B linked, {} B copied",
        report.head.count,
        begin.elapsed().as_millis(),
        report.bytes_linked,
        report.bytes_copied
    );
    append(HISTORY * writes..(HISTORY + 1) * writes)?;
    println!("a week    {writes} more assertions");

    let begin = Instant::now();
    let head = stemedb::restore(&backup, &back, &report.head.set_root, options(), &mut |_| {})?;
    println!(
        "restored  {} assertions, all checked, in {} ms",
        head.count,
        begin.elapsed().as_millis()
    );

    let server = Server::bind(([127, 0, 0, 1], 0).into(), ServerOptions::default()).await?;
    let address = server.address();
    let serving = tokio::spawn({
        let north = Arc::clone(&north);
        async move { north.serve(server, Limits::default(), pending()).await }
    });
    let client = Client::connect(&address.into(), ClientOptions::default()).await?;

    let back = Arc::new(Store::open(&back, options())?);
    let (bytes, millis) = catch_up("caught up", &back, &client).await?;
    // What it takes without a backup.
    let fresh = Arc::new(Store::open(&fresh, options())?);
    let (all, all_millis) = catch_up("full copy", &fresh, &client).await?;
    if back.root()? != north.root()? || fresh.root()? != north.root()? {
        return Err("not all hold the same".into());
    }
    let percent = |part: u64, whole: u64| part * 100 / whole.max(1);
    println!(
        "so        {} % of the bytes and {} % of the time of a full copy; root {}",
        percent(bytes, all),
        percent(millis, all_millis),
        back.root()?
    );
    if bytes * 4 > all {
        return Err("a backup that is a week old must save most of the bytes".into());
    }
    serving.abort();
    Ok(())
}

/// One sync. Returns the bytes that were moved and the milliseconds that it took.
async fn catch_up(
    what: &str,
    store: &Arc<Store>,
    client: &Client,
) -> Result<(u64, u64), Box<dyn Error>> {
    let begin = Instant::now();
    let synced = store.sync(client, SyncOptions::default(), pending(), |_| {}).await?;
    let millis = u64::try_from(begin.elapsed().as_millis())?;
    let report = synced.report;
    if report.ending != Ending::Complete || !report.equal {
        return Err(format!("the sync ended otherwise: {}", report.ending).into());
    }
    let bytes = report.bytes_sent() + report.bytes_received();
    let layers: Vec<&str> = report.layers.iter().map(|step| step.layer.name()).collect();
    println!(
        "{what} {} fetched by {}: {bytes} B in {millis} ms",
        report.fetched,
        layers.join(" and ")
    );
    Ok((bytes, millis))
}

/// How many writes a week has: `--writes N`.
fn writes() -> Result<u64, Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next()) {
        (None, _) => Ok(2_000),
        (Some("--writes"), Some(count)) => Ok(count.parse()?),
        _ => Err("usage: week_away [--writes N]".into()),
    }
}
