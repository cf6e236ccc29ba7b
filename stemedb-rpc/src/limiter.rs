//! Limits of sessions: bytes a second, a share of a processor, and what goes first.

mod byte_rate;

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use stemedb_store::store::lock;
use tokio::time::sleep;

pub use self::byte_rate::ByteRate;

/// The longest single wait, so that a session stays in touch with its peer.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// How long a step of a session may be held for clients' sake, and how often it is looked whether
/// it still has to be.
const HOLD_MAX: Duration = Duration::from_secs(5);
const HOLD_STEP: Duration = Duration::from_millis(50);

/// How long what a peer pushes waits while clients wait too long. Well within the peer's timeout.
const PUSH_HOLD: Duration = Duration::from_millis(500);

/// Holds sessions back, together, so that they leave something to others. The default has no
/// limits.
#[derive(Debug, Default)]
pub struct Limiter {
    rates: Mutex<Arc<Rates>>,
    /// Whether clients wait too long.
    held: AtomicBool,
    /// Whether there is room for so many bytes.
    room: RwLock<Option<Room>>,
}

/// Says whether there is room on the disk for so many bytes.
#[derive(Clone)]
struct Room(Arc<dyn Fn(u64) -> bool + Send + Sync>);

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Room(..)")
    }
}

#[derive(Debug, Default)]
struct Rates {
    bytes: Option<ByteRate>,
    cpu_share: Option<f64>,
}

impl Limiter {
    /// Limits bytes a second, both ways, and the share of a processor, up to 1.
    pub fn set(&self, bytes_per_second: Option<u64>, cpu_share: f64) {
        let bytes = bytes_per_second.map(ByteRate::new);
        let cpu_share = (cpu_share < 1.0).then(|| cpu_share.max(0.01));
        *lock(&self.rates) = Arc::new(Rates { bytes, cpu_share });
    }

    /// Pauses the sessions that run, or resumes them.
    pub fn hold(&self, held: bool) {
        self.held.store(held, Ordering::Relaxed);
    }

    /// Asks for room before each write of bodies of peers, in sessions of both sides. A store that
    /// has none still gives what it has.
    pub fn ask_for_room(&self, has_room: impl Fn(u64) -> bool + Send + Sync + 'static) {
        let room = Some(Room(Arc::new(has_room)));
        *self.room.write().unwrap_or_else(PoisonError::into_inner) = room;
    }

    /// Whether bodies of so many bytes are taken now.
    pub(crate) fn has_room(&self, bytes: u64) -> bool {
        let room = self.room.read().unwrap_or_else(PoisonError::into_inner).clone();
        room.is_none_or(|Room(has_room)| has_room(bytes))
    }

    /// How long the next bodies that a peer pushes are to wait.
    pub(crate) fn push_hold(&self) -> Option<Duration> {
        self.held.load(Ordering::Relaxed).then_some(PUSH_HOLD)
    }

    /// Notes what a session has just spent: bytes, both ways, and time of a processor. Ready when
    /// it may go on.
    pub(crate) async fn spend(&self, bytes: u64, busy: Duration) {
        let rates = Arc::clone(&*lock(&self.rates));
        let mut held = Duration::ZERO;
        while held < HOLD_MAX && self.held.load(Ordering::Relaxed) {
            sleep(HOLD_STEP).await;
            held += HOLD_STEP;
        }
        if let Some(share) = rates.cpu_share {
            let rest = busy.mul_f64(1.0 / share - 1.0);
            sleep(rest.min(WAIT_MAX)).await;
        }
        if let Some(limit) = &rates.bytes {
            limit.spend(bytes).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn sessions_that_run_are_held_too() {
        let limiter = Limiter::default();
        for held in [false, true, false] {
            limiter.hold(held);
            let spent = limiter.spend(1 << 20, Duration::from_secs(1));
            let goes_on = timeout(Duration::from_millis(200), spent).await.is_ok();
            assert_eq!(goes_on, !held, "held: {held}");
        }
    }
}
