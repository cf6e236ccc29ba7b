//! The messages of the store service.

use stemedb_merkle::{
    AssertionId, Root,
    proof::{SIBLINGS_MAX, SetProof, Terminal},
};
use stemedb_store::{
    Entry, Head, LogId, LogIndex, LogSize, Position, Receipt, ResumePoint, Timestamp,
};

use super::array;
use crate::Malformed;
use crate::{
    Which,
    proto::v1::{self, find_request, get_request},
};

/// The digits of an id's prefix: so many at least, and all at most.
const PREFIX_LEN_MIN: usize = 4;
const PREFIX_LEN_MAX: usize = 64;

pub(crate) fn id(field: &'static str, bytes: &[u8]) -> Result<AssertionId, Malformed> {
    array(field, bytes).map(AssertionId)
}

impl From<Receipt> for v1::Receipt {
    fn from(receipt: Receipt) -> Self {
        let Receipt { id, index, time, position, duplicate } = receipt;
        let (index, time, position) = (index.get(), time.as_ntp64(), position.get());
        Self { id: id.0.to_vec(), index, time, position, duplicate }
    }
}

impl TryFrom<v1::Receipt> for Receipt {
    type Error = Malformed;

    fn try_from(receipt: v1::Receipt) -> Result<Self, Malformed> {
        let v1::Receipt { id, index, time, position, duplicate } = receipt;
        let id = self::id("receipt.id", &id)?;
        let (index, position) = (LogIndex(index), Position(position));
        Ok(Self { id, index, time: Timestamp::from_ntp64(time), position, duplicate })
    }
}

/// An entry, and its body where that is given.
impl From<(Entry, Option<Vec<u8>>)> for v1::Entry {
    fn from((entry, body): (Entry, Option<Vec<u8>>)) -> Self {
        let Entry { id, index, time, len, hole } = entry;
        let (index, time) = (index.get(), time.as_ntp64());
        Self { id: id.0.to_vec(), index, time, len, body, hole }
    }
}

impl TryFrom<v1::Entry> for (Entry, Option<Vec<u8>>) {
    type Error = Malformed;

    fn try_from(entry: v1::Entry) -> Result<Self, Malformed> {
        let v1::Entry { id, index, time, len, body, hole } = entry;
        let fits = body.as_ref().is_none_or(|body| u64::try_from(body.len()) == Ok(len));
        if !fits {
            return Err(Malformed::new("entry.len", "must be the length of the body"));
        }
        let id = self::id("entry.id", &id)?;
        let (index, time) = (LogIndex(index), Timestamp::from_ntp64(time));
        Ok((Entry { id, index, time, len, hole }, body))
    }
}

impl From<LogId> for v1::LogId {
    fn from(log: LogId) -> Self {
        Self { node: log.node.to_vec(), epoch: log.epoch }
    }
}

impl TryFrom<v1::LogId> for LogId {
    type Error = Malformed;

    fn try_from(log: v1::LogId) -> Result<Self, Malformed> {
        Ok(Self { node: array("log.node", &log.node)?, epoch: log.epoch })
    }
}

impl From<ResumePoint> for v1::WatchedLog {
    fn from(point: ResumePoint) -> Self {
        let ResumePoint { node, epoch, last, .. } = point;
        // No id says that no entry was seen.
        let (last_time, last_id) =
            last.map_or((0, Vec::new()), |(time, id)| (time.as_ntp64(), id.0.to_vec()));
        Self { log: Some(LogId { node, epoch }.into()), last_time, last_id }
    }
}

/// The other way, of a watch that goes on with the entry `next`.
pub(crate) fn resume_point(
    watched: v1::WatchedLog,
    next: LogIndex,
) -> Result<ResumePoint, Malformed> {
    let v1::WatchedLog { log, last_time, last_id } = watched;
    let LogId { node, epoch } = log.ok_or(Malformed::missing("after.log"))?.try_into()?;
    let seen = !last_id.is_empty();
    let last_time = Timestamp::from_ntp64(last_time);
    let last = seen.then(|| id("after.last_id", &last_id).map(|id| (last_time, id)));
    Ok(ResumePoint { node, epoch, next, last: last.transpose()? })
}

impl From<Head> for v1::HeadResponse {
    fn from(head: Head) -> Self {
        let Head { count, set_root, log_size, log_root, last_time } = head;
        let (set_root, log_root) = (set_root.0.to_vec(), log_root.0.to_vec());
        let (log_size, last_time) = (log_size.get(), last_time.as_ntp64());
        Self { count, set_root, log_size, log_root, last_time }
    }
}

impl TryFrom<v1::HeadResponse> for Head {
    type Error = Malformed;

    fn try_from(head: v1::HeadResponse) -> Result<Self, Malformed> {
        let v1::HeadResponse { count, set_root, log_size, log_root, last_time } = head;
        let set_root = Root(array("set_root", &set_root)?);
        let log_root = Root(array("log_root", &log_root)?);
        let (log_size, last_time) = (LogSize(log_size), Timestamp::from_ntp64(last_time));
        Ok(Self { count, set_root, log_size, log_root, last_time })
    }
}

impl From<&Which> for get_request::Which {
    fn from(which: &Which) -> Self {
        match which {
            Which::Id(id) => Self::Id(id.0.to_vec()),
            Which::Prefix(prefix) => Self::Prefix(prefix.clone()),
            Which::Index(index) => Self::Index(index.get()),
        }
    }
}

impl From<&Which> for find_request::Which {
    fn from(which: &Which) -> Self {
        match get_request::Which::from(which) {
            get_request::Which::Id(id) => Self::Id(id),
            get_request::Which::Prefix(prefix) => Self::Prefix(prefix),
            get_request::Which::Index(index) => Self::Index(index),
        }
    }
}

impl TryFrom<Option<find_request::Which>> for Which {
    type Error = Malformed;

    fn try_from(which: Option<find_request::Which>) -> Result<Self, Malformed> {
        Self::try_from(which.map(|which| match which {
            find_request::Which::Id(id) => get_request::Which::Id(id),
            find_request::Which::Prefix(prefix) => get_request::Which::Prefix(prefix),
            find_request::Which::Index(index) => get_request::Which::Index(index),
        }))
    }
}

impl TryFrom<Option<get_request::Which>> for Which {
    type Error = Malformed;

    fn try_from(which: Option<get_request::Which>) -> Result<Self, Malformed> {
        Ok(match which.ok_or(Malformed::missing("which"))? {
            get_request::Which::Id(id) => Self::Id(self::id("id", &id)?),
            get_request::Which::Index(index) => Self::Index(LogIndex(index)),
            get_request::Which::Prefix(prefix) => {
                let digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
                let fits = (PREFIX_LEN_MIN..=PREFIX_LEN_MAX).contains(&prefix.len());
                if !fits || !prefix.as_bytes().iter().all(digit) {
                    return Err(Malformed::new("prefix", "must be 4 to 64 lowercase hex digits"));
                }
                Self::Prefix(prefix)
            }
        })
    }
}

/// A proof and the root that it was made for.
pub(crate) fn proof_message(proof: &SetProof, set_root: &Root) -> v1::ProveResponse {
    v1::ProveResponse {
        id: proof.id.to_vec(),
        count: proof.count,
        siblings: proof.siblings.concat(),
        terminal: match proof.terminal {
            Terminal::Empty => None,
            Terminal::Id(id) => Some(id.to_vec()),
        },
        set_root: set_root.0.to_vec(),
    }
}

/// Ids of one message of a list, of which there is one at least, ascending.
impl TryFrom<v1::ListIdsResponse> for Vec<AssertionId> {
    type Error = Malformed;

    fn try_from(message: v1::ListIdsResponse) -> Result<Self, Malformed> {
        let (ids, rest) = message.ids.as_chunks::<32>();
        if ids.is_empty() || !rest.is_empty() {
            return Err(Malformed::new("ids", "must be whole ids, at least one"));
        }
        if !ids.is_sorted_by(|one, next| one < next) {
            return Err(Malformed::new("ids", "must ascend"));
        }
        Ok(ids.iter().copied().map(AssertionId).collect())
    }
}

/// The other way. Nothing of the proof is verified here.
impl TryFrom<v1::ProveResponse> for (SetProof, Root) {
    type Error = Malformed;

    fn try_from(message: v1::ProveResponse) -> Result<Self, Malformed> {
        let v1::ProveResponse { id, count, siblings, terminal, set_root } = message;
        let (siblings, rest) = siblings.as_chunks::<32>();
        if siblings.len() > SIBLINGS_MAX || !rest.is_empty() {
            return Err(Malformed::new("siblings", "must be at most 256 times 32 bytes"));
        }
        let proof = SetProof {
            id: array("id", &id)?,
            count,
            siblings: siblings.to_vec(),
            terminal: match terminal {
                None => Terminal::Empty,
                Some(id) => Terminal::Id(array("terminal", &id)?),
            },
        };
        Ok((proof, Root(array("set_root", &set_root)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proofs_come_back_as_they_were() {
        for terminal in [Terminal::Empty, Terminal::Id([3; 32])] {
            let siblings = vec![[1; 32], [0; 32], [2; 32]];
            let one = SetProof { id: [7; 32], count: 5, siblings, terminal };
            let message = proof_message(&one, &Root([9; 32]));
            assert_eq!(<(SetProof, Root)>::try_from(message).unwrap(), (one, Root([9; 32])));
        }
        let good = v1::ProveResponse {
            id: vec![0; 32],
            count: 0,
            siblings: Vec::new(),
            terminal: None,
            set_root: vec![0; 32],
        };
        assert!(<(SetProof, Root)>::try_from(good.clone()).is_ok());
        for bad in [
            v1::ProveResponse { id: vec![0; 31], ..good.clone() },
            v1::ProveResponse { siblings: vec![0; 33], ..good.clone() },
            v1::ProveResponse { siblings: vec![0; 32 * 257], ..good.clone() },
            v1::ProveResponse { terminal: Some(vec![]), ..good.clone() },
            v1::ProveResponse { set_root: vec![], ..good },
        ] {
            assert!(<(SetProof, Root)>::try_from(bad).is_err());
        }
    }

    #[test]
    fn only_prefixes_of_ids_are_taken() {
        let parse = |prefix: &str| {
            Which::try_from(Some(get_request::Which::Prefix(prefix.to_owned()))).is_ok()
        };
        assert!(parse("0123"));
        assert!(parse(&"f".repeat(64)));
        for bad in ["", "012", "0123456G", "ABCDEF01", &"f".repeat(65), "éééé"] {
            assert!(!parse(bad), "{bad}");
        }
        assert!(Which::try_from(None::<get_request::Which>).is_err());
        assert!(Which::try_from(None::<find_request::Which>).is_err());
    }
}
