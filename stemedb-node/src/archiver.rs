//! The archive of a node: what is sealed is sent, again and again until the node stops.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use tokio::time::sleep;

use stemedb_archive::{Archive, ArchiveError, Dropped, PushOptions, Pushed};
use stemedb_store::Store;

use super::{options::ArchivePolicy, status::ArchiveStatus};

/// However often sending fails, it is tried again after this long, or the interval if that is
/// longer.
const PAUSE_MAX: Duration = Duration::from_secs(15 * 60);

/// Sends what is sealed to the archive that a policy names, now and then at its interval, until
/// `stop` is ready. After a failure the pauses grow to a quarter of an hour; what was sent stays.
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
    let (mut sent, mut failures) = (None, 0);
    loop {
        // Nothing is asked of the network when there is nothing to say: a segment that was sealed,
        // or a restart checkpoint that covers more of what can be dropped.
        let now = (store.sealed_segments().len(), store.checkpoint_log_size());
        if sent != Some(now) {
            let Some(pushed) = before(push(&store, &policy), stop.as_mut()).await else {
                return;
            };
            match pushed {
                Ok(pushed) => {
                    (sent, failures) = (Some(now), 0);
                    note(&mut status, &pushed);
                }
                Err(error) => {
                    failures += 1;
                    let text = describe(&error);
                    tracing::warn!(failures, error = %text, "cannot archive; it is tried again");
                    status.error = Some(text);
                }
            }
        }
        status.dropped_segments = store.dropped_segments().map_or(0, |names| names.len() as u64);
        observer(status.clone());
        let pause = pause(policy.interval, failures);
        if before(sleep(pause), stop.as_mut()).await.is_none() {
            return;
        }
    }
}

fn note(status: &mut ArchiveStatus, pushed: &Pushed) {
    let Pushed { segments, bytes, head, .. } = *pushed;
    status.log_size = head.log_size;
    status.last_sent = pushed.time.map(seconds);
    status.error = None;
    if bytes > 0 {
        tracing::info!(segments, bytes, log_size = head.log_size, "archived");
    }
}

async fn push(store: &Arc<Store>, policy: &ArchivePolicy) -> Result<Pushed, ArchiveError> {
    let archive = Archive::create(&policy.url)?;
    let pushed = archive.push(store, PushOptions::default(), |_| {}).await?;
    if let Some(keep) = policy.keep_segments.filter(|_| store.reads_dropped()) {
        let Dropped { segments, bytes } = archive.drop_archived(store, keep).await?;
        if segments > 0 {
            tracing::info!(segments, bytes, "dropped what is archived");
        }
    }
    Ok(pushed)
}

/// The interval, twice as long after each failure.
fn pause(interval: Duration, failures: u32) -> Duration {
    let factor = 1_u32.checked_shl(failures).unwrap_or(u32::MAX);
    interval.saturating_mul(factor).min(PAUSE_MAX.max(interval))
}

#[expect(clippy::cast_precision_loss, reason = "seconds since 1970 have 31 bits")]
fn seconds(time: u64) -> f64 {
    time as f64
}

/// An error and its causes.
fn describe(error: &ArchiveError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Result of the work, unless `stop` is ready first.
async fn before<T>(
    work: impl Future<Output = T>,
    mut stop: Pin<&mut impl Future<Output = ()>>,
) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|context| {
        if stop.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        work.as_mut().poll(context).map(Some)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end() {
        let minute = Duration::from_secs(60);
        assert_eq!(pause(minute, 0), minute);
        assert_eq!(pause(minute, 1), 2 * minute);
        assert_eq!(pause(minute, 40), PAUSE_MAX);
        assert_eq!(pause(2 * PAUSE_MAX, 3), 2 * PAUSE_MAX);
    }
}
