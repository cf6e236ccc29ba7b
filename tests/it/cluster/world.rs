//! The clock and the randomness of whichever node has its turn.

use std::cell::Cell;

use stemedb::Environment;
use stemedb_store::clock::NTP64;

use crate::reference::random::noise;

/// Of all nodes of this thread: [`turn`] says whose clock it is.
pub(crate) const ENVIRONMENT: Environment = Environment { clock, entropy, sleep: |_| {} };

thread_local! {
    static NOW: Cell<u64> = const { Cell::new(0) };
    static SEED: Cell<u64> = const { Cell::new(0) };
    static DRAWN: Cell<u64> = const { Cell::new(0) };
}

/// Begins anew.
pub(crate) fn begin(seed: u64) {
    SEED.set(seed);
    DRAWN.set(0);
}

/// A node has its turn, and this is what its clock shows, NTP64.
pub(crate) fn turn(now: u64) {
    NOW.set(now);
}

fn clock() -> NTP64 {
    NTP64(NOW.get())
}

#[expect(clippy::unnecessary_wraps, reason = "as the world has it")]
fn entropy(bytes: &mut [u8]) -> std::io::Result<()> {
    bytes.copy_from_slice(&drawn(bytes.len()));
    Ok(())
}

/// Random bytes that were not drawn before.
pub(crate) fn drawn(len: usize) -> Vec<u8> {
    DRAWN.set(DRAWN.get() + 1);
    noise(SEED.get().rotate_left(32) ^ DRAWN.get(), len)
}
