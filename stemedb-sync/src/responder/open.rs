//! One session of a responder.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use stemedb_merkle::Hash;

use super::receiving::Receiving;
use crate::{
    keys::SessionKey,
    limits::Limits,
    memory::{Exhausted, MemoryBudget, Reservation},
    message::{Hello, Response},
    replica::{Pin, SymbolsAhead},
};

/// A session: its snapshot, which does not change, and what has been asked so far, which does.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) hello: Hello,
    pub(super) welcome: Response,
    pub(super) snapshot_id: u64,
    pub(super) key: SessionKey,
    pub(super) pin: Pin,
    pub(super) symbol_key: [u8; 16],
    pub(super) memory: MemoryBudget,
    state: Mutex<State>,
}

/// Bytes that a session takes beside its snapshot, its ids and its symbols, about.
const SESSION_LEN: usize = 4 << 10;

#[derive(Debug)]
pub(super) struct State {
    /// The memory of the session and of the ids below.
    held: Reservation,
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
        key: SessionKey,
        pin: Pin,
        symbol_key: [u8; 16],
        memory: &MemoryBudget,
    ) -> Result<Self, Exhausted> {
        let snapshot_id = welcome.echo.snapshot;
        let state = State {
            held: memory.reserve(SESSION_LEN)?,
            fetched: Vec::new(),
            pushed: Vec::new(),
            forgot: false,
            symbols: 0,
            ahead: SymbolsAhead::new(memory),
            pushes: BTreeMap::new(),
            attempts: 0,
        };
        let (memory, state) = (memory.clone(), Mutex::new(state));
        Ok(Self { hello, welcome, snapshot_id, key, pin, symbol_key, memory, state })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // All changes to the state are whole at each moment at which a thread could give up.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn kept(&self) -> usize {
        self.fetched.len() + self.pushed.len()
    }

    pub(super) fn keep_fetched(&mut self, ids: &[Hash], limits: &Limits) {
        let fits = self.kept() + ids.len() <= limits.ids_kept_max;
        if fits && make_room(&mut self.fetched, ids.len(), &mut self.held).is_ok() {
            self.fetched.extend_from_slice(ids);
        } else {
            self.forgot = true;
        }
    }

    pub(super) fn keep_pushed(
        &mut self,
        ids: impl ExactSizeIterator<Item = Hash>,
        limits: &Limits,
    ) {
        let fits = self.kept() + ids.len() <= limits.ids_kept_max;
        if fits && make_room(&mut self.pushed, ids.len(), &mut self.held).is_ok() {
            self.pushed.extend(ids);
        } else {
            self.forgot = true;
        }
    }
}

/// Makes room for more ids in a list, and counts it.
fn make_room(ids: &mut Vec<Hash>, more: usize, held: &mut Reservation) -> Result<(), Exhausted> {
    let (len, capacity) = (ids.len(), ids.capacity());
    let wanted = len + more;
    if wanted > capacity {
        let wanted = wanted.max(capacity * 2);
        held.grow((wanted - capacity) * size_of::<Hash>())?;
        ids.reserve_exact(wanted - len);
    }
    Ok(())
}
