//! What the server needs to take part in replication.

use std::{net::IpAddr, time::Duration};

use stemedb_sync::message::{Refusal, Request, Response};

/// The responding side of sessions.
pub trait Replica: Send + Sync + 'static {
    /// Answers a request from an address, which may be one part of a push: hands on one answer, several for bodies,
    /// none to a part of a push that is not its end. Stops early once `hand_on` gives false: the
    /// initiator is gone or does not take what it asked for.
    ///
    /// It is called where waiting is allowed, from many threads at once.
    ///
    /// # Errors
    ///
    /// If the request is not answered, or not to its end.
    fn answer(
        &self,
        request: Request,
        from: IpAddr,
        hand_on: &mut dyn FnMut(Response) -> bool,
    ) -> Result<(), Refusal>;

    /// Takes in some parts of a push, in order, and gives the answer to it if that was all of it.
    /// Returns once they are dealt with; the parts behind them come with the next call.
    ///
    /// # Errors
    ///
    /// If a part is refused.
    fn push(&self, parts: Vec<Request>, from: IpAddr) -> Result<Option<Response>, Refusal> {
        let mut answer = None;
        for part in parts {
            self.answer(part, from, &mut |response| answer.replace(response).is_none())?;
        }
        Ok(answer)
    }

    /// How long the next parts of a push are to wait, so that others go first.
    fn hold(&self) -> Option<Duration> {
        None
    }

    /// How many sessions are open, after letting go of those that were idle for too long. Called
    /// now and then; a server that stops waits until there are none.
    fn sessions(&self) -> usize;
}
