//! Frames: what gossip sends, with a proof that the sender has the cluster's secret, and its
//! signature.
//!
//! ```text
//!  byte 0       1      2          18
//!       +---------+------+----------+---------------------------------------+--------------+
//!       | version | kind | MAC 16 B | payload                               | signature 64 |
//!       +---------+------+----------+---------------------------------------+--------------+
//!
//!  kind 0 join       who, challenge 16
//!  kind 1 join ack   who, challenge 16, known u8 and a record, length of the head u16, head
//!  kind 2 packet     run 16, counter u64, count u8 and records, packet
//!  kind 3 claim      a record, and no signature after it: the record has one
//! ```
//!
//! The MAC is the first 16 bytes of the BLAKE3-keyed hash of version, kind and what follows the
//! MAC, under `derive("gossip", secret)`; without a secret it says only that the sender has none.
//! The signature is that of the node that the frame is from, over version, kind and payload.

use super::{
    FrameError,
    key::{NodeKey, PublicKey, SIGNATURE_LEN, Signed, verify},
    packet::{Named, Packet},
    record::Record,
    wire::{Reader, put_text},
};
use crate::{
    cluster::head::VERSION_LEN_MAX,
    keys::{Keys, same},
};

/// The longest packet of the library, in bytes: a feed of some fifty members.
pub(super) const PACKET_LEN_MAX: usize = 4 << 10;
/// The longest frame, in bytes.
pub const FRAME_LEN_MAX: usize = 16 << 10;
/// Records may take so much of a frame, in bytes.
const RECORDS_LEN_MAX: usize = FRAME_LEN_MAX - PACKET_LEN_MAX - 256;

const VERSION: u8 = 2;

/// One run of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Who {
    pub(super) record: Record,
    /// A random number that no other run has.
    pub(super) run: [u8; 16],
    /// When the run began, NTP64.
    pub(super) began: u64,
    pub(super) version: String,
}

/// Content of a frame.
#[derive(Debug)]
pub(super) enum Frame<'a> {
    /// Asks who is at the address that it is sent to.
    Join(Who, [u8; 16]),
    /// Answers that.
    JoinAck(JoinAck<'a>),
    /// A packet of the library.
    Packet(PacketFrame<'a>),
    /// The receiver's node id is also that of this record.
    Claim(Record),
}

/// An answer to a join.
#[derive(Debug)]
pub(super) struct JoinAck<'a> {
    pub(super) who: Who,
    /// That of the join.
    pub(super) challenge: [u8; 16],
    /// The latest record of the one who asked, if one is known here that is later than its own.
    pub(super) known: Option<Record>,
    /// Head of the node; empty if it has told nobody yet.
    pub(super) head: &'a [u8],
}

/// A packet of the library with what goes along.
#[derive(Debug)]
pub(super) struct PacketFrame<'a> {
    /// The run of the sender.
    pub(super) run: [u8; 16],
    /// Counts the packets of the run.
    pub(super) counter: u64,
    /// Records of members that the packet names, unverified.
    pub(super) records: Vec<Record>,
    pub(super) packet: Packet<'a, Named>,
    front: [u8; 2],
    payload: &'a [u8],
    signature: [u8; SIGNATURE_LEN],
}

impl PacketFrame<'_> {
    /// Whether the holder of this key sent it.
    pub(super) fn verify(&self, keys: &Keys, key: &PublicKey) -> bool {
        verify(keys, key, Signed::Frame, &[&self.front, self.payload], &self.signature)
    }
}

impl Who {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let (record, run, began) = (Record::read(reader)?, reader.array()?, reader.u64()?);
        Some(Self { record, run, began, version: reader.text(VERSION_LEN_MAX)? })
    }

    fn put(&self, bytes: &mut Vec<u8>) {
        self.record.put(bytes);
        bytes.extend(self.run);
        bytes.extend(self.began.to_le_bytes());
        put_text(bytes, &self.version);
    }
}

/// Seal of a node for its frames.
#[derive(Clone, Debug)]
pub(super) struct Seal {
    pub(super) keys: Keys,
    pub(super) key: NodeKey,
}

impl Seal {
    pub(super) fn join(&self, who: &Who, challenge: &[u8; 16]) -> Vec<u8> {
        let mut payload = Vec::with_capacity(320);
        who.put(&mut payload);
        payload.extend(challenge);
        self.signed(0, payload)
    }

    pub(super) fn join_ack(&self, ack: &JoinAck<'_>) -> Vec<u8> {
        let mut payload = Vec::with_capacity(768);
        ack.who.put(&mut payload);
        payload.extend(ack.challenge);
        payload.push(ack.known.is_some().into());
        if let Some(known) = &ack.known {
            known.put(&mut payload);
        }
        let head_len = u16::try_from(ack.head.len()).ok();
        payload.extend(head_len.unwrap_or(0).to_le_bytes());
        payload.extend(head_len.map_or(&[][..], |_| ack.head));
        self.signed(1, payload)
    }

    /// A packet with as many of the records as fit.
    pub(super) fn packet<'r>(
        &self,
        run: &[u8; 16],
        counter: u64,
        records: impl IntoIterator<Item = &'r Record>,
        packet: &Packet<'_, Named>,
    ) -> Vec<u8> {
        let (mut count, mut put) = (0_u8, Vec::new());
        for record in records {
            let before = put.len();
            record.put(&mut put);
            if put.len() > RECORDS_LEN_MAX || count == u8::MAX {
                put.truncate(before);
                break;
            }
            count += 1;
        }
        let mut payload = Vec::with_capacity(1024);
        payload.extend(run);
        payload.extend(counter.to_le_bytes());
        payload.push(count);
        payload.extend(put);
        payload.extend(packet.encode());
        self.signed(2, payload)
    }

    pub(super) fn claim(&self, record: &Record) -> Vec<u8> {
        let mut payload = Vec::with_capacity(256);
        record.put(&mut payload);
        self.mac(3, &payload)
    }

    fn signed(&self, kind: u8, mut payload: Vec<u8>) -> Vec<u8> {
        let front = [VERSION, kind];
        let signature = self.key.sign(&self.keys, Signed::Frame, &[&front, &payload]);
        payload.extend(signature);
        self.mac(kind, &payload)
    }

    fn mac(&self, kind: u8, sealed: &[u8]) -> Vec<u8> {
        let mac = self.keys.gossip_mac([VERSION, kind], sealed);
        [&[VERSION, kind], mac.as_slice(), sealed].concat()
    }
}

/// Reads a frame. Total: any bytes may come. The signatures of joins and of their answers are
/// verified; that of a packet is not, as its key is not in it.
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
    let front = [version, kind];
    if !same(&mac, &keys.gossip_mac(front, reader.0)) {
        return Err(FrameError::Secret);
    }
    if kind == 3 {
        let record = Record::read(&mut reader).filter(|_| reader.0.is_empty());
        return record.map(Frame::Claim).ok_or(FrameError::Malformed);
    }
    let (payload, signature) = reader.0.split_last_chunk().ok_or(FrameError::Malformed)?;
    let signature: [u8; SIGNATURE_LEN] = *signature;
    let mut reader = Reader(payload);
    let is_signed = |who: &Who| {
        let key = &who.record.member.key;
        who.record.verify(keys) && verify(keys, key, Signed::Frame, &[&front, payload], &signature)
    };
    match kind {
        0 => {
            let (who, challenge) = read_join(&mut reader).ok_or(FrameError::Malformed)?;
            if !is_signed(&who) {
                return Err(FrameError::Signature);
            }
            Ok(Frame::Join(who, challenge))
        }
        1 => {
            let ack = read_ack(&mut reader).ok_or(FrameError::Malformed)?;
            if !is_signed(&ack.who) {
                return Err(FrameError::Signature);
            }
            Ok(Frame::JoinAck(ack))
        }
        2 => {
            let (run, counter, records) = read_front(&mut reader).ok_or(FrameError::Malformed)?;
            let packet = Packet::read(reader.0)?;
            Ok(Frame::Packet(PacketFrame {
                run,
                counter,
                records,
                packet,
                front,
                payload,
                signature,
            }))
        }
        _ => Err(FrameError::Malformed),
    }
}

fn read_join(reader: &mut Reader<'_>) -> Option<(Who, [u8; 16])> {
    let (who, challenge) = (Who::read(reader)?, reader.array()?);
    reader.0.is_empty().then_some((who, challenge))
}

fn read_ack<'a>(reader: &mut Reader<'a>) -> Option<JoinAck<'a>> {
    let (who, challenge) = (Who::read(reader)?, reader.array()?);
    let known = match reader.u8()? {
        0 => None,
        1 => Some(Record::read(reader)?),
        _ => return None,
    };
    let len = usize::from(reader.u16()?);
    let head = reader.0;
    (head.len() == len).then_some(JoinAck { who, challenge, known, head })
}

fn read_front(reader: &mut Reader<'_>) -> Option<([u8; 16], u64, Vec<Record>)> {
    let (run, counter, count) = (reader.array()?, reader.u64()?, reader.u8()?);
    let records = (0..count).map(|_| Record::read(reader)).collect::<Option<_>>()?;
    Some((run, counter, records))
}
