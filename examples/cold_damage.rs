//! A disk damages assertions that nobody reads. The check in the background finds them, and heals
//! them with what a peer has.
//!
//! ```sh
//! cargo run --release --example cold_damage -- --entries 20000
//! ```
#![expect(clippy::disallowed_methods, reason = "it says how long things take")]

use std::{
    error::Error,
    future::pending,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use stemedb::{
    AssertionId, Depth, Options, Replicate as _, Store, SyncOptions,
    node::{
        options::ScrubPolicy,
        scrub::{self, Donor, View},
    },
    rpc::{Client, ClientOptions, Server, ServerOptions, Which},
    sync::Limits,
};
use tokio::sync::{oneshot, watch};

/// So many assertions are damaged, all in the log's cold front.
const DAMAGED: u64 = 5;

struct Peer(Client);

impl Donor for Peer {
    async fn body(&self, id: &AssertionId) -> Option<Vec<u8>> {
        self.0.get(&Which::Id(*id), None).await.ok().flatten().map(|(_, body)| body)
    }
}

fn reading(n: u64) -> String {
    format!("sensor {} reads {} at {n}", n % 97, n * 7_919 % 1_000)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let entries = entries()?;
    let dir = tempfile::tempdir()?;
    let options = || Options::default().segment_len(1 << 20);
    let north = Arc::new(Store::open(dir.path().join("north"), options())?);
    let south = Arc::new(Store::open(dir.path().join("south"), options())?);
    for first in (0..entries).step_by(1_000) {
        north.append_batch((first..(first + 1_000).min(entries)).map(reading))?;
    }
    let server = Server::bind(([127, 0, 0, 1], 0).into(), ServerOptions::default()).await?;
    let address = server.address();
    let serving = tokio::spawn({
        let north = Arc::clone(&north);
        async move { north.serve(server, Limits::default(), pending()).await }
    });
    let client = Client::connect(&address.into(), ClientOptions::default()).await?;
    south.sync(&client, SyncOptions::default(), pending(), |_| {}).await?;
    if north.root()? != south.root()? {
        return Err("the two are not in step".into());
    }
    println!("in step   {entries} assertions, root {}", south.root()?);

    for n in 0..DAMAGED {
        damage(&dir.path().join("south"), &reading(n * entries / DAMAGED / 2))?;
    }
    if north.root()? != south.root()? {
        return Err("a root is over ids, and damage to bodies does not change it".into());
    }
    println!("damaged   {DAMAGED} bodies of the south, with both roots still equal");

    let view = View::default();
    let policy =
        ScrubPolicy::default().bytes_per_second(64 << 20).interval(Duration::from_secs(3600));
    let (_policy, told) = watch::channel(Some(policy));
    let (stop, stopped) = oneshot::channel::<()>();
    let begin = Instant::now();
    let scrubbing = tokio::spawn({
        let (south, view, donor) = (Arc::clone(&south), view.clone(), Peer(client));
        async move { scrub::run(south, told, donor, view, async { drop(stopped.await) }).await }
    });
    while view.status().last_pass.is_none() {
        if begin.elapsed() > Duration::from_secs(300) {
            return Err("the check did not come to an end".into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(stop);
    scrubbing.await?;
    let (took, status) = (begin.elapsed(), view.status());
    for found in view.findings() {
        println!("healed    entry {} at position {}", found.index, found.position);
    }
    println!(
        "checked   {} bytes in {} ms: {} damaged, {} healed",
        view.bytes_read(),
        took.as_millis(),
        status.damaged,
        status.healed
    );
    if (status.damaged, status.healed, view.unhealed()) != (DAMAGED, DAMAGED, 0) {
        return Err("not all that was damaged was found and healed".into());
    }
    for n in 0..entries {
        let id = AssertionId(blake3::hash(reading(n).as_bytes()).into());
        if south.get(&id)?.as_deref() != Some(reading(n).as_bytes()) {
            return Err(format!("assertion {n} is not what it was").into());
        }
    }
    let report = south.check(Depth::Deep, &mut |_| {})?;
    if let Some(fault) = report.faults.first() {
        return Err(fault.to_string().into());
    }
    println!("whole     {} entries, every byte as it was written", report.entries);
    serving.abort();
    Ok(())
}

/// Changes a byte of a body where it lies on the disk.
fn damage(store: &Path, body: &str) -> Result<(), Box<dyn Error>> {
    for entry in std::fs::read_dir(store)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "log") {
            continue;
        }
        let mut bytes = std::fs::read(&path)?;
        let place = bytes.windows(body.len()).position(|window| window == body.as_bytes());
        if let Some(byte) = place.and_then(|at| bytes.get_mut(at)) {
            *byte ^= 1;
            // The same file: the store has it open.
            let file = std::fs::OpenOptions::new().write(true).open(&path)?;
            std::os::unix::fs::FileExt::write_all_at(&file, &bytes, 0)?;
            return Ok(());
        }
    }
    Err(format!("{body:?} is nowhere on the disk").into())
}

/// How many assertions there are to be: `--entries N`.
fn entries() -> Result<u64, Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next()) {
        (None, _) => Ok(20_000),
        (Some("--entries"), Some(count)) => Ok(count.parse()?),
        _ => Err("usage: cold_damage [--entries N]".into()),
    }
}
