//! Packets of the library foca: in memory with the key of each member, on the wire without.
//!
//! On the wire a member is named by node id, generation and address; the receiver knows the keys.
//! Between, [`Packet`] is what both say.

use bytes::{Buf, BufMut};
use foca::{Header, Member as Update, Message, ProbeNumber, State};

use super::{
    FrameError, MEMBERS_MAX,
    member::Member,
    wire::{Reader, put_member},
};
use crate::message::NodeId;

/// A member as a packet on the wire names it.
pub(super) type Named = (NodeId, u64, String);

/// A packet, with members of one kind or the other.
#[derive(Clone, Debug)]
pub(super) struct Packet<'a, M> {
    pub(super) src: M,
    pub(super) src_incarnation: u16,
    pub(super) dst: M,
    pub(super) message: Message<M>,
    /// `None` where the message has no place for them.
    pub(super) updates: Option<Vec<(M, u16, State)>>,
    /// Heads, each after its length.
    pub(super) tail: &'a [u8],
}

/// How a member is written.
pub(super) trait OnWire: Sized {
    fn read(reader: &mut Reader<'_>) -> Option<Self>;
    fn put(&self, bytes: &mut Vec<u8>);
}

impl OnWire for Named {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        reader.member()
    }

    fn put(&self, bytes: &mut Vec<u8>) {
        let (node, generation, address) = self;
        bytes.extend(node);
        bytes.extend(generation.to_le_bytes());
        super::wire::put_text(bytes, address);
    }
}

impl OnWire for Member {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let (node, generation, address) = reader.member()?;
        Some(Self { node, generation, address, key: reader.array()? })
    }

    fn put(&self, bytes: &mut Vec<u8>) {
        put_member(bytes, self);
        bytes.extend(self.key);
    }
}

impl<'a, M: OnWire> Packet<'a, M> {
    /// Reads a packet. Total: any bytes may come.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, FrameError> {
        let mut reader = Reader(bytes);
        let header = read_header(&mut reader).ok_or(FrameError::Malformed)?;
        let (src, src_incarnation, dst, message) = header;
        let has_updates = !matches!(message, Message::Announce | Message::Broadcast);
        let mut updates = None;
        if has_updates && !reader.0.is_empty() {
            // The library's own count is in network byte order.
            let count = reader.array().map(u16::from_be_bytes).ok_or(FrameError::Malformed)?;
            if usize::from(count) > MEMBERS_MAX {
                return Err(FrameError::TooManyMembers);
            }
            let mut read = Vec::new();
            for _ in 0..count {
                read.push(read_update(&mut reader).ok_or(FrameError::Malformed)?);
            }
            updates = Some(read);
        }
        Ok(Self { src, src_incarnation, dst, message, updates, tail: reader.0 })
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(512);
        put_header(&mut bytes, &self.src, self.src_incarnation, &self.dst, &self.message);
        if let Some(updates) = &self.updates {
            let count = u16::try_from(updates.len()).unwrap_or(u16::MAX);
            bytes.extend(count.to_be_bytes());
            for (member, incarnation, state) in updates {
                put_update(&mut bytes, member, *incarnation, *state);
            }
        }
        bytes.extend(self.tail);
        bytes
    }

    /// The same packet about members of the other kind; `None` if one that it cannot do without is
    /// unknown. Updates about unknown members are left out.
    pub(super) fn translate<N>(
        self,
        mut member: impl FnMut(&M) -> Option<N>,
        mut update: impl FnMut(&M, u16, State) -> Option<(N, u16, State)>,
    ) -> Option<Packet<'a, N>> {
        let message = match &self.message {
            Message::Ping(number) => Message::Ping(*number),
            Message::Ack(number) => Message::Ack(*number),
            Message::PingReq { target, probe_number } => {
                Message::PingReq { target: member(target)?, probe_number: *probe_number }
            }
            Message::IndirectPing { origin, probe_number } => {
                Message::IndirectPing { origin: member(origin)?, probe_number: *probe_number }
            }
            Message::IndirectAck { target, probe_number } => {
                Message::IndirectAck { target: member(target)?, probe_number: *probe_number }
            }
            Message::ForwardedAck { origin, probe_number } => {
                Message::ForwardedAck { origin: member(origin)?, probe_number: *probe_number }
            }
            Message::Announce => Message::Announce,
            Message::Feed => Message::Feed,
            Message::Gossip => Message::Gossip,
            Message::Broadcast => Message::Broadcast,
            Message::TurnUndead => Message::TurnUndead,
        };
        let updates = self.updates.map(|updates| {
            let updates = updates.iter();
            updates
                .filter_map(|(of, incarnation, state)| update(of, *incarnation, *state))
                .collect()
        });
        Some(Packet {
            src: member(&self.src)?,
            src_incarnation: self.src_incarnation,
            dst: member(&self.dst)?,
            message,
            updates,
            tail: self.tail,
        })
    }
}

/// The sender, its incarnation u16, the receiver, the message: kind u8, number u8 for kinds 0 to 5,
/// a member for kinds 2 to 5.
fn read_header<M: OnWire>(reader: &mut Reader<'_>) -> Option<(M, u16, M, Message<M>)> {
    let (src, src_incarnation, dst) = (M::read(reader)?, reader.u16()?, M::read(reader)?);
    let kind = reader.u8()?;
    let probe_number = if kind <= 5 { reader.u8()? } else { ProbeNumber::default() };
    let message = match kind {
        0 => Message::Ping(probe_number),
        1 => Message::Ack(probe_number),
        2 => Message::PingReq { target: M::read(reader)?, probe_number },
        3 => Message::IndirectPing { origin: M::read(reader)?, probe_number },
        4 => Message::IndirectAck { target: M::read(reader)?, probe_number },
        5 => Message::ForwardedAck { origin: M::read(reader)?, probe_number },
        6 => Message::Announce,
        7 => Message::Feed,
        8 => Message::Gossip,
        9 => Message::Broadcast,
        10 => Message::TurnUndead,
        _ => return None,
    };
    Some((src, src_incarnation, dst, message))
}

fn put_header<M: OnWire>(
    bytes: &mut Vec<u8>,
    src: &M,
    src_incarnation: u16,
    dst: &M,
    message: &Message<M>,
) {
    src.put(bytes);
    bytes.extend(src_incarnation.to_le_bytes());
    dst.put(bytes);
    let (kind, number, third) = match message {
        Message::Ping(number) => (0, Some(*number), None),
        Message::Ack(number) => (1, Some(*number), None),
        Message::PingReq { target, probe_number } => (2, Some(*probe_number), Some(target)),
        Message::IndirectPing { origin, probe_number } => (3, Some(*probe_number), Some(origin)),
        Message::IndirectAck { target, probe_number } => (4, Some(*probe_number), Some(target)),
        Message::ForwardedAck { origin, probe_number } => (5, Some(*probe_number), Some(origin)),
        Message::Announce => (6, None, None),
        Message::Feed => (7, None, None),
        Message::Gossip => (8, None, None),
        Message::Broadcast => (9, None, None),
        Message::TurnUndead => (10, None, None),
    };
    bytes.push(kind);
    bytes.extend(number);
    if let Some(third) = third {
        third.put(bytes);
    }
}

/// A member, incarnation u16, state u8: 0 alive, 1 suspect, 2 down.
fn read_update<M: OnWire>(reader: &mut Reader<'_>) -> Option<(M, u16, State)> {
    let (member, incarnation) = (M::read(reader)?, reader.u16()?);
    let state = match reader.u8()? {
        0 => State::Alive,
        1 => State::Suspect,
        2 => State::Down,
        _ => return None,
    };
    Some((member, incarnation, state))
}

fn put_update<M: OnWire>(bytes: &mut Vec<u8>, member: &M, incarnation: u16, state: State) {
    member.put(bytes);
    bytes.extend(incarnation.to_le_bytes());
    bytes.push(match state {
        State::Alive => 0,
        State::Suspect => 1,
        State::Down => 2,
    });
}

/// How the library's messages are written in memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Codec;

impl Codec {
    fn put(bytes: &[u8], mut buf: impl BufMut) -> Result<(), FrameError> {
        if buf.remaining_mut() < bytes.len() {
            return Err(FrameError::TooLong);
        }
        buf.put_slice(bytes);
        Ok(())
    }

    /// Takes off what was read, but for what is left.
    fn advance<T>(mut buf: impl Buf, read: Option<(T, usize)>) -> Result<T, FrameError> {
        let (taken, left) = read.ok_or(FrameError::Malformed)?;
        buf.advance(buf.remaining().saturating_sub(left));
        Ok(taken)
    }
}

impl foca::Codec<Member> for Codec {
    type Error = FrameError;

    fn encode_header(
        &mut self,
        header: &Header<Member>,
        buf: impl BufMut,
    ) -> Result<(), FrameError> {
        let mut bytes = Vec::with_capacity(256);
        let Header { src, src_incarnation, dst, message } = header;
        put_header(&mut bytes, src, *src_incarnation, dst, message);
        Self::put(&bytes, buf)
    }

    fn decode_header(&mut self, buf: impl Buf) -> Result<Header<Member>, FrameError> {
        let mut reader = Reader(buf.chunk());
        let header = read_header(&mut reader);
        let header = header.map(|(src, src_incarnation, dst, message)| Header {
            src,
            src_incarnation,
            dst,
            message,
        });
        let read = header.map(|header| (header, reader.0.len()));
        Self::advance(buf, read)
    }

    fn encode_member(
        &mut self,
        update: &Update<Member>,
        buf: impl BufMut,
    ) -> Result<(), FrameError> {
        let mut bytes = Vec::with_capacity(96);
        put_update(&mut bytes, update.id(), update.incarnation(), update.state());
        Self::put(&bytes, buf)
    }

    fn decode_member(&mut self, buf: impl Buf) -> Result<Update<Member>, FrameError> {
        let mut reader = Reader(buf.chunk());
        let update = read_update(&mut reader);
        let update =
            update.map(|(member, incarnation, state)| Update::new(member, incarnation, state));
        let read = update.map(|update| (update, reader.0.len()));
        Self::advance(buf, read)
    }
}
