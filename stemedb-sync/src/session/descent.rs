//! The layer that settles anything: down the peer's set tree wherever its hashes differ from ours.
//!
//! Round by round, all subtrees of a depth range at once. What the peer says lies below a subtree
//! is folded and compared with the hash that it committed to one round before, up to the root that
//! it announced; so it can't name a set other than that of its root without being found out, and
//! each round resolves or deepens every subtree asked about: after 256 levels there is nothing to
//! go down to.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use stemedb_merkle::{
    Hash,
    set::{self, Subtree, Summary},
};

use super::{
    core::{Core, Stop, Transition},
    difference::{Difference, Want},
};
use crate::{
    codec::{
        prefixes::{self, Prefix},
        subtrees::{Below, LEVELS_MAX, Place, levels_below},
    },
    internal::internal_error,
    message::{Ask, Descend},
    violation::ProtocolViolation,
};

/// Levels of the first round, 4 KiB of hashes.
const LEVELS_FIRST: u8 = 7;

/// Levels of a round in which nearly all subtrees differed.
const LEVELS_DENSE: u8 = 4;

/// Where subtrees hold so many ids or fewer on average, most of them are asked for with the ids.
const FEW_AVERAGE_MAX: u64 = 10;

#[derive(Debug)]
pub(super) struct Descent {
    /// Subtrees of this round that are not asked about yet.
    ahead: VecDeque<Node>,
    under_way: BTreeMap<u64, Asked>,
    /// Subtrees that differ, for the next round.
    next: Vec<Node>,
    /// Places of this round looked at, and how many of them differed.
    places: (u64, u64),
    levels: u8,
    leaf_ids: u32,
    mine: Vec<Hash>,
    theirs: Vec<Want>,
}

/// A subtree that differs, and what the peer said its hash is; `None` for all of its set, whose
/// hash follows from the root only together with the count.
#[derive(Clone, Copy, Debug)]
struct Node {
    prefix: Prefix,
    hash: Option<Hash>,
    /// Whether nothing of ours is there.
    bare: bool,
}

#[derive(Debug)]
struct Asked {
    nodes: Vec<Node>,
    levels: u8,
    leaf_ids: u32,
}

impl Descent {
    pub(super) fn begin(core: &mut Core, now: Duration) -> (Self, Result<Transition, Stop>) {
        let top = Node { prefix: Prefix::TOP, hash: None, bare: core.pin.snapshot.is_empty() };
        let mut descent = Self {
            ahead: VecDeque::from([top]),
            under_way: BTreeMap::new(),
            next: Vec::new(),
            places: (0, 0),
            levels: LEVELS_FIRST,
            leaf_ids: core.config.limits.leaf_ids,
            mine: Vec::new(),
            theirs: Vec::new(),
        };
        let transition = descent.go_on(core, now);
        (descent, transition)
    }

    pub(super) fn receive(
        &mut self,
        core: &mut Core,
        request: u64,
        bytes: &[u8],
        now: Duration,
    ) -> Result<Transition, Stop> {
        let Some(asked) = self.under_way.remove(&request) else { return Ok(Transition::Stay) };
        if bytes.is_empty() {
            return Err(ProtocolViolation::Empty.into());
        }
        let mut rest = bytes;
        let mut answered = 0;
        for node in &asked.nodes {
            if rest.is_empty() {
                break;
            }
            let leaf_ids = asked.leaf_ids as usize;
            let below = Below::read(&mut rest, &node.prefix, asked.levels, leaf_ids)?;
            node.check(core, &below)?;
            self.compare(core, node, below, asked.levels)?;
            answered += 1;
        }
        if !rest.is_empty() {
            return Err(ProtocolViolation::Surplus.into());
        }
        for node in asked.nodes.iter().skip(answered).rev() {
            self.ahead.push_front(*node);
        }
        // Each subtree that differs and is no id has two ids of the peer in it, or more.
        let named = self.theirs.len() + 2 * self.next.len();
        if named as u64 > core.peer_set().count {
            return Err(ProtocolViolation::TooManyIds.into());
        }
        self.go_on(core, now)
    }

    fn compare(
        &mut self,
        core: &mut Core,
        node: &Node,
        below: Below,
        levels: u8,
    ) -> Result<(), Stop> {
        let depth = usize::from(node.prefix.depth());
        let subtree = core.pin.snapshot.subtree(node.prefix.bits(), depth)?;
        match below {
            Below::Ids(ids) => {
                core.report.compared += ids.len() as u64;
                self.compare_ids(&subtree, &ids)
            }
            Below::Places(places) => {
                let walk = Walk { levels: levels_below(&node.prefix, levels), node };
                self.walk(core, &walk, &subtree, 0, 0, &places)
            }
        }
    }

    /// Goes down our side to where the peer's places are.
    fn walk(
        &mut self,
        core: &mut Core,
        walk: &Walk<'_>,
        subtree: &Subtree,
        level: u16,
        index: usize,
        places: &[Place],
    ) -> Result<(), Stop> {
        if let [place] = places {
            let prefix = walk.node.prefix.below(walk.levels, index);
            return self.compare_place(core, subtree, prefix, place);
        }
        if level >= walk.levels {
            return Ok(());
        }
        let (left, right) = places.split_at(places.len() / 2);
        let [zeros, ones] = subtree.halves()?;
        self.walk(core, walk, &zeros, level + 1, 2 * index, left)?;
        self.walk(core, walk, &ones, level + 1, 2 * index + 1, right)
    }

    fn compare_place(
        &mut self,
        core: &mut Core,
        subtree: &Subtree,
        prefix: Prefix,
        place: &Place,
    ) -> Result<(), Stop> {
        self.places.0 += 1;
        let same = match (place, subtree.is_empty()) {
            (Place::Empty, empty) => empty,
            (_, true) => false,
            (Place::One(id), _) => subtree.ids(1)?.is_some_and(|ids| ids == [*id]),
            (Place::Many(hash), _) => subtree.summary() == Summary::Many(*hash),
        };
        if same {
            return Ok(());
        }
        self.places.1 += 1;
        match place {
            Place::Empty => self.compare_ids(subtree, &[]),
            Place::One(id) => {
                core.report.compared += 1;
                self.compare_ids(subtree, &[*id])
            }
            Place::Many(_) if prefix.depth() >= Prefix::DEPTH_MAX => {
                Err(ProtocolViolation::Depth.into())
            }
            Place::Many(hash) => {
                let bare = subtree.is_empty();
                self.next.push(Node { prefix, hash: Some(*hash), bare });
                Ok(())
            }
        }
    }

    /// Compares ids, ascending, with all of ours in a subtree.
    fn compare_ids(&mut self, subtree: &Subtree, theirs: &[Hash]) -> Result<(), Stop> {
        let mine = subtree.ids(usize::MAX)?;
        let mine = mine.unwrap_or_else(|| internal_error("an id of a subtree"));
        let only_theirs = theirs.iter().filter(|id| mine.binary_search(id).is_err());
        self.theirs.extend(only_theirs.copied().map(Want::Id));
        self.mine.extend(mine.iter().filter(|id| theirs.binary_search(id).is_err()));
        Ok(())
    }

    fn go_on(&mut self, core: &mut Core, now: Duration) -> Result<Transition, Stop> {
        if self.ahead.is_empty() && self.under_way.is_empty() {
            if self.next.is_empty() {
                return self.found(core);
            }
            self.next_round(core);
        }
        let under_way_max = core.config.limits.in_flight_max.max(1);
        while self.under_way.len() < under_way_max
            && let Some(asked) = self.batch(core)
        {
            let prefixes: Vec<Prefix> = asked.nodes.iter().map(|node| node.prefix).collect();
            let nodes = prefixes::write(&prefixes);
            let ask = Descend { nodes, levels: asked.levels, leaf_ids: asked.leaf_ids };
            let request = core.ask(Ask::Descend(ask), now)?;
            self.under_way.insert(request, asked);
        }
        Ok(Transition::Stay)
    }

    fn next_round(&mut self, core: &Core) {
        let limits = &core.config.limits;
        self.next.sort_unstable_by_key(|node| node.prefix);
        let depth = self.next.first().map_or(0, |node| node.prefix.depth());
        let (all, differed) = self.places;
        // How many differences lie in a place on average is the number of places that differ,
        // as long as most do not.
        self.levels = match () {
            () if differed * 16 > all * 15 => LEVELS_DENSE.max(limits.levels),
            () if differed * 3 > all * 2 => limits.levels.max(3),
            () => limits.levels,
        };
        self.levels = self.levels.clamp(1, LEVELS_MAX);
        let average = core.peer_set().count.checked_shr(depth.into()).unwrap_or(0);
        self.leaf_ids =
            if average <= FEW_AVERAGE_MAX { limits.leaf_ids.max(1) * 3 } else { limits.leaf_ids };
        self.places = (0, 0);
        self.ahead.extend(self.next.drain(..));
    }

    /// The next subtrees that can be asked about in one message: all with something of ours in
    /// them, or all without, of which every id will be needed.
    fn batch(&mut self, core: &Core) -> Option<Asked> {
        let limits = &core.config.limits;
        let bare = self.ahead.front()?.bare;
        let (levels, leaf_ids) =
            if bare { (LEVELS_DENSE, limits.leaf_ids_max) } else { (self.levels, self.leaf_ids) };
        // What the answer takes at most, or for ids most likely.
        let each = (32_usize << levels) + 8;
        let most = (limits.message_len_max / each).clamp(1, limits.nodes_per_message_max.max(1));
        let mut nodes = Vec::new();
        let mut others = VecDeque::new();
        while nodes.len() < most
            && let Some(node) = self.ahead.pop_front()
        {
            if node.bare == bare {
                nodes.push(node);
            } else {
                others.push_back(node);
            }
        }
        others.append(&mut self.ahead);
        self.ahead = others;
        nodes.sort_unstable_by_key(|node| node.prefix);
        Some(Asked { nodes, levels, leaf_ids })
    }

    fn found(&mut self, core: &mut Core) -> Result<Transition, Stop> {
        let mine = core::mem::take(&mut self.mine);
        let theirs = core::mem::take(&mut self.theirs);
        let difference = Difference::Found { mine, theirs };
        // All hashes fitted, so that only the count can be wrong.
        if !difference.fits(core)? {
            return Err(ProtocolViolation::Root.into());
        }
        difference.transition(core)
    }
}

impl Node {
    /// Whether what is said to lie below it has the hash that was said before.
    fn check(&self, core: &Core, below: &Below) -> Result<(), Stop> {
        let hash = below.summary(&self.prefix).hash();
        let fits = if let Some(known) = self.hash {
            hash == known
        } else {
            let set = core.peer_set();
            set::root(set.count, &hash) == set.root
        };
        if fits { Ok(()) } else { Err(ProtocolViolation::Hash.into()) }
    }
}

struct Walk<'a> {
    node: &'a Node,
    levels: u16,
}
