//! The bytes of gossip. docs/protocol.md has the layout.
//!
//! Integers are little-endian. All decoders are total.

use bytes::{Buf, BufMut};
use foca::{Header, Member as Update, Message, ProbeNumber, State};

use super::member::{ADDRESS_LEN_MAX, Member};

/// Why bytes of gossip were not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// It does not parse.
    #[error("a message of gossip does not parse")]
    Malformed,
    /// It is of another version.
    #[error("gossip of version {0} is not known here, only 1: the programs are too far apart")]
    Version(u8),
    /// Whoever made it does not have the secret.
    #[error("gossip from somebody with another cluster secret, or only one of the two has any")]
    Secret,
    /// It is too long.
    #[error("a message of gossip is longer than allowed")]
    TooLong,
    /// It names more members than a cluster may have.
    #[error("gossip names more members than a cluster may have")]
    TooManyMembers,
}

/// No generation is higher: there must be room to renew it.
const GENERATION_MAX: u64 = u64::MAX - (1 << 32);

/// Takes fields off the front of bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl Reader<'_> {
    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A length and so many bytes of printable ASCII: what comes from others may be shown.
    pub(super) fn text(&mut self, len_max: usize) -> Option<String> {
        let len = usize::from(self.u8()?);
        let (text, rest) = self.0.split_at_checked(len)?;
        let good = len <= len_max && text.iter().all(u8::is_ascii_graphic);
        self.0 = rest;
        String::from_utf8(text.to_vec()).ok().filter(|_| good)
    }

    /// node 16, generation u64, length of the address u8, address.
    pub(super) fn member(&mut self) -> Option<Member> {
        let (node, generation) = (self.array()?, self.u64()?);
        if generation > GENERATION_MAX {
            return None;
        }
        let address = self.text(ADDRESS_LEN_MAX).filter(|address| !address.is_empty())?;
        Some(Member { node, generation, address })
    }

    /// A member, incarnation u16, state u8: 0 alive, 1 suspect, 2 down.
    pub(super) fn update(&mut self) -> Option<Update<Member>> {
        let (member, incarnation) = (self.member()?, self.u16()?);
        let state = match self.u8()? {
            0 => State::Alive,
            1 => State::Suspect,
            2 => State::Down,
            _ => return None,
        };
        Some(Update::new(member, incarnation, state))
    }

    /// The sender, its incarnation u16, the receiver, the message: kind u8, number u8 for kinds 0
    /// to 5, a member for kinds 2 to 5.
    pub(super) fn header(&mut self) -> Option<Header<Member>> {
        let (src, src_incarnation, dst) = (self.member()?, self.u16()?, self.member()?);
        let kind = self.u8()?;
        let probe_number = if kind <= 5 { self.u8()? } else { ProbeNumber::default() };
        let message = match kind {
            0 => Message::Ping(probe_number),
            1 => Message::Ack(probe_number),
            2 => Message::PingReq { target: self.member()?, probe_number },
            3 => Message::IndirectPing { origin: self.member()?, probe_number },
            4 => Message::IndirectAck { target: self.member()?, probe_number },
            5 => Message::ForwardedAck { origin: self.member()?, probe_number },
            6 => Message::Announce,
            7 => Message::Feed,
            8 => Message::Gossip,
            9 => Message::Broadcast,
            10 => Message::TurnUndead,
            _ => return None,
        };
        Some(Header { src, src_incarnation, dst, message })
    }
}

/// A text of at most 255 bytes; what is longer is cut.
pub(super) fn put_text(bytes: &mut Vec<u8>, text: &str) {
    let text = text.as_bytes();
    let text = text.get(..usize::from(u8::MAX)).unwrap_or(text);
    bytes.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    bytes.extend(text);
}

pub(super) fn put_member(bytes: &mut Vec<u8>, member: &Member) {
    bytes.extend(member.node);
    bytes.extend(member.generation.to_le_bytes());
    put_text(bytes, &member.address);
}

/// How the library's messages are written.
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
        let mut bytes = Vec::with_capacity(160);
        put_member(&mut bytes, &header.src);
        bytes.extend(header.src_incarnation.to_le_bytes());
        put_member(&mut bytes, &header.dst);
        let (kind, number, third) = match &header.message {
            Message::Ping(number) => (0, Some(*number), None),
            Message::Ack(number) => (1, Some(*number), None),
            Message::PingReq { target, probe_number } => (2, Some(*probe_number), Some(target)),
            Message::IndirectPing { origin, probe_number } => {
                (3, Some(*probe_number), Some(origin))
            }
            Message::IndirectAck { target, probe_number } => (4, Some(*probe_number), Some(target)),
            Message::ForwardedAck { origin, probe_number } => {
                (5, Some(*probe_number), Some(origin))
            }
            Message::Announce => (6, None, None),
            Message::Feed => (7, None, None),
            Message::Gossip => (8, None, None),
            Message::Broadcast => (9, None, None),
            Message::TurnUndead => (10, None, None),
        };
        bytes.push(kind);
        bytes.extend(number);
        if let Some(third) = third {
            put_member(&mut bytes, third);
        }
        Self::put(&bytes, buf)
    }

    fn decode_header(&mut self, buf: impl Buf) -> Result<Header<Member>, FrameError> {
        let mut reader = Reader(buf.chunk());
        let read = reader.header().map(|header| (header, reader.0.len()));
        Self::advance(buf, read)
    }

    fn encode_member(
        &mut self,
        update: &Update<Member>,
        buf: impl BufMut,
    ) -> Result<(), FrameError> {
        let mut bytes = Vec::with_capacity(64);
        put_member(&mut bytes, update.id());
        bytes.extend(update.incarnation().to_le_bytes());
        bytes.push(match update.state() {
            State::Alive => 0,
            State::Suspect => 1,
            State::Down => 2,
        });
        Self::put(&bytes, buf)
    }

    fn decode_member(&mut self, buf: impl Buf) -> Result<Update<Member>, FrameError> {
        let mut reader = Reader(buf.chunk());
        let read = reader.update().map(|update| (update, reader.0.len()));
        Self::advance(buf, read)
    }
}
