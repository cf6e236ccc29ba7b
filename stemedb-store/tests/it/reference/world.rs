//! Clock and randomness that repeat: each thread of tests has its own.

#![allow(dead_code, reason = "each test file uses a part")]

use std::cell::Cell;

use stemedb_store::Environment;
use stemedb_store::clock::NTP64;

use super::random::noise;

/// Two calls for the same test give the same things in the same order.
pub(crate) const ENVIRONMENT: Environment = Environment { clock, entropy, sleep: |_| {} };

/// 2025-01-01, in NTP64.
const START: u64 = 1_735_689_600 << 32;

thread_local! {
    static NOW: Cell<u64> = const { Cell::new(START) };
    static DRAWN: Cell<u64> = const { Cell::new(0) };
}

/// Begins anew.
pub(crate) fn reset() {
    NOW.set(START);
    DRAWN.set(0);
}

/// Steps about a millisecond, sometimes back.
fn clock() -> NTP64 {
    let step = 1 << 22;
    let now = NOW.get() + step;
    NOW.set(now);
    NTP64(if (now / step).is_multiple_of(5) { now - 3 * step } else { now })
}

#[expect(clippy::unnecessary_wraps, reason = "as the world has it")]
fn entropy(bytes: &mut [u8]) -> std::io::Result<()> {
    let drawn = DRAWN.get() + 1;
    DRAWN.set(drawn);
    bytes.copy_from_slice(&noise(drawn, bytes.len()));
    Ok(())
}
