//! Rate of warnings: each at once, and ever less often while its cause lasts.

use std::{collections::BTreeMap, time::Duration};

/// The pause after the first warning, which doubles with each.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// A cause that was not seen for so long is new again.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(10 * 60);
/// Addresses and causes that have a rate of their own. All others share one.
const ENTRIES_MAX: usize = 64;

/// Rates of warnings by address and cause: the first at once, the next after a second, then after
/// twice the time, up to one a minute.
#[derive(Debug, Default)]
pub struct WarningRate {
    entries: BTreeMap<(String, &'static str), Entry>,
    /// Of those beyond [`ENTRIES_MAX`]: anybody can come from many addresses.
    others: Option<Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    pause: Duration,
    next: Duration,
    seen: Duration,
    left_out: u64,
}

impl WarningRate {
    /// Notes an event. If it is time for a warning, gives how many events had none since the last
    /// one.
    pub fn note(&mut self, address: &str, cause: &'static str, now: Duration) -> Option<u64> {
        let key = (address.to_owned(), cause);
        if self.entries.len() >= ENTRIES_MAX && !self.entries.contains_key(&key) {
            self.entries.retain(|_, entry| !entry.is_forgotten(now));
        }
        if self.entries.len() < ENTRIES_MAX || self.entries.contains_key(&key) {
            let fresh = Entry::new(now);
            let entry = self.entries.entry(key).or_insert(fresh);
            return entry.note(now);
        }
        self.others.get_or_insert_with(|| Entry::new(now)).note(now)
    }

    /// Forgets an address, so that whatever comes next is new: it is well now. Whether anything was
    /// known of it.
    pub fn forget(&mut self, address: &str) -> bool {
        let before = self.entries.len();
        self.entries.retain(|(known, _), _| known != address);
        self.entries.len() < before
    }
}

impl Entry {
    fn new(now: Duration) -> Self {
        Self { pause: PAUSE, next: now, seen: now, left_out: 0 }
    }

    fn is_forgotten(&self, now: Duration) -> bool {
        now.saturating_sub(self.seen) >= FORGOTTEN_AFTER
    }

    fn note(&mut self, now: Duration) -> Option<u64> {
        if self.is_forgotten(now) {
            *self = Self::new(now);
        }
        self.seen = now;
        if now < self.next {
            self.left_out += 1;
            return None;
        }
        self.next = now + self.pause;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_comes_at_once_and_then_ever_fewer_up_to_one_a_minute() {
        let mut rate = WarningRate::default();
        let mut told = Vec::new();
        for tenth in 0..3_000 {
            let now = Duration::from_millis(tenth * 100);
            if rate.note("a:1", "refused", now).is_some() {
                told.push(now.as_secs());
            }
        }
        assert_eq!(told, [0, 1, 3, 7, 15, 31, 63, 123, 183, 243]);
        let later = Duration::from_secs(300);
        assert_eq!(rate.note("a:1", "token", later), Some(0), "another cause");
        assert_eq!(rate.note("b:1", "refused", later), Some(0), "another address");
        assert_eq!(rate.note("a:1", "refused", later), None);
        assert!(rate.forget("a:1"));
        assert_eq!(rate.note("a:1", "refused", later), Some(0), "it was well meanwhile");
        assert_eq!(rate.note("b:1", "refused", later + FORGOTTEN_AFTER), Some(0));
    }

    #[test]
    fn many_addresses_take_bounded_memory_and_few_warnings() {
        let mut rate = WarningRate::default();
        let mut told = 0;
        for number in 0..100_000_u64 {
            let now = Duration::from_millis(number);
            told += u64::from(rate.note(&format!("{number}"), "token", now).is_some());
        }
        assert_eq!(rate.entries.len(), ENTRIES_MAX);
        assert!((64..80).contains(&told), "{told}");
        let much_later = Duration::from_secs(3_600);
        assert_eq!(rate.note("new", "token", much_later), Some(0));
        assert_eq!(rate.entries.len(), 1);
    }
}
