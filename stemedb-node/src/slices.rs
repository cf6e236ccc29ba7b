//! Work of sessions by parts of the ids: compared, and moved.

use stemedb_sync::report::{Report, SLICES};

use super::status::SliceStatus;

/// The parts, by the first four bits of ids.
#[derive(Debug, Default)]
pub(super) struct Slices([Slice; SLICES]);

#[derive(Clone, Copy, Debug, Default)]
struct Slice {
    last_repaired: Option<f64>,
    bytes_compared: u64,
    bytes_transferred: u64,
    sessions: u64,
    mismatches: u64,
}

impl Slices {
    /// Takes in what a session did, which ended at a time.
    pub(super) fn take_in(&mut self, report: &Report, repaired: bool, time: f64) {
        if report.peer.is_none() {
            // It never came to comparing anything.
            return;
        }
        // Roots, symbols and the upper levels of a descent are about all ids alike.
        let compared = report.reconcile_bytes() / SLICES as u64;
        for (slice, moved) in self.0.iter_mut().zip(&report.slices) {
            slice.sessions += 1;
            slice.bytes_compared += compared;
            slice.bytes_transferred += moved.bytes;
            slice.mismatches += u64::from(moved.bodies > 0);
            if repaired {
                slice.last_repaired = Some(time);
            }
        }
    }

    pub(super) fn status(&self) -> Vec<SliceStatus> {
        let status = |(place, slice): (usize, &Slice)| SliceStatus {
            prefix: format!("{place:x}"),
            last_repaired: slice.last_repaired,
            bytes_compared: slice.bytes_compared,
            bytes_transferred: slice.bytes_transferred,
            sessions: slice.sessions,
            mismatches: slice.mismatches,
        };
        self.0.iter().enumerate().map(status).collect()
    }
}
