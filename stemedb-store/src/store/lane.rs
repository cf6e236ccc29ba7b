//! The lane for bodies that come from peers: whoever uses the store itself goes first.
//!
//! The writer commits together what waits together, so that an append waits for all bodies that are
//! in the queue with it. Bodies of peers come by the thousand. They are appended a share at a time:
//! large ones beside each other as long as nobody else appends, else small ones, one after the
//! other.

use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU64, Ordering},
};

use super::lock;

/// The most bytes of a share, or one body, while nobody else appends.
const SHARE_LEN_MAX: usize = 1 << 20;

/// The most bodies of a share while somebody else appends: they take as long as a sync, about.
const SHARE_WITH_OTHERS: usize = 32;

/// So many shares stay small after an append by somebody else.
const PATIENCE: u32 = 64;

/// Who appends when.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// Calls that append what does not come from peers.
    own: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The calls when the last share was taken.
    seen: u64,
    /// How many shares are still to be small.
    small: u32,
}

/// The turn of a share. The next one waits until it is given back.
#[derive(Debug)]
pub(super) struct Turn<'a>(MutexGuard<'a, State>);

impl Lane {
    /// Somebody appends what does not come from a peer.
    pub(super) fn note_own(&self) {
        // A hint, which orders nothing.
        self.own.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits for a turn.
    pub(super) fn turn(&self) -> Turn<'_> {
        let mut state = lock(&self.state);
        let own = self.own.load(Ordering::Relaxed);
        state.small = if own == state.seen { state.small.saturating_sub(1) } else { PATIENCE };
        state.seen = own;
        Turn(state)
    }
}

impl Turn<'_> {
    /// Whether somebody else appends.
    pub(super) fn is_small(&self) -> bool {
        self.0.small > 0
    }

    /// How many of some bodies may be appended now: one at least.
    pub(super) fn share(&self, bodies: &[Vec<u8>]) -> usize {
        let most = if self.is_small() { SHARE_WITH_OTHERS } else { bodies.len() };
        let mut len = 0_usize;
        let fits = |body: &&Vec<u8>| {
            len = len.saturating_add(body.len());
            len <= SHARE_LEN_MAX
        };
        bodies.iter().take(most).take_while(fits).count().max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_small_while_others_append() {
        let lane = Lane::default();
        let bodies = vec![vec![0; 256]; 10_000];
        assert_eq!(lane.turn().share(&bodies), SHARE_LEN_MAX / 256);
        lane.note_own();
        for _ in 0..PATIENCE {
            assert_eq!(lane.turn().share(&bodies), SHARE_WITH_OTHERS);
        }
        assert_eq!(lane.turn().share(&bodies), SHARE_LEN_MAX / 256);
        assert_eq!(lane.turn().share(&[vec![0; 2 << 20], Vec::new()]), 1);
        assert_eq!(lane.turn().share(&bodies[..3]), 3);
    }
}
