//! Putting an answer of several parts together.

use std::collections::BTreeMap;

use super::core::Stop;
use crate::{
    blame::Blame,
    codec::{CodecError, bodies::BodyReader},
    limits::Limits,
    message::{Bodies, BodiesEnd},
};

/// Parts that came early are kept up to so many; the rest come again.
const AHEAD_MAX: usize = 64;

/// The parts of one answer of bodies.
#[derive(Debug, Default)]
pub(super) struct Parts {
    next: u32,
    ahead: BTreeMap<u32, Bodies>,
    reader: BodyReader,
}

impl Parts {
    /// Takes in a part; gives the bodies that are whole now, and the end once all parts are there.
    pub(super) fn take(
        &mut self,
        part: Bodies,
        limits: &Limits,
    ) -> Result<(Vec<Vec<u8>>, Option<BodiesEnd>), Stop> {
        if part.part >= self.next && self.ahead.len() < AHEAD_MAX {
            self.ahead.insert(part.part, part);
        }
        let mut bodies = Vec::new();
        while let Some(part) = self.ahead.remove(&self.next) {
            self.next = self.next.saturating_add(1);
            if part.bytes.is_empty() && part.end.is_none() {
                return Err(Blame::Empty.into());
            }
            bodies.extend(self.reader.push(&part.bytes, limits.body_len_max)?);
            if let Some(end) = part.end {
                if self.reader.is_inside() {
                    return Err(CodecError::Length.into());
                }
                return Ok((bodies, Some(end)));
            }
        }
        Ok((bodies, None))
    }
}
