//! How many bytes of bodies all batches hold together.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of bodies that batches may hold: those of unfinished bodies, and of bodies that wait to
/// be durable.
///
/// Were all of it held by unfinished bodies, none could be finished; so one batch at a time may
/// finish its body beyond it.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    bytes: Arc<Semaphore>,
    bytes_max: u32,
    beyond: Arc<Semaphore>,
}

/// Bytes that are held until this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Held {
    bytes: Option<OwnedSemaphorePermit>,
    /// Whoever has this need not count.
    beyond: Option<OwnedSemaphorePermit>,
}

impl Budget {
    pub(crate) fn new(bytes_max: usize) -> Self {
        let bytes_max = u32::try_from(bytes_max).unwrap_or(u32::MAX);
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        let bytes = semaphore((bytes_max as usize).min(Semaphore::MAX_PERMITS));
        Self { bytes, bytes_max, beyond: semaphore(1) }
    }

    /// Waits until there is room for `len` bytes more, or for all that there can be.
    pub(crate) async fn hold(&self, held: &mut Held, len: usize) {
        if held.beyond.is_some() {
            return;
        }
        let len = u32::try_from(len).unwrap_or(u32::MAX).min(self.bytes_max);
        let bytes = Arc::clone(&self.bytes).acquire_many_owned(len);
        // Neither semaphore is ever closed.
        let Some(holding) = &mut held.bytes else {
            held.bytes = bytes.await.ok();
            return;
        };
        tokio::select! {
            biased;
            more = bytes => if let Ok(more) = more { holding.merge(more) },
            beyond = Arc::clone(&self.beyond).acquire_owned() => held.beyond = beyond.ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    async fn waits(budget: &Budget, held: &mut Held, len: usize) -> bool {
        timeout(Duration::from_millis(20), budget.hold(held, len)).await.is_err()
    }

    #[tokio::test]
    async fn what_is_over_the_budget_waits() {
        let budget = Budget::new(10);
        let [mut one, mut two, mut three] = [Held::default(), Held::default(), Held::default()];
        assert!(!waits(&budget, &mut one, 6).await);
        assert!(waits(&budget, &mut two, 5).await);
        assert!(!waits(&budget, &mut three, 4).await);
        drop(one);
        assert!(!waits(&budget, &mut two, 6).await);
        drop((two, three));
        // More than there is waits for all that there is.
        assert!(!waits(&budget, &mut Held::default(), usize::MAX).await);
        assert!(!waits(&budget, &mut Held::default(), 10).await);
    }

    #[tokio::test]
    async fn one_at_a_time_goes_on_beyond_it() {
        let budget = Budget::new(10);
        let [mut one, mut two] = [Held::default(), Held::default()];
        assert!(!waits(&budget, &mut one, 5).await);
        assert!(!waits(&budget, &mut two, 5).await);
        assert!(!waits(&budget, &mut one, 5).await);
        assert!(!waits(&budget, &mut one, 50).await);
        assert!(waits(&budget, &mut two, 6).await);
        drop(one);
        assert!(!waits(&budget, &mut two, 6).await);
    }
}
