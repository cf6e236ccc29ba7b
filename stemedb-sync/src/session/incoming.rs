//! An answer of bodies, as it comes.

use core::time::Duration;

use super::core::{BODY_LIMIT, Core, Stop};
use crate::{
    codec::bodies::Items,
    message::{Bodies, BodiesEnd},
    parts::Parts,
};

#[derive(Debug, Default)]
pub(super) struct Incoming {
    parts: Parts,
    end: Option<BodiesEnd>,
}

impl Incoming {
    /// Takes in a part; gives the items that are whole now.
    pub(super) fn take(
        &mut self,
        core: &mut Core,
        request: u64,
        part: Bodies,
        now: Duration,
    ) -> Result<Items, Stop> {
        core.flight.postpone(request, now.saturating_add(core.config.limits.answer_time_max));
        core.count_bodies(part.bytes.len(), 0);
        self.end = self.end.or(part.end);
        let (last, len_max) = (part.end.is_some(), core.config.limits.body_len_max);
        Ok(self.parts.take(part.part, part.bytes, last, len_max)?)
    }

    /// Its end, once all of it has come; an error if before that no more may be moved.
    pub(super) fn end(&self, core: &Core) -> Result<Option<BodiesEnd>, Stop> {
        match self.end.filter(|_| self.parts.has_ended()) {
            None if !core.may_move() => Err(BODY_LIMIT),
            end => Ok(end),
        }
    }
}
