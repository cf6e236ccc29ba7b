//! What the server needs to take part in replication.

use stemedb_sync::message::{Refusal, Request, Response};

/// What remains to be done for a part of a push: it may wait for a disk, and gives the answer to
/// the push if that was the last of it.
pub type Append = Box<dyn FnOnce() -> Result<Option<Response>, Refusal> + Send>;

/// The responding side of sessions.
pub trait Replica: Send + Sync + 'static {
    /// Answers a request, which may be one part of a push: hands on one answer, several for bodies,
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
        hand_on: &mut dyn FnMut(Response) -> bool,
    ) -> Result<(), Refusal>;

    /// Takes in a part of a push, and says what remains to be done for it. The parts of a push come
    /// in order; what is to be done for them is done for several of them at the same time.
    ///
    /// # Errors
    ///
    /// If the part is refused.
    fn push(&self, part: Request) -> Result<Append, Refusal> {
        let mut answer = None;
        self.answer(part, &mut |response| answer.replace(response).is_none())?;
        Ok(Box::new(move || Ok(answer)))
    }

    /// How many sessions are open, after letting go of those that were idle for too long. Called
    /// now and then; a server that stops waits until there are none.
    fn sessions(&self) -> usize;
}
