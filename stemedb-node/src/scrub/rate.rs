//! How fast the check in the background reads.

use stemedb_rpc::limiter::ByteRate;

/// The most that is read at once, in bytes.
const STEP_LEN_MAX: u64 = 1 << 20;

/// The least, which is what the disk reads in one go anyway.
const STEP_LEN_MIN: u64 = 64 << 10;

/// Bytes a second; no limit for as fast as the disk can.
#[derive(Debug)]
pub(super) struct Rate {
    bytes_per_second: Option<u64>,
    limit: Option<ByteRate>,
}

impl Rate {
    pub(super) fn new(bytes_per_second: Option<u64>) -> Self {
        Self { bytes_per_second, limit: bytes_per_second.map(ByteRate::new) }
    }

    /// Sets the rate from now on.
    pub(super) fn set(&mut self, bytes_per_second: Option<u64>) {
        if self.bytes_per_second != bytes_per_second {
            *self = Self::new(bytes_per_second);
        }
    }

    /// How many bytes to read next.
    pub(super) fn budget(&self) -> u64 {
        self.bytes_per_second
            .map_or(STEP_LEN_MAX, |rate| (rate / 4).clamp(STEP_LEN_MIN, STEP_LEN_MAX))
    }

    /// Waits before the next step, when so much was read.
    pub(super) async fn wait(&self, read: u64) {
        if let Some(limit) = &self.limit {
            limit.spend(read).await;
        }
    }
}
