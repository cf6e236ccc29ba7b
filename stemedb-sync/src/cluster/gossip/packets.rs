//! Packets of the library, as they come in and go out.

use std::time::Duration;

use foca::{Message, State};

use super::{CONFIRM_TIME, Event, Gossip, RECORD_TIME};
use crate::{
    cluster::{
        FrameError, Way,
        frame::PacketFrame,
        member::Member,
        packet::{Named, Packet},
        record::Record,
    },
    message::NodeId,
};

impl Gossip {
    /// Takes in a packet of the library, and gives the address of its sender.
    pub(super) fn take_packet(
        &mut self,
        frame: PacketFrame<'_>,
        now: Duration,
    ) -> Result<Option<String>, FrameError> {
        let (node, generation, address) = frame.packet.src.clone();
        if node == self.node() {
            let is_copy = frame.run != self.who.run;
            if is_copy && frame.verify(&self.seal.keys, &self.own_key()) {
                self.ask_duplicate(&address, now);
            }
            return Ok(None);
        }
        let Some(entry) = self.roster.get(&node) else {
            self.name(&address, None, now);
            return Ok(None);
        };
        if !frame.verify(&self.seal.keys, &entry.record.member.key) {
            return Err(FrameError::Signature);
        }
        if entry.run != frame.run {
            // Another run of it, or an old packet that somebody kept.
            self.name(&address, None, now);
            return Ok(None);
        }
        let fresh =
            self.roster.get_mut(&node).is_some_and(|entry| entry.window.take(frame.counter));
        if !fresh {
            return Ok(None);
        }
        for record in &frame.records {
            // A member that passes one on has verified it.
            if !self.take_record(record, node, now) {
                return Err(FrameError::Signature);
            }
        }
        let Some(known) = self.roster.get(&node).map(|entry| entry.record.clone()) else {
            return Ok(None);
        };
        if generation < known.member.generation {
            // Of an earlier run, with a clock ahead: it has to know.
            let frame = self.seal.claim(&known);
            self.events.push_back(Event::Send { to: address.clone(), frame, way: Way::Back });
        }
        if address != known.member.address || generation != known.member.generation {
            self.name(&address, Some(node), now);
            return Ok(Some(address));
        }
        self.name_updates(&frame.packet, node, now);
        if let Some(packet) = self.translate(frame.packet) {
            // Whatever it objects to is bad luck on the way: a packet that comes late, say.
            let _ = self.foca.handle_data(&packet.encode(), &mut self.runtime);
        }
        Ok(Some(address))
    }

    /// Names the addresses of members that are told of and not known here, or not as late as they
    /// are: a feed has no records.
    fn name_updates(&mut self, packet: &Packet<'_, Named>, introducer: NodeId, now: Duration) {
        for ((node, generation, address), incarnation, state) in packet.updates.iter().flatten() {
            let known = self.roster.get(node).map(|entry| &entry.record);
            let known = known.map(|record| (record.member.generation, record.incarnation));
            let late = known.is_some_and(|known| known >= (*generation, *incarnation));
            if *state != State::Down && !late && *node != self.node() {
                self.name(address, Some(introducer), now);
            }
        }
    }

    /// A packet as the library may hear it: about members of the roster, as they describe
    /// themselves.
    pub(super) fn translate<'a>(&self, packet: Packet<'a, Named>) -> Option<Packet<'a, Member>> {
        let own = self.foca.identity();
        let member = |(node, generation, address): &Named| {
            if *node == own.node {
                let (generation, address) = (*generation, address.clone());
                return Some(Member { generation, address, ..own.clone() });
            }
            let known = &self.roster.get(node)?.record.member;
            let same = known.generation == *generation && known.address == *address;
            same.then(|| known.clone())
        };
        let update = |named: &Named, incarnation: u16, state: State| {
            let member = member(named)?;
            if member.node == own.node {
                // Nobody has heard of a later incarnation of this node than it has signed.
                let present = member == *own && incarnation <= self.who.record.incarnation;
                return present.then_some((member, incarnation, state));
            }
            let record = &self.roster.get(&member.node)?.record;
            if incarnation > record.incarnation {
                return None;
            }
            let this = (member.generation, incarnation);
            let down = record.left || self.is_confirmed(&member.node, this);
            let state = if state == State::Down && !down { State::Suspect } else { state };
            Some((member, incarnation, state))
        };
        packet.translate(member, update)
    }

    /// Whether a member was suspected for long enough to be called down.
    pub(super) fn is_confirmed(&self, node: &NodeId, this: (u64, u16)) -> bool {
        let suspected = self.suspected.get(node).filter(|(known, _)| *known == this);
        suspected.is_some_and(|(_, since)| self.looked.saturating_sub(*since) >= CONFIRM_TIME)
    }

    /// Signs what this node says of itself now, if that is new.
    pub(super) fn sign(&mut self, incarnation: u16, now: Duration) {
        let member = self.foca.identity();
        let record = &self.who.record;
        if record.member != *member || record.incarnation != incarnation || record.left != self.left
        {
            let (keys, key) = (&self.seal.keys, &self.seal.key);
            self.who.record = Record::sign(keys, key, member.clone(), incarnation, self.left);
            self.signed = now;
        }
    }

    /// Seals a packet of the library, with the records that its receiver may need.
    pub(super) fn seal(&mut self, packet: Packet<'_, Member>, now: Duration) -> Option<Vec<u8>> {
        // One that was made before this node renewed itself is worth nothing any more.
        if packet.src != *self.foca.identity() {
            return None;
        }
        self.sign(packet.src_incarnation, now);
        let own = &self.who.record;
        let mut records = Vec::new();
        let is_feed = packet.message == Message::Feed;
        let introduces = matches!(packet.message, Message::Announce | Message::Feed);
        if introduces || now.saturating_sub(self.signed) < RECORD_TIME {
            records.push(own);
        }
        let name = |member: &Member| (member.node, member.generation, member.address.clone());
        let update = |member: &Member, incarnation: u16, state: State| {
            if member.node == own.member.node {
                return (*member == own.member).then(|| (name(member), incarnation, state));
            }
            let record = &self.roster.get(&member.node)?.record;
            // Members who know neither the member nor its key have no use for the update.
            if record.member != *member {
                return None;
            }
            // A feed is long, and most of what it has is known: who misses something asks.
            if !is_feed && (state != State::Down || record.left) {
                records.push(record);
            }
            Some((name(member), incarnation, state))
        };
        let packet = packet.translate(|member| Some(name(member)), update)?;
        self.counter += 1;
        Some(self.seal.packet(&self.who.run, self.counter, records, &packet))
    }
}
