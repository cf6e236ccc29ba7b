//! Events of a served store, for those who measure it.

use std::{fmt, sync::Arc, time::Duration};

use stemedb_store::{Receipt, store::uptime};

use crate::{Failure, Reason};

/// Event of a served store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreEvent {
    /// Appends that were made together have ended.
    Append {
        /// Origin of the bodies.
        origin: Origin,
        /// How many were new.
        new: u64,
        /// How many were held already.
        held: u64,
        /// How many failed.
        failed: u64,
        /// How long it took.
        time: Duration,
    },
    /// A body was asked for.
    Get {
        /// Whether it was given.
        result: Result<(), Reason>,
        /// How long it took.
        time: Duration,
    },
}

/// Origin of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A client.
    Client,
    /// A peer, in a session that it began.
    Peer,
}

/// Receiver of the events of a store. The default ignores them.
#[derive(Clone, Default)]
pub struct Observer(Option<Arc<dyn Fn(StoreEvent) + Send + Sync>>);

impl Observer {
    /// Calls a function for each event.
    pub fn new(observe: impl Fn(StoreEvent) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(observe)))
    }

    /// Tells of appends of clients that began at a time.
    pub(crate) fn appended<E>(&self, began: Duration, count: usize, ended: Result<&[Receipt], E>) {
        let held = ended.map(|receipts| receipts.iter().filter(|one| one.duplicate).count());
        self.append(Origin::Client, began, count, held.ok());
    }

    /// Tells of the end of `count` appends: how many bodies were held, or `None` of a failure.
    pub(crate) fn append(
        &self,
        origin: Origin,
        began: Duration,
        count: usize,
        held: Option<usize>,
    ) {
        let Some(observe) = &self.0 else { return };
        let count = count as u64;
        let time = uptime().saturating_sub(began);
        let (new, held, failed) = match held {
            Some(held) => (count - held as u64, held as u64, 0),
            None => (0, 0, count),
        };
        observe(StoreEvent::Append { origin, new, held, failed, time });
    }

    /// Tells of a body that was asked for.
    pub(crate) fn got<T>(&self, began: Duration, result: &Result<T, Failure>) {
        let Some(observe) = &self.0 else { return };
        let result = result.as_ref().map(drop).map_err(Failure::reason);
        observe(StoreEvent::Get { result, time: uptime().saturating_sub(began) });
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer(..)")
    }
}
