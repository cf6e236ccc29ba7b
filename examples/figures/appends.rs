//! What a repair costs those who append meanwhile.

use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use stemedb::{
    Options as StoreOptions, Store,
    node::options::SyncPolicy,
    rpc::{Client, ClientOptions},
};
use tokio::time::{Instant, interval, sleep};

use crate::{
    options, quantiles,
    running::{Failure, Running, body, until},
};

/// Appends while a node is repaired, beside appends to an idle one.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Bodies of 256 B that the node lacks.
    #[arg(long, default_value_t = 1_000_000)]
    lacking: u64,
    /// How long appends are watched at most, before the repair and during it.
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// Rounds of everything.
    #[arg(long, default_value_t = 3)]
    rounds: u64,
}

const PATIENCE: Duration = Duration::from_secs(60);
/// How often one of the two appends.
const EVERY: Duration = Duration::from_millis(4);

/// What appends took, in microseconds: those of a client over gRPC, those of the program itself.
#[derive(Debug, Default)]
struct Taken([Mutex<Vec<f64>>; 2]);

impl Taken {
    fn note(&self, who: usize, took: Duration) {
        let mut taken = self.0[who].lock().unwrap_or_else(PoisonError::into_inner);
        taken.push(took.as_secs_f64() * 1e6);
    }

    /// Median and 99th percentile of both, and begins anew.
    fn take(&self) -> [[f64; 2]; 2] {
        self.0.each_ref().map(|taken| {
            let mut taken =
                std::mem::take(&mut *taken.lock().unwrap_or_else(PoisonError::into_inner));
            quantiles(&mut taken, [0.5, 0.99])
        })
    }
}

pub(crate) async fn run(arguments: &Arguments, dir: &Path) -> Result<(), Failure> {
    let made = dir.join(format!("appends-{}", arguments.lacking));
    if !Store::exists(&made)? {
        let store = Store::open(&made, StoreOptions::default())?;
        for first in (0..arguments.lacking).step_by(100_000) {
            let end = arguments.lacking.min(first + 100_000);
            store.append_batch((first..end).map(|number| body("lacking", number, 256)))?;
        }
        store.close()?;
    }
    let policies = [
        ("no limits", SyncPolicy::default()),
        (
            "2 MiB/s, a quarter of a core",
            SyncPolicy::default().bytes_per_second(Some(2 << 20)).cpu_share(0.25),
        ),
        ("paused above 2 ms", SyncPolicy::default().pause_above(Some(Duration::from_millis(2)))),
    ];
    let mut ratios: Vec<[Vec<f64>; 2]> = policies.iter().map(|_| Default::default()).collect();
    for round in 1..=arguments.rounds {
        for ((name, policy), ratios) in policies.iter().zip(&mut ratios) {
            let span = Duration::from_secs(arguments.seconds);
            let (idle, busy, moved) = once(&made, policy, span).await?;
            println!("round {round}, {name}: {moved} bodies came");
            for (who, ratios) in ["gRPC", "embedded"].iter().zip(ratios).zip(idle.iter().zip(&busy))
            {
                let ((who, ratios), (idle, busy)) = (who, ratios);
                ratios.push(busy[1] / idle[1]);
                println!(
                    "   {who}: idle p50 {:.0}, p99 {:.0} µs; meanwhile {:.0}, {:.0} µs: {:.2}",
                    idle[0],
                    idle[1],
                    busy[0],
                    busy[1],
                    busy[1] / idle[1]
                );
            }
        }
    }
    for ((name, _), [grpc, embedded]) in policies.iter().zip(&mut ratios) {
        let [least, median, most] = quantiles(grpc, [0.0, 0.5, 1.0]);
        println!("{name}: gRPC p99 {median:.2} of idle ({least:.2} to {most:.2})");
        let [least, median, most] = quantiles(embedded, [0.0, 0.5, 1.0]);
        println!("{name}: embedded p99 {median:.2} of idle ({least:.2} to {most:.2})");
    }
    Ok(())
}

/// Appends to a node that is alone at first, and then meets one that has much that it lacks.
async fn once(
    made: &Path,
    policy: &SyncPolicy,
    span: Duration,
) -> Result<([[f64; 2]; 2], [[f64; 2]; 2], u64), Failure> {
    let dir = tempfile::tempdir_in(made.parent().ok_or("no directory")?)?;
    let far = dir.path().join("far");
    std::fs::create_dir(&far)?;
    for entry in std::fs::read_dir(made)? {
        let entry = entry?;
        std::fs::copy(entry.path(), far.join(entry.file_name()))?;
    }
    // What the copies left to write is not to be paid for by what is measured.
    let _ = std::process::Command::new("sync").status();
    let options = || options().sync(policy.clone());
    let near = Store::open(dir.path().join("near"), StoreOptions::default())?;
    let near = Running::start(near, options()).await?;
    let (taken, over) = (Arc::new(Taken::default()), Arc::new(AtomicBool::new(false)));
    let appended = appenders(&near, &taken, &over).await?;

    sleep(Duration::from_secs(1)).await;
    taken.take();
    sleep(span).await;
    let idle = taken.take();

    let far = Store::open(&far, StoreOptions::default())?;
    let lacking = far.len();
    let join = vec![near.node.address().into()];
    let far = Running::start(far, options().join(join)).await?;
    // A repair that goes on shows in the count at once; what clients append is small beside it.
    let start = near.store().len();
    until("the repair begins", PATIENCE, || near.store().len() > start + 2_000).await?;
    taken.take();
    let began = Instant::now();
    let before = near.store().len();
    while began.elapsed() < span && near.store().len() < lacking {
        sleep(Duration::from_millis(5)).await;
    }
    let own = (began.elapsed().as_secs_f64() / EVERY.as_secs_f64() * 2.0) as u64;
    let moved = (near.store().len() - before).saturating_sub(own);
    let busy = taken.take();
    over.store(true, Relaxed);
    for task in appended {
        task.await??;
    }
    far.stop().await?;
    near.stop().await?;
    Ok((idle, busy, moved))
}

/// A client over gRPC and the program itself append on.
async fn appenders(
    node: &Running,
    taken: &Arc<Taken>,
    over: &Arc<AtomicBool>,
) -> Result<[tokio::task::JoinHandle<Result<(), Failure>>; 2], Failure> {
    let client = Client::connect(&node.node.address().into(), ClientOptions::default()).await?;
    let (noted, ended) = (Arc::clone(taken), Arc::clone(over));
    let remote = tokio::spawn(async move {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        for number in 0.. {
            if ended.load(Relaxed) {
                break;
            }
            ticks.tick().await;
            let body = body("remote", number, 256);
            let began = Instant::now();
            client.append(body).await?;
            noted.note(0, began.elapsed());
        }
        Ok(())
    });
    let (store, noted, ended) = (Arc::clone(node.store()), Arc::clone(taken), Arc::clone(over));
    let own = tokio::task::spawn_blocking(move || {
        for number in 0.. {
            if ended.load(Relaxed) {
                break;
            }
            std::thread::sleep(EVERY);
            let body = body("own", number, 256);
            let began = Instant::now();
            store.append(&body)?;
            noted.note(1, began.elapsed());
        }
        Ok(())
    });
    Ok([remote, own])
}
