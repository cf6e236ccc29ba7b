//! The check of everything that a store holds, a little at a time, and the healing of what is
//! damaged with what a peer has.
//!
//! [`Scrub`] reads and heals, and knows neither time nor network; [`run`] drives it in a node, and
//! [`pass`] once, when asked. Where a pass is and how the last one went is kept in a file, so that
//! a restart goes on with it.

mod driver;
mod rate;
mod state;

use std::{fmt, path::PathBuf};

use stemedb_merkle::AssertionId;
use stemedb_wal::check::{ScrubDamage, Scrubber};

pub use self::driver::{Donor, View, pass, run};
#[doc(hidden)]
pub use self::state::rewrite;
use self::{
    rate::Rate,
    state::{State, UNKNOWN},
};
use stemedb_store::{
    LogIndex, Position, Timestamp,
    error::ReadError,
    store::{Healed, Store},
};

/// How much of a tile file is read for so many bytes of budget.
const TILE_LEN: u64 = 8192;

/// Marker in place of the segment that is being read once all were.
const LOG_DONE: u64 = u64::MAX;

/// A check of a whole store, under way.
#[derive(Debug)]
pub struct Scrub {
    scrubber: Scrubber,
    /// The tile of the history to be read next, once all of the log was.
    tile: Option<u64>,
    state: State,
}

/// Result of one step.
#[derive(Debug, Default)]
pub struct Step {
    /// How many bytes were read.
    pub read: u64,
    /// Damage that was found, records first.
    pub faults: Vec<Found>,
    /// Whether this ended a pass: the next step begins another.
    pub pass_ended: bool,
}

/// Something damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The assertion whose record it is; `None` if it is what holds records together, or it can't
    /// be told.
    pub id: Option<AssertionId>,
    /// The entry that it concerns, or the first of several.
    pub index: LogIndex,
    /// Where it is in the log; in a file beside the log, where in that.
    pub position: Position,
    /// The error, with file and offset.
    pub error: String,
    /// Whether it is in the log.
    in_log: bool,
    /// The result.
    pub outcome: Outcome,
}

/// Result of healing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// Nothing was tried yet.
    Open,
    /// It is as it was written.
    Healed {
        /// Where the damaged bytes are kept.
        kept: Option<PathBuf>,
    },
    /// No peer has the body, or none can be reached.
    NoDonor,
    /// It could not be healed.
    Failed {
        /// The reason.
        reason: String,
    },
}

impl Outcome {
    /// A word for programs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Healed { .. } => "healed",
            Self::NoDonor => "no donor",
            Self::Failed { .. } => "failed",
        }
    }
}

impl Found {
    /// Whether it is as it was written.
    pub fn is_healed(&self) -> bool {
        matches!(self.outcome, Outcome::Healed { .. })
    }

    /// Whether the body of an assertion is needed to heal it.
    pub fn needs_body(&self) -> bool {
        self.id.is_some()
    }

    fn of(store: &Store, found: ScrubDamage) -> Self {
        let ScrubDamage { damage, position, id, record } = found;
        let id = id.or_else(|| if record { store.id_at(position) } else { None });
        Self {
            id: id.map(AssertionId),
            index: damage.index,
            position,
            error: damage.to_string(),
            in_log: true,
            outcome: Outcome::Open,
        }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.error)?;
        if let Some(id) = &self.id {
            write!(f, "; it is {id}")?;
        }
        match &self.outcome {
            Outcome::Open => Ok(()),
            Outcome::Healed { kept: None } => f.write_str("; healed"),
            Outcome::Healed { kept: Some(kept) } => {
                write!(f, "; healed, and what it was is in {}", kept.display())
            }
            Outcome::NoDonor => f.write_str("; no peer gave its body"),
            Outcome::Failed { reason } => write!(f, "; not healed: {reason}"),
        }
    }
}

impl Scrub {
    /// Goes on where the last check of this store was, or begins one.
    pub fn open(store: &Store) -> Self {
        let mut state = State::load(store);
        if state.damaged > state.healed {
            // What is still damaged is known only to the one who found it.
            (state.segment, state.began) = (0, 0);
            state.last_ended = 0;
        }
        let tile = (state.segment == LOG_DONE).then_some(0);
        let segment = if tile.is_some() { 0 } else { state.segment };
        Self { scrubber: Scrubber::new(Position(segment)), tile, state }
    }

    /// Begins again at the front.
    pub fn restart(store: &Store) -> Self {
        let mut state = State::load(store);
        (state.segment, state.began) = (0, 0);
        Self { scrubber: Scrubber::new(Position(0)), tile: None, state }
    }

    /// Reads on for about `budget` bytes and says what is damaged. Nothing is healed.
    ///
    /// A bad segment is read whole, so that more may be read than was asked for.
    ///
    /// # Errors
    ///
    /// If the disk fails, which is no damage but may be the beginning of it; the next step tries
    /// again. If the secret for the ids is missing.
    pub fn step(&mut self, store: &Store, budget: u64) -> Result<Step, ReadError> {
        if self.state.began == 0 {
            self.state.began = store.wall_clock().map_or(UNKNOWN, Timestamp::as_ntp64);
            // What is not healed yet is found again.
            self.state.damaged = self.state.healed;
        }
        let mut step = Step::default();
        if self.tile.is_none() {
            let segment = self.scrubber.segment();
            let read = store.scrub_log(&mut self.scrubber, budget)?;
            step.read = read.read;
            let mut damage = read.damage;
            damage.sort_by_key(|found| !found.record);
            step.faults.extend(damage.into_iter().map(|found| Found::of(store, found)));
            if read.ended {
                self.tile = Some(0);
                self.state.segment = LOG_DONE;
                self.save(store);
            } else if self.scrubber.segment() != segment {
                self.state.segment = self.scrubber.segment().get();
                self.save(store);
            }
        }
        self.read_tiles(store, budget, &mut step);
        self.state.damaged += step.faults.len() as u64;
        if step.pass_ended {
            self.tile = None;
            self.state.end_pass(store.wall_clock().map_or(UNKNOWN, Timestamp::as_ntp64));
            self.save(store);
        }
        Ok(step)
    }

    fn read_tiles(&mut self, store: &Store, budget: u64, step: &mut Step) {
        let Some(mut tile) = self.tile else { return };
        while step.read < budget && tile < store.tiles() {
            if let Some(error) = store.tile_fault(tile) {
                step.faults.push(Found {
                    id: None,
                    index: LogIndex(0),
                    position: Position(tile * TILE_LEN),
                    error: error.to_string(),
                    in_log: false,
                    outcome: Outcome::Open,
                });
            }
            step.read += TILE_LEN;
            tile += 1;
        }
        self.tile = Some(tile);
        step.pass_ended = tile >= store.tiles();
    }

    /// Heals something that was found, with the body from elsewhere if it needs one, and notes what
    /// came of it. What holds records together is healed after the records.
    pub fn heal(&mut self, store: &Store, found: &mut Found, body: Option<&[u8]>) {
        let healed = match (found.id, body) {
            _ if !found.in_log => {
                found.outcome =
                    Outcome::Failed { reason: "it is only a cache of the log".to_owned() };
                return;
            }
            (Some(_), None) => {
                found.outcome = Outcome::NoDonor;
                return;
            }
            (Some(id), Some(body)) => store.heal(&id, body),
            (None, _) => store.rewrite_framing(found.position),
        };
        found.outcome = match healed {
            Ok(Healed::Rewritten { kept, .. }) => Outcome::Healed { kept: Some(kept) },
            Ok(_) => Outcome::Healed { kept: None },
            Err(error) => Outcome::Failed { reason: error.to_string() },
        };
        if !found.needs_body() && found.is_healed() && !is_whole(store, found.position) {
            let reason = "it does not follow from the rest: close the store and repair it";
            found.outcome = Outcome::Failed { reason: reason.to_owned() };
        }
        if found.is_healed() {
            self.state.healed += 1;
            self.save(store);
        }
    }

    /// How far this pass is, in entries of the log.
    pub fn index(&self, store: &Store) -> u64 {
        match self.tile {
            Some(_) => store.log_size().get(),
            None => self.scrubber.index().map_or(0, LogIndex::get),
        }
    }

    /// How far this pass is, in bytes of the log.
    pub fn position(&self) -> u64 {
        self.scrubber.position().get()
    }

    /// When this pass began, NTP64; `None` between two. The least time if the clock was wrong.
    pub fn began(&self) -> Option<u64> {
        Some(self.state.began).filter(|began| *began > 0)
    }

    /// When the last whole pass began and ended, NTP64; the least times if the clock was wrong.
    pub fn last_pass(&self) -> Option<(u64, u64)> {
        Some((self.state.last_began, self.state.last_ended)).filter(|(_, ended)| *ended > 0)
    }

    /// How much was found damaged, each place once, and how much of that was healed.
    pub fn counts(&self) -> (u64, u64) {
        (self.state.damaged, self.state.healed)
    }

    /// Keeps where the pass is. Failing that, a restart goes on from an earlier place.
    fn save(&self, store: &Store) {
        if let Err(error) = self.state.save(store) {
            tracing::warn!(%error, "cannot keep where the check of the store is");
        }
    }
}

/// Whether what holds the records together is as it was written, in the segment of a position.
fn is_whole(store: &Store, position: Position) -> bool {
    let segment_of = |position| Scrubber::around(store.reader(), position).segment();
    let mut scrubber = Scrubber::around(store.reader(), position);
    let segment = scrubber.segment();
    loop {
        let Ok(step) = store.scrub_log(&mut scrubber, 1 << 20) else { return false };
        let here = |found: &ScrubDamage| !found.record && segment_of(found.position) == segment;
        if step.damage.iter().any(here) {
            return false;
        }
        if step.ended || scrubber.segment() != segment {
            return true;
        }
    }
}
