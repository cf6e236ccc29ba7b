//! The other halves of ids that are known by their fronts, and the check of what the symbols gave.

use core::time::Duration;
use std::collections::BTreeMap;

use stemedb_merkle::Hash;

use super::{
    core::{Core, Stop, Turn},
    transfer::{Difference, Want},
};
use crate::{
    codec::ids::{self, Front},
    message::{Ask, AskIds},
    report::Why,
};

#[derive(Debug)]
pub(super) struct Halves {
    mine: Vec<Hash>,
    /// Fronts not asked for yet.
    ahead: Vec<Front>,
    under_way: BTreeMap<u64, Vec<Front>>,
    found: Vec<Want>,
}

impl Halves {
    pub(super) fn begin(
        core: &mut Core,
        mine: Vec<Hash>,
        theirs: Vec<Front>,
        now: Duration,
    ) -> (Self, Result<Turn, Stop>) {
        let mut halves =
            Self { mine, ahead: theirs, under_way: BTreeMap::new(), found: Vec::new() };
        let turn = halves.go_on(core, now);
        (halves, turn)
    }

    pub(super) fn receive(
        &mut self,
        core: &mut Core,
        request: u64,
        backs: &[u8],
        now: Duration,
    ) -> Result<Turn, Stop> {
        let Some(fronts) = self.under_way.remove(&request) else { return Ok(Turn::Stay) };
        let ids = ids::join(&fronts, backs)?;
        core.report.compared += ids.len() as u64;
        for (place, id) in (0..).zip(ids) {
            self.found.push(Want { id, listed: Some((request, place)) });
        }
        self.go_on(core, now)
    }

    fn go_on(&mut self, core: &mut Core, now: Duration) -> Result<Turn, Stop> {
        let limits = &core.config.limits;
        let at_once = limits.ids_per_message_max.min(limits.message_len_max / 16).max(1);
        let under_way_max = limits.in_flight_max.max(1);
        while !self.ahead.is_empty() && self.under_way.len() < under_way_max {
            let rest = self.ahead.split_off(self.ahead.len().min(at_once));
            let fronts = core::mem::replace(&mut self.ahead, rest);
            let ask = AskIds { fronts: ids::write_fronts(&fronts) };
            let request = core.ask(Ask::Ids(ask), now)?;
            self.under_way.insert(request, fronts);
        }
        if !self.under_way.is_empty() {
            return Ok(Turn::Stay);
        }
        let mine = core::mem::take(&mut self.mine);
        let theirs = core::mem::take(&mut self.found);
        let difference = Difference::Found { mine, theirs };
        if !difference.fits(core)? {
            return Ok(Turn::Descent(Why::OtherRoot));
        }
        difference.turn(core)
    }
}
