//! Whole ids, of known prefixes, for a session that wants no bodies of them; and the check of what
//! the symbols gave.

use core::time::Duration;
use std::collections::BTreeMap;

use stemedb_merkle::Hash;

use super::{
    core::{Core, Stop, Transition},
    difference::{Difference, Want},
};
use crate::{
    codec::ids::{self, IdPrefix},
    message::{Ask, AskIds},
    report::Why,
};

#[derive(Debug)]
pub(super) struct Suffixes {
    mine: Vec<Hash>,
    /// Prefixes of ids that were not asked for yet.
    ahead: Vec<IdPrefix>,
    under_way: BTreeMap<u64, Vec<IdPrefix>>,
    found: Vec<Want>,
}

impl Suffixes {
    pub(super) fn begin(
        core: &mut Core,
        mine: Vec<Hash>,
        theirs: Vec<IdPrefix>,
        now: Duration,
    ) -> (Self, Result<Transition, Stop>) {
        let mut suffixes =
            Self { mine, ahead: theirs, under_way: BTreeMap::new(), found: Vec::new() };
        let transition = suffixes.go_on(core, now);
        (suffixes, transition)
    }

    pub(super) fn receive(
        &mut self,
        core: &mut Core,
        request: u64,
        suffixes: &[u8],
        now: Duration,
    ) -> Result<Transition, Stop> {
        let Some(known) = self.under_way.remove(&request) else { return Ok(Transition::Stay) };
        let found = ids::join(&known, suffixes)?;
        core.report.compared += found.len() as u64;
        self.found.extend(found.into_iter().map(Want::Id));
        self.go_on(core, now)
    }

    fn go_on(&mut self, core: &mut Core, now: Duration) -> Result<Transition, Stop> {
        let limits = &core.config.limits;
        let fit = limits.message_len_max / ids::SUFFIX_LEN;
        let at_once = limits.ids_per_message_max.min(fit).max(1);
        let under_way_max = limits.in_flight_max.max(1);
        while !self.ahead.is_empty() && self.under_way.len() < under_way_max {
            let rest = self.ahead.split_off(self.ahead.len().min(at_once));
            let known = core::mem::replace(&mut self.ahead, rest);
            let ask = AskIds { prefixes: ids::write_prefixes(&known) };
            let request = core.ask(Ask::Ids(ask), now)?;
            self.under_way.insert(request, known);
        }
        if !self.under_way.is_empty() {
            return Ok(Transition::Stay);
        }
        let mine = core::mem::take(&mut self.mine);
        let theirs = core::mem::take(&mut self.found);
        let difference = Difference::Found { mine, theirs };
        if !difference.fits(core)? {
            return Ok(Transition::Descent(Why::OtherRoot));
        }
        difference.transition(core)
    }
}
