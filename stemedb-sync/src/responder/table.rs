//! The sessions that a responder knows of.

use core::{net::IpAddr, time::Duration};
use std::{collections::HashMap, sync::Arc};

use super::open::Open;
use crate::{
    keys::SessionKey,
    limits::Limits,
    message::{Echo, Hello, NodeId, Refusal, Response, SessionId},
};

#[derive(Debug, Default)]
pub(super) struct Table {
    sessions: HashMap<SessionId, Entry>,
    last_snapshot: u64,
}

#[derive(Debug)]
struct Entry {
    slot: Slot,
    /// The address that opened it.
    from: IpAddr,
    used: Duration,
}

#[derive(Debug)]
pub(super) enum Slot {
    Open(Arc<Open>),
    /// Its snapshot is let go of, but the last request may come once more.
    Finished(Box<Finished>),
}

#[derive(Debug)]
pub(super) struct Finished {
    pub(super) key: SessionKey,
    /// Without its MAC.
    pub(super) response: Response,
}

impl Table {
    pub(super) fn open_count(&self) -> usize {
        self.count(|entry| entry.open().is_some())
    }

    pub(super) fn touch(&mut self, session: &SessionId, now: Duration) -> Option<&Slot> {
        let entry = self.sessions.get_mut(session)?;
        entry.used = entry.used.max(now);
        Some(&entry.slot)
    }

    /// The session that is there for a `Hello` of its id; `None` if there is none.
    pub(super) fn welcome(
        &mut self,
        echo: &Echo,
        hello: &Hello,
        now: Duration,
    ) -> Option<Result<Arc<Open>, Refusal>> {
        Some(match self.touch(&echo.session, now)? {
            Slot::Open(open) if open.hello == *hello => Ok(Arc::clone(open)),
            Slot::Open(_) => Err(Refusal::Taken),
            Slot::Finished(_) => Err(Refusal::SnapshotGone),
        })
    }

    pub(super) fn expire(&mut self, now: Duration, idle_time_max: Duration) {
        self.sessions.retain(|_, entry| now.saturating_sub(entry.used) < idle_time_max);
    }

    /// Makes room for one more session. A peer's oldest gives way to its newest; as any peer can
    /// say that it is another one, only to one from the same address. For the same reason an
    /// address has a share of all sessions, whatever it says who is there.
    pub(super) fn make_room(
        &mut self,
        from: IpAddr,
        peer: &NodeId,
        now: Duration,
        limits: &Limits,
    ) -> Result<(), Refusal> {
        self.expire(now, limits.idle_time_max);
        let of_peer = |entry: &Entry| {
            entry.from == from && entry.open().is_some_and(|open| open.hello.node == *peer)
        };
        while self.count(of_peer) >= limits.sessions_per_peer_max.max(1) {
            self.remove_oldest(of_peer);
        }
        let is_open = |entry: &Entry| entry.open().is_some();
        let from_there = |entry: &Entry| entry.from == from;
        if self.count(is_open) >= limits.sessions_max
            || self.count(|entry| is_open(entry) && from_there(entry))
                >= limits.sessions_per_address_max
        {
            return Err(Refusal::Busy);
        }
        // There are as many that have ended as may be open, of each address and in all.
        let ended = |entry: &Entry| !is_open(entry);
        while self.count(|entry| ended(entry) && from_there(entry))
            >= limits.sessions_per_address_max
        {
            self.remove_oldest(|entry| ended(entry) && from_there(entry));
        }
        while self.count(ended) >= limits.sessions_max {
            self.remove_oldest(ended);
        }
        Ok(())
    }

    fn count(&self, is: impl Fn(&Entry) -> bool) -> usize {
        self.sessions.values().filter(|entry| is(entry)).count()
    }

    fn remove_oldest(&mut self, is: impl Fn(&Entry) -> bool) {
        let found = self.sessions.iter().filter(|(_, entry)| is(entry));
        let oldest = found.min_by_key(|(session, entry)| (entry.used, **session));
        if let Some(session) = oldest.map(|(session, _)| *session) {
            self.sessions.remove(&session);
        }
    }

    /// A number for a snapshot: never 0, never used before by this table, and hardly ever by one
    /// before it, as the first is random.
    pub(super) fn next_snapshot(&mut self, nonce: &[u8; 16]) -> u64 {
        let [a, b, c, ..] = *nonce;
        if self.last_snapshot == 0 {
            self.last_snapshot = u64::from_le_bytes([a, b, c, 0, 0, 0, 0, 0]);
        }
        self.last_snapshot = self.last_snapshot.wrapping_add(1).max(1);
        self.last_snapshot
    }

    pub(super) fn open(&mut self, open: Arc<Open>, from: IpAddr, now: Duration) {
        let session = open.welcome.echo.session;
        let slot = Slot::Open(open);
        self.sessions.insert(session, Entry { slot, from, used: now });
    }

    pub(super) fn finish(&mut self, open: &Open, response: Response) {
        if let Some(entry) = self.sessions.get_mut(&response.echo.session) {
            let key = open.key.clone();
            entry.slot = Slot::Finished(Box::new(Finished { key, response }));
        }
    }
}

impl Entry {
    fn open(&self) -> Option<&Open> {
        match &self.slot {
            Slot::Open(open) => Some(open),
            Slot::Finished(_) => None,
        }
    }
}
