//! Appends of bodies that are held already: the held body is read before it counts as one.
//!
//! The set knows ids, and the disk may have lost what they stand for. So an append of a held id is
//! acknowledged only after its body was read back and found equal. That reads the disk, and is done
//! outside of the writer's lock: by the appender if it committed alone, else by a thread that works
//! off what the writer hands to it.

use std::{
    fmt, io,
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    thread::{self, JoinHandle},
};

use stemedb_merkle::Hash;

use super::{Priority, Receipt, Receipts, Shared, Submission, Ticket};
use stemedb_wal::{Position, error::AppendError, log::Placed};

/// Entry of a held body, after it was read back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verified {
    pub(crate) entry: Placed,
    /// Whether it was damaged, and is right now: it counts as appended.
    pub(crate) healed: bool,
}

/// Compares a held body with the one that is appended. It may put a damaged one right. Called
/// outside of the writer's lock, from any thread. Where the held body cannot be read, or is damaged
/// and stays so, the append fails, and only that.
pub(crate) type Verify = dyn Fn(&Held<'_>) -> Result<Verified, AppendError> + Send + Sync;

/// A body that is appended and held already.
#[derive(Clone, Copy)]
pub(crate) struct Held<'a> {
    /// The assertion id.
    pub id: Hash,
    /// Where the log has it.
    pub position: Position,
    /// The body that is appended.
    pub body: &'a [u8],
    /// Lets the log go on in another segment; false if it could not, for want of entries.
    pub seal: &'a dyn Fn() -> Result<bool, AppendError>,
}

impl fmt::Debug for Held<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("position", &self.position).finish_non_exhaustive()
    }
}

/// A submission that is durable but for the bodies in it that are held already: these are to be
/// read back.
#[derive(Debug)]
pub(crate) struct Unverified<'a> {
    bodies: Submission<'a>,
    answers: Vec<Answer>,
}

/// The answer to one body of a submission.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    Receipt(Receipt),
    /// It is held at this position.
    Held(u64),
}

impl<'a> Unverified<'a> {
    pub(super) fn new(bodies: Submission<'a>, answers: Vec<Answer>) -> Self {
        Self { bodies, answers }
    }

    /// Reads the held bodies, and makes the receipts.
    pub(super) fn verify(
        &self,
        verify: &Verify,
        seal: &dyn Fn() -> Result<bool, AppendError>,
    ) -> Result<Receipts, AppendError> {
        let receipt = |((id, body), answer): ((Hash, &[u8]), &Answer)| match *answer {
            Answer::Receipt(receipt) => Ok(receipt),
            Answer::Held(position) => {
                let position = Position(position);
                let Verified { entry, healed } = verify(&Held { id, position, body, seal })?;
                Ok(Receipt::of(&Placed { position, ..entry }, !healed))
            }
        };
        let receipts = self.bodies.bodies().zip(&self.answers).map(receipt);
        receipts.collect::<Result<_, _>>().map(Receipts::Many)
    }
}

/// What the verifying thread is handed: a submission, and who waits for it. Its bodies count
/// towards the limits of the queue until it is dropped.
struct Job {
    unverified: Unverified<'static>,
    ticket: Ticket,
    _room: Room,
}

/// Room in the queue that is taken by bodies which left it.
struct Room {
    shared: Arc<Shared>,
    priority: Priority,
    records: usize,
    bytes: usize,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.shared.queue.give_back(self.priority, self.records, self.bytes);
    }
}

/// Hands submissions to the verifying thread, which ends when this is dropped.
pub(super) struct Handover {
    jobs: Sender<Job>,
    shared: Arc<Shared>,
}

impl Handover {
    pub(super) fn send(&self, unverified: Unverified<'static>, ticket: Ticket) {
        let (records, bytes) = (unverified.bodies.len(), unverified.bodies.bytes_len());
        let priority = unverified.bodies.priority();
        self.shared.queue.keep(priority, records, bytes);
        let room = Room { shared: Arc::clone(&self.shared), priority, records, bytes };
        // Dropping the ticket tells the one who waits that the store is closed.
        let _ = self.jobs.send(Job { unverified, ticket, _room: room });
    }
}

/// Starts the verifying thread.
pub(super) fn start(shared: &Arc<Shared>) -> io::Result<(Handover, JoinHandle<()>)> {
    let (jobs, inbox) = channel();
    let verifying = Arc::clone(shared);
    let work = move || run(&verifying, &inbox);
    let thread = thread::Builder::new().name("stemedb-verify".into()).spawn(work)?;
    Ok((Handover { jobs, shared: Arc::clone(shared) }, thread))
}

fn run(shared: &Arc<Shared>, inbox: &Receiver<Job>) {
    for Job { unverified, ticket, _room } in inbox {
        ticket.complete(shared.verify(&unverified));
    }
}
