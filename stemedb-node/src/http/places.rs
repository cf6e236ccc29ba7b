//! Open connections: how many there may be, and which of them gives way to a new one.
//!
//! A connection on which nothing is asked takes no place from one on which something may be: where
//! all places are taken, the one that has been idle for the longest is closed. Where none is idle,
//! a few more connections are accepted, each for a single request. So a probe is answered at once,
//! whatever browsers, pools and port scans hold open.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

/// Connections beyond the limit, each for one request.
pub(super) const EXTRA_MAX: usize = 64;

/// A connection does not give way before it has been idle for so long: a client that has just
/// connected is about to ask something, and an answer that has just been made is about to be sent.
const IDLE_MIN: Duration = Duration::from_millis(100);

/// A connection whose client does not take its answer gives way after so long.
const STALLED_MIN: Duration = Duration::from_secs(2);

/// The open connections of a server. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Places {
    open: Arc<Mutex<Vec<Caller>>>,
    connections_max: usize,
}

/// The place of a connection, free again once this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    caller: Caller,
}

/// A connection as its requests see it. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Caller(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Whether it is beyond the limit: it is closed after one request.
    single: bool,
    activity: Mutex<Activity>,
    /// Tells the connection that it is to be closed.
    cut: Notify,
}

/// Activity of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Activity {
    /// Requests that are being answered.
    pub(super) running: u64,
    /// Whether an answer waits for the client to take it.
    pub(super) stalled: bool,
    /// The last time that it did something.
    pub(super) since: Instant,
    /// Whether it was told to close.
    cut: bool,
}

/// A request that runs until this is dropped.
#[derive(Debug)]
pub(super) struct Running(Caller);

impl Places {
    pub(super) fn new(connections_max: usize) -> Self {
        Self { open: Arc::default(), connections_max }
    }

    /// A place for a new connection; `None` if all are taken and none gives way at present.
    pub(super) fn take(&self, now: Instant) -> Option<Place> {
        let mut open = self.lock();
        let mut count = open.iter().filter(|caller| !caller.activity().cut).count();
        if count >= self.connections_max && give_way(&open, now) {
            count -= 1;
        }
        if count >= self.connections_max + EXTRA_MAX {
            return None;
        }
        let caller = Caller::new(count >= self.connections_max, now);
        open.push(caller.clone());
        Some(Place { places: self.clone(), caller })
    }

    /// Closes the connection that has been idle for the longest, if one is idle.
    pub(super) fn give_way(&self, now: Instant) {
        give_way(&self.lock(), now);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Caller>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes one connection that can be spared. Returns whether there is one.
fn give_way(open: &[Caller], now: Instant) -> bool {
    let spared = open.iter().filter_map(|caller| Some((caller.activity().spared(now)?, caller)));
    let Some((_, caller)) = spared.max_by_key(|(idle, _)| *idle) else { return false };
    caller.update(|activity| activity.cut = true);
    caller.0.cut.notify_one();
    true
}

impl Activity {
    /// For how long it has done nothing, if it can be spared.
    fn spared(&self, now: Instant) -> Option<Duration> {
        let idle = now.saturating_duration_since(self.since);
        let min = match (self.stalled, self.running) {
            (true, _) => STALLED_MIN,
            (false, 0) => IDLE_MIN,
            (false, _) => return None,
        };
        (!self.cut && idle >= min).then_some(idle)
    }
}

impl Place {
    pub(super) fn caller(&self) -> &Caller {
        &self.caller
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().retain(|caller| !Arc::ptr_eq(&caller.0, &self.caller.0));
    }
}

impl Caller {
    fn new(single: bool, since: Instant) -> Self {
        let activity = Activity { running: 0, stalled: false, since, cut: false };
        Self(Arc::new(Shared { single, activity: activity.into(), cut: Notify::new() }))
    }

    /// A request begins.
    pub(super) fn begin(&self) -> Running {
        self.update(|activity| {
            activity.running += 1;
            activity.since = Instant::now();
        });
        Running(self.clone())
    }

    /// Whether the connection is for one request only.
    pub(super) fn is_single(&self) -> bool {
        self.0.single
    }

    pub(super) fn activity(&self) -> Activity {
        *self.0.activity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut Activity)) {
        change(&mut self.0.activity.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Ready once the connection gives way to another.
    pub(super) async fn cut(&self) {
        self.0.cut.notified().await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.update(|activity| {
            activity.running -= 1;
            activity.since = Instant::now();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    fn is_cut(place: &Place) -> bool {
        place.caller.activity().cut
    }

    #[test]
    fn the_connection_that_is_idle_for_the_longest_gives_way() {
        let (places, start) = (Places::new(2), Instant::now());
        let one = places.take(start).unwrap();
        let two = places.take(after(start, 10)).unwrap();
        assert!(!one.caller.is_single() && !two.caller.is_single());
        let three = places.take(after(start, 200)).unwrap();
        assert!(is_cut(&one) && !is_cut(&two));
        assert!(!three.caller.is_single());
        let four = places.take(after(start, 200)).unwrap();
        assert!(is_cut(&two) && !is_cut(&three));
        assert!(!four.caller.is_single());
    }

    #[test]
    fn what_is_busy_or_new_keeps_its_place() {
        let (places, start) = (Places::new(2), Instant::now());
        let busy = places.take(start).unwrap();
        let running = busy.caller.begin();
        let new = places.take(start).unwrap();
        let extra = places.take(after(start, 50)).unwrap();
        assert!(extra.caller.is_single());
        assert!(!is_cut(&busy) && !is_cut(&new));
        // The one that gives way leaves as many as before: the next is beyond the limit as well.
        let next = places.take(after(start, 120)).unwrap();
        assert!(is_cut(&new) && !is_cut(&busy) && !is_cut(&extra));
        assert!(next.caller.is_single());
        drop((new, extra, next));
        assert!(!places.take(after(start, 120)).unwrap().caller.is_single());
        drop(running);
    }

    #[test]
    fn a_client_that_does_not_take_its_answer_gives_way_later() {
        let (places, start) = (Places::new(1), Instant::now());
        let stalled = places.take(start).unwrap();
        let _running = stalled.caller.begin();
        stalled.caller.update(|activity| (activity.stalled, activity.since) = (true, start));
        let extra = places.take(after(start, 1_900)).unwrap();
        assert!(!is_cut(&stalled) && extra.caller.is_single());
        let _other = extra.caller.begin();
        places.take(after(start, 2_000)).unwrap();
        assert!(is_cut(&stalled));
    }

    #[test]
    fn places_have_an_end_and_are_free_again() {
        let (places, start) = (Places::new(3), Instant::now());
        let mut busy: Vec<_> = Vec::new();
        while let Some(place) = places.take(start) {
            let running = place.caller.begin();
            busy.push((place, running));
        }
        assert_eq!(busy.len(), 3 + EXTRA_MAX);
        assert!(places.take(after(start, 60_000)).is_none());
        busy.pop();
        assert!(places.take(after(start, 60_000)).is_some());
        drop(busy);
        assert!(places.lock().is_empty());
    }
}
