//! Bodies that the initiator gives.

use std::sync::Arc;

use stemedb_merkle::Hash;

use super::{Reply, open::Open, receiving::Receiving};
use crate::{
    body_list::BodyList,
    codec::bodies::Items,
    limits::Limits,
    memory::Reservation,
    message::{Answer, Echo, Push, Pushed, Refusal, Response},
};

/// Answered pushes whose answers are kept for repeats.
const ANSWERED_KEPT_MAX: usize = 64;

/// Bodies to append. Those of several parts may be appended at the same time and in any order.
///
/// If it is dropped before it is said what came of it, they count as not appended: the push may
/// come again, from its beginning.
#[derive(Debug)]
pub struct PendingPush {
    open: Arc<Open>,
    echo: Echo,
    attempt: u64,
    limits: Limits,
    bodies: BodyList,
    /// Of the bodies.
    _held: Reservation,
    settled: bool,
}

/// Bytes that a body takes beside its own, about: its id, and its place in what is appended.
const BODY_LEN: usize = 64;

/// Takes in a part of a push.
///
/// When the answer does not come, all parts come again; those that are known are ignored then.
pub(super) fn take(
    open: &Arc<Open>,
    echo: Echo,
    part: Push,
    limits: &Limits,
) -> Result<Reply, Refusal> {
    if part.bytes.len() > limits.part_len_max {
        return Err(Refusal::TooLarge);
    }
    let mut guard = open.state();
    let state = &mut *guard;
    let pushes = &mut state.pushes;
    if !pushes.contains_key(&echo.request) {
        let unanswered = pushes.values().filter(|push| push.answer.is_none()).count();
        if unanswered >= limits.in_flight_max.max(1) {
            return Err(Refusal::OverLimit);
        }
        while pushes.len() >= ANSWERED_KEPT_MAX + limits.in_flight_max {
            let answered = pushes.iter().find(|(_, push)| push.answer.is_some());
            let Some(request) = answered.map(|(request, _)| *request) else { break };
            pushes.remove(&request);
        }
        state.attempts += 1;
    }
    let attempt = state.attempts;
    let new = || Receiving::new(attempt, open.memory.empty());
    let push = pushes.entry(echo.request).or_insert_with(new);
    if let Some(pushed) = push.answer {
        let response = Response { echo, answer: Answer::Pushed(pushed) };
        let response = open.key.seal_response(response);
        return Ok(if part.last { Reply::Answer(response) } else { Reply::Nothing });
    }
    if push.parts.has_ended() {
        return Ok(Reply::Nothing);
    }
    let taken = push.parts.take(part.part, part.bytes, part.last, limits.body_len_max);
    // A push has bodies only.
    let taken = taken.ok().filter(|items| items.absent.is_empty());
    let Some(Items { bodies, .. }) = taken else {
        pushes.remove(&echo.request);
        return Err(Refusal::Malformed);
    };
    let len = bodies.held() + bodies.len() * BODY_LEN;
    let held = push.held.resize(push.parts.held()).and_then(|()| open.memory.reserve(len));
    let held = match held {
        Ok(held) => held,
        Err(exhausted) => {
            pushes.remove(&echo.request);
            return Err(exhausted.into());
        }
    };
    if bodies.is_empty() && !push.parts.has_ended() {
        return Ok(Reply::Nothing);
    }
    push.appending += 1;
    let (open, attempt, limits) = (Arc::clone(open), push.attempt, limits.clone());
    let pending = PendingPush { open, echo, attempt, limits, bodies, _held: held, settled: false };
    Ok(Reply::Take(pending))
}

impl PendingPush {
    /// The bodies. They may be appended as they are: their ids follow from them.
    pub fn bodies(&mut self) -> BodyList {
        core::mem::take(&mut self.bodies)
    }

    /// Takes note that the bodies are durable: for each its id, and whether it was new. Gives the
    /// answer if they were the last of their push.
    pub fn done(mut self, taken: &[(Hash, bool)]) -> Option<Response> {
        self.settled = true;
        let mut state = self.open.state();
        state.keep_pushed(taken.iter().map(|(id, _)| *id), &self.limits);
        let push = state.pushes.get_mut(&self.echo.request);
        let push = push.filter(|push| push.attempt == self.attempt)?;
        let new = taken.iter().filter(|(_, new)| *new).count() as u64;
        push.appended += new;
        push.duplicates += taken.len() as u64 - new;
        push.appending -= 1;
        if !push.parts.has_ended() || push.appending > 0 {
            return None;
        }
        let pushed = Pushed { appended: push.appended, duplicates: push.duplicates };
        push.answer = Some(pushed);
        let response = Response { echo: self.echo, answer: Answer::Pushed(pushed) };
        Some(self.open.key.seal_response(response))
    }

    /// Takes note that the bodies could not be appended: the push may come again.
    pub fn failed(self) -> Refusal {
        Refusal::ReadOnly
    }
}

impl Drop for PendingPush {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        let pushes = &mut self.open.state().pushes;
        if pushes.get(&self.echo.request).is_some_and(|push| push.attempt == self.attempt) {
            pushes.remove(&self.echo.request);
        }
    }
}
