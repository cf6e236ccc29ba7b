//! Two nodes far away from each other hold the same ids but for one: how soon that is noticed, and
//! how soon it is gone.

use std::{path::Path, time::Duration};

use stemedb::{Options as StoreOptions, Store};
use tokio::time::{Instant, sleep};

use crate::{
    options,
    proxy::{End, Link, Proxy, Shape},
    quantiles,
    running::{Failure, Running, in_step, until},
};

/// One difference among many ids, far away.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Ids that both hold.
    #[arg(long, default_value_t = 10_000_000)]
    ids: u64,
    /// How long everything takes one way.
    #[arg(long, default_value_t = 100)]
    delay_ms: u64,
    /// Differences of each kind, one after the other.
    #[arg(long, default_value_t = 15)]
    times: u64,
}

const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn run(arguments: &Arguments, dir: &Path) -> Result<(), Failure> {
    let parent = dir.join(format!("difference-{}", arguments.ids));
    let link = Link::new(Shape {
        delay: Duration::from_millis(arguments.delay_ms),
        bytes_per_second: None,
    });
    let mut nodes: Vec<Running> = Vec::new();
    let mut proxies: Vec<Proxy> = Vec::new();
    for (name, callers) in [("west", End::Right), ("east", End::Left)] {
        let store = filled(&parent.join(name), arguments.ids)?;
        let proxy = Proxy::open(&link, callers).await?;
        let join = proxies.first().map(|first: &Proxy| first.address().into());
        let advertise = Some(proxy.address().into());
        let node =
            Running::start(store, options().advertise(advertise).join(join.into_iter().collect()))
                .await?;
        proxy.lead_to(node.node.address());
        proxies.push(proxy);
        nodes.push(node);
    }
    let [west, east] = nodes.as_slice() else { return Err("two nodes".into()) };
    until("they meet", PATIENCE, || west.alive() == 1 && east.alive() == 1).await?;
    until("one root", PATIENCE, || in_step([west, east])).await?;
    println!("{} ids on either side, {} ms one way", west.store().len(), arguments.delay_ms);

    let salt = west.store().head()?.last_time;
    for (kind, both) in [("one has what the other lacks", false), ("each lacks one", true)] {
        let (mut noticed, mut gone) = (Vec::new(), Vec::new());
        let (bytes, mut moved) = (|| link.bytes_both_ways(), Vec::new());
        for number in 0..arguments.times {
            // Not always at the same moment of anything that comes back.
            sleep(Duration::from_millis(1_500 + number * 137 % 1_000)).await;
            let before = bytes();
            west.store().append(format!("{salt} west {both} {number}").as_bytes())?;
            if both {
                east.store().append(format!("{salt} east {both} {number}").as_bytes())?;
            }
            let began = Instant::now();
            let mut seen = None;
            // What the other one said is what tells this one; with a write of its own it knows that
            // without being told.
            let tells =
                || !both && east.node.status().peers.iter().any(|peer| peer.in_step == Some(false));
            until("one root again", PATIENCE, || {
                if seen.is_none() && tells() {
                    seen = Some(began.elapsed());
                }
                in_step([west, east])
            })
            .await?;
            let took = began.elapsed().as_secs_f64();
            gone.push(took);
            noticed.push(seen.map_or(took, |seen| seen.as_secs_f64()));
            moved.push((bytes() - before) as f64);
        }
        let [least, median, most] = quantiles(&mut gone, [0.0, 0.5, 1.0]);
        println!("{kind}: gone after {median:.3} s ({least:.3} to {most:.3})");
        if !both {
            let [least, median, most] = quantiles(&mut noticed, [0.0, 0.5, 1.0]);
            println!("   noticed after {median:.3} s ({least:.3} to {most:.3})");
        }
        let [least, median, most] = quantiles(&mut moved, [0.0, 0.5, 1.0]);
        println!("   {median:.0} B over the link until then ({least:.0} to {most:.0})");
    }
    for node in nodes {
        node.stop().await?;
    }
    Ok(())
}

/// A store of so many short bodies, made once.
fn filled(dir: &Path, ids: u64) -> Result<Store, Failure> {
    let store = Store::open(dir, StoreOptions::default())?;
    let mut next = store.len();
    while next < ids {
        let end = ids.min(next + 250_000);
        store.append_batch((next..end).map(u64::to_le_bytes))?;
        next = end;
    }
    Ok(store)
}
