//! One session of a responder.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use stemedb_merkle::Hash;

use super::push::Receiving;
use crate::{
    limits::Limits,
    message::{Hello, Refusal, Response},
    replica::{Pin, SymbolsAhead},
};

/// A session: its snapshot, which does not change, and what has been asked so far, which does.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) hello: Hello,
    pub(super) welcome: Response,
    pub(super) snapshot_id: u64,
    pub(super) token: [u8; 16],
    pub(super) pin: Pin,
    pub(super) symbol_key: [u8; 16],
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// The ids of each request for the other halves of ids.
    pub(super) listed: BTreeMap<u64, Arc<[Hash]>>,
    /// Ids asked for by id, some of them perhaps more than once.
    pub(super) fetched: Vec<Hash>,
    /// Ids given.
    pub(super) pushed: Vec<Hash>,
    /// Whether ids had to be left out of the two lists above.
    pub(super) forgot: bool,
    /// How many symbols were given.
    pub(super) symbols: u64,
    /// Symbols made beyond those asked for.
    pub(super) ahead: SymbolsAhead,
    /// Pushes by the number of their request.
    pub(super) pushes: BTreeMap<u64, Receiving>,
    /// How many attempts at pushes began.
    pub(super) attempts: u64,
}

impl Open {
    pub(super) fn new(
        hello: Hello,
        welcome: Response,
        token: [u8; 16],
        pin: Pin,
        symbol_key: [u8; 16],
    ) -> Self {
        let snapshot_id = welcome.echo.snapshot;
        Self { hello, welcome, snapshot_id, token, pin, symbol_key, state: Mutex::default() }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // All changes to the state are whole at each moment at which a thread could give up.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn kept(&self) -> usize {
        let listed: usize = self.listed.values().map(|ids| ids.len()).sum();
        listed + self.fetched.len() + self.pushed.len()
    }

    /// Keeps the ids of a list.
    pub(super) fn list(
        &mut self,
        request: u64,
        ids: Arc<[Hash]>,
        limits: &Limits,
    ) -> Result<(), Refusal> {
        if self.kept() + ids.len() > limits.ids_kept_max {
            return Err(Refusal::OverLimit);
        }
        self.listed.insert(request, ids);
        Ok(())
    }

    pub(super) fn keep_fetched(&mut self, ids: &[Hash], limits: &Limits) {
        if self.kept() + ids.len() > limits.ids_kept_max {
            self.forgot = true;
        } else {
            self.fetched.extend_from_slice(ids);
        }
    }

    pub(super) fn keep_pushed(
        &mut self,
        ids: impl ExactSizeIterator<Item = Hash>,
        limits: &Limits,
    ) {
        if self.kept() + ids.len() > limits.ids_kept_max {
            self.forgot = true;
        } else {
            self.pushed.extend(ids);
        }
    }
}
