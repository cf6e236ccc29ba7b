//! The end: the peer's check, and what the report says.

use core::time::Duration;

use super::core::{Core, Moved, Stop, Transition};
use crate::{
    message::{Ask, Finish, Finished},
    report::{Ending, Limited},
    violation::ProtocolViolation,
};

/// Whether all bodies that were to be moved have moved.
fn is_whole(core: &Core) -> bool {
    let all_read = core.report.withheld == 0 && core.report.unreadable == 0;
    all_read && core.push_refused.is_none() && !core.declined
}

/// Whether bodies went both ways as far as there were any.
fn both_ways(core: &Core) -> bool {
    let (direction, report) = (core.config.direction, &core.report);
    (direction.pulls() || report.only_theirs == 0) && (direction.pushes() || report.only_mine == 0)
}

#[derive(Debug)]
pub(super) struct Finishing {
    moved: Moved,
    /// Whether the peer was asked to check.
    asked: bool,
}

impl Finishing {
    pub(super) fn begin(
        core: &mut Core,
        moved: Moved,
        now: Duration,
    ) -> (Self, Result<Transition, Stop>) {
        let asked = is_whole(core) && both_ways(core);
        let set = asked.then(|| core.pin.set());
        let finish = Finish { set, now: moved.now.filter(|_| asked) };
        let transition = core.ask(Ask::Finish(finish), now).map(|_| Transition::Stay);
        (Self { moved, asked }, transition)
    }

    pub(super) fn receive(
        &mut self,
        core: &mut Core,
        finished: &Finished,
    ) -> Result<Transition, Stop> {
        core.flight.close();
        let pulls = core.config.direction.pulls();
        let shorter = core.peer.as_ref().is_some_and(|peer| finished.log.size < peer.log.size);
        if shorter || finished.set.count < core.peer_set().count {
            return Err(ProtocolViolation::Shrunk.into());
        }
        // One root is a check of everything at once, and of whatever was written meanwhile.
        let one_root = self.asked && self.moved.now == Some(finished.set);
        if one_root {
            self.moved.settle(core)?;
        } else {
            self.moved.check(core)?;
        }
        if one_root {
            (core.report.confirmed, core.report.equal) = (true, true);
            (core.report.peer_moved, core.report.set) = (false, Some(finished.set));
        } else if self.asked && core.report.checked {
            let set = self.moved.union(core)?;
            let same = finished.set == set;
            // It has all of that by now, or more.
            if !same && finished.set.count <= set.count {
                return Err(ProtocolViolation::Shrunk.into());
            }
            // A peer that was given more ids than it remembers can't check, but say what it holds.
            core.report.confirmed = finished.checked || same;
            core.report.equal = core.report.confirmed;
            core.report.peer_moved = !same;
            core.report.set = core.report.equal.then_some(set);
        }
        if pulls && core.report.withheld == 0 && !core.declined {
            core.report.cursor = core.peer_cursor();
            // What its log took in since is known as well, if all of it came from here.
            if let Some(cursor) = &mut core.report.cursor
                && cursor.size.checked_add(self.moved.appended) == Some(finished.log.size.0)
            {
                (cursor.size, cursor.root) = (finished.log.size.0, finished.log.root);
            }
        }
        Ok(Transition::End(match core.push_refused {
            _ if core.declined => Ending::Limit(Limited::Disk),
            Some(refusal) => Ending::Refused(refusal),
            None if is_whole(core) => Ending::Complete,
            None => Ending::Incomplete,
        }))
    }
}
