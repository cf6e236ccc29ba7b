//! The archive of a node: what is sealed is sent, again and again until the node stops.

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use stemedb_archive::{Archive, ArchiveError, Dropped, PushOptions, Pushed};
use stemedb_store::{Store, error::with_causes};
use tokio::time::sleep;

use super::{options::ArchivePolicy, status::ArchiveStatus};

/// Longest pause after failures, if the interval is not longer.
const PAUSE_MAX: Duration = Duration::from_secs(15 * 60);

/// Sends what is sealed to the archive that a policy names, now and then at its interval, until
/// `stop` is ready. After failures the pauses grow to a quarter of an hour; what was sent stays.
///
/// `observer` hears of each attempt. Segments are dropped by the policy if the store was opened
/// with [`segment_source`](stemedb_archive::segment_source).
pub async fn run(
    store: Arc<Store>,
    policy: ArchivePolicy,
    observer: impl Fn(ArchiveStatus) + Send + 'static,
    stop: impl Future<Output = ()>,
) {
    let mut stop = pin!(stop);
    let mut status = ArchiveStatus {
        url: policy.url.clone(),
        log_size: 0,
        last_sent: None,
        dropped_segments: 0,
        error: None,
    };
    if policy.keep_segments.is_some() && !store.reads_dropped() {
        tracing::warn!("no segment is dropped: the store was opened without the archive");
    }
    let growing = ExponentialBuilder::new()
        .with_min_delay(policy.interval)
        .with_max_delay(PAUSE_MAX.max(policy.interval))
        .with_jitter()
        .without_max_times();
    let mut backoff = growing.build();
    let mut sent = None;
    loop {
        let mut pause = policy.interval;
        // Nothing is asked of the network when there is nothing to say: a segment that was sealed,
        // or a restart checkpoint that covers more of what can be dropped.
        let now = (store.sealed_segments().len(), store.checkpoint_log_size());
        if sent != Some(now) {
            let pushed = tokio::select! {
                pushed = push(&store, &policy) => pushed,
                () = stop.as_mut() => return,
            };
            match pushed {
                Ok(pushed) => {
                    sent = Some(now);
                    backoff = growing.build();
                    note(&mut status, &pushed);
                }
                Err(error) => {
                    pause = backoff.next().unwrap_or(PAUSE_MAX);
                    let text = with_causes(&error);
                    let seconds = pause.as_secs();
                    tracing::warn!(error = %text, seconds, "cannot archive; retrying");
                    status.error = Some(text);
                }
            }
        }
        status.dropped_segments = store.dropped_segments().map_or(0, |names| names.len() as u64);
        observer(status.clone());
        tokio::select! {
            () = sleep(pause) => {}
            () = stop.as_mut() => return,
        }
    }
}

fn note(status: &mut ArchiveStatus, pushed: &Pushed) {
    let Pushed { segments, bytes, head, .. } = *pushed;
    status.log_size = head.log_size.get();
    status.last_sent = pushed.time.map(seconds);
    status.error = None;
    if bytes > 0 {
        tracing::info!(segments, bytes, log_size = head.log_size.get(), "archived");
    }
}

async fn push(store: &Arc<Store>, policy: &ArchivePolicy) -> Result<Pushed, ArchiveError> {
    let archive = Archive::create(&policy.url)?;
    let pushed = archive.push(store, PushOptions::default(), |_| {}).await?;
    if let Some(keep) = policy.keep_segments.filter(|_| store.reads_dropped()) {
        let Dropped { segments, bytes, .. } = archive.drop_archived(store, keep).await?;
        if segments > 0 {
            tracing::info!(segments, bytes, "dropped what is archived");
        }
    }
    Ok(pushed)
}

#[expect(clippy::cast_precision_loss, reason = "seconds since 1970 have 31 bits")]
fn seconds(time: u64) -> f64 {
    time as f64
}
