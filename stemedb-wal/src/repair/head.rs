//! Puts the damaged head of a record together again from what is left of it and around it.
//!
//! Much of a head is known from elsewhere: the index and, mostly, the time from its neighbours, the
//! length from where the next record begins, and the id from the body if that is whole. A head made
//! of such parts and of what the damaged one still says is right if the checksum that was written
//! over the right one says so. If it is the checksum that is damaged, the rest must agree with all
//! that is known, and the body with the head.

use super::HashBody;
use crate::{
    checksum::Salt,
    record::{BODY_LEN_MAX, HEAD_LEN, Head, Kind},
};

/// What the records around a damaged one say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Neighbours {
    /// The index that comes next.
    pub(crate) index: u64,
    /// The time of the entry before.
    pub(crate) time_before: u64,
    /// The time of the entry behind, or one more than that of the last one in the batch.
    pub(crate) time_after: Option<u64>,
}

/// The head of the record whose bytes, to where the next one begins, are `record`.
pub(crate) fn rebuild_head(
    record: &[u8],
    salt: Salt,
    position: u64,
    neighbours: Neighbours,
    hash: Option<HashBody<'_>>,
) -> Option<Head> {
    let (raw, body) = record.split_at_checked(HEAD_LEN)?;
    let (sum, rest) = raw.split_first_chunk::<4>()?;
    let (body_sum, rest) = rest.split_first_chunk::<4>()?;
    let (kind_len, rest) = rest.split_first_chunk::<4>()?;
    let (index, rest) = rest.split_first_chunk::<8>()?;
    let (time, id) = rest.split_first_chunk::<8>()?;
    let len = u32::try_from(body.len()).ok().filter(|len| *len <= BODY_LEN_MAX)?;
    let kind = match u32::from_le_bytes(*kind_len) >> 30 {
        3 => Kind::Heal,
        2 => Kind::Hole,
        _ => Kind::Entry,
    };
    let said = Head {
        kind,
        len,
        index: u64::from_le_bytes(*index),
        time: u64::from_le_bytes(*time),
        id: *id.first_chunk::<32>()?,
        body_sum: u32::from_le_bytes(*body_sum),
    };
    let sum_of = |head: &Head| {
        let bytes = head.encode(salt, position);
        bytes.first_chunk::<4>().copied()
    };
    let kinds = [kind, Kind::Entry, Kind::Hole];
    let indexes = [neighbours.index, said.index];
    let times = [
        Some(said.time),
        neighbours.time_before.checked_add(1),
        neighbours.time_after.and_then(|time| time.checked_sub(1)),
    ];
    let ids = [Some(said.id), hash.map(|hash| hash.id(body))];
    let body_sums = [said.body_sum, salt.checksum(position, body)];
    for kind in kinds {
        for index in indexes {
            for time in times.into_iter().flatten() {
                for id in ids.into_iter().flatten() {
                    for body_sum in body_sums {
                        let head = Head { kind, len, index, time, id, body_sum };
                        if sum_of(&head) == Some(*sum) && follows(&head, neighbours) {
                            return Some(head);
                        }
                    }
                }
            }
        }
    }
    // Only the checksum can be damaged now. Nothing but its bits tells a damaged checksum from a
    // damaged id where the id cannot be computed.
    let differing = sum_of(&said)
        .map_or(32, |right| (u32::from_le_bytes(right) ^ u32::from_le_bytes(*sum)).count_ones());
    let id_holds = match hash {
        Some(hash) if kind.has_body() => hash.id(body) == said.id,
        _ => differing <= 2,
    };
    let agrees = u32::from_le_bytes(*kind_len) & BODY_LEN_MAX == len
        && follows(&said, neighbours)
        && said.covers(body, salt, position)
        && id_holds;
    agrees.then_some(said)
}

fn follows(head: &Head, neighbours: Neighbours) -> bool {
    if !head.kind.takes_index() {
        return head.index < neighbours.index;
    }
    head.index == neighbours.index
        && head.time > neighbours.time_before
        && neighbours.time_after.is_none_or(|after| head.time < after)
}
