//! Limits of sessions: bytes a second, and a share of a processor.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use stemedb_rpc::sync::{Pace, Waiting};
use tokio::time::sleep;

use super::{byte_rate::ByteRate, options::SyncPolicy};
use stemedb_store::store::lock;

/// The longest single wait, so that a session stays in touch with its peer.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// How long a step of a session may be held for clients' sake, and how often it is looked whether
/// it still has to be.
const HOLD_MAX: Duration = Duration::from_secs(5);
const HOLD_STEP: Duration = Duration::from_millis(50);

/// Holds all sessions of a node back, together.
#[derive(Debug)]
pub(super) struct Limiter {
    limits: Mutex<Arc<Limits>>,
    /// Whether clients wait too long.
    held: AtomicBool,
}

#[derive(Debug)]
struct Limits {
    bytes: Option<ByteRate>,
    cpu_share: f64,
}

impl Limiter {
    pub(super) fn new(policy: &SyncPolicy) -> Self {
        Self { limits: Mutex::new(Arc::new(limits(policy))), held: AtomicBool::new(false) }
    }

    pub(super) fn set(&self, policy: &SyncPolicy) {
        *lock(&self.limits) = Arc::new(limits(policy));
    }

    /// Whether clients wait too long.
    pub(super) fn is_held(&self) -> bool {
        self.held.load(Ordering::Relaxed)
    }

    /// Holds the sessions that run, or lets go of them.
    pub(super) fn hold(&self, held: bool) {
        self.held.store(held, Ordering::Relaxed);
    }
}

fn limits(policy: &SyncPolicy) -> Limits {
    let bytes = policy.bytes_per_second.map(ByteRate::new);
    Limits { bytes, cpu_share: policy.cpu_share.clamp(0.01, 1.0) }
}

impl Pace for Limiter {
    fn spend(&self, bytes: u64, busy: Duration) -> Waiting<'_> {
        let limits = Arc::clone(&*lock(&self.limits));
        Box::pin(async move {
            let mut held = Duration::ZERO;
            while held < HOLD_MAX && self.is_held() {
                sleep(HOLD_STEP).await;
                held += HOLD_STEP;
            }
            if limits.cpu_share < 1.0 {
                let rest = busy.mul_f64(1.0 / limits.cpu_share - 1.0);
                sleep(rest.min(WAIT_MAX)).await;
            }
            if let Some(limit) = &limits.bytes {
                limit.spend(bytes).await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn sessions_that_run_are_held_too() {
        let limiter = Limiter::new(&SyncPolicy::default());
        for held in [false, true, false] {
            limiter.hold(held);
            let spent = limiter.spend(1 << 20, Duration::from_secs(1));
            let goes_on = timeout(Duration::from_millis(200), spent).await.is_ok();
            assert_eq!(goes_on, !held, "held: {held}");
        }
    }
}
