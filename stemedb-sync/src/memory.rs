//! Memory that all sessions of a process may hold together.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Byte budget of all sessions. Clones share it.
///
/// What a session keeps and what a call works on are counted after decompression, as
/// [`Reservation`]s, which give their bytes back when they are dropped. So whatever belongs to a
/// session or a call ends with it.
#[derive(Clone, Debug)]
pub struct MemoryBudget(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    used: AtomicUsize,
    max: usize,
}

/// Bytes of a [`MemoryBudget`] that are held until this is dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: MemoryBudget,
    bytes: usize,
}

/// The sessions hold as many bytes as they may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sessions hold as much memory as they may")]
pub struct Exhausted;

impl MemoryBudget {
    /// The budget of a process without another setting: 256 MiB.
    pub const DEFAULT: usize = 256 << 20;

    /// A budget of so many bytes.
    pub fn new(max: usize) -> Self {
        Self(Arc::new(Pool { used: AtomicUsize::new(0), max }))
    }

    /// Bytes that are held.
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Bytes that may be held.
    pub fn max(&self) -> usize {
        self.0.max
    }

    /// A reservation of nothing, to grow.
    pub fn empty(&self) -> Reservation {
        Reservation { budget: self.clone(), bytes: 0 }
    }

    /// Holds so many bytes.
    ///
    /// # Errors
    ///
    /// If the budget does not have them.
    pub fn reserve(&self, bytes: usize) -> Result<Reservation, Exhausted> {
        let mut reservation = self.empty();
        reservation.grow(bytes)?;
        Ok(reservation)
    }
}

impl Default for MemoryBudget {
    fn default() -> Self {
        Self::new(Self::DEFAULT)
    }
}

impl Reservation {
    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Holds so many bytes more.
    ///
    /// # Errors
    ///
    /// If the budget does not have them; it holds what it held before then.
    pub fn grow(&mut self, bytes: usize) -> Result<(), Exhausted> {
        let Pool { used, max } = &*self.budget.0;
        // The count orders nothing: what it stands for is behind other locks.
        used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(bytes).filter(|used| used <= max)
        })
        .map_err(|_| Exhausted)?;
        self.bytes += bytes;
        Ok(())
    }

    /// Holds so many bytes from now on, more or fewer than before.
    ///
    /// # Errors
    ///
    /// If the budget does not have them; it holds what it held before then.
    pub fn resize(&mut self, bytes: usize) -> Result<(), Exhausted> {
        if let Some(more) = bytes.checked_sub(self.bytes) {
            self.grow(more)
        } else {
            self.give_back(self.bytes - bytes);
            Ok(())
        }
    }

    fn give_back(&mut self, bytes: usize) {
        self.budget.0.used.fetch_sub(bytes, Ordering::Relaxed);
        self.bytes -= bytes;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_given_back() {
        let budget = MemoryBudget::new(10);
        let mut one = budget.reserve(6).unwrap();
        assert_eq!(budget.reserve(5).unwrap_err(), Exhausted);
        let two = budget.clone().reserve(4).unwrap();
        assert_eq!(one.grow(1), Err(Exhausted));
        assert_eq!(one.grow(usize::MAX), Err(Exhausted));
        assert_eq!((one.bytes(), budget.used()), (6, 10));
        drop(two);
        one.resize(9).unwrap();
        one.resize(2).unwrap();
        assert_eq!((one.bytes(), budget.used()), (2, 2));
        assert_eq!(one.resize(11), Err(Exhausted));
        drop(one);
        assert_eq!(budget.used(), 0);
    }
}
