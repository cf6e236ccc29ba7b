//! The requests under way.

use core::time::Duration;
use std::collections::BTreeMap;

use crate::{
    keys::SessionKey,
    message::{Ask, Envelope, Kind, Request, SessionId},
};

#[derive(Debug, Default)]
pub(super) struct Flight {
    pub(super) session: SessionId,
    pub(super) snapshot: u64,
    /// The key of the session, once the peer has answered.
    pub(super) key: Option<SessionKey>,
    last: u64,
    /// How many requests needed no more answer.
    answered: u64,
    waiting: BTreeMap<u64, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    /// One, but for a push of several parts.
    parts: Vec<Ask>,
    kind: Kind,
    /// When it is overdue.
    due: Duration,
}

impl Flight {
    pub(super) fn next_request(&self) -> u64 {
        self.last + 1
    }

    pub(super) fn send(&mut self, parts: Vec<Ask>, due: Duration) -> (u64, Vec<Request>) {
        self.last += 1;
        let number = self.last;
        if let Some(first) = parts.first() {
            let kind = first.kind();
            self.waiting.insert(number, Waiting { parts, kind, due });
        }
        (number, self.requests(number))
    }

    pub(super) fn repeat(&mut self, number: u64, due: Duration) -> Vec<Request> {
        self.postpone(number, due);
        self.requests(number)
    }

    fn requests(&self, number: u64) -> Vec<Request> {
        let Self { session, snapshot, .. } = *self;
        let envelope = Envelope { session, snapshot, request: number, mac: [0; 16] };
        // What was answered meanwhile is not sent again.
        let parts = self.waiting.get(&number).map(|waiting| waiting.parts.as_slice());
        let seal = |ask: &Ask| {
            let request = Request { envelope, ask: ask.clone() };
            match &self.key {
                Some(key) => key.seal_request(request),
                None => request,
            }
        };
        parts.unwrap_or_default().iter().map(seal).collect()
    }

    pub(super) fn postpone(&mut self, number: u64, due: Duration) {
        if let Some(waiting) = self.waiting.get_mut(&number) {
            waiting.due = due;
        }
    }

    pub(super) fn kind(&self, number: u64) -> Option<Kind> {
        self.waiting.get(&number).map(|waiting| waiting.kind)
    }

    pub(super) fn is_waiting(&self, number: u64) -> bool {
        self.waiting.contains_key(&number)
    }

    pub(super) fn answered(&mut self, number: u64) {
        self.answered += u64::from(self.waiting.remove(&number).is_some());
    }

    pub(super) fn answered_count(&self) -> u64 {
        self.answered
    }

    /// Whether a session is open at the peer, as far as it said.
    pub(super) fn is_open(&self) -> bool {
        self.snapshot != 0
    }

    /// Takes note that the session is no longer open at the peer.
    pub(super) fn close(&mut self) {
        self.snapshot = 0;
    }

    /// Whether no request is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Forgets all requests but the first, if that was sent: its answer may open a session.
    pub(super) fn keep_hello(&mut self, due: Duration) {
        self.waiting.retain(|_, waiting| waiting.kind == Kind::Hello);
        self.waiting.values_mut().for_each(|waiting| waiting.due = due);
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }

    pub(super) fn due(&self) -> Option<Duration> {
        self.waiting.values().map(|waiting| waiting.due).min()
    }

    pub(super) fn overdue(&self, now: Duration) -> Vec<u64> {
        let overdue = self.waiting.iter().filter(|(_, waiting)| waiting.due <= now);
        overdue.map(|(number, _)| *number).collect()
    }
}
