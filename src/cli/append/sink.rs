//! Destination of the bodies: the store at hand, or a server.

use std::collections::VecDeque;

use stemedb::rpc::CallError;
use stemedb::rpc::client::{BatchReceipts, BatchSender};
use stemedb::{Receipt, Store};
use tokio::runtime::Handle;

use crate::cli::failure::Failure;

/// Takes bodies, in order.
pub(super) enum Sink<'a> {
    Here(&'a Store),
    There { sender: BatchSender, runtime: Handle },
}

/// Bodies on their way to a disk.
pub(super) enum Pending {
    Here(stemedb::Pending),
    /// So many, which a server acknowledges in order.
    There(usize),
}

/// Gives what acknowledges them.
pub(super) enum Receipts {
    Here,
    There(Box<Answers>),
}

/// The acknowledgements of a server.
pub(super) struct Answers {
    receipts: BatchReceipts,
    ready: VecDeque<Receipt>,
    runtime: Handle,
}

impl Sink<'_> {
    /// Hands on bodies. Whether they were taken, the acknowledgements say.
    pub(super) fn submit(&mut self, bodies: Vec<Vec<u8>>) -> Pending {
        match self {
            Self::Here(store) => Pending::Here(store.submit(bodies)),
            Self::There { sender, runtime } => {
                let count = bodies.len();
                // The receiving half knows why, if the server takes no more.
                let _ = runtime.block_on(sender.send(bodies));
                Pending::There(count)
            }
        }
    }
}

impl Receipts {
    /// Receipts of a server.
    pub(super) fn there(receipts: BatchReceipts, runtime: Handle) -> Self {
        Self::There(Box::new(Answers { receipts, ready: VecDeque::new(), runtime }))
    }

    /// Waits until bodies are durable.
    pub(super) fn of(&mut self, pending: Pending) -> Result<Vec<Receipt>, Failure> {
        let count = match pending {
            Pending::Here(pending) => return Ok(pending.wait()?),
            Pending::There(count) => count,
        };
        let Self::There(answers) = self else { return Ok(Vec::new()) };
        answers.next(count)
    }
}

impl Answers {
    fn next(&mut self, count: usize) -> Result<Vec<Receipt>, Failure> {
        while self.ready.len() < count {
            let more = self.runtime.block_on(self.receipts.next()).ok_or(CallError::Stalled)??;
            self.ready.extend(more);
        }
        Ok(self.ready.drain(..count).collect())
    }
}
