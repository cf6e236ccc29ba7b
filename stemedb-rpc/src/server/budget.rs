//! How many bytes all batches, or all answers to clients, hold together, fair by connection and by
//! address.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The parts of the budget that one address, and one connection, may have.
const ADDRESS_PART: u32 = 2;
const CONNECTION_PART: u32 = 4;

/// Bytes that calls may hold: those of bodies that are sent in and not durable yet, or those of
/// answers that were made and not taken yet.
///
/// A connection has a part of it at most, and so has an address: what one client does not finish,
/// or does not take, does not keep others waiting.
///
/// Were all of a part held by unfinished bodies, none could be finished; so one batch at a time may
/// finish its body beyond it. So may one answer at a time that is longer than a part.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    all: Arc<Level>,
    beyond: Arc<Semaphore>,
    parts: Arc<Mutex<HashMap<Holder, Weak<Level>>>>,
}

/// Owner of a part of the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Holder {
    Address(IpAddr),
    Connection(u64),
}

#[derive(Debug)]
struct Level {
    bytes: Arc<Semaphore>,
    max: u32,
}

/// The budget as one connection sees it.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    /// From that of the connection to that of all.
    levels: [Arc<Level>; 3],
    beyond: Arc<Semaphore>,
}

/// Bytes that are held until this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Held {
    bytes: Option<[Bytes; 3]>,
    /// A batch that has this need not count.
    beyond: Option<OwnedSemaphorePermit>,
}

/// Bytes that are held of one level.
#[derive(Debug)]
struct Bytes {
    permit: OwnedSemaphorePermit,
    /// A part that was forgotten while some of it is held would be there twice.
    _level: Arc<Level>,
}

impl Level {
    fn new(max: u32) -> Arc<Self> {
        let max = max.max(1);
        let permits = (max as usize).min(Semaphore::MAX_PERMITS);
        Arc::new(Self { bytes: Arc::new(Semaphore::new(permits)), max })
    }

    async fn acquire(self: &Arc<Self>, len: u32) -> Option<Bytes> {
        let permit = Arc::clone(&self.bytes).acquire_many_owned(len).await.ok()?;
        Some(Bytes { permit, _level: Arc::clone(self) })
    }
}

impl Budget {
    pub(crate) fn new(bytes_max: usize) -> Self {
        let all = Level::new(u32::try_from(bytes_max).unwrap_or(u32::MAX));
        Self { all, beyond: Arc::new(Semaphore::new(1)), parts: Arc::default() }
    }

    /// The budget as a connection from an address sees it. Connections are told apart by number.
    pub(crate) fn share(&self, address: IpAddr, connection: u64) -> Share {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        // As many stay as there are connections with calls that hold something.
        parts.retain(|_, level| level.strong_count() > 0);
        let mut level = |holder, part| {
            let known = parts.get(&holder).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let level = Level::new(self.all.max / part);
                parts.insert(holder, Arc::downgrade(&level));
                level
            })
        };
        let connection = level(Holder::Connection(connection), CONNECTION_PART);
        let address = level(Holder::Address(address), ADDRESS_PART);
        let levels = [connection, address, Arc::clone(&self.all)];
        Share { levels, beyond: Arc::clone(&self.beyond) }
    }
}

impl Share {
    /// Waits until there is room for all `len` bytes of an answer. One that is longer than the part
    /// of a connection waits for all of that, and for others that are.
    pub(crate) async fn reserve(&self, len: usize) -> Held {
        let [connection, ..] = &self.levels;
        // No semaphore is ever closed. Nobody who holds a part of the budget for an answer waits
        // for more of it, so that waiting for one thing after the other comes to an end.
        let beyond = if u32::try_from(len).is_ok_and(|len| len <= connection.max) {
            None
        } else {
            Arc::clone(&self.beyond).acquire_owned().await.ok()
        };
        Held { bytes: self.acquire(len).await, beyond }
    }

    /// Waits until there is room for `len` bytes more, or for all that there can be.
    pub(crate) async fn hold(&self, held: &mut Held, len: usize) {
        if held.beyond.is_some() {
            return;
        }
        // No semaphore is ever closed.
        let Some(holding) = &mut held.bytes else {
            held.bytes = self.acquire(len).await;
            return;
        };
        tokio::select! {
            biased;
            more = self.acquire(len) => {
                for (holding, more) in holding.iter_mut().zip(more.into_iter().flatten()) {
                    holding.permit.merge(more.permit);
                }
            }
            beyond = Arc::clone(&self.beyond).acquire_owned() => held.beyond = beyond.ok(),
        }
    }

    async fn acquire(&self, len: usize) -> Option<[Bytes; 3]> {
        let [connection, address, all] = &self.levels;
        let len = u32::try_from(len).unwrap_or(u32::MAX).min(connection.max);
        // The narrow ones first: what waits for them takes nothing from others.
        let connection = connection.acquire(len).await?;
        let address = address.acquire(len).await?;
        Some([connection, address, all.acquire(len).await?])
    }
}

impl Held {
    /// Gives back all but `len` bytes.
    pub(crate) fn keep(&mut self, len: usize) {
        self.beyond = None;
        for bytes in self.bytes.iter_mut().flatten() {
            let over = bytes.permit.num_permits().saturating_sub(len);
            drop(bytes.permit.split(over));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, time::Duration};

    use tokio::time::timeout;

    use super::*;

    async fn waits(share: &Share, held: &mut Held, len: usize) -> bool {
        timeout(Duration::from_millis(20), share.hold(held, len)).await.is_err()
    }

    /// The shares of connections from one address, and of one from another.
    fn shares(budget: &Budget) -> (Share, Share, Share) {
        let address = |last| IpAddr::from(Ipv4Addr::new(127, 0, 0, last));
        let share = |last, connection| budget.share(address(last), connection);
        (share(1, 1), share(1, 2), share(2, 3))
    }

    #[tokio::test]
    async fn what_is_over_the_budget_waits() {
        let (share, ..) = shares(&Budget::new(40));
        let [mut one, mut two, mut three] = [Held::default(), Held::default(), Held::default()];
        assert!(!waits(&share, &mut one, 6).await);
        assert!(waits(&share, &mut two, 5).await);
        assert!(!waits(&share, &mut three, 4).await);
        drop(one);
        assert!(!waits(&share, &mut two, 6).await);
        drop((two, three));
        // More than there is waits for all that there is.
        assert!(!waits(&share, &mut Held::default(), usize::MAX).await);
        assert!(!waits(&share, &mut Held::default(), 10).await);
    }

    #[tokio::test]
    async fn one_at_a_time_goes_on_beyond_it() {
        let (share, ..) = shares(&Budget::new(40));
        let [mut one, mut two] = [Held::default(), Held::default()];
        assert!(!waits(&share, &mut one, 5).await);
        assert!(!waits(&share, &mut two, 5).await);
        assert!(!waits(&share, &mut one, 5).await);
        assert!(!waits(&share, &mut one, 50).await);
        assert!(waits(&share, &mut two, 6).await);
        drop(one);
        assert!(!waits(&share, &mut two, 6).await);
    }

    #[tokio::test]
    async fn long_answers_wait_for_each_other_and_others_do_not() {
        let budget = Budget::new(40);
        let (share, _beside, elsewhere) = shares(&budget);
        let reserve = async |share: &Share, len| {
            timeout(Duration::from_millis(20), share.reserve(len)).await.ok()
        };
        let mut long = reserve(&share, 1_000).await.unwrap();
        assert!(reserve(&share, 1).await.is_none());
        assert!(reserve(&elsewhere, 1_000).await.is_none());
        assert!(reserve(&elsewhere, 10).await.is_some());
        // What is given back is there again, and what is held stays so without the share.
        long.keep(4);
        drop(share);
        let again = budget.share(Ipv4Addr::LOCALHOST.into(), 1);
        assert!(reserve(&again, 7).await.is_none());
        assert!(reserve(&again, 6).await.is_some());
        assert!(reserve(&elsewhere, 1_000).await.is_some());
        drop(long);
        assert!(reserve(&again, 10).await.is_some());
    }

    #[tokio::test]
    async fn what_one_client_holds_keeps_no_other_one_waiting() {
        let budget = Budget::new(40);
        let (one, beside, elsewhere) = shares(&budget);
        let mut held: Vec<Held> = Vec::new();
        for _ in 0..10 {
            let mut more = Held::default();
            if waits(&one, &mut more, 10).await {
                break;
            }
            held.push(more);
        }
        assert_eq!(held.len(), 1, "a connection has a quarter");
        let mut more = Held::default();
        assert!(!waits(&beside, &mut more, 10).await);
        assert!(waits(&beside, &mut Held::default(), 1).await);
        // As much again from the same address, on another connection.
        let again = budget.share(Ipv4Addr::LOCALHOST.into(), 9);
        assert!(waits(&again, &mut Held::default(), 1).await, "an address has half");
        assert!(!waits(&elsewhere, &mut Held::default(), 10).await);
        drop((one, beside, elsewhere, again, held, more));
        let _share = budget.share(Ipv4Addr::LOCALHOST.into(), 10);
        assert_eq!(budget.parts.lock().unwrap().len(), 2, "parts of connections that are gone");
    }
}
