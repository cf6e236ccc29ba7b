//! The loop: it lets the cluster go on whenever there is something for it.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use stemedb_store::clock::ClockReport;
use stemedb_store::store::uptime;
use tokio::{
    task::{AbortHandle, JoinSet, spawn_blocking},
    time::sleep,
};
use tracing::{error, info, warn};

use super::{NodeError, Shared, session::DuplicateNodeId, status::unix_seconds};
use stemedb_store::store::lock;

/// How often it looks at what nobody tells it: the disk, the writer, the clock.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A node that has run for longer does not end because of another one with its id: that one is told
/// of, and ends by itself when it learns of this one.
const DUPLICATE_TIME_MAX: Duration = Duration::from_secs(300);
/// The least time between two looks at what the store holds, while it grows.
const HEAD_EVERY: Duration = Duration::from_millis(50);

/// Lets the cluster go on whenever there is something for it. Ends only when the node must.
pub(super) async fn drive(shared: &Arc<Shared>) -> NodeError {
    let mut grown = shared.store.growth();
    let mut looked: Option<Duration> = None;
    let mut looking: Option<AbortHandle> = None;
    let mut announcing = JoinSet::new();
    let mut has_grown = false;
    loop {
        let now = uptime();
        if looked.is_none_or(|looked| now.saturating_sub(looked) >= LOOK_EVERY) {
            looked = Some(now);
            if looking.as_ref().is_none_or(AbortHandle::is_finished) {
                let looks = Arc::clone(shared);
                looking = shared.spawn(async move {
                    // A panic has told of itself.
                    let _ = spawn_blocking(move || look(&looks)).await;
                });
            }
            has_grown = true;
        }
        while announcing.try_join_next().is_some() {}
        if announcing.is_empty() && std::mem::take(&mut has_grown) {
            let shared = Arc::clone(shared);
            announcing.spawn(async move { shared.announce_head().await });
        }
        let outputs: Vec<_> = {
            let mut cluster = lock(&shared.cluster);
            cluster.pause(lock(&shared.pauses).reason().is_some());
            cluster.tick(now);
            std::iter::from_fn(|| cluster.output()).collect()
        };
        for output in outputs {
            shared.carry_out(output);
        }
        if let Some(address) = lock(&shared.sessions).refused_by.take() {
            if now.saturating_sub(shared.began) < DUPLICATE_TIME_MAX {
                return NodeError::DuplicateNodeId { address };
            }
            error!(peer = address, "another process has this node's id: one of the two is a copy");
            lock(&shared.sessions).duplicate = Some(DuplicateNodeId { address, reported: now });
        }
        let due = lock(&shared.cluster).due();
        let wait = due.map_or(LOOK_EVERY, |due| due.saturating_sub(now)).min(LOOK_EVERY);
        tokio::select! {
            () = sleep(wait) => {}
            () = shared.wake.notified() => {}
            // The cluster may have something to do now.
            Some(_) = announcing.join_next(), if !announcing.is_empty() => {}
            grown = grown.changed() => {
                if grown.is_err() {
                    // The store is closed under the node: nothing is to be told any more.
                    sleep(LOOK_EVERY).await;
                }
                has_grown = true;
                sleep(HEAD_EVERY).await;
            }
        }
    }
}

/// Looks at disk, writer and clock. May wait for the writer.
fn look(shared: &Arc<Shared>) {
    let options = shared.options();
    shared.disk_space.look(options.disk_reserve);
    if let Some(failure) = shared.store.failure()
        && !shared.writer_failed.swap(true, Ordering::Relaxed)
    {
        error!(%failure, "nothing can be appended until the node is restarted");
    }
    let clock = shared.store.clock_report();
    let wrong = matches!(clock, ClockReport::NotTaken);
    if wrong != shared.clock_wrong.swap(wrong, Ordering::Relaxed) {
        if wrong {
            error!("{clock}");
        } else {
            info!("the clock's readings are taken again");
        }
    }
    let seconds = u64::from(shared.store.clock_time().unix().0);
    lock(&shared.certificates).warn(unix_seconds(shared.store.clock_time()), uptime());
    remember_members(shared);
    let mut pauses = lock(&shared.pauses);
    let before = pauses.reason();
    pauses.set_window(&options.sync.windows, seconds);
    pauses.set_disk(shared.disk_space.is_low());
    pauses.set_latency(shared.meter.append_p99(), options.sync.pause_above);
    let after = pauses.reason();
    shared.limiter.hold(pauses.is_for_clients());
    drop(pauses);
    if before != after {
        if let Some(reason) = after {
            info!(%reason, "sync pauses");
        } else {
            info!("sync goes on");
        }
        shared.wake.notify_one();
    }
}

/// Writes down whom this node has met, if that is new.
fn remember_members(shared: &Shared) {
    let now = uptime();
    let mut members = lock(&shared.members);
    let revision = lock(&shared.cluster).known_revision();
    if !members.is_due(revision, now) {
        return;
    }
    let known = lock(&shared.cluster).known_members();
    members.note(known, revision, now);
    if let Err(error) = members.save(shared.store.disk()) {
        warn!(%error, "members cannot be written down: after a restart of all of them this node \
             finds those only that it is told to join");
    }
}
