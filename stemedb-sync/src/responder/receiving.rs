//! State of a push that is being taken in.

use crate::{memory::Reservation, message::Pushed, parts::Parts};

/// State of one push.
#[derive(Debug)]
pub(super) struct Receiving {
    /// Which attempt at this push it is, of all pushes of the session: the same bodies come again
    /// if the first attempt failed.
    pub(super) attempt: u64,
    pub(super) parts: Parts,
    /// Of the parts that came early and the body that has begun.
    pub(super) held: Reservation,
    /// How many batches of bodies are being appended.
    pub(super) appending: usize,
    pub(super) appended: u64,
    pub(super) duplicates: u64,
    pub(super) answer: Option<Pushed>,
}

impl Receiving {
    pub(super) fn new(attempt: u64, held: Reservation) -> Self {
        let parts = Parts::default();
        Self { attempt, parts, held, appending: 0, appended: 0, duplicates: 0, answer: None }
    }
}
