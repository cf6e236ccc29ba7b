//! The side that answers.
//!
//! A [`Responder`] keeps a table of sessions, each with the snapshot that it pinned. It is shared
//! between threads; the table is locked for moments only, and answers are made outside of the lock.

mod answers;
mod open;
mod outgoing;
mod push;
mod receiving;
mod stream;
mod table;

use core::{net::IpAddr, ops::Range, time::Duration};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stemedb_merkle::history::TreeHead;

use self::{
    open::Open,
    table::{Slot, Table},
};
pub use self::{
    outgoing::{Outgoing, OutgoingSession},
    push::PendingPush,
    stream::{AnswerStream, BodyStream, SymbolStream},
};
use crate::{
    keys::{Keys, same},
    limits::Limits,
    memory::MemoryBudget,
    message::{
        Answer, Ask, Cursor, CursorState, Echo, Hello, Refusal, Request, Response, VERSION, Welcome,
    },
    replica::{Identity, Source},
};

/// Answers sessions for one store.
#[derive(Debug)]
pub struct Responder {
    identity: Identity,
    limits: Limits,
    memory: MemoryBudget,
    outgoing: Outgoing,
    table: Mutex<Table>,
}

/// Circumstances of a request, given by the transport.
#[derive(Clone, Copy, Debug)]
pub struct RequestContext {
    /// The time since any fixed moment.
    pub now: Duration,
    /// The wall clock, NTP64.
    pub time: u64,
    /// 16 random bytes, new for each request.
    pub nonce: [u8; 16],
    /// The address that it came from: unlike the node id in a request, nobody who only has the
    /// secret can make up the address of another peer.
    pub from: IpAddr,
}

/// Reaction to a request.
#[derive(Debug)]
pub enum Reply {
    /// Send this.
    Answer(Response),
    /// Send each part that this gives.
    Stream(AnswerStream),
    /// Append the bodies, and tell [`PendingPush::done`] when they are durable.
    Take(PendingPush),
    /// Nothing: more parts of a push are to come, or its answer is under way.
    Nothing,
}

impl Responder {
    /// A responder without sessions, and with a memory budget of its own.
    pub fn new(identity: Identity, limits: Limits) -> Self {
        Self::with_memory(identity, limits, MemoryBudget::default())
    }

    /// A responder without sessions, whose sessions share a memory budget with others.
    pub fn with_memory(identity: Identity, limits: Limits, memory: MemoryBudget) -> Self {
        let (outgoing, table) = (Outgoing::default(), Mutex::default());
        Self { identity, limits, memory, outgoing, table }
    }

    /// The same, of a node that begins sessions itself.
    #[must_use]
    pub fn with_outgoing(self, outgoing: Outgoing) -> Self {
        Self { outgoing, ..self }
    }

    /// Memory that its sessions, and the calls for them, may hold together.
    pub fn memory(&self) -> &MemoryBudget {
        &self.memory
    }

    /// Keys that follow from the cluster secret.
    pub fn keys(&self) -> &Keys {
        &self.identity.keys
    }

    /// Its limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How many sessions are open.
    pub fn sessions(&self) -> usize {
        self.table().open_count()
    }

    /// Lets go of sessions that had no request for too long. Called now and then.
    pub fn expire(&self, now: Duration) {
        self.table().expire(now, self.limits.idle_time_max);
    }

    /// Ends all sessions; an initiator that is under way starts again.
    pub fn forget(&self) {
        *self.table() = Table::default();
    }

    /// Answers a request, or says what has to be done for that.
    ///
    /// # Errors
    ///
    /// If it refuses.
    pub fn answer(
        &self,
        request: Request,
        source: &impl Source,
        context: RequestContext,
    ) -> Result<Reply, Refusal> {
        let envelope = request.envelope;
        if let Ask::Hello(hello) = request.ask {
            return self.hello(&envelope.echo(), &envelope.mac, hello, source, context);
        }
        let open = {
            let mut table = self.table();
            let slot = table.touch(&envelope.session, context.now);
            let left = Response { echo: envelope.echo(), answer: Answer::Left };
            let Some(slot) = slot else {
                // Who leaves a session that is not there has what he wants.
                let leaves = matches!(request.ask, Ask::Leave);
                return if leaves { Ok(Reply::Answer(left)) } else { Err(Refusal::SnapshotGone) };
            };
            match slot {
                Slot::Finished(finished) => {
                    if !finished.key.admits_request(&request) {
                        return Err(Refusal::Token);
                    }
                    let same = finished.response.echo == envelope.echo();
                    let response = match (&request.ask, &finished.response.answer) {
                        (Ask::Leave, _) => left,
                        (Ask::Finish(_), Answer::Finished(_)) if same => finished.response.clone(),
                        _ => return Err(Refusal::SnapshotGone),
                    };
                    return Ok(Reply::Answer(finished.key.seal_response(response)));
                }
                Slot::Open(open) => Arc::clone(open),
            }
        };
        // Before anything else is made of it: what was changed on the way is not stored.
        if !open.key.admits_request(&request) {
            return Err(Refusal::Token);
        }
        if open.snapshot_id != envelope.snapshot {
            return Err(Refusal::SnapshotGone);
        }
        let echo = envelope.echo();
        let answer = match request.ask {
            Ask::Hello(_) => return Err(Refusal::Malformed),
            Ask::Symbols(ask) => {
                let asked = answers::symbols_asked(ask, &self.limits)?;
                return self.symbols(None, &open, echo, asked);
            }
            Ask::Ids(ask) => Answer::Ids(open.ids(&ask, &self.limits)?),
            Ask::Descend(ask) => Answer::Subtrees(open.descend(&ask, &self.limits)?),
            Ask::Fetch(ask) => {
                let ids = open.fetch(&ask, &self.limits)?;
                let stream = BodyStream::of_ids(&open, echo, ids, &self.limits)?;
                return Ok(Reply::Stream(AnswerStream::Bodies(stream)));
            }
            Ask::Tail(ask) => {
                let entries = open.tail(&ask, &self.limits)?;
                let stream = BodyStream::of_entries(&open, echo, entries, &self.limits)?;
                return Ok(Reply::Stream(AnswerStream::Bodies(stream)));
            }
            Ask::Push(part) => return push::take(&open, echo, part, &self.limits),
            Ask::Finish(ask) => {
                let finished = open.finish(&ask, source)?;
                let response = Response { echo, answer: Answer::Finished(finished) };
                self.table().finish(&open, response.clone());
                return Ok(Reply::Answer(open.key.seal_response(response)));
            }
            Ask::Leave => {
                let response = Response { echo, answer: Answer::Left };
                self.table().finish(&open, response.clone());
                return Ok(Reply::Answer(open.key.seal_response(response)));
            }
        };
        Ok(Reply::Answer(open.key.seal_response(Response { echo, answer })))
    }

    fn hello(
        &self,
        echo: &Echo,
        mac: &[u8; 16],
        hello: Hello,
        source: &impl Source,
        context: RequestContext,
    ) -> Result<Reply, Refusal> {
        let keys = &self.identity.keys;
        if hello.version != VERSION {
            return Err(Refusal::Version);
        }
        if !same(&keys.initiator_proof(&echo.session, &hello), &hello.proof) {
            return Err(Refusal::Secret);
        }
        if hello.node == self.identity.node {
            return Err(Refusal::Itself);
        }
        if echo.request != 1 || echo.snapshot != 0 || *mac != [0; 16] {
            return Err(Refusal::Malformed);
        }
        if hello.set.count > self.limits.count_max {
            return Err(Refusal::OverLimit);
        }
        if !hello.set.is_possible() {
            return Err(Refusal::Malformed);
        }
        let before = self.table().welcome(echo, &hello, context.now);
        if let Some(before) = before {
            return self.welcome(&before?);
        }
        let (set, log) = source.head().map_err(|_| Refusal::Damaged)?;
        if set == hello.set {
            let cursor = cursor_state(hello.cursor.as_ref(), self.identity.epoch, &log, source);
            let mut welcome = Welcome {
                version: VERSION,
                node: self.identity.node,
                epoch: self.identity.epoch,
                nonce: [0; 16],
                proof: [0; 16],
                set: None,
                log,
                time: context.time,
                cursor,
                symbols: 0,
            };
            welcome.proof = keys.responder_proof(echo, &hello, &welcome);
            let answer = Answer::Welcome(welcome);
            return Ok(Reply::Answer(Response { echo: *echo, answer }));
        }
        if self.identity.node < hello.node && self.outgoing.is_under_way(&hello.node) {
            return Err(Refusal::BusyWithYou);
        }
        let wants_symbols = hello.symbols > 0;
        let pin = if wants_symbols { source.pin() } else { source.pin_without_symbols() };
        let pin = pin.map_err(|_| Refusal::Damaged)?;
        let cursor = cursor_state(hello.cursor.as_ref(), self.identity.epoch, &pin.log, source);
        // Those that it keeps: for others it is asked once it is known how many are needed.
        let kept = pin.sketch.as_ref().map_or(0, |sketch| sketch.len());
        let kept = u32::try_from(kept).unwrap_or(u32::MAX);
        let symbols = hello.symbols.min(self.limits.symbols_per_request_max).min(kept);
        let mut welcome = Welcome {
            version: VERSION,
            node: self.identity.node,
            epoch: self.identity.epoch,
            nonce: context.nonce,
            proof: [0; 16],
            set: Some(pin.set()),
            log: pin.log,
            time: context.time,
            cursor,
            symbols,
        };
        let mut table = self.table();
        // The same request may have come twice, and the other one been faster.
        if let Some(before) = table.welcome(echo, &hello, context.now) {
            drop(table);
            return self.welcome(&before?);
        }
        table.make_room(context.from, &hello.node, context.now, &self.limits)?;
        let echo = Echo { snapshot: table.next_snapshot(&context.nonce), ..*echo };
        welcome.proof = keys.responder_proof(&echo, &hello, &welcome);
        let key = keys.session_key(&echo.session, &context.nonce);
        let response = Response { echo, answer: Answer::Welcome(welcome) };
        let open = Open::new(hello, response, key, pin, keys.symbol_key(), &self.memory)?;
        let open = Arc::new(open);
        table.open(Arc::clone(&open), context.from, context.now);
        drop(table);
        self.welcome(&open)
    }

    /// The answer to the first request of a session.
    fn welcome(&self, open: &Arc<Open>) -> Result<Reply, Refusal> {
        let welcome = open.welcome.clone();
        let echo = welcome.echo;
        let Answer::Welcome(Welcome { symbols, .. }) = welcome.answer else {
            return Ok(Reply::Answer(welcome));
        };
        self.symbols(Some(welcome), open, echo, 0..symbols)
    }

    fn symbols(
        &self,
        welcome: Option<Response>,
        open: &Arc<Open>,
        echo: Echo,
        asked: Range<u32>,
    ) -> Result<Reply, Refusal> {
        let stream = SymbolStream::new(welcome, Arc::clone(open), echo, asked, &self.limits)?;
        Ok(Reply::Stream(AnswerStream::Symbols(Box::new(stream))))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // All changes to the table are whole at each moment at which a thread could give up.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cursor_state(
    cursor: Option<&Cursor>,
    epoch: u64,
    log: &TreeHead,
    source: &impl Source,
) -> CursorState {
    let Some(cursor) = cursor else { return CursorState::None };
    if cursor.epoch != epoch || cursor.size > log.size.0 {
        return CursorState::Rewritten;
    }
    // Where the disk is full the history may lack nodes on it: what differs is found without it.
    let Ok(root) = source.log_root_at(cursor.size) else { return CursorState::None };
    let good = root.is_some_and(|root| root.0.starts_with(&cursor.root));
    if good { CursorState::Good } else { CursorState::Rewritten }
}
