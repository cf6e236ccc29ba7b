//! Joins: how nodes prove who and where they are, and what they say of themselves.

use std::time::Duration;

use foca::{Member as Update, State, Timer};

use super::{DUPLICATE_PERIOD, DUPLICATES_MAX, Event, Gossip};
use crate::{
    cluster::{
        Way,
        frame::{JoinAck, Who},
        member::{GENERATION_MAX, Member},
        record::Record,
        roster::Admission,
    },
    message::NodeId,
};

impl Gossip {
    /// Answers somebody who asks who is here.
    pub(super) fn answer(&mut self, who: &Who, challenge: [u8; 16], now: Duration) {
        let Member { node, key, address, .. } = &who.record.member;
        let entry = self.roster.get(node).filter(|entry| entry.record.member.key == *key);
        let later = entry.filter(|entry| entry.record.rank() > who.record.rank());
        let known = later.map(|entry| entry.record.clone());
        let ack = JoinAck { who: self.who.clone(), challenge, known, head: &self.head };
        let frame = self.seal.join_ack(&ack);
        self.events.push_back(Event::Send { to: address.clone(), frame, way: Way::Back });
        if *node == self.node() {
            if *key != self.own_key() {
                self.report_duplicate(&who.record, now);
            } else if who.run != self.who.run {
                // It may be a join of an earlier run that somebody kept. An answer counts.
                self.ask_duplicate(&address.clone(), now);
            }
        } else if self.roster.is_held(node, key, now) {
            self.report_duplicate(&who.record, now);
            if let Some(entry) = self.roster.get(node) {
                let frame = self.seal.claim(&entry.record);
                self.events.push_back(Event::Send { to: address.clone(), frame, way: Way::Back });
            }
        } else if self.is_known(who) {
            let _ = self.take_record(&who.record, *node, now);
        } else {
            self.name(&address.clone(), None, now);
        }
    }

    /// Somebody answers a join of this node.
    pub(super) fn answered(&mut self, ack: &JoinAck<'_>, now: Duration) {
        // An answer that nobody asked for proves nothing: it may be an old one.
        let Some(address) = self.roster.take_challenge(&ack.challenge, now) else { return };
        self.events.push_back(Event::Answered(address.clone()));
        let who = &ack.who;
        let member = &who.record.member;
        if member.node == self.node() {
            self.roster.answered(&address);
            if member.key != self.own_key() {
                self.report_duplicate(&who.record, now);
            } else if who.run != self.who.run {
                // Both sides come to the same answer, whichever asked.
                let refused = (who.began, who.run) < (self.who.began, self.who.run);
                self.events.push_back(Event::DuplicateNodeId { address, refused });
            }
            return;
        }
        if member.address == address {
            let admission = self.roster.admit(who, now);
            for gone in self.roster.take_dismissed() {
                self.dismiss(&gone, now);
            }
            match admission {
                Admission::New => self.admitted(&member.node),
                Admission::Known => {}
                // It is asked again, ever more rarely, for as long as somebody names it.
                Admission::OtherKey => return self.report_duplicate(&who.record, now),
                Admission::Full => return,
            }
            self.heads.get().set_key(member.node, member.key);
        } else if !self.is_known(who) {
            // It answers here, and says that it is reached elsewhere: that has to be proved, too.
            let own = self.node();
            self.name(&member.address.clone(), Some(own), now);
        }
        self.roster.answered(&address);
        if let Some(known) = &ack.known {
            let _ = self.take_own(known, now);
        }
        let _ = self.heads.get().receive(ack.head);
    }

    /// A node has proved that it is a member: the library hears of it.
    pub(super) fn admitted(&mut self, node: &NodeId) {
        let Some(entry) = self.roster.get(node) else { return };
        let member = entry.record.member.clone();
        self.apply(entry.record.clone());
        // It tells in turn whom it knows.
        let _ = self.foca.announce(member, &mut self.runtime);
    }

    /// A member had to give way to another: the library forgets it at once, and nobody is told.
    fn dismiss(&mut self, member: &Member, now: Duration) {
        let down = Update::new(member.clone(), u16::MAX, State::Down);
        // It fails only if it is about this node, which is none of its members.
        let _ = self.foca.apply_many(std::iter::once(down), false, &mut self.runtime);
        let forget = Timer::RemoveDown(member.clone());
        while let Some((after, timer)) = self.runtime.to_schedule() {
            if timer != forget {
                self.set_timer(now + after, timer);
            }
        }
        let _ = self.foca.handle_timer(forget, &mut self.runtime);
        if self.roster.get(&member.node).is_none() {
            self.heads.get().forget(&member.node);
        }
    }

    /// Takes over what a member says of itself.
    pub(super) fn apply(&mut self, record: Record) {
        let state = if record.left { State::Down } else { State::Alive };
        let update = Update::new(record.member, record.incarnation, state);
        // It fails only if it is about this node, which is none of its members.
        let _ = self.foca.apply_many(std::iter::once(update), true, &mut self.runtime);
    }

    /// Whether a run of a node has proved itself where it says it is.
    pub(super) fn is_known(&self, who: &Who) -> bool {
        let member = &who.record.member;
        self.roster.get(&member.node).is_some_and(|entry| {
            let known = &entry.record.member;
            entry.run == who.run && known.key == member.key && known.address == member.address
        })
    }

    /// Names an address to be asked who is there.
    pub(super) fn name(&mut self, address: &str, introducer: Option<NodeId>, now: Duration) {
        if address != self.who.record.member.address {
            self.roster.name(address, introducer, now);
        }
    }

    /// Tells of a second key of a node id, unless that was done already.
    pub(super) fn report_duplicate(&mut self, record: &Record, now: Duration) {
        let Member { node, key, address, .. } = &record.member;
        if self.roster.is_new_duplicate(*node, *key, now) {
            self.events.push_back(Event::DuplicateKey { node: *node, address: address.clone() });
        }
    }

    /// Somebody passes on what a node says of itself. False if it is forged.
    pub(super) fn take_record(
        &mut self,
        record: &Record,
        introducer: NodeId,
        now: Duration,
    ) -> bool {
        let Member { node, key, address, .. } = &record.member;
        if *node == self.node() {
            return self.take_own(record, now);
        }
        let entry = self.roster.get(node).filter(|entry| entry.record.member.key == *key);
        let Some(entry) = entry else {
            if !record.left && !self.roster.is_held(node, key, now) {
                self.name(address, Some(introducer), now);
            }
            return true;
        };
        if record.rank() <= entry.record.rank() {
            return true;
        }
        if entry.record.member.address != *address {
            self.name(address, Some(introducer), now);
            return true;
        }
        if !record.verify(&self.seal.keys) {
            return false;
        }
        self.roster.update(record.clone());
        self.apply(record.clone());
        true
    }

    /// Somebody talks of this node's id. False if what it says is forged.
    pub(super) fn take_own(&mut self, record: &Record, now: Duration) -> bool {
        if record.member.node != self.node() || *record == self.who.record {
            return true;
        }
        if !record.verify(&self.seal.keys) {
            return false;
        }
        if record.member.key != self.own_key() {
            self.report_duplicate(record, now);
            return true;
        }
        if record.member.address != self.who.record.member.address {
            self.ask_duplicate(&record.member.address, now);
        }
        let generation = record.member.generation;
        if record.rank() > self.who.record.rank() && generation < GENERATION_MAX && !self.left {
            // An earlier run with a clock ahead of ours: what it left behind must not win. It takes
            // this node's own signature to make it go there.
            let own = self.foca.identity();
            let renewed = Member { generation: generation.saturating_add(1), ..own.clone() };
            let _ = self.foca.change_identity(renewed, &mut self.runtime);
            self.sign(0, now);
            self.events.push_back(Event::Renewed);
        }
        true
    }

    /// Asks who is at the address of a node with this one's id and key, unless that was done just
    /// now.
    pub(super) fn ask_duplicate(&mut self, address: &str, now: Duration) {
        self.duplicates.retain(|_, asked| now.saturating_sub(*asked) < DUPLICATE_PERIOD);
        let asked = self.duplicates.contains_key(address);
        if address != self.who.record.member.address
            && !asked
            && self.duplicates.len() < DUPLICATES_MAX
        {
            self.duplicates.insert(address.to_owned(), now);
            self.join(address, now);
        }
    }
}
