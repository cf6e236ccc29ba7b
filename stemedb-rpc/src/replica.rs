//! What the server needs to take part in replication.

use std::{fmt, net::IpAddr, time::Duration};

use stemedb_sync::message::{Refusal, Request, Response};

/// The parts of an answer, of which each is made when it is asked for.
pub type AnswerParts = Box<dyn Iterator<Item = Result<Response, Refusal>> + Send>;

/// What is said to a request.
pub enum Said {
    /// Nothing: it was a part of a push, and not its end.
    Nothing,
    /// One answer.
    Answer(Response),
    /// Several, one after the other.
    Parts(AnswerParts),
}

/// The responding side of sessions.
pub trait Replica: Send + Sync + 'static {
    /// Answers a request from an address, which may be one part of a push.
    ///
    /// It is called where reading a disk is allowed, from many threads at once, and so are the
    /// parts of an answer; nobody asks for a part until the initiator has room for it.
    ///
    /// # Errors
    ///
    /// If the request is not answered.
    fn answer(&self, request: Request, from: IpAddr) -> Result<Said, Refusal>;

    /// Takes in some parts of a push, in order, and gives the answer to it if that was all of it.
    /// Returns once they are processed; the parts behind them come with the next call.
    ///
    /// # Errors
    ///
    /// If a part is refused.
    fn push(&self, parts: Vec<Request>, from: IpAddr) -> Result<Option<Response>, Refusal> {
        let mut answer = None;
        for part in parts {
            match self.answer(part, from)? {
                Said::Nothing => {}
                Said::Answer(response) => answer = Some(response),
                Said::Parts(_) => return Err(Refusal::Malformed),
            }
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

impl fmt::Debug for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("Nothing"),
            Self::Answer(response) => f.debug_tuple("Answer").field(response).finish(),
            Self::Parts(_) => f.debug_tuple("Parts").finish_non_exhaustive(),
        }
    }
}
