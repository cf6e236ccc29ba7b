//! Frames: what gossip sends, with a proof that the sender has the cluster's secret.
//!
//! ```text
//!  byte 0       1      2          18
//!       +---------+------+----------+--------------------------------------------------
//!       | version | kind | MAC 16 B | 0: who; 1: run 16, who; 2: a packet; 3: a member
//!       +---------+------+----------+--------------------------------------------------
//! ```
//!
//! The MAC is the first 16 bytes of the BLAKE3-keyed hash of version, kind and payload, under
//! `derive("gossip", secret)`; without a secret it only says that the sender has none either.

use foca::State;

use super::{
    FrameError, MEMBERS_MAX,
    member::Member,
    wire::{Reader, put_member, put_text},
};
use crate::{
    cluster::head::VERSION_LEN_MAX,
    keys::{Keys, same},
};

/// The longest packet of the library, in bytes: a feed of some eighty members.
pub(super) const PACKET_LEN_MAX: usize = 4 << 10;
/// The longest frame, in bytes.
pub const FRAME_LEN_MAX: usize = FRONT_LEN + PACKET_LEN_MAX;

const FRONT_LEN: usize = 18;
const VERSION: u8 = 1;

/// Who talks: one run of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Who {
    pub(super) member: Member,
    /// A random number that no other run has.
    pub(super) run: [u8; 16],
    /// When the run began, NTP64.
    pub(super) began: u64,
    pub(super) version: String,
}

/// What a frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    /// Asks who is there.
    Knock(Who),
    /// Answers that, and names the run that asked.
    Here(Who, [u8; 16]),
    /// Says that the receiver's node id is also that of this member.
    Twin(Member),
    /// A packet of the library, and the members that it names.
    Packet(&'a [u8], Vec<(Member, State)>),
}

impl Who {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let (member, run, began) = (reader.member()?, reader.array()?, reader.u64()?);
        Some(Self { member, run, began, version: reader.text(VERSION_LEN_MAX)? })
    }

    fn put(&self, bytes: &mut Vec<u8>) {
        put_member(bytes, &self.member);
        bytes.extend(self.run);
        bytes.extend(self.began.to_le_bytes());
        put_text(bytes, &self.version);
    }
}

/// A frame of a kind.
fn seal(keys: &Keys, kind: u8, payload: &[u8]) -> Vec<u8> {
    let mac = keys.gossip_mac([VERSION, kind], payload);
    [&[VERSION, kind], mac.as_slice(), payload].concat()
}

pub(super) fn knock(keys: &Keys, who: &Who) -> Vec<u8> {
    let mut payload = Vec::new();
    who.put(&mut payload);
    seal(keys, 0, &payload)
}

pub(super) fn here(keys: &Keys, who: &Who, asked: &[u8; 16]) -> Vec<u8> {
    let mut payload = asked.to_vec();
    who.put(&mut payload);
    seal(keys, 1, &payload)
}

pub(super) fn twin(keys: &Keys, member: &Member) -> Vec<u8> {
    let mut payload = Vec::new();
    put_member(&mut payload, member);
    seal(keys, 3, &payload)
}

pub(super) fn packet(keys: &Keys, packet: &[u8]) -> Vec<u8> {
    seal(keys, 2, packet)
}

/// Reads a frame. Total: any bytes may come.
pub(super) fn open<'a>(keys: &Keys, bytes: &'a [u8]) -> Result<Frame<'a>, FrameError> {
    if bytes.len() > FRAME_LEN_MAX {
        return Err(FrameError::TooLong);
    }
    let mut reader = Reader(bytes);
    let version = reader.u8().ok_or(FrameError::Malformed)?;
    if version != VERSION {
        return Err(FrameError::Version(version));
    }
    let kind = reader.u8().ok_or(FrameError::Malformed)?;
    let mac = reader.array().ok_or(FrameError::Malformed)?;
    if !same(&mac, &keys.gossip_mac([version, kind], reader.0)) {
        return Err(FrameError::Secret);
    }
    let who = |mut reader: Reader<'_>| {
        let who = Who::read(&mut reader).filter(|_| reader.0.is_empty());
        who.ok_or(FrameError::Malformed)
    };
    match kind {
        0 => who(reader).map(Frame::Knock),
        1 => {
            let asked = reader.array().ok_or(FrameError::Malformed)?;
            who(reader).map(|who| Frame::Here(who, asked))
        }
        2 => Ok(Frame::Packet(reader.0, named(reader)?)),
        3 => {
            let member = reader.member().filter(|_| reader.0.is_empty());
            member.map(Frame::Twin).ok_or(FrameError::Malformed)
        }
        _ => Err(FrameError::Malformed),
    }
}

/// The members that a packet names, its sender first. The receiver comes next, by the name that
/// the sender knows it by: if that is of an earlier run, with a clock ahead, it has to know.
fn named(mut reader: Reader<'_>) -> Result<Vec<(Member, State)>, FrameError> {
    let header = reader.header().ok_or(FrameError::Malformed)?;
    let mut named = vec![(header.src, State::Alive), (header.dst, State::Down)];
    if header.message == foca::Message::Broadcast {
        return Ok(named);
    }
    // The library's own count is in network byte order.
    let count = reader.array().map_or(0, u16::from_be_bytes);
    if usize::from(count) > MEMBERS_MAX {
        return Err(FrameError::TooManyMembers);
    }
    for _ in 0..count {
        let update = reader.update().ok_or(FrameError::Malformed)?;
        let state = update.state();
        named.push((update.id().clone(), state));
    }
    Ok(named)
}
