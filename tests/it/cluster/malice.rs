//! A member that has the cluster's secret and does what it can to harm the others.

use std::collections::BTreeMap;

use ed25519_dalek::SigningKey;

use super::{
    frames::{self, Heard, Named, Seal},
    life::Hostile,
    node::{address, key_of},
};
use crate::reference::random::Random;

/// What a member does to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malice {
    /// It says that it is each of them, and that they are copies that began later.
    Identity,
    /// It names them, and itself, with the highest generations and incarnations.
    Generation,
    /// It tells what they hold, with the highest numbers.
    Heads,
    /// It tells of thousands of members that there are not.
    Members,
    /// It sends as much as it can, and asks everybody all the time.
    Flood,
    /// It repeats what it hears anywhere.
    Replay,
    /// It calls all others down, again and again.
    Down,
    /// It proves itself as another node whenever it is asked, and is silent as all of them.
    Crowd,
}

impl Malice {
    pub(crate) const ALL: [Self; 8] = [
        Self::Identity,
        Self::Generation,
        Self::Heads,
        Self::Members,
        Self::Flood,
        Self::Replay,
        Self::Down,
        Self::Crowd,
    ];
}

/// Frames that are kept to be repeated.
const OVERHEARD_MAX: usize = 2_000;

/// It has another generation after so many strikes.
const STRIKES_PER_GENERATION: u64 = 25;

/// Heads that fit into a frame.
const HEADS_PER_FRAME: usize = 12;

/// A member that there is not.
fn made_up(number: u64) -> (Named, SigningKey) {
    let mut seed = [0xdd; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    let node = seed[..16].try_into().unwrap();
    let member = Named { node, generation: 5, address: format!("made-up-{number}:1") };
    (member, SigningKey::from_bytes(&seed))
}

pub(crate) struct Attacker {
    malice: Malice,
    is_control: bool,
    pub(crate) place: usize,
    seal: Seal,
    key: SigningKey,
    own: Named,
    run: [u8; 16],
    counter: u64,
    made_up: u64,
    /// How often it did something.
    strikes: u64,
    /// Nodes it has heard of, with their keys.
    known: BTreeMap<[u8; 16], (Named, [u8; 32])>,
    /// Everything that was sent, for [`Malice::Replay`].
    overheard: Vec<Vec<u8>>,
    /// The keys of nodes, where it has stolen them: a control that the checks notice.
    stolen: BTreeMap<[u8; 16], SigningKey>,
}

impl Attacker {
    pub(crate) fn new(hostile: Hostile, place: usize, secret: Option<&[u8]>) -> Self {
        let Hostile { malice, is_control } = hostile;
        let key = SigningKey::from_bytes(&[0xee; 32]);
        let own = Named { node: [0xee; 16], generation: 1 << 60, address: address(place) };
        Self {
            malice,
            is_control,
            place,
            seal: Seal::new(secret),
            key,
            own,
            run: [0xee; 16],
            counter: 0,
            made_up: 0,
            strikes: 0,
            known: BTreeMap::new(),
            overheard: Vec::new(),
            stolen: BTreeMap::new(),
        }
    }

    /// Answers at an address that it made up, as the member that it made up there: it can't, and
    /// does so only as a control.
    pub(crate) fn answer_at(&mut self, address: &str, frame: &[u8]) -> Vec<(String, Vec<u8>)> {
        let number = address.strip_prefix("made-up-").and_then(|rest| rest.strip_suffix(":1"));
        let number = number.and_then(|number| number.parse().ok()).filter(|_| self.is_control);
        let (Some(number), Some(Heard::Join { from, challenge, .. })) =
            (number, frames::hear(frame))
        else {
            return Vec::new();
        };
        let (member, signer) = made_up(number);
        vec![(from.address, self.ack_as(&member, &signer, 1, challenge))]
    }

    /// Steals the key of a node, if it can.
    pub(crate) fn steal(&mut self, node: [u8; 16]) {
        if self.is_control {
            self.stolen.insert(node, SigningKey::from_bytes(&key_of(&node)));
        }
    }

    /// Something was sent anywhere.
    pub(crate) fn overhear(&mut self, frame: &[u8]) {
        if self.malice == Malice::Replay {
            let at = usize::try_from(self.counter).unwrap() % OVERHEARD_MAX;
            self.counter += 1;
            if self.overheard.len() < OVERHEARD_MAX {
                self.overheard.push(frame.to_vec());
            } else {
                self.overheard[at] = frame.to_vec();
            }
        }
    }

    /// A frame comes; what it answers: it is a member like others, so far.
    pub(crate) fn receive(&mut self, frame: &[u8]) -> Vec<(String, Vec<u8>)> {
        match frames::hear(frame) {
            Some(Heard::Join { from, key, challenge }) => {
                let to = from.address.clone();
                self.known.insert(from.node, (from.clone(), key));
                if self.malice == Malice::Crowd {
                    self.made_up += 1;
                    let mut seed = [0xcc; 32];
                    seed[..8].copy_from_slice(&self.made_up.to_le_bytes());
                    let signer = SigningKey::from_bytes(&seed);
                    let node = seed[..16].try_into().unwrap();
                    let another = Named { node, ..self.own.clone() };
                    return vec![(to, self.ack_as(&another, &signer, 1, challenge))];
                }
                let mut answers = vec![self.ack_as(&self.own.clone(), &self.key, 1, challenge)];
                if self.malice == Malice::Identity {
                    // It says that it is the one who asks, and was there first; or anybody else.
                    let signer = self.signer(&from.node);
                    let copy = Named { address: self.own.address.clone(), ..from };
                    answers = vec![self.ack_as(&copy, &signer, 0, challenge)];
                    let others: Vec<_> = self.known.values().cloned().collect();
                    for (other, _) in others {
                        let copy = Named { address: self.own.address.clone(), ..other };
                        answers.push(self.ack_as(&copy, &self.key.clone(), 0, challenge));
                    }
                    answers.push(self.ack_as(&self.own.clone(), &self.key, 1, challenge));
                }
                answers.into_iter().map(|frame| (to.clone(), frame)).collect()
            }
            Some(Heard::JoinAck { from, key }) => {
                self.known.insert(from.node, (from, key));
                Vec::new()
            }
            Some(Heard::Packet { from, to, ping: Some(number) }) if to == self.own => {
                let answer = frames::ack(&self.own, &from, number);
                vec![(from.address, self.packet(&[], &answer))]
            }
            Some(Heard::Packet { from, .. }) => {
                if let Some((known, _)) = self.known.get_mut(&from.node) {
                    known.generation = known.generation.max(from.generation);
                }
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    fn signer(&self, node: &[u8; 16]) -> SigningKey {
        self.stolen.get(node).unwrap_or(&self.key).clone()
    }

    fn record(&self, member: &Named, signer: &SigningKey, incarnation: u16, left: bool) -> Vec<u8> {
        let key = signer.verifying_key().to_bytes();
        self.seal.record(signer, key, member, incarnation, left)
    }

    fn ack_as(
        &self,
        member: &Named,
        signer: &SigningKey,
        began: u64,
        challenge: [u8; 16],
    ) -> Vec<u8> {
        let record = self.record(member, signer, 0, false);
        self.seal.join_ack(signer, &record, (self.run, began), challenge)
    }

    fn join_as(&self, member: &Named, signer: &SigningKey, began: u64) -> Vec<u8> {
        let record = self.record(member, signer, 0, false);
        self.seal.join(signer, &record, (self.run, began), [9; 16])
    }

    fn packet(&mut self, records: &[Vec<u8>], packet: &[u8]) -> Vec<u8> {
        self.counter += 1;
        let mut records = records.to_vec();
        // Those who know it by an earlier generation learn of this one before the rest.
        records.insert(0, self.record(&self.own, &self.key, 0, false));
        self.seal.packet(&self.key, (self.run, self.counter), &records, packet)
    }

    /// Tells each of them that all others have left, by their keys.
    fn good_byes(&mut self, known: &[(Named, [u8; 32])]) -> Vec<(String, Vec<u8>)> {
        let left = |(member, key): &(Named, [u8; 32])| {
            let later = member.generation + self.strikes;
            let later = Named { generation: later, ..member.clone() };
            let signer = self.signer(&member.node);
            (member.node, self.seal.record(&signer, *key, &later, u16::MAX, true))
        };
        let left: Vec<_> = known.iter().map(left).collect();
        let own = self.own.clone();
        let to_each = known.iter().map(|(other, _)| {
            let others = left.iter().filter(|(node, _)| *node != other.node);
            let records: Vec<_> = others.map(|(_, record)| record.clone()).collect();
            let packet = frames::gossip(&own, 0, other, &[], &[]);
            (other.address.clone(), self.packet(&records, &packet))
        });
        to_each.collect()
    }

    /// A frame that tells of members that there are not.
    fn members_for(&mut self, other: Named) -> (String, Vec<u8>) {
        let (mut records, mut updates) = (Vec::new(), Vec::new());
        for _ in 0..60 {
            self.made_up += 1;
            let (member, signer) = made_up(self.made_up);
            records.push(self.record(&member, &signer, 0, false));
            updates.push((member, 0, 0));
        }
        let packet = frames::gossip(&self.own.clone(), 0, &other, &updates, &[]);
        (other.address, self.packet(&records, &packet))
    }

    /// Frames that it overheard.
    fn repeats(&mut self, random: &mut Random, places: usize) -> Vec<(String, Vec<u8>)> {
        let mut repeats = Vec::new();
        for _ in 0..40.min(self.overheard.len()) {
            let mut frame = self.overheard[random.index(self.overheard.len())].clone();
            if let Some(Heard::Packet { from, .. }) = frames::hear(&frame)
                && let Some(key) = self.stolen.get(&from.node)
            {
                // With a number that its sender has not come to, so that it is taken, and what its
                // sender says later is not.
                self.made_up += 1;
                frame = self.seal.renumbered(key, &frame, self.made_up + (1 << 40));
            }
            repeats.push((address(random.index(places)), frame));
        }
        repeats
    }

    /// What it sends now, to anybody.
    pub(crate) fn strike(&mut self, random: &mut Random, places: usize) -> Vec<(String, Vec<u8>)> {
        self.strikes += 1;
        if self.strikes.is_multiple_of(STRIKES_PER_GENERATION) {
            // Nobody listens to it where it was called down, and it need not stay that.
            self.own.generation += 1;
        }
        // First of all it wants to be a member.
        let to = address(random.index(places));
        let mut frames = vec![(to.clone(), self.join_as(&self.own, &self.key, 1))];
        let known: Vec<_> = self.known.values().cloned().collect();
        if known.is_empty() {
            return frames;
        }
        let (victim, key) = known[random.index(known.len())].clone();
        let (other, _) = known[random.index(known.len())].clone();
        let signer = self.signer(&victim.node);
        let at = victim.address.clone();
        match self.malice {
            Malice::Identity => {
                let copy = Named { address: self.own.address.clone(), ..victim.clone() };
                let earlier = self.join_as(&copy, &signer, 0);
                let record = self.record(&copy, &signer, 0, false);
                frames.extend([(at.clone(), earlier.clone()), (to.clone(), earlier)]);
                frames.push((at, self.seal.claim(&record)));
                frames.push((to, self.seal.claim(&record)));
                // Packets in its name.
                let packet = frames::gossip(&victim, 0, &other, &[(victim.clone(), 0, 2)], &[]);
                self.counter += 1;
                let run = (self.run, self.counter);
                let forged = self.seal.packet(&signer, run, &[record], &packet);
                frames.push((other.address, forged));
            }
            Malice::Generation => {
                let highest = u64::MAX - (1 << 32);
                let high = Named { generation: highest, ..victim.clone() };
                let forged = self.seal.record(&signer, key, &high, u16::MAX, false);
                let over = Named { generation: u64::MAX, ..victim.clone() };
                let updates = [0, 1, 2].map(|state| (victim.clone(), u16::MAX, state));
                for (dst, records) in
                    [(high.clone(), vec![]), (victim.clone(), vec![forged.clone()]), (over, vec![])]
                {
                    let packet = frames::gossip(&self.own.clone(), 0, &dst, &updates, &[]);
                    frames.push((at.clone(), self.packet(&records, &packet)));
                }
                let updates = [0, 1, 2].map(|state| (high.clone(), 0, state));
                let packet = frames::gossip(&self.own.clone(), 0, &other, &updates, &[]);
                frames.push((other.address.clone(), self.packet(&[], &packet)));
                frames.push((
                    other.address.clone(),
                    self.packet(std::slice::from_ref(&forged), &packet),
                ));
                frames.push((at, self.seal.claim(&forged)));
            }
            Malice::Heads => {
                let orders = [(u64::MAX, u64::MAX), (victim.generation, u64::MAX), (0, 0)];
                let mut heads: Vec<_> = orders
                    .iter()
                    .map(|order| self.seal.head(&signer, victim.node, *order))
                    .collect();
                let mut told = vec![other];
                if self.is_control {
                    // A session tells what its peer holds, whatever was forged, and nothing is
                    // newer than the highest number. What harms is ever higher ones, of all, to
                    // all.
                    let order = (u64::MAX, self.counter);
                    told = known.into_iter().map(|(member, _)| member).collect();
                    let forged =
                        |it: &Named| self.seal.head(&self.signer(&it.node), it.node, order);
                    heads = told.iter().take(HEADS_PER_FRAME).map(forged).collect();
                }
                for other in told {
                    let packet = frames::gossip(&self.own.clone(), 0, &other, &[], &heads);
                    frames.push((other.address, self.packet(&[], &packet)));
                }
            }
            Malice::Members => {
                frames.push(self.members_for(other));
            }
            // It asks, so that it is asked.
            Malice::Crowd => {}
            Malice::Flood => {
                for _ in 0..40 {
                    let to = address(random.index(places));
                    frames.push((to, self.join_as(&self.own, &self.key, 1)));
                    let packet = frames::gossip(&self.own.clone(), 0, &other, &[], &[]);
                    frames.push((other.address.clone(), self.packet(&[], &packet)));
                }
            }
            Malice::Replay => {
                frames.extend(self.repeats(random, places));
            }
            Malice::Down => {
                let left = self.seal.record(&signer, key, &victim, 0, true);
                let updates = [(victim.clone(), 0, 1), (victim.clone(), 0, 2), (victim, 1, 2)];
                let packet = frames::gossip(&self.own.clone(), 0, &other, &updates, &[]);
                frames.push((other.address.clone(), self.packet(&[], &packet)));
                frames.push((other.address, self.packet(&[left], &packet)));
                if self.is_control {
                    // A node takes a good-bye back at once, by a later generation. What harms is a
                    // good-bye of all others that is later than that, again and again, to all.
                    frames.extend(self.good_byes(&known));
                }
            }
        }
        frames
    }
}
