//! Which packets of a run have come already.

/// Packets may come out of order by so many.
const WINDOW: u64 = 64;

/// The counters of the packets of a run that were taken.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ReplayWindow {
    /// The highest one, and one bit for each of those before it.
    highest: u64,
    taken: u64,
}

impl ReplayWindow {
    /// Takes a packet, unless it was taken before or is too old for that to be known.
    pub(super) fn take(&mut self, counter: u64) -> bool {
        if counter > self.highest {
            let ahead = counter - self.highest;
            self.taken = if ahead < WINDOW { self.taken << ahead } else { 0 };
            self.highest = counter;
        }
        let behind = self.highest - counter;
        if behind >= WINDOW || self.taken & (1 << behind) != 0 {
            return false;
        }
        self.taken |= 1 << behind;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_packet_is_taken_once_and_old_ones_are_not() {
        let mut window = ReplayWindow::default();
        let order = [5, 3, 4, 1, 2, 70, 8, 7, 69];
        let taken: Vec<bool> = order.iter().map(|counter| window.take(*counter)).collect();
        // 6 and less are too old after 70, whether they came or not.
        assert_eq!(taken, [true, true, true, true, true, true, true, true, true]);
        assert!(order.iter().all(|counter| !window.take(*counter)));
        assert!(!window.take(6), "64 behind the highest");
        assert!(window.take(1_000) && !window.take(936) && window.take(937));
        assert!(window.take(u64::MAX) && !window.take(u64::MAX));
    }
}
