//! Frames of gossip, written by docs/protocol.md and not by the program: what a member can send
//! that does not keep to the rules.

use ed25519_dalek::{Signer as _, SigningKey};

/// How many entries a node holds, as a head says that it did not sign.
pub(crate) const FORGED_COUNT: u64 = 999_999;

/// A member, as a frame names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) node: [u8; 16],
    pub(crate) generation: u64,
    pub(crate) address: String,
}

/// The keys that follow from the cluster secret, and what signatures begin with.
#[derive(Clone, Debug)]
pub(crate) struct Seal {
    gossip: [u8; 32],
    context: [u8; 16],
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    bytes.push(u8::try_from(text.len()).unwrap());
    bytes.extend(text.as_bytes());
}

fn front(hash: blake3::Hash) -> [u8; 16] {
    hash.as_bytes()[..16].try_into().unwrap()
}

impl Named {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = [self.node.as_slice(), &self.generation.to_le_bytes()].concat();
        text(&mut bytes, &self.address);
        bytes
    }

    fn take(bytes: &mut &[u8]) -> Option<Self> {
        let (node, rest) = bytes.split_first_chunk::<16>()?;
        let (generation, rest) = rest.split_first_chunk::<8>()?;
        let (len, rest) = rest.split_first()?;
        let (address, rest) = rest.split_at_checked(usize::from(*len))?;
        *bytes = rest;
        let address = String::from_utf8(address.to_vec()).ok()?;
        Some(Self { node: *node, generation: u64::from_le_bytes(*generation), address })
    }
}

impl Seal {
    pub(crate) fn new(secret: Option<&[u8]>) -> Self {
        let gossip = blake3::derive_key("stemedb v1 gossip", secret.unwrap_or_default());
        Self { gossip, context: front(blake3::keyed_hash(&gossip, b"signatures")) }
    }

    fn sign(&self, key: &SigningKey, what: &str, bytes: &[&[u8]]) -> [u8; 64] {
        let what = format!("stemedb gossip 2 {what}\0");
        key.sign(&[what.as_bytes(), &self.context, &bytes.concat()].concat()).to_bytes()
    }

    fn mac(&self, kind: u8, sealed: &[u8]) -> Vec<u8> {
        let mac = blake3::keyed_hash(&self.gossip, &[&[2, kind], sealed].concat());
        [&[2, kind], front(mac).as_slice(), sealed].concat()
    }

    fn signed(&self, key: &SigningKey, kind: u8, payload: &[u8]) -> Vec<u8> {
        let signature = self.sign(key, "frame", &[&[2, kind], payload]);
        self.mac(kind, &[payload, &signature].concat())
    }

    /// A record that `signer` signs and that says that its key is `key`.
    pub(crate) fn record(
        &self,
        signer: &SigningKey,
        key: [u8; 32],
        member: &Named,
        incarnation: u16,
        left: bool,
    ) -> Vec<u8> {
        let content =
            [member.encode().as_slice(), &incarnation.to_le_bytes(), &[u8::from(left)], &key]
                .concat();
        let signature = self.sign(signer, "record", &[&content]);
        [content.as_slice(), &signature].concat()
    }

    fn who(record: &[u8], run: [u8; 16], began: u64) -> Vec<u8> {
        let mut bytes = [record, &run, &began.to_le_bytes()].concat();
        text(&mut bytes, "evil");
        bytes
    }

    pub(crate) fn join(
        &self,
        key: &SigningKey,
        record: &[u8],
        (run, began): ([u8; 16], u64),
        challenge: [u8; 16],
    ) -> Vec<u8> {
        self.signed(key, 0, &[Self::who(record, run, began).as_slice(), &challenge].concat())
    }

    pub(crate) fn join_ack(
        &self,
        key: &SigningKey,
        record: &[u8],
        (run, began): ([u8; 16], u64),
        challenge: [u8; 16],
    ) -> Vec<u8> {
        // Nothing is known of the one who asks, and there is no head.
        let who = Self::who(record, run, began);
        self.signed(key, 1, &[who.as_slice(), &challenge, &[0, 0, 0]].concat())
    }

    pub(crate) fn packet(
        &self,
        key: &SigningKey,
        (run, counter): ([u8; 16], u64),
        records: &[Vec<u8>],
        packet: &[u8],
    ) -> Vec<u8> {
        let count = u8::try_from(records.len()).unwrap();
        let payload = [&run[..], &counter.to_le_bytes(), &[count], &records.concat(), packet];
        self.signed(key, 2, &payload.concat())
    }

    /// A packet that was heard, with another counter: as its sender, whose key it is, sends it.
    pub(crate) fn renumbered(&self, key: &SigningKey, frame: &[u8], counter: u64) -> Vec<u8> {
        let payload = &frame[18..frame.len() - 64];
        let payload = [&payload[..16], &counter.to_le_bytes(), &payload[24..]].concat();
        self.signed(key, 2, &payload)
    }

    pub(crate) fn claim(&self, record: &[u8]) -> Vec<u8> {
        self.mac(3, record)
    }

    /// A head that `signer` signs.
    pub(crate) fn head(
        &self,
        signer: &SigningKey,
        node: [u8; 16],
        (run, number): (u64, u64),
    ) -> Vec<u8> {
        let mut bytes = node.to_vec();
        for field in [run, number, FORGED_COUNT] {
            bytes.extend(field.to_le_bytes());
        }
        bytes.extend([7; 32]);
        for field in [FORGED_COUNT, 0, 1] {
            bytes.extend(field.to_le_bytes());
        }
        bytes.extend([7; 16]);
        text(&mut bytes, "evil");
        let signature = self.sign(signer, "head", &[&bytes]);
        [bytes.as_slice(), &signature].concat()
    }
}

/// A packet of the library: gossip with updates and heads.
pub(crate) fn gossip(
    src: &Named,
    incarnation: u16,
    dst: &Named,
    updates: &[(Named, u16, u8)],
    heads: &[Vec<u8>],
) -> Vec<u8> {
    let mut bytes =
        [src.encode().as_slice(), &incarnation.to_le_bytes(), &dst.encode(), &[8]].concat();
    bytes.extend(u16::try_from(updates.len()).unwrap().to_be_bytes());
    for (member, incarnation, state) in updates {
        bytes.extend(member.encode());
        bytes.extend(incarnation.to_le_bytes());
        bytes.push(*state);
    }
    for head in heads {
        bytes.extend(u16::try_from(head.len()).unwrap().to_be_bytes());
        bytes.extend(head);
    }
    bytes
}

/// A packet without updates: 1 is an ack, of a probe with this number.
pub(crate) fn ack(src: &Named, dst: &Named, number: u8) -> Vec<u8> {
    [src.encode().as_slice(), &[0, 0], &dst.encode(), &[1, number, 0, 0]].concat()
}

/// What a frame of an honest node says, as far as an attacker cares.
#[derive(Clone, Debug)]
pub(crate) enum Heard {
    Join { from: Named, key: [u8; 32], challenge: [u8; 16] },
    JoinAck { from: Named, key: [u8; 32] },
    Packet { from: Named, to: Named, ping: Option<u8> },
}

pub(crate) fn hear(frame: &[u8]) -> Option<Heard> {
    let kind = *frame.get(1)?;
    let payload = frame.get(18..frame.len().checked_sub(64)?)?;
    let mut rest = payload;
    if kind == 2 {
        let mut records = *payload.get(24)?;
        rest = payload.get(25..)?;
        while records > 0 {
            Named::take(&mut rest)?;
            rest = rest.get(3 + 32 + 64..)?;
            records -= 1;
        }
        let from = Named::take(&mut rest)?;
        rest = rest.get(2..)?;
        let to = Named::take(&mut rest)?;
        let ping = rest.split_first_chunk::<2>().filter(|([kind, _], _)| *kind == 0);
        return Some(Heard::Packet { from, to, ping: ping.map(|([_, number], _)| *number) });
    }
    let from = Named::take(&mut rest)?;
    let key = rest.get(3..35)?.try_into().ok()?;
    match kind {
        0 => {
            let challenge = payload.last_chunk::<16>()?;
            Some(Heard::Join { from, key, challenge: *challenge })
        }
        1 => Some(Heard::JoinAck { from, key }),
        _ => None,
    }
}
